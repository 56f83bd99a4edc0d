"""What a worker does for ``learning.score`` and ``learning.grade``: align, score its part, put the parts together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.data import tables
from mpc.errors import UsageError
from mpc.session import Progress
from protocols.learning import boosted_scoring, scoring, shared_scores
from protocols.learning.boosted import BoostedPart
from protocols.learning.release import Release, learned
from protocols.psi.align import align
from unseen.jobs.scoring import GRADE, PROBABILITY, SCORE, GradeParameters, Parameters
from unseen.jobs.task import Task, Yield, read_all, too_small
from unseen.models import Part, Stored

_OF_SHARES = "of each row the score; of many, together with its own columns, what can be concluded from them"

_OF_TREES = (
    "of each row the score, which is the sum of a weight of each tree; it has these weights, and where trees are few, "
    "can find which leaves they are of, and so on which sides of the other parties' nodes the row lies"
)
_OF_SHARED_TREES = "of each row the score, and nothing of the leaves that it is the sum of"


def run(task: Task, parameters: Parameters, release: Release) -> Yield:
    """This party's part. Called in its worker process."""
    session = task.session
    stored, table = _own_part(task, parameters), read_all(task)
    keys = tuple(table[name] for name in task.mine.keys)
    found = align(
        session,
        keys if len(keys) > 1 else keys[0],
        leader=parameters.asker,
        suite=task.job.head.suite,
        form=task.mine.form,
        duplicates=parameters.duplicates,
    )
    if len(found.rows) < task.minimum_result:
        raise too_small(task.minimum_result)
    session.progress(Progress("score", 0, len(found.rows)))
    outcome = _outcome(task, parameters, stored, table.take(pa.array(found.rows)))
    session.progress(Progress("score", len(found.rows), len(found.rows)))
    told = (*found.learned, *_told(stored.part, release, asks=session.me == parameters.asker))
    sizes = {
        "rows": table.num_rows,
        **{f"{name} keys": size for name, size in found.sizes.items()},
        "common_rows": len(found.rows),
    }
    if outcome is None:
        return Yield(task.job.head.operator, table.num_rows, None, sizes, told)
    result = _beside(table, found.rows, outcome, stored, release)
    return Yield(
        protocol=task.job.head.operator,
        rows=table.num_rows,
        result_rows=result.num_rows,
        sizes=sizes,
        learned=told,
        schema=result.schema,
        batches=result.to_batches(max_chunksize=tables.BATCH_ROWS),
    )


def _outcome(task: Task, parameters: Parameters, stored: Stored, rows: pa.Table) -> NDArray[Any] | None:
    """The common rows' scores or grades at the asker, None at the others."""
    part, session, suite = stored.part, task.session, task.job.head.suite
    asker, parties, training = parameters.asker, task.job.head.parties, stored.statement.job
    cuts = parameters.cuts if isinstance(parameters, GradeParameters) else None
    if isinstance(part, BoostedPart):
        if cuts is None:
            return boosted_scoring.scores(session, part, rows, suite=suite)
        return boosted_scoring.grades(session, part, rows, cuts=cuts, suite=suite)
    if part.shares is not None:
        x = part.preparation.transform(rows)
        if cuts is None:
            return shared_scores.scores(session, part.shares, x, asker=asker, training=training, suite=suite)
        return shared_scores.grades(session, part.shares, x, asker=asker, cuts=cuts, training=training, suite=suite)
    partial = part.score(rows)
    if cuts is None:
        return scoring.scores(session, partial, asker=asker, parties=parties, training=training)
    return scoring.grades(session, partial, asker=asker, parties=parties, cuts=cuts, training=training, suite=suite)


def _own_part(task: Task, parameters: Parameters) -> Stored:
    """This party's part, found fit for this job."""
    if task.models is None:
        raise UsageError("this worker has no store of models.")
    stored = task.models.load(parameters.model)
    part = stored.part
    if part.label_party != parameters.asker or set(part.parties) != set(task.job.head.parties):
        raise UsageError(
            f"model {parameters.model} is of {', '.join(part.parties)}, with the labels of {part.label_party}: a job "
            "that scores with it has these parties, and that one asks."
        )
    if isinstance(parameters, GradeParameters) and isinstance(part, BoostedPart):
        part.require_one_margin()
    if missing := sorted(set(part.sources) - set(task.mine.columns)):
        raise UsageError(f"the model reads the column {missing[0]!r}, which the job does not name: add it to the job.")
    return stored


def _beside(
    table: pa.Table, rows: NDArray[np.int64], outcome: NDArray[Any], stored: Stored, release: Release
) -> pa.Table:
    """The asker's rows in their own order; nothing stands beside those that not all parties have.

    Of several classes there are columns for each, ``score_0`` and ``probability_0`` those of the first.
    """
    common = np.zeros(table.num_rows, dtype=np.bool_)
    common[rows] = True
    values = np.zeros((table.num_rows, *outcome.shape[1:]), dtype=outcome.dtype)
    values[rows] = outcome
    if release == "grade":
        return table.append_column(GRADE, pa.array(values, mask=~common))
    result = table
    for name, found in ((SCORE, values), (PROBABILITY, stored.part.probability(values))):
        for ending, column in _columns(found):
            if name + ending in table.column_names:
                raise UsageError(f"a column is called {name + ending!r}, which the result uses. Rename it.")
            result = result.append_column(name + ending, pa.array(column, mask=~common))
    return result


def _columns(values: NDArray[Any]) -> list[tuple[str, NDArray[Any]]]:
    """Each class's column, and how its name ends."""
    if values.ndim == 1:
        return [("", values)]
    return [(f"_{one}", np.ascontiguousarray(values[:, one])) for one in range(values.shape[1])]


def _told(part: Part, release: Release, *, asks: bool) -> tuple[str, ...]:
    """What this party has learned. Of whom there is a record the alignment has said already, the same to all."""
    if not asks:
        said = learned(release, "partner", asker=part.label_party)[1:]
        return said if isinstance(part, BoostedPart) else said[:1]
    if release == "score" and isinstance(part, BoostedPart):
        return (_OF_SHARED_TREES,) if part.shared else (_OF_TREES,)
    if release == "score" and not isinstance(part, BoostedPart) and part.shares is not None:
        return (_OF_SHARES,)
    return learned(release, "asker", asker=part.label_party)[:1]
