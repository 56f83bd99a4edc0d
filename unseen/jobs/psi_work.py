"""What a worker does for the operator ``psi``: read, intersect bucket by bucket, and take the records in common."""

from __future__ import annotations

from mpc import suite as suites
from protocols import psi
from protocols.psi.large import BUCKET_ROWS
from unseen.jobs.psi import MATCH, Parameters, learned, reveal
from unseen.jobs.task import Task, Yield, too_small


def run(task: Task, parameters: Parameters) -> Yield:
    """This party's part. Called in its worker process."""
    (peer,) = task.job.peers_of(task.session.me)
    result = psi.intersect_tables(
        task.session,
        task.data,
        None,  # the result stays sealed in the work directory until the node publishes it
        keys=task.mine.keys,
        peer=peer,
        run=task.id,
        workdir=task.workdir / "psi",
        checkpoint_key=task.checkpoint_key,
        form=task.mine.form,
        protocol=parameters.protocol,
        reveal_to=reveal(parameters, me=task.session.me),
        security=parameters.security,
        suite=suites.get(task.job.head.suite),
        duplicates=parameters.duplicates,
        match=MATCH if parameters.duplicates == "many" else None,
        bucket_rows=parameters.bucket_rows or BUCKET_ROWS,
    )
    sizes = {"rows": result.rows, "peer_keys": result.peer_size}
    if result.matched is None or result.result_rows is None:
        return Yield(result.operator, result.rows, None, sizes, learned("other", peer))
    if result.matched < task.minimum_result:
        raise too_small(task.minimum_result)
    return Yield(
        protocol=result.operator,
        rows=result.rows,
        result_rows=result.result_rows,
        sizes={**sizes, "matched_keys": result.matched},
        learned=learned("learner", peer),
        schema=result.schema,
        batches=result.batches(),
    )
