"""Writes the vectors of masks to tests/vectors/: ``python -m tests.reference.generate_mask``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.reference import mask
from tests.reference.generate import uniform

PATH = Path(__file__).resolve().parent.parent / "vectors" / "mask.json"


def masked() -> list[dict[str, Any]]:
    """Numbers of keys and of words, and places in the stream."""
    out: list[dict[str, Any]] = []
    for i, (k, n, first) in enumerate([(0, 3, 0), (1, 0, 0), (1, 1, 0), (1, 33, 2), (3, 35, 2**33), (2, 4, 2**65 - 6)]):
        keys = [uniform(f"mask key {i} {j}", 16) for j in range(k)]
        negative = [bool(uniform(f"mask sign {i} {j}", 1)[0] & 1) for j in range(k)]
        words = [int.from_bytes(uniform(f"mask word {i} {j}", 8), "little") for j in range(n)]
        out.append(
            {
                "keys": [key.hex() for key in keys],
                "negative": negative,
                "first": str(first),
                "words": [str(word) for word in words],
                "masked": [str(word) for word in mask.apply(keys, negative, words, first)],
            }
        )
    return out


def document() -> str:
    """The file's text."""
    return json.dumps({"source": "tests/reference/generate_mask.py", "masked": masked()}) + "\n"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH.name}\n")
