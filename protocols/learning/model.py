"""A party's part of a trained model: its own preparation and coefficients, and nothing of another party's.

    part = ModelPart(model="00c0ffee00c0ffee", family="logistic", party="tax", …)
    part.score(table)                                        # (n,) this party's share of the linear score
    bank_part.probability(bank_score + tax_score)            # what the scores of all parts together mean

All parts of one model have the same name, `model`. A score of one part alone is part of a secret: where the label party
has the sum, it has the partner's part, too (``protocols.learning.scoring`` opens less).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.session import Session
from protocols.learning import documents
from protocols.learning.columns import Table
from protocols.learning.logistic import Fitted, Shares
from protocols.learning.preparation import Preparation

FORMAT = "unseen model part"

Family: TypeAlias = Literal["logistic", "linear", "poisson", "gamma"]

_FIELDS = (
    "model",
    "family",
    "party",
    "label_party",
    "parties",
    "preparation",
    "coefficients",
    "intercept",
    "shares",
    "rows",
    "iterations",
    "converged",
    "trained",
)


@dataclass(frozen=True, eq=False)
class ModelPart:
    """What one party keeps of a model.

    Attributes:
        model: name of the model, 16 hexadecimal digits, the same in all of its parts.
        family: what the score means: ``logistic`` (log odds), ``linear``, ``poisson`` or ``gamma`` (log of the mean).
        party: whose part it is.
        label_party: who had the labels; its part carries the intercept.
        parties: all parties of the model, in sorted order.
        preparation: from this party's columns to its k numbers.
        coefficients: (k,) float64, of the prepared columns; None where nobody learned them.
        intercept: of the label party; None at the others, and where nobody learned it.
        shares: with nobody knowing the model, this party's shares of all coefficients; None otherwise.
        rows: of training.
        iterations: of training.
        converged: whether training ended by its stopping rule.
        trained: when, RFC 3339.

    Raises:
        UsageError: parts that do not fit each other.
    """

    model: str
    family: Family
    party: str
    label_party: str
    parties: tuple[str, ...]
    preparation: Preparation
    coefficients: NDArray[np.float64] | None
    intercept: float | None
    shares: Shares | None
    rows: int
    iterations: int
    converged: bool
    trained: str

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{16}", self.model):
            raise UsageError("A model's name is 16 hexadecimal digits, in small letters.")
        if self.family not in get_args(Family):
            raise UsageError(f"A model's family is one of {', '.join(get_args(Family))}.")
        if tuple(sorted(set(self.parties))) != self.parties or not {self.party, self.label_party} <= set(self.parties):
            raise UsageError(
                "A model's parties are named once each, in sorted order, this and the label party among them."
            )
        if (self.coefficients is None) == (self.shares is None):
            raise UsageError("A part has coefficients, or a share of them, and not both.")
        if (self.intercept is not None) != (self.party == self.label_party and self.shares is None):
            raise UsageError("The label party's part has the intercept, 0.0 where there is none, and no other has.")
        k = len(self.preparation.names)
        if self.coefficients is not None:
            if np.shape(self.coefficients) != (k,) or not np.isfinite(self.coefficients).all():
                raise UsageError(f"The preparation makes {k} columns: give as many finite coefficients.")
            object.__setattr__(self, "coefficients", _frozen(np.asarray(self.coefficients, dtype=np.float64)))
        if self.shares is not None and self.shares.kept.shape != (k,):
            raise UsageError(f"The preparation makes {k} columns, and the shares are of {len(self.shares.kept)}.")
        if self.intercept is not None and not np.isfinite(self.intercept):
            raise UsageError("The intercept is a finite number.")
        try:
            zoned = datetime.fromisoformat(self.trained).tzinfo is not None
        except ValueError:
            zoned = False
        if not zoned:
            raise UsageError("`trained` is a time with its zone, such as 2030-01-31T12:00:00Z.")

    @staticmethod
    def of(
        fitted: Fitted,
        preparation: Preparation,
        *,
        session: Session,
        label_party: str,
        model: str,
        trained: str,
        family: Literal["logistic", "linear"] = "logistic",
    ) -> ModelPart:
        """This party's part of what ``logistic.fit`` trained on `preparation`'s columns.

        Args:
            fitted: what it returned here.
            preparation: what made this party's columns of its table.
            session: the run that it was trained in.
            label_party: as it was given.
            model: name of the model, the same at all parties.
            trained: when, RFC 3339.
            family: as it was trained.

        Raises:
            UsageError: parts that do not fit each other.
        """
        known = session.me == label_party and fitted.coefficients is not None
        return ModelPart(
            model=model,
            family=family,
            party=session.me,
            label_party=label_party,
            parties=session.parties,
            preparation=preparation,
            coefficients=fitted.coefficients,
            intercept=(fitted.intercept or 0.0) if known else None,
            shares=fitted.shares,
            rows=fitted.rows,
            iterations=fitted.iterations,
            converged=fitted.converged,
            trained=trained,
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns of a table that this part reads."""
        return self.preparation.sources

    def score(self, table: Table, *, rows: int | None = None) -> NDArray[np.float64]:
        """(n,) float64: this part's share of the linear score; the label party's with the intercept.

        Args:
            table: n rows.
            rows: n, where the table need not tell: a label party may have no features.

        Raises:
            UsageError: nobody knows the coefficients; what ``Preparation.transform`` refuses.
        """
        if self.coefficients is None:
            raise UsageError(
                "This model's coefficients are shared: score by a job of all parties, which keeps them so."
            )
        return self.preparation.transform(table, rows=rows) @ self.coefficients + (self.intercept or 0.0)

    def probability(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) float64: what the sums of all parts' scores mean: a probability, or the mean of the other families."""
        return mean_of(self.family, total)

    def to_json(self) -> dict[str, object]:
        """A document of plain JSON values, for ``from_json``. It holds this party's secrets."""
        return {"format": FORMAT, "version": 1} | {name: getattr(self, name) for name in _FIELDS} | {
            "parties": list(self.parties),
            "preparation": self.preparation.to_json(),
            "coefficients": None if self.coefficients is None else self.coefficients.tolist(),
            "shares": None if self.shares is None else _shares_json(self.shares),
        }  # fmt: skip

    @staticmethod
    def from_json(document: object) -> ModelPart:
        """Take what ``to_json`` made.

        Raises:
            UsageError: anything else.
        """
        read = documents.read_version(document, _FIELDS, what=FORMAT)
        family = next((name for name in get_args(Family) if name == read.text("family")), None)
        if family is None:
            raise UsageError(f"{FORMAT}: the family is not known. Read it by the version that wrote it.")
        return ModelPart(
            model=read.text("model"),
            family=family,
            party=read.text("party"),
            label_party=read.text("label_party"),
            parties=read.texts("parties"),
            preparation=Preparation.from_json(read.object("preparation")),
            coefficients=None if read.is_null("coefficients") else np.array(read.numbers("coefficients"), np.float64),
            intercept=None if read.is_null("intercept") else read.number("intercept"),
            shares=None if read.is_null("shares") else _shares_of(read.object("shares")),
            rows=read.whole("rows"),
            iterations=read.whole("iterations"),
            converged=read.flag("converged"),
            trained=read.text("trained"),
        )


