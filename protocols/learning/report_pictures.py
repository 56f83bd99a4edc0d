"""The pictures of a report: SVG that stands in an HTML page, drawn by matplotlib. protocols.learning.report imports it.

matplotlib lays out lines and places; it never sees a text that is not a number. Each text is a token in its place, and
the text itself, escaped, is put in afterwards: so names may be in any writing and hold any character, and no font but
the reader's has to know them. Colours are those of Okabe and Ito, which the colour-blind can tell apart.
"""

from __future__ import annotations

import html
import io
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from protocols.learning.metrics import Evaluation, Stability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from protocols.learning.report import ModelReport, Rounds

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b7280"
MOST_BARS = 40
"""Features in a picture of them; the table has all."""
_IV_MARKS = (0.02, 0.1, 0.3, 0.5)
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_WIDTH, _HEIGHT = 5.6, 3.6  # inches, of which only the ratio counts


class Say(Protocol):
    """The text of a key, in the reader's language."""

    def __call__(self, key: str, **filled: object) -> str: ...  # noqa: D102 - described above


@dataclass(frozen=True)
class Picture:
    """A picture and what stands around it.

    Attributes:
        title: over it.
        read: how to read it.
        svg: the picture, with its title and its description inside for those who hear it.
        legend: colours, whether they are of a dashed line, and what they stand for.
    """

    title: str
    read: str
    svg: str
    legend: tuple[tuple[str, bool, str], ...] = ()


def of(report: ModelReport, say: Say) -> dict[str, list[Picture]]:
    """The pictures that a report's parts allow, by the section that they belong to."""
    import matplotlib as mpl

    found: dict[str, list[Picture]] = {"quality": [], "features": [], "stability": [], "training": []}
    main = report.holdout or report.train
    with mpl.rc_context(
        {
            "svg.fonttype": "none",  # texts stay texts
            "svg.hashsalt": "unseen",  # the same picture has the same names inside
            "text.parse_math": False,
            "font.size": 10.0,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": GREY,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#e5e7eb",
        }
    ):
        if main is not None:
            curves = [(key, e) for key, e in (("train", report.train), ("holdout", report.holdout)) if e is not None]
            found["quality"] += [_roc(curves, say), _ks(main, say), _lift(main, say)]
            if all(group.predicted is not None for group in main.groups):
                found["quality"].append(_calibration(main, say))
            found["quality"].append(_distribution(main, say))
        ivs = [(value.feature, value.party, value.iv) for value in report.ivs if value.iv is not None]
        if ivs:
            found["features"].append(_features("iv", ivs, _IV_MARKS, say))
        every = say("importance.all")
        parts = [(one.feature or every, one.party, one.part) for one in report.importance if one.part is not None]
        if parts:
            found["features"].append(_features("importance", parts, (), say))
        for i, (name, stability) in enumerate((report.stability or {}).items()):
            found["stability"].append(_stability(i, name, stability, say))
        if report.training is not None and len(report.training.history) > 1:
            found["training"].append(_training(report.training.history, say))
        if report.rounds is not None and max(len(report.rounds.train), len(report.rounds.validation)) > 1:
            found["training"].append(_rounds(report.rounds, say))
    return found


# Each picture --------------------------------------------------------------------------------------------------------


def _roc(curves: Sequence[tuple[str, Evaluation]], say: Say) -> Picture:
    canvas = _Canvas("roc")
    axes = canvas.axes
    legend = []
    for (key, evaluation), colour, dashed in zip(curves[::-1], (BLUE, GREY), (False, True), strict=False):
        points = [(0.0, 0.0), *((cut.false_positive_rate, cut.true_positive_rate) for cut in evaluation.roc)]
        axes.plot(*zip(*points, strict=True), color=colour, linestyle="--" if dashed else "-", linewidth=2, zorder=3)
        legend.append((colour, dashed, say("of", name=say(key), value=f"{say('auc')} {evaluation.auc:.3f}")))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    _unit(axes, "xy")
    canvas.name_axes(say("part.good"), say("part.bad"))
    told = "; ".join(text for *_, text in legend)
    return canvas.picture(say("fig.roc"), say("fig.roc.read"), told, legend)


def _ks(evaluation: Evaluation, say: Say) -> Picture:
    canvas = _Canvas("ks")
    axes = canvas.axes
    cuts = evaluation.roc
    ones, rows = evaluation.ones, evaluation.rows
    false, true = ([0.0, *(getattr(c, name) for c in cuts)] for name in ("false_positive_rate", "true_positive_rate"))
    reached = [(f * (rows - ones) + t * ones) / rows for f, t in zip(false, true, strict=True)]
    axes.plot(reached, true, color=ORANGE, linewidth=2, zorder=3)
    axes.plot(reached, false, color=BLUE, linewidth=2, zorder=3)
    at = max(range(len(reached)), key=lambda i: abs(true[i] - false[i]))
    axes.plot([reached[at]] * 2, [false[at], true[at]], color="black", linewidth=1.5, zorder=4)
    canvas.text(reached[at] + 0.02, (false[at] + true[at]) / 2, f"KS {evaluation.ks:.3f}")
    _unit(axes, "xy")
    canvas.name_axes(say("part.all"), say("part.reached"))
    legend = [(ORANGE, False, say("bad")), (BLUE, False, say("good"))]
    return canvas.picture(say("fig.ks"), say("fig.ks.read"), f"KS {evaluation.ks:.3f}", legend)


