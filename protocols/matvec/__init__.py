"""Private matrix-vector products: one party's static matrix times another's vector, ending in additive shares.

The one place where homomorphic encryption lives. ``docs/protocols/matvec.md`` has the model and the figures.

    prepare, holder      the matrix's owner: takes the matrix in once, then any number of products in both directions
    key, vector          the vector's owner: keeps a key, gives a vector or several, as its own or as its share of them
    holder_of_shared     the matrix's owner where the vector is shared by two others: a product with each
    elementwise          products of two parties' numbers one by one
    ideal                the same functions in the clear, for tests of what stands on them

Methods: ``rlwe`` (``protocols/matvec/rlwe.py``). Results are modulo 2^64; fixed-point numbers are the caller's.
"""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.rng import Rng
from protocols.matvec.rlwe import Key, Prepared, holder, key, prepare, vector

__all__ = ["Key", "Prepared", "holder", "holder_of_shared", "key", "prepare", "vector"]

Words = NDArray[np.uint64]


def holder_of_shared(
    channels: Sequence[Channel],
    prepared: Prepared,
    *,
    transpose: bool = False,
    vectors: int | None = None,
    rng: Rng,
) -> Words:
    """The matrix holder's end where other parties have shares of the vector: a product with each, all at once.

    Each of the others calls ``vector`` with its share. The results of all of them and this one add up to the product.
    Arguments and errors as ``holder``'s.
    """
    if not channels:
        raise UsageError("No channel: give one to each party that has a share of the vector.")

    def run(channel: Channel, own: Rng) -> Words:
        try:
            return holder(channel, prepared, transpose=transpose, vectors=vectors, rng=own)
        except BaseException:
            for other in channels:
                other.close("a product with another party broke off")
            raise

    with ThreadPoolExecutor(len(channels)) as pool:
        runs = [pool.submit(contextvars.copy_context().run, run, channel, rng.fork()) for channel in channels]
        done, _ = wait(runs, return_when="FIRST_EXCEPTION")
        for failed in done:
            failed.result()
        share = np.zeros_like(runs[0].result())
        for finished in runs:
            share += finished.result()
        return share
