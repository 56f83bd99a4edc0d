"""Writes tests/vectors/lwe.json, sums by bin under encryption: ``python -m tests.reference.generate_lwe``.

Inputs are SHAKE-256 of ``"unseen vectors " ‖ label``; long answers stand as SHA-256 of their little-endian words.
Vectors under ``bad_`` must be refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.reference import lwe
from tests.reference.gf128 import xor

PATH = Path(__file__).resolve().parent.parent / "vectors" / "lwe.json"


def uniform(label: str, size: int) -> bytes:
    """Reproducible bytes that look uniform."""
    return hashlib.shake_256(b"unseen vectors " + label.encode()).digest(size)


def bits(label: str, w: int) -> lwe.Rows:
    """Reproducible secrets: w lists of bits."""
    data = uniform(label, w * lwe.DIMENSION // 8)
    flat = [byte >> i & 1 for byte in data for i in range(8)]
    return [flat[i : i + lwe.DIMENSION] for i in range(0, len(flat), lwe.DIMENSION)]


def table(label: str, rows: int, w: int) -> lwe.Rows:
    """Reproducible words, row by row."""
    flat = lwe.words(uniform(label, 4 * rows * w))
    return [flat[i : i + w] for i in range(0, rows * w, w)]


def codes(label: str, n: int, sizes: list[int]) -> lwe.Rows:
    """Reproducible bins."""
    return [[word % size for word, size in zip(row, sizes, strict=True)] for row in table(label, n, len(sizes))]


def digest(rows: Iterable[Iterable[int]]) -> str:
    """The SHA-256 of words."""
    return hashlib.sha256(b"".join(x.to_bytes(4, "little") for row in rows for x in row)).hexdigest()


def encryptions() -> list[dict[str, object]]:
    """Rows of two blocks under one secret and under nine, from the first row on and from a later block."""
    out: list[dict[str, object]] = []
    for n, w, first in ((520, 1, 0), (40, 9, 1024)):
        label = f"lwe encryption {n} {w} {first}"
        public, seed = uniform(f"{label} public", 16), uniform(f"{label} seed", 32)
        matrix = lwe.public_matrix(public, first + n)[first:]
        c = lwe.encrypt(matrix, bits(f"{label} bits", w), seed, table(f"{label} words", n, w), first)
        out.append({"label": label, "rows": n, "vectors": w, "first": first, "begins": c[0][0], "words": digest(c)})
    return out


def hints() -> list[dict[str, object]]:
    """Hints and sums of narrow codes and wide ones, and shares of a hint times secrets."""
    out: list[dict[str, object]] = []
    for n, sizes, w in ((530, [4, 1, 7], 2), (60, [300, 2], 1)):
        label = f"lwe hint {n}"
        public, delta = uniform(f"{label} public", 16), uniform(f"{label} delta", 16)
        binned, secrets = codes(f"{label} codes", n, sizes), bits(f"{label} bits", w)
        of = lwe.hint(binned, lwe.public_matrix(public, n), sizes)
        data, tweak = uniform(f"{label} k", 16 * lwe.DIMENSION * w), 5
        k = [data[i : i + 16] for i in range(0, len(data), 16)]
        choices = [bit for secret in secrets for bit in secret]
        t = [xor(block, delta) if choice else block for block, choice in zip(k, choices, strict=True)]
        told, kept = lwe.offer(delta, k, tweak, of)
        got = lwe.choose(t, choices, tweak, told)
        for secret, mine, theirs in zip(secrets, got, kept, strict=True):
            product = [sum(h * s for h, s in zip(column, secret, strict=True)) for column in zip(*of, strict=True)]
            if any((a - b - p) % lwe.Q for a, b, p in zip(mine, theirs, product, strict=True)):
                raise SystemExit("shares that are none of the product")
        out.append(
            {
                "label": label,
                "rows": n,
                "sizes": sizes,
                "vectors": w,
                "tweak": tweak,
                "hint": digest(of),
                "sums": digest(lwe.sums(binned, table(f"{label} words", n, 3), sizes)),
                "messages": digest(row for message in told for row in message),
                "kept": digest(kept),
                "got": digest(got),
            }
        )
    return out


BAD_CODES = [
    {"why": "the size itself", "codes": [[0, 2], [3, 0]], "sizes": [3, 3], "rows": None},
    {"why": "above the last column's size", "codes": [[0, 255]], "sizes": [256, 255], "rows": None},
    {"why": "a row after the last", "codes": [[0], [0]], "sizes": [1], "rows": [0, 2]},
    {"why": "a row before the first", "codes": [[0], [0]], "sizes": [1], "rows": [-1]},
    {"why": "a column without bins", "codes": [[0, 0]], "sizes": [1, 0], "rows": None},
    {"why": "fewer sizes than columns", "codes": [[0, 0]], "sizes": [1], "rows": None},
]

if __name__ == "__main__":
    content = {
        "source": "tests/reference/generate_lwe.py. Labels name SHAKE-256 streams, digests are SHA-256.",
        "encryptions": encryptions(),
        "hints": hints(),
        "bad_codes": BAD_CODES,
    }
    PATH.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.stderr.write(f"wrote {PATH.name}\n")
