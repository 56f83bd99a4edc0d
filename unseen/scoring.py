"""Scores of people by a joint model: a warm connection to the node that has the other part of it.

    with connect(Path("bank"), "repayment-score", node="tax-bureau@10.0.0.7:7700") as scorer:
        (one,) = scorer.score([("11010519491231002X",)], {"income": [12_000], "age": [36]})
        one.probability, one.grade

The bank, whose labels the model was trained on, brings its own columns of each person, which do not leave it; the node
adds its part of the sum, or both compare the sum with the product's cuts and nothing but the grade opens. The node
learns whom it is asked about. Which version of the bank's own part is used follows from what the node scores with.
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

from mpc.channel import Channel, Traffic
from mpc.errors import PolicyError, UsageError
from mpc.rng import Rng
from mpc.session import Session
from mpc.transport import grpc as transport
from mpc.wire.node.v1 import node_pb2
from protocols.learning import scoring
from protocols.learning.columns import Table
from protocols.learning.release import OPERATORS, Release
from protocols.learning.scoring import Answers, Asking
from unseen import asker
from unseen.asker import Key
from unseen.governance.enrolment import Identity
from unseen.governance.trust import Trust
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
        total: the score; None where it was not released, or there is none.
        probability: what the score means; None with it.
        grade: how many of the product's cuts are not above the score; None where that was released, or there is none.
        refusal: why the node did not score it; None if it did.
    """

    found: bool
    total: float | None = field(repr=False)
    probability: float | None = field(repr=False)
    grade: int | None = field(repr=False)
    refusal: PolicyError | None


class Scorer:
    """A warm connection to a scoring product. Made by `connect`; close it, or use it in a ``with`` statement. For one
    thread at a time.
    """

    def __init__(
        self,
        home: Home,
        identity: Identity,
        trust: Trust,
        asking: Asking,
        stored: Stored,
        *,
        offer: node_pb2.Product,
        scenario: str,
        stack: ExitStack,
    ) -> None:
        """Use `connect`."""
        self._home = home
        self._identity = identity
        self._trust = trust
        self._asking = asking
        self._stored = stored
        self._offer = offer
        self._scenario = scenario
        self._stack = stack

    def __enter__(self) -> Scorer:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        self.close()

    @property
    def node(self) -> str:
        """The node's name."""
        return self._asking.channel.peer

    @property
    def statement(self) -> Statement:
        """Which version of this party's own part is used."""
        return self._stored.statement

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that this party's own part reads."""
        return self._stored.part.preparation.sources

    @property
    def release(self) -> Release:
        """What the node releases."""
        return self._asking.terms.release

    @property
    def cuts(self) -> tuple[float, ...]:
        """Where one grade ends and the next begins; none where scores are released."""
        return self._asking.terms.cuts

    @property
    def key_form(self) -> str:
        """Form of the keys."""
        return self._asking.terms.key_form

    @property
    def traffic(self) -> Traffic:
        """Bytes and rounds so far."""
        return self._asking.channel.traffic

    def score(self, keys: Sequence[Key], table: Table, *, batch: int = BATCH) -> list[Score]:
        """Have people scored.

        Args:
            keys: n keys, of the form that `key_form` says; each of as many texts as that form has parts.
            table: this party's own columns of the same n people, in order; those that `columns` names are read.
            batch: how many go in one message, at most 1000.

        Returns:
            A score per key, in order. A person of whom the node has no record, and one whose day's calls are spent,
            have one too, which says so.

        Raises:
            InvalidIdentifier: a key that is not of the form.
            UsageError: other lengths, columns that are missing, values that the model's preparation refuses.
            PolicyError: the node refuses all of it.
            PeerError: the node broke the protocol.
            ChannelError: the connection was lost.
        """
        if not 1 <= batch <= scoring.MAX_KEYS:
            raise UsageError(f"batch is 1 to {scoring.MAX_KEYS}, not {batch}.")
        if not keys:
            return []
        part = self._stored.part
        own = scoring.checked(part.score(table))
        if len(own) != len(keys):
            raise UsageError(
                f"there are {len(keys)} keys and {len(own)} rows: give one row of your columns for each key."
            )
        packed = list(asker.canonical_keys(keys, form=self.key_form))
        result: list[Score] = []
        for start in range(0, len(keys), batch):
            rows = slice(start, start + batch)
            answers = self._asking.ask(packed[rows], own[rows], scenario=self._scenario)
            asker.keep_receipts(
                self._home,
                self._identity,
                self._trust,
                () if answers.receipt is None else (answers.receipt,),
                node=self.node,
                product=self._offer.name,
                protocol=self._offer.operator,
            )
            result += self._scores(answers)
        return result

    def close(self) -> None:
        """End the connection."""
        self._stack.close()

    def _scores(self, answers: Answers) -> list[Score]:
        found = answers.status == scoring.FOUND
        n = len(found)
        totals = np.full(n, math.nan) if answers.totals is None else answers.totals
        grades = np.full(n, -1) if answers.grades is None else answers.grades
        probabilities = self._stored.part.probability(totals)
        return [
            Score(
                found=bool(there),
                total=float(total) if there and answers.totals is not None else None,
                probability=float(probability) if there and answers.totals is not None else None,
                grade=int(grade) if there and answers.grades is not None else None,
                refusal=_SPENT if status == scoring.OVER_QUOTA else None,
            )
            for there, status, total, probability, grade in zip(
                found, answers.status, totals, probabilities, grades, strict=True
            )
        ]


