"""``unseen job``: submit a job, watch it, read what came of it, end it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from mpc.errors import ChannelError, UsageError
from mpc.wire.coordinator.v1 import coordinator_pb2 as wire
from unseen import services
from unseen.cli import output
from unseen.cli.output import Json, Message
from unseen.governance import files, grant, request
from unseen.governance.documents import format_time
from unseen.governance.enrolment import Identity
from unseen.home import REPORT, Home
from unseen.jobs import operators, papers
from unseen.jobs.papers import Papers
from unseen.jobs.states import ENDED
from unseen.node import registrar
from unseen.node import settings as node_settings
from unseen.rpc import Client
from unseen.settings import split_party_address

app = typer.Typer(
    no_args_is_help=True,
    help="Jobs: one run of one operator over several parties' data, under a grant.",
    rich_markup_mode="rich",
)

HomeOption = Annotated[Path, typer.Option("--home", help="Home of the party that asks.")]
At = Annotated[
    str | None,
    typer.Option("--coordinator", help="The coordinator: name@host:port. Default: the one in the home's node.toml."),
]
JobId = Annotated[str, typer.Argument(help="The job, as `unseen job submit` named it.")]

NOT_FINISHED = 1
"""Exit code of `watch` and `submit --watch` for a job that failed or was cancelled."""
LOOK_EVERY_S = 0.3
PATIENCE_S = 60.0
"""How long a coordinator that cannot be reached is tried again while a job is watched, seconds."""

_SUBMITTED = Message(
    "Job {id} is submitted: {operator} for {scenario}, by {parties}.",
    "任务 {id} 已提交：{operator}，用于 {scenario}，参与方 {parties}。",
)
_HINT = Message("Watch it: unseen job watch {id} --home {home}", "查看进度：unseen job watch {id} --home {home}")
_FINISHED = Message("Job {id} finished after {seconds:.1f} s.", "任务 {id} 已完成，用时 {seconds:.1f} 秒。")
_FAILED = Message("Job {id} failed: {reason} [{code}]", "任务 {id} 失败：{reason} [{code}]")
_CANCELLED = Message("Job {id} was ended: {reason}", "任务 {id} 已终止：{reason}")
_OPEN = Message("Job {id} is {state}.", "任务 {id} 状态：{state}。")
_RESULT = Message("{party}'s result, {rows} rows: {path}", "{party} 的结果，共 {rows} 行：{path}")
_FILES = Message("{party}'s further files: {paths}", "{party} 的其他文件：{paths}")
_NO_RESULT = Message("{party} was to get no result.", "{party} 不获得结果。")
_WAITING = Message("the coordinator cannot be reached; trying again", "暂时无法连接协调方，正在重试")


@app.command()
@output.handled
def submit(
    file: Annotated[Path, typer.Argument(help="The job, in TOML; docs/jobs.md shows one.")],
    home: HomeOption,
    at: At = None,
    grant_file: Annotated[
        Path | None, typer.Option("--grant", help="The signed grant. Default: the one that the job's file names.")
    ] = None,
    and_watch: Annotated[bool, typer.Option("--watch", help="Watch it until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a job with the grant that permits it. Job and grant are checked here before they are sent.

    Example: [bold]unseen job submit psi.toml --home bank[/bold]
    """
    identity = Identity.load(home)
    job, named = operators.load(file)
    path = grant_file or named
    if path is None:
        raise UsageError(f'{file} names no grant. Add grant = "…" to it, or give --grant.')
    signed = grant.read(path)
    grant.check(signed, job.asked_by(identity.name), trust=identity.trust())
    with _coordinator(home, at) as client:
        asked = request.ask(identity.signer, job=job.digest, grant=grant.digest(signed))
        submission = wire.JobSubmission(papers=papers.to_wire(Papers(job, signed, asked)))
        made = client.call(services.SUBMIT_JOB, submission)
        if not as_json:
            words = {"operator": job.head.operator, "scenario": job.head.scenario}
            output.show(output.text(_SUBMITTED, id=made.id, **words, parties=", ".join(job.head.parties)))
        if and_watch:
            _end(_watch(client, made.id, quiet=as_json), as_json=as_json)
    if as_json:
        output.show_json(_state(made))
    else:
        output.show(output.text(_HINT, id=made.id, home=home))


@app.command()
@output.handled
def watch(job: JobId, home: HomeOption, at: At = None, as_json: Json = False) -> None:
    """Watch a job until it has ended. Exit code 1 if it did not finish.

    Example: [bold]unseen job watch 3f0c9a52d1e07b64 --home bank[/bold]
    """
    with _coordinator(home, at) as client:
        _end(_watch(client, job, quiet=as_json), as_json=as_json)


