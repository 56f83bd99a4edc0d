"""``python -m benchmarks boosted-scoring``: many rows scored by boosted trees, each party in a process of its own.

The trees are full ones that nobody has trained, whose nodes are the parties' by turns of chance; a has the leaves.
``seconds`` is the longest of the parties', from all ready to the scores or grades, set-up and the coding of columns
included; bytes and rounds are a's. ``max_error`` is against the joined trees, in the clear; of grades how many differ.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import mesh
from benchmarks.report import line, progress
from mpc.session import Session
from protocols.learning import boosted_scoring, trees
from protocols.learning.binned import Cuts
from protocols.learning.boosted import BoostedPart
from protocols.learning.trees import Inner, Leaf, OwnNode, PartTree, Shape

Table = dict[str, NDArray[np.float64]]

CUTS = (-1.0, 0.0, 1.0)


def parts_of(
    columns: Mapping[str, Table], rng: np.random.Generator, *, count: int, depth: int, model: str, training: str
) -> dict[str, BoostedPart]:
    """The parts of full trees that nobody has trained; the first party has the leaves."""
    cuts = {name: Cuts.fit(one) for name, one in columns.items()}
    grown = [_full_tree(rng, {name: one.sizes for name, one in cuts.items()}, depth) for _ in range(count)]
    return {
        name: BoostedPart.of(
            [tree[name] for tree in grown],
            cuts[name],
            party=name,
            label_party=next(iter(columns)),
            parties=tuple(columns),
            objective="binary:logistic",
            base_score=0.0,
            model=model,
            training=training,
            rows=len(next(iter(columns[name].values()))),
            trained="2030-01-31T12:00:00Z",
        )
        for name in columns
    }


def _full_tree(rng: np.random.Generator, sizes: Mapping[str, NDArray[np.int64]], depth: int) -> dict[str, PartTree]:
    names = list(sizes)
    own: dict[str, list[OwnNode]] = {name: [] for name in names}
    owners: list[tuple[str, int]] = []  # of each inner node, by its number in the heap, and its number there
    for node in range((1 << depth) - 1):
        owner = names[rng.integers(len(names))]
        parent, left, above = -1, False, node
        while above and parent < 0:
            side, above = above % 2 == 1, (above - 1) // 2
            if owners[above][0] == owner:
                parent, left = owners[above][1], side
        column = int(rng.integers(len(sizes[owner])))
        owners.append((owner, len(own[owner])))
        own[owner].append(OwnNode(parent, left, column, int(rng.integers(sizes[owner][column] - 1)), False))
    leaves = range((1 << depth) - 1, (2 << depth) - 1)
    shape = Shape(
        tuple(Inner(node, owner, number) for node, (owner, number) in enumerate(owners)),
        tuple(Leaf(node, float(rng.normal() / 10)) for node in leaves),
    )
    return {name: PartTree(tuple(nodes), shape if name == names[0] else None) for name, nodes in own.items()}


def joined_margins(parts: Mapping[str, BoostedPart], columns: Mapping[str, Table]) -> NDArray[np.float64]:
    """The margins of all rows, by the joined trees."""
    coded = {name: part.coded(columns[name]) for name, part in parts.items()}
    codes = {name: one.codes for name, one in coded.items()}
    missing = {name: one.missing_code for name, one in coded.items()}
    total = np.zeros(len(next(iter(codes.values()))))
    for one in zip(*(part.trees for part in parts.values()), strict=True):
        total += trees.joined(dict(zip(parts, one, strict=True)), codes, missing)
    return total


def _task(session: Session, clock: mesh.Clock, part: BoostedPart, table: Table, release: str) -> object:
    """One party."""
    with clock:
        if release == "grade":
            return boosted_scoring.grades(session, part, table, cuts=CUTS)
        return boosted_scoring.scores(session, part, table)


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns 0 if all came out right."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks boosted-scoring", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=30_000, help="to score (30000)")
    parser.add_argument("--features", type=int, default=10, help="columns of each party (10)")
    parser.add_argument("--trees", type=int, default=50, help="how many (50)")
    parser.add_argument("--depth", type=int, default=5, help="of each tree (5)")
    parser.add_argument("--parties", type=int, choices=(2, 3), default=2, help="how many parties (2)")
    parser.add_argument("--release", choices=("score", "grade"), default="score", help="what opens (score)")
    options = parser.parse_args(arguments)
    names, rng = ("a", "b", "c")[: options.parties], np.random.default_rng(7)
    columns = {name: {f"{name}{j}": rng.normal(size=options.rows) for j in range(options.features)} for name in names}
    parts = parts_of(columns, rng, count=options.trees, depth=options.depth, model="0" * 16, training="0" * 16)
    progress(f"{options.rows:,} rows, {options.trees} trees of depth {options.depth}")
    work = [(parts[name], columns[name], options.release) for name in names]
    done = mesh.run(names, _task, work, protocol=f"learning.{options.release}")
    found, wanted = np.asarray(done[0].result), joined_margins(parts, columns)
    if options.release == "grade":
        wrong = float(np.count_nonzero(found != np.searchsorted(CUTS, wanted, side="right")))
    else:
        wrong = float(np.abs(found - wanted).max(initial=0.0))
    first = done[0].sections[0]
    line(
        "boosted-scoring",
        n=options.rows,
        seconds=max(party.sections[0].seconds for party in done),
        suite="intl",
        transport="direct",
        bytes_sent=first.traffic.bytes_sent,
        bytes_received=first.traffic.bytes_received,
        rounds=first.traffic.rounds,
        processes=[party.use for party in done],
        more={
            "release": options.release,
            "parties": options.parties,
            "trees": options.trees,
            "depth": options.depth,
            "nodes": [int(part.nodes.sum()) for part in parts.values()],
            "max_error": wrong,
        },
    )
    return int(wrong > (0 if options.release == "grade" else (options.trees + 1) * 2.0**-31))
