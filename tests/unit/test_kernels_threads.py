"""Threads: what the setting does, that answers do not depend on it, and that nobody waits for the interpreter lock."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mpc import _native
from mpc.kernels import hash, oprf, prg, ristretto255, threads, wipe
from mpc.kernels.oprf import Mode
from mpc.kernels.packing import pack

DIGESTS = """
import hashlib, os
from mpc.kernels import hash, oprf, prg, threads
from mpc.kernels.packing import pack
items = pack([b"%d" % i for i in range(5000)])
outputs = oprf.evaluate("intl", 1, b"\\7" + bytes(31), items.slice(0, 700))
rows = hash.batch("sha256", b"p", items)
stream = prg.stream(bytes(16), 5_000_000, block=9)
print(threads(), *(hashlib.sha256(array).hexdigest() for array in (outputs, rows, stream)))
"""

FORK = """
import os, warnings
import numpy as np
from mpc.kernels import oprf
from mpc.kernels.packing import pack
items = pack([b"%d" % i for i in range(700)])
before = oprf.evaluate("intl", 1, b"\\7" + bytes(31), items)
warnings.simplefilter("ignore", DeprecationWarning)
if (child := os.fork()) == 0:
    after = oprf.evaluate("intl", 1, b"\\7" + bytes(31), items)
    os._exit(0 if np.array_equal(before, after) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run(script: str, setting: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "UNSEEN_THREADS"}
    if setting is not None:
        environment["UNSEEN_THREADS"] = setting
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)


def test_answers_do_not_depend_on_the_number_of_threads() -> None:
    lines = {}
    for setting in ("1", "2", "5"):
        done = run(DIGESTS, setting)
        assert done.returncode == 0, done.stderr
        count, *digests = done.stdout.split()
        assert count == setting
        lines[setting] = digests
    assert lines["1"] == lines["2"] == lines["5"]


@pytest.mark.parametrize("setting", ["0", "-1", "many", "1.5", "", "1025"])
def test_a_bad_setting_is_heard_of_at_import(setting: str) -> None:
    done = run("import mpc.kernels", setting)
    assert done.returncode != 0
    assert "UNSEEN_THREADS must be a whole number from 1 to 1024" in done.stderr


def test_a_forked_child_does_not_hang() -> None:
    assert run(FORK, "2").returncode == 0


def test_other_python_threads_run_during_a_batch() -> None:
    # 40 µs an item, so 80 ms on each thread, however many there are.
    items, ticks, done = pack([b"%d" % i for i in range(2000 * threads())]), 0, threading.Event()

    def work() -> None:
        oprf.evaluate("intl", Mode.VOPRF, b"\7" + bytes(31), items)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    while not done.wait(0.001):
        ticks += 1
    worker.join()
    assert ticks > 3  # with the lock held there would be no tick at all


def test_calls_from_many_threads_at_once() -> None:
    points = ristretto255.mul_base(prg.stream(bytes(16), 32 * 400, block=0).reshape(-1, 32) & 15)
    scalars = [np.array([k] + [0] * 31, dtype=np.uint8) for k in range(1, 17)]
    expected = [ristretto255.mul(scalar, points) for scalar in scalars]
    with ThreadPoolExecutor(8) as executor:
        for one, other in zip(expected, executor.map(lambda s: ristretto255.mul(s, points), scalars), strict=True):
            assert np.array_equal(one, other)


def test_offsets_changed_during_a_batch_lead_nowhere() -> None:
    items = pack([b"%d" % i for i in range(300_000)])
    expected, started = hash.batch("sha512", b"", items), threading.Event()

    def work() -> np.ndarray:
        started.set()
        return hash.batch("sha512", b"", items)

    with ThreadPoolExecutor(1) as executor:
        digests = executor.submit(work)
        started.wait()
        time.sleep(0.005)  # of 40 ms or more
        items.offsets[:] = 2**62
        refused = digests.exception()
    # Either the core had its copy by then, or it saw the new ones.
    assert isinstance(refused, ValueError) if refused else np.array_equal(digests.result(), expected)


def test_two_calls_do_not_write_to_one_array() -> None:
    out, errors, started = np.zeros(1 << 28, dtype=np.uint8), [], threading.Event()

    def work() -> None:
        started.set()
        prg.fill(bytes(16), out, block=0)

    worker = threading.Thread(target=work)
    worker.start()
    started.wait()
    while worker.is_alive():
        try:
            wipe(out[-16:])
        except TypeError as error:
            errors.append(str(error))
            break
    worker.join()
    assert errors == ["The given array is already borrowed"]


def test_the_stub_names_what_the_module_holds() -> None:
    stub = Path(_native.__file__).with_name("_native.pyi").read_text(encoding="utf-8")
    body = ast.parse(stub).body
    named = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    numbers = (node.target for node in body if isinstance(node, ast.AnnAssign))
    named |= {target.id for target in numbers if isinstance(target, ast.Name) and not target.id.startswith("_")}
    held = {name for name in dir(_native) if not name.startswith("_")}
    assert named == held
    for node in body:
        if isinstance(node, ast.FunctionDef):
            signature = getattr(_native, node.name).__text_signature__
            assert signature == f"({', '.join(argument.arg for argument in node.args.args)})"
    assert threads() >= 1
