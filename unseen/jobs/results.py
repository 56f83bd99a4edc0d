"""A job's result on this party's disk: written whole into a directory that becomes visible by one rename.

A result is a table, ``result.parquet`` or ``result.csv``, or further files that its operator names, or both.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa

from mpc import durable
from mpc.data import tables
from mpc.errors import UsageError
from unseen.governance import files
from unseen.home import REPORT

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}\.[a-z]{1,8}")
_TABLE = "result"


def write(
    directory: Path, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, output: Literal["parquet", "csv"]
) -> tuple[Path, bytes]:
    """Write a result, durably. What is read of `batches` is not kept.

    Returns:
        Its path within `directory`, which is made for its owner alone, and the file's SHA-256, 32 bytes.
    """
    files.private_directory(directory)
    path = directory / f"{_TABLE}.{output}"
    tables.write(path, batches, schema=schema, kind=path.suffix)
    with path.open("rb") as written:
        return path, hashlib.file_digest(written, "sha256").digest()


def write_files(directory: Path, named: Mapping[str, bytes]) -> dict[str, bytes]:
    """Write the further files of a result, durably, into `directory`, which is made for its owner alone.

    Returns the SHA-256 of each, 32 bytes, by name. Raises UsageError for a name that is none of this directory's own.
    """
    files.private_directory(directory)
    for name, content in named.items():
        if not _NAME.fullmatch(name) or name == REPORT or name.startswith(f"{_TABLE}."):
            raise UsageError(f"{name!r} cannot be a file beside a result: use small letters, a point and a suffix.")
        files.replace(directory / name, content, mode=files.PRIVATE)
    return {name: hashlib.sha256(content).digest() for name, content in named.items()}


def publish(unfinished: Path, finished: Path, report: Mapping[str, object]) -> None:
    """Put the report into the directory `unfinished`, and give that its final name: result and report are there
    together, or not at all.
    """
    files.private_directory(unfinished)
    write_report(unfinished, report)
    unfinished.rename(finished)
    durable.sync_directory(finished.parent)


def write_report(directory: Path, report: Mapping[str, object]) -> None:
    """Write, or replace, the report in `directory`."""
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    files.replace(directory / REPORT, text.encode(), mode=files.PRIVATE)


def discard(directory: Path) -> None:
    """Remove a directory of this party's own, if it is there."""
    shutil.rmtree(directory, ignore_errors=True)
