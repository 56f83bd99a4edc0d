"""What every long-lived process of this library does: it logs to standard error, and ends when it is told to."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from mpc.words import plain


def until_told_to_stop() -> threading.Event:
    """An event that SIGTERM or SIGINT sets. Call from the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


class _OneLine(logging.Formatter):
    """Whatever another party has a message say, it begins no line of its own and commands no terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # the name that logging gives it
        return plain(super().formatMessage(record), 10_000)


def log_to_stderr(name: str) -> None:
    """Log lines of this process, with its name, on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(f"%(asctime)s %(levelname)-7s {name}: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def log_place(log: logging.Logger, what: str, error: BaseException) -> None:
    """Log where an error came from and its type, and not what it says: another library may quote a value of the data
    set.
    """
    where = RuntimeError(f"{type(error).__name__}; its text is left out").with_traceback(error.__traceback__)
    log.error(what, exc_info=where)
