"""Scores of people by a joint model: a warm connection to the node that has the other part of it.

    with connect(Path("bank"), "repayment-score", node="tax-bureau@10.0.0.7:7700") as scorer:
        (one,) = scorer.score([("11010519491231002X",)], {"income": [12_000], "age": [36]})
        one.probability, one.grade

The bank, whose labels the model was trained on, brings its own columns of each person, which do not leave it; the node
adds its part of the sum, or both compare the sum with the product's cuts and nothing but the grade opens. The node
learns whom it is asked about. Of a model of three parties and more, name a product of each partner: of those that
release scores the sums are put together. Which version of the bank's own part is used follows from what the node
scores with.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel, Traffic
from mpc.errors import PolicyError, UsageError
from mpc.rng import Rng
from mpc.session import Session
from mpc.transport import grpc as transport
from mpc.wire.node.v1 import node_pb2
from protocols.learning import leaf_sums, scoring
from protocols.learning.boosted import BoostedPart, Coded
from protocols.learning.columns import Table
from protocols.learning.leaf_sums import Offers
from protocols.learning.release import OPERATORS, Release
from protocols.learning.scoring import Answers, Asking, Sums
from unseen import asker
from unseen.asker import Key
from unseen.governance.enrolment import Identity
from unseen.hello import scoring_hello
from unseen.home import Home
from unseen.models import ModelStore, Statement, Stored
from unseen.server import as_credentials

ANSWER_TIMEOUT_S = 60.0
BATCH = 200
"""Keys in one message."""


@dataclass(frozen=True)
class Score:
    """What came out for one person.

    Attributes:
        found: whether the node has a record of the key.
        total: the score; None where it was not released, or there is none, or one of each class.
        probability: what the score means; None with it.
        grade: how many of the product's cuts are not above the score; None where that was released, or there is none.
        refusal: why the node did not score it; None if it did.
        totals: of a model of several classes the score of each; None otherwise.
        probabilities: what they mean; None with them.
    """

    found: bool
    total: float | None = field(repr=False)
    probability: float | None = field(repr=False)
    grade: int | None = field(repr=False)
    refusal: PolicyError | None
    totals: tuple[float, ...] | None = field(default=None, repr=False)
    probabilities: tuple[float, ...] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Partner:
    """A warm session with one product of one node."""

    asking: Asking
    offer: node_pb2.Product
    scenario: str


class Scorer:
    """A warm connection to a scoring product, or to one of each partner of a model. Made by `connect`; close it, or use
    it in a ``with`` statement. For one thread at a time.
    """

    def __init__(
        self,
        home: Home,
        identity: Identity,
        stored: Stored,
        partners: Sequence[_Partner],
        *,
        stack: ExitStack,
    ) -> None:
        """Use `connect`."""
        self._home = home
        self._identity = identity
        self._trust = identity.trust()
        self._stored = stored
        self._partners = tuple(partners)
        self._stack = stack
        part = stored.part
        self._plan = leaf_sums.plan(part, self.nodes[0]) if isinstance(part, BoostedPart) else None

    def __enter__(self) -> Scorer:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        self.close()

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes' names."""
        return tuple(partner.asking.channel.peer for partner in self._partners)

    @property
    def statement(self) -> Statement:
        """Which version of this party's own part is used."""
        return self._stored.statement

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that this party's own part reads."""
        return self._stored.part.sources

    @property
    def release(self) -> Release:
        """What the nodes release."""
        return self._partners[0].asking.terms.release

    @property
    def cuts(self) -> tuple[float, ...]:
        """Where one grade ends and the next begins; none where scores are released."""
        return self._partners[0].asking.terms.cuts

    @property
    def key_form(self) -> str:
        """Form of the keys."""
        return self._partners[0].asking.terms.key_form

    @property
    def traffic(self) -> tuple[Traffic, ...]:
        """Bytes and rounds so far, with each node."""
        return tuple(partner.asking.channel.traffic for partner in self._partners)

    def score(self, keys: Sequence[Key], table: Table, *, batch: int = BATCH) -> list[Score]:
        """Have people scored.

        Args:
            keys: n keys, of the form that `key_form` says; each of as many texts as that form has parts.
            table: this party's own columns of the same n people, in order; those that `columns` names are read.
            batch: how many go in one message, at most 1000.

        Returns:
            A score per key, in order. A person of whom a node has no record, and one whose day's calls are spent, have
            one too, which says so.

        Raises:
            InvalidIdentifier: a key that is not of the form.
            UsageError: other lengths, columns that are missing, values that the model's preparation refuses.
            PolicyError: a node refuses all of it.
            PeerError: a node broke the protocol.
            ChannelError: a connection was lost.
        """
        if not 1 <= batch <= scoring.MAX_KEYS:
            raise UsageError(f"batch is 1 to {scoring.MAX_KEYS}, not {batch}.")
        if not keys:
            return []
        own = self._own(table)
        if len(own) != len(keys):
            raise UsageError(
                f"there are {len(keys)} keys and {len(own)} rows: give one row of your columns for each key."
            )
        packed = list(asker.canonical_keys(keys, form=self.key_form))
        result: list[Score] = []
        for start in range(0, len(keys), batch):
            rows = slice(start, start + batch)
            first, *others = self._partners
            if isinstance(own, Coded):
                told = [self._ask(first, packed[rows], self._offers(own.rows(rows)))]
            else:
                told = [self._ask(first, packed[rows], own[rows])]
                # A score is this party's part and those of all partners: with the first one's its own was counted.
                told += [self._ask(partner, packed[rows], np.zeros_like(own[rows])) for partner in others]
            result += self._scores(told)
        return result

    def _probability(self, total: NDArray[np.float64], found: NDArray[np.bool_]) -> NDArray[np.float64]:
        result = np.full_like(total, math.nan)
        if found.any():
            result[found] = self._stored.part.probability(total[found])
        return result

    def close(self) -> None:
        """End the connections."""
        self._stack.close()

    def _own(self, table: Table) -> Sums | Coded:
        part = self._stored.part
        return part.coded(table) if isinstance(part, BoostedPart) else scoring.checked(part.score(table))

    def _offers(self, rows: Coded) -> Offers:
        """What each of the partner's nodes adds to the margins of some rows."""
        part = self._stored.part
        if self._plan is None or not isinstance(part, BoostedPart):
            raise UsageError("this model is not of boosted trees.")
        return leaf_sums.offers(self._plan, rows, base_score=part.base_score or 0.0)

    def _ask(self, partner: _Partner, keys: Sequence[bytes], own: Sums | Offers) -> Answers:
        answers = partner.asking.ask(keys, own, scenario=partner.scenario)
        asker.keep_receipts(
            self._home,
            self._identity,
            self._trust,
            () if answers.receipt is None else (answers.receipt,),
            node=partner.asking.channel.peer,
            product=partner.offer.name,
            protocol=partner.offer.operator,
        )
        return answers

    def _scores(self, told: Sequence[Answers]) -> list[Score]:
        status = np.stack([answers.status for answers in told])
        found = (status == scoring.FOUND).all(axis=0)
        spent = (status == scoring.OVER_QUOTA).any(axis=0)
        totals = [answers.totals for answers in told if answers.totals is not None]
        opens = len(totals) == len(told)
        total = np.sum(totals, axis=0) if opens else np.full(len(found), math.nan)
        grades = told[0].grades
        if total.ndim == 2:
            probable = self._probability(total, found)
            return [
                Score(
                    found=bool(found[i]),
                    total=None,
                    probability=None,
                    grade=None,
                    refusal=_SPENT if spent[i] else None,
                    totals=tuple(total[i].tolist()) if found[i] else None,
                    probabilities=tuple(probable[i].tolist()) if found[i] else None,
                )
                for i in range(len(found))
            ]
        probabilities = self._probability(total, found)
        return [
            Score(
                found=bool(found[i]),
                total=float(total[i]) if found[i] and opens else None,
                probability=float(probabilities[i]) if found[i] and opens else None,
                grade=int(grades[i]) if found[i] and grades is not None else None,
                refusal=_SPENT if spent[i] else None,
            )
            for i in range(len(found))
        ]