@app.command()
@output.handled
def report(job: JobId, home: HomeOption, at: At = None, as_json: Json = False) -> None:
    """Show what a job came to: for each party what it learned, bytes, rounds and seconds; and where the home's own
    result is.

    Example: [bold]unseen job report 3f0c9a52d1e07b64 --home bank[/bold]
    """
    own = _own_report(Home(home), job)
    try:
        with _coordinator(home, at) as client:
            found: wire.JobState | None = client.call(services.GET_JOB, wire.JobRequest(id=job))
    except ChannelError:
        if own is None:
            raise
        found = None  # what this party knows of its own part needs no coordinator
    if as_json:
        output.show_json({"job": None if found is None else _state(found), "own": own})
        return
    if found is not None:
        _show_state(found)
        _show_parties(found)
    if own is not None:
        _show_own(Home(home), job, own)


@app.command()
@output.handled
def cancel(job: JobId, home: HomeOption, at: At = None, as_json: Json = False) -> None:
    """End a job. Its requester may, and each of its parties. What a party has finished, it keeps.

    Example: [bold]unseen job cancel 3f0c9a52d1e07b64 --home bank[/bold]
    """
    with _coordinator(home, at) as client:
        found = client.call(services.CANCEL_JOB, wire.JobRequest(id=job))
    if as_json:
        output.show_json(_state(found))
    else:
        _show_state(found)


