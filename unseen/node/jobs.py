"""The jobs that a node takes part in: invited by the coordinator, decided here, run by a worker process each.

Whatever the coordinator says, a job runs only if this node's policy, its data sets and the grant all name it; that is
looked at when the job comes, at every stream to or from another party, and by the worker before it opens the data.

One thread calls the coordinator and says how each job is. What it hears back is what is wanted at that moment, so that
calls may fail, and either side may be restarted. A job whose worker has gone, alone or with the node, or has lost the
other party's, gets another worker when the coordinator next says *run*: a few times, if its operator can go on from
what lies in the job's directory. Otherwise it has failed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpc.errors import MpcError, PolicyError, UsageError
from mpc.transport import grpc as transport
from mpc.transport.grpc import Target, Words
from mpc.wire.coordinator.v1 import coordinator_pb2 as wire
from mpc.wire.node.v1 import node_pb2
from mpc.words import code_or, plain
from unseen import services
from unseen.governance import documents, files
from unseen.governance import grant as grants
from unseen.governance.documents import format_time, from_base64, to_base64, utc_now
from unseen.governance.enrolment import Identity
from unseen.governance.grant import Grant
from unseen.governance.ledger import JobFacts, Ledger, Note, Quota
from unseen.governance.request import Request
from unseen.governance.trust import Trust
from unseen.home import REPORT, Home
from unseen.jobs import operators, papers, results
from unseen.jobs.papers import Papers, PapersText
from unseen.jobs.spec import Job
from unseen.jobs.states import PartyState
from unseen.node import registrar, sealing
from unseen.node.gate import Allowed, Gate, for_peer
from unseen.node.pipes import Assignment, Ended, Moved
from unseen.node.settings import NodeSettings
from unseen.node.workers import Pool, Worker
from unseen.rpc import Client
from unseen.server import as_credentials
from unseen.settings import check_address, split_party_address

RETRY_S = 1.0
"""How soon to call a coordinator again that could not be reached, seconds."""
LISTEN_S = 60.0
"""How long a stream of another party waits for this party's worker to begin, seconds: as long as that party waits."""
WAITING = 4
"""How many streams of one party may wait so: each holds a thread, and a job needs one."""
RESUMED = 3
"""How often a job gets another worker after one was lost."""
RESUME_S = 0.5
"""How long after a loss, seconds: by then it is known whether the other party has failed."""
STOP_S = 20.0
"""How long the end of each job may take when the node stops, seconds."""

_WHOLE = 1000  # what a stage is parted into for a coordinator that may not hear of sizes
_LOST = frozenset({"worker-died", "channel", "node-restarted"})  # ends that are no fault in the job itself
_IDENTIFIER = re.compile("[0-9a-f]{16}")
_NEWS = "news"
_RECORD = "job.json"
_log = logging.getLogger(__name__)


@dataclass
class _Entry:
    """A job that has not ended here."""

    id: str
    papers: Papers
    allowed: Allowed
    state: PartyState = "accepted"
    peers: Mapping[str, str] = field(default_factory=dict)
    moved: Moved = field(default_factory=Moved)
    listening: threading.Event = field(default_factory=threading.Event)
    waiting: Counter[str] = field(default_factory=Counter)
    """Streams of each other party that wait for it."""
    worker: Worker | None = None
    lost: _End | None = None
    """Why the latest worker has gone, if it is to have a successor."""
    again_s: float = 0.0
    """When that may begin, by the monotonic clock."""
    stopped: _End | None = None
    """Set once the worker was told to stop: how the job is to end here."""

    @property
    def job(self) -> Job:
        """What is run."""
        return self.papers.job


@dataclass(frozen=True)
class _End:
    """How a job ended here, in words for the owner and for the others."""

    state: PartyState
    code: str
    reason: str
    public: str
    ended: Ended = field(default_factory=Ended)


