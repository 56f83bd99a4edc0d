"""What the learning jobs begin with: the rows that all parties have, labels, bins and weights of evidence.

    aligned     the common rows: which they are, and this party's columns of them        protocols/psi/align.py
    split       by the seed that all parties drew together: rows to train on, rows kept back
    evidence    bins of each column, weighed by the label party's labels                 protocols/learning/binning.py

``learning.binning`` is no more than that; ``unseen.jobs.learning_work`` goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.rng import Rng
from protocols.learning import binning, columns
from protocols.learning import bins as binned
from protocols.learning.binning import Binned
from protocols.learning.bins import Bins
from protocols.learning.preparation import values_for
from protocols.learning.stages import Stages
from protocols.psi.align import align
from unseen.jobs.learning import HELD_OUT, BinningParameters, Kind, Labelled, Parameters, TwoValued, features_of
from unseen.jobs.task import Task, Yield, read_all, too_small

Labels = NDArray[np.int64]

LEAST_ROWS = 40
"""Fewest rows to train on."""

ALIGNED, PREPARED = 1, 2
"""Stages; what they came to is gone on with after a loss."""


def bin_columns(task: Task, parameters: BinningParameters) -> Yield:
    """``learning.binning``: this party's part. Called in its worker process."""
    with stages_of(task) as stages:
        rows = aligned(task, stages, parameters, holdout=0.0)
        evidence = evidence_of(task, stages, parameters, rows, own_labels(task, parameters, rows))
    result = table_of(task.session.me, evidence)
    return Yield(
        protocol=task.job.head.operator,
        rows=rows.read,
        result_rows=result.num_rows,
        sizes=rows.all_sizes,
        learned=(*rows.learned, *evidence.learned),
        schema=result.schema,
        batches=result.to_batches(),
        files={"bins.json": as_json([one.to_json() for one in evidence.bins])},
    )


def stages_of(task: Task) -> AbstractContextManager[Stages]:
    """Where the job keeps what its stages came to."""
    work = f"{task.job.head.operator} {task.id}"
    return Stages.open(task.session, task.workdir / "stages", task.checkpoint_key, work=work)


# The rows in common ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """The common rows, as this party has them.

    Attributes:
        keys: the key columns, in the common order.
        table: the other columns.
        read: how many rows the data set has.
        sizes: how many different keys each other party has.
        operator: what found them.
        learned: what this party learned by that, a sentence each.
        train: (m,) int64, the rows to train on, increasing.
        held_out: (n - m,) int64, the others.
    """

    keys: pa.Table = field(repr=False)
    table: pa.Table = field(repr=False)
    read: int
    sizes: Mapping[str, int]
    operator: str
    learned: tuple[str, ...]
    train: NDArray[np.int64] = field(repr=False)
    held_out: NDArray[np.int64] = field(repr=False)

    @property
    def number(self) -> int:
        """How many there are."""
        return int(self.table.num_rows)

    def training(self, column: str) -> pa.ChunkedArray:
        """A column of the rows to train on."""
        return self.table[column].take(pa.array(self.train))

    @property
    def all_sizes(self) -> dict[str, int]:
        """For the report."""
        others = {f"{name} keys": size for name, size in self.sizes.items()}
        return {"rows": self.read, **others, "common_rows": self.number}


def aligned(task: Task, stages: Stages, parameters: Labelled, *, holdout: float) -> Rows:
    """Find the common rows, or take them from where they lie since an earlier worker found them."""
    if stages.done < ALIGNED:
        table = read_all(task)
        keys = tuple(table[name] for name in task.mine.keys)
        found = align(
            task.session,
            keys if len(keys) > 1 else keys[0],
            leader=parameters.label_party,
            suite=task.job.head.suite,
            form=task.mine.form,
            duplicates=parameters.duplicates,
        )
        told = {
            "read": table.num_rows,
            "sizes": dict(found.sizes),
            "operator": found.operator,
            "learned": found.learned,
        }
        stages.put(ALIGNED, _to_bytes(table.take(pa.array(found.rows))), json.dumps(told).encode())
    raw, told_bytes = stages.get(ALIGNED)
    table, told = _from_bytes(raw), json.loads(told_bytes)
    if table.num_rows < task.minimum_result:
        raise too_small(task.minimum_result)
    train, held_out = split(table.num_rows, holdout, seed=stages.run)
    if len(train) < LEAST_ROWS:
        raise UsageError(
            f"The parties have {table.num_rows} rows in common, of which {len(train)} are to train on: at least "
            f"{LEAST_ROWS} are needed. Bring more rows, or check that all parties' keys mean the same."
        )
    return Rows(
        keys=table.select(task.mine.keys),
        table=table.select(task.mine.columns),
        read=told["read"],
        sizes=told["sizes"],
        operator=told["operator"],
        learned=tuple(told["learned"]),
        train=train,
        held_out=held_out,
    )


def split(n: int, holdout: float, *, seed: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on, and rows kept back: both increasing, the same at all who know the seed."""
    order = Rng.from_seed(seed).permutation(n)
    kept_back = round(n * holdout)
    return np.sort(order[kept_back:]), np.sort(order[:kept_back])


