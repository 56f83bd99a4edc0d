"""What a worker does for ``aggregation.sum``: sum its own columns, and add them to the others' under masks."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mpc.data import amounts, tables
from mpc.errors import PolicyError, UsageError
from mpc.session import Progress
from protocols import aggregation
from protocols.aggregation import Rules
from unseen.jobs.aggregation import OPERATOR, Parameters
from unseen.jobs.task import Task, Yield

SCHEMA = pa.schema(
    [
        ("column", pa.string()),
        ("sum", pa.decimal128(38, 9)),
        ("values", pa.int64()),
        ("mean", pa.float64()),
        ("parties", pa.int64()),
    ]
)
"""Of the result; ``column`` is the party's own name of it."""


def run(task: Task, parameters: Parameters) -> Yield:
    """This party's part. Called in its worker process."""
    me, names = task.session.me, task.mine.columns
    mine, rows = _own(task, parameters.decimals)
    told = me in parameters.reveal_to
    # Of a job whose party is gone the others hear at once; no sum is made without it.
    rules = Rules(suite=task.job.head.suite, minimum=len(task.job.head.parties), reveal_to=parameters.reveal_to)
    if me == parameters.aggregator:
        total = aggregation.collect(task.session, mine, rules=rules)
        role = "aggregator"
    else:
        given = aggregation.contribute(task.session, mine, aggregator=parameters.aggregator, rules=rules)
        role = "recipient" if told else "other"
        if given is None:
            return Yield(OPERATOR.name, rows, None, {"rows": rows}, OPERATOR.learns[role])
        total = given
    sums, counts = total.values.reshape(2, len(names))
    # Of its own values a party knows the sum: what it is told is that of the others', so these have to be enough.
    if (counts - mine[1]).min() < task.minimum_result:
        raise PolicyError(
            f"in a column the other parties have fewer than the {task.minimum_result} values that the grant asks for: "
            "their sum is withheld",
            code="result-too-small",
            remedy="Ask the authority whether the sum of fewer values may be disclosed.",
        )
    unit = Decimal(1).scaleb(-parameters.decimals)
    result = pa.table(
        {
            "column": list(names),
            "sum": [int(one) * unit for one in sums],
            "values": counts,
            "mean": [float(int(one) * unit / int(n)) if n else None for one, n in zip(sums, counts, strict=True)],
            "parties": [len(total.survivors)] * len(names),
        },
        schema=SCHEMA,
    )
    return Yield(
        protocol=OPERATOR.name,
        rows=rows,
        result_rows=result.num_rows,
        sizes={"rows": rows, "parties": len(total.survivors)},
        learned=OPERATOR.learns[role],
        schema=SCHEMA,
        batches=result.to_batches(),
    )


def _own(task: Task, decimals: int) -> tuple[NDArray[np.int64], int]:
    """(2, columns): this party's sums, in smallest units, and how many values each column has; and its rows."""
    task.session.progress(Progress("read", 0, 1))
    table = _table(task)
    task.session.progress(Progress("read", 1, 1))
    sums, counts = [], []
    for name in task.mine.columns:
        column = table[name]
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            # In a CSV file a field is empty where a data base has no value.
            column = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
        values = amounts.whole(column.fill_null(_zero(column.type)), decimals=decimals, name=name)
        # In halves, since amounts below 2^50 may add up to more than 64 bits hold.
        total = (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())
        if abs(total) >= 1 << 63:
            raise UsageError(f"The sum of the column {name!r} does not fit 64 bits: use fewer decimals.")
        sums.append(total)
        counts.append(len(column) - column.null_count)
    return np.array([sums, counts], dtype=np.int64), table.num_rows


def _zero(kind: pa.DataType) -> pa.Scalar:
    """What stands where there is no value, and does not count."""
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return pa.scalar("0" if text else 0, pa.string() if text else pa.int64()).cast(kind)


def _table(task: Task) -> pa.Table:
    batches = list(tables.batches(task.data))
    if not batches:
        return pa.table({name: pa.array([], pa.string()) for name in task.mine.columns})
    return pa.Table.from_batches(batches)
