"""The resident process of a product that scores with this party's part of a model.

When it starts, every day, and when the owner says so, it reads the model's part and the data set, and keeps of each row
nothing but its key's digest and the part's sum: 24 bytes. Of boosted trees it keeps, in place of the sum, a bit for
each of this party's nodes: whether the row goes left there. A query is then a search, an entry in the ledger, and an
answer.

The asker says whom it asks about: this party learns that, and its policy says who may. Nobody's identifier is written
down: what the ledger counts a person's queries under, and what an entry says of a key, is a keyed hash of it.
"""

from __future__ import annotations

import hmac
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.data import tables
from mpc.data.tables import DataSet
from mpc.errors import MpcError, PolicyError, UsageError
from mpc.kernels import hash as digests
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng
from mpc.session import Session
from mpc.transport.grpc import Accepted, Hello
from protocols.learning import leaf_sums, scoring
from protocols.learning.boosted import BoostedPart
from protocols.learning.columns import Table
from protocols.learning.release import OPERATORS
from protocols.learning.scoring import Reply, Request, Terms
from unseen import server
from unseen.governance import ledger as ledgers
from unseen.governance.consent import CheckedConsent
from unseen.governance.documents import format_time, utc_now
from unseen.governance.enrolment import Identity
from unseen.governance.ledger import Evaluation, Ledger, Note, Quota
from unseen.governance.receipt import issue_receipt
from unseen.hello import scoring_hello
from unseen.home import Home
from unseen.models import ModelStore, Part
from unseen.node import resident, sealing, settings
from unseen.node.desk import Unpaid, to_wire
from unseen.node.gate import Gate, for_peer, name_or_none
from unseen.node.pipes import Report
from unseen.node.settings import Scorer

RETRY_S = 30.0
"""How soon data that could not be read are tried again, seconds."""

_NEVER = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
_log = logging.getLogger(__name__)

Kept = NDArray[np.float64] | NDArray[np.uint8]
"""(n,) sums, or of boosted trees (n, nodes / 8) packed bits."""


@dataclass(frozen=True)
class Records:
    """What a model's part gives for each row of the data set, by key.

    Attributes:
        number: counts the readings of the data, from 1.
        model, job, label_party: of the part.
        until: when the data are to be read again.
        nodes: of boosted trees, how many nodes of each tree are this party's; empty for other models.
        classes: margins of a row.
    """

    number: int
    model: str
    job: str
    label_party: str
    until: datetime
    nodes: tuple[int, ...]
    classes: int
    _salt: bytes = field(repr=False)
    _high: NDArray[np.uint64] = field(repr=False)  # (n,) sorted, then (n,) low: halves of the keys' digests
    _low: NDArray[np.uint64] = field(repr=False)
    _values: Kept = field(repr=False)

    def __len__(self) -> int:
        return len(self._high)

    def find(self, keys: Sequence[bytes]) -> tuple[NDArray[np.bool_], Kept]:
        """(n,) which keys there are, and what is kept of their rows, n of that, zero where there is none."""
        values = np.zeros((len(keys), *self._values.shape[1:]), self._values.dtype)
        if not len(self):
            return np.zeros(len(keys), np.bool_), values
        high, low = _halves(self._salt, pack(list(keys)))
        # Of 10^9 keys two have the same 64 bits with odds of 3 %; both halves decide.
        at = np.searchsorted(self._high, high)
        found = np.zeros(len(keys), np.bool_)
        for i, start in enumerate(at.tolist()):
            while start < len(self) and self._high[start] == high[i]:
                if self._low[start] == low[i]:
                    found[i], values[i] = True, self._values[start]
                    break
                start += 1
        return found, values

    def partial(self, values: Kept) -> NDArray[np.float64] | NDArray[np.bool_]:
        """Of what is kept of rows, what a ``scoring.Reply`` says: sums, or (nodes, m) bits."""
        if values.dtype == np.uint8:
            packed = np.asarray(values, dtype=np.uint8)
            return np.unpackbits(packed, axis=1, count=sum(self.nodes), bitorder="little").T.astype(np.bool_)
        return np.asarray(values, dtype=np.float64)


