"""Data sets: three kinds of files give the same rows, and what is wrong with one is said by column and row."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpc.data import tables
from mpc.data.tables import DataSet, batches, encode_codes, encode_text, keyed
from mpc.errors import UsageError

ROWS = [("k1", "married", "secret 1"), ("k2", "single", "secret 2"), ("张三", "married", ""), ("k4", "", "x")]
NAMES = ["id", "status", "note"]


def csv_file(folder: Path, content: str | bytes, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(rows: Sequence[Sequence[str]] = ROWS, end: str = "\n") -> str:
    return end.join(",".join(row) for row in [NAMES, *rows]) + end


@pytest.fixture(params=["csv", "parquet", "sqlite", "url"])
def data_set(request: pytest.FixtureRequest, tmp_path: Path) -> DataSet:
    """The rows in each kind of data set, of which two columns may be read, in another order than they lie there."""
    columns = ("status", "id")
    folder = tmp_path / "a b#%20?"
    folder.mkdir()
    if request.param == "csv":
        return DataSet(str(csv_file(folder, lines())), columns)
    if request.param == "parquet":
        table = pa.table({n: [r[i] for r in ROWS] for i, n in enumerate(NAMES)})
        pa_parquet.write_table(table, folder / "people.parquet", row_group_size=2)
        return DataSet(str(folder / "people.parquet"), columns)
    path = (folder if request.param == "sqlite" else tmp_path) / "people.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (id TEXT, status TEXT, note TEXT)")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?)", ROWS)
    connection.close()
    return DataSet(str(path) if request.param == "sqlite" else f"sqlite:///{path}", columns, table="people")


def test_every_kind_gives_the_same_rows_of_the_allowed_columns(data_set: DataSet) -> None:
    found = list(batches(data_set))
    assert {tuple(b.schema.names) for b in found} == {("status", "id")}
    assert [row for b in found for row in zip(*(c.to_pylist() for c in b.columns), strict=True)] == [
        (status, key) for key, status, _ in ROWS
    ]


def test_every_kind_names_a_missing_column(data_set: DataSet) -> None:
    other = DataSet(data_set.source, ("id", "income"), table=data_set.table)
    with pytest.raises(UsageError, match="has no column 'income'; it has: 'id', 'status', 'note'"):
        list(batches(other))


def test_keys_of_every_kind(data_set: DataSet) -> None:
    (batch,) = keyed(data_set, keys=("id",), form="text")
    assert list(batch.keys) == [key.encode() for key, _, _ in ROWS]
    assert batch.columns["status"].to_pylist() == ["married", "single", "married", ""]
    assert batch.rows.tolist() == [1, 2, 3, 4]


# CSV ------------------------------------------------------------------------------------------------------------------


def read(path: Path, *columns: str, encoding: str = "utf-8") -> list[tuple[str, ...]]:
    found = batches(DataSet(str(path), columns or ("id", "status"), encoding=encoding))
    return [row for b in found for row in zip(*(c.to_pylist() for c in b.columns), strict=True)]


WANT = [(key, status) for key, status, _ in ROWS]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + lines().encode(),
        lines(end="\r\n").encode(),
        lines().rstrip("\n").encode(),
        b"\n\n" + lines().replace("k2", "\nk2").encode(),
        lines().replace("k1", '"k1"').replace("single", '"single"').encode(),
    ],
    ids=["byte order mark", "CRLF", "no last line end", "empty lines", "quotes"],
)
def test_csv_as_programs_write_it(tmp_path: Path, content: bytes) -> None:
    assert read(csv_file(tmp_path, content)) == WANT


def test_csv_with_the_line_ends_of_an_old_macintosh(tmp_path: Path) -> None:
    assert read(csv_file(tmp_path, lines(end="\r"))) == WANT


def test_csv_without_any_line_end_is_given_up_before_it_fills_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # a gigabyte of zeros that takes no room on the disk
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="huge.csv"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_csv_in_an_older_encoding(tmp_path: Path) -> None:
    path = csv_file(tmp_path, lines().encode("gb18030"))
    assert read(path, encoding="gb18030") == WANT
    with pytest.raises(UsageError, match=r"Row 3 of people.csv is not utf-8: save the file as UTF-8, or state its enc"):
        read(path)
    with pytest.raises(UsageError, match="There is no encoding 'klingon'"):
        read(path, encoding="klingon")


def test_csv_in_utf_16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="The text of people.csv is not utf-8"):
        read(csv_file(tmp_path, lines().encode("utf-16")))


def test_csv_with_a_header_in_the_wrong_encoding(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="The text of people.csv is not utf-8"):
        read(csv_file(tmp_path, "编号,状态\n1,2\n".encode("gb18030")), "编号")


def test_csv_with_bytes_that_are_not_of_its_stated_encoding(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="The text of people.csv is not gb18030"):
        read(csv_file(tmp_path, lines().encode() + b"\xff,x,x\n"), encoding="gb18030")


@pytest.mark.parametrize(
    ("row", "fields"), [("secret", 1), ("secret,b", 2), ("secret,b,c,d", 4)], ids=["one", "few", "many"]
)
def test_csv_with_a_ragged_line(tmp_path: Path, row: str, fields: int) -> None:
    path = csv_file(tmp_path, lines(ROWS[:2]) + row + "\n" + "k9,x,y\n")
    with pytest.raises(UsageError, match=f"Row 3 of people.csv has {fields} fields where the header has 3") as caught:
        read(path)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_csv_with_an_open_quote(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="check its separators and quotes"):
        read(csv_file(tmp_path, 'id,status\n"k1,x\nk2,y\n'))


def test_csv_that_is_empty_or_has_no_rows(tmp_path: Path) -> None:
    for content in (b"", b"\n\n", b"\xef\xbb\xbf"):
        with pytest.raises(UsageError, match=r"people.csv is empty; a CSV file begins with a line of column names"):
            read(csv_file(tmp_path, content))
    for content in ("id,status", "id,status\n"):
        assert read(csv_file(tmp_path, content)) == []


def test_csv_with_a_column_twice(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "id,status,id\n1,2,3\n")
    with pytest.raises(UsageError, match="has two columns 'id'"):
        read(path)
    assert read(path, "status") == [("2",)]


def test_rows_are_counted_over_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_CSV_BLOCK", 1 << 12)
    content = "id,status\n" + "".join(f"key {i},x\n" for i in range(5000))
    path = csv_file(tmp_path, content + "bad\n")
    with pytest.raises(UsageError, match="Row 5001 of people.csv has 1 fields"):
        read(path)
    path = csv_file(tmp_path, content.encode() + b"\xff,x\n")
    with pytest.raises(UsageError, match="Row 5001 of people.csv is not utf-8"):
        read(path)
    path = csv_file(tmp_path, content + ",x\n")
    with pytest.raises(UsageError, match="row 5001 is no text: it is empty"):
        list(keyed(DataSet(str(path), ("id",)), keys=("id",), form="text"))
    path = csv_file(tmp_path, content + "key 17,x\n")
    with pytest.raises(UsageError, match="Rows 18 and 5001 have the same key"):
        list(keyed(DataSet(str(path), ("id",)), keys=("id",), form="text"))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_characters="\r\n\x00", exclude_categories=["Cs"])), st.text("ab,\"'"))
    )
)
def test_any_text_survives_csv(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "any.csv"
    table = pa.table(
        {"id": pa.array([r[0] for r in rows], pa.string()), "status": pa.array([r[1] for r in rows], pa.string())}
    )
    pa_csv.write_csv(table, path)
    assert read(path) == rows


# Parquet and SQL ------------------------------------------------------------------------------------------------------


def test_files_that_are_not_what_they_are_called(tmp_path: Path) -> None:
    for name in ("people.parquet", "people.db", "people.sqlite3"):
        path = csv_file(tmp_path, lines(), name)
        with pytest.raises(UsageError, match="cannot be read") as caught:
            list(batches(DataSet(str(path), ("id",), table="people")))
        assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match=r"people.txt is none of .csv, .parquet, .sqlite, .sqlite3, .db"):
        batches(DataSet(str(csv_file(tmp_path, "", "people.txt")), ("id",)))
    with pytest.raises(UsageError, match="There is no file"):
        batches(DataSet(str(tmp_path / "none.csv"), ("id",)))


def test_a_parquet_file_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "people.parquet"
    pa_parquet.write_table(pa.table({"id": ["a"] * 1000}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="check that it was copied completely"):
        list(batches(DataSet(str(path), ("id",))))


def test_a_parquet_file_with_text_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "people.parquet"
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"secret\xff"]).buffers())
    pa_parquet.write_table(pa.table({"id": bad, "note": bad}), path)
    for form in ("text", "resident-id"):
        with pytest.raises(
            UsageError, match=r"Column 'id' of people.parquet holds text that is not UTF-8 in rows 1 to 2"
        ):
            list(keyed(DataSet(str(path), ("id",)), keys=("id",), form=form))
    with pytest.raises(UsageError, match="Column 'note' of people.parquet"):
        list(batches(DataSet(str(path), ("note",))))


def test_keys_that_are_floats_or_dates_or_null(tmp_path: Path) -> None:
    path = tmp_path / "people.parquet"
    for column, says in (
        (pa.array([1.0, 2.0]), "not double"),
        (pa.array([1, 2], pa.date32()), "not date32"),
        (pa.array([7, 8]), "Keys of the form text are text, not int64, since numbers have lost their leading zeros"),
        (pa.array([None, "a"]), "row 1 is no text: it is empty"),
    ):
        pa_parquet.write_table(pa.table({"id": column}), path)
        with pytest.raises(UsageError, match=says):
            list(keyed(DataSet(str(path), ("id",)), keys=("id",), form="text"))


def test_no_password_of_a_data_base_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "swordfish.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (id TEXT)")
    connection.close()
    data_set = DataSet(f"sqlite:///{path}", ("income",), table="people")
    with pytest.raises(UsageError, match="The table 'people' has no column 'income'; it has: 'id'") as caught:
        list(batches(data_set))
    assert "swordfish" not in str(caught.value) + repr(data_set)
    with pytest.raises(UsageError, match="no kind of data base") as caught:
        list(batches(DataSet("postgresql://node:swordfish@host:port/x", ("id",), table="people")))
    assert "swordfish" not in str(caught.value)


def test_numbers_beyond_64_bits(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="Column 'id' holds values of several types, or numbers beyond 64 bits, from r"
    ):
        tables._from_rows(DataSet("x.db", ("id",), table="t"), [(2**64,), (-1,)], 1)


def test_a_data_base_needs_a_table_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (id TEXT)")
        connection.execute("CREATE VIEW adults AS SELECT id FROM people")
    connection.close()
    with pytest.raises(UsageError, match="name the one to read"):
        list(batches(DataSet(str(path), ("id",))))
    with pytest.raises(UsageError, match="There is no table 'persons'; there are: 'people', 'adults'"):
        list(batches(DataSet(str(path), ("id",), table="persons")))
    assert list(batches(DataSet(str(path), ("id",), table="adults"))) == []
    with pytest.raises(UsageError, match="no kind of data base that is installed here"):
        list(batches(DataSet("klingon://x", ("id",), table="people")))


def test_a_data_base_is_opened_read_only_and_never_made(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (id TEXT)")
    connection.close()
    found = batches(DataSet(str(path), ("id",), table="people"))
    path.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        list(found)
    assert not path.exists()


def test_a_data_base_column_without_any_value(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (id, note)")
        connection.execute("INSERT INTO people VALUES (NULL, NULL)")
    connection.close()
    data_set = DataSet(str(path), ("id", "note"), table="people")
    with pytest.raises(UsageError, match="row 1 is no text: it is empty"):
        list(keyed(data_set, keys=("id",), form="text"))
    (batch,) = batches(data_set)
    assert encode_text(batch.column("note"), 1, rows=NUMBERS).tobytes() == b"\x00"
    with pytest.raises(UsageError, match="Row 11 has an answer without a code"):
        encode_codes(batch.column("note"), {"a": b"a"}, rows=NUMBERS)


def test_a_data_base_column_of_several_types(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (id)")
        connection.executemany("INSERT INTO people VALUES (?)", [("secret",), (5,)])
    connection.close()
    with pytest.raises(UsageError, match="Column 'id' holds values of several types") as caught:
        list(batches(DataSet(str(path), ("id",), table="people")))
    assert "secret" not in str(caught.value)


# Keys -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 7))
def test_duplicates_are_found_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: list[int], batch_rows: int
) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", batch_rows)
    path = csv_file(tmp_path, "id,n\n" + "".join(f"k{x},{i}\n" for i, x in enumerate(numbers)))
    data_set = DataSet(str(path), ("n", "id"))
    first = {x: numbers.index(x) for x in numbers}
    kept = list(keyed(data_set, keys=("id",), form="text", duplicates="first"))
    assert [k for b in kept for k in b.keys] == [f"k{x}".encode() for x in first]
    assert [n for b in kept for n in b.columns["n"].to_pylist()] == [str(i) for i in first.values()]
    assert [r for b in kept for r in b.rows.tolist()] == [i + 1 for i in first.values()]
    again = [i for i, x in enumerate(numbers) if first[x] != i]
    if again:
        rows = f"Rows {first[numbers[again[0]]] + 1} and {again[0] + 1} have the same key"
        with pytest.raises(UsageError, match=rows):
            list(keyed(data_set, keys=("id",), form="text"))
    else:
        assert sum(len(b.keys) for b in keyed(data_set, keys=("id",), form="text")) == len(numbers)


def test_two_ways_to_write_one_key_are_duplicates(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "id\n11010519491231002X\n１１０１０５19491231002x\n")
    with pytest.raises(UsageError, match="Rows 1 and 2 have the same key"):
        list(keyed(DataSet(str(path), ("id",)), keys=("id",), form="resident-id"))


def test_pairs_of_two_columns(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b\nx,y\nz,x\ny,x\n")
    data_set = DataSet(str(path), ("a", "b"))
    with pytest.raises(UsageError, match="Rows 1 and 3 have the same key"):
        list(keyed(data_set, keys=("a", "b"), form="pair:text"))
    with pytest.raises(UsageError, match=r"pair:text has 2 key column\(s\)"):
        keyed(data_set, keys=("a",), form="pair:text")
    with pytest.raises(UsageError, match="among the data set's"):
        keyed(data_set, keys=("id",), form="text")


def test_columns_are_named_once() -> None:
    for columns in ((), ("id", "id")):
        with pytest.raises(UsageError, match="Name each column to be read once"):
            DataSet("people.csv", columns)


# Answers --------------------------------------------------------------------------------------------------------------

NUMBERS = np.arange(11, 14)


def test_codes_replace_texts() -> None:
    codes = {"married": b"\x01\x02", "single": b"\x00\x00"}
    got = encode_codes(pa.array(["single", "married", "single"]), codes, rows=NUMBERS)
    assert got.tolist() == [[0, 0], [1, 2], [0, 0]]
    assert encode_codes(pa.array([5, 6, 5]), {"5": b"a", "6": b"b"}, rows=NUMBERS).tobytes() == b"aba"
    assert encode_codes(pa.array([True, False]), {"true": b"a", "false": b"b"}, rows=NUMBERS).tobytes() == b"ab"
    assert encode_codes(pa.array([], pa.string()), codes, rows=NUMBERS[:0]).shape == (0, 2)
    assert encode_codes(pa.array(["single"]).dictionary_encode(), codes, rows=NUMBERS).tolist() == [[0, 0]]


@pytest.mark.parametrize("missing", ["divorced", "", None])
def test_a_text_without_a_code(missing: str | None) -> None:
    with pytest.raises(
        UsageError, match="Row 12 has an answer without a code; there are codes for 'married'. Add one."
    ):
        encode_codes(pa.array(["married", missing]), {"married": b"\x01"}, rows=NUMBERS)


def test_codes_have_one_width() -> None:
    for codes in ({}, {"a": b"1", "b": b"22"}):
        with pytest.raises(UsageError, match="codes of one width"):
            encode_codes(pa.array(["a"]), codes, rows=NUMBERS)
    with pytest.raises(UsageError, match="Answers are texts, whole numbers or booleans, not double"):
        encode_codes(pa.array([1.0]), {"1": b"1"}, rows=NUMBERS)


def test_texts_are_padded() -> None:
    assert encode_text(pa.array(["ab", "张", None]), 4, rows=NUMBERS).tobytes() == b"ab\0\0" + "张".encode() + b"\0" * 5
    assert encode_text(pa.array([7]), 1, rows=NUMBERS).tobytes() == b"7"
    for wrong in ("abcde", "a\x00"):
        with pytest.raises(UsageError, match="Row 13 has an answer that does not fit 4 bytes"):
            encode_text(pa.array(["a", "b", wrong]), 4, rows=NUMBERS)
