"""Randomness: the operating system's generator, stretched by AES-256 in counter mode.

A protocol takes an ``Rng`` as an argument and never makes one, so that a test can replay it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.kernels import prg, wipe

SEED_BYTES = 32


class Rng:
    """A stream of random bytes. Safe to share between threads; forks are independent streams.

    Use ``Rng()`` everywhere but in tests; ``Rng.from_seed`` repeats itself and protects nothing. A process that was
    forked has to make its own: drawing from one made before raises UsageError, since parent and child would draw alike.
    """

    def __init__(self) -> None:
        self._start(os.urandom(SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> Rng:
        """A reproducible stream, for tests and vectors only. `seed` may have any length."""
        rng = cls.__new__(cls)
        rng._start(hashlib.sha256(b"unseen rng seed\x00" + seed).digest())
        return rng

    def _start(self, key: bytes) -> None:
        self._key = np.frombuffer(key, dtype=np.uint8).copy()
        self._block = 0
        self._forks = 0
        self._process = os.getpid()
        self._lock = threading.Lock()

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # Where the interpreter ends the native core may find numpy no more, and this module its own names.
        if not ending() and hasattr(self, "_key"):
            wipe(self._key)

    def __reduce__(self) -> str:
        raise UsageError("An Rng cannot be copied or pickled: a repeated stream would repeat masks. Use fork().")

    def _require_own_process(self) -> None:
        if self._process != os.getpid():
            raise UsageError("This Rng was made before the process was forked: make a new Rng() in the child.")

    def fork(self) -> Rng:
        """An independent stream, determined by this one's key and the number of forks before."""
        self._require_own_process()
        with self._lock:
            self._forks += 1
            number = self._forks
        child = Rng.__new__(Rng)
        label = b"unseen rng fork\x00" + number.to_bytes(8, "little")
        child._start(hashlib.sha256(label + self._key.tobytes()).digest())
        return child

    def uint8(self, *shape: int) -> NDArray[np.uint8]:
        """Uniform bytes of the given shape."""
        self._require_own_process()
        out = np.empty(shape, dtype=np.uint8)
        blocks = -(-out.size // 16)
        with self._lock:
            first, self._block = self._block, self._block + blocks
        if out.size:
            prg.fill(self._key, out.reshape(-1), block=first)
        return out

    def bytes(self, size: int) -> bytes:
        """`size` uniform bytes."""
        return self.uint8(size).tobytes()

    def uint64(self, *shape: int) -> NDArray[np.uint64]:
        """Uniform elements of Z_2^64 of the given shape."""
        return self.uint8(*shape, 8).view("<u8").reshape(shape)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """A uniform permutation of 0 … n-1.

        Drawing it touches memory in an order that depends on it. n is at most what fits into memory, 8 bytes each.
        """
        key = self.uint8(SEED_BYTES)
        try:
            return prg.permutation_vartime(key, n)
        finally:
            wipe(key)
