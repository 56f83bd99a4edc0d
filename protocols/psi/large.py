"""Private set intersection of data sets larger than memory, by buckets, gone on with after an interruption.

Both parties cut their data sets by digests of the keys into equally many buckets, on disk, fill every bucket up with
random digests to a size that follows from the set's size alone, and run one intersection for each bucket (``rr22`` or
``ecdh``).

    1  what each holds of the run; terms; a salt                     (Resume, agreement)
    2  read, canonical keys, digests under the salt, spill           no words
    3  sizes; of how many buckets the results are there at both      (agreement, Buckets)
    4  for each other bucket: fill up, intersect, result to disk     two at a time, on forks of the channel
    5  that all results are there at both                            (Buckets)
    6  the result file: bucket by bucket, within one in the order of its intersection: common to both parties

What an interruption, of whatever kind, loses is step 2 where it had not ended, and the buckets that were under way.
Those run again with fresh salts, masks and transfers. A result counts if both have it of the same attempt.

Security: of the protocol of a bucket. A peer that deviates can break off and put other keys into the buckets that have
          no result yet, each time: a run is gone on with at most ``MAX_ATTEMPTS`` times.
Leaks:    what the protocol of a bucket leaks of one run with the whole sets, and how often the run was gone on with.
          Filled up, the sizes of buckets tell nothing. A bucket begins when an earlier one's result is on disk: a peer
          that is not told the result and measures that learns about how many rows it has.
Cost:     the protocol's for about 1.01 times as many items (at 2^20 items a bucket); 3 rounds, and 16 bytes for every
          bucket, besides. Disk: about 40 bytes for every row and the columns that the result is to have. Memory: two
          buckets, or where there are few of them a part of the input of 96 MiB.
"""

from __future__ import annotations

import contextvars
import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mpc import durable
from mpc import suite as suites
from mpc.channel import Channel
from mpc.data import tables
from mpc.data.tables import DataSet
from mpc.errors import ChannelClosed, ChannelError, UsageError
from mpc.kernels import hash as hashes
from mpc.kernels.packing import pack, pack_rows
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.wire.psi.v1 import large_pb2 as wire
from protocols.operator import Operator
from protocols.psi import checkpoint, choice, spill
from protocols.psi import items as sets
from protocols.psi.agreement import Agreed, Reveal, Security, Terms, agree
from protocols.psi.choice import Protocol
from protocols.psi.items import Duplicates
from protocols.psi.spill import Bucket, Spill

OPERATOR = Operator(
    name="psi.large",
    version=1,
    title="Private set intersection of large data sets, by buckets",
    learns={
        "receiver": ("which of its own items the sender holds too", "how many items the sender holds"),
        "sender": (
            "how many items the receiver holds",
            "which of its own items the receiver holds too, where both parties are to learn the result",
        ),
    },
)

BUCKET_ROWS = 1 << 20
"""Keys of a bucket, before it is filled up."""

MAX_ATTEMPTS = 64
"""How often one run may be begun or gone on with."""

_LANES = 2  # buckets under way: while one waits for the peer the other computes
_MIN_BUCKET_ROWS = 16
_RECORD = "record"
_FORMAT = 1  # of the record
_SEPARATOR = b"unseen psi.large v1 "
_TOKEN = 8


