"""The inner loops of oblivious-transfer extension: bit matrices on their side, and SoftSpoken's expansion of seeds.

A block is (16,) uint8, one bit for each of 128 columns. Bits are numbered from the least significant of the first byte
on, as ``numpy.packbits(..., bitorder="little")`` writes them. n is a multiple of 128 everywhere here.

SoftSpoken [Roy 2022] over fields of 2^k elements, k = 1, 2, 4 or 8, has 128 / k groups of k columns. In each group the
receiver has 2^k seeds, and the sender all of them but one, whose place is the group's k bits of its offset.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

BLOCK_BYTES = 16
COLUMNS = 128
FIELDS = (1, 2, 4, 8)
"""What k may be."""


def transpose(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """128 rows of n bits to n blocks: (128, n / 8) -> (n, 16)."""
    _whole(_check.rows(rows, rows.shape[-1], "rows") == COLUMNS and rows.shape[1] % BLOCK_BYTES == 0)
    return _native.ot_transpose(rows)


def untranspose(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What `transpose` undoes: (n, 16) -> (128, n / 8)."""
    _whole(_check.rows(blocks, BLOCK_BYTES, "blocks") % COLUMNS == 0)
    return _native.ot_untranspose(blocks)


def hash_columns(seed: NDArray[np.uint8] | bytes, blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The polynomial hash of each of 128 columns: Σ_j seed^j · (the column's j-th 128 bits) in GF(2^128). (128, 16)

    It is linear over bits, and columns that differ have the same hash with odds below n / 2^135 over a uniform seed.

    Args:
        seed: a block.
        blocks: (n, 16).
    """
    _check.secret(seed, (BLOCK_BYTES,), "seed")
    _whole(_check.rows(blocks, BLOCK_BYTES, "blocks") % COLUMNS == 0)
    return _native.ot_hash_columns(seed, blocks)


def receive(
    seeds: NDArray[np.uint8], choices: NDArray[np.uint8], out: NDArray[np.uint8], *, block: int
) -> NDArray[np.uint8]:
    """SoftSpoken's receiver: expands the seeds for n transfers.

    Args:
        seeds: (128 / k, 2^k, 16).
        choices: (n / 8,), packed bits.
        out: (n, 16), overwritten by what the receiver keeps, ``t``.
        block: where in the seeds' streams to begin; n / 128 blocks are used up, and must never be again.

    Returns:
        (16·n / k,) uint8: what the sender has to be told, 128 / k bits a transfer; stripe after stripe of 4096
        transfers (the last may be shorter), and in each stripe one row of bits for each group.
    """
    k = _field(seeds)
    _whole(_check.rows(out, BLOCK_BYTES, "out") % COLUMNS == 0)
    _check.row(choices, len(out) // 8, "choices")
    return _native.ot_receive(seeds, k, block, choices, out)


def send(
    seeds: NDArray[np.uint8],
    delta: NDArray[np.uint8] | bytes,
    corrections: NDArray[np.uint8],
    out: NDArray[np.uint8],
    *,
    block: int,
) -> None:
    """SoftSpoken's sender: expands its seeds for n transfers, so that ``t = out ^ choice * delta``.

    Args:
        seeds: (128 / k, 2^k, 16); place y of group g holds the receiver's seed y ^ (the k bits of `delta` from bit
            g·k on). Place 0 is the one that the sender lacks, and not looked at.
        delta: the offset, a block.
        corrections: what `receive` returned.
        out: (n, 16), overwritten.
        block: as the receiver's.
    """
    k = _field(seeds)
    _check.secret(delta, (BLOCK_BYTES,), "delta")
    _whole(_check.rows(out, BLOCK_BYTES, "out") % COLUMNS == 0)
    _check.row(corrections, len(out) * BLOCK_BYTES // k, "corrections")
    _native.ot_send(seeds, k, block, delta, corrections, out)


def _field(seeds: NDArray[np.uint8]) -> int:
    """The k of an array of seeds."""
    if _check.is_array(seeds) and seeds.dtype == np.uint8 and seeds.flags.c_contiguous:
        for k in FIELDS:
            if seeds.shape == (COLUMNS // k, 1 << k, BLOCK_BYTES):
                return k
    raise UsageError("seeds are a contiguous array (128 / k, 2^k, 16) of uint8, k one of 1, 2, 4, 8.")


def _whole(condition: bool) -> None:  # noqa: FBT001 - reads as assert does
    if not condition:
        raise UsageError("Transfers come in whole tiles of 128 here; pad to a multiple of 128.")
