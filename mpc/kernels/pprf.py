"""Puncturable pseudorandom functions as trees of seeds [GGM 1986; Boyle et al. 2019], many of one size at once.

A node's children are F(0, node) and F(1, node), F(b, x) = AES-128(k_b, x) ⊕ x; the keys k_0 ‖ k_1 are
SHA-256("unseen pprf v1" ‖ salt). A tree of `leaves` leaves has depth = ⌈log2 leaves⌉ levels below its seed, level l of
⌈leaves / 2^(depth - l)⌉ nodes: where that is odd, the last parent has a left child only.

The holder of a seed expands the tree. Who is given, for each level, the sum of the children on the side that the path
to a point does not take, expands everything but that path. Nothing here branches on a point or accesses memory by it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

BLOCK_BYTES = 16
SALT_BYTES = 16
MAX_LEAVES = 1 << 24


def depth(leaves: int) -> int:
    """Levels below the seed of a tree of 2 to ``MAX_LEAVES`` leaves: as many as a point has bits."""
    _require_leaves(leaves)
    return _native.pprf_depth(leaves)


def expand(seeds: NDArray[np.uint8], *, leaves: int, salt: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Whole trees.

    Args:
        seeds: (t, 16), uniform.
        leaves: of each tree.
        salt: 16 public bytes of the session.

    Returns:
        (t * leaves, 16) uint8, tree after tree; (t, depth, 2, 16) uint8, per level from below the seed the sums of all
        left and of all right children.
    """
    t = _check.rows(seeds, BLOCK_BYTES, "seeds")
    _require(leaves, salt)
    nodes, sums = _native.pprf_expand(salt, seeds, leaves)
    return nodes, sums.reshape(t, -1, 2, BLOCK_BYTES)


def expand_punctured(
    points: NDArray[np.uint32], keys: NDArray[np.uint8], finals: NDArray[np.uint8], *, leaves: int, salt: bytes
) -> NDArray[np.uint8]:
    """Trees without the path to one leaf each.

    Args:
        points: (t,), each below `leaves`.
        keys: (t, depth, 16), per level the sum on the side that the path to the point does not take.
        finals: (t, 16).
        leaves: of each tree.
        salt: as in ``expand``.

    Returns:
        (t * leaves, 16) uint8: the trees' leaves, but at each point the sum of `finals` and of all other leaves.
    """
    _require(leaves, salt)
    t = _require_points(points, leaves)
    _check.same_count(t, _check.rows(finals, BLOCK_BYTES, "finals"), "finals")
    levels = depth(leaves)
    if keys.shape != (t, levels, BLOCK_BYTES):
        raise UsageError(f"keys has shape {keys.shape}; give ({t}, {levels}, {BLOCK_BYTES}).")
    flat = keys.reshape(t * levels, BLOCK_BYTES)
    _check.rows(flat, BLOCK_BYTES, "keys")
    return _native.pprf_expand_punctured(salt, points, flat, finals, leaves)


def add_at(points: NDArray[np.uint32], values: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Add one value to each of t equal parts of `out`: values[i] to the row at points[i] of part i.

    Args:
        points: (t,), each below the number of rows of a part.
        values: (t, 16).
        out: (t * leaves, 16), writable.
    """
    n = _check.rows(out, BLOCK_BYTES, "out")
    if not out.flags.writeable:
        raise UsageError("out is read-only; give an array that may be changed.")
    t = _check.rows(values, BLOCK_BYTES, "values")
    if t == 0 or n % t:
        raise UsageError(f"out has {n} rows for {t} values; give the same number of rows for each value.")
    _check.same_count(t, _require_points(points, n // t), "points")
    _native.pprf_add_at(points, values, n // t, out)


def _require(leaves: int, salt: bytes) -> None:
    _require_leaves(leaves)
    if len(salt) != SALT_BYTES:
        raise UsageError(f"salt is {len(salt)} bytes; give {SALT_BYTES}.")


def _require_leaves(leaves: int) -> None:
    if not 2 <= leaves <= MAX_LEAVES:
        raise UsageError(f"A tree of {leaves} leaves cannot be; give 2 to {MAX_LEAVES}.")


def _require_points(points: NDArray[np.uint32], leaves: int) -> int:
    if getattr(points, "dtype", None) != np.uint32 or points.ndim != 1 or not points.flags.c_contiguous:
        raise UsageError("points must be a contiguous (t,) array of uint32.")
    if len(points) and int(points.max()) >= leaves:
        raise UsageError(f"A point lies beyond the {leaves} leaves of its tree; give numbers below that.")
    return len(points)
