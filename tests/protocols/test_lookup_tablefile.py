"""Table files: what is written is read, and what is not wholly right is not read at all."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import UsageError
from protocols.lookup.tablefile import (
    MAX_ROWS,
    MIN_ROWS,
    DamagedTable,
    Table,
    TableSpec,
    assemble,
    load,
    save,
    size_class,
)

SPEC = TableSpec("intl", "婚姻", 7, "resident-id", 3, b"abc", 1280, bytes(range(32)))


def example(spec: TableSpec = SPEC) -> Table:
    random = np.random.default_rng(1)
    tags = np.sort(random.choice(1 << 40, spec.rows, replace=False).astype(np.uint64))
    return assemble(spec, tags, random.integers(0, 256, (spec.rows, spec.answer_bytes), dtype=np.uint8))


@given(st.integers(0, MAX_ROWS))
def test_a_size_class_is_the_next_one_of_its_form(records: int) -> None:
    rows = size_class(records)
    mantissa = rows
    while mantissa >= 8:
        assert mantissa % 2 == 0
        mantissa //= 2
    assert mantissa in (4, 5, 6, 7)
    assert rows >= max(records, MIN_ROWS)
    assert size_class(rows) == rows
    if records > MIN_ROWS:
        assert rows * 4 < records * 5 + 4
        assert size_class(records - 1) <= rows


def test_size_classes_by_example() -> None:
    assert [size_class(n) for n in (0, 1, 1024, 1025, 1281, 1_000_000, 10_000_000)] == [
        1024,
        1024,
        1024,
        1280,
        1536,
        1 << 20,
        5 << 21,
    ]
    for n in (-1, MAX_ROWS + 1):
        with pytest.raises(UsageError, match="split the data set"):
            size_class(n)


@pytest.mark.parametrize("default", [None, b"abc"])
def test_what_is_saved_is_loaded(tmp_path: Path, default: bytes | None) -> None:
    table = example(replace(SPEC, default_answer=default))
    path = tmp_path / "table.bin"
    save(table, path)
    assert hashlib.sha256(path.read_bytes()).digest() == table.hash
    assert path.stat().st_size == table.spec.file_bytes
    again = load(path, table_hash=table.hash)
    assert again.spec == table.spec
    assert again.hash == table.hash
    assert (again.tags == table.tags).all()
    assert (again.masked == table.masked).all()
    assert not again.tags.flags.writeable


def test_the_header_is_what_its_documentation_says() -> None:
    header = SPEC.header()
    assert len(header) == 128
    want = b"unseen table v1\n" + (128).to_bytes(4, "little") + (7).to_bytes(8, "little") + (1280).to_bytes(8, "little")
    want += (3).to_bytes(2, "little") + b"\x01abc" + b"\x04\x00intl" + b"\x06\x00" + "婚姻".encode()
    want += b"\x0b\x00resident-id" + b"\x20\x00" + bytes(range(32))
    assert header == want.ljust(128, b"\x00")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "table.bin"
    save(example(), path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        save(example(), path)
    assert path.read_bytes() == before


def test_a_full_disk_leaves_no_half_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(example(), tmp_path / "table.bin")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    save(example(), tmp_path / "table.bin")


def test_every_damage_is_noticed(tmp_path: Path) -> None:
    table = example()
    path = tmp_path / "table.bin"
    save(table, path)
    whole = path.read_bytes()
    positions = [*range(len(SPEC.header())), *range(len(SPEC.header()), len(whole), 997), len(whole) - 1]
    for position in positions:
        for bit in (0, 7):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(DamagedTable):
                load(path, table_hash=table.hash)
    for cut in (b"", whole[:15], whole[:45], whole[:127], whole[:128], whole[:-1], whole + b"\x00"):
        path.write_bytes(cut)
        with pytest.raises(DamagedTable):
            load(path, table_hash=table.hash)
    path.write_bytes(whole)
    with pytest.raises(DamagedTable, match="not the table that the manifest names"):
        load(path, table_hash=bytes(32))
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none", table_hash=table.hash)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_table(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "arbitrary.bin"
    for content in (data, SPEC.header()[:46] + data, SPEC.header() + data):
        path.write_bytes(content)
        with pytest.raises(DamagedTable):
            load(path, table_hash=hashlib.sha256(content).digest())


def test_columns_that_are_no_table() -> None:
    table = example()
    with pytest.raises(DamagedTable, match="1280 rows with 3-byte answers"):
        assemble(SPEC, table.tags[:-1], table.masked[:-1])
    with pytest.raises(DamagedTable, match="1280 rows with 3-byte answers"):
        assemble(SPEC, table.tags, table.masked[:, :2])
    with pytest.raises(DamagedTable, match="do not strictly increase"):
        assemble(SPEC, np.repeat(table.tags[::2], 2), table.masked)
    for change, text in (
        ({"rows": 1281}, "not a size class"),
        ({"rows": 0}, "not a size class"),
        ({"answer_bytes": 0}, "1 to 64"),
        ({"default_answer": b""}, "default answer has 0 bytes"),
        ({"epoch": 0}, "numbered from 1"),
    ):
        with pytest.raises(UsageError, match=text):
            replace(SPEC, **change)


def test_finding_tags_at_the_ends_and_between() -> None:
    table = example()
    tags = np.array([table.tags[0], table.tags[-1], 0, 2**64 - 1, table.tags[5] + np.uint64(1)], dtype=np.uint64)
    found, masked = table.find(tags)
    assert found.tolist() == [True, True, False, False, False]
    assert (masked[:2] == table.masked[[0, -1]]).all()
    found, masked = table.find(np.empty(0, dtype=np.uint64))
    assert (found.shape, masked.shape) == ((0,), (0, 3))
