"""Alignment of several parties: one order, the same rows, whatever protocol finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from mpc.errors import UsageError
from mpc.testing import run_parties
from protocols.psi.align import Aligned, align

KEYS = {
    "bank": ["a", "b", "c", "d", "e", "ü"],
    "civil": ["e", "x", "c", "ü", "a"],
    "edu": ["ü", "c", "b", "e", "y"],
    "tax": ["c", "e", "z", "ü"],
}


def run(keys: Mapping[str, Sequence[str]], **options: Any) -> dict[str, Aligned]:  # noqa: ANN401  # as align
    given = {"leader": "bank"} | options
    return run_parties({name: lambda s, mine=mine: align(s, mine, **given) for name, mine in keys.items()})


@pytest.mark.parametrize("parties", [2, 3, 4])
def test_line_i_is_about_one_key_everywhere(parties: int) -> None:
    keys = dict(list(KEYS.items())[:parties])
    found = run(keys)
    lines = {tuple(keys[name][row] for row in one.rows) for name, one in found.items()}
    assert len(lines) == 1
    assert set(*lines) == set.intersection(*map(set, keys.values()))
    for name, one in found.items():
        assert one.sizes == {other: len(mine) for other, mine in keys.items() if other != name}
        assert len(one.learned) == parties
    assert found["bank"].operator == ("psi.ecdh" if parties == 2 else "psi.multi")
    assert found["civil"].learned[0].startswith("which of its own keys bank")


def test_nothing_in_common_is_no_mistake() -> None:
    for parties in (2, 3):
        keys = {name: [f"{name} {i}" for i in range(3)] for name in list(KEYS)[:parties]}
        assert {len(one.rows) for one in run(keys).values()} == {0}


def test_a_key_in_several_rows_is_an_error_or_its_first_row() -> None:
    for parties in (2, 3):
        keys = dict(list(KEYS.items())[:parties]) | {"bank": ["c", "q", "c", "e"]}
        with pytest.raises(UsageError, match="Rows 1 and 3 have the same key"):
            run(keys)
        rows = run(keys, duplicates="first")["bank"].rows
        assert np.array_equal(np.sort(rows), [0, 3])


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="takes no part"):
        run(dict(list(KEYS.items())[:2]), leader="court")
    with pytest.raises(UsageError, match="a key stands for one line"):
        run(dict(list(KEYS.items())[:2]), duplicates="many")
