"""How the command line speaks: results, errors, exit codes, and the two languages of its main lines.

Every command has ``--json``: then standard output carries one JSON object and nothing else. Errors go to standard error
as ``error: …`` in both cases, and the exit code says whose turn it is:

    2  usage    you: the command, a file or a name was wrong, or the disk is full
    3  policy   an owner: a consent, certificate, policy or audit rule said no
    4  peer     the other party broke the protocol
    5  channel  the connection failed
"""

from __future__ import annotations

import errno
import functools
import json
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, NamedTuple, ParamSpec, TypeAlias, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from mpc.errors import ChannelError, MpcError, PeerError, PolicyError, UsageError

EXIT_CODES: Mapping[type[MpcError], int] = {UsageError: 2, PolicyError: 3, PeerError: 4, ChannelError: 5}

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
"""Type of every command's ``--json`` option: ``as_json: Json = False``."""

Language: TypeAlias = Literal["en", "zh"]


class Message(NamedTuple):
    """One line in both languages, with the same ``{fields}``."""

    en: str
    zh: str


P = ParamSpec("P")
R = TypeVar("R")

_LABELS: Mapping[str, Message] = {
    "error": Message("error", "错误"),
    "usage": Message("wrong usage", "用法有误"),
    "policy": Message("refused", "被拒绝"),
    "peer": Message("the other party broke the protocol", "对方违反协议"),
    "channel": Message("connection failed", "连接失败"),
    "interrupted": Message("interrupted", "已中断"),
}


def language() -> Language:
    """``zh`` if ``UNSEEN_LANG``, else ``LC_ALL``, ``LC_MESSAGES`` or ``LANG``, begins with zh; ``en`` otherwise."""
    for variable in ("UNSEEN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(variable, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def text(message: Message, **fields: object) -> str:
    """A message in the user's language, its ``{fields}`` filled in."""
    return (message.zh if language() == "zh" else message.en).format(**fields)


def console() -> Console:
    """Standard output, for tables and lines that a person reads."""
    # Without emoji: in a fingerprint, ``:AB:`` and ``:CD:`` are bytes, and would be shown as pictures.
    return Console(highlight=False, soft_wrap=True, emoji=False)


def error_console() -> Console:
    """Standard error, for errors, warnings and progress."""
    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def plain(text: object) -> str:
    """A text for a line or a cell as it is: whoever wrote it, it neither commands the terminal nor is taken for a
    style. Lines stay lines.
    """
    letters = (one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in str(text))
    return escape("".join(letters))


def show(line: str) -> None:
    """Prints one line on standard output, as it is."""
    console().print(plain(line))


def note(line: str) -> None:
    """Prints one line on standard error, as it is: something to know beside the result."""
    error_console().print(plain(line))


def show_json(result: Mapping[str, object]) -> None:
    """Prints the one JSON object of a ``--json`` run."""
    typer.echo(json.dumps(result, ensure_ascii=False))


def exit_code(error: MpcError) -> int:
    """The exit code that stands for an error."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


def print_error(error: MpcError) -> None:
    """Prints an error and its remedy on standard error."""
    message, remedy = (error.reason, error.remedy) if isinstance(error, PolicyError) else (str(error), "")
    code = f" [{error.code}]" if isinstance(error, PolicyError) else ""
    kind = {2: "usage", 3: "policy", 4: "peer", 5: "channel"}.get(exit_code(error))
    label = text(_LABELS["error"])
    if kind is not None and language() == "zh":
        # The details stay in English, so that they can be searched for; what kind of error it is, is said in Chinese.
        label = f"{label}（{text(_LABELS[kind])}）"
    out = error_console()
    out.print(f"[bold red]{label}:[/bold red] {plain(message + code)}")
    if remedy:
        out.print(f"  {plain(remedy)}")


_DISK: Mapping[int, str] = {
    errno.ENOSPC: "Free space on its disk, and run the command again.",
    errno.EDQUOT: "Free space within the quota, and run the command again.",
    errno.EROFS: "Choose a place that can be written to, or mount it for writing.",
    errno.EACCES: "Run as the user who owns it, or correct its permissions.",
    errno.EPERM: "Run as the user who owns it, or correct its permissions.",
    errno.ENOENT: "Check the path, and make its directory first.",
    errno.ENOTDIR: "Check the path: a part of it is a file.",
    errno.EISDIR: "Give the path of a file.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
}


def _system_error(error: OSError) -> UsageError:
    """An error of the operating system as the user's to mend."""
    place = f" at {error.filename}" if error.filename is not None else ""
    remedy = _DISK.get(error.errno or 0, "Check the disk and the permissions.")
    return UsageError(f"{error.strerror or type(error).__name__}{place}. {remedy}")


def handled(command: Callable[P, R]) -> Callable[P, R]:
    """Decorator for commands: the library's errors, and the disk's, become a message on standard error and an exit
    code.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except MpcError as error:
            print_error(error)
            raise typer.Exit(exit_code(error)) from None
        except BrokenPipeError:
            raise  # whoever read the output has seen enough; click ends quietly
        except OSError as error:
            print_error(_system_error(error))
            raise typer.Exit(EXIT_CODES[UsageError]) from None
        except KeyboardInterrupt:
            note(text(_LABELS["interrupted"]))
            raise typer.Exit(130) from None

    return run
