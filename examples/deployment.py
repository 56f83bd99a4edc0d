"""A small deployment on one machine, through the same commands that operators type: for the examples and benchmarks.

Each party has a home directory, keys made there, and certificates from a local CA; nodes and coordinator are processes
of their own that talk over mutual TLS on the loopback device.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from unseen.cli import tree

COMMAND = (sys.executable, "-m", "unseen")
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 15.0


class CommandFailed(Exception):
    """A command of ``unseen`` ended with an error; the text is what it said."""


@dataclass(frozen=True)
class Server:
    """A running node or coordinator.

    Attributes:
        name: the party.
        at: ``name@host:port``, as commands take it.
        process: its process.
        log: file with what it said on standard error.
    """

    name: str
    at: str
    process: subprocess.Popen[str]
    log: Path


def run(*arguments: str | Path) -> Mapping[str, object]:
    """Run ``unseen … --json`` and return the object that it prints. Raises CommandFailed with its own words.

    In this process: a process of its own for each of the twenty commands of a deployment would take a second each. Not
    for several threads at a time, since it captures what is printed.
    """
    words = [*map(str, arguments), "--json"]
    done = CliRunner().invoke(tree(words[0]), words)
    if done.exit_code:
        said = done.stderr.strip() or repr(done.exception)
        raise CommandFailed(f"unseen {' '.join(words[:-1])}\n{said}")
    result: dict[str, object] = json.loads(done.stdout)
    return result


def clear(root: Path, mark: str) -> None:
    """Make an empty directory for a run; what an earlier run left there, which its hidden file `mark` says, is removed.

    Anything else is not: the program ends.
    """
    marked = root / f".{mark}"
    if root.exists() and any(root.iterdir()):
        if not marked.exists():
            sys.exit(f"{root} holds something else. Choose another --out.")
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    marked.touch()


def make_ca(root: Path) -> None:
    """A CA for the deployment, in ``root/ca``."""
    run("ca", "init", "--home", root / "ca")


def enrol(root: Path, name: str, *, suite: str = "intl") -> Path:
    """Make the party `name` with its home in ``root/name``: keys at home, request out, certificates in. Returns it.

    `suite`: of its signing key.
    """
    home = root / name
    asked = run("node", "init", name, "--home", home, "--suite", suite)
    bundle = root / f"{name}.bundle.json"
    # In life the fingerprints are compared over the telephone; here both ends are in one hand.
    seen = str(asked["fingerprint"])
    signed = run("ca", "sign", str(asked["request"]), "--home", root / "ca", "--out", bundle, "--fingerprint", seen)
    run("node", "enrol", bundle, "--home", home, "--root-fingerprint", str(signed["root_fingerprint"]))
    return home


@contextmanager
def serving(kind: str, home: Path) -> Iterator[Server]:
    """Run ``unseen node serve`` or ``unseen coordinator serve`` while the block runs; then ask it to stop.

    Args:
        kind: ``node`` or ``coordinator``.
        home: the party's home, with its settings.

    Raises:
        CommandFailed: it ended, or was not ready within a minute; with the end of its log.
    """
    log = home.parent / f"{home.name}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*COMMAND, kind, "serve", "--home", str(home), "--json"],
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line:
            process.wait(READY_WITHIN_S)
            raise CommandFailed(f"{kind} {home.name} ended at once:\n{_end_of(log)}")
        ready = json.loads(line)
        yield Server(ready["name"], f"{ready['name']}@{ready['address']}", process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_for_products(home: Path, node: Server, *, within_s: float, waiting: Callable[[float], None]) -> float:
    """Wait until every product of `node` serves. Returns the seconds it took.

    Args:
        home: the home of the node itself.
        node: the running node.
        within_s: when to give up, seconds.
        waiting: called now and then with the seconds passed.

    Raises:
        CommandFailed: the node ended, or the time is over; with the end of its log.
    """
    start = time.monotonic()
    while (passed := time.monotonic() - start) < within_s:
        if node.process.poll() is not None:
            break
        products = run("node", "status", "--home", home)["products"]
        if isinstance(products, list) and products and all(product["serving"] for product in products):
            return time.monotonic() - start
        waiting(passed)
        time.sleep(0.5)
    raise CommandFailed(f"{node.name} does not serve after {passed:.0f} s:\n{_end_of(node.log)}")


def wait_until_announced(root: Path, coordinator: str, names: tuple[str, ...]) -> None:
    """Wait until the coordinator knows these nodes, whose homes are in `root`: a job can be submitted then.

    Raises CommandFailed after a minute.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = run("coordinator", "parties", "--home", root / names[0], "--coordinator", coordinator)
        parties = found["parties"]
        if isinstance(parties, list) and {party["name"] for party in parties} >= set(names):
            return
        time.sleep(0.3)
    raise CommandFailed(f"not announced within a minute: {', '.join(names)}")


def product_pids(home: Path) -> list[int]:
    """The process of each product of the node that runs from `home`."""
    products = run("node", "status", "--home", home)["products"]
    return [int(product["pid"]) for product in products] if isinstance(products, list) else []


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
