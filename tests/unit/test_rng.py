"""Streams repeat where a seed is given, differ everywhere else, and are never copied."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc.errors import UsageError
from mpc.rng import Rng


def test_a_seed_repeats_the_stream_whatever_the_cuts() -> None:
    whole = Rng.from_seed(b"s").bytes(96)
    rng = Rng.from_seed(b"s")
    assert rng.bytes(16) + rng.bytes(32) + rng.bytes(48) == whole
    assert Rng.from_seed(b"t").bytes(96) != whole


def test_the_stream_is_aes_in_counter_mode() -> None:
    rng = Rng.from_seed(b"s")
    cipher = Cipher(algorithms.AES(rng._key.tobytes()), modes.CTR(bytes(16))).encryptor()
    assert rng.bytes(1000) == cipher.update(bytes(1000))


def test_two_generators_of_the_system_differ_and_forks_are_independent() -> None:
    assert Rng().bytes(32) != Rng().bytes(32)
    parent, again = Rng.from_seed(b"s"), Rng.from_seed(b"s")
    first, second = parent.fork(), parent.fork()
    again.bytes(1000)
    assert again.fork().bytes(32) == first.bytes(32)  # what was drawn before does not matter, the number of forks does
    assert first.bytes(32) != second.bytes(32)


def test_threads_never_share_a_block() -> None:
    rng = Rng()
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lambda _: rng.bytes(16), range(2000)))
    assert len(set(blocks)) == len(blocks)


def test_shapes_and_types() -> None:
    rng = Rng()
    assert rng.uint8(3, 5).shape == (3, 5)
    assert rng.uint64(4, 2).shape == (4, 2)
    assert rng.uint64(4, 2).dtype == np.uint64
    assert rng.bytes(0) == b""
    assert rng.uint8(0, 7).shape == (0, 7)


def test_a_permutation_moves_everything_once_and_all_orders_come_up() -> None:
    rng = Rng.from_seed(b"p")
    assert sorted(rng.permutation(1000).tolist()) == list(range(1000))
    assert rng.permutation(0).shape == (0,)
    seen = {tuple(rng.permutation(3).tolist()) for _ in range(200)}
    assert len(seen) == 6


def test_a_stream_cannot_be_copied() -> None:
    with pytest.raises(UsageError, match="fork"):
        pickle.dumps(Rng())
    with pytest.raises(UsageError, match="fork"):
        copy.deepcopy(Rng())


FORK = """
import os, warnings
from mpc.errors import UsageError
from mpc.rng import Rng
rng = Rng()
warnings.simplefilter("ignore", DeprecationWarning)
if (child := os.fork()) == 0:
    refused = 0
    for draw in (lambda: rng.bytes(16), lambda: rng.uint64(3), lambda: rng.permutation(3), rng.fork):
        try:
            draw()
        except UsageError as error:
            refused += "make a new Rng() in the child" in str(error)
    own = Rng().bytes(16)
    os._exit(0 if refused == 4 and len(own) == 16 else 1)
rng.bytes(16)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_does_not_draw_what_its_parent_draws() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr


def test_a_stream_that_outlives_the_interpreter_ends_in_silence() -> None:
    program = "import builtins\nfrom mpc.rng import Rng\nbuiltins.kept = Rng()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