def labels_of(table: pa.Table, parameters: TwoValued) -> NDArray[np.int64]:
    """(n,) of 0 and 1: which rows are bad.

    Raises:
        UsageError: a missing label, labels other than two values, or none of them the bad one.
    """
    name = parameters.label
    values = columns.texts(table[name], name)
    gone = sum(value is None for value in values)
    if gone:
        raise UsageError(
            f"The label column {name!r} has no value in {gone} of the common rows: fill them in, or leave these rows "
            "out of the data set."
        )
    texts = np.array([str(value).strip().casefold() for value in values], dtype=np.str_)
    found = sorted(set(texts.tolist()))
    if len(found) != 2:
        raise UsageError(
            f"The label column {name!r} has {len(found)} different values in the common rows, and a label has two: "
            "make a column of zeros and ones of it."
        )
    bad = str(parameters.bad).strip().casefold()
    if bad not in found:
        raise UsageError(
            f"parameters.bad is none of the two values of the label column {name!r} in the common rows: name the one "
            "that is the bad one."
        )
    result: Labels = (texts == bad).astype(np.int64)
    return result


def own_labels(task: Task, parameters: TwoValued, rows: Rows) -> Labels | None:
    """At the label party, (n,) of 0 and 1."""
    return labels_of(rows.table, parameters) if task.session.me == parameters.label_party else None


# Bins and weights of evidence -----------------------------------------------------------------------------------------


def kind_of(table: pa.Table, name: str, given: Mapping[str, Kind]) -> Kind:
    """What a column is: as given; numbers by type, or text that is all numbers, as in CSV files; or categories."""
    if name in given:
        return given[name]
    if columns.is_number(table, name):
        return "numeric"
    found = columns.array(table[name], name)
    if pa.types.is_boolean(found.type) or found.null_count == len(found):
        return "category"
    try:
        columns.numbers(found, name)
    except UsageError:
        return "category"
    return "numeric"


def first_bins(rows: Rows, names: tuple[str, ...], kinds: Mapping[str, Kind], *, most: int) -> dict[str, Bins]:
    """Bins by the training rows' values alone, before anybody has counted labels."""
    made = {}
    for name in names:
        column = rows.training(name)
        if kind_of(rows.table, name, kinds) == "numeric":
            made[name] = binned.equal_frequency(columns.numbers(column, name), most, feature=name)
        else:
            made[name] = binned.by_category(columns.texts(column, name), feature=name, most=most)
    return made


@dataclass(frozen=True)
class Evidence:
    """What binning came to here.

    Attributes:
        bins: of the own columns, in the job's order, with WOE and IV.
        others: at the label party, IV by party and column.
        learned: a sentence each.
    """

    bins: tuple[Bins, ...]
    others: Mapping[str, Mapping[str, float]]
    learned: tuple[str, ...]


