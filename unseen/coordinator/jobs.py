"""The coordinator's board of jobs: who asked for what, who has accepted, how far it is and how it ended.

Nodes call, the coordinator never does: at every call a node says how its jobs are and hears what is wanted of it,
worked out from what is in the database at that moment. So a call that is lost or repeated, and a restart of either
side, change nothing. How far a job has come is kept in memory alone: the next call says it again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    and_,
    func,
    insert,
    or_,
    select,
    update,
)

from mpc.errors import PolicyError
from mpc.wire.coordinator.v1 import coordinator_pb2 as wire
from mpc.words import plain
from unseen.coordinator.registry import now_ms, open_database
from unseen.jobs.papers import PapersText
from unseen.jobs.states import CONSEQUENCES, ENDED, RANK, Wanted, party_state

SCHEMA = 1
"""Version of the tables below."""
BUSY_MS = 200
"""How soon a node that takes part in a job that has not ended shall call again, milliseconds."""
IDLE_MS = 500
"""How soon any other shall."""
SETTLED_AFTER_MS = 60_000
"""How long after a job's end the parties that have ended wait for the others to say so, milliseconds."""
MOST_AT_ONCE = 100
"""Most jobs of one requester that have not ended."""
MOST_LISTED = 100
MOST_NEWS = 1000
_WORDS = 1000  # of a party's reasons, characters
_LINES = 100  # of a party's report

