"""A party's part of boosted trees: its own binning and its own nodes, and nothing of another party's columns.

    part = BoostedPart.of(fitted, cuts, session=session, label_party="bank", objective="binary:logistic", …)
    part.importance("gain")                                  # of this party's columns
    part.probability(margins)                                # what the sums of all trees mean
    json.dumps(part.to_json())                               # its document, for `BoostedPart.from_json`

Trees do not fall into sums of one party's columns each, so that no part alone scores anything: the parties of a model
predict together (``protocols.learning.boosted_scoring``). All parts of one model have the same name, `model`, and those
of one training the same `training`: parts of two trainings do not belong together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from protocols.learning import documents, model, trees
from protocols.learning.binned import Cuts
from protocols.learning.boosting_terms import OBJECTIVES, Objective
from protocols.learning.columns import Table
from protocols.learning.trees import Codes, Grove, PartTree

FORMAT = "unseen boosted part"
MAX_NODES = 1 << 20
"""Most nodes of one party in all trees of a model."""
MAX_CLASSES = 1 << 10
"""Most classes."""

Importance: TypeAlias = Literal["weight", "gain", "cover"]

_FIELDS = (
    "model",
    "training",
    "objective",
    "party",
    "label_party",
    "parties",
    "binning",
    "trees",
    "base_score",
    "classes",
    "rows",
    "trained",
)


@dataclass(frozen=True)
class Coded:
    """A party's columns of n rows, as its nodes compare them.

    Attributes:
        codes: (n, k).
        missing_code: (k,), of ``trees.missing_codes``.
    """

    codes: Codes = field(repr=False)
    missing_code: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, which: slice | NDArray[np.bool_] | NDArray[np.int64]) -> Coded:
        """Some of the rows."""
        return Coded(self.codes[which], self.missing_code)


@dataclass(frozen=True, eq=False)
class BoostedPart:
    """What one party keeps of boosted trees.

    Attributes:
        model: name of the model, 16 hexadecimal digits, the same in all of its parts.
        training: names the training, 16 to 64 hexadecimal digits, the same in all parts that belong together.
        objective: what a margin means, by XGBoost's name.
        party: whose part it is.
        label_party: who had the labels.
        parties: all parties of the model, in sorted order.
        binning: from this party's columns to its codes.
        trees: this party's part of each tree, round after round, and in a round class after class. The label party's
            have shapes.
        base_score: the margin that every score begins with, at the label party; None at the others.
        classes: margins of a row: 1, or with ``multi:softprob`` as many as there are classes.
        rows: of training.
        trained: when, RFC 3339.

    Raises:
        UsageError: parts that do not fit each other.
    """

    model: str
    training: str
    objective: Objective
    party: str
    label_party: str
    parties: tuple[str, ...]
    binning: Cuts = field(repr=False)
    trees: tuple[PartTree, ...] = field(repr=False)
    base_score: float | None = field(repr=False)
    classes: int
    rows: int
    trained: str

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{16}", self.model) or not re.fullmatch("[0-9a-f]{16,64}", self.training):
            raise UsageError(
                "A model's name is 16 hexadecimal digits, that of its training 16 to 64, in small letters."
            )
        if self.objective not in OBJECTIVES:
            raise UsageError(f"The objective of boosted trees is one of {', '.join(OBJECTIVES)}.")
        if tuple(sorted(set(self.parties))) != self.parties or not {self.party, self.label_party} <= set(self.parties):
            raise UsageError(
                "A model's parties are named once each, in sorted order, this and the label party among them."
            )
        several = self.objective == "multi:softprob"
        if not (2 <= self.classes <= MAX_CLASSES if several else self.classes == 1):
            raise UsageError(f"multi:softprob has 2 to {MAX_CLASSES} classes, each with a margin; other objectives 1.")
        if not self.trees or len(self.trees) % self.classes:
            raise UsageError("A model has at least one tree, and a tree for each class in every round.")
        if self.nodes.sum() > MAX_NODES:
            raise UsageError(f"A party has at most {MAX_NODES} nodes in all trees: train fewer trees, or lower ones.")
        self._require_shapes()
        if (self.base_score is not None) != (self.party == self.label_party):
            raise UsageError("The label party's part has the base score, 0.0 where there is none, and no other has.")
        if self.base_score is not None and not abs(self.base_score) < trees.LARGEST:
            raise UsageError(f"The base score is a margin, a number below {trees.LARGEST:.0f}.")
        try:
            zoned = datetime.fromisoformat(self.trained).tzinfo is not None
        except ValueError:
            zoned = False
        if not zoned:
            raise UsageError("`trained` is a time with its zone, such as 2030-01-31T12:00:00Z.")

    def _require_shapes(self) -> None:
        sizes = self.sizes
        for tree in self.trees:
            tree.require_fits(self.party, sizes)
            if (tree.shape is None) != (self.trees[0].shape is None):
                raise UsageError("A part has the shapes of all of its trees, or of none.")
            if tree.shape is None and self.party == self.label_party:
                raise UsageError("The label party's part has the shapes of all trees.")
            if tree.shape is not None:
                if not {one.owner for one in tree.shape.inner} <= set(self.parties):
                    raise UsageError("A tree has nodes of a party that the model does not name.")
                leaf = tree.shape.leaves[0]
                if (leaf.share is not None) != self.shared:
                    raise UsageError("A part has shares of the leaves of all trees, or of none.")
                if self.party == self.label_party and leaf.weight is None and leaf.share is None:
                    raise UsageError("The label party's part has the weights of the leaves, or its shares of them.")

    @staticmethod
    def of(
        part_trees: Sequence[PartTree],
        binning: Cuts,
        *,
        party: str,
        label_party: str,
        parties: Sequence[str],
        objective: Objective,
        base_score: float | None,
        model: str,
        training: str,
        rows: int,
        trained: str,
        classes: int = 1,
        gains: Sequence[Sequence[float]] = (),
    ) -> BoostedPart:
        """This party's part of what was trained on `binning`'s codes.

        Args:
            part_trees: this party's, in the order of training.
            binning: what made this party's codes of its table.
            party: this one.
            label_party: who had the labels.
            parties: all of the training.
            objective: as it was trained.
            base_score: the margin that scores begin with; taken at the label party alone.
            model: name of the model, the same at all parties.
            training: names the training, the same at all parties.
            rows: of training.
            trained: when, RFC 3339.
            classes: margins of a row.
            gains: of each tree what its splits gained, in the order of ``Shape.inner``, where this party knows.

        Raises:
            UsageError: parts that do not fit each other.
        """
        own = tuple(part_trees)
        if gains:
            if len(gains) != len(own):
                raise UsageError(f"There are {len(own)} trees: give the gains of each.")
            own = tuple(_with_gains(tree, known, party) for tree, known in zip(own, gains, strict=True))
        return BoostedPart(
            model=model,
            training=training,
            objective=objective,
            party=party,
            label_party=label_party,
            parties=tuple(sorted(parties)),
            binning=binning,
            trees=own,
            base_score=(base_score or 0.0) if party == label_party else None,
            classes=classes,
            rows=rows,
            trained=trained,
        )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(k,) bins of each of this party's columns of codes, with one for missing values that training did not have.

        A tree has no split behind that one; a part whose trees have belongs to another binning.
        """
        return self.binning.sizes

    @property
    def nodes(self) -> NDArray[np.int64]:
        """(trees,) how many nodes of each tree are this party's."""
        return np.array([len(tree.own) for tree in self.trees], dtype=np.int64)

    @cached_property
    def grove(self) -> Grove:
        """This party's parts of all trees side by side, class after class."""
        return trees.grove(self.by_class)

    @property
    def by_class(self) -> tuple[PartTree, ...]:
        """The trees, those of the first class first: the order in which a row's margins are put together."""
        return tuple(tree for one in range(self.classes) for tree in self.trees[one :: self.classes])

    @property
    def shared(self) -> bool:
        """Whether this part has shares of the leaves' weights, which nobody knows then."""
        shape = self.trees[0].shape
        return shape is not None and shape.leaves[0].share is not None

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns of a table that this part reads."""
        return tuple(dict.fromkeys(self.binning.sources))

    def coded(self, table: Table, *, rows: int | None = None) -> Coded:
        """The columns of n rows as this part's nodes compare them, by the bins of its training.

        Args:
            table: n rows, with the columns that `sources` names.
            rows: n, where the table need not tell: a label party may have no columns.

        Raises:
            UsageError: what ``Cuts.codes`` refuses.
        """
        binned = self.binning.codes(table, rows=rows)
        return Coded(binned.codes, trees.missing_codes(binned.sizes, binned.missing))

    def require_one_margin(self) -> None:
        """UsageError where rows have several margins, with which cuts cannot be compared."""
        if self.classes != 1:
            raise UsageError(
                f"Grades are of one margin, and this model has one for each of {self.classes} classes: release scores."
            )

    def importance(self, kind: Importance = "gain") -> dict[str, float]:
        """How much each of this party's columns of codes does, by XGBoost's definitions; zero where no node uses it.

        Args:
            kind: ``weight``, how many splits; ``gain`` or ``cover``, the mean of its splits' gain, or of the hessians
                of the rows that they split.

        Raises:
            UsageError: another kind, or one that this party does not know.
        """
        if kind not in get_args(Importance):
            raise UsageError(f"kind is one of {', '.join(get_args(Importance))}, not {kind!r}.")
        total, count = (np.zeros(len(self.binning.names)) for _ in range(2))
        for tree in self.trees:
            known = {"weight": (1.0,) * len(tree.own), "gain": tree.gains, "cover": tree.covers}[kind]
            if known is None:
                raise UsageError(
                    f"{self.party} does not know what its splits' {kind} was: the label party does. "
                    "importance('weight') counts this party's splits."
                )
            for node, value in zip(tree.own, known, strict=True):
                total[node.column] += value
                count[node.column] += 1
        values = total if kind == "weight" else total / np.maximum(count, 1)
        return dict(zip(self.binning.names, values.tolist(), strict=True))

    def probability(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """What margins mean: (n,) a probability, or a mean; (n, classes) the classes' probabilities."""
        return mean_of(self.objective, total)

    def to_json(self) -> dict[str, object]:
        """A document of plain JSON values, for ``from_json``. It holds this party's secrets."""
        return {"format": FORMAT, "version": 1} | {name: getattr(self, name) for name in _FIELDS} | {
            "parties": list(self.parties),
            "binning": self.binning.to_json(),
            "trees": [trees.to_json(tree) for tree in self.trees],
        }  # fmt: skip

    @staticmethod
    def from_json(document: object) -> BoostedPart:
        """Take what ``to_json`` made.

        Raises:
            UsageError: anything else, or another version's.
        """
        read = documents.read_version(document, _FIELDS, what=FORMAT)
        objective = next((name for name in OBJECTIVES if name == read.text("objective")), None)
        if objective is None:
            raise UsageError(f"{FORMAT}: the objective is not known. Read it by the version that wrote it.")
        return BoostedPart(
            model=read.text("model"),
            training=read.text("training"),
            objective=objective,
            party=read.text("party"),
            label_party=read.text("label_party"),
            parties=read.texts("parties"),
            binning=Cuts.from_json(read.object("binning")),
            trees=tuple(trees.from_json(tree) for tree in read.items("trees")),
            base_score=None if read.is_null("base_score") else read.number("base_score"),
            classes=read.whole("classes"),
            rows=read.whole("rows"),
            trained=read.text("trained"),
        )


def mean_of(objective: Objective, total: NDArray[np.float64]) -> NDArray[np.float64]:
    """What margins stand for: (n,) probabilities or means, (n, classes) probabilities that add up to one."""
    if objective == "multi:softprob":
        powers = np.exp(total - total.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities
    if objective == "binary:logistic":
        return model.mean_of("logistic", total)
    return model.mean_of("poisson" if objective == "count:poisson" else "linear", total)


def _with_gains(tree: PartTree, known: Sequence[float], party: str) -> PartTree:
    """The tree with the gains of its own nodes, of those of all inner nodes."""
    if tree.shape is None or len(known) != len(tree.shape.inner):
        raise UsageError("Gains are those of a tree's inner nodes, in the order of its shape.")
    mine = {one.number: gain for one, gain in zip(tree.shape.inner, known, strict=True) if one.owner == party}
    gains = tuple(mine[number] for number in range(len(tree.own)))
    return PartTree(tree.own, tree.shape, gains, tree.covers)
