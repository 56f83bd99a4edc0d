"""What a worker hands to an operator, and what the operator gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel

from mpc.errors import PolicyError
from protocols.operator import Operator
from unseen.jobs.spec import Head, Job, PartyInput

if TYPE_CHECKING:
    # Whoever submits a job needs the operators' parameters, and neither Arrow nor a session.
    import pyarrow as pa

    from mpc.data.tables import DataSet
    from mpc.session import Session
    from unseen.models import ModelStore

P = TypeVar("P", bound=BaseModel)


@dataclass(frozen=True)
class Task:
    """One party's part of a job, at the moment when everything is allowed and all parties are connected.

    Attributes:
        id: the job's identifier, the same at all parties.
        job: what is to be done.
        mine: this party's own part of it.
        session: one channel per other party, randomness, progress.
        data: where this party's columns are; no others can be read through it.
        minimum_result: the grant's: a result of fewer matched keys or records is not for anybody.
        workdir: a directory of this job's own, which is removed when the job has ended, and not before.
        checkpoint_key: 32 bytes of this node for this job: what is written to `workdir` is encrypted under it.
        models: this party's parts of models; None where there is no store.
    """

    id: str
    job: Job
    mine: PartyInput
    session: Session
    data: DataSet
    minimum_result: int
    workdir: Path
    checkpoint_key: bytes = field(repr=False)
    models: ModelStore | None = None


def read_all(task: Task) -> pa.Table:
    """All columns that this party brings, its keys first, as the job names them; without rows they are text."""
    import pyarrow as pa

    from mpc.data import tables
    from mpc.session import Progress

    task.session.progress(Progress("read", 0, 1))
    batches = list(tables.batches(task.data))
    task.session.progress(Progress("read", 1, 1))
    if not batches:
        return pa.table({name: pa.array([], pa.string()) for name in task.mine.all_columns})
    return pa.Table.from_batches(batches).select(task.mine.all_columns)


@dataclass(frozen=True)
class Yield:
    """What one party got out of a job.

    Attributes:
        protocol: what ran, such as ``psi.rr22``.
        rows: rows read of this party's data set.
        result_rows: rows of the result; None where this party was to get none.
        sizes: what this party learned of sizes, by name.
        learned: what this party learned beyond its own input, a sentence each.
        schema: of the result; None where there is none.
        batches: the result itself.
        files: further files of the result, by name: a trained model's part, a page to read. They are written and
            published together with it, and the hash of each is in report and audit log.
    """

    protocol: str
    rows: int
    result_rows: int | None
    sizes: Mapping[str, int]
    learned: tuple[str, ...]
    schema: pa.Schema | None = None
    batches: Iterable[pa.RecordBatch] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def too_small(minimum: int) -> PolicyError:
    """The error for a result that the grant's disclosure rule withholds. It does not say how small it is."""
    return PolicyError(
        f"the result has fewer than the {minimum} rows that the grant asks for, and is given to nobody",
        code="result-too-small",
        remedy="Ask the authority whether a smaller result may be disclosed.",
    )


@dataclass(frozen=True)
class Runnable(Generic[P]):
    """An operator that jobs can run: one line of `unseen.jobs.operators.OPERATORS`.

    Attributes:
        operator: name, version and leakage statement.
        parameters: model of the table ``[parameters]`` of a job's file.
        recipients: the parties that head and parameters give a result; the grant has to name each of them.
        check: raises UsageError where parameters and parties do not fit together.
        run: does the work; called in the worker process of each party.
        resumable: whether `run`, called again with the same `workdir` and `checkpoint_key`, goes on from there.
    """

    operator: Operator
    parameters: type[P]
    recipients: Callable[[Head, P], tuple[str, ...]]
    check: Callable[[Job, P], None]
    run: Callable[[Task, P], Yield]
    resumable: bool = False
