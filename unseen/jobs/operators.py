"""The operators that jobs can run. A new one is one more line of `OPERATORS`."""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpc.errors import UsageError
from unseen import settings
from unseen.governance.documents import canonical
from unseen.jobs import aggregation, boosting, horizontal, learning, psi, scoring, validate
from unseen.jobs.spec import JOB_BYTES, Head, Job
from unseen.jobs.task import Runnable, Task, Yield

# Each is of another type of parameters, which `_parameters` holds its job against.
_RUNNABLES: tuple[Runnable[Any], ...] = (
    psi.RUNNABLE,
    aggregation.RUNNABLE,
    *validate.RUNNABLES,
    *learning.RUNNABLES,
    *boosting.RUNNABLES,
    horizontal.RUNNABLE,
    *scoring.RUNNABLES,
)

OPERATORS: Mapping[str, Runnable[Any]] = {one.operator.name: one for one in _RUNNABLES}
"""By name, what runs it."""

_FAMILIES = ("aggregation", "boosting", "horizontal", "learning", "psi", "scoring", "validate")
_WORK = tuple(f"unseen.jobs.{one}_work" for one in _FAMILIES)
"""What the operators import when they run."""


def load(path: Path) -> tuple[Job, Path | None]:
    """Read a job's file.

    Returns:
        The job, and the path of the grant that the file names, if it does; relative ones count from the file.

    Raises:
        UsageError: naming each mistake and what to write instead.
    """
    raw = dict(settings.read_toml(path))
    grant = raw.pop("grant", None)
    if grant is not None and not isinstance(grant, str):
        raise UsageError(f"{path}: grant is the path of the grant's file, a text.")
    found = OPERATORS.get(str(raw.get("operator")))
    if found is not None:
        # Grants name the version; whoever writes a job's file means the one that is installed.
        raw.setdefault("operator_version", found.operator.version)
    return _job(raw, place=str(path)), None if grant is None else path.parent / grant


def parse(document: bytes) -> Job:
    """Inverse of ``Job.document``. Raises UsageError for anything else."""
    try:
        raw = json.loads(document) if len(document) <= JOB_BYTES else None
        canonical({"job": raw})  # a lone surrogate, which JSON can spell, has no bytes
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        raise UsageError(f"this is no job: a job is one JSON object of at most {JOB_BYTES} bytes.")
    job = _job(raw, place="the job")
    if job.document != document:
        raise UsageError("the job is not in its canonical form. Submit it with `unseen job submit`.")
    return job


def run(task: Task) -> Yield:
    """Do this party's part of a job. Raises what the operator raises."""
    return _runnable(task.job.head.operator).run(task, task.job.parameters)


def version_of(operator: str) -> int:
    """The version of an operator that is installed here. Raises UsageError if there is no such operator."""
    return _runnable(operator).operator.version


def resumable(operator: str) -> bool:
    """Whether a job can go on after its worker was lost. Raises UsageError if there is no such operator."""
    return _runnable(operator).resumable


def prepare() -> None:
    """Import everything that a job may need, before there is one."""
    for module in _WORK:
        importlib.import_module(module)


def _runnable(name: str) -> Runnable[Any]:
    found = OPERATORS.get(name)
    if found is None:
        close = difflib.get_close_matches(name, OPERATORS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(OPERATORS)}."
        raise UsageError(f"there is no operator {name[:80]!r} for jobs; {hint}")
    return found


def _job(raw: Mapping[str, object], *, place: str) -> Job:
    rest = {key: value for key, value in raw.items() if key != "parameters"}
    if "operator" not in rest:
        raise UsageError(f'{place}: operator is missing; add it, such as: operator = "{next(iter(OPERATORS))}".')
    runnable = _runnable(str(rest["operator"]))
    rest.setdefault("operator_version", runnable.operator.version)
    head = settings.validate(rest, Head, place=place)
    if head.operator_version != runnable.operator.version:
        raise UsageError(
            f"{place}: it is for {head.operator} {head.operator_version}, here is version "
            f"{runnable.operator.version}. Install the same release at every party."
        )
    parameters = settings.validate(raw.get("parameters", {}), runnable.parameters, place=place, within="parameters")
    job = Job(head, parameters, runnable.recipients(head, parameters))
    runnable.check(job, parameters)
    return job
