"""A scorecard: whole points for each bin of each characteristic, so that a score is a sum that one can do by hand.

    card = Scorecard.of(part, base_score=600, base_odds=50, pdo=20)       each party, of its own part
    points = card.points(table)                                           (n,) whole points, this party's share
    total = bank_points + tax_points                                      the score; card.probability(total)

Of a logistic regression on weights of evidence, z = b + Σ_j w_j·WOE_j being the log odds of an event (by custom a
default), the score is [Siddiqi 2006, chapter 6]

    score = offset − factor·z,    factor = pdo / ln 2,    offset = base_score − factor·ln(base_odds)

so that `base_score` points mean odds of `base_odds` rows without an event to one with, and `pdo` more points double
them. Bin i of characteristic j has −factor·w_j·WOE_ji points, and offset − factor·b are everybody's: the label party's
part carries them, and the other parts only add and take away. Where a value falls into no bin, WOE and points are 0.

Points are rounded to whole ones, each by at most a half; `rounding` is by how much a row's sum of one part can differ
from the exact one, and those of all parts add up. Ten points with a `pdo` of 20 are a factor of 1.41 in the odds.

A part is made and kept by its owner alone: nothing here is sent. Points times -1/factor are coefficients times WOE, so
that whoever gets a part has the owner's model, and who gets the points of a row the owner's share of its score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from protocols.learning import columns, documents
from protocols.learning.bins import Bins
from protocols.learning.columns import Table
from protocols.learning.model import ModelPart
from protocols.learning.preparation import WoeColumn, values_for

FORMAT = "unseen scorecard part"

_MOST_POINTS = 1 << 31
_FIELDS = (
    "model",
    "party",
    "label_party",
    "base_score",
    "base_odds",
    "pdo",
    "base",
    "characteristics",
    "rounding",
    "notes",
)


@dataclass(frozen=True)
class Characteristic:
    """One column of a scorecard.

    Attributes:
        bins: its bins.
        points: whole points of each bin, in the bins' order.
    """

    bins: Bins
    points: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.points) != self.bins.number or not all(abs(p) < _MOST_POINTS for p in self.points):
            raise UsageError(f"{self.name!r} has {self.bins.number} bins: give each its whole points, below 2^31.")

    @property
    def name(self) -> str:
        """The column's name."""
        return self.bins.feature

    @property
    def rows(self) -> tuple[tuple[str, int], ...]:
        """What each bin is, and its points: the lines of a printed scorecard."""
        return tuple(zip(self.bins.labels, self.points, strict=True))

    def points_of(self, table: Table) -> NDArray[np.int64]:
        """(n,) int64: the points of each row's bin, 0 where there is none."""
        return np.array([*self.points, 0], dtype=np.int64)[self.bins.bin_of(values_for(self.bins, table))]


