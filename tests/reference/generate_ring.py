"""Writes the vectors of Z_2^64 and of bit planes to tests/vectors/: ``python -m tests.reference.generate_ring``.

Inputs are words of SHAKE-256, labelled; outputs stand as SHA-256 of their words, little-endian, row by row.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.reference import ring
from tests.reference.generate import uniform

PATH = Path(__file__).resolve().parent.parent / "vectors" / "ring.json"
LAST = 2**128 - 1


def words(label: str, n: int) -> list[int]:
    """N reproducible words."""
    data = uniform("ring " + label, 8 * n)
    return [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]


def matrix(label: str, rows: int, columns: int) -> list[list[int]]:
    """Rows of reproducible words."""
    drawn = words(label, rows * columns)
    return [drawn[i * columns : (i + 1) * columns] for i in range(rows)]


def key(label: str) -> bytes:
    """A reproducible key."""
    return uniform("ring key " + label, 16)


def digest(numbers: Iterable[int]) -> str:
    """SHA-256 of words."""
    return hashlib.sha256(b"".join(n.to_bytes(8, "little") for n in numbers)).hexdigest()


def flat(rows: Iterable[Iterable[int]]) -> list[int]:
    """Rows one after the other."""
    return [word for row in rows for word in row]


def masked(n: int, kind: str, block: int) -> dict[str, object]:
    """A mask; the place is text, for JSON has no number as large."""
    out = ring.mask(words("mask", n), kind, key("mask"), block)
    return {"n": n, "kind": kind, "block": str(block), "out": digest(out)}


def product(n: int, kind: str, plus: int, minus: int) -> dict[str, object]:
    """A party's part."""
    x, y = matrix("x", 2, n), matrix("y", 2, n)
    out = ring.product(kind, x, y, (key("plus"), plus), (key("minus"), minus))
    return {"n": n, "kind": kind, "plus": str(plus), "minus": str(minus), "out": digest(out)}


def matmul(n: int, m: int, p: int) -> dict[str, object]:
    """A product of matrices, and a sum."""
    out = ring.matmul(matrix("a", n, m), matrix("b", m, p), matrix("sums", n, p))
    return {"shape": [n, m, p], "out": digest(flat(out))}


def planes(n: int) -> dict[str, object]:
    """Planes, from which the reference finds its way back; then both steps of a comparison on masked planes."""
    s, t = words("s", n), words("t", n)
    of = ring.planes(s)
    masks = words("masks", ring.STEP_PLANES * ring.width(n))
    stepped = ring.steps(s, masks)
    shares = ring.carries(masks, t, one=True), ring.carries(stepped, t, one=False)
    opened = [[a ^ b for a, b in zip(*rows, strict=True)] for rows in zip(*shares, strict=True)]
    if ring.words(of, n) != s or opened != ring.carries_of_sums(s, t):
        raise AssertionError("the reference contradicts itself")
    return {
        "n": n, "planes": digest(flat(of)), "steps": digest(stepped),
        "carries": [digest(flat(share)) for share in shares],
    }  # fmt: skip


def document() -> str:
    """The file's text."""
    content = {
        "source": "tests/reference/generate_ring.py",
        "masks": [
            masked(0, "add", 0), masked(1, "subtract", LAST), masked(513, "xor", LAST - 3),
            masked(512, "add", 2**64 - 9),
        ],
        "products": [
            product(0, "and", 0, 0), product(1, "multiply", 2**64, 1), product(513, "multiply", LAST, 7),
            product(513, "and", 3, LAST - 100),
        ],
        "matmuls": [
            matmul(*shape) for shape in [(0, 3, 2), (2, 0, 2), (1, 1, 1), (4, 5, 3), (4, 257, 9), (49, 3, 7)]
        ],
        "planes": [planes(n) for n in (0, 1, 64, 65, 257)],
        "bad_places": [
            {"why": "a key of fifteen bytes", "key_bytes": 15, "block": "0"},
            {"why": "a key of 32 bytes", "key_bytes": 32, "block": "0"},
            {"why": "a block before the first", "key_bytes": 16, "block": "-1"},
            {"why": "a block behind the last", "key_bytes": 16, "block": str(LAST + 1)},
        ],
        "bad_matmuls": [
            {"why": "columns that are no rows", "a": [2, 3], "b": [4, 2], "out": [2, 2]},
            {"why": "a row for a matrix", "a": [3], "b": [3, 2], "out": [1, 2]},
            {"why": "a vector for a matrix", "a": [2, 3], "b": [3], "out": [2, 1]},
            {"why": "sums of another shape", "a": [2, 3], "b": [3, 2], "out": [2, 3]},
            {"why": "sums that would be stretched", "a": [2, 3], "b": [3, 2], "out": [1, 2]},
        ],
        "bad_planes": [
            {"why": "a plane too few", "planes": [63, 1], "n": 64},
            {"why": "a column too few", "planes": [64, 1], "n": 65},
            {"why": "a column too many", "planes": [64, 2], "n": 64},
            {"why": "fewer words than none", "planes": [64, 0], "n": -1},
        ],
    }  # fmt: skip
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH.name}\n")
