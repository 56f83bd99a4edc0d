"""``python -m benchmarks scoring``: people scored online by a bank and a real party node, in processes of their own.

A line for each release, ``score`` and ``grade``, over one warm connection of the bank to the node and through it to the
product's process: people one by one (p50_ms, p99_ms), then messages of ``--batch`` people (per_s). Each query is an
entry of the audit log, counted against the person's quota, and on disk before the reply leaves; ``ledger_ms`` is what
that takes by itself. Results are compared with the plain sum. ``seconds`` is the time of the batches. With ``--trees``
the model is one of so many full boosted trees, whose nodes are the bank's and the node's by turns of chance.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from benchmarks import boosted_scoring, report
from examples import deployment
from examples.deployment import Server
from protocols.learning.model import ModelPart
from protocols.learning.preparation import Numeric, Preparation
from protocols.learning.release import Release
from unseen import scoring
from unseen.governance import ledger
from unseen.governance.consent import CheckedConsent
from unseen.governance.documents import utc_now
from unseen.governance.ledger import Evaluation, Quota
from unseen.home import Home
from unseen.models import ModelStore
from unseen.scoring import Score, Scorer

BANK, NODE, SCENARIO = "bank", "tax-bureau", "benchmark"
MODEL, JOB = "00c0ffee00c0ffee", "0123456789abcdef"
CUTS = (-1.0, 0.0, 1.0)
WARM_UP = 20

SCORER_TOML = """
[[scorer]]
name = "score-by-{release}"
model = "{model}"
release = "{release}"
cuts = {cuts}
key_form = "text"
calls_per_subject = 1000000

[scorer.data]
name = "features"
source = "features.parquet"
keys = ["id"]
features = {features}
"""
RULE_TOML = """
[[allow]]
scenario = "{scenario}"
requester = "bank"
operator = "learning.{release}"
product = "score-by-{release}"
data_set = "features"
columns = {columns}
consent_issuers = []
valid_from = 2020-01-01T00:00:00Z
valid_until = 2100-01-01T00:00:00Z
"""


@dataclass(frozen=True)
class People:
    """The bank's columns of n people, and the score that each of them has to get."""

    ids: list[str]
    columns: dict[str, NDArray[np.float64]]
    totals: NDArray[np.float64]

    def ask(self, scorer: Scorer, rows: NDArray[np.int64], *, batch: int) -> int:
        """Have some people scored; returns how many came out wrong."""
        keys = [(self.ids[row],) for row in rows.tolist()]
        scores = scorer.score(keys, {name: values[rows] for name, values in self.columns.items()}, batch=batch)
        return sum(not self._right(one, self.totals[row]) for one, row in zip(scores, rows.tolist(), strict=True))

    def _right(self, one: Score, total: np.float64) -> bool:
        if one.grade is not None:
            return one.grade == int(np.searchsorted(CUTS, total, side="right"))
        return one.total is not None and abs(one.total - float(total)) < 1e-7


def part_of(party: str, columns: dict[str, NDArray[np.float64]], rng: np.random.Generator) -> ModelPart:
    """A party's part of a model that nobody has trained."""
    return ModelPart(
        model=MODEL,
        family="logistic",
        party=party,
        label_party=BANK,
        parties=(BANK, NODE),
        preparation=Preparation.fit(columns, [Numeric(name) for name in columns]),
        coefficients=rng.normal(size=len(columns)) / np.sqrt(2 * len(columns)),
        intercept=0.0 if party == BANK else None,
        shares=None,
        rows=len(next(iter(columns.values()))),
        iterations=0,
        converged=False,
        trained="2030-01-31T12:00:00Z",
    )


