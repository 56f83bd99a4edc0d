"""Canonical forms: what people write in many ways is one key, and what is no identifier is named by row."""

from __future__ import annotations

import calendar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.data.identifiers import (
    InvalidIdentifier,
    canonical,
    canonical_columns,
    forms,
    key_columns,
    pair,
)
from mpc.errors import UsageError

WEIGHTS = [2 ** (17 - i) % 11 for i in range(17)]


def with_check(seventeen: str) -> str:
    """The ID whose first 17 digits are given. ISO 7064, MOD 11-2, written as the standard's recursion."""
    p = 10
    for digit in seventeen:
        p = (p + int(digit)) % 10 or 10
    remainder = sum(int(d) * w for d, w in zip(seventeen, WEIGHTS, strict=True)) % 11
    check = (12 - remainder) % 11
    return seventeen + "0123456789X"[check]


@st.composite
def resident_ids(draw: st.DrawFn) -> str:
    area = draw(st.integers(110000, 659999))
    birth = draw(st.dates(min_value=__import__("datetime").date(1800, 1, 1)))
    return with_check(f"{area}{birth:%Y%m%d}{draw(st.integers(0, 999)):03d}".zfill(17))


def test_the_example_of_the_standard() -> None:
    # GB 11643-1999 prints these two: 11010519491231002X and 440524188001010014.
    assert canonical("resident-id", "11010519491231002X") == b"11010519491231002X"
    assert canonical("resident-id", "440524188001010014") == b"440524188001010014"
    assert with_check("11010519491231002") == "11010519491231002X"


@given(resident_ids())
def test_the_same_id_written_in_other_ways(plain: str) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) for c in plain)
    for written in (
        plain,
        plain.lower(),
        wide,
        f" {plain}\u3000",
        f"{plain[:6]} {plain[6:14]} {plain[14:]}",
        wide.lower(),
    ):
        assert canonical("resident-id", written) == plain.encode()


@given(resident_ids(), st.integers(0, 17), st.integers(1, 9))
def test_one_wrong_digit_is_noticed(plain: str, position: int, by: int) -> None:
    digits = "0123456789X" if position == 17 else "0123456789"
    wrong = digits[(digits.index(plain[position]) + by) % len(digits)]
    with pytest.raises(InvalidIdentifier):
        canonical("resident-id", plain[:position] + wrong + plain[position + 1 :])


@given(resident_ids(), st.integers(0, 15))
def test_two_swapped_digits_are_noticed(plain: str, position: int) -> None:
    a, b = plain[position : position + 2]
    if a != b:
        with pytest.raises(InvalidIdentifier):
            canonical("resident-id", plain[:position] + b + a + plain[position + 2 :])


@given(st.integers(1800, 2400), st.integers(0, 19), st.integers(0, 39))
def test_the_date_is_one_of_the_calendar(year: int, month: int, day: int) -> None:
    written = with_check(f"110105{year:04d}{month:02d}{day:02d}002")
    if 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]:
        assert canonical("resident-id", written) == written.encode()
    else:
        with pytest.raises(InvalidIdentifier, match="date of birth is not a date"):
            canonical("resident-id", written)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "it is empty"),
        ("  \u3000", "it is empty"),
        ("11010519491231002", "it has 17 characters where 18 belong"),
        ("110105491231002", "it has 15 characters where 18 belong"),
        ("11010519491231002XX", "it has 19 characters where 18 belong"),
        ("11010519491231O02X", "something else than 17 digits"),
        ("1101051949123100X2", "something else than 17 digits"),
        ("११०१०५१९४९१२३१००२X", "something else than 17 digits"),
        ("110105\x0019491231002X"[:18], "something else than 17 digits"),
        ("110105194912310021", "check character does not fit"),
        ("110105194902290028", "date of birth is not a date"),
        ("110105000012310028", "date of birth is not a date"),
    ],
)
def test_what_is_wrong_is_said_and_the_id_is_not(written: str, problem: str) -> None:
    with pytest.raises(InvalidIdentifier, match=problem) as caught:
        canonical("resident-id", written)
    assert caught.value.row == 0
    assert str(caught.value).startswith("the key is no resident id: ")
    assert written not in str(caught.value) or not written.strip()
    with pytest.raises(InvalidIdentifier, match=f"row 12 is no resident id: .*{problem}") as caught:
        canonical_columns("resident-id", ["11010519491231002X", "１１０１０５19491231002x", written], first_row=10)
    assert caught.value.row == 12


def test_a_missing_value_is_an_empty_one() -> None:
    for form in ("resident-id", "text"):
        with pytest.raises(InvalidIdentifier, match="row 2 is no .*: it is empty"):
            canonical_columns(form, ["11010519491231002X", None])


@given(st.lists(resident_ids(), max_size=20), st.data())
def test_a_column_is_its_values(plain: list[str], data: st.DataObject) -> None:
    written = [data.draw(st.sampled_from([p, p.lower(), p + " "])) for p in plain]
    want = [p.encode() for p in plain]
    columns = [written, pa.array(written, pa.string()), pa.array(written, pa.large_string())]
    columns += [pa.chunked_array([columns[1][:3], columns[1][3:]]), pa.array(written, pa.string()).dictionary_encode()]
    columns += [pa.array(["x", *written, "y"], pa.large_string()).slice(1, len(written))]
    for column in columns:
        assert list(canonical_columns("resident-id", column)) == want


