"""The report: one page that loads nothing, in both languages, in which what the caller passes is text alone."""

from __future__ import annotations

import json
import math
import re
import string
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import numpy as np
import pytest

from mpc.errors import UsageError
from protocols.learning import metrics, report
from protocols.learning.glm import Family
from protocols.learning.report import (
    Importance,
    InformationValue,
    Language,
    ModelReport,
    Rounds,
    ScorecardRow,
    TrainingSummary,
)
from protocols.learning.shared_metrics import Discrimination

ROOT = Path(__file__).resolve().parents[2]
WORDS = json.loads((files("protocols.learning") / "templates" / "report.words.json").read_text(encoding="utf-8"))
HOSTILE = "\"'><script>alert(1)</script>&amp;{{ 7*7 }}{rate} @0@ $x_1$ 月收入"


def judged(seed: int = 1, n: int = 3000, *, scale: metrics.Scale = "logit", shift: float = 0.0) -> metrics.Evaluation:
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 1.2, n)
    y = rng.random(n) < metrics.sigmoid(z + shift)
    return metrics.evaluate(y, z, scale=scale)


FULL = ModelReport(
    title=f"Title {HOSTILE}",
    scenario=HOSTILE,
    party="bank",
    facts={"job": "7f3a", HOSTILE: HOSTILE},
    training=TrainingSummary(3000, 11, converged=True, penalty=0.5, history=tuple(2.0**-k for k in range(11))),
    coefficients={HOSTILE: 0.25, "age": -1.5},
    train=judged(1),
    holdout=judged(2),
    rounds=Rounds(HOSTILE, (0.69, 0.6, 0.55), (0.69, 0.63, 0.64), best=2),
    importance=(
        Importance(None, HOSTILE, 0.3, 4),
        Importance(HOSTILE, "bank", 0.7, 9),
        Importance("y", "tax", None, 1),
    ),
    ivs=(
        InformationValue(HOSTILE, "bank", 0.31, kept=True),
        InformationValue("2", HOSTILE, None),
        InformationValue("x", "tax", 0.7),
    ),
    scorecard=(ScorecardRow(HOSTILE, HOSTILE, 12), ScorecardRow(HOSTILE, "> 3", -7), ScorecardRow("age", "≤ 30", 0)),
    stability={HOSTILE: metrics.stability_index([10, 20, 0], [12, 19, 3])},
    learned={"bank": (HOSTILE, "how many rows there are"), HOSTILE: ("nothing",)},
    warnings=(HOSTILE,),
)


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes, texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


@pytest.fixture(scope="module", params=["en", "zh"])
def language(request: pytest.FixtureRequest) -> Language:
    return "zh" if request.param == "zh" else "en"


@pytest.fixture(scope="module")
def text(language: Language) -> str:
    return report.render(FULL, language=language)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_it_stands_alone(page: Page, text: str) -> None:
    assert not page.elements.keys() & {"script", "link", "img", "iframe", "object", "embed", "image", "foreignobject"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert all(value.startswith("#") for name in ("href", "xlink:href") for value in page.values(name))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in page.values("xlink:href")} <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)


def test_what_the_caller_passes_is_text(page: Page, text: str) -> None:
    assert "<script" not in text
    shown = "".join(page.texts)
    # head's title, h1, scenario, two facts, warning, three tables of features, bins, stability twice, learned twice, …
    assert shown.count("<script>alert(1)</script>&amp;{{ 7*7 }}{rate} @0@ $x_1$ 月收入") >= 14
    assert not re.search(r"@[1-9]\d*@", text)


def test_pictures_can_be_read_and_heard(page: Page, text: str, language: Language) -> None:
    assert page.elements["svg"] == page.elements["figure"] == page.elements["figcaption"] == 10
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    space = "{http://www.w3.org/2000/svg}"
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img"
        assert root.get("viewBox")
        title, told = (root.find(f"{space}{name}") for name in ("title", "desc"))
        assert title is not None
        assert told is not None
        assert title.text
        assert told.text
        assert root.get("aria-labelledby") == f"{title.get('id')} {told.get('id')}"
        assert root.findall(f".//{space}text"), "texts are texts, not outlines"
    assert ("zh-CN" if language == "zh" else "en") in page.values("lang")
    assert f"AUC {judged(2).auc:.3f}" in text


def test_each_metric_comes_with_its_meaning(page: Page, language: Language) -> None:
    shown = "".join(page.texts)
    assert FULL.holdout is not None
    for key in ("auc", "gini", "ks"):
        assert f"{getattr(FULL.holdout, key):.3f}" in shown
        assert WORDS[f"{key}.means"][language].split("{")[0] in shown
    for key in (
        "fig.roc",
        "fig.ks",
        "fig.lift",
        "fig.calibration",
        "fig.distribution",
        "fig.iv",
        "fig.stability",
        "fig.training",
        "fig.importance",
        "fig.rounds",
    ):
        assert WORDS[f"{key}.read"][language] in shown
    for group in FULL.holdout.groups:
        assert f"{group.lift:.2f}" in shown
    foreign = WORDS["summary"]["en" if language == "zh" else "zh"]
    assert foreign not in shown