@dataclass(frozen=True)
class TablesResult:
    """What one party has of an intersection of data sets.

    Attributes:
        operator: name of the operator that ran in each bucket, such as ``psi.rr22``.
        rows: how many rows this party's data set has.
        peer_size: how many distinct keys the peer brought.
        matched: how many keys both parties hold; None where this party was not to learn it.
        result_rows: how many rows of this party they have; None likewise.
        schema: of the result: the data set's columns, and `match` where that was asked for; None likewise.
    """

    operator: str
    rows: int
    peer_size: int
    matched: int | None
    result_rows: int | None
    schema: pa.Schema | None = field(repr=False)
    _batches: Callable[[], Iterator[pa.RecordBatch]] = field(repr=False)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The matched rows in common order, from the work directory. DamagedCheckpoint where it is not what it was."""
        return self._batches()


def intersect_tables(
    session: Session,
    data_set: DataSet,
    out: Path | None,
    *,
    keys: Sequence[str],
    peer: str,
    run: str,
    workdir: Path,
    checkpoint_key: bytes,
    form: str = "text",
    columns: Sequence[str] | None = None,
    protocol: Protocol = "auto",
    reveal_to: Reveal = "both",
    security: Security = "semi-honest",
    suite: str | Suite = "intl",
    duplicates: Duplicates = "error",
    match: str | None = None,
    bucket_rows: int = BUCKET_ROWS,
) -> TablesResult:
    """Find the rows of a data set whose keys `peer` holds too. Both call it, and call it again after an interruption.

    While one party reads its data set the other waits: give the channel a timeout for that.

    Args:
        session: this party's run.
        data_set: this party's rows. A file must stay as it is until the run has ended; a data base is read once.
        out: where the result goes, ``.parquet`` or ``.csv``; there wholly or not at all. `workdir` is removed then.
            With None the result stays in `workdir`, sealed, to be read by its ``batches``.
        keys: the key column, or the columns of a form with several.
        peer: name of the other party.
        run: name of the run, the same at both, such as a job's.
        workdir: a directory of this run's own, made if missing: what an interrupted run is gone on with.
        checkpoint_key: 32 bytes, under which everything in `workdir` is sealed; the same when the run is gone on with.
        form: canonical form of the keys (``mpc.data.identifiers``).
        columns: of the data set, that the result is to have; all if None.
        protocol: of each bucket, as for ``psi.intersect``.
        reveal_to: who learns which keys match, as there.
        security: as there; of each bucket.
        suite: cipher suite or its name.
        duplicates: what a key in several rows means, as there.
        match: name of a further column of the result that numbers the matched keys from 0, for duplicates="many".
        bucket_rows: most keys of a bucket on average, the same at both.

    Raises:
        InvalidIdentifier: a row whose key is not of the form.
        UsageError: options that do not go together; a key in several rows; the run was begun with another input or
            other options. DamagedCheckpoint: a file in `workdir` is not what was written there.
        PeerError: the peer runs something else (the text names it), or broke the protocol.
        ChannelError: the connection failed. OSError: the disk is full. The run can be gone on with.
    """
    channel = session.channel(peer)
    try:
        columns = tuple(data_set.columns if columns is None else columns)
        plan = _Plan(
            data_set, tuple(keys), form, columns, peer, run, protocol, reveal_to, security,
            suites.get(suite) if isinstance(suite, str) else suite, duplicates, match, bucket_rows,
        )  # fmt: skip
        plan.check()
        if out is not None and (out.suffix not in tables.FORMATS or out.exists()):
            raise UsageError(f"{out} exists, or is none of {', '.join(tables.FORMATS)}: give the name of a new file.")
        if len(checkpoint_key) != checkpoint.KEY_BYTES:
            raise UsageError(f"The checkpoint key has {len(checkpoint_key)} bytes; give {checkpoint.KEY_BYTES}.")
        busy = f"Another process works in {workdir}: wait for it, or give a directory of its own."
        with checkpoint.alone(workdir, busy):
            state = _State(workdir, checkpoint_key, session)
            result = _run(session, channel, plan, state)
            if out is None:
                return result
            if result.schema is not None:
                _write(out, result)
            shutil.rmtree(workdir)
            return replace(result, _batches=_gone)
    except BaseException as error:
        channel.close(f"an intersection broke off ({type(error).__name__})")
        raise


@dataclass(frozen=True)
class _Plan:
    """The options of a run, as `intersect_tables` has them."""

    data_set: DataSet
    keys: tuple[str, ...]
    form: str
    columns: tuple[str, ...]
    peer: str
    run: str
    protocol: Protocol
    reveal_to: Reveal
    security: Security
    suite: Suite
    duplicates: Duplicates
    match: str | None
    bucket_rows: int

    def check(self) -> None:
        """UsageError where they do not go together."""
        if self.bucket_rows < _MIN_BUCKET_ROWS:
            raise UsageError(f"bucket_rows is {self.bucket_rows}: give {_MIN_BUCKET_ROWS} or more.")
        if foreign := sorted(set(self.columns) - set(self.data_set.columns)):
            raise UsageError(f"The data set has no column {foreign[0]!r} to put out: name it in the data set.")
        if self.match is not None and self.match in self.columns:
            raise UsageError(f"A column is called {self.match!r}: give `match` another name.")
        if self.duplicates not in ("error", "first", "many"):
            raise UsageError(f"duplicates is 'error', 'first' or 'many', not {self.duplicates!r}.")

    @property
    def learns(self) -> bool:
        return self.reveal_to in ("both", "me")

    @property
    def operators(self) -> list[Operator]:
        names = choice.candidates(self.protocol, self.security, self.reveal_to)
        return [OPERATOR, *(choice.OPERATORS[name] for name in names)]

    def terms(self, size: int) -> Terms:
        return Terms(self.operators, self.suite, self.security, self.form, self.reveal_to, size)

    def words(self) -> str:
        """Everything that must be the same when the run is gone on with, but for what the data set holds."""
        told = {
            "peer": self.peer, "run": self.run, "table": self.data_set.table, "encoding": self.data_set.encoding,
            "keys": self.keys, "form": self.form, "columns": self.columns,
            "operators": [o.name for o in self.operators],
            "reveal_to": self.reveal_to, "security": self.security, "suite": self.suite.name,
            "duplicates": self.duplicates, "match": self.match, "bucket_rows": self.bucket_rows,
        }  # fmt: skip
        return json.dumps(told, sort_keys=True)

    def fingerprint(self) -> str:
        """Of what the data set holds; of a data base, where to look, since it is read once."""
        if "://" in self.data_set.source or not Path(self.data_set.source).is_file():
            return hashlib.sha256(self.data_set.source.encode()).hexdigest()
        with open(self.data_set.source, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class _Record:
    """What this party knows of an unfinished run.

    Attributes:
        words, fingerprint: as the plan gives them.
        salt: 32 bytes, which name this beginning of the run and cut the buckets.
        attempts: how often it was begun or gone on with.
        spill: what is on disk; None before it is.
        peer_size: the peer's distinct keys; -1 before they are known.
        operator: what runs in each bucket; empty before it is known.
        complete: whether both parties have all results.
    """

    words: str
    fingerprint: str
    salt: bytes = field(repr=False)
    attempts: int = 0
    spill: Spill | None = None
    peer_size: int = -1
    operator: str = ""
    complete: bool = False

    @property
    def state(self) -> bytes:
        """32 bytes by which both parties see that they are in the same beginning of a run."""
        return hashlib.sha256(_SEPARATOR + b"state\x00" + self.salt).digest()

    @property
    def name(self) -> str:
        return self.state[:8].hex()

    @property
    def known(self) -> Spill:
        if self.spill is None:
            raise UsageError("The data set has not been read: this is an error of the library, please report it.")
        return self.spill

    @property
    def bits(self) -> int:
        """Of the number of buckets."""
        rows = json.loads(self.words)["bucket_rows"]
        return spill.bucket_bits(max(self.known.keys, self.peer_size), rows)


class _State:
    """The directory of a run."""

    def __init__(self, directory: Path, key: bytes, session: Session) -> None:
        self.directory = directory
        self.key = key
        self._rng = session.rng

    def load(self) -> _Record | None:
        path = self.directory / _RECORD
        if not path.exists():
            return None
        raw = json.loads(b"".join(checkpoint.read(path, self.key)))
        if raw.pop("format", None) != _FORMAT:
            raise UsageError(
                f"The run in {self.directory} was begun by another release: end it with that one, or delete the "
                "directory at both parties to begin anew."
            )
        raw["salt"] = bytes.fromhex(raw["salt"])
        if raw["spill"] is not None:
            rows, keys, bits, schema = raw["spill"]
            raw["spill"] = Spill(rows, keys, bits, pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(schema))))
        return _Record(**raw)

    def save(self, record: _Record) -> _Record:
        raw = {name: getattr(record, name) for name in record.__dataclass_fields__}
        raw["salt"] = record.salt.hex()
        raw["format"] = _FORMAT
        if record.spill is not None:
            schema = record.spill.schema.serialize().to_pybytes().hex()
            raw["spill"] = [record.spill.rows, record.spill.keys, record.spill.bits, schema]
        with checkpoint.Writer(self.directory / _RECORD, self.key, rng=self._rng) as writer:
            writer.write(json.dumps(raw).encode())
        durable.sync_directory(self.directory)
        return record

    def clear(self) -> None:
        """Forget whatever was begun here; the record first, so that no record speaks of what is not there."""
        (self.directory / _RECORD).unlink(missing_ok=True)
        for path in self.directory.iterdir():
            if path.name.startswith(("rows-", "result-", _RECORD)):
                path.unlink()

    def tokens(self, buckets: int) -> NDArray[np.uint8]:
        """(buckets, 8) uint8: of which attempt each bucket's result is, zeros where there is none."""
        found = np.zeros((buckets, _TOKEN), dtype=np.uint8)
        for path in self.directory.glob("result-*-*"):
            number, _, token = path.name.removeprefix("result-").partition("-")
            with suppress(ValueError):  # one that was not finished has another name
                found[int(number)] = np.frombuffer(bytes.fromhex(token), dtype=np.uint8)
        return found

    def result(self, bucket: int, token: bytes) -> Path:
        return self.directory / f"result-{bucket:06}-{token.hex()}"

    def keep(self, bucket: int, token: bytes, matched: int, table: pa.Table | None) -> None:
        """A bucket's result. Those of earlier attempts go first: the peer has none of the same, or it would count."""
        for path in self.directory.glob(f"result-{bucket:06}-*"):
            path.unlink()
        rows = -1 if table is None else table.num_rows
        with checkpoint.Writer(self.result(bucket, token), self.key, rng=self._rng) as writer:
            writer.write(np.array([matched, rows], dtype="<i8").tobytes())
            for frame in () if table is None else spill.frames(table):
                writer.write(frame)
        durable.sync_directory(self.directory)


