"""Writes the vectors of oblivious-transfer extension: ``python -m tests.reference.generate_ot``.

Inputs are SHAKE-256 of ``"unseen vectors " ‖ label``; outputs, which are long, stand as SHA-256. Vectors under a name
that begins with ``bad_`` must be refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.reference import ot

PATH = Path(__file__).resolve().parent.parent / "vectors" / "reference_ot.json"


def uniform(label: str, size: int) -> bytes:
    """Reproducible bytes that look uniform."""
    return hashlib.shake_256(b"unseen vectors " + label.encode()).digest(size)


def digest(parts: Iterable[bytes]) -> str:
    """SHA-256 of all parts."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def seeds(label: str, k: int) -> list[list[bytes]]:
    """2^k seeds for each of the 128 / k groups."""
    data = uniform(label, (128 // k << k) * 16)
    flat = [data[i : i + 16] for i in range(0, len(data), 16)]
    return [flat[i : i + (1 << k)] for i in range(0, len(flat), 1 << k)]


def extension(k: int, n: int, block: int) -> dict[str, object]:
    """One run of both sides."""
    label = f"softspoken {k} {n} "
    choices, delta, point = uniform(label + "choices", n // 8), uniform(label + "delta", 16), uniform(label + "p", 16)
    corrections, t = ot.receive(seeds(label + "seeds", k), choices, block)
    kept = ot.send(seeds(label + "seeds", k), delta, corrections, block, n)
    for i in range(n):
        if t[i] != bytes(a ^ b * ot.bit(choices, i) for a, b in zip(kept[i], delta, strict=True)):
            raise AssertionError("the reference's sides do not meet")
    return {
        "label": label,
        "k": k,
        "n": n,
        "block": block,
        "corrections": digest([corrections]),
        "received": digest(t),
        "sent": digest(kept),
        "hashed": digest(ot.hash_columns(point, t)),
    }


def main() -> int:
    """Write the file."""
    runs = [(1, 128, 0), (2, 256, 3), (2, 4096 + 128, 2**64 - 5), (4, 128, 1), (8, 128, 2**40)]
    bad = [
        {"why": "three bits do not divide 128", "shape": [43, 8, 16]},
        {"why": "a seed too few", "shape": [64, 3, 16]},
        {"why": "a group too few", "shape": [63, 4, 16]},
        {"why": "seeds of 17 bytes", "shape": [64, 4, 17]},
        {"why": "flat", "shape": [256, 16]},
    ]
    content = {
        "source": "tests/reference/generate_ot.py",
        "extensions": [extension(*run) for run in runs],
        "bad_seeds": bad,
    }
    PATH.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
