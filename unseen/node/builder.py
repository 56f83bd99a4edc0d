"""Builds the table of one epoch, in a process of its own, at low priority: the current epoch goes on being served
meanwhile.

The product's process starts it (`unseen.node.rotation`); nobody else should. It reads the data set, draws the epoch's
key, writes ``table.bin`` and ``key.sealed`` into the directory that it is given, and says on its standard output how
it went. It signs nothing.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.data import tables
from mpc.data.tables import DataSet, Keyed
from mpc.errors import MpcError
from mpc.kernels import wipe
from mpc.rng import Rng
from mpc.session import Progress
from protocols.lookup import table as lookup
from protocols.lookup import tablefile
from unseen import process
from unseen.governance import files
from unseen.governance.documents import to_base64
from unseen.home import Home
from unseen.node import epochs, pipes, sealing, settings
from unseen.node.epochs import EpochStore
from unseen.node.pipes import Built
from unseen.node.settings import Product

NICENESS = 10
LOG_EVERY_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProductRecords:
    """The records behind a product. Each iteration reads the data set from its beginning."""

    home: Home
    product: Product

    def __iter__(self) -> Iterator[lookup.Records]:
        """Batches of canonical keys and encoded answers."""
        data = self.product.data
        source = DataSet(str(settings.source_path(self.home, self.product)), columns=data.columns, table=data.table)
        for batch in tables.keyed(source, keys=data.keys, form=self.product.form, duplicates=data.duplicates):
            yield lookup.Records(keys=batch.keys, answers=self._answers(batch))

    def _answers(self, batch: Keyed) -> NDArray[np.uint8]:
        column, width = batch.columns[self.product.data.answer], self.product.answer_bytes
        if self.product.data.codes is None:
            return tables.encode_text(column, width, rows=batch.rows)
        codes = {text: self.product.encode(text) for text in self.product.data.codes}
        return tables.encode_codes(column, codes, rows=batch.rows)


def build(home: Home, product: Product, *, epoch: int, into: Path) -> bytes:
    """Build the table of `epoch` into the directory `into`. Returns its hash, 32 bytes.

    Raises:
        UsageError: the data set cannot be read as the settings say.
        OSError: the disk is full.
    """
    last = time.monotonic()

    def progress(done: Progress) -> None:
        nonlocal last
        if time.monotonic() - last > LOG_EVERY_S:
            last = time.monotonic()
            _log.info("epoch %d: %d records so far", epoch, done.done)

    built = lookup.build(
        ProductRecords(home, product),
        suite=suites.get(product.suite),
        product=product.name,
        epoch=epoch,
        key_form=product.form,
        answer_bytes=product.answer_bytes,
        default_answer=None if product.default_answer is None else product.encode(product.default_answer),
        rng=Rng(),
        progress=progress,
    )
    try:
        storage = sealing.storage_key(home.storage_key)
        sealed = sealing.seal(built.private_key, storage=storage, purpose=f"{product.name}/{epoch}")
    finally:
        wipe(built.private_key)
    tablefile.save(built.table, into / epochs.TABLE)
    files.create(into / epochs.KEY, sealed, mode=files.PRIVATE)
    _log.info("epoch %d: table of %d records in %d rows", epoch, built.records, built.table.spec.rows)
    return built.table.hash


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m unseen.node.builder``. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--product", required=True)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--into", type=Path, required=True)
    given = parser.parse_args(arguments)
    process.log_to_stderr(f"builder {given.product}")
    output = pipes.private_output()
    # The epoch that this process builds is nobody's before it is published, so it may end anywhere, and at once.
    pipes.follow_parent(on_line=lambda _: None, on_end=lambda: os._exit(1))
    os.nice(NICENESS)
    home, began = Home(given.home), time.monotonic()
    try:
        product = settings.load(home).find(given.product)
        if product is None:
            raise settings.no_product(given.product)
        with EpochStore(home, product.name).building_lock(timeout_s=30.0):
            table_hash = build(home, product, epoch=given.epoch, into=given.into)
    except MpcError as error:
        result = Built(problem=str(error))
    except OSError as error:
        result = Built(problem=f"{error.strerror} ({error.filename or 'disk'})")
    except Exception as error:
        process.log_place(_log, "building failed", error)
        result = Built(problem=f"internal error ({type(error).__name__})")
    else:
        result = Built(table_hash=to_base64(table_hash), seconds=time.monotonic() - began)
    output.write(pipes.line(result))
    output.flush()
    return 0 if result.table_hash else 1


if __name__ == "__main__":
    sys.exit(main())