class Jobs:
    """A node's jobs. `start` it once; `stop` it once."""

    def __init__(
        self,
        home: Home,
        settings: NodeSettings,
        *,
        identity: Callable[[], Identity],
        trust: Trust,
        gate: Gate,
        ledger: Ledger,
        coordinator: str,
        gone: Callable[[str], None],
    ) -> None:
        """
        Args:
            home: the node's home.
            settings: its settings.
            identity: its present identity.
            trust: checks the signers of grants.
            gate: its policy.
            ledger: where starts and ends of jobs are written before they count.
            coordinator: ``name@host:port``.
            gone: called with the address of each worker that has ended, to which streams may have been forwarded.
        """
        self._home = home
        self._settings = settings
        self._identity = identity
        self._me = identity().name
        self._trust = trust
        self._gate = gate
        self._ledger = ledger
        self._gone = gone
        self._peer, self._address = split_party_address(coordinator)
        self._storage_key = sealing.storage_key(home.storage_key)
        self._pool = Pool(home, warm=settings.warm_workers if settings.data_set else 0)
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._ended: dict[str, wire.JobNews.One] = {}
        self._stopping = threading.Event()
        self._soon = threading.Event()
        self._reachable = True
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Clear up what an earlier process left, and begin."""
        for directory in (self._home.state / "jobs", self._home.results):
            files.private_directory(directory)
        self._clear_up()
        self._pool.fill()
        self._thread.start()

    def stop(self) -> None:
        """End every job that runs here, and tell the coordinator so if it can be reached."""
        self._stopping.set()
        self._soon.set()
        self._thread.join()
        self._pool.close()
        with self._lock:
            entries = list(self._entries.values())
        for entry in entries:
            self._stop_job(entry, _failed("node-stopping", f"the node of {self._me} is being stopped"), wait=True)
        with contextlib.suppress(MpcError), self._connect(self._identity()) as client:
            self._sync(client)

    def status(self) -> list[node_pb2.JobStatus]:
        """The jobs that have not ended here."""
        with self._lock:
            return [
                node_pb2.JobStatus(
                    id=entry.id,
                    operator=entry.job.head.operator,
                    scenario=entry.job.head.scenario,
                    requester=entry.allowed.requester,
                    state=entry.state,
                    pid=entry.worker.pid if entry.worker is not None else 0,
                    stage=entry.moved.stage,
                    done=entry.moved.done,
                    total=entry.moved.total,
                )
                for entry in self._entries.values()
            ]

    # The gate -------------------------------------------------------------------------------------------------------

    def admit(self, caller: str, words: Words) -> Target:
        """Where a stream of another party's worker goes. Raises PolicyError if it goes nowhere."""
        entry = self._entry_of(words)
        if caller not in entry.job.peers_of(self._me):
            raise _unknown(words.hello.session)
        self._decide(entry.papers)
        with self._lock:
            if entry.waiting[caller] >= WAITING:
                raise PolicyError(f"{WAITING} streams of {caller} wait for job {entry.id}", code="too-many-sessions")
            entry.waiting[caller] += 1
        try:
            if not entry.listening.wait(LISTEN_S):
                raise PolicyError(
                    f"job {entry.id} has not begun at {self._me}", code="job-not-begun", remedy="Try again later."
                )
        finally:
            with self._lock:
                entry.waiting[caller] -= 1
        self._entry_of(words)  # it may have ended meanwhile
        return Target(self._worker_address(entry.id))

    def dispatch(self, _: transport.Caller, words: Words) -> Target:
        """Where a stream of an own worker goes. Raises PolicyError if it goes nowhere."""
        entry = self._entry_of(words)
        address = entry.peers.get(words.receiver)
        if words.sender != self._me or address is None:
            raise _unknown(words.hello.session)
        self._decide(entry.papers)
        try:
            check_address(address)
        except ValueError:
            raise PolicyError(
                f"the coordinator does not say where {words.receiver}'s node is",
                code="node-unknown",
                remedy="That party's node has to announce itself to the same coordinator.",
            ) from None
        return Target(address, as_credentials(self._identity()))

    def _worker_address(self, job: str) -> str:
        return f"unix:{self._home.socket(services.job_socket(job))}"

    def _entry_of(self, words: Words) -> _Entry:
        with self._lock:
            entry, ended = self._entries.get(words.hello.session), self._ended.get(words.hello.session)
        if ended is not None:
            raise PolicyError(f"the job has ended at {self._me}: {ended.reason or ended.state}", code="job-ended")
        if entry is None:
            raise _unknown(words.hello.session)
        if entry.stopped is not None:
            raise PolicyError(f"the job has ended at {self._me}: {entry.stopped.public}", code="job-ended")
        return entry

    def _decide(self, papers: Papers, *, begins: bool = False) -> Allowed:
        return self._gate.decide_job(papers, me=self._me, trust=self._trust, settings=self._settings, begins=begins)

    # The coordinator ------------------------------------------------------------------------------------------------

    def _connect(self, identity: Identity) -> Client:
        return registrar.connect(identity, peer=self._peer, address=self._address)

    def _run(self) -> None:
        used: Identity | None = None
        client: Client | None = None
        while not self._stopping.is_set():
            if used is not self._identity() or client is None:  # a renewed certificate needs a new connection
                used = self._identity()
                if client is not None:
                    client.close()
                client = self._connect(used)
            pause = RETRY_S
            try:
                pause = self._sync(client)
                self._say_reachable("")
            except MpcError as error:
                self._say_reachable(str(error))
            except Exception:
                _log.exception("jobs: a call to the coordinator failed")
            self._soon.wait(pause)
            self._soon.clear()
        if client is not None:
            client.close()

    def _say_reachable(self, problem: str) -> None:
        if bool(problem) == self._reachable:
            self._reachable = not problem
            _log.log(
                logging.WARNING if problem else logging.INFO, "jobs: coordinator %s: %s", self._peer, problem or "ok"
            )

    def _sync(self, client: Client) -> float:
        """Say how everything is, and do what is wanted. Returns how soon to call again, seconds."""
        with self._lock:
            news = [*self._ended.values(), *(_news_of(entry) for entry in self._entries.values())]
        orders = client.call(services.SYNC_JOBS, wire.JobNews(jobs=news))
        for order in orders.jobs:
            try:
                self._obey(order)
            except Exception:
                _log.exception("job %s: an order could not be followed", order.id)
        return min(max(orders.again_ms, 50), 60_000) / 1000

    def _obey(self, order: wire.JobOrders.One) -> None:
        if not _IDENTIFIER.fullmatch(order.id):  # it becomes the name of directories, some of which are removed
            _log.error("an order for a job %r, which is no identifier, is not followed", order.id[:40])
            return
        with self._lock:
            entry, ended = self._entries.get(order.id), order.id in self._ended
        if ended:
            if order.wanted == "settled":
                self._settle(order)
        elif order.wanted in ("consider", "run"):
            if entry is None:
                entry = self._consider(order)
            if order.wanted == "run" and entry is not None and entry.stopped is None and not self._stopping.is_set():
                entry.peers = {peer.party: peer.address for peer in order.peers}
                if entry.worker is None and time.monotonic() >= entry.again_s:
                    self._begin(entry)
        elif order.wanted in ("stop", "settled"):
            reason = plain(order.reason) or "the job was ended"
            end = _End("cancelled", code_or("cancelled", order.code), reason, reason)
            if entry is not None:
                self._stop_job(entry, end)
            elif order.wanted == "stop":
                self._tell(order.id, end)

    def _consider(self, order: wire.JobOrders.One) -> _Entry | None:
        """Whether to take part. A refusal is in the audit log, and the coordinator hears of it."""
        found: Papers | None = None
        try:
            found = papers.read(papers.from_wire(order.papers))
            if found.id != order.id:
                raise PolicyError(f"the request is that of job {found.id}", code="request-mismatch")
            allowed = self._decide(found, begins=True)
            if self._home.result(order.id).exists():
                raise PolicyError(f"job {order.id} has run at {self._me} before", code="job-repeated")
            with self._lock:
                if len(self._entries) >= self._settings.max_jobs:
                    raise PolicyError(
                        f"{self._me} takes part in {self._settings.max_jobs} jobs already",
                        code="too-many-jobs",
                        remedy="Try again when one has ended.",
                    )
                entry = _Entry(order.id, found, allowed)
                self._entries[order.id] = entry
        except (PolicyError, UsageError) as error:
            _log.warning("job %s refused: %s", order.id, error)
            refusal = error if isinstance(error, PolicyError) else PolicyError(str(error), code="job-malformed")
            head = found.job.head if found is not None else None
            self._note(
                Note(
                    kind="refusal",
                    result=refusal.code,
                    scenario=head.scenario if head is not None else None,
                    operator=head.operator if head is not None else None,
                    operator_version=head.operator_version if head is not None else None,
                    input=hashlib.sha256(order.papers.job.encode()).digest(),
                )
            )
            public = for_peer(refusal)
            self._tell(order.id, _End("refused", refusal.code, refusal.reason, public.reason))
            return None
        head = found.job.head
        _log.info("job %s of %s accepted: %s for %s", order.id, allowed.requester, head.operator, head.scenario)
        self._soon.set()
        return entry

    # Life of a job --------------------------------------------------------------------------------------------------

    def _begin(self, entry: _Entry) -> None:
        """Start a worker. That is in the audit log before; the first start of a job counts as a use of the grant."""
        lost = entry.lost
        try:
            # Once more, since the coordinator says when: a request does not wait with it for more than its day.
            grant = self._decide(entry.papers, begins=True).grant
            uses = Quota(f"grant/{grant.issuer}/{grant.grant}", grant.uses, ever=True)
            once = Quota(f"job/{entry.id}", 1, ever=True)
            again = Quota(f"job/{entry.id}/resumed", RESUMED, ever=True)
            note = self._job_note(entry, "resumed" if lost else "started", quotas=(again,) if lost else (once, uses))
            (outcome,) = self._ledger.commit([note])
            if outcome.status == "over-quota" and lost is not None:
                spent = f"{{}}; it was resumed {RESUMED} times"
                end = replace(lost, reason=spent.format(lost.reason), public=spent.format(lost.public))
                self._finish(entry, end)
                return
            if outcome.status == "over-quota":
                raise PolicyError(
                    f"the grant's {grant.uses} uses are spent, or the job has run here before",
                    code="quota-exceeded",
                    remedy="Submit the job anew, under a grant with uses left.",
                )
            directory = self._home.job(entry.id)
            files.private_directory(directory)
            text = entry.papers.to_text()
            files.replace(directory / _RECORD, text.model_dump_json().encode(), mode=files.PRIVATE)
            worker = self._pool.take()
        except PolicyError as error:
            self._finish(entry, _End("failed", error.code, error.reason, for_peer(error).reason))
            return
        except (UsageError, OSError) as error:
            reason = str(error.strerror) if isinstance(error, OSError) else str(error)
            self._finish(entry, _End("failed", "system", reason, "its machine failed"))
            return
        with self._lock:
            entry.worker, entry.state, entry.lost = worker, "running", None
        _log.info("job %s %s, worker %d", entry.id, "goes on" if lost else "begins", worker.pid)
        worker.begin(
            Assignment(
                papers=text,
                workdir=str(directory),
                result=str(self._home.unfinished_result(entry.id)),
                checkpoint_key=to_base64(_checkpoint_key(self._storage_key, entry.id)),
            ),
            moved=lambda line: self._moved(entry, line),
            ended=lambda last, how: self._worker_ended(entry, last, how),
        )

    def _moved(self, entry: _Entry, line: Moved) -> None:
        entry.moved = line
        if line.listening:
            entry.listening.set()

    def _worker_ended(self, entry: _Entry, last: Ended | None, how: str) -> None:
        if last is not None and not last.code:
            end = _End("finished", "", "", "", last)
        elif last is not None:
            end = _End("failed", last.code, last.reason, last.public, last)
        else:
            end = _failed("worker-died", f"its worker process ended ({how})")
        self._home.socket(services.job_socket(entry.id)).unlink(missing_ok=True)  # where it was killed
        with self._lock:
            if entry.stopped is not None:
                end = entry.stopped
            again = self._wait_for_next(entry, end)
        if again:
            _log.warning("job %s is interrupted: %s [%s]", entry.id, end.reason, end.code)
        else:
            self._finish(entry, end)
        self._gone(self._worker_address(entry.id))
        # Only now: while the job ran, the start of another process would have cost it a second of a processor.
        self._pool.fill()

    def _wait_for_next(self, entry: _Entry, end: _End) -> bool:
        """Whether the job, which has no worker any more, is to have another one instead of this end."""
        if end.code not in _LOST or not operators.resumable(entry.job.head.operator):
            return False
        entry.state, entry.worker, entry.lost = "running", None, end
        entry.moved, entry.again_s = Moved(stage="resume"), time.monotonic() + RESUME_S
        entry.listening.clear()
        return True

    def _stop_job(self, entry: _Entry, end: _End, *, wait: bool = False) -> None:
        """End a job that has not ended. Its worker's own last word no longer counts."""
        with self._lock:
            if entry.stopped is not None or entry.id not in self._entries:
                return
            entry.stopped = end
            worker = entry.worker
        if worker is None:
            self._finish(entry, end)
            return
        stopper = threading.Thread(target=worker.stop, name=f"stopping {entry.id}", daemon=True)
        stopper.start()
        if wait:
            stopper.join()
            deadline = time.monotonic() + STOP_S
            while entry.id in self._entries and time.monotonic() < deadline:
                time.sleep(0.01)

    def _finish(self, entry: _Entry, end: _End) -> None:
        """The end of a job here: in the audit log first; then the result is there, or is not."""
        try:
            # Codes may be another party's, or the coordinator's; that it went well is for this node to say.
            bad = end.code if end.code not in ("", "ok", "started", "resumed") else "failed"
            note = self._job_note(entry, "ok" if end.state == "finished" else bad, ended=end.ended)
            self._ledger.commit([note])
        except PolicyError as error:
            _log.error("job %s: %s", entry.id, error)
            if end.state == "finished":
                end = _failed(error.code, error.reason)
        unfinished, finished = self._home.unfinished_result(entry.id), self._home.result(entry.id)
        if end.state != "finished":
            results.discard(unfinished)
        try:
            results.publish(unfinished, finished, self._report(entry, end))
        except OSError as error:
            _log.error("job %s: the result cannot be kept: %s", entry.id, error.strerror)
            results.discard(unfinished)
            end = _failed("system", f"the result cannot be kept: {error.strerror}")
        log = _log.info if end.state == "finished" else _log.warning
        log("job %s %s%s", entry.id, end.state, f": {end.reason} [{end.code}]" if end.code else "")
        self._tell(entry.id, end, sizes=entry.allowed.grant.report_sizes)

    def _tell(self, job: str, end: _End, *, sizes: bool = False) -> None:
        """Have the coordinator hear of an end, also after a restart of this node."""
        news = wire.JobNews.One(id=job, state=end.state, code=end.code, reason=end.public)
        if end.ended.seconds:
            news.report.CopyFrom(
                wire.PartyReport(
                    protocol=end.ended.protocol,
                    learned=end.ended.learned,
                    sizes=[wire.JobSize(name=n, value=v) for n, v in end.ended.sizes.items()] if sizes else [],
                    bytes_sent=end.ended.bytes_sent,
                    bytes_received=end.ended.bytes_received,
                    rounds=end.ended.rounds,
                    seconds=end.ended.seconds,
                )
            )
        directory = self._home.job(job)
        try:
            results.discard(directory)
            files.private_directory(directory)
            files.replace(directory / _NEWS, news.SerializeToString(), mode=files.PRIVATE)
        except OSError as error:
            _log.error("job %s: its end cannot be kept: %s", job, error.strerror)
        with self._lock:
            self._ended[job] = news
            entry = self._entries.pop(job, None)
        if entry is not None:
            entry.listening.set()  # whoever waits for it looks again
        self._soon.set()

    def _settle(self, order: wire.JobOrders.One) -> None:
        """All parties have ended. How the whole job ended goes into this party's report."""
        path = self._home.result(order.id)
        try:
            if order.state and (path / REPORT).exists():
                report = json.loads(files.read(path / REPORT, what="a report"))
                code = code_or("", order.code)
                report["job"] = {"state": plain(order.state, 80), "code": code, "reason": plain(order.reason)}
                results.write_report(path, report)
            results.discard(self._home.job(order.id))
        except (OSError, UsageError, ValueError) as error:
            _log.error("job %s: its report cannot be completed: %s", order.id, error)
        with self._lock:
            self._ended.pop(order.id, None)

    def _clear_up(self) -> None:
        """What the jobs of an earlier process left: ends that the coordinator has not heard of, and unfinished work."""
        for left in self._home.results.glob("*.part"):
            results.discard(left)
        for directory in sorted((self._home.state / "jobs").iterdir()):
            try:
                if (directory / _NEWS).exists():
                    data = files.read(directory / _NEWS, what="a job's end")
                    self._ended[directory.name] = wire.JobNews.One.FromString(data)
                else:
                    self._take_up(directory)
            except (MpcError, OSError, ValueError) as error:
                _log.error("job %s cannot be read and is forgotten: %s", directory.name, error)
                results.discard(directory)

    def _take_up(self, directory: Path) -> None:
        """A job whose worker went with the node: it waits for another one, or has failed."""
        found = papers.read(PapersText.model_validate_json(files.read(directory / _RECORD, what="a job's record")))
        # Both were found genuine when the job began; here they only say what it was.
        grant = documents.parse(found.grant.document, Grant)
        requester = documents.parse(found.request.document, Request).requester
        mine = found.job.part_of(self._me)
        data = self._settings.find_data_set(mine.data_set)
        if data is None:
            raise UsageError(f"there is no data set {mine.data_set} any more")
        entry = _Entry(directory.name, found, Allowed(requester, grant, data, mine.all_columns))
        if self._home.result(entry.id).exists():
            # It had ended: only the word to the coordinator was not written down.
            report = json.loads(files.read(self._home.result(entry.id) / REPORT, what="a report"))
            self._tell(entry.id, _End(report["state"], report["code"], report["reason"], report["public"]))
            return
        end = _failed("node-restarted", f"the node of {self._me} was restarted while the job ran")
        if self._wait_for_next(entry, end):
            self._entries[entry.id] = entry
        else:
            self._finish(entry, end)

    # What is written down -------------------------------------------------------------------------------------------

    def _report(self, entry: _Entry, end: _End) -> dict[str, object]:
        """The party's own report."""
        grant, last = entry.allowed.grant, end.ended
        return {
            "id": entry.id,
            "party": self._me,
            "peers": list(entry.job.peers_of(self._me)),
            "requester": entry.allowed.requester,
            "scenario": entry.job.head.scenario,
            "purpose": grant.purpose,
            "operator": entry.job.head.operator,
            "operator_version": entry.job.head.operator_version,
            "suite": entry.job.head.suite,
            "data_set": entry.allowed.data.name,
            "columns": list(entry.allowed.columns),
            "grant": to_base64(grants.digest(entry.papers.grant)),
            "authority": grant.issuer,
            "state": end.state,
            "code": end.code,
            "reason": end.reason,
            "public": end.public,
            "protocol": last.protocol or None,
            "learned": list(last.learned),
            "sizes": dict(last.sizes),
            "result": last.result_file or None,
            "result_rows": last.result_rows,
            "result_sha256": last.result_hash or None,
            "files": dict(last.files),
            "bytes_sent": last.bytes_sent,
            "bytes_received": last.bytes_received,
            "rounds": last.rounds,
            "seconds": last.seconds,
            "ended": format_time(utc_now()),
        }

    def _job_note(
        self, entry: _Entry, result: str, *, ended: Ended | None = None, quotas: tuple[Quota, ...] = ()
    ) -> Note:
        last = ended or Ended()
        return Note(
            kind="job",
            result=result,
            suite=entry.job.head.suite,
            input=entry.job.digest,
            output=from_base64(last.result_hash) if last.result_hash else None,
            quotas=quotas,
            job=JobFacts(
                job=entry.id,
                grant=grants.digest(entry.papers.grant),
                peers=entry.job.peers_of(self._me),
                data_set=entry.allowed.data.name,
                columns=entry.allowed.columns,
                rows=last.rows,
                result_rows=last.result_rows,
                files={name: from_base64(one) for name, one in last.files.items()},
                bytes_sent=last.bytes_sent,
                bytes_received=last.bytes_received,
            ),
            requester=entry.allowed.requester,
            scenario=entry.job.head.scenario,
            operator=entry.job.head.operator,
            operator_version=entry.job.head.operator_version,
        )

    def _note(self, note: Note) -> None:
        try:
            self._ledger.commit([note])
        except PolicyError as error:
            _log.warning("%s", error)


def _failed(code: str, reason: str) -> _End:
    return _End("failed", code, reason, reason)


def _unknown(job: str) -> PolicyError:
    return PolicyError(
        f"there is no job {job[:40]!r} here for this",
        code="job-unknown",
        remedy="Jobs are submitted to the coordinator, with a grant: `unseen job submit`.",
    )


def _news_of(entry: _Entry) -> wire.JobNews.One:
    """How a job is, for the coordinator: which hears of parts of the whole where it may not hear of sizes."""
    moved = entry.moved
    done, total = moved.done, moved.total
    if total and not entry.allowed.grant.report_sizes:
        done, total = min(done, total) * _WHOLE // total, _WHOLE
    progress = wire.JobProgress(stage=moved.stage, done=done, total=total) if moved.stage else None
    return wire.JobNews.One(id=entry.id, state=entry.state, progress=progress)


def _checkpoint_key(storage: bytes, job: str) -> bytes:
    """What a job's checkpoints are encrypted under: of this node and of this job alone, 32 bytes."""
    info = b"unseen checkpoint\x00" + job.encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(storage)
