"""What a training keeps after each iteration, so that it can be gone on with where a party left.

A point holds how far the training is, which all parties know, and at a party that computes its shares of the
coordinates and of L-BFGS's memory, from which a new engine with new keys goes on. Whoever keeps it must encrypt it:
shares of all computing parties together are the model. Nothing of the input is in it.

    points are numpy archives (.npz) of unsigned integers, and one of bytes: a JSON object. No pickle.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from protocols.learning.training import Place, Terms

Words = NDArray[np.uint64]

_REMEDY = "begin with an empty one at all parties"


class Checkpoint(Protocol):
    """Where a run keeps its state. The caller encrypts it: it holds shares."""

    def save(self, step: int, state: bytes) -> None:
        """Keep the state after `step` iterations, and the one before it."""

    def load(self) -> Sequence[tuple[int, bytes]]:
        """What is kept, the newest last; nothing for a new run."""


@dataclass(frozen=True)
class Point:
    """A point of a training.

    Attributes:
        digest: of all that has to be the same when it goes on.
        run: of the training.
        attempt: of the attempt that made it: points of one iteration go together only if one attempt made them.
        place: how far it is.
        shares: by name; none at a party that does not compute.
    """

    digest: str
    run: bytes
    attempt: bytes
    place: Place
    shares: Mapping[str, Words]

    def to_bytes(self) -> bytes:
        """As it is kept."""
        ids = {"digest": self.digest, "run": self.run.hex(), "attempt": self.attempt.hex()}
        header = {**ids, "place": asdict(self.place)}
        arrays = {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **self.shares}
        out = io.BytesIO()
        np.savez(out, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names of options among them
        return out.getvalue()


def digest(terms: Terms) -> str:
    """Of what must be the same when a training goes on."""
    same = asdict(terms)
    del same["run"], same["attempt"], same["begun"]
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


def points(checkpoint: Checkpoint | None) -> dict[tuple[bytes, int], Point]:
    """What a checkpoint holds, by attempt and number of iterations. UsageError where it cannot be read."""
    found = {}
    for _, state in checkpoint.load() if checkpoint is not None else ():
        point = _point(state)
        found[point.attempt, len(point.place.history)] = point
    return found


def _point(state: bytes) -> Point:
    try:
        with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
            shares = {name: arrays[name] for name in arrays.files}
        header = json.loads(shares.pop("header").tobytes())
        place = Place(header["place"]["stage"], header["place"]["taken"], tuple(header["place"]["history"]))
        run, attempt = (bytes.fromhex(header[name]) for name in ("run", "attempt"))
        return Point(header["digest"], run, attempt, place, shares)
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile):
        raise UsageError(f"The training's checkpoint is damaged: {_REMEDY}.") from None


def require_same(point: Point, terms: Terms) -> None:
    """UsageError where a point is of a training with other settings or other rows."""
    if point.digest != digest(terms):
        raise UsageError(f"The checkpoint is of a training with other settings or other data: {_REMEDY}.")
