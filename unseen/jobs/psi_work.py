"""What a worker does for the operator ``psi``: read, intersect, and take the records of the keys in common."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mpc import suite as suites
from mpc.data import tables
from protocols import psi
from unseen.jobs.psi import MATCH, Parameters, learned, reveal
from unseen.jobs.task import Task, Yield, too_small


def run(task: Task, parameters: Parameters) -> Yield:
    """This party's part. Called in its worker process."""
    (peer,) = task.job.peers_of(task.session.me)
    table = _read(task)
    keys = tuple(table.column(name) for name in task.mine.keys)
    result = psi.intersect(
        task.session,
        keys[0] if len(keys) == 1 else keys,
        peer=peer,
        protocol=parameters.protocol,
        reveal_to=reveal(parameters, me=task.session.me),
        security=parameters.security,
        suite=suites.get(task.job.head.suite),
        form=task.mine.form,
        duplicates=parameters.duplicates,
    )
    sizes = {"rows": table.num_rows, "peer_keys": result.peer_size}
    if result.rows is None or result.offsets is None:
        return Yield(result.operator, table.num_rows, None, sizes, learned("other", peer))
    matched = len(result.offsets) - 1
    if matched < task.minimum_result:
        raise too_small(task.minimum_result)
    found = table.take(pa.array(result.rows))
    if parameters.duplicates == "many":
        found = found.append_column(MATCH, pa.array(np.repeat(np.arange(matched), np.diff(result.offsets))))
    return Yield(
        protocol=result.operator,
        rows=table.num_rows,
        result_rows=found.num_rows,
        sizes={**sizes, "matched_keys": matched},
        learned=learned("learner", peer),
        schema=found.schema,
        batches=found.to_batches(max_chunksize=tables.BATCH_ROWS),
    )


def _read(task: Task) -> pa.Table:
    batches = list(tables.batches(task.data))
    if batches:
        return pa.Table.from_batches(batches)
    return pa.table({name: pa.array([], pa.large_string()) for name in task.data.columns})
