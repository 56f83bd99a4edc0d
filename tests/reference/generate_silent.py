"""Writes tests/vectors/silent.json, punctured trees and the silent code: ``python -m tests.reference.generate_silent``.

Good vectors say what comes out. Vectors under a name that begins with ``bad_`` must be refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from tests.reference import silent

PATH = Path(__file__).resolve().parent.parent / "vectors" / "silent.json"


def uniform(label: str, size: int) -> bytes:
    """Reproducible bytes that look uniform."""
    return hashlib.shake_256(b"unseen vectors " + label.encode()).digest(size)


def trees() -> list[dict[str, object]]:
    """One tree each, of sizes that are and are not powers of two, punctured somewhere."""
    out: list[dict[str, object]] = []
    for leaves, point in ((2, 1), (3, 2), (5, 4), (6, 0), (8, 3), (28, 27), (33, 32)):
        salt, seed, final = (uniform(f"tree {leaves} {part}", 16) for part in ("salt", "seed", "final"))
        tree = silent.levels(salt, seed, leaves)
        known = list(tree[-1])
        known[point] = silent.add(final, *(leaf for i, leaf in enumerate(tree[-1]) if i != point))
        out.append(
            {
                "salt": salt.hex(),
                "seed": seed.hex(),
                "point": point,
                "final": final.hex(),
                "leaves": [leaf.hex() for leaf in tree[-1]],
                "sums": [[side.hex() for side in pair] for pair in silent.sums(tree)],
                "punctured": [leaf.hex() for leaf in known],
            }
        )
    return out


def words() -> list[dict[str, object]]:
    """Words of the code over both fields."""
    out: list[dict[str, object]] = []
    for n, outputs, field in ((64, 32, True), (64, 32, False), (192, 70, True), (192, 96, False)):
        salt, x = uniform(f"code {n} salt", 16), uniform(f"code {n} x", 16 * n)
        elements = [int.from_bytes(x[16 * i : 16 * i + 16], "little") for i in range(n)]
        word = silent.compress(salt, elements, outputs, field=field)
        out.append(
            {
                "salt": salt.hex(),
                "field": field,
                "x": x.hex(),
                "outputs": outputs,
                "word": b"".join(e.to_bytes(16, "little") for e in word).hex(),
            }
        )
    return out


BAD_TREES = [
    {"why": "a tree of one leaf", "leaves": 1, "point": 0},
    {"why": "more leaves than points have numbers", "leaves": (1 << 24) + 1, "point": 0},
    {"why": "a point beyond the leaves", "leaves": 5, "point": 5},
    {"why": "a point beyond the leaves, at a node that does not exist", "leaves": 5, "point": 7},
]
BAD_WORDS = [
    {"why": "an empty vector", "n": 0, "outputs": 0},
    {"why": "a length that is not a multiple of 64", "n": 96, "outputs": 1},
    {"why": "more outputs than half the length", "n": 64, "outputs": 33},
]

if __name__ == "__main__":
    content = {
        "source": "tests/reference/generate_silent.py. Values are hexadecimal.",
        "trees": trees(),
        "bad_trees": BAD_TREES,
        "words": words(),
        "bad_words": BAD_WORDS,
    }
    PATH.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.stderr.write(f"wrote {PATH.name}\n")
