"""What the lines of all benchmarks have in common: one JSON object each on standard output, progress on the other."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

Value = str | int | float | bool | None | list[int] | list[float]


@dataclass(frozen=True)
class ProcessUse:
    """What a process has used so far.

    Attributes:
        rss_mb: its largest resident memory, 10^6 bytes.
        cpu_s: user and system time of all its threads, seconds.
    """

    rss_mb: float
    cpu_s: float


def own_use() -> ProcessUse:
    """What the calling process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Its ru_maxrss would count what the process was before it became this program: a copy of its parent.
    return ProcessUse(_largest_mb(os.getpid()), round(used.ru_utime + used.ru_stime, 3))


def _largest_mb(pid: int) -> float:
    """Largest resident memory of a process, 10^6 bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    high_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(high_kib * 1024 / 1e6, 1)


def process_use(pid: int) -> ProcessUse:
    """What another process on this machine has used, as /proc says."""
    # The command's name, in brackets, may hold blanks; what follows it does not.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    ticks_per_s = 100  # USER_HZ, the same on every Linux that runs Python
    return ProcessUse(_largest_mb(pid), (int(fields[11]) + int(fields[12])) / ticks_per_s)


def own_pid() -> int:
    """The calling process."""
    return os.getpid()


def resident_mb(pid: int) -> float:
    """What a process holds in memory now, 10^6 bytes, pages of mapped files that other processes share left out."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return round(
        next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")) * 1024 / 1e6, 1
    )


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def version() -> str:
    """The installed version of the distribution."""
    try:
        return metadata.version("unseen")
    except metadata.PackageNotFoundError:
        return "unknown"


def commit() -> str:
    """The commit of the checkout, with ``+`` where files differ from it; empty outside a checkout."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def line(
    what: str,
    *,
    n: int,
    seconds: float,
    suite: str,
    transport: str,
    bytes_sent: int,
    bytes_received: int,
    rounds: int,
    processes: list[ProcessUse],
    more: Mapping[str, Value],
) -> None:
    """Print one result.

    Args:
        what: the benchmark.
        n: its size, in units that the benchmark's documentation names.
        seconds: how long the measured part took.
        suite: cryptographic suite; empty where none takes part.
        transport: ``direct``, ``via-nodes``, ``local`` or ``wan``.
        bytes_sent: message bytes that the measuring party sent.
        bytes_received: message bytes that it received.
        rounds: how often it went from sending to waiting.
        processes: what each process used, the measuring party's first.
        more: the keys of this benchmark alone.
    """
    common: dict[str, Value] = {
        "what": what,
        "n": n,
        "seconds": round(seconds, 6),
        "cores": cores(),
        "suite": suite,
        "transport": transport,
        "bytes_sent": bytes_sent,
        "bytes_received": bytes_received,
        "rounds": rounds,
        "rss_mb": [p.rss_mb for p in processes],
        "cpu_s": [p.cpu_s for p in processes],
        "version": version(),
        "commit": commit(),
    }
    print(json.dumps(common | dict(more)), flush=True)


def progress(text: str) -> None:
    """Say on standard error what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