def _lift(evaluation: Evaluation, say: Say) -> Picture:
    canvas = _Canvas("lift")
    axes = canvas.axes
    lifts = [group.lift for group in evaluation.groups]
    places = range(1, len(lifts) + 1)
    axes.bar(places, lifts, color=BLUE, width=0.75, zorder=3)
    axes.axhline(1, color="black", linewidth=1, linestyle="--", zorder=4)
    if len(lifts) <= 20:
        for place, lift in zip(places, lifts, strict=True):
            canvas.text(place, lift + max(lifts) * 0.02, f"{lift:.2f}", middle=True)
        axes.set_xticks(list(places))
    axes.set_ylim(0, max(lifts) * 1.12)
    axes.grid(visible=False, axis="x")
    canvas.name_axes(say("axis.group"), say("lift"))
    told = ", ".join(f"{lift:.2f}" for lift in lifts)
    return canvas.picture(say("fig.lift"), say("fig.lift.read"), told, [("black", True, say("average"))])


def _calibration(evaluation: Evaluation, say: Say) -> Picture:
    canvas = _Canvas("calibration")
    axes = canvas.axes
    said = [group.predicted or 0.0 for group in evaluation.groups]
    seen = [group.rate for group in evaluation.groups]
    # Two standard errors of a rate, between which chance moves it.
    wide = [2 * math.sqrt(max(p * (1 - p), 0.0) / g.rows) for p, g in zip(said, evaluation.groups, strict=True)]
    axes.errorbar(said, seen, yerr=wide, fmt="o", color=BLUE, ecolor="#9ca3af", elinewidth=1, markersize=5, zorder=3)
    top = min(1.0, max(*said, *seen) * 1.1)
    axes.plot([0, top], [0, top], color=GREY, linewidth=1, linestyle="--")
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    canvas.name_axes(say("predicted"), say("observed"))
    told = ", ".join(f"{a:.3f} / {b:.3f}" for a, b in zip(said, seen, strict=True))
    legend = [(BLUE, False, say("group")), (GREY, True, say("agreement"))]
    return canvas.picture(say("fig.calibration"), say("fig.calibration.read"), told, legend)


def _distribution(evaluation: Evaluation, say: Say) -> Picture:
    canvas = _Canvas("distribution")
    axes = canvas.axes
    bars = evaluation.distribution
    edges = np.array([*(bar.low for bar in bars), bars[-1].high])
    for kind, total, colour in (("zeros", evaluation.rows - evaluation.ones, BLUE), ("ones", evaluation.ones, ORANGE)):
        densities = np.array([getattr(bar, kind) for bar in bars]) / total / np.diff(edges)
        axes.stairs(densities, edges, color=colour, fill=True, alpha=0.25, zorder=2)
        axes.stairs(densities, edges, color=colour, linewidth=1.5, zorder=3)
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    canvas.name_axes(say("score"), say("density"))
    legend = [(BLUE, False, say("good")), (ORANGE, False, say("bad"))]
    told = f"{edges[0]:.3g} – {edges[-1]:.3g}"
    return canvas.picture(say("fig.distribution"), say("fig.distribution.read"), told, legend)


