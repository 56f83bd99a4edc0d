"""The node's ledger: which consents were used, and the hash-chained audit log of everything that was evaluated or
refused.

Both live in one database, because both must be durable before a reply leaves: one transaction burns the nonces and
appends the entries. Concurrent callers share a transaction (group commit): whoever holds the turn commits for everyone
who is waiting, so that a disk's synchronisation is paid once for all of them, and a single caller pays for no thread
switch.

    audit entry i:  canonical JSON (RFC 8785), no keys, no identifiers, no answers
    hash_i        = H(hash_{i-1} ‖ entry_i),  hash_{-1} = 32 zero bytes
    entry 0       : kind "genesis", names the node, this ledger, and the suite whose digest is H: SHA-256 or SM3

Several processes of a node may write to the same ledger; the chain's head is read inside the transaction. It is an
SQLite file, or a PostgreSQL database given by its URL.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    select,
    type_coerce,
    update,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import StaticPool
from sqlalchemy.types import NullType

from mpc.errors import PolicyError, UsageError
from unseen.governance.consent import CheckedConsent
from unseen.governance.documents import CLOCK_TOLERANCE, canonical, format_time, hash_of, to_base64, utc_now
from unseen.governance.keys import SCHEMES

LEDGER_FILE = Path("state") / "ledger.db"
"""Where a node keeps its ledger, inside its home directory."""

SCHEMA = 1
"""Version of the tables below."""

GROUP_LIMIT = 4096
"""Most entries that one transaction takes (unless a single call brings more)."""

_metadata = MetaData()
_ledger = Table(
    "ledger",
    _metadata,
    Column("id", String(32), primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("node", String(63), nullable=False),
    # The latest expiry among the nonces that were forgotten, in seconds since 1970. What expired no later is refused
    # for good, so that a clock that went forward and came back makes no consent good for a second time.
    Column("forgotten", BigInteger, nullable=False),
)
_nonces = Table(
    "nonces",
    _metadata,
    # A nonce begins with its consent's expiry, so that new rows come at the end of the table and old ones go from its
    # beginning: a batch touches a few pages of the disk, not one for each of its rows.
    Column("nonce", LargeBinary(24), primary_key=True),
    # Two platforms draw nonces independently, so that one's can never be burnt by the other's.
    Column("issuer", String(63), primary_key=True),
    Column("binding", LargeBinary(32), nullable=False),
    sqlite_with_rowid=False,
)
_audit = Table(
    "audit",
    _metadata,
    # On SQLite an INTEGER key is the row's own place; a BIGINT would need an index beside it.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("entry", Text, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)
_calls = Table(
    "calls",
    _metadata,
    Column("rule", Text, primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

Kind: TypeAlias = Literal["genesis", "evaluation", "refusal", "epoch", "start", "policy", "job"]
Status: TypeAlias = Literal["fresh", "repeat", "reused", "expired", "over-quota", "noted"]


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit that the ledger counts: at most `limit` billed evaluations under the rule named `rule` per UTC day; or,
    with `ever`, at most `limit` uses at all.
    """

    rule: str
    limit: int
    ever: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One element that was evaluated and waits to be answered.

    Attributes:
        consent: as `unseen.governance.consent.check` returned it.
        evaluated: the evaluated element. Only its hash is kept.
        operator, operator_version: what evaluated it, such as ``lookup.table``, 1.
        quotas: the limits to count it against, those that policy and product set.
    """

    consent: CheckedConsent
    evaluated: bytes
    operator: str
    operator_version: int
    quotas: tuple[Quota, ...] = ()


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What the log says of a job, beside what a `Note` says of everything.

    Attributes:
        job: its identifier.
        grant: digest of the grant by its own suite, 32 bytes.
        peers: the other parties.
        data_set, columns: what it may read here.
        rows: rows read; None where it did not come to that.
        result_rows: rows of the result that this party got; None where it got none.
        files: SHA-256 of each further file of the result, by name.
        bytes_sent, bytes_received: what its messages came to.
    """

    job: str
    grant: bytes
    peers: tuple[str, ...]
    data_set: str
    columns: tuple[str, ...]
    rows: int | None = None
    result_rows: int | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """Something else that belongs into the log: a refusal, a new epoch, a start, a change of policy, a job.

    Attributes:
        result: a code such as ``consent-expired`` or ``ok``. Never an identifier or an answer.
        consents: digest of each consent that came with it, by the suite.
        input, output: digest of what came in and what was made of it, such as a blinded element or a manifest; 32
        bytes each.
        count: how many elements it stands for; their blinded elements are hashed one after the other into `input`.
        job: what concerns a job alone.
        quotas: the limits that this counts against; a note that would exceed one is written as the refusal of it, and
        counts against none.
    """

    kind: Literal["refusal", "epoch", "start", "policy", "job"]
    result: str
    requester: str | None = None
    scenario: str | None = None
    product: str | None = None
    operator: str | None = None
    operator_version: int | None = None
    suite: str | None = None
    epoch: int | None = None
    issuers: tuple[str, ...] = ()
    consents: tuple[bytes, ...] = ()
    input: bytes | None = None
    output: bytes | None = None
    count: int = 1
    job: JobFacts | None = None
    quotas: tuple[Quota, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one evaluation or note, once it is durable.

    Attributes:
        status: ``fresh``: answer it. ``repeat``: the same consent for the same element again: answer it, it costs
            nothing. ``reused``: a nonce was used for another element: refuse. ``expired``: nonces of its age are
            forgotten, so nobody knows whether it was used: refuse. ``over-quota``: the day's calls are spent: refuse.
            ``noted``: a `Note` was written.
        entry: its place in the audit chain.
        head: hash of the chain up to and including this entry, 32 bytes.
        billed: whether it counts as a call.
        count: how many elements the entry stands for; more than one only for a `Note`.
    """

    status: Status
    entry: int
    head: bytes
    billed: bool
    count: int = 1

    @property
    def answered(self) -> bool:
        """Whether the evaluated element may leave the node."""
        return self.status in ("fresh", "repeat")


class _Request:
    """One caller's items, waiting for a turn."""

    __slots__ = ("cause", "done", "items", "outcomes")

    def __init__(self, items: Sequence[Evaluation | Note]) -> None:
        self.items = items
        self.outcomes: list[Outcome] = []
        self.cause: Exception | None = None
        self.done = False


def binding_of(consent: CheckedConsent) -> bytes:
    """What a nonce is burnt for: the suite's digest of product ‖ 0 ‖ epoch ‖ B. Epoch: 8 bytes, big-endian.

    Each product has its own key in an epoch, so that the same binding means the same evaluation.
    """
    bound = consent.product.encode("ascii") + b"\0" + consent.epoch.to_bytes(8, "big") + consent.blinded
    return hash_of(bound, suite=consent.suite)


class Ledger:
    """An open ledger. Made by `open_ledger`; close it, or use it in a ``with`` statement. Safe to use from many
    threads.
    """

    def __init__(self, engine: Engine, *, node: str, suite: str, ledger_id: str, clock: Callable[[], datetime]) -> None:
        """Use `open_ledger`."""
        self._engine = engine
        self._node = node
        self._suite = suite
        self._id = ledger_id
        self._clock = clock
        self._waiting: deque[_Request] = deque()
        self._turn = threading.Lock()

    def __enter__(self) -> Ledger:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the ledger."""
        self.close()

    @property
    def ledger_id(self) -> str:
        """Random name of this ledger, stated in its first entry."""
        return self._id

    def close(self) -> None:
        """Closes the database after the transaction under way."""
        with self._turn:
            self._engine.dispose()

    def commit(self, items: Sequence[Evaluation | Note]) -> list[Outcome]:
        """Makes all items durable, in order and next to each other in the chain, and says what became of each.

        Blocks until they are on disk. Raises PolicyError ``ledger-unavailable`` if they could not be written: then
        nothing of them was recorded and nothing of them may be answered. The next call tries afresh.
        """
        if not items:
            return []
        request = _Request(items)
        self._waiting.append(request)
        with self._turn:
            # While this caller waited for its turn, another one may have committed for it.
            while not request.done:
                self._commit_waiting()
        if request.cause is not None:
            raise PolicyError(
                f"the ledger cannot be written ({_reason(request.cause)}), so nothing is answered",
                code="ledger-unavailable",
                remedy=_REMEDY,
            ) from request.cause
        return request.outcomes

    def purge(self, now: datetime | None = None) -> int:
        """Forgets the nonces of consents that expired. Returns how many. The audit log stays as it is.

        The ledger remembers how far it has forgotten, and refuses what expired before that, whatever the clock says
        then; so nothing becomes usable again. The counts of days before yesterday go, too: a limit for each person
        makes a row for each person and day.
        """
        moment = now or self._clock()
        limit = int(moment.timestamp() - 2 * CLOCK_TOLERANCE.total_seconds())
        old = _nonces.c.nonce < limit.to_bytes(8, "big")
        yesterday = format_time(moment - timedelta(days=1))[:10]
        with self._turn, _durable(self._engine), self._engine.begin() as connection:
            forgotten = _lock(connection)
            connection.execute(delete(_calls).where(_calls.c.day != _EVER, _calls.c.day < yesterday))
            last = connection.execute(
                select(_nonces.c.nonce).where(old).order_by(_nonces.c.nonce.desc()).limit(1)
            ).scalar()
            if last is None:
                return 0
            connection.execute(update(_ledger).values(forgotten=max(forgotten, _expiry(last))))
            return connection.execute(delete(_nonces).where(old)).rowcount

    def head(self) -> tuple[int, bytes]:
        """The last entry's number and the chain's hash after it."""
        with self._turn, _durable(self._engine), self._engine.begin() as connection:
            return _head(connection)

    # The transaction ------------------------------------------------------------------------------------------------

    def _commit_waiting(self) -> None:
        group: list[_Request] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0].items) <= GROUP_LIMIT):
            request = self._waiting.popleft()
            group.append(request)
            size += len(request.items)
        try:
            with self._engine.begin() as connection:
                results = self._write(connection, [item for request in group for item in request.items])
        except (SQLAlchemyError, OSError) as error:
            # A connection that failed half-way through a write is not used again.
            self._engine.dispose()
            for request in group:
                request.cause, request.done = error, True
            return
        except BaseException as error:
            self._engine.dispose()
            for request in group:
                request.cause, request.done = RuntimeError(type(error).__name__), True
            raise
        start = 0
        for request in group:
            request.outcomes = results[start : start + len(request.items)]
            start += len(request.items)
            request.done = True

    def _write(self, connection: Connection, items: Sequence[Evaluation | Note]) -> list[Outcome]:
        forgotten = _lock(connection)
        seq, head = _head(connection)
        moment = self._clock()
        stamp = format_time(moment)
        burnt = _burnt(connection, items)
        calls = _Calls(connection, day=stamp[:10])
        nonces: list[dict[str, object]] = []
        entries: list[dict[str, object]] = []
        outcomes: list[Outcome] = []
        for item in items:
            seq += 1
            if isinstance(item, Evaluation):
                status = _judge(item, burnt, calls, forgotten=forgotten)
                if status in ("fresh", "repeat"):
                    nonces.extend(_burn(item, burnt))
                fields = _evaluation_fields(item, status)
            else:
                within = calls.take(*item.quotas)
                status = "noted" if within else "over-quota"
                fields = _note_fields(item) | ({} if within else {"kind": "refusal", "result": _RESULTS[status]})
            fields["seq"], fields["time"], fields["node"] = seq, stamp, self._node
            entry = canonical(fields)
            head = hash_of(head + entry, suite=self._suite)
            entries.append({"seq": seq, "entry": entry.decode("utf-8"), "hash": head})
            count = item.count if isinstance(item, Note) else 1
            outcomes.append(Outcome(status=status, entry=seq, head=head, billed=status == "fresh", count=count))
        if nonces:
            connection.execute(insert(_nonces), nonces)
        calls.save(connection)
        connection.execute(insert(_audit), entries)
        return outcomes


def _judge(item: Evaluation, burnt: Mapping[tuple[bytes, str], bytes], calls: _Calls, *, forgotten: int) -> Status:
    """What to do with an evaluation, given the nonces burnt so far. `forgotten`: see the table ``ledger``."""
    if any(_expiry(nonce) <= forgotten for nonce in item.consent.nonces):
        return "expired"
    binding = binding_of(item.consent)
    used = [burnt.get(nonce) for nonce in zip(item.consent.nonces, item.consent.issuers, strict=True)]
    if any(other is not None and other != binding for other in used):
        return "reused"
    if any(other is not None for other in used):
        # The same element in the same epoch: the asker learns nothing new, so a lost reply wastes no consent.
        return "repeat"
    if not calls.take(*item.quotas):
        return "over-quota"
    return "fresh"


def _expiry(nonce: bytes) -> int:
    """When the consent expires whose nonce this is, in seconds since 1970."""
    return int.from_bytes(nonce[:8], "big")


def _burn(item: Evaluation, burnt: dict[tuple[bytes, str], bytes]) -> Iterator[dict[str, object]]:
    """Rows for the nonces of an answered evaluation that are not burnt yet; marks them in `burnt`."""
    consent = item.consent
    binding = binding_of(consent)
    for nonce, issuer in zip(consent.nonces, consent.issuers, strict=True):
        if (nonce, issuer) not in burnt:
            burnt[nonce, issuer] = binding
            yield {"nonce": nonce, "issuer": issuer, "binding": binding}


def _burnt(connection: Connection, items: Sequence[Evaluation | Note]) -> dict[tuple[bytes, str], bytes]:
    """The bindings of those nonces of `items` that are burnt already, by nonce and issuer."""
    wanted = list({nonce for item in items if isinstance(item, Evaluation) for nonce in item.consent.nonces})
    found: dict[tuple[bytes, str], bytes] = {}
    for start in range(0, len(wanted), _IN_LIMIT):
        rows = connection.execute(_find_nonces, {"wanted": wanted[start : start + _IN_LIMIT]})
        found.update({(nonce, issuer): binding for nonce, issuer, binding in rows})
    return found


_IN_LIMIT = 500
_find_nonces = select(_nonces.c.nonce, _nonces.c.issuer, _nonces.c.binding).where(
    _nonces.c.nonce.in_(bindparam("wanted", expanding=True))
)
_find_forgotten = select(_ledger.c.forgotten).with_for_update()
_find_head = select(_audit.c.seq, _audit.c.hash).order_by(_audit.c.seq.desc()).limit(1)


def _head(connection: Connection) -> tuple[int, bytes]:
    row = connection.execute(_find_head).one()
    return row.seq, bytes(row.hash)


_EVER = "ever"
"""Stands for the day in the count of a limit that is not per day."""


class _Calls:
    """The day's billed calls per rule, inside one transaction."""

    def __init__(self, connection: Connection, *, day: str) -> None:
        self._connection = connection
        self._day = day
        self._before: dict[tuple[str, str], int | None] = {}  # by rule and day; None: no row yet
        self._taken: dict[tuple[str, str], int] = {}

    def take(self, *quotas: Quota) -> bool:
        """Count one use against each limit, or, if it would exceed one of them, against none."""
        keys = [(quota.rule, _EVER if quota.ever else self._day) for quota in quotas]
        for key, quota in zip(keys, quotas, strict=True):
            if key not in self._before:
                self._before[key] = self._connection.execute(
                    select(_calls.c.count).where(_calls.c.rule == key[0], _calls.c.day == key[1])
                ).scalar()
            if (self._before[key] or 0) + self._taken.get(key, 0) >= quota.limit:
                return False
        for key in keys:
            self._taken[key] = self._taken.get(key, 0) + 1
        return True

    def save(self, connection: Connection) -> None:
        for (rule, day), taken in self._taken.items():
            before = self._before[rule, day]
            if before is None:
                connection.execute(insert(_calls), {"rule": rule, "day": day, "count": taken})
            else:
                connection.execute(
                    update(_calls).where(_calls.c.rule == rule, _calls.c.day == day).values(count=before + taken)
                )


# Entries ------------------------------------------------------------------------------------------------------------


def _evaluation_fields(item: Evaluation, status: Status) -> dict[str, object]:
    consent = item.consent
    answered = status in ("fresh", "repeat")
    return {
        "kind": "evaluation" if answered else "refusal",
        "requester": consent.requester,
        "scenario": consent.scenario,
        "product": consent.product,
        "operator": item.operator,
        "operator_version": item.operator_version,
        "suite": consent.suite,
        "epoch": consent.epoch,
        "issuers": consent.issuers,
        "consents": [to_base64(digest) for digest in consent.digests],
        "input": to_base64(hash_of(consent.blinded, suite=consent.suite)),
        "output": to_base64(hash_of(item.evaluated, suite=consent.suite)) if answered else None,
        "billed": status == "fresh",
        "result": _RESULTS[status],
    }


_RESULTS: Mapping[Status, str] = {
    "fresh": "ok",
    "repeat": "repeat",
    "reused": "consent-reused",
    "expired": "consent-expired",
    "over-quota": "quota-exceeded",
}


def _note_fields(note: Note) -> dict[str, object]:
    more: dict[str, object] = {"count": note.count} if note.count > 1 else {}
    if note.job is not None:
        more |= _job_fields(note.job)
    return more | {
        "kind": note.kind,
        "requester": note.requester,
        "scenario": note.scenario,
        "product": note.product,
        "operator": note.operator,
        "operator_version": note.operator_version,
        "suite": note.suite,
        "epoch": note.epoch,
        "issuers": note.issuers,
        "consents": [to_base64(digest) for digest in note.consents],
        "input": to_base64(note.input) if note.input is not None else None,
        "output": to_base64(note.output) if note.output is not None else None,
        "billed": False,
        "result": note.result,
    }


def _job_fields(job: JobFacts) -> dict[str, object]:
    return {
        "job": job.job,
        "grant": to_base64(job.grant),
        "peers": job.peers,
        "data_set": job.data_set,
        "columns": job.columns,
        "rows": job.rows,
        "result_rows": job.result_rows,
        **({"files": {name: to_base64(one) for name, one in job.files.items()}} if job.files else {}),
        "bytes_sent": job.bytes_sent,
        "bytes_received": job.bytes_received,
    }


# Opening ------------------------------------------------------------------------------------------------------------


def open_ledger(
    place: Path | str, *, node: str, suite: str = "intl", clock: Callable[[], datetime] = utc_now
) -> Ledger:
    """Opens the ledger at `place`, and makes it on first use.

    Args:
        place: path of an SQLite file, or URL of a PostgreSQL database: ``postgresql+pg8000://user@host/database``.
        node: this node's party name. A ledger belongs to one node.
        suite: the suite of the node's identity. It stays what it was when the ledger was made.
        clock: gives the present in UTC.

    Raises:
        UsageError: the ledger belongs to another node or is of another suite, or was made by another version of this
        library.
        PolicyError: ``ledger-unavailable``.
    """
    engine = _engine(place, read_only=False)
    with _durable(engine):
        if engine.dialect.name == "sqlite":
            _prepare_sqlite(engine)
        with engine.begin() as connection:
            # Two processes may open a new ledger at the same moment: one makes it, the other finds it made.
            if engine.dialect.name != "sqlite":
                connection.execute(select(func.pg_advisory_xact_lock(_MAKING)))
            if not inspect(connection).has_table(_ledger.name):
                _metadata.create_all(connection)
            row = connection.execute(select(_ledger)).one_or_none()
            if row is None:
                ledger_id = _make(connection, node, suite, stamp=format_time(clock()))
            else:
                ledger_id = row.id
                _check_meta(row.schema_version, row.node, node)
                _check_suite(connection, suite)
    return Ledger(engine, node=node, suite=suite, ledger_id=ledger_id, clock=clock)


_MAKING = int.from_bytes(b"unseen", "big")
"""Name of PostgreSQL's lock under which a ledger is made."""


def _make(connection: Connection, node: str, suite: str, *, stamp: str) -> str:
    """Writes the first entry of a new ledger. Returns the ledger's name."""
    ledger_id = secrets.token_hex(16)
    first = {"seq": 0, "kind": "genesis", "node": node, "ledger": ledger_id, "suite": suite, "time": stamp}
    entry = canonical(first)
    head = hash_of(bytes(32) + entry, suite=suite)
    connection.execute(insert(_ledger), {"id": ledger_id, "schema_version": SCHEMA, "node": node, "forgotten": 0})
    connection.execute(insert(_audit), {"seq": 0, "entry": entry.decode(), "hash": head})
    return ledger_id


def _check_meta(schema: int, owner: str, node: str) -> None:
    if schema != SCHEMA:
        raise UsageError(
            f"the ledger has schema version {schema}, this library writes {SCHEMA}. Use the matching version."
        )
    if owner != node:
        raise UsageError(f"the ledger belongs to {owner}, not to {node}. Give each node a ledger of its own.")


def _check_suite(connection: Connection, suite: str) -> None:
    first = connection.execute(select(_audit.c.entry).where(_audit.c.seq == 0)).scalar_one()
    made = _suite_of(_fields(_bytes_of(first), 0))
    if made != suite:
        raise UsageError(
            f"the ledger is of suite {made:.40}, the node's identity of {suite}. Give the node a home of its own for "
            "each suite."
        )


def _suite_of(genesis: Mapping[str, object]) -> str:
    """The suite that the first entry names. Ledgers of the first release name none: there was one."""
    return str(genesis.get("suite", "intl"))


def _engine(place: Path | str, *, read_only: bool) -> Engine:
    if isinstance(place, str) and "://" in place:
        return _postgresql(place)
    return _sqlite(Path(place), read_only=read_only)


def _postgresql(url: str) -> Engine:
    if not url.startswith(("postgresql:", "postgresql+")):
        raise UsageError(
            "a ledger is the path of an SQLite file, or a URL that begins with postgresql. Give one of them."
        )
    try:
        # Each statement has to see what was committed before it, also while it waited for the lock.
        engine = create_engine(url, isolation_level="READ COMMITTED")
    except (ArgumentError, ValueError):
        raise UsageError("not a database URL. Write postgresql+pg8000://user@host/database.") from None
    except ImportError:
        raise UsageError(
            "no driver for PostgreSQL is installed. Install it with pip install 'unseen[postgres]', and let the URL "
            "begin with postgresql+pg8000."
        ) from None

    def demand_durability(driver: DBAPIConnection, _record: object) -> None:
        # A server may be set up to report a commit before it is on disk.
        cursor = driver.cursor()
        cursor.execute("SHOW synchronous_commit")
        if "off" in (cursor.fetchone() or ()):
            cursor.execute("SET synchronous_commit TO on")
        cursor.close()
        driver.commit()

    event.listen(engine, "connect", demand_durability)
    return engine


def _sqlite(path: Path, *, read_only: bool) -> Engine:
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is not a directory. Make it first.")
    mode = "ro" if read_only else "rwc"
    if read_only and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        # A log as evidence on a medium that nobody can write to, an auditor's say: SQLite would want to put files
        # beside it, unless it is told that nothing will change.
        mode = "ro&immutable=1"

    def connect() -> sqlite3.Connection:
        # Transactions are begun below, explicitly; the driver must not begin any of its own.
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30, check_same_thread=False)

    # One connection, because callers take turns.
    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    def prepare(driver: sqlite3.Connection, _record: object) -> None:
        # What somebody wrote into the file need not be UTF-8; the verifier has to see it as it is.
        driver.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        driver.execute("PRAGMA foreign_keys = ON")
        driver.execute("PRAGMA synchronous = FULL")

    event.listen(engine, "begin", begin)
    event.listen(engine, "connect", prepare)
    return engine


