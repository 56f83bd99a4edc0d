"""What every long-lived process of this library does: it logs to standard error, and ends when it is told to."""

from __future__ import annotations

import logging
import signal
import sys
import threading


def until_told_to_stop() -> threading.Event:
    """An event that SIGTERM or SIGINT sets. Call from the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def log_to_stderr(name: str) -> None:
    """Log lines of this process, with its name, on standard error."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format=f"%(asctime)s %(levelname)-7s {name}: %(message)s",
        force=True,
    )
