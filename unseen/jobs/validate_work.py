"""What a worker does for ``validate.threshold.…``: read, ask or answer, and put the grades beside the rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mpc.data import amounts, tables
from protocols.validate import threshold
from protocols.validate.operators import OPERATORS, Alignment, learned
from protocols.validate.threshold import Thresholds
from unseen.jobs.task import Task, Yield, read_all
from unseen.jobs.validate import GRADE, MEANING, Parameters, sources_of


def run(task: Task, parameters: Parameters, alignment: Alignment) -> Yield:
    """This party's part. Called in its worker process."""
    table = read_all(task)
    asks = task.session.me == parameters.asker
    column = parameters.claim if asks else task.mine.columns[0]
    values = amounts.whole(table[column], decimals=parameters.decimals, name=column)
    keys = tuple(table[key] for key in task.mine.keys)
    sources = sources_of(task.job, parameters)
    thresholds = Thresholds(parameters.tolerance_bp, parameters.limit_bp)
    suite, form = task.job.head.suite, task.mine.form
    protocol = OPERATORS[alignment].name
    if not asks:
        answered = threshold.answer(
            task.session,
            keys,
            values,
            asker=parameters.asker,
            sources=sources,
            compute=parameters.compute,
            thresholds=thresholds,
            alignment=alignment,
            minimum=task.minimum_result,
            duplicates=parameters.duplicates,
            suite=suite,
            form=form,
        )
        # Not of how many it has a record: what is said here may be reported, and that is not for the asker to know.
        sizes = {"rows": table.num_rows, "applicants": answered.applicants}
        return Yield(protocol, table.num_rows, None, sizes, learned(alignment, "source", asker=parameters.asker))
    asked = threshold.ask(
        task.session,
        keys,
        values,
        sources=sources,
        compute=parameters.compute,
        thresholds=thresholds,
        alignment=alignment,
        minimum=task.minimum_result,
        suite=suite,
        form=form,
    )
    meanings = np.array(threshold.grade_names(thresholds, language=parameters.language))
    result = table.append_column(GRADE, pa.array(asked.grades))
    result = result.append_column(MEANING, pa.array(meanings[asked.grades], pa.string()))
    sizes = {"rows": table.num_rows, **{f"{name} records": n for name, n in (asked.records or {}).items()}}
    return Yield(
        protocol=protocol,
        rows=table.num_rows,
        result_rows=result.num_rows,
        sizes=sizes,
        learned=learned(alignment, "asker", asker=parameters.asker),
        schema=result.schema,
        batches=result.to_batches(max_chunksize=tables.BATCH_ROWS),
    )