def test_the_same_report_gives_the_same_page(text: str, language: Language) -> None:
    if language == "zh":  # once is enough
        assert report.render(FULL, language=language) == text


def test_what_is_not_given_is_not_mentioned() -> None:
    page = Page(report.render(ModelReport()))
    assert page.elements["svg"] == page.elements["table"] == 0
    assert page.elements["h2"] == 1
    ranked = report.render(ModelReport(train=judged(scale="rank")))
    assert "Calibration" not in ranked
    assert "Brier" not in ranked
    y, p = [0, 1, 0, 1] * 100, [0.1, 0.3, 0.2, 0.6] * 100
    cells = metrics.of_counts([0.2, 0.6], [30, 10], [20, 40], edges=[0, 0.5, 1], resolution=256)
    graded = report.render(ModelReport(holdout=cells, train=metrics.evaluate(y, p)))
    assert "rounded to 256 grades under shares, of which 2 cells opened" in graded


@pytest.mark.parametrize("language", ["en", "zh"])
def test_two_numbers_where_no_more_has_opened(language: Language) -> None:
    page = Page(report.render(ModelReport(discrimination=Discrimination(4000, 0.97, 0.8, 256)), language=language))
    shown = "".join(page.texts)
    assert page.elements["svg"] == page.elements["table"] == 0
    assert all(number in shown for number in ("0.970", "0.800", "0.940", "4,000", "256"))
    assert all(WORDS[key][language] in shown for key in ("auc.means", "ks.alone", "gini.means", "warnings"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            replace(FULL, training=TrainingSummary(10, 5, converged=True, separated=True)),
            "tells bad from good without error",
        ),
        (replace(FULL, training=TrainingSummary(10, 5, converged=False)), "more iterations"),
        (replace(FULL, holdout=judged(3, 200)), "figures are uncertain"),
        (
            replace(FULL, train=metrics.evaluate([0] * 300 + [1] * 300, np.linspace(0, 1, 600)), holdout=None),
            "AUC is 1.000",
        ),
        (
            replace(FULL, train=metrics.evaluate([0] * 300 + [1] * 300, np.linspace(0, 1, 600))),
            "learned its rows by heart",
        ),
        (FULL, "Information value above 0.5: x."),
        (replace(FULL, stability={"score": metrics.stability_index([1, 1], [1, 9])}), "shifted (PSI"),
        (replace(FULL, holdout=judged(4, shift=-1.0)), "recalibrate"),
    ],
)
def test_what_is_out_of_order_is_said(changed: ModelReport, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.learning.report_pictures.of", lambda *_: {section: [] for section in SECTIONS})
    assert said in report.render(changed)
    quiet = replace(FULL, ivs=(), warnings=(), stability=None)
    assert "To be heeded" not in report.render(quiet)


SECTIONS = ("quality", "features", "stability", "training")


def test_words_are_the_same_in_both_languages_and_all_used() -> None:
    folder = files("protocols.learning")
    sources = "".join(
        (folder / name).read_text(encoding="utf-8")
        for name in ("report.py", "report_pictures.py", "templates/report.html")
    )
    made = {f"iv.{word}" for _, word in report.STRENGTHS} | {"stable", "watch", "shifted"}
    made |= {"ks.alone"} | {f"{name}.means" for name in ("auc", "ks", "gini", "brier", "log_loss")}
    made |= {f"coefficients.{family}" for family in get_args(Family)}
    made |= {f"fig.{bars}{of}" for bars in ("iv", "importance") for of in ("", ".read")}
    for key, word in WORDS.items():
        assert word.keys() == {"en", "zh"}, key
        names = [sorted(name for _, name, *_ in string.Formatter().parse(text) if name) for text in word.values()]
        assert names[0] == names[1], key
        assert key in made or f'"{key}"' in sources, key


@pytest.mark.parametrize("family", get_args(Family))
def test_coefficients_are_explained_by_the_family(family: Family) -> None:
    page = report.render(ModelReport(family=family, coefficients={"age": math.log(2)}))
    assert WORDS[f"coefficients.{family}"]["en"].replace("'", "&#39;") in page
    assert ("<td>2.000</td>" in page) == (family != "linear")


def test_strengths() -> None:
    assert [report.strength(iv) for iv in (0.0, 0.019, 0.02, 0.1, 0.3, 0.5, 9.0)] == [
        "none",
        "none",
        "weak",
        "medium",
        "strong",
        "suspicious",
        "suspicious",
    ]


def test_other_languages_and_missing_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="'en' or 'zh'"):
        report.render(ModelReport(), language="fr")  # type: ignore[arg-type]
    for name in ("matplotlib", "jinja2"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(UsageError, match=r"pip install 'unseen\[report\]'"):
                report.render(ModelReport())


def test_importing_needs_no_extra() -> None:
    code = "import sys, protocols.learning.report; assert not {'matplotlib', 'jinja2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
