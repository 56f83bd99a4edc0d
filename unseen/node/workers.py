"""The node's worker processes: one for each job, spawned, never forked, a few of them before their job is there.

A process that has imported everything and waits begins a job at once. It does one job and ends, so that no job finds
anything of another one.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable

from unseen.home import Home
from unseen.node import pipes
from unseen.node.pipes import Assignment, Ended, Moved

STOP_S = 2.0
"""How long a worker may take to end after it was told to before it is killed, seconds."""

ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}
"""What workers are started with unless the node's own says otherwise.

glibc gives each thread memory of its own, of which what one has freed is no use to another. A job has a dozen threads,
and with two such places takes a quarter less memory, in the same time.
"""

_log = logging.getLogger(__name__)


class Worker:
    """One worker process."""

    def __init__(self, home: Home) -> None:
        """Start it; it then waits for its job."""
        # A session of its own: a terminal's Ctrl-C goes to the node alone, which then ends its children in order.
        self._process = subprocess.Popen(
            pipes.command_line("unseen.node.worker", "--home", str(home.root.absolute())),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
            env=ENVIRONMENT | os.environ,
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it is running."""
        return self._process.poll() is None

    def begin(
        self, assignment: Assignment, *, moved: Callable[[Moved], None], ended: Callable[[Ended | None, str], None]
    ) -> None:
        """Give it its job.

        Args:
            assignment: the job.
            moved: called with every line on how far it is, from a thread of this worker.
            ended: called once the process is gone, with its last line, or None if it ended without one, and with how
                it ended, such as ``signal 9``.
        """
        assert self._process.stdin is not None  # noqa: S101  # for the type checker: it was asked for above
        try:
            self._process.stdin.write(pipes.line(assignment))
            self._process.stdin.flush()
        except OSError:
            _log.debug("worker %d went before it had its job", self.pid)  # which its end will say
        threading.Thread(target=self._follow, args=(moved, ended), name=f"worker {self.pid}", daemon=True).start()

    def stop(self) -> None:
        """End it, whatever it does. What it was writing is not there yet, so nothing is left half-done."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            _log.warning("worker %d did not end within %g s; killing it", self.pid, STOP_S)
            self._process.kill()
            self._process.wait()

    def dismiss(self) -> None:
        """End it before it had a job."""
        self.stop()
        self._close()

    def _follow(self, moved: Callable[[Moved], None], ended: Callable[[Ended | None, str], None]) -> None:
        assert self._process.stdout is not None  # noqa: S101  # as above
        last: Ended | None = None
        for text in self._process.stdout:
            line = pipes.parse(text, Moved) or pipes.parse(text, Ended)
            if isinstance(line, Ended):
                last = line
            elif line is not None:
                moved(line)
        status = self._process.wait()
        self._close()
        ended(last, f"signal {-status}" if status < 0 else f"exit code {status}")

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    _log.debug("worker %d went while it was being written to", self.pid)


class Pool:
    """Workers that wait for jobs."""

    def __init__(self, home: Home, *, warm: int) -> None:
        """
        Args:
            home: the node's home.
            warm: how many shall wait.
        """
        self._home = home
        self._warm = warm
        self._lock = threading.Lock()
        self._waiting: deque[Worker] = deque()
        self._closed = False

    def fill(self) -> None:
        """Start as many as shall wait."""
        with self._lock:
            while not self._closed and len(self._waiting) < self._warm:
                self._waiting.append(Worker(self._home))

    def take(self) -> Worker:
        """One that waits, or a new one."""
        with self._lock:
            while self._waiting:
                worker = self._waiting.popleft()
                if worker.alive:
                    return worker
                worker.dismiss()
            return Worker(self._home)

    def close(self) -> None:
        """End those that wait."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
        for worker in waiting:
            worker.dismiss()