def _run(session: Session, channel: Channel, plan: _Plan, state: _State) -> TablesResult:
    words, fingerprint = plan.words(), plan.fingerprint()
    record = state.load()
    if record is not None and record.words != words:
        raise UsageError(
            f"The run in {state.directory} was begun with other options: give those, or delete the directory at both "
            "parties to begin anew."
        )
    if record is not None and record.fingerprint != fingerprint:
        raise UsageError(
            f"The data set has changed since the run in {state.directory} was begun: restore it, or delete the "
            "directory at both parties to begin anew with what it holds now."
        )
    mine = wire.Resume(
        run=plan.run,
        state=b"" if record is None else record.state,
        bucket_rows=plan.bucket_rows,
        complete=record is not None and record.complete,
    )
    if record is not None and record.complete:
        with suppress(ChannelError):  # a peer that knows it too has gone
            channel.send(mine)
        return _result(plan, state, record)
    (theirs,) = channel.exchange(mine)  # 1
    channel.require(theirs.run == plan.run, "the same run at both parties")
    channel.require(theirs.bucket_rows == plan.bucket_rows, "the same bucket_rows at both parties")
    attempts = 0 if record is None else record.attempts  # they count, whatever the peer says that it has lost
    if record is not None and theirs.state != record.state:
        record = None  # the peer has lost its own, or never had it
    if theirs.complete:
        channel.require(record is not None, "the state of the run at both parties: delete both work directories")
        assert record is not None  # noqa: S101  # for the type checker: required above
        # It says so after it has seen all of this party's results.
        whole = record.peer_size >= 0 and state.tokens(1 << record.bits).any(axis=1).all()
        channel.require(bool(whole), "results of all buckets before the run is complete")
        return _result(plan, state, state.save(replace(record, complete=True)))
    salt = agree(channel, plan.terms(0), rng=session.rng).salt
    if record is None:
        state.clear()
        record = _Record(words, fingerprint, salt, attempts)
    if record.attempts >= MAX_ATTEMPTS:
        raise UsageError(f"The run was gone on with {MAX_ATTEMPTS} times: delete {state.directory} to begin anew.")
    record = state.save(replace(record, attempts=record.attempts + 1))
    if record.spill is None:
        record = state.save(replace(record, spill=_spill(session, plan, state, record)))  # 2
    agreed = agree(channel, plan.terms(record.known.keys), rng=session.rng)  # 3
    before = record.peer_size
    channel.require(before in (-1, agreed.peer_size), "as many keys as there were when the run was begun")
    names = choice.candidates(plan.protocol, plan.security, plan.reveal_to)
    bits = spill.bucket_bits(max(record.known.keys, agreed.peer_size), plan.bucket_rows)
    name = choice.pick(names, *(spill.bucket_size(size, bits) for size in (record.known.keys, agreed.peer_size)))
    record = state.save(replace(record, peer_size=agreed.peer_size, operator=choice.OPERATORS[name].name))
    own = state.tokens(1 << bits)
    done = _same_tokens(channel, own)
    work = _Work(session, plan, state, record, agreed, name, bits)
    work.run(channel, np.flatnonzero(~done).tolist(), already=int(done.sum()))  # 4
    done = _same_tokens(channel, state.tokens(1 << bits))  # 5
    channel.require(bool(done.all()), "a result of every bucket, of the same attempt at both parties")
    return _result(plan, state, state.save(replace(record, complete=True)))


