"""The way in: whatever the items are and whoever is to learn, the plain intersection, in one order at both parties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.data.identifiers import InvalidIdentifier
from mpc.errors import ChannelClosed, MpcError, PeerError, UsageError
from mpc.kernels.packing import pack
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.testing import run_parties
from protocols import psi
from protocols.psi import choice
from tests.protocols.psi import OTHER, SUITES, intersected

PROTOCOLS = sorted(choice.RUNS)
TEXT = st.text("abcé字 ", min_size=1, max_size=3).filter(str.strip)
ITEM = st.binary(max_size=2) | st.sampled_from([b"\x00", b"\n", b"x" * 10_000])


def outcomes(mine: dict[str, Any], theirs: dict[str, Any]) -> tuple[Any, Any]:
    """What the bank's and the insurer's calls give: a result, or the error."""

    def party(peer: str, options: dict[str, Any]) -> Callable[[Session], object]:
        def function(s: Session) -> object:
            try:
                return psi.intersect(s, peer=peer, **options)
            except MpcError as error:
                return error

        return function

    results = run_parties({"bank": party("insurer", mine), "insurer": party("bank", theirs)}, protocol="psi")
    return results["bank"], results["insurer"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_it_is_the_intersection(protocol: str, suite: Suite, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["text", "bytes", "integer"]))
    item = {"text": TEXT, "bytes": ITEM, "integer": st.integers(-3, 12)}[form]
    unique_by = (lambda v: v.strip()) if form == "text" else (lambda v: v)
    lists = st.lists(item, max_size=10, unique_by=unique_by)
    bank, insurer = data.draw(lists), data.draw(lists)
    reveal_to = data.draw(st.sampled_from(sorted(OTHER)))
    options = {"protocol": protocol, "suite": suite, "form": form}
    a, b = intersected(bank, insurer, reveal_to=reveal_to, **options)
    want = {unique_by(v) for v in bank} & {unique_by(v) for v in insurer}
    for result, items, learns in ((a, bank, reveal_to != "peer"), (b, insurer, reveal_to != "me")):
        if learns:
            assert {unique_by(items[row]) for row in result.rows} == want
            assert result.matched == len(result.rows) == len(want)
            assert result.offsets.tolist() == list(range(len(want) + 1))
        else:
            assert (result.rows, result.offsets, result.matched) == (None, None, None)
    if reveal_to == "both":
        assert [unique_by(bank[i]) for i in a.rows] == [unique_by(insurer[i]) for i in b.rows]
    assert (a.peer_size, b.peer_size) == (len(insurer), len(bank))
    assert a.operator == b.operator == f"psi.{protocol}"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abcde"), max_size=9), st.lists(st.sampled_from("abcde"), max_size=9))
def test_a_join_of_rows_with_many_keys_each(bank: list[str], insurer: list[str]) -> None:
    a, b = intersected(bank, insurer, duplicates="many", protocol="ecdh")
    assert a.matched == b.matched == len(set(bank) & set(insurer))
    joined = [
        (int(i), int(j))
        for k in range(a.matched)
        for i in a.rows[a.offsets[k] : a.offsets[k + 1]]
        for j in b.rows[b.offsets[k] : b.offsets[k + 1]]
    ]
    want = [(i, j) for i, x in enumerate(bank) for j, y in enumerate(insurer) if x == y]
    assert sorted(joined) == want
    assert (a.peer_size, b.peer_size) == (len(set(insurer)), len(set(bank)))


def test_each_party_has_its_own_policy_for_duplicates() -> None:
    mine = {"items": ["a", "b", "a", "c"], "duplicates": "first"}
    a, b = outcomes(mine, {"items": ["c", "a"]})
    assert [mine["items"][i] for i in a.rows] == [["c", "a"][i] for i in b.rows]
    assert sorted(a.rows) == [0, 3]
    a, b = outcomes({"items": ["a", "b", "a"]}, {"items": ["a"]})
    assert "Rows 1 and 3 have the same key" in str(a)
    assert isinstance(b, ChannelClosed)
    assert "insurer" not in str(b)


def test_one_set_in_many_clothes() -> None:
    want = ["é", "字"]
    for items in (want, pa.array(want), pa.chunked_array([["é"], ["字"]]), pack([w.encode() for w in want])):
        a, _ = intersected(items, ["字", "é", "x"])
        assert sorted(a.rows) == [0, 1]
    a, b = intersected(np.array([7, 5]), ["005", " 6"], form="integer")
    assert (a.rows.tolist(), b.rows.tolist()) == ([1], [0])
    a, b = intersected(
        (["138 0013 8000"], ["Li"]), (pa.array(["+86 13800138000"] * 2), ["Wu", "Ｌi"]), form="phone+text"
    )
    assert (a.rows.tolist(), b.rows.tolist()) == ([0], [1])


def test_mixed_encodings_are_different_bytes_and_the_same_text() -> None:
    name = "李雷"
    a, _ = intersected([name.encode("gb18030")], [name.encode()], form="bytes")
    assert a.matched == 0
    a, _ = intersected([name], [name.encode().decode()])
    assert a.matched == 1
    with pytest.raises(UsageError, match="half a surrogate"):
        intersected([name.encode("gb18030").decode(errors="surrogateescape")], [name], form="bytes")


def test_sizes_decide_at_both_alike() -> None:
    for sizes in ((1023, 10), (10, 1023)):
        a, b = intersected(*([str(i) for i in range(n)] for n in sizes))
        assert a.operator == b.operator == "psi.ecdh"
        assert a.matched == 10


def test_progress_is_reported() -> None:
    seen: list[Progress] = []

    def bank(s: Session) -> psi.PsiResult:
        return psi.intersect(Session(s.me, s.channels, s.rng, seen.append), ["a"], peer="insurer", protocol="ecdh")

    run_parties({"bank": bank, "insurer": lambda s: psi.intersect(s, ["a"], peer="bank", protocol="ecdh")})
    assert seen[-1] == Progress("psi.ecdh", 2, 2)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"form": "bytes"}, "form of keys (here 'text', there 'bytes')"),
        ({"protocol": "ecdh", "items": ["a"]}, "operator (here "),
        ({"reveal_to": "me"}, "who learns (here 'bank, insurer', there 'insurer')"),
    ],
)
def test_a_peer_that_does_something_else(change: dict[str, Any], word: str) -> None:
    if change.get("protocol") and len(PROTOCOLS) == 1:
        pytest.skip("there is only one protocol to choose")
    a, b = outcomes({"items": ["a"]}, {"items": ["a"], **change})
    assert isinstance(a, PeerError)
    assert isinstance(b, PeerError)
    assert word in str(a)
    assert (a.party, b.party) == ("insurer", "bank")


def test_a_peer_with_another_suite() -> None:
    if len(SUITES) < 2:
        pytest.skip("there is only one suite")
    a, b = outcomes({"items": ["a"], "suite": "intl"}, {"items": ["a"], "suite": "gm"})
    assert "suite (here 'intl', there 'gm')" in str(a)
    assert "suite (here 'gm', there 'intl')" in str(b)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"protocol": "kkrt"}, "There is no protocol 'kkrt'; choose one of auto, ecdh"),
        ({"protocol": "ecdh", "security": "malicious", "reveal_to": "me"}, "ecdh is for semi-honest peers alone"),
        ({"security": "malicious"}, "protects a result that only its receiver learns: pass reveal_to='me' or 'peer'"),
        ({"suite": "none"}, "There is no cipher suite 'none'"),
        ({"form": "name"}, "There is no key form 'name'"),
        ({"reveal_to": "all"}, "reveal_to is 'both', 'me' or 'peer', not 'all'"),
        ({"duplicates": "drop"}, "duplicates is 'error', 'first' or 'many'"),
    ],
)
def test_misuse_ends_both_and_says_what_to_do(options: dict[str, Any], text: str) -> None:
    a, b = outcomes({"items": ["a"], **options}, {"items": ["a"]})
    assert isinstance(a, UsageError)
    assert text in str(a)
    assert isinstance(b, ChannelClosed)


def test_a_bad_row_ends_both_and_is_told_to_its_owner_alone() -> None:
    a, b = outcomes({"items": ["13800138000", "secret"], "form": "phone"}, {"items": ["13800138000"], "form": "phone"})
    assert isinstance(a, InvalidIdentifier)
    assert "row 2" in str(a)
    assert isinstance(b, ChannelClosed)
    assert str(b) == "bank ended the conversation: an intersection broke off (InvalidIdentifier)"


def test_a_peer_that_takes_no_part() -> None:
    with pytest.raises(UsageError, match="bank has no channel to 'tax'"):
        run_parties({"bank": lambda s: psi.intersect(s, ["a"], peer="tax"), "insurer": Session.close})