_SPENT = PolicyError(
    "the day's calls for this person, or under this rule, are spent",
    code="quota-exceeded",
    remedy="Try again tomorrow (UTC), or ask the node's operator for a higher limit.",
)

_RELEASES: Mapping[str, Release] = {operator.name: name for name, operator in OPERATORS.items()}


def connect(
    home: Path,
    product: str,
    *,
    node: str | None = None,
    coordinator_at: str | None = None,
    scenario: str | None = None,
    model: str | None = None,
    version: int | None = None,
    resume_window_s: float = 30.0,
) -> Scorer:
    """Connect to a product that scores, and find this party's own part that goes with it.

    Args:
        home: this party's home directory, with an identity and the model's part (`unseen model import`).
        product: the product's name.
        node: ``name@host:port``; or the name alone, where a coordinator knows the address; None where the coordinator
            knows only one node with this product.
        coordinator_at: ``name@host:port`` of the coordinator; None to do without one.
        scenario: what for; None where the node's policy has only one scenario for this party.
        model: the model that the product must score with; None for any that is in the store.
        version: of this party's own part; None for the one of the training that the node's part comes from.
        resume_window_s: how long a lost connection is dialled again, seconds.

    Raises:
        UsageError: no such product or model; parts of two trainings; a model of more than two parties.
        PolicyError: the node's policy does not allow it, or a certificate is not in order.
        ChannelError: the node cannot be reached.
    """
    own = Home(home)
    identity = Identity.load(home)
    place = asker.find(own, identity, product, node=node, coordinator_at=coordinator_at, warnings=[])
    offer = asker.offer_of(asker.describe(identity, place), product, suite=identity.suite)
    release = _RELEASES.get(offer.operator)
    if release is None:
        told = asker.printable(offer.operator)[:63]
        raise UsageError(f"{product} is served by {told}, which scores nobody; ask it by `unseen query`.")
    chosen = asker.scenario_for(offer, place.name, scenario)
    with ExitStack() as stack:
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
        stored = _own_part(ModelStore(own), asking, me=identity.name, model=model, version=version)
        return Scorer(
            own,
            identity,
            identity.trust(),
            asking,
            stored,
            offer=offer,
            scenario=chosen,
            stack=stack.pop_all(),
        )


def _own_part(store: ModelStore, asking: Asking, *, me: str, model: str | None, version: int | None) -> Stored:
    """This party's part that goes with what the node scores with."""
    terms, node = asking.terms, asking.channel.peer
    if model not in (None, terms.model):
        raise UsageError(f"{node} scores with model {terms.model}, not with {model}. Ask for a product that has yours.")
    stored = store.load(terms.model, version=version, job=None if version is not None else terms.job)
    part, job = stored.part, stored.statement.job
    if job != terms.job:
        raise UsageError(
            f"version {stored.statement.version} of model {terms.model} is of job {job}, and {node} scores with the "
            f"part of job {terms.job}. Parts of one training belong together: leave the version out, or import that "
            "job."
        )
    if part.label_party != me or terms.label_party != me:
        raise UsageError(f"the labels of model {terms.model} were {part.label_party}'s: that party has people scored.")
    if set(part.parties) != {me, node}:
        raise UsageError(
            f"model {terms.model} is of {', '.join(part.parties)}: online {me} and {node} score what is of the two of "
            "them. Have models of more parties score as a job."
        )
    return stored