def _spill(session: Session, plan: _Plan, state: _State, record: _Record) -> Spill:
    for path in state.directory.glob("rows-*"):
        path.unlink()
    return spill.write(
        plan.data_set,
        keys=plan.keys,
        form=plan.form,
        columns=plan.columns if plan.learns else (),
        duplicates=plan.duplicates,
        suite=plan.suite,
        salt=record.salt,
        directory=state.directory,
        name=record.name,
        key=state.key,
        rng=session.rng,
        progress=session.progress,
    )


def _same_tokens(channel: Channel, own: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(buckets,) bool: of which buckets both parties have the result of one attempt."""
    _, theirs = channel.exchange(wire.Buckets(), own)
    channel.require(theirs.shape == own.shape, f"{len(own)} buckets")
    done: NDArray[np.bool_] = (own == theirs).all(axis=1) & own.any(axis=1)
    return done


@dataclass(frozen=True)
class _Work:
    """The buckets of one attempt."""

    session: Session
    plan: _Plan
    state: _State
    record: _Record
    agreed: Agreed
    name: str
    bits: int

    def run(self, channel: Channel, buckets: Sequence[int], *, already: int) -> None:
        """Intersect these buckets. Raises the first error that is not merely another lane's end."""
        reader = spill.Reader(self.record.known, self.state.directory, self.record.name, self.state.key)
        lock = threading.Lock()
        failures: list[BaseException] = []
        finished = already
        total = 1 << self.bits

        def lane(number: int) -> None:
            nonlocal finished
            try:
                own = channel.fork(f"psi.large lane {number}")
                for bucket in buckets[number::_LANES]:
                    self._bucket(own, reader, bucket)
                    with lock:
                        finished += 1
                        self.session.progress(Progress("buckets", finished, total))
            except BaseException as error:
                with lock:
                    failures.append(error)
                channel.close(f"an intersection broke off ({type(error).__name__})")

        threads = []
        for number in range(min(_LANES, len(buckets))):
            # In the caller's context, so that what follows the caller about (a simulated clock) is in all threads.
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(lane, number), name=f"psi lane {number}", daemon=True)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        if failures:
            raise min(failures, key=lambda error: isinstance(error, ChannelClosed))

    def _bucket(self, channel: Channel, reader: spill.Reader, number: int) -> None:
        """One bucket: read, fill up, intersect, keep the result."""
        plan, session = self.plan, self.session
        bucket = reader.bucket(number, self.bits)
        items = sets.collect(pack_rows(bucket.digests), form="bytes", duplicates=plan.duplicates, rng=session.rng)
        size = spill.bucket_size(self.record.known.keys, self.bits)
        missing = size - len(items.keys)
        if missing < 0:
            raise UsageError("A bucket is larger than its bound, which happens once in 2^40 runs: begin anew.")
        # 32 random bytes are nobody's digest, here or there.
        filled = np.concatenate([items.keys.data.reshape(-1, 32), session.rng.uint8(missing, 32)])
        salt = self._derived(b"salt", number)
        agreed = Agreed(
            spill.bucket_size(self.agreed.peer_size, self.bits),
            salt,
            self.agreed.receiver,
            self.agreed.both,
            self.agreed.security,
            runs=1 << self.bits,
        )
        run = choice.RUNS[self.name][0 if agreed.receiver else 1]
        progress = (lambda _: None) if self.bits else session.progress  # of many buckets the number done is enough
        matched = run(channel, pack_rows(filled), agreed, suite=plan.suite, rng=session.rng, progress=progress)
        token = self._derived(b"attempt", number)[:_TOKEN]
        if matched is None:
            self.state.keep(number, token, -1, None)
            return
        found = items.result(matched[matched < len(items.keys)], peer_size=0, operator="")
        self.state.keep(number, token, *_found(plan, bucket, found.rows, found.offsets))

    def _derived(self, use: bytes, number: int) -> bytes:
        """32 bytes of this attempt and bucket alone, the same at both parties."""
        text = self.agreed.salt + number.to_bytes(4, "little")
        digest: NDArray[np.uint8] = hashes.batch(self.plan.suite.digest, _SEPARATOR + use + b"\x00", pack([text]))[0]
        return digest.tobytes()


