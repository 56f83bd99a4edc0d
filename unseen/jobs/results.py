"""A job's result on this party's disk: written whole into a directory that becomes visible by one rename."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa

from mpc import durable
from mpc.data import tables
from unseen.governance import files
from unseen.home import REPORT


def write(
    directory: Path, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, output: Literal["parquet", "csv"]
) -> tuple[Path, bytes]:
    """Write a result, durably. What is read of `batches` is not kept.

    Returns:
        Its path within `directory`, which is made for its owner alone, and the file's SHA-256, 32 bytes.
    """
    files.private_directory(directory)
    path = directory / f"result.{output}"
    tables.write(path, batches, schema=schema, kind=path.suffix)
    with path.open("rb") as written:
        return path, hashlib.file_digest(written, "sha256").digest()


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