@app.command("list")
@output.handled
def list_jobs(
    home: HomeOption,
    at: At = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="How many of the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """List the jobs that this party asked for or takes part in, the newest first.

    Example: [bold]unseen job list --home bank[/bold]
    """
    with _coordinator(home, at) as client:
        found = client.call(services.LIST_JOBS, wire.ListJobsRequest(limit=limit)).jobs
    if as_json:
        output.show_json({"jobs": [_state(one) for one in found]})
        return
    table = Table("job", "operator", "scenario", "requester", "parties", "state", "reason")
    for one in found:
        # Not read as a job: those of an earlier release, or of a later one, are in the list, too.
        said = json.loads(one.job)
        parties = ", ".join(part.party for part in one.parties)
        words = (one.id, said["operator"], said["scenario"], one.requester, parties, one.state, one.reason)
        table.add_row(*map(output.plain, words))
    output.console().print(table)


@contextmanager
def _coordinator(home: Path, at: str | None) -> Iterator[Client]:
    """A client of the coordinator, which is named or is that of the home's node."""
    place = at
    if place is None:
        own = Home(home)
        place = node_settings.load(own).coordinator if own.node_toml.exists() else None
    if place is None:
        raise UsageError("no coordinator is known here. Give --coordinator name@host:port.")
    try:
        name, address = split_party_address(place)
    except ValueError as error:
        raise UsageError(f"--coordinator: {error}.") from None
    with registrar.connect(Identity.load(home), peer=name, address=address) as client:
        yield client


# Watching -----------------------------------------------------------------------------------------------------------


def _watch(client: Client, job: str, *, quiet: bool) -> wire.JobState:
    """Wait until a job has ended, with a bar per party unless `quiet`. Returns how it ended."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.error_console(), transient=True, disable=quiet) as bars:
        tasks: dict[str, TaskID] = {}
        stages: dict[str, str] = {}
        while True:
            found = _patiently(lambda: client.call(services.GET_JOB, wire.JobRequest(id=job)), quiet=quiet)
            for part in found.parties:
                if part.party not in tasks:
                    tasks[part.party] = bars.add_task(part.party, total=None)
                _move(bars, tasks[part.party], part, stages)
            if found.state in ENDED and all(part.state in ENDED for part in found.parties):
                return found
            if found.state in ENDED and found.ended_ms + 10_000 < time.time() * 1000:
                return found  # a party that is gone will not say how it ended
            time.sleep(LOOK_EVERY_S)


def _move(bars: Progress, task: TaskID, part: wire.JobParty, stages: dict[str, str]) -> None:
    now = part.progress
    if stages.get(part.party) != now.stage:  # a new stage is measured from its own beginning
        stages[part.party] = now.stage
        bars.reset(task)
    total = now.total or None
    if part.state in ENDED:
        total = 1
    words = part.state if not now.stage or part.state != "running" else now.stage
    done = 1 if part.state == "finished" else now.done if part.state == "running" else 0
    bars.update(task, description=output.plain(f"{part.party}: {words}"), total=total, completed=done)


def _patiently(call: Callable[[], wire.JobState], *, quiet: bool) -> wire.JobState:
    """Call, and again for a while where the coordinator cannot be reached: it may be being restarted."""
    deadline = time.monotonic() + PATIENCE_S
    told = quiet
    while True:
        try:
            return call()
        except ChannelError:
            if time.monotonic() > deadline:
                raise
            if not told:
                output.note(output.text(_WAITING))
                told = True
            time.sleep(1.0)


def _end(found: wire.JobState, *, as_json: bool) -> None:
    """Show how a watched job ended, and end the command."""
    if as_json:
        output.show_json(_state(found))
    else:
        _show_state(found)
    raise typer.Exit(0 if found.state == "finished" else NOT_FINISHED)


# Showing ------------------------------------------------------------------------------------------------------------


def _show_state(found: wire.JobState) -> None:
    if found.state == "finished":
        output.show(output.text(_FINISHED, id=found.id, seconds=(found.ended_ms - found.started_ms) / 1000))
    elif found.state == "failed":
        output.show(output.text(_FAILED, id=found.id, reason=found.reason, code=found.code))
    elif found.state == "cancelled":
        output.show(output.text(_CANCELLED, id=found.id, reason=found.reason))
    else:
        output.show(output.text(_OPEN, id=found.id, state=found.state))


def _show_parties(found: wire.JobState) -> None:
    table = Table("party", "state", "protocol", "what it learned", "sent", "received", "rounds", "seconds")
    for part in found.parties:
        said = part.report
        learned = [f"· {line}" for line in said.learned] + [f"  {size.name}: {size.value:,}" for size in said.sizes]
        figures = [f"{said.bytes_sent:,}", f"{said.bytes_received:,}", str(said.rounds), f"{said.seconds:.2f}"]
        state = f"{part.state}: {part.reason} [{part.code}]" if part.code else part.state
        words = (part.party, state, said.protocol, "\n".join(learned))
        # What another party says must not command the terminal, nor be taken for a style.
        table.add_row(*map(output.plain, words), *(figures if part.HasField("report") else [""] * 4))
    output.console().print(table)


def _show_own(home: Home, job: str, own: dict[str, object]) -> None:
    if own["result"]:
        path = home.result(job) / str(own["result"])
        output.show(output.text(_RESULT, party=own["party"], rows=own["result_rows"], path=path))
    elif own["state"] != "finished":
        output.show(f"{own['party']}: {own['state']}: {own['reason']} [{own['code']}]")
    elif not own.get("files"):
        output.show(output.text(_NO_RESULT, party=own["party"]))
    further = own.get("files")
    if isinstance(further, dict) and further:
        paths = ", ".join(str(home.result(job) / name) for name in further)
        output.show(output.text(_FILES, party=own["party"], paths=paths))
    sizes = own["sizes"]
    if isinstance(sizes, dict) and sizes:
        output.show("  " + ", ".join(f"{name}: {value:,}" for name, value in sizes.items()))


def _own_report(home: Home, job: str) -> dict[str, object] | None:
    """The home's own report; None if it took no part, or the job has not ended there."""
    path = home.result(job) / REPORT
    if not set(job) <= set("0123456789abcdef") or not path.exists():
        return None
    found: dict[str, object] = json.loads(files.read(path, what="a report"))
    return found


def _state(found: wire.JobState) -> dict[str, object]:
    return {
        "id": found.id,
        "requester": found.requester,
        "job": json.loads(found.job),
        "state": found.state,
        "code": found.code,
        "reason": found.reason,
        "submitted": _moment(found.submitted_ms),
        "started": _moment(found.started_ms),
        "ended": _moment(found.ended_ms),
        "parties": [_party(part) for part in found.parties],
    }


def _party(part: wire.JobParty) -> dict[str, object]:
    said = part.report
    return {
        "party": part.party,
        "state": part.state,
        "code": part.code,
        "reason": part.reason,
        "progress": {"stage": part.progress.stage, "done": part.progress.done, "total": part.progress.total},
        "report": {
            "protocol": said.protocol,
            "learned": list(said.learned),
            "sizes": {size.name: size.value for size in said.sizes},
            "bytes_sent": said.bytes_sent,
            "bytes_received": said.bytes_received,
            "rounds": said.rounds,
            "seconds": said.seconds,
        }
        if part.HasField("report")
        else None,
    }


def _moment(ms: int) -> str | None:
    return format_time(datetime.fromtimestamp(ms / 1000, UTC)) if ms else None