_metadata = MetaData()
_jobs = Table(
    "jobs",
    _metadata,
    Column("id", String(32), primary_key=True),
    Column("requester", String(63), nullable=False, index=True),
    Column("document", Text, nullable=False),
    Column("signed_grant", Text, nullable=False),
    Column("signed_request", Text, nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("code", String(80), nullable=False),
    Column("reason", Text, nullable=False),
    Column("submitted_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger, nullable=False),
)
_parts = Table(
    "job_parties",
    _metadata,
    Column("job", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("party", String(63), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("code", String(80), nullable=False),
    Column("reason", Text, nullable=False),
    Column("report", LargeBinary, nullable=False),
)

_GOING_ON = _jobs.c.state.not_in(ENDED)


class Board:
    """All jobs. Made by `open_board`; safe to use from many threads."""

    def __init__(self, place: Path | str, *, lost_after_ms: int, clock: Callable[[], int] = now_ms) -> None:
        """
        Args:
            place: path of an SQLite file, or a database URL that SQLAlchemy understands.
            lost_after_ms: a node that is needed and silent for so long has failed, milliseconds.
            clock: gives Unix time in milliseconds.
        """
        self._engine = open_database(place, _metadata, schema=SCHEMA)
        self._lost_after_ms = lost_after_ms
        self._clock = clock
        self._lock = threading.Lock()
        self._began_ms = clock()
        self._heard_ms: dict[str, int] = {}
        self._progress: dict[tuple[str, str], wire.JobProgress] = {}

    def submit(self, job: str, papers: PapersText, *, requester: str, parties: Sequence[str]) -> wire.JobState:
        """Put a job on the board, unless it is there. Who may ask for it has been checked.

        Args:
            job: its identifier.
            papers: what it travels with.
            requester: who asked.
            parties: who takes part.

        Raises:
            PolicyError: ``too-many-jobs``.
        """
        row = {
            "id": job,
            "requester": requester,
            "document": papers.job,
            "signed_grant": papers.grant,
            "signed_request": papers.request,
            "state": "submitted",
            "code": "",
            "reason": "",
            "submitted_ms": self._clock(),
            "started_ms": 0,
            "ended_ms": 0,
        }
        rows = [
            {"job": job, "party": party, "state": "invited", "code": "", "reason": "", "report": b""}
            for party in parties
        ]
        going_on = select(func.count()).select_from(_jobs).where(_jobs.c.requester == requester, _GOING_ON)
        with self._transaction() as connection:
            if connection.execute(select(_jobs.c.id).where(_jobs.c.id == job)).one_or_none() is None:
                if connection.execute(going_on).scalar_one() >= MOST_AT_ONCE:
                    raise PolicyError(
                        f"{requester} has {MOST_AT_ONCE} jobs that have not ended",
                        code="too-many-jobs",
                        remedy="Wait until some have ended, or cancel them.",
                    )
                connection.execute(insert(_jobs), row)
                connection.execute(insert(_parts), rows)
            return self._state(connection, _find(connection, job))

    def get(self, job: str, *, who: str) -> wire.JobState:
        """One job, for its requester or one of its parties. Raises PolicyError ``job-unknown`` for anybody else."""
        with self._transaction() as connection:
            return self._state(connection, self._visible(connection, job, who))

    def list(self, *, who: str, limit: int) -> Sequence[wire.JobState]:
        """The newest jobs that `who` asked for or takes part in."""
        wanted = min(limit or MOST_LISTED, MOST_LISTED)
        mine = select(_parts.c.job).where(_parts.c.party == who)
        chosen = select(_jobs).where(or_(_jobs.c.requester == who, _jobs.c.id.in_(mine)))
        with self._transaction() as connection:
            rows = connection.execute(chosen.order_by(_jobs.c.submitted_ms.desc()).limit(wanted)).mappings().all()
            return [self._state(connection, row) for row in rows]

    def cancel(self, job: str, *, who: str) -> wire.JobState:
        """End a job, unless it has ended. Raises PolicyError ``job-unknown`` as `get` does."""
        with self._transaction() as connection:
            if self._visible(connection, job, who)["state"] not in ENDED:
                self._end(connection, job, "cancelled", "cancelled", f"cancelled by {who}")
            return self._state(connection, _find(connection, job))

    def sync(self, news: Sequence[wire.JobNews.One], *, party: str, address: Callable[[str], str]) -> wire.JobOrders:
        """Take in how the jobs of one node are, and say what is wanted of it.

        Args:
            news: what it says of each job that it has in hand.
            party: whose node it is.
            address: gives the ``host:port`` of another party's node; empty if it is not known.
        """
        with self._transaction() as connection:
            self._heard_ms[party] = self._clock()
            for one in news[:MOST_NEWS]:
                self._hear(connection, party, one)
            orders = {order.id: order for order in self._orders(connection, party, address, {one.id for one in news})}
            for one in news[:MOST_NEWS]:
                if one.id not in orders:
                    orders[one.id] = self._farewell(connection, one.id, party)
                if orders[one.id].wanted == "settled":
                    self._progress.pop((one.id, party), None)
        again = BUSY_MS if any(order.wanted != "settled" for order in orders.values()) else IDLE_MS
        return wire.JobOrders(jobs=orders.values(), again_ms=again)

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    # Within a transaction -------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._lock, self._engine.begin() as connection:
            self._find_lost(connection)
            yield connection

    def _visible(self, connection: Connection, job: str, who: str) -> RowMapping:
        row = connection.execute(select(_jobs).where(_jobs.c.id == job)).mappings().one_or_none()
        if row is None or (row["requester"] != who and _part(connection, job, who) is None):
            raise PolicyError(
                f"there is no job {job[:40]!r} of {who}",
                code="job-unknown",
                remedy="`unseen job list` shows those that there are.",
            )
        return row

    def _hear(self, connection: Connection, party: str, news: wire.JobNews.One) -> None:
        state, part = party_state(news.state), _part(connection, news.id, party)
        if state is None or part is None:
            return
        if part["state"] in ENDED:
            # A node that was given up comes back: what it knows of its own part holds, the job's end stands.
            if part["code"] == _LOST and state in ENDED:
                _set_part(connection, news.id, party, news)
            return
        if news.HasField("progress"):
            stage = plain(news.progress.stage, 80)
            now = wire.JobProgress(stage=stage, done=news.progress.done, total=news.progress.total)
            self._progress[news.id, party] = now
        if RANK[state] <= RANK[part["state"]]:
            return
        _set_part(connection, news.id, party, news)
        self._follow(connection, news.id, party, news)

    def _follow(self, connection: Connection, job: str, party: str, news: wire.JobNews.One) -> None:
        """What a party's new state means for the job."""
        row = _find(connection, job)
        states = [part["state"] for part in _parts_of(connection, job)]
        if news.state in ("failed", "refused", "cancelled"):
            cause = row["state"] == "failed" and row["code"] in CONSEQUENCES and news.code not in CONSEQUENCES
            if (row["state"] not in ENDED or cause) and news.state != "cancelled":
                self._end(connection, job, "failed", plain(news.code, 80), f"{party}: {plain(news.reason, _WORDS)}")
            elif row["state"] not in ENDED:
                self._end(connection, job, "cancelled", "cancelled", f"{party}: {plain(news.reason, _WORDS)}")
        elif row["state"] == "submitted" and all(state in ("accepted", "running") for state in states):
            connection.execute(update(_jobs).where(_jobs.c.id == job).values(state="running", started_ms=self._clock()))
        elif row["state"] == "running" and set(states) == {"finished"}:
            self._end(connection, job, "finished", "", "")

    def _end(self, connection: Connection, job: str, state: str, code: str, reason: str) -> None:
        values = {"state": state, "code": code, "reason": reason, "ended_ms": self._clock()}
        connection.execute(update(_jobs).where(_jobs.c.id == job).values(values))

    def _find_lost(self, connection: Connection) -> None:
        """Nodes that are needed and have been silent for too long."""
        now = self._clock()
        chosen = (
            select(_parts.c.job, _parts.c.party, _jobs.c.submitted_ms)
            .join(_jobs, _jobs.c.id == _parts.c.job)
            .where(_GOING_ON, _parts.c.state.not_in(ENDED))
        )
        for row in connection.execute(chosen).all():
            heard = max(self._heard_ms.get(row.party, 0), self._began_ms, row.submitted_ms)
            if now - heard > self._lost_after_ms:
                reason = f"its node has not been heard of for {(now - heard) // 1000} s"
                news = wire.JobNews.One(id=row.job, state="failed", code=_LOST, reason=reason)
                _set_part(connection, row.job, row.party, news)
                self._follow(connection, row.job, row.party, news)

    def _orders(
        self, connection: Connection, party: str, address: Callable[[str], str], known: set[str]
    ) -> Iterator[wire.JobOrders.One]:
        """What is wanted of a party's node for each job in which its part has not ended."""
        chosen = (
            select(_jobs)
            .join(_parts, _jobs.c.id == _parts.c.job)
            .where(_parts.c.party == party, _parts.c.state.not_in(ENDED))
            # What a node that never came back left open is not its concern for good.
            .where(or_(_GOING_ON, _jobs.c.ended_ms > self._clock() - SETTLED_AFTER_MS, _jobs.c.id.in_(known)))
        )
        for row in connection.execute(chosen).mappings().all():
            job: str = row["id"]
            wanted: Wanted = "stop" if row["state"] in ENDED else "run" if row["state"] == "running" else "consider"
            order = wire.JobOrders.One(id=job, wanted=wanted, reason=row["reason"])
            if row["state"] in ENDED:
                order.state, order.code = row["state"], row["code"]
            if job not in known:
                papers = {"job": row["document"], "grant": row["signed_grant"], "request": row["signed_request"]}
                order.papers.CopyFrom(wire.JobPapers(**papers))
            if wanted == "run":
                others = [part["party"] for part in _parts_of(connection, job) if part["party"] != party]
                order.peers.extend(wire.JobOrders.Peer(party=other, address=address(other)) for other in others)
            yield order

    def _farewell(self, connection: Connection, job: str, party: str) -> wire.JobOrders.One:
        """What a node hears of a job in which its own part has ended."""
        row = connection.execute(select(_jobs).where(_jobs.c.id == job)).mappings().one_or_none()
        if row is None or _part(connection, job, party) is None:  # how it is with others' jobs is not for everybody
            return wire.JobOrders.One(id=job, wanted="settled", reason="the coordinator does not know this job")
        ended = row["state"] in ENDED
        open_parts = [part for part in _parts_of(connection, job) if part["state"] not in ENDED]
        late = ended and self._clock() - row["ended_ms"] > SETTLED_AFTER_MS
        wanted: Wanted = "settled" if ended and (late or not open_parts) else "wait"
        order = wire.JobOrders.One(id=job, wanted=wanted)
        if ended:
            order.state, order.code, order.reason = row["state"], row["code"], row["reason"]
        return order

    def _state(self, connection: Connection, row: RowMapping) -> wire.JobState:
        return wire.JobState(
            id=row["id"],
            requester=row["requester"],
            job=row["document"],
            state=row["state"],
            code=row["code"],
            reason=row["reason"],
            submitted_ms=row["submitted_ms"],
            started_ms=row["started_ms"],
            ended_ms=row["ended_ms"],
            parties=[
                wire.JobParty(
                    party=part["party"],
                    state=part["state"],
                    code=part["code"],
                    reason=part["reason"],
                    progress=self._progress.get((row["id"], part["party"])),
                    report=wire.PartyReport.FromString(part["report"]) if part["report"] else None,
                )
                for part in _parts_of(connection, row["id"])
            ],
        )


_LOST = "node-lost"


def _find(connection: Connection, job: str) -> RowMapping:
    return connection.execute(select(_jobs).where(_jobs.c.id == job)).mappings().one()


def _part(connection: Connection, job: str, party: str) -> RowMapping | None:
    chosen = select(_parts).where(and_(_parts.c.job == job, _parts.c.party == party))
    return connection.execute(chosen).mappings().one_or_none()


def _parts_of(connection: Connection, job: str) -> Sequence[RowMapping]:
    return connection.execute(select(_parts).where(_parts.c.job == job).order_by(_parts.c.party)).mappings().all()


def _set_part(connection: Connection, job: str, party: str, news: wire.JobNews.One) -> None:
    values = {
        "state": news.state,
        "code": plain(news.code, 80),
        "reason": plain(news.reason, _WORDS),
        "report": _report(news.report).SerializeToString() if news.HasField("report") else b"",
    }
    connection.execute(update(_parts).where(_parts.c.job == job, _parts.c.party == party).values(values))


def _report(said: wire.PartyReport) -> wire.PartyReport:
    """A party's report, cut to what a report needs."""
    return wire.PartyReport(
        learned=[plain(line, _WORDS) for line in said.learned[:_LINES]],
        sizes=[wire.JobSize(name=plain(size.name, 80), value=size.value) for size in said.sizes[:_LINES]],
        bytes_sent=said.bytes_sent,
        bytes_received=said.bytes_received,
        rounds=said.rounds,
        seconds=said.seconds,
        protocol=plain(said.protocol, 80),
    )