def mean_of(family: Family, total: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) float64: the mean that a linear score of the family stands for, of a logistic one the probability."""
    if family == "linear":
        return np.asarray(total, dtype=np.float64)
    if family == "logistic":
        # The exponential of a negative number never overflows.
        small = np.exp(-np.abs(total))
        probability: NDArray[np.float64] = np.where(total >= 0, 1, small) / (1 + small)
        return probability
    mean: NDArray[np.float64] = np.exp(total)
    return mean


def _frozen(values: NDArray[np.float64]) -> NDArray[np.float64]:
    copied = values.copy()
    copied.setflags(write=False)
    return copied


_SHARES = ("words", "fraction", "compute", "owners", "unit", "kept", "centre", "scale")


def _shares_json(shares: Shares) -> dict[str, object]:
    """Words as text: JSON's numbers end at 2^53."""
    return {
        "words": [[f"{word:016x}" for word in component] for component in shares.components.tolist()],
        "fraction": shares.fraction,
        "compute": list(shares.compute),
        "owners": [[name, count] for name, count in shares.owners],
        "unit": shares.unit,
        "kept": [int(kept) for kept in shares.kept.tolist()],
        "centre": shares.centre.tolist(),
        "scale": shares.scale.tolist(),
    }


def _shares_of(document: object) -> Shares:
    read = documents.read(document, _SHARES, what=f"the shares of an {FORMAT}")
    components, owners = read.items("words"), read.items("owners")
    kept, centre, scale = (np.array(read.numbers(key), dtype=np.float64) for key in ("kept", "centre", "scale"))
    total = sum(_count(owner) for owner in owners)
    if not all(isinstance(words, list) and len(words) == total and all(map(_is_word, words)) for words in components):
        raise UsageError(f"{FORMAT}: the shares are not {total} words each. Make the document anew, by this library.")
    if not len(kept) == len(centre) == len(scale) or not np.isin(kept, (0, 1)).all() or not (scale > 0).all():
        raise UsageError(f"{FORMAT}: the shares' columns do not fit. Make the document anew, by this library.")
    words = [[int(word, 16) for word in words] for words in components if isinstance(words, list)]
    return Shares(
        components=np.array(words, dtype=np.uint64) if words else np.zeros((0, 0), dtype=np.uint64),
        fraction=read.whole("fraction"),
        compute=read.texts("compute"),
        owners=tuple((str(owner[0]), int(owner[1])) for owner in owners if isinstance(owner, list)),
        unit=read.number("unit"),
        kept=kept == 1,
        centre=centre,
        scale=scale,
    )


def _count(owner: object) -> int:
    match owner:
        case [str(), int(count)] if not isinstance(count, bool) and count >= 0:
            return count
    raise UsageError(f"{FORMAT}: an owner of shares is a name and a number. Make the document anew, by this library.")


def _is_word(word: object) -> bool:
    return isinstance(word, str) and re.fullmatch("[0-9a-f]{16}", word) is not None
