"""What a node and the processes it starts say to each other: lines of JSON on the child's standard input and output.

A child lives exactly as long as its standard input is open, so that no child outlives a parent, however that parent
ended.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import IO, Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unseen.jobs.papers import PapersText

LINE = ConfigDict(frozen=True, extra="forbid")


class Report(BaseModel):
    """How a product process is. It sends one whenever something in it changes."""

    model_config = LINE

    epoch: Annotated[int, Field(ge=0)] = 0
    """The current epoch; 0 before the first."""
    epoch_ends: str = ""
    """When it ends, RFC 3339 in UTC."""
    serving: bool = False
    """Whether some epoch is being served."""
    building: Annotated[int, Field(ge=0)] = 0
    """The epoch that is being built; 0 when none is."""
    problem: str = ""
    """What is wrong, in words for people; empty when nothing is. Holds no identifier and no value of the data set."""
    sessions: Annotated[int, Field(ge=0)] = 0
    """How many sessions are open."""


class Command(BaseModel):
    """What a node asks of a product process."""

    model_config = LINE

    command: Literal["rotate"]


class Built(BaseModel):
    """How a builder ended: with a table, or with a problem."""

    model_config = LINE

    table_hash: str = ""
    """Hash of the table, base64url; empty when there is none."""
    seconds: float = 0.0
    """How long it took."""
    problem: str = ""
    """Why there is no table, in words for people; holds no identifier and no value of the data set."""


class Assignment(BaseModel):
    """A job for a worker process: the first line, and but for its end the only one, that it is told."""

    model_config = LINE

    papers: PapersText
    workdir: str
    result: str
    """The directory in which to write the result."""
    checkpoint_key: Annotated[str, Field(repr=False)]
    """32 bytes in base64url."""


class Moved(BaseModel):
    """How far a worker is. With `listening`, the other parties' streams may come."""

    model_config = LINE

    kind: Literal["moved"] = "moved"
    listening: bool = False
    stage: str = ""
    done: Annotated[int, Field(ge=0)] = 0
    total: Annotated[int, Field(ge=0)] = 0


class Ended(BaseModel):
    """How a worker's job ended: its last line."""

    model_config = LINE

    kind: Literal["ended"] = "ended"
    code: str = ""
    """Why it failed; empty where it did not."""
    reason: str = ""
    """The same in words for this party's people; holds no identifier and no value of the data set."""
    public: str = ""
    """The same for the other parties and the coordinator; says nothing of the data set but that it is at fault."""
    protocol: str = ""
    """What ran, such as ``psi.rr22``."""
    rows: int | None = None
    """Rows read of the data set."""
    result_rows: int | None = None
    """Rows of the result; None where this party got none."""
    result_file: str = ""
    """Name of its file, in the directory that the assignment named."""
    result_hash: str = ""
    """SHA-256 of the file, base64url."""
    files: dict[str, str] = {}
    """SHA-256 of each further file of the result, base64url, by name."""
    sizes: dict[str, int] = {}
    """What this party learned of sizes."""
    learned: tuple[str, ...] = ()
    bytes_sent: int = 0
    bytes_received: int = 0
    rounds: int = 0
    seconds: float = 0.0


Line = TypeVar("Line", bound=BaseModel)


def parse(text: str, model: type[Line]) -> Line | None:
    """A line as a `model`; None if it is something else."""
    try:
        return model.model_validate_json(text)
    except ValidationError:
        return None


def line(message: BaseModel) -> str:
    """A message as a line."""
    return message.model_dump_json() + "\n"


def private_output() -> IO[str]:
    """This process's standard output, for reports alone: what is printed goes to standard error from now on."""
    handle = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(handle, "w", encoding="utf-8", buffering=1)


def follow_parent(*, on_line: Callable[[str], None], on_end: Callable[[], None]) -> None:
    """Read standard input in a thread: each line goes to `on_line`, its end, which is the parent's, to `on_end`."""

    def read() -> None:
        for text in sys.stdin:
            on_line(text)
        on_end()

    threading.Thread(target=read, name="parent", daemon=True).start()


def command_line(module: str, *arguments: str) -> Sequence[str]:
    """The command that runs `module` in a Python of the same kind as this one."""
    return [sys.executable, "-m", module, *arguments]