_SPENT = PolicyError(
    "the day's calls for this person, or under this rule, are spent",
    code="quota-exceeded",
    remedy="Try again tomorrow (UTC), or ask the node's operator for a higher limit.",
)

_RELEASES: Mapping[str, Release] = {operator.name: name for name, operator in OPERATORS.items()}


def connect(
    home: Path,
    product: str | Sequence[str],
    *,
    node: str | Sequence[str] | None = None,
    coordinator_at: str | None = None,
    scenario: str | None = None,
    model: str | None = None,
    version: int | None = None,
    resume_window_s: float = 30.0,
) -> Scorer:
    """Connect to a product that scores, and find this party's own part that goes with it.

    Args:
        home: this party's home directory, with an identity and the model's part (`unseen model import`).
        product: the product's name; of a model of three parties and more, the product of each partner.
        node: ``name@host:port``; or the name alone, where a coordinator knows the address; None where the coordinator
            knows only one node with this product. One for each product, in their order.
        coordinator_at: ``name@host:port`` of the coordinator; None to do without one.
        scenario: what for; None where the node's policy has only one scenario for this party.
        model: the model that the product must score with; None for any that is in the store.
        version: of this party's own part; None for the one of the training that the node's part comes from.
        resume_window_s: how long a lost connection is dialled again, seconds.

    Raises:
        UsageError: no such product or model; parts of two trainings; other than a product of each partner; grades of a
            model of more than two parties.
        PolicyError: a node's policy does not allow it, or a certificate is not in order.
        ChannelError: a node cannot be reached.
    """
    products = (product,) if isinstance(product, str) else tuple(product)
    nodes: tuple[str | None, ...] = (None,) * len(products)
    if node is not None:
        nodes = (node,) if isinstance(node, str) else tuple(node)
    if not products or len(nodes) != len(products):
        raise UsageError(
            f"{len(products)} products and {len(nodes)} nodes: name the node of each product, in their order."
        )
    own, identity = Home(home), Identity.load(home)
    with ExitStack() as stack:
        partners = [
            _partner(own, identity, stack, one, place, coordinator_at, scenario, resume_window_s)
            for one, place in zip(products, nodes, strict=True)
        ]
        stored = _own_part(ModelStore(own), partners, me=identity.name, model=model, version=version)
        return Scorer(own, identity, stored, partners, stack=stack.pop_all())