def read(home: Home, scorer: Scorer, *, number: int, now: datetime) -> Records:
    """Read the model's part and the data set, and score every row.

    Raises:
        UsageError: a model that is not there, was changed, or cannot score alone; data that cannot be read or scored.
        PolicyError: the model's statement is not genuine.
    """
    stored = ModelStore(home).load(scorer.model, version=scorer.version)
    part, data = stored.part, scorer.data
    check_columns(scorer, part.sources)
    require_online(scorer, part)
    source = data.source if "://" in data.source else str(home.root / data.source)
    table = DataSet(source, columns=data.columns, table=data.table, encoding=data.encoding)
    salt = os.urandom(16)  # nobody can prepare two keys that are taken for one
    highs, lows, kept = [], [], []
    for batch in tables.keyed(table, keys=data.keys, form=scorer.form, duplicates=data.duplicates):
        high, low = _halves(salt, batch.keys)
        highs.append(high)
        lows.append(low)
        try:
            kept.append(_kept(part, batch.columns))
        except UsageError as error:
            raise UsageError(f"rows from {batch.rows[0] if len(batch.rows) else 1} on: {error}") from None
    nodes = tuple(part.nodes.tolist()) if isinstance(part, BoostedPart) else ()
    nothing = np.zeros((0, -(-sum(nodes) // 8)), np.uint8) if nodes else np.zeros(0)
    high, low = (np.concatenate([np.zeros(0, np.uint64), *halves]) for halves in (highs, lows))
    values = np.concatenate([nothing, *kept])
    order = np.argsort(high)
    until = now + timedelta(seconds=scorer.refresh)
    return Records(
        number,
        part.model,
        stored.statement.job,
        part.label_party,
        until,
        nodes,
        part.classes if isinstance(part, BoostedPart) else 1,
        salt,
        high[order],
        low[order],
        values[order],
    )


def require_online(scorer: Scorer, part: Part) -> None:
    """Raises UsageError where a model's parts cannot score one person while a customer waits."""
    if not isinstance(part, BoostedPart):
        if part.coefficients is None:
            raise UsageError(
                f"nobody knows the coefficients of model {scorer.model}, so it cannot score online: train with "
                'reveal_model = "owners".'
            )
        return
    if len(part.parties) > 2:
        raise UsageError(
            f"the trees of model {scorer.model} are of {len(part.parties)} parties: online, trees are between two. "
            "Have people scored as a job, learning.score or learning.grade."
        )
    if part.shared:
        raise UsageError(
            f"nobody knows the leaves' weights of model {scorer.model}, so it cannot score online: train with "
            'leaves = "label_party", or have people scored as a job.'
        )
    if scorer.release == "grade":
        part.require_one_margin()


def _kept(part: Part, columns: Table) -> Kept:
    """What is kept of rows: (n,) sums, or (n, nodes / 8) packed bits."""
    if not isinstance(part, BoostedPart):
        return scoring.checked(part.score(columns))
    return np.packbits(leaf_sums.bits_of(part, part.coded(columns)).T, axis=1, bitorder="little")


def check_columns(scorer: Scorer, sources: Sequence[str]) -> None:
    """Raises UsageError unless the features that node.toml gives are all that the model's part reads."""
    if missing := sorted(set(sources) - set(scorer.data.features)):
        raise UsageError(
            f"model {scorer.model} reads the column {missing[0]!r}, which scorer {scorer.name} does not name among its "
            "features. Add it to node.toml, and to the policy."
        )


def _halves(salt: bytes, keys: Packed) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(n,), (n,): 128 bits of each key's salted digest."""
    digest = np.ascontiguousarray(digests.batch("sha256", salt, keys)[:, :16]).view("<u8")
    return digest[:, 0].copy(), digest[:, 1].copy()


@dataclass(frozen=True)
class ScoringDesk:
    """What all sessions of one scoring product share: it decides, per key, whether it may be scored, and writes down
    what was, before it is answered.
    """

    scorer: Scorer
    identity: Callable[[], Identity]
    gate: Gate
    ledger: Ledger
    records: Callable[[], Records | None]
    secret: bytes = field(repr=False)
    unpaid: Unpaid = field(default_factory=Unpaid)

    def session(self) -> _Counter:
        """The service of one session."""
        return _Counter(self)

    def current(self) -> Records:
        """What is scored with now. Raises PolicyError ``product-not-ready``."""
        found = self.records()
        if found is None:
            raise PolicyError(
                "the product's data are not read yet",
                code="product-not-ready",
                remedy="Try again in a moment; its owner's `unseen node status` says what is wrong.",
            )
        return found

    def score(self, request: Request, records: Records) -> Reply:
        """See ``scoring.Service``."""
        scorer = self.scorer
        self.unpaid.check(request.peer, product=scorer.name, note=lambda code: self._refuse(code, request))
        try:
            rule = self.gate.decide(scorer, requester=request.peer, scenario=request.scenario)
        except PolicyError as error:
            _log.warning("product %s: %s refused: %s", scorer.name, request.peer, error)
            self.unpaid.add(request.peer, len(request.keys))
            self._refuse(error.code, request)
            raise for_peer(error) from None
        if request.peer != records.label_party:
            # A rule may name anybody; what this part adds is for the party that may put the model together, and for
            # no other partner, who would learn it bare.
            code = "not-the-label-party"
            self.unpaid.add(request.peer, len(request.keys))
            self._refuse(code, request)
            raise PolicyError(
                f"the labels of this model were not those of {request.peer}, which may not have anybody scored",
                code=code,
                remedy="The party whose labels the model was trained on asks.",
            )
        limits = () if rule.calls_per_day is None else (Quota(rule=rule.key, limit=rule.calls_per_day),)
        found, values = records.find(request.keys)
        items = []
        for key, there, value in zip(request.keys, found.tolist(), values, strict=True):
            who = self._hash(b"subject", key)
            subject = Quota(rule=f"{scorer.name}/{request.peer}/{who.hex()[:32]}", limit=scorer.calls_per_subject)
            seen = CheckedConsent(
                node=self.identity().name,
                product=scorer.name,
                scenario=request.scenario,
                requester=request.peer,
                epoch=records.number,
                suite=scorer.suite,
                blinded=who,
                nonces=(),
                issuers=(),
                digests=(),
                expires=_NEVER,
            )
            told = self._hash(b"sum", key, records.job.encode(), bytes([there]) + value.tobytes())
            version = OPERATORS[scorer.release].version
            items.append(Evaluation(seen, told, scorer.operator, version, (*limits, subject)))
        outcomes = self.ledger.commit(items)
        answered = np.array([outcome.answered for outcome in outcomes])
        if refused := int(np.count_nonzero(~answered)):
            self.unpaid.add(request.peer, refused)
        status = np.where(found, scoring.FOUND, scoring.ABSENT)
        status[~answered] = scoring.OVER_QUOTA
        receipt = issue_receipt(
            self.identity().signer, outcomes, requester=request.peer, product=scorer.name, epoch=records.number
        )
        return Reply(status.astype(np.uint8), records.partial(values[found & answered]), to_wire(receipt))

    def refusal(self, code: str, *, requester: str, scenario: str | None = None, keys: int = 1) -> Note:
        """An audit entry for something that was refused as a whole."""
        return Note(
            kind="refusal",
            result=code,
            requester=requester,
            scenario=None if scenario is None else name_or_none(scenario),
            product=self.scorer.name,
            operator=self.scorer.operator,
            operator_version=OPERATORS[self.scorer.release].version,
            suite=self.scorer.suite,
            count=keys,
        )

    def _refuse(self, code: str, request: Request) -> None:
        self.ledger.commit(
            [self.refusal(code, requester=request.peer, scenario=request.scenario, keys=len(request.keys))]
        )

    def _hash(self, *words: bytes) -> bytes:
        """32 bytes that stand for some words, and tell whoever does not have this node's key nothing of them."""
        joined = b"".join(len(word).to_bytes(4, "big") + word for word in words)
        return hmac.digest(self.secret, joined, "sha256")


@dataclass
class _Counter:
    """One session: it goes on with the training that it began with."""

    desk: ScoringDesk
    job: str = ""

    def terms(self) -> Terms:
        """See ``scoring.Service``."""
        records, scorer = self.desk.current(), self.desk.scorer
        self.job = records.job
        return Terms(
            model=records.model,
            job=records.job,
            label_party=records.label_party,
            release=scorer.release,
            cuts=scorer.cuts,
            key_form=scorer.form,
            nodes=records.nodes,
            classes=records.classes,
        )

    def score(self, request: Request) -> Reply:
        """See ``scoring.Service``."""
        records = self.desk.current()
        if records.job != self.job:
            raise PolicyError(
                f"{self.desk.scorer.name} scores with another version of the model by now",
                code="model-changed",
                remedy="Connect again: the version of your own part is chosen to fit.",
            )
        return self.desk.score(request, records)


class ScoringWork:
    """What a scoring product does; see ``resident.Work``. Data are read in a thread: sessions go on meanwhile."""

    def __init__(self, home: Home, scorer: Scorer) -> None:
        self._home = home
        self._scorer = scorer
        self._records: Records | None = None
        self._number = 0
        self._problem = "reading the data"
        self._wanted = True
        self._retry_at = 0.0
        self._reading: threading.Thread | None = None
        self.name = scorer.name

    def begin(self, desk: ScoringDesk) -> None:
        """Name the desk, which needs what is read here."""
        self._desk = desk

    @property
    def records(self) -> Records | None:
        """What was read last."""
        return self._records

    def hello(self, theirs: Hello) -> Hello:
        """See ``resident.Work``."""
        scorer = self._scorer
        return scoring_hello(
            scorer.release, session=theirs.session, product=scorer.name, scenario=theirs.scenario, suite=scorer.suite
        )

    def talk(self, accepted: Accepted, rng: Rng) -> int:
        """See ``resident.Work``."""
        channel = Channel(accepted.lane, protocol=self._scorer.operator, timeout_s=resident.IDLE_S)
        session = Session(channel.me, {accepted.peer: channel}, rng)
        return scoring.serve(session, self._desk.session(), asker=accepted.peer, suite=self._scorer.suite)

    def rotate(self) -> None:
        """See ``resident.Work``."""
        self._wanted, self._retry_at = True, 0.0

    def tick(self) -> None:
        """See ``resident.Work``."""
        due = self._wanted or (self._records is not None and utc_now() >= self._records.until)
        idle = self._reading is None or not self._reading.is_alive()
        if due and idle and time.monotonic() >= self._retry_at:
            self._wanted = False
            self._reading = threading.Thread(target=self._read, name="reading", daemon=True)
            self._reading.start()

    def report(self) -> Report:
        """See ``resident.Work``."""
        records = self._records
        return Report(
            epoch=0 if records is None else records.number,
            epoch_ends="" if records is None else format_time(records.until),
            serving=records is not None,
            problem=self._problem,
        )

    def refusal(self, code: str, *, requester: str, scenario: str | None = None) -> Note:
        """See ``resident.Work``."""
        return self._desk.refusal(code, requester=requester, scenario=scenario)

    def _read(self) -> None:
        began = time.monotonic()
        try:
            ModelStore(self._home).load(self._scorer.model, version=self._scorer.version)
        except MpcError as error:
            self._records = None  # Of a part that was removed or changed nothing goes out any more.
            self._again(str(error))
            return
        try:
            self._number += 1
            self._records = read(self._home, self._scorer, number=self._number, now=utc_now())
        except MpcError as error:
            self._again(str(error))
        except OSError as error:
            self._again(f"{self._scorer.data.source}: {error.strerror}")
        except Exception as error:
            _log.exception("product %s: the data were not read", self.name)
            self._again(f"an error of this library ({type(error).__name__}); the node's log says more")
        else:
            self._problem = ""
            seconds = time.monotonic() - began
            _log.info("product %s: %d rows scored in %.1f s", self.name, len(self._records), seconds)

    def _again(self, problem: str) -> None:
        """Data read before go on being used: their owner sees the problem, and askers the day that it is from."""
        _log.error("product %s: %s", self.name, problem)
        self._problem, self._wanted, self._retry_at = problem, True, time.monotonic() + RETRY_S


def subject_key(storage: bytes, product: str) -> bytes:
    """What a product's keys are hashed under, of this node and product alone: 32 bytes."""
    info = b"unseen scored subjects\x00" + product.encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(storage)


def serve(home: Home, name: str) -> None:
    """Run the product's process until the node ends. Raises UsageError when settings or state are not in order."""
    scorer = settings.load(home).find_scorer(name)
    if scorer is None:
        raise settings.no_product(name)
    identity = server.watched_identity(home.root)
    settings.check_suite(scorer, identity.get().suite)
    secret = subject_key(sealing.storage_key(home.storage_key), name)
    ledger = ledgers.open_ledger(home.ledger, node=identity.get().name, suite=identity.get().suite)
    work = ScoringWork(home, scorer)
    work.begin(ScoringDesk(scorer, identity.get, Gate(home), ledger, lambda: work.records, secret))
    ledger.commit([Note(kind="start", result="ok", product=name, operator=scorer.operator, suite=scorer.suite)])
    try:
        resident.live(home, work, ledger, me=identity.get().name)
    finally:
        ledger.close()


if __name__ == "__main__":
    sys.exit(resident.main(serve))
