"""From what a caller holds to distinct canonical keys, and from matched keys back to the caller's rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.data.identifiers import InvalidIdentifier
from mpc.errors import UsageError
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng
from mpc.suite import Suite
from protocols.psi.items import Duplicates, collect, digests, require_distinct, tag_bytes, take
from tests.protocols.psi import SUITES

SALT = bytes(range(32))
FEW = st.lists(st.sampled_from([b"", b"a", b"b", b"\x00", b"a\n", b"x" * 10_000]), max_size=12)


@settings(deadline=None)
@given(FEW, st.data())
def test_a_key_in_several_rows(values: list[bytes], data: st.DataObject) -> None:
    distinct = list(dict.fromkeys(values))
    which = data.draw(st.lists(st.sampled_from(range(len(distinct))), unique=True) if distinct else st.just([]))
    first = collect(values, form="bytes", duplicates="first", rng=Rng())
    many = collect(values, form="bytes", duplicates="many", rng=Rng())
    assert list(first.keys) == list(many.keys) == distinct
    matched = np.array(which, dtype=np.int64)
    got = first.result(matched, peer_size=3, operator="psi.ecdh")
    assert got.rows.tolist() == [values.index(distinct[i]) for i in which]
    assert got.offsets.tolist() == list(range(len(which) + 1))
    got = many.result(matched, peer_size=3, operator="psi.ecdh")
    for j, i in enumerate(which):
        rows = got.rows[got.offsets[j] : got.offsets[j + 1]]
        assert rows.tolist() == [row for row, value in enumerate(values) if value == distinct[i]]
    assert got.matched == len(which)
    assert (got.offsets[0], got.offsets[-1]) == (0, len(got.rows))


@settings(deadline=None)
@given(FEW, st.sampled_from(SUITES))
def test_keys_that_are_not_distinct_are_named_by_row(values: list[bytes], suite: Suite) -> None:
    kept = collect(values, form="bytes", duplicates="error", rng=Rng())
    assert list(kept.keys) == values
    found = digests(kept.keys, suite=suite, salt=SALT)
    seconds = [row for row, value in enumerate(values) if value in values[:row]]
    if not seconds:
        require_distinct(found)
    else:
        rows = values.index(values[seconds[0]]) + 1, seconds[0] + 1
        with pytest.raises(UsageError, match=f"Rows {rows[0]} and {rows[1]} have the same key: drop one, or pass dupl"):
            require_distinct(found)


def test_digests_that_begin_alike_are_not_the_same() -> None:
    rows = np.zeros((3, 16), dtype=np.uint8)
    rows[:, 15] = [1, 2, 3]  # differ behind the words that are sorted
    require_distinct(rows)
    rows[2, 15] = 2
    with pytest.raises(UsageError, match="Rows 2 and 3"):
        require_distinct(rows)


@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)
def test_digests_depend_on_salt_suite_and_key(suite: Suite) -> None:
    keys = pack(["a", "b", "a"])
    found = digests(keys, suite=suite, salt=SALT)
    assert (found.shape, found.dtype) == ((3, 32), np.uint8)
    assert (found[0] == found[2]).all()
    assert len({found[0].tobytes(), found[1].tobytes(), digests(keys, suite=suite, salt=bytes(32))[0].tobytes()}) == 3
    with pytest.raises(UsageError, match="The salt has 31 bytes; give 32"):
        digests(keys, suite=suite, salt=SALT[:31])


def test_what_items_may_be() -> None:
    def keys(items: object, form: str, duplicates: Duplicates = "error") -> list[bytes]:
        return list(collect(items, form=form, duplicates=duplicates, rng=Rng()).keys)

    assert keys(["é", "ａ"], "text") == ["é".encode(), b"a"]
    assert keys(["é", b"\xff"], "bytes") == ["é".encode(), b"\xff"]
    assert keys([7, -1], "integer") == keys(np.array([7, -1]), "integer") == keys(pa.array([7, -1]), "integer")
    assert keys(pa.chunked_array([["a"], ["b", "c"]]), "text") == [b"a", b"b", b"c"]
    assert keys(pa.array([b"\x00a"], pa.binary()), "bytes") == [b"\x00a"]
    assert keys((["a", "a"], ["b", "c"]), "text+text", "first") == [b"\x00\x01a\x00\x01b", b"\x00\x01a\x00\x01c"]
    assert keys(pack(["ａ"]), "text") == ["ａ".encode()]  # packed keys count as canonical
    packed = pack(["x", "b", "a", "b"])
    assert keys(Packed(packed.data, packed.offsets[1:]), "bytes", "first") == [b"b", b"a"]


def test_misuse() -> None:
    with pytest.raises(UsageError, match="duplicates is 'error', 'first' or 'many', not 'last'"):
        collect(["a"], form="text", duplicates="last", rng=Rng())  # type: ignore[arg-type]
    for items in (["a"], pack(["a"])):
        with pytest.raises(UsageError, match="There is no key form 'name'"):
            collect(items, form="name", duplicates="error", rng=Rng())
    with pytest.raises(UsageError, match=r"has 2 column\(s\), 1 given"):
        collect(["a"], form="text+text", duplicates="error", rng=Rng())
    with pytest.raises(InvalidIdentifier, match="row 2 is no text: it is empty"):
        collect(["a", ""], form="text", duplicates="many", rng=Rng())
    with pytest.raises(UsageError, match="take the form integer|as str"):
        collect([1], form="text", duplicates="error", rng=Rng())


def test_tags_are_as_wide_as_the_sets_need() -> None:
    assert [tag_bytes(n, m) for n, m in ((0, 0), (1, 1), (1 << 12, 1 << 12), (1 << 20, 1 << 20))] == [8, 8, 8, 10]
    assert tag_bytes((1 << 20) + 1, 1 << 20) == 11
    assert tag_bytes(1 << 32, 1 << 32) == 13


@given(st.lists(st.binary(max_size=6), min_size=1), st.data())
def test_taking_rows(values: list[bytes], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(values) - 1)))
    assert list(take(pack(values), np.array(rows, dtype=np.int64))) == [values[row] for row in rows]
