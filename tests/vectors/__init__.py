"""Test vectors: from standards, which each file names, and from tests/reference. A `bad_` vector must be refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def load(name: str) -> dict[str, Any]:
    """The content of tests/vectors/<name>.json."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return content


def row(value: str) -> NDArray[np.uint8]:
    """(m,) bytes of a hexadecimal value."""
    return np.frombuffer(bytes.fromhex(value), dtype=np.uint8)


def rows(values: Sequence[str]) -> NDArray[np.uint8]:
    """(n, m) bytes of hexadecimal values of one length."""
    return np.stack([row(value) for value in values])
