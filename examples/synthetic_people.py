"""People who do not exist: resident IDs, a civil register and couples for the examples and the benchmarks.

Every ID passes the checks of GB 11643 (length, date of birth, check character), but its first six digits name no
place: no region's code begins with 99, so no ID made here can be a living person's.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

REGIONS = 40
FIRST_DAY = np.datetime64("1940-01-01")
DAYS = int((np.datetime64("2006-01-01") - FIRST_DAY).astype(int))
SEQUENCES = 1000

_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
_CHECK = np.frombuffer(b"10X98765432", dtype=np.uint8)


def resident_ids(n: int, rng: np.random.Generator) -> NDArray[np.bytes_]:
    """`n` different synthetic resident IDs in random order, (n,) of 18 bytes each."""
    numbers = np.unique(rng.integers(0, REGIONS * DAYS * SEQUENCES, size=n + n // 8 + 16))
    numbers = rng.permutation(numbers)[:n]
    place, rest = np.divmod(numbers, DAYS * SEQUENCES)
    day, sequence = np.divmod(rest, SEQUENCES)
    born = np.datetime_as_string(FIRST_DAY + day.astype("timedelta64[D]"), unit="D").astype("S10")
    dates = born.view(np.uint8).reshape(n, 10)[:, [0, 1, 2, 3, 5, 6, 8, 9]]
    digits = np.empty((n, 18), dtype=np.uint8)
    digits[:, :2] = ord("9")
    for column, power in enumerate((1000, 100, 10, 1), start=2):
        digits[:, column] = ord("0") + (100 + place) // power % 10
    digits[:, 6:14] = dates
    for column, power in enumerate((100, 10, 1), start=14):
        digits[:, column] = ord("0") + sequence // power % 10
    digits[:, 17] = _CHECK[((digits[:, :17].astype(np.int64) - ord("0")) @ _WEIGHTS) % 11]
    return digits.reshape(-1).view("S18")


@dataclass(frozen=True)
class Register:
    """A civil register. Row i is one person.

    Attributes:
        ids: (n,) 18-byte resident IDs.
        married: (n,) bool.
        spouse: (n,) int64, the spouse's row, -1 where not married.
    """

    ids: NDArray[np.bytes_]
    married: NDArray[np.bool_]
    spouse: NDArray[np.int64]


def register(n: int, rng: np.random.Generator, *, married: NDArray[np.bool_] | None = None) -> Register:
    """A register of `n` people of whom about 45 % are married.

    Args:
        n: number of people.
        rng: where chance comes from.
        married: (m,) bool, what the first m ≤ n people must be; their spouses are found among the others.
    """
    fixed = np.zeros(0, dtype=bool) if married is None else married
    status = np.concatenate([fixed, rng.random(n - len(fixed)) < 0.45])
    first = np.flatnonzero(status[: len(fixed)])
    others = rng.permutation(np.flatnonzero(status[len(fixed) :]) + len(fixed))
    if len(others) < len(first):
        raise ValueError(f"{n} people are too few to marry {len(first)} of the first {len(fixed)} to others")
    spouse = np.full(n, -1, dtype=np.int64)
    rest = others[len(first) :]
    if len(rest) % 2:  # nobody is married alone
        status[rest[-1]] = False
        rest = rest[:-1]
    left = np.concatenate([first, rest[::2]])
    right = np.concatenate([others[: len(first)], rest[1::2]])
    spouse[left], spouse[right] = right, left
    return Register(resident_ids(n, rng), status, spouse)


def main() -> None:
    """Write a register as CSV or Parquet, for benchmarks."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("file", type=Path, help="ends in .csv or .parquet")
    parser.add_argument("--n", type=int, default=1_000_000, help="number of people")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    people = register(options.n, np.random.default_rng(options.seed))
    table = pa.table({"id": people.ids.astype("U18"), "status": people.married.astype(np.uint8)})
    if options.file.suffix == ".parquet":
        pyarrow.parquet.write_table(table, options.file)
    else:
        pyarrow.csv.write_csv(table, options.file)


if __name__ == "__main__":
    main()