def _partner(
    home: Home,
    identity: Identity,
    stack: ExitStack,
    product: str,
    node: str | None,
    coordinator_at: str | None,
    scenario: str | None,
    resume_window_s: float,
) -> _Partner:
    place = asker.find(home, identity, product, node=node, coordinator_at=coordinator_at, warnings=[])
    offer = asker.offer_of(asker.describe(identity, place), product, suite=identity.suite)
    release = _RELEASES.get(offer.operator)
    if release is None:
        told = asker.printable(offer.operator)[:63]
        raise UsageError(f"{product} is served by {told}, which scores nobody; ask it by `unseen query`.")
    chosen = asker.scenario_for(offer, place.name, scenario)
    connection = transport.connect(
        place.address,
        me=identity.name,
        peer=place.name,
        hello=scoring_hello(
            release, session=secrets.token_hex(16), product=product, scenario=chosen, suite=offer.suite
        ),
        credentials=as_credentials(identity),
        resume_window_s=resume_window_s,
    )
    stack.callback(connection.close)
    channel = Channel(connection.lane, protocol=offer.operator, timeout_s=ANSWER_TIMEOUT_S)
    session = Session(identity.name, {place.name: channel}, Rng())
    asking = stack.enter_context(scoring.asking(session, place.name, suite=identity.suite))
    channel.require(asking.terms.release == release, "the release that the product's operator says")
    return _Partner(asking, offer, chosen)


def _own_part(
    store: ModelStore, partners: Sequence[_Partner], *, me: str, model: str | None, version: int | None
) -> Stored:
    """This party's part that goes with what the nodes score with."""
    first, names = partners[0].asking.terms, [partner.asking.channel.peer for partner in partners]
    for partner in partners:
        terms, node = partner.asking.terms, partner.asking.channel.peer
        if model not in (None, terms.model):
            raise UsageError(f"{node} scores with model {terms.model}, not with {model}. Ask a product that has yours.")
        if (terms.model, terms.job) != (first.model, first.job):
            raise UsageError(
                f"{node} scores with model {terms.model} of job {terms.job}, and {names[0]} with model {first.model} "
                f"of job {first.job}: ask their owners for parts of one training."
            )
        if terms.key_form != first.key_form:
            raise UsageError(f"{node} takes keys of another form than {names[0]}: ask their owners for one form.")
    stored = store.load(first.model, version=version, job=None if version is not None else first.job)
    part, job = stored.part, stored.statement.job
    if job != first.job:
        raise UsageError(
            f"version {stored.statement.version} of model {first.model} is of job {job}, and {names[0]} scores with "
            f"the part of job {first.job}. Parts of one training belong together: leave the version out, or import "
            "that job."
        )
    if part.label_party != me or first.label_party != me:
        raise UsageError(f"the labels of model {first.model} were {part.label_party}'s: that party has people scored.")
    if sorted([me, *names]) != list(part.parties):
        raise UsageError(
            f"model {first.model} is of {', '.join(part.parties)}: name a product of each of them but {me}, and of "
            "nobody else."
        )
    _require_trees(stored, partners[0])
    if len(names) > 1 and any(partner.asking.terms.release == "grade" for partner in partners):
        raise UsageError(
            f"model {first.model} is of {len(part.parties)} parties: online, grades are between two. Have them graded "
            "as a job, learning.grade."
        )
    return stored


def _require_trees(stored: Stored, partner: _Partner) -> None:
    """UsageError unless the node's part is of boosted trees where the own one is, and of the same."""
    part, terms, node = stored.part, partner.asking.terms, partner.asking.channel.peer
    nodes: tuple[int, ...] = ()
    if isinstance(part, BoostedPart):
        if len(part.parties) > 2:
            raise UsageError(
                f"the trees of model {part.model} are of {len(part.parties)} parties: online, trees are between two. "
                "Have people scored as a job, learning.score or learning.grade."
            )
        nodes = tuple(leaf_sums.shape_of(tree).count_of(node) for tree in part.trees)
    if nodes != terms.nodes or (isinstance(part, BoostedPart) and part.classes != terms.classes):
        raise UsageError(
            f"{node} has other trees of model {part.model} than this party's part says. Parts of one training belong "
            "together: ask its owner which job its part comes from."
        )