def _prepare_sqlite(engine: Engine) -> None:
    """Write-ahead logging: one synchronisation per commit, and readers never wait. The setting stays in the file."""
    driver = engine.raw_connection()
    try:
        for attempt in range(100):
            try:
                driver.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # SQLite does not wait for a lock here, even with a timeout.
                if "locked" not in str(error) or attempt == 99:
                    raise
                time.sleep(0.05)
    finally:
        driver.close()


def _lock(connection: Connection) -> int:
    """Makes this transaction the only one that extends the chain. Returns the ledger's ``forgotten``.

    On SQLite, BEGIN IMMEDIATE has locked already, and FOR UPDATE is left out.
    """
    return int(connection.execute(_find_forgotten).scalar_one())


_REMEDY = (
    "See that its disk has space and that this user may write to it and its directory, or that its server runs; "
    "evaluation resumes by itself."
)


@contextmanager
def _durable(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        engine.dispose()
        if not isinstance(error, SQLAlchemyError | sqlite3.Error | OSError):
            raise
        raise PolicyError(
            f"the ledger cannot be used ({_reason(error)})",
            code="ledger-unavailable",
            remedy=_REMEDY,
        ) from error


def _reason(error: Exception) -> str:
    """The database's own short reason, without the statement and its parameters."""
    if isinstance(error, DBAPIError):
        return str(error.orig)
    return str(error) if isinstance(error, sqlite3.Error) else type(error).__name__


# Verifying ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Witness:
    """What somebody else holds about the chain: that its hash after entry `entry` was `head`. Comes from a receipt."""

    entry: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """A log found in order: entries 0 to `last_entry`, how many of them were billed, and how many elements were
    refused. `witnesses`: how many receipts agreed.
    """

    node: str
    ledger_id: str
    last_entry: int
    head: bytes
    billed: int
    refusals: int
    witnesses: int


def verify(place: Path | str, *, witnesses: Iterable[Witness] = ()) -> Verified:
    """Walks the whole chain, in constant memory, while the node may go on writing.

    Args:
        place: as for `open_ledger`; opened read-only.
        witnesses: from receipts. Without them, a log that was cut at its end, or rewritten from some entry on, is
            consistent in itself; with them it is not.

    Raises PolicyError naming the first entry at fault: ``audit-changed``, ``audit-removed``, ``audit-reordered``, or
    ``audit-truncated``; UsageError if there is no ledger.
    """
    held: dict[int, list[bytes]] = {}
    for witness in witnesses:
        held.setdefault(witness.entry, []).append(witness.head)
    seq, head, billed, refusals, agreed = -1, bytes(32), 0, 0, 0
    node = ledger_id = suite = ""
    with closing(_rows(place)) as rows:
        for place_in_log, entry, stored in rows:
            seq += 1
            fields = _fields(entry, seq)
            stated = fields.get("seq")
            if place_in_log != seq:
                raise _broken("removed", seq, f"is missing; the next one there is {place_in_log}")
            if stated != seq:
                raise _broken("reordered", seq, f"is not in its place; entry {stated!s:.20} stands there")
            if seq == 0:
                suite = _suite_of(fields)
                if suite not in SCHEMES:
                    raise _broken("changed", 0, f"names a suite that is not known here: {suite:.40}")
            head = hash_of(head + entry, suite=suite)
            if head != stored:
                raise _broken("changed", seq, "was changed: it does not follow from the one before")
            for expected in held.pop(seq, ()):
                if expected != head:
                    raise _broken("changed", seq, "or one before it was changed after a receipt was given for it")
                agreed += 1
            if seq == 0:
                node, ledger_id = str(fields.get("node")), str(fields.get("ledger"))
                if fields.get("kind") != "genesis":
                    raise _broken("changed", 0, "is not the first entry of a ledger")
            elif fields.get("node") != node:
                raise _broken("changed", seq, f"is one of {fields.get('node')!s:.63}, in the log of {node:.63}")
            billed += fields.get("billed") is True
            if fields.get("kind") == "refusal":
                count = fields.get("count", 1)
                refusals += count if type(count) is int else 1
    if seq < 0:
        raise _broken("removed", 0, "is missing; the log is empty")
    if held:
        raise _broken("truncated", seq + 1, f"to {max(held)} are missing at the end; a receipt was given for them")
    return Verified(
        node=node, ledger_id=ledger_id, last_entry=seq, head=head, billed=billed, refusals=refusals, witnesses=agreed
    )


def entries(place: Path | str, *, first: int = 0) -> Iterator[dict[str, object]]:
    """The audit entries from number `first` on, as they were written. Nothing is verified here."""
    for seq, entry, _ in _rows(place, first=first):
        yield _fields(entry, seq)


def last_entry(place: Path | str) -> int:
    """Number of the last audit entry."""
    engine = _existing(place)
    with _durable(engine), engine.begin() as connection:
        found = connection.execute(select(func.max(_audit.c.seq))).scalar()
    engine.dispose()
    return -1 if found is None else int(found)


def _existing(place: Path | str) -> Engine:
    if isinstance(place, Path) and not place.is_file():
        raise UsageError(f"no ledger at {place}. Give the node's home, or the ledger's path.")
    return _engine(place, read_only=True)


def _rows(place: Path | str, *, first: int = 0) -> Generator[tuple[int, bytes, bytes]]:
    """Number, entry and hash of each row, as they lie in the database, whatever somebody may have put there."""
    engine = _existing(place)
    with _durable(engine):
        try:
            columns = _audit.c.seq, type_coerce(_audit.c.entry, NullType()), type_coerce(_audit.c.hash, NullType())
            wanted = select(*columns).where(_audit.c.seq >= first).order_by(_audit.c.seq)
            # The result is a cursor on the server, which nobody else closes when the reader stops half-way.
            with engine.begin() as connection, connection.execute(wanted.execution_options(yield_per=1000)) as rows:
                for seq, entry, stored in rows:
                    yield seq, _bytes_of(entry), _bytes_of(stored)
        finally:
            engine.dispose()


def _bytes_of(value: object) -> bytes:
    """A value's bytes; none for what is neither text nor bytes: no entry and no hash is empty."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return bytes(value) if isinstance(value, bytes | memoryview) else b""


def _fields(entry: bytes, seq: int) -> dict[str, object]:
    try:
        fields = json.loads(entry)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise _broken("changed", seq, "was changed: it is no longer an entry")
    return fields


def _broken(code: str, seq: int, what: str) -> PolicyError:
    return PolicyError(
        f"entry {seq} {what}",
        code=f"audit-{code}",
        remedy="Keep a copy of the file as evidence and compare it with back-ups and with the askers' receipts.",
    )