@dataclass(frozen=True)
class Scorecard:
    """One party's part of a scorecard.

    Attributes:
        model: name of the model that it is made of.
        party: whose part it is.
        label_party: whose part carries `base`.
        base_score: a score.
        base_odds: how many rows without an event there are to one with an event, at that score.
        pdo: points that double the odds.
        base: points that every row has; 0 in all parts but the label party's.
        characteristics: this party's, with their points.
        rounding: by how many points a sum of this part may differ from the exact one, by rounding.
        notes: what to look at before the card is used.
    """

    model: str
    party: str
    label_party: str
    base_score: float
    base_odds: float
    pdo: float
    base: int
    characteristics: tuple[Characteristic, ...]
    rounding: float
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(part: ModelPart, *, base_score: float = 600.0, base_odds: float = 50.0, pdo: float = 20.0) -> Scorecard:
        """Make this party's part of the scorecard of a model. All parties give the same three numbers.

        Args:
            part: of a logistic regression whose columns are all weights of evidence.
            base_score: a score, and
            base_odds: the odds against an event there: 50 is one event in 51 rows.
            pdo: points that double the odds; negative where more points are to mean more risk.

        Raises:
            UsageError: another kind of model, or one that nobody knows; numbers that make no scale.
        """
        if part.family != "logistic" or part.coefficients is None:
            raise UsageError(
                "A scorecard is made of a logistic regression that its owners know: reveal_model='owners'."
            )
        plain = [column.column for column in part.preparation.columns if not isinstance(column, WoeColumn)]
        if plain:
            raise UsageError(
                f"A scorecard has a bin for everybody, and {', '.join(map(repr, plain[:5]))} has no bins: prepare all "
                "columns as Woe, and train again."
            )
        if not (math.isfinite(base_score) and 0 < base_odds < math.inf and 0 < abs(pdo) < math.inf):
            raise UsageError("base_score is finite, base_odds positive, and pdo not zero: 600, 50 and 20, for example.")
        factor = pdo / math.log(2)
        shift = base_score - factor * math.log(base_odds) - factor * (part.intercept or 0.0)
        exact_base = shift if part.party == part.label_party else 0.0
        made, notes = [], []
        rounding = abs(exact_base - round(exact_base))
        for column, weight in zip(part.preparation.columns, part.coefficients.tolist(), strict=True):
            if not isinstance(column, WoeColumn) or column.bins.woe is None:
                continue
            exact = [-factor * weight * woe for woe in column.bins.woe]
            made.append(Characteristic(column.bins, tuple(map(round, exact))))
            rounding += max(abs(value - round(value)) for value in exact)
            if weight < 0:
                notes.append(
                    f"{column.column!r} has a negative coefficient: its points run against its own evidence, as "
                    "happens where columns say the same. Leave one of them out."
                )
            elif not any(made[-1].points):
                notes.append(f"{column.column!r} has no points in any bin: leave it out.")
        return Scorecard(
            model=part.model,
            party=part.party,
            label_party=part.label_party,
            base_score=float(base_score),
            base_odds=float(base_odds),
            pdo=float(pdo),
            base=round(exact_base),
            characteristics=tuple(made),
            rounding=rounding,
            notes=tuple(notes),
        )

    @property
    def range(self) -> tuple[int, int]:
        """The fewest and the most points that this part gives."""
        return (
            self.base + sum(min(c.points) for c in self.characteristics),
            self.base + sum(max(c.points) for c in self.characteristics),
        )

    def points(self, table: Table) -> NDArray[np.int64]:
        """(n,) int64: this part's points; the label party's with `base`.

        Raises:
            UsageError: a column that there is not, or of another kind.
        """
        total: NDArray[np.int64] = sum(
            (characteristic.points_of(table) for characteristic in self.characteristics),
            start=np.full(_rows(self, table), self.base, dtype=np.int64),
        )
        return total

    def probability(self, total: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) float64: the probability of an event that a score means, which is the sum of all parts' points."""
        doublings = (np.asarray(total, dtype=np.float64) - self.base_score) / self.pdo
        result: NDArray[np.float64] = 1 / (1 + self.base_odds * np.exp2(doublings))
        return result

    def lost(self, table: Table) -> NDArray[np.int64]:
        """(n, characteristics) int64: by how many points each is below its best bin."""
        lost = np.zeros((_rows(self, table), len(self.characteristics)), dtype=np.int64)
        for i, c in enumerate(self.characteristics):
            lost[:, i] = max(c.points) - c.points_of(table)
        return lost

    def reasons(self, table: Table, *, most: int = 4) -> list[tuple[str, ...]]:
        """For each row the characteristics of this part that cost it most points, the costliest first.

        Reasons of the whole score take every party's ``lost``; a party that tells the points a row lost tells its bins.

        Args:
            table: n rows.
            most: how many reasons at most; what costs nothing is none.

        Raises:
            UsageError: as for ``points``; fewer than one reason.
        """
        if most < 1:
            raise UsageError("most counts reasons: 1 at least.")
        lost = self.lost(table)
        order = np.argsort(-lost, axis=1, kind="stable")[:, :most]
        names = [c.name for c in self.characteristics]
        return [tuple(names[j] for j in row if lost[i, j] > 0) for i, row in enumerate(order.tolist())]

    def to_json(self) -> dict[str, object]:
        """A document of plain JSON values, for ``from_json``. It holds this party's part of the model."""
        return {"format": FORMAT, "version": 1} | {name: getattr(self, name) for name in _FIELDS} | {
            "characteristics": [{"bins": c.bins.to_json(), "points": list(c.points)} for c in self.characteristics],
            "notes": list(self.notes),
        }  # fmt: skip

    @staticmethod
    def from_json(document: object) -> Scorecard:
        """Take what ``to_json`` made.

        Raises:
            UsageError: anything else.
        """
        read = documents.read_version(document, _FIELDS, what=FORMAT)
        base, base_odds, pdo = read.number("base"), read.number("base_odds"), read.number("pdo")
        if base != round(base) or abs(base) >= _MOST_POINTS or base_odds <= 0 or pdo == 0:
            raise UsageError(f"{FORMAT}: the numbers make no scale. Make the document anew, by this library.")
        return Scorecard(
            model=read.text("model"),
            party=read.text("party"),
            label_party=read.text("label_party"),
            base_score=read.number("base_score"),
            base_odds=base_odds,
            pdo=pdo,
            base=round(base),
            characteristics=tuple(_characteristic(item) for item in read.items("characteristics")),
            rounding=read.number("rounding"),
            notes=read.texts("notes"),
        )


def _characteristic(item: object) -> Characteristic:
    read = documents.read(item, ("bins", "points"), what=f"a characteristic of an {FORMAT}")
    points = read.numbers("points")
    if any(value != round(value) for value in points):
        raise UsageError(f"{FORMAT}: points are whole. Make the document anew, by this library.")
    return Characteristic(Bins.from_json(read.object("bins")), tuple(map(round, points)))


def _rows(card: Scorecard, table: Table) -> int:
    name = card.characteristics[0].name if card.characteristics else columns.names(table)[0]
    return len(columns.column(table, name))
