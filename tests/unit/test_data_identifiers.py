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


# Organisations, vehicles, telephones, numbers, bytes ------------------------------------------------------------------

CREDIT = "0123456789ABCDEFGHJKLMNPQRTUWXY"
VIN_VALUES = dict(
    zip("0123456789ABCDEFGHJKLMNPRSTUVWXYZ", [*range(10), *range(1, 9), *range(1, 6), 7, 9, *range(2, 10)], strict=True)
)


def credit_check(seventeen: str) -> str:
    """GB 32100-2015: 31 less the weighted sum modulo 31, of which 31 is written as 0."""
    return CREDIT[(31 - sum(CREDIT.index(c) * 3**i for i, c in enumerate(seventeen)) % 31) % 31]


def vin_check(vin: str) -> str:
    """GB 16735-2019, annex A: the weights fall from 8 to 2, are 10 and 0 in the middle, and fall from 9 to 2."""
    weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]
    return "0123456789X"[sum(VIN_VALUES[c] * w for c, w in zip(vin, weights, strict=True)) % 11]


@st.composite
def credit_codes(draw: st.DrawFn) -> str:
    head = draw(st.text(CREDIT, min_size=2, max_size=2)) + f"{draw(st.integers(0, 999999)):06d}"
    head += draw(st.text(CREDIT, min_size=9, max_size=9))
    return head + credit_check(head)


@st.composite
def vins(draw: st.DrawFn) -> str:
    vin = draw(st.text("".join(VIN_VALUES), min_size=17, max_size=17))
    return vin[:8] + vin_check(vin) + vin[9:]


def test_codes_that_everybody_knows() -> None:
    # The codes of two large companies, as they print them on their websites; the VIN that the US rule gives as example.
    for code in ("91440300708461136T", "914403001922038216"):
        assert canonical("credit-code", code) == code.encode()
        assert credit_check(code[:17]) == code[17]
    for vin in ("1M8GDM9AXKP042788", "11111111111111111"):
        assert canonical("vin", vin) == vin.encode()
        assert vin_check(vin) == vin[8]


@given(st.sampled_from(["credit-code", "vin"]), st.data())
def test_the_same_code_written_in_other_ways(form: str, data: st.DataObject) -> None:
    plain = data.draw(credit_codes() if form == "credit-code" else vins())
    wide = "".join(chr(ord(c) + 0xFEE0) for c in plain)
    for written in (plain, plain.lower(), wide, f" {plain[:8]}-{plain[8:]}\u3000", f"{plain[:4]} {plain[4:]}".lower()):
        assert canonical(form, written) == plain.encode()


@given(st.sampled_from(["credit-code", "vin"]), st.data())
def test_one_wrong_character_of_a_code_is_noticed(form: str, data: st.DataObject) -> None:
    plain = data.draw(credit_codes() if form == "credit-code" else vins())
    position = data.draw(st.integers(0, len(plain) - 1))
    other = data.draw(st.sampled_from(CREDIT if form == "credit-code" else "".join(VIN_VALUES)))
    same = (
        plain[position] == other
        if form == "credit-code" or position == 8
        else VIN_VALUES[plain[position]] == VIN_VALUES[other]
    )
    if not same:  # several letters of a VIN share a value, and no check can tell these apart
        with pytest.raises(InvalidIdentifier):
            canonical(form, plain[:position] + other + plain[position + 1 :])


@pytest.mark.parametrize(
    ("form", "written", "problem"),
    [
        ("credit-code", "91440300708461136", "it has 17 characters where 18 belong"),
        ("credit-code", "91440300708461136I", "holds something else than digits and letters, or one of I, O, S, V, Z"),
        ("credit-code", "91440300708461136汉", "holds something else"),
        ("credit-code", "91440300708461136R", "its check character does not fit those before it"),
        ("credit-code", "9144030A708461136T", "third to eighth characters, a place, are not digits"),
        ("credit-code", "-- ", "it is empty"),
        ("vin", "1M8GDM9AXKP04278", "it has 16 characters where 17 belong"),
        ("vin", "1M8GDM9AXKPO42788", "holds something else than digits and letters, or one of I, O, Q"),
        ("vin", "1M8GDM9A1KP042788", "its ninth character, the check digit, does not fit the others"),
        ("phone", "12800138000", "it is not 11 digits from 13 to 19 on, with or without"),
        ("phone", "1380013800", "it is not 11 digits"),
        ("phone", "+1 13800138000", "it is not 11 digits"),
        ("phone", "8613800138000x", "it is not 11 digits"),
        ("phone", "010-62770000", "it is not 11 digits"),
        ("phone", " ", "it is empty"),
        ("integer", "1.5", "it is not a whole number of at most 1000 characters"),
        ("integer", "--1", "it is not a whole number"),
        ("integer", "+-1", "it is not a whole number"),
        ("integer", "1" * 1001, "at most 1000 characters"),
        ("integer", "", "it is empty"),
    ],
)
def test_what_is_wrong_with_a_code_is_said_and_the_code_is_not(form: str, written: str, problem: str) -> None:
    with pytest.raises(InvalidIdentifier, match=problem) as caught:
        canonical(form, written)
    assert not written.strip() or written not in str(caught.value)
    good = {"credit-code": "91440300708461136T", "vin": "1M8GDM9AXKP042788", "phone": "13800138000", "integer": "7"}[
        form
    ]
    with pytest.raises(InvalidIdentifier, match=f"row 5 is no {form.replace('-', ' ')}: .*{problem}"):
        canonical_columns(form, [good, good.lower(), written], first_row=3)


