"""Writes the vectors of Shamir's scheme to tests/vectors/: ``python -m tests.reference.generate_shamir``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.reference import shamir
from tests.reference.generate import uniform

PATH = Path(__file__).resolve().parent.parent / "vectors" / "shamir.json"

CASES = [(1, [1]), (1, [7, 3]), (2, [1, 2]), (3, [5, 1, 9]), (3, [2**31 - 2, 1, 2**30, 4]), (40, list(range(1, 66)))]


def _words(secret: bytes) -> list[int]:
    return [int.from_bytes(secret[i : i + 2], "little") for i in range(0, len(secret), 2)]


def shared() -> list[dict[str, Any]]:
    """Secrets with the shares of holders, of which `threshold` restore them."""
    out: list[dict[str, Any]] = []
    for i, (threshold, points) in enumerate(CASES):
        secret = b"\xff\xff\0\0" + uniform(f"shamir secret {i}", 4)
        drawn = [
            [int.from_bytes(uniform(f"shamir {i} {w} {j}", 8), "little") % shamir.PRIME for j in range(1, threshold)]
            for w in range(len(secret) // 2)
        ]
        shares = [[shamir.share(word, drawn[w], x) for w, word in enumerate(_words(secret))] for x in points]
        for w, word in enumerate(_words(secret)):
            assert shamir.reconstruct({x: shares[j][w] for j, x in enumerate(points[:threshold])}) == word
        out.append({"threshold": threshold, "points": points, "secret": secret.hex(), "shares": shares})
    return out


def bad() -> list[dict[str, Any]]:
    """Shares that give no secret."""
    good = shared()[3]
    points = good["points"]
    rows = [list(row) for row in good["shares"]]
    one_off = [list(row) for row in rows]
    one_off[1][2] = (one_off[1][2] + 1) % shamir.PRIME
    exchanged = [rows[1], rows[0], rows[2]]
    large = [list(row) for row in rows]
    large[0][0] += shamir.PRIME
    cases = {
        "one share is one more": (points, one_off),
        "two shares exchanged": (points, exchanged),
        "a share that is not reduced": (points, large),
        "one share too few": (points[:2], rows[:2]),
    }
    return [{"why": why, "points": p, "shares": s} for why, (p, s) in cases.items()]


def document() -> str:
    """The file's text."""
    source = "tests/reference/generate_shamir.py. Secrets are hexadecimal, two bytes little-endian to a number."
    return json.dumps({"source": source, "shared": shared(), "bad_shares": bad()}) + "\n"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH.name}\n")
