"""The join of two lists of tags: which rows are equal, in time that grows with their lengths alone.

Both lists are cut by radix into parts that fit the cache. The mixing of tags is keyed in each process, so a peer that
chooses its tags cannot choose where they fall. Time and memory access depend on the tags: join what is public by then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import TooManyPairs, _check

__all__ = ["WIDTHS", "TooManyPairs", "join"]

WIDTHS = range(8, 17)


def join(
    a: NDArray[np.uint8], b: NDArray[np.uint8], *, most: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of equal rows: (n, w), (m, w) -> rows of a, rows of b, each (k,) int64.

    Ordered by b's row, then by a's. A tag that comes p times in one list and q times in the other gives p · q pairs, so
    give `most` where a peer could repeat tags.

    Args:
        a: tags of 8 to 16 bytes.
        b: tags of the same width.
        most: how many pairs there may be; None for no limit.

    Raises:
        TooManyPairs: more than `most`.
        UsageError: another width, or widths that differ.
    """
    for array, name in ((a, "a"), (b, "b")):
        if not _check.is_array(array) or array.ndim != 2 or array.shape[1] not in WIDTHS:
            raise UsageError(f"{name} must be (n, w) uint8 with w of 8 to 16; cut or pad the tags.")
        _check.rows(array, a.shape[1], name)
    if most is not None and most < 0:
        raise UsageError("most is negative; give the largest number of pairs that is possible.")
    return _native.join_vartime(a, b, 2**63 - 1 if most is None else most)