def main(arguments: list[str]) -> int:
    """Command line. Returns 0 if no query failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scoring", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="people whom the node knows")
    parser.add_argument("--features-a", type=int, default=15, help="columns of the bank")
    parser.add_argument("--features-b", type=int, default=15, help="columns of the node")
    parser.add_argument("--queries", type=int, default=1000, help="people one by one")
    parser.add_argument("--batched", type=int, default=20_000, help="people in batches")
    parser.add_argument("--batch", type=int, default=200, help="people per message")
    parser.add_argument("--trees", type=int, default=0, help="boosted trees of the model; 0 for a linear one")
    parser.add_argument("--depth", type=int, default=5, help="their levels of splits")
    parser.add_argument("--release", choices=["score", "grade"], help="only this one")
    options = parser.parse_args(arguments)
    root = Path(tempfile.mkdtemp(prefix="unseen-scoring-"))
    releases: list[Release] = ["score", "grade"] if options.release is None else [options.release]
    try:
        people, node_home, bank_home = prepare(
            root,
            options.rows,
            options.features_a,
            options.features_b,
            releases,
            trees=options.trees,
            depth=options.depth,
        )
        ledger_ms = ledger_alone(root / "ledger.db")
        failures = 0
        with deployment.serving("node", node_home) as node:
            report.progress("the node reads its data")
            build_s = deployment.wait_for_products(node_home, node, within_s=3600, waiting=lambda _: None)
            for release in releases:
                report.progress(f"release of {release}s")
                failures += measure(
                    people,
                    node,
                    bank_home,
                    node_home,
                    release,
                    queries=options.queries,
                    batched=options.batched,
                    batch=options.batch,
                    more={"build_s": round(build_s, 1), "ledger_ms": ledger_ms, "trees": options.trees},
                )
        return int(failures != 0)
    finally:
        shutil.rmtree(root)


def prepare(
    root: Path, rows: int, mine: int, theirs: int, releases: list[Release], *, trees: int = 0, depth: int = 5
) -> tuple[People, Path, Path]:
    """Set a deployment up in `root`. Returns the people, and the homes of node and bank."""
    report.progress(f"{rows:,} people with {mine} and {theirs} features")
    rng = np.random.default_rng(7)
    ids = [f"person-{i}" for i in range(rows)]
    own = {f"a{i}": rng.normal(size=rows) for i in range(mine)}
    other = {f"b{i}": rng.normal(size=rows) for i in range(theirs)}
    deployment.make_ca(root)
    homes = {name: deployment.enrol(root, name) for name in (BANK, NODE)}
    if trees:
        boosted = boosted_scoring.parts_of(
            {BANK: own, NODE: other}, rng, count=trees, depth=depth, model=MODEL, training=JOB
        )
        totals = boosted_scoring.joined_margins(boosted, {BANK: own, NODE: other})
        for name in homes:
            ModelStore(Home(homes[name])).add(boosted[name], job=JOB, operator="learning.boosting")
    else:
        parts = {BANK: part_of(BANK, own, rng), NODE: part_of(NODE, other, rng)}
        totals = parts[BANK].score(own) + parts[NODE].score(other)
        for name in homes:
            ModelStore(Home(homes[name])).add(parts[name], job=JOB, operator="learning.logistic")
    pyarrow.parquet.write_table(pa.table({"id": ids, **other}), homes[NODE] / "features.parquet")
    node_toml, policy_toml = 'listen = "127.0.0.1:0"\n', ""
    for release in releases:
        cuts = list(CUTS) if release == "grade" else []
        node_toml += SCORER_TOML.format(release=release, model=MODEL, cuts=cuts, features=list(other))
        policy_toml += RULE_TOML.format(release=release, scenario=SCENARIO, columns=["id", *other])
    (homes[NODE] / "node.toml").write_text(node_toml)
    (homes[NODE] / "policy.toml").write_text(policy_toml)
    return People(ids, own, totals), homes[NODE], homes[BANK]


def ledger_alone(path: Path) -> float:
    """Milliseconds that it takes to make one query durable, the median."""
    path.parent.mkdir(exist_ok=True)
    taken = []
    with ledger.open_ledger(path, node=NODE) as opened:
        for i in range(200):
            seen = CheckedConsent(NODE, "p", SCENARIO, BANK, 1, "intl", i.to_bytes(32, "big"), (), (), (), utc_now())
            start = time.perf_counter()
            opened.commit([Evaluation(seen, bytes(32), "learning.score", 1, (Quota(f"p/bank/{i}", 3),))])
            taken.append((time.perf_counter() - start) * 1e3)
    return round(float(np.median(taken)), 2)


def measure(
    people: People,
    node: Server,
    bank_home: Path,
    node_home: Path,
    release: Release,
    *,
    queries: int,
    batched: int,
    batch: int,
    more: dict[str, report.Value],
) -> int:
    """Measure one release and print its line. Returns how many queries failed."""
    rng = np.random.default_rng(8)
    began = time.perf_counter()
    with scoring.connect(bank_home, f"score-by-{release}", node=node.at, scenario=SCENARIO) as scorer:
        connect_s = time.perf_counter() - began
        failures = sum(people.ask(scorer, rng.integers(0, len(people.ids), 1), batch=1) for _ in range(WARM_UP))
        latencies_ms = []
        (before,) = scorer.traffic
        for _ in range(queries):
            row = rng.integers(0, len(people.ids), 1)
            start = time.perf_counter()
            failures += people.ask(scorer, row, batch=1)
            latencies_ms.append((time.perf_counter() - start) * 1e3)
        (after,) = scorer.traffic
        start = time.perf_counter()
        failures += people.ask(scorer, rng.integers(0, len(people.ids), batched), batch=batch)
        seconds = time.perf_counter() - start
        pids = [node.process.pid, *deployment.product_pids(node_home)]
        processes = [report.own_use(), *(report.process_use(pid) for pid in pids)]
    report.line(
        "scoring",
        n=len(people.ids),
        seconds=seconds,
        suite="intl",
        transport="direct",
        bytes_sent=(after.bytes_sent - before.bytes_sent) // max(queries, 1),
        bytes_received=(after.bytes_received - before.bytes_received) // max(queries, 1),
        rounds=(after.rounds - before.rounds) // max(queries, 1),
        processes=processes,
        more={
            "release": release,
            "connect_s": round(connect_s, 2),
            "p50_ms": round(float(np.percentile(latencies_ms, 50)), 2),
            "p99_ms": round(float(np.percentile(latencies_ms, 99)), 2),
            "per_s": round(batched / seconds, 1),
            "batch": batch,
            "failures": failures,
            **more,
        },
    )
    return failures
