"""Keeps one product's process running: starts it, listens to its reports, and starts it again when it dies."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable

from unseen.home import Home
from unseen.node import pipes
from unseen.node.pipes import Command, Report

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
HEALTHY_S = 60.0
"""A process that lived this long did not die of its start: the next pause is short again."""
STOP_S = 10.0
"""How long a process may take to end of itself before it is killed, seconds."""

_log = logging.getLogger(__name__)


class Supervisor:
    """One product's process. `start` it once; `stop` it once."""

    def __init__(self, home: Home, product: str, *, module: str, changed: Callable[[str, Report], None]) -> None:
        """
        Args:
            home: the node's home directory.
            product: the product's name.
            module: what runs in the process.
            changed: called with the product's name and every report, from a thread of this supervisor.
        """
        self._home = home
        self._product = product
        self._module = module
        self._changed = changed
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._report = Report(problem="starting")
        self._restarts = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name=f"supervisor of {product}", daemon=True)

    @property
    def report(self) -> Report:
        """The last report."""
        return self._report

    @property
    def pid(self) -> int:
        """The process's id; 0 while there is none."""
        with self._lock:
            return self._process.pid if self._process is not None else 0

    @property
    def restarts(self) -> int:
        """How often the process was started again."""
        return self._restarts

    def start(self) -> None:
        """Start the process and watch over it."""
        self._thread.start()

    def rotate(self) -> bool:
        """Ask the process for the next epoch. Returns whether there is a process to ask."""
        with self._lock:
            if self._process is None or self._process.stdin is None:
                return False
            try:
                self._process.stdin.write(pipes.line(Command(command="rotate")))
                self._process.stdin.flush()
            except (OSError, ValueError):  # it has just ended, or was just told to
                return False
            return True

    def ask_to_stop(self) -> None:
        """Tell the process to end its sessions and itself; does not wait."""
        self._stopping.set()
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                try:
                    self._process.stdin.close()
                except OSError:
                    _log.debug("%s had gone already", self._product)

    def wait(self) -> None:
        """Wait until the process has ended; kill it if it takes too long."""
        self._thread.join(STOP_S)
        with self._lock:
            process = self._process
        if process is not None:
            _log.warning("product %s did not stop within %g s; killing it", self._product, STOP_S)
            process.kill()
        self._thread.join()

    def _supervise(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            status = self._run_once()
            if self._stopping.is_set():
                break
            if time.monotonic() - began > HEALTHY_S:
                pause = FIRST_PAUSE_S
            _log.error("product %s: its process ended (%s); starting it again in %.1f s", self._product, status, pause)
            self._tell(Report(epoch=self._report.epoch, problem=f"its process ended ({status}); restarting"))
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
            self._restarts += 1

    def _run_once(self) -> str:
        command = pipes.command_line(
            self._module, "--home", str(self._home.root.absolute()), "--product", self._product
        )
        with self._lock:
            if self._stopping.is_set():
                return "stopped"
            # A session of its own: a terminal's Ctrl-C goes to the node alone, which then ends its children in order.
            self._process = process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", start_new_session=True
            )
        assert process.stdout is not None  # noqa: S101  # for the type checker: it was asked for above
        for text in process.stdout:
            report = pipes.parse(text, Report)
            if report is not None:
                self._tell(report)
        status = process.wait()
        with self._lock:
            self._process = None
        process.stdout.close()
        if process.stdin is not None:
            try:
                process.stdin.close()
            except OSError:
                _log.debug("%s went while it was being written to", self._product)
        return f"signal {-status}" if status < 0 else f"exit code {status}"

    def _tell(self, report: Report) -> None:
        self._report = report
        self._changed(self._product, report)