def test_numbers_are_their_digits() -> None:
    column = pa.array([440524188001010014], pa.int64())
    assert list(canonical_columns("resident-id", column)) == [b"440524188001010014"]
    for wrong in (pa.array([1.5]), pa.array([b"x"]), pa.array([True])):
        with pytest.raises(UsageError, match="Keys are text or whole numbers"):
            canonical_columns("text", wrong)


def test_text_is_normalised_and_trimmed() -> None:
    assert canonical("text", " ＡＢＣ　ｄ1 ") == b"ABC d1"
    assert canonical("text", "e\u0301") == canonical("text", "é") == "é".encode()
    assert canonical("text", "ﬁ") == b"fi"
    assert canonical("text", "a" * 1024) == b"a" * 1024
    with pytest.raises(InvalidIdentifier, match="longer than 1024 bytes"):
        canonical("text", "a" * 1025)
    with pytest.raises(InvalidIdentifier, match="it is empty"):
        canonical("text", " \u00a0")


@pytest.mark.parametrize("unseen", ["\x00", "\n", "\x1b", "\u200b", "\u200e", "\u202e", "\ufeff", "\u00ad", "\u2028"])
def test_a_text_with_a_character_that_nobody_sees_is_no_key(unseen: str) -> None:
    with pytest.raises(InvalidIdentifier, match="row 2 is no text: it holds a line break or another character that no"):
        canonical_columns("text", ["ab", f"a{unseen}b"])
    assert canonical("text", "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645")  # Persian needs the non-joiner


@pytest.mark.parametrize("form", ["text", "resident-id"])
def test_bytes_of_a_command_line_that_are_no_text(form: str) -> None:
    with pytest.raises(InvalidIdentifier, match=r"the key is no .*: it is not Unicode text") as caught:
        canonical(form, "secret\udcff")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    with pytest.raises(InvalidIdentifier, match="row 7 is no"):
        canonical_columns(form, [None, "secret\ud800"], first_row=6)
    with pytest.raises(UsageError, match="Row 1 holds a int: give keys as str"):
        canonical_columns(form, [7])  # type: ignore[list-item]


def test_numbers_are_no_texts() -> None:
    with pytest.raises(UsageError, match="numbers have lost their leading zeros: convert the column"):
        canonical_columns("text", pa.array([7]))
    with pytest.raises(UsageError, match="leading zeros"):
        canonical_columns("pair:text", pa.array(["a"]), pa.array([7]).dictionary_encode())


@given(st.text())
def test_the_canonical_form_of_a_text_is_its_own(value: str) -> None:
    try:
        once = canonical("text", value)
    except InvalidIdentifier:
        return
    assert canonical("text", once.decode()) == once


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30))
def test_pairs_are_unordered_and_unambiguous(a: bytes, b: bytes, c: bytes, d: bytes) -> None:
    if a == b or c == d:
        return
    assert pair(a, b) == pair(b, a)
    assert (pair(a, b) == pair(c, d)) == ({a, b} == {c, d})


def test_pairs_by_example() -> None:
    assert pair(b"b", b"a") == b"\x00\x01a\x00\x01b"
    assert canonical("pair:text", "ｂ", "a") == b"\x00\x01a\x00\x01b"
    with pytest.raises(InvalidIdentifier, match="both keys are the same"):
        pair(b"a", b"a")
    with pytest.raises(InvalidIdentifier, match="the key is no pair:text: both keys are the same"):
        canonical("pair:text", "a", " a")


@given(st.lists(st.tuples(resident_ids(), resident_ids()).filter(lambda p: p[0] != p[1]), max_size=10))
def test_columns_of_pairs_are_their_pairs(pairs: list[tuple[str, str]]) -> None:
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    want = [pair(x.encode(), y.encode()) for x, y in pairs]
    assert list(canonical_columns("pair:resident-id", a, b)) == want
    assert list(canonical_columns("pair:resident-id", b, a)) == want


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["a", "bc", "def", "g"])), max_size=10))
def test_columns_of_pairs_of_texts(pairs: list[tuple[str, str]]) -> None:
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    same = [row for row, (x, y) in enumerate(pairs, 5) if x == y]
    if same:
        with pytest.raises(InvalidIdentifier, match=f"row {same[0]} is no pair:text: both keys are the same"):
            canonical_columns("pair:text", a, b, first_row=5)
    else:
        assert list(canonical_columns("pair:text", a, b)) == [pair(x.encode(), y.encode()) for x, y in pairs]


def test_misuse() -> None:
    plain = ["resident-id", "credit-code", "vin", "phone", "integer", "text", "bytes"]
    assert list(forms()) == [*plain, *(f"pair:{name}" for name in plain)]
    assert [key_columns(f) for f in ("text", "pair:text", "text+vin+bytes")] == [1, 2, 3]
    with pytest.raises(UsageError, match="There is no key form 'passport'; choose one of resident-id, credit-code"):
        canonical("passport", "x")
    for wrong in ("", "text+", "pair:text+vin", "pair:", "text+pair:text", "pair:pair:text"):
        with pytest.raises(UsageError, match="There is no key form"):
            key_columns(wrong)
    with pytest.raises(UsageError, match=r"has 2 column\(s\), 1 given"):
        canonical("pair:text", "x")
    with pytest.raises(UsageError, match="have 1 and 2 rows"):
        canonical_columns("pair:text", ["a"], ["b", "c"])


def test_no_rows() -> None:
    for form in forms():
        keys = canonical_columns(form, *[[]] * key_columns(form))
        assert (len(keys), keys.data.dtype) == (0, np.uint8)
        assert len(canonical_columns(form, *[pa.array([], pa.string())] * key_columns(form))) == 0