@pytest.mark.parametrize(
    "written",
    [
        "13800138000",
        "+8613800138000",
        "+86 138 0013 8000",
        "0086-138-0013-8000",
        "8613800138000",
        "(+86) 138-0013-8000",
        "138‑0013–8000",
        "＋８６ １３８００１３８０００",
    ],
)
def test_one_telephone_written_in_many_ways(written: str) -> None:
    assert canonical("phone", written) == b"+8613800138000"
    assert list(canonical_columns("phone", pa.array([13800138000]))) == [b"+8613800138000"]


@given(st.lists(st.integers(-(10**20), 10**20) | st.sampled_from([0, -0, 10**400])))
def test_integers_are_their_digits_whoever_writes_them(values: list[int]) -> None:
    want = [str(v).encode() for v in values]
    assert list(canonical_columns("integer", values)) == want
    assert list(canonical_columns("integer", [f" {'-' * (v < 0)}00{abs(v)}" for v in values])) == want
    assert list(canonical_columns("integer", [f"{'-' if v < 0 else '+'}{abs(v)}" for v in values])) == want
    small = np.array([v for v in values if abs(v) < 2**63], dtype=np.int64)
    for column in (small, pa.array(small), pa.chunked_array([small[:2], small[2:]])):
        assert list(canonical_columns("integer", column)) == [str(v).encode() for v in small.tolist()]


def test_minus_nothing_is_nothing_and_nothing_else_is_a_number() -> None:
    assert canonical("integer", "-000") == canonical("integer", "0") == canonical("integer", 0) == b"0"
    for wrong in ([1.5], [True]):
        with pytest.raises(UsageError, match="Row 1 holds a"):
            canonical_columns("integer", wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not double"):
        canonical_columns("integer", np.array([1.0]))  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=40) | st.just(b"\x00\n" * 5000)))
def test_bytes_are_left_alone(values: list[bytes]) -> None:
    for column in (values, pa.array(values, pa.binary()), pa.array(values, pa.large_binary()).dictionary_encode()):
        assert list(canonical_columns("bytes", column)) == values
    rows = pa.array([v[:4].ljust(4) for v in values], pa.binary(4))
    assert list(canonical_columns("bytes", rows)) == [v[:4].ljust(4) for v in values]


def test_text_counts_as_its_bytes_and_is_not_normalised() -> None:
    assert list(canonical_columns("bytes", ["ａ ", b"a", ""])) == ["ａ ".encode(), b"a", b""]
    assert list(canonical_columns("bytes", pa.array(["ａ", "b"]))) == ["ａ".encode(), b"b"]
    with pytest.raises(InvalidIdentifier, match="row 2 is no bytes: it is missing"):
        canonical_columns("bytes", [b"a", None])
    with pytest.raises(InvalidIdentifier, match="row 1 is no bytes: it is missing"):
        canonical_columns("bytes", [None])
    with pytest.raises(InvalidIdentifier, match="row 8 is no bytes: it is longer than 65535 bytes"):
        canonical_columns("bytes", [bytes(65535), bytes(65536)], first_row=7)
    with pytest.raises(UsageError, match="Row 2 holds a int: give keys as bytes or str"):
        canonical_columns("bytes", ["a", 7])
    with pytest.raises(UsageError, match="half a surrogate pair"):
        canonical_columns("bytes", ["\ud800"])
    for numbers in (pa.array([7]), np.array([7])):
        with pytest.raises(UsageError, match="for numbers take the form integer"):
            canonical_columns("bytes", numbers)
    with pytest.raises(UsageError, match="A column of keys has one dimension, not 2"):
        canonical_columns("bytes", np.zeros((2, 3), dtype=np.uint8))
    with pytest.raises(UsageError, match="cast it to binary or string first"):
        canonical_columns("bytes", pa.array([1.5]))


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=8), st.text("ab \n~\x7f", max_size=4))
def test_the_short_way_for_plain_text_gives_what_the_long_one_gives(a: str, b: str) -> None:
    try:
        alone = [canonical("text", v) for v in (a, b)]
    except InvalidIdentifier:
        return
    assert list(canonical_columns("text", [a, b])) == alone
    assert list(canonical_columns("text", [b, a, "ﬁ"])) == [*reversed(alone), b"fi"]  # all of it the long way


# Several columns ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=5)), max_size=6))
def test_several_columns_are_one_key_and_no_two_share_their_bytes(values: list[tuple[bytes, bytes]]) -> None:
    keys = list(canonical_columns("bytes+bytes", [a for a, _ in values], [b for _, b in values]))
    assert keys == [len(a).to_bytes(2, "big") + a + len(b).to_bytes(2, "big") + b for a, b in values]
    assert len(set(keys)) == len(set(values))


def test_several_columns_by_example() -> None:
    assert canonical("phone+text", "138 0013 8000", " Ｌi ") == b"\x00\x0e+8613800138000\x00\x02Li"
    with pytest.raises(InvalidIdentifier, match="row 2 is no phone"):
        canonical_columns("text+phone", ["a", "b"], ["13800138000", "1"])
    with pytest.raises(UsageError, match=r"A key of the form text\+vin has 2 column"):
        canonical_columns("text+vin", ["a"])
    with pytest.raises(UsageError, match=r"The columns of a key have \[1, 2, 1\] rows; give equally many"):
        canonical_columns("text+bytes+text", ["a"], [b"a", b"b"], ["a"])
    part = pa.array(["x", "ab", "c"]).slice(1)  # whose offsets do not begin at zero
    assert list(canonical_columns("text+text", part, ["d", "e"])) == [b"\x00\x02ab\x00\x01d", b"\x00\x01c\x00\x01e"]


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