def _features(key: str, values: Sequence[tuple[str, str, float]], marks: Sequence[float], say: Say) -> Picture:
    """Bars of what each feature of each party is worth; `marks` are values where a custom draws a line."""
    shown = sorted(values, key=lambda value: -value[2])[:MOST_BARS]
    names, owners, lengths = zip(*shown, strict=True)
    parties = list(dict.fromkeys(owners))
    colours = dict(
        zip(parties, (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", GREY) * len(parties), strict=False)
    )
    canvas = _Canvas(
        key,
        height=max(1.6, 0.9 + 0.26 * len(shown)),
        left=min(0.45, 0.03 + 0.0145 * max(map(_letters, names))),
    )
    axes = canvas.axes
    axes.barh(range(len(shown)), lengths, color=[colours[party] for party in owners], height=0.7, zorder=3)
    for i, length in enumerate(lengths):
        canvas.text(length + max(lengths) * 0.01, i, f"{length:.3f}")
    for custom in marks:
        if custom < max(lengths) * 1.1:
            axes.axvline(custom, color=GREY, linewidth=1, linestyle=":", zorder=2)
    axes.set_yticks(range(len(shown)), [canvas.token(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, (max(lengths) or 1) * 1.15)
    axes.grid(visible=False, axis="y")
    canvas.name_axes(say(key), "")
    legend = [(colours[party], False, party) for party in parties]
    told = ", ".join(f"{name} {length:.3f}" for name, _, length in shown)
    return canvas.picture(say(f"fig.{key}"), say(f"fig.{key}.read"), told, legend)


def _stability(i: int, name: str, stability: Stability, say: Say) -> Picture:
    canvas = _Canvas(f"stability{i}")
    axes = canvas.axes
    places = np.arange(1, len(stability.expected) + 1)
    axes.bar(places - 0.2, stability.expected, width=0.38, color=GREY, zorder=3)
    axes.bar(places + 0.2, stability.actual, width=0.38, color=BLUE, zorder=3)
    if len(places) <= 20:
        axes.set_xticks(places)
    axes.grid(visible=False, axis="x")
    canvas.name_axes(say("axis.bin"), say("part.rows"))
    legend = [(GREY, False, say("before")), (BLUE, False, say("after"))]
    told = f"{say('psi')} {stability.index:.3f}"
    return canvas.picture(say("fig.stability", name=name), say("fig.stability.read"), told, legend)


def _training(history: Sequence[float], say: Say) -> Picture:
    from matplotlib.ticker import MaxNLocator

    canvas = _Canvas("training", height=2.6, left=0.12)
    axes = canvas.axes
    exponents = [math.log2(max(step, 2.0**-60)) for step in history]
    axes.plot(range(1, len(exponents) + 1), exponents, color=BLUE, marker="o", markersize=4, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.yaxis.set_major_formatter(lambda exponent, _: "2" + f"{exponent:.0f}".translate(_RAISED))
    canvas.name_axes(say("axis.iteration"), say("axis.step"))
    told = ", ".join(f"{step:.2g}" for step in history)
    return canvas.picture(say("fig.training"), say("fig.training.read"), told, ())


def _rounds(rounds: Rounds, say: Say) -> Picture:
    from matplotlib.ticker import MaxNLocator

    canvas = _Canvas("rounds", height=2.6, left=0.14)
    axes = canvas.axes
    legend = []
    for key, values, colour in (("train", rounds.train, GREY), ("watched", rounds.validation, BLUE)):
        if values:
            axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=2, zorder=3)
            legend.append((colour, False, say("of", name=say(key), value=f"{values[-1]:.4f}")))
    if rounds.best is not None and rounds.best < max(len(rounds.train), len(rounds.validation)):
        axes.axvline(rounds.best, color="black", linewidth=1, linestyle="--", zorder=2)
        legend.append(("black", True, say("rounds.best", best=rounds.best)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    canvas.name_axes(say("axis.round"), rounds.metric)
    told = "; ".join(text for *_, text in legend)
    return canvas.picture(say("fig.rounds"), say("fig.rounds.read"), told, legend)


# How a picture is made -----------------------------------------------------------------------------------------------


@dataclass
class _Canvas:
    """A figure with one pair of axes, and the texts that are put into it at the end."""

    name: str
    height: float = _HEIGHT
    left: float = 0.1
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(_WIDTH, self.height))
        FigureCanvasSVG(self.figure)
        bottom = 0.5 / self.height
        self.axes = self.figure.add_axes((self.left + 0.03, bottom, 0.95 - self.left, 1 - bottom - 0.1 / self.height))

    def token(self, text: str) -> str:
        """What stands in the picture for a text until it is finished."""
        self.texts.append(text)
        return f"@{len(self.texts) - 1}@"

    def text(self, x: float, y: float, text: str, *, middle: bool = False) -> None:
        """A text in the picture, to the right of a point or, if `middle`, centred above it."""
        across, up = ("center", "bottom") if middle else ("left", "center")
        self.axes.text(x, y, self.token(text), fontsize=8.5, zorder=5, ha=across, va=up)

    def name_axes(self, x: str, y: str) -> None:
        """What the axes show."""
        self.axes.set_xlabel(self.token(x))
        if y:
            # A turned text is centred by the browser only if it is turned about its anchor.
            self.axes.set_ylabel(self.token(y), rotation_mode="anchor", ha="center", va="bottom")

    def picture(self, title: str, read: str, told: str, legend: Sequence[tuple[str, bool, str]]) -> Picture:
        """The finished picture; `told` is what one would read off it."""
        out = io.StringIO()
        self.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        svg = out.getvalue()
        svg = svg[svg.index("<svg") :]
        # Names inside are the page's names: each picture gets its own.
        svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{self.name}-", svg)
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'(style="[^"]*?)font: ([0-9.]+px)[^;"]*', r"\g<1>font-size: \g<2>", svg)
        svg = re.sub(r"@(\d+)@", lambda found: html.escape(self.texts[int(found[1])]), svg)
        head, body = svg.split(">", 1)
        head = re.sub(r' (width|height)="[^"]*"', "", head)
        named = f'{head} role="img" aria-labelledby="{self.name}-title {self.name}-told">'
        spoken = f'<title id="{self.name}-title">{html.escape(title)}</title>'
        spoken += f'<desc id="{self.name}-told">{html.escape(told)}</desc>'
        return Picture(title, read, named + spoken + body, tuple(legend))


def _unit(axes: Axes, which: str) -> None:
    """Axes from 0 to 1."""
    for name in which:
        getattr(axes, f"set_{name}lim")(0, 1.005)


def _letters(text: str) -> int:
    """How wide a text is, in narrow letters."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