def _found(
    plan: _Plan, bucket: Bucket, rows: NDArray[np.int64] | None, offsets: NDArray[np.int64] | None
) -> tuple[int, pa.Table | None]:
    """How many keys matched, and their rows' columns."""
    if rows is None or offsets is None:
        return -1, None
    table = spill.take(bucket.columns, rows)
    if plan.match is not None:
        numbers = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        table = table.append_column(plan.match, spill.int64s(numbers))
    return len(offsets) - 1, table


def _result(plan: _Plan, state: _State, record: _Record) -> TablesResult:
    """What is on disk of a run whose results are all there."""
    tokens = state.tokens(1 << record.bits)
    paths = [state.result(number, token.tobytes()) for number, token in enumerate(tokens)]
    if not plan.learns:
        return TablesResult(record.operator, record.known.rows, record.peer_size, None, None, None, lambda: iter(()))
    heads = np.array([np.frombuffer(next(checkpoint.read(path, state.key)), dtype="<i8") for path in paths])
    schema = pa.schema(list(record.known.schema)[2:])
    if plan.match is not None:
        schema = schema.append(pa.field(plan.match, pa.int64()))

    def batches() -> Iterator[pa.RecordBatch]:
        for path, earlier in zip(paths, np.cumsum(heads[:, 0]) - heads[:, 0], strict=True):
            frames = checkpoint.read(path, state.key)
            next(frames)
            for data in frames:
                batch = pa.ipc.read_record_batch(pa.py_buffer(data), schema)
                if plan.match is not None:
                    at = batch.num_columns - 1
                    batch = batch.set_column(at, plan.match, pc.add(batch.column(at), pa.scalar(int(earlier))))
                yield batch

    matched, rows = heads.sum(axis=0).tolist()
    return TablesResult(record.operator, record.known.rows, record.peer_size, matched, rows, schema, batches)


def _write(out: Path, result: TablesResult) -> None:
    """The result file, under its name when it is complete and on disk."""
    part = out.with_name(out.name + ".part")
    try:
        tables.write(part, result.batches(), schema=result.schema, kind=out.suffix)
        part.rename(out)
        durable.sync_directory(out.parent)
    finally:
        part.unlink(missing_ok=True)


def _gone() -> Iterator[pa.RecordBatch]:
    raise UsageError("The result was written to its file: read it there.")