def weighed(task: Task, parameters: Parameters | BinningParameters, rows: Rows, labels: Labels | None) -> Evidence:
    """Bins of the training rows, weighed by the label party's labels."""
    session, suite = task.session, task.job.head.suite
    names = features_of(task.mine, parameters)
    kinds = parameters.kinds.get(session.me, {})
    features = {}
    for name, bins in first_bins(rows, names, kinds, most=parameters.bins).items():
        features[name] = Binned.of(bins, values_for(bins, {name: rows.training(name)}))
    cell, merging = parameters.minimum_cell, parameters.merging
    if labels is None:
        found = binning.offer(
            session,
            features,
            label_party=parameters.label_party,
            minimum_cell=cell,
            merging=merging,
            suite=suite,
        )
        return Evidence(tuple(found.bins.values()), {}, found.learned)
    ones = labels[rows.train]
    peers = task.job.peers_of(session.me)
    told = binning.answer(session, ones, feature_parties=peers, minimum_cell=cell, suite=suite)
    own: tuple[Bins, ...] = ()
    if features:
        own = tuple(binning.local(features, ones, minimum_cell=cell, merging=merging).bins.values())
    return Evidence(own, told.ivs, told.learned)


def evidence_of(
    task: Task, stages: Stages, parameters: Parameters | BinningParameters, rows: Rows, labels: Labels | None
) -> Evidence:
    """What binning comes to, or came to for an earlier worker."""
    if stages.done < PREPARED:
        found = weighed(task, parameters, rows, labels)
        own = [one.to_json() for one in found.bins]
        stages.put(PREPARED, as_json({"bins": own, "others": found.others, "learned": found.learned}))
        return found
    told = json.loads(stages.get(PREPARED)[0])
    return Evidence(tuple(Bins.from_json(one) for one in told["bins"]), told["others"], tuple(told["learned"]))


# What is written down -------------------------------------------------------------------------------------------------

COLUMNS = pa.schema(
    [
        ("party", pa.string()),
        ("column", pa.string()),
        ("bin", pa.int64()),
        ("values", pa.string()),
        ("rows", pa.int64()),
        ("bad", pa.int64()),
        ("woe", pa.float64()),
        ("iv", pa.float64()),
        ("coefficient", pa.float64()),
        ("points", pa.int64()),
    ]
)
"""Of the result: a line for each bin of each own column; at the label party one for each column of the others, too."""


def table_of(
    me: str,
    evidence: Evidence | None,
    *,
    coefficients: Mapping[str, float] = MappingProxyType({}),
    points: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> pa.Table:
    """The result: empty where this party does not know something, or there is none, as of a column left out."""
    rest = dict(coefficients)
    lines: list[dict[str, object]] = []
    for bins in evidence.bins if evidence is not None else ():
        name, weight = bins.feature, rest.pop(bins.feature, None)
        for i, values in enumerate(bins.labels):
            lines.append(
                {
                    "party": me,
                    "column": name,
                    "bin": i,
                    "values": values,
                    "rows": bins.counts[i] if bins.counts else None,
                    "bad": bins.events[i] if bins.events else None,
                    "woe": bins.woe[i] if bins.woe else None,
                    "iv": bins.iv,
                    "coefficient": weight,
                    "points": points[name][i] if name in points else None,
                }
            )
    lines += [{"party": me, "column": name, "coefficient": weight} for name, weight in rest.items()]
    for party, ivs in evidence.others.items() if evidence is not None else ():
        lines += [{"party": party, "column": name, "iv": iv} for name, iv in ivs.items()]
    return pa.Table.from_pylist(lines, schema=COLUMNS)


def rows_file(rows: Rows) -> bytes:
    """The common rows, by their keys, and which of them were kept back: Parquet."""
    kept_back = np.zeros(rows.number, dtype=np.bool_)
    kept_back[rows.held_out] = True
    sink = pa.BufferOutputStream()
    pa_parquet.write_table(rows.keys.append_column(HELD_OUT, pa.array(kept_back)), sink)
    raw: bytes = sink.getvalue().to_pybytes()
    return raw


def as_json(document: object) -> bytes:
    """A document as a file has it."""
    return (json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    raw: bytes = sink.getvalue().to_pybytes()
    return raw


def _from_bytes(raw: bytes) -> pa.Table:
    with pa.ipc.open_stream(pa.py_buffer(raw)) as reader:
        return reader.read_all()
