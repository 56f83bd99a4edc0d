"""``python -m benchmarks lookup``: hidden lookup against a real party node, in one process beside the asker's.

Three measurements over one warm connection, every query with a consent of its own that the node checks, and whose nonce
and audit entry are on disk before the reply leaves: queries one by one (p50_ms, p99_ms), messages of ``--batch``
queries (per_s), and, with ``--soak``, many queries one by one while memory is watched. Answers are compared with the
register. ``seconds`` is the time of the batches.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from benchmarks import report
from examples import deployment, synthetic_people
from examples.synthetic_people import Register
from unseen import asker
from unseen.asker import Asker
from unseen.governance import issuing
from unseen.governance.consent import Issued
from unseen.governance.enrolment import Identity

SCENARIO = "benchmark"
PRODUCT = "marriage-status"
SOAK_SETTLES = 10_000
"""After how many queries of a soak the memory is taken as the measure of what follows."""

NODE_TOML = f"""\
listen = "127.0.0.1:0"

[[product]]
name = "{PRODUCT}"
key_form = "resident-id"
requires_consent = true
consent_issuers = ["id-platform"]
epoch = "24h"
grace = "1h"

[product.data]
name = "register"
source = "register.parquet"
keys = ["resident_id"]
answer = "status"
codes = {{ unmarried = 0, married = 1 }}
"""

POLICY_TOML = f"""\
[[allow]]
scenario = "{SCENARIO}"
requester = "bank"
operator = "lookup.table"
product = "{PRODUCT}"
data_set = "register"
columns = ["resident_id", "status"]
consent_issuers = ["id-platform"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2100-01-01T00:00:00Z
"""


@dataclass(frozen=True)
class Platform:
    """The identity platform, and where the benchmark's people are."""

    identity: Identity
    register: Register
    rng: np.random.Generator

    def consents(self, connection: Asker, count: int) -> tuple[list[Issued], list[str]]:
        """Consents of `count` people drawn at random, and the answers that have to come out."""
        rows = self.rng.integers(0, len(self.register.ids), count)
        issued = issuing.consent_for(
            self.identity.signer,
            connection.manifest,
            keys=[(self.register.ids[row].decode(),) for row in rows],
            scenario=SCENARIO,
            requester="bank",
            lifetime=timedelta(hours=4),
        )
        return issued, ["married" if self.register.married[row] else "unmarried" for row in rows]


def failures_in(connection: Asker, issued: list[Issued], expected: list[str]) -> int:
    """Ask, and count the answers that are missing or wrong."""
    verdicts = connection.verify(issued)
    return sum(verdict.label != label for verdict, label in zip(verdicts, expected, strict=True))


def singles(connection: Asker, platform: Platform, count: int) -> tuple[list[float], int]:
    """Latency of each of `count` queries, ms, and how many failed."""
    issued, expected = platform.consents(connection, count)
    latencies_ms, failures = [], 0
    for one, label in zip(issued, expected, strict=True):
        start = time.perf_counter()
        failures += failures_in(connection, [one], [label])
        latencies_ms.append((time.perf_counter() - start) * 1e3)
    return latencies_ms, failures


def batches(connection: Asker, platform: Platform, *, count: int, batch: int) -> tuple[float, int]:
    """Seconds for `count` queries in messages of `batch`, and how many failed."""
    issued, expected = platform.consents(connection, count)
    start = time.perf_counter()
    verdicts = connection.verify(issued, batch=batch)
    seconds = time.perf_counter() - start
    return seconds, sum(verdict.label != label for verdict, label in zip(verdicts, expected, strict=True))


def soak(connection: Asker, platform: Platform, count: int, pids: list[int]) -> dict[str, report.Value]:
    """`count` queries one by one; resident memory of each process after the first 10,000 and at the end."""
    settled: list[float] = []
    failures = done = 0
    start = time.perf_counter()
    while done < count:
        size = min(SOAK_SETTLES, count - done)
        failures += singles(connection, platform, size)[1]
        done += size
        if not settled:
            settled = [report.resident_mb(pid) for pid in pids]
        report.progress(f"{done:,} of {count:,} queries, {failures} failures, {time.perf_counter() - start:.0f} s")
    ended = [report.resident_mb(pid) for pid in pids]
    growth = [round(100 * (b - a) / a, 1) for a, b in zip(settled, ended, strict=True)]
    return {
        "soak": count,
        "soak_failures": failures,
        "rss_settled_mb": settled,
        "rss_end_mb": ended,
        "growth_%": growth,
    }


def main(arguments: list[str]) -> int:
    """Command line. Returns 0 if no query failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks lookup", description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="records in the register")
    parser.add_argument("--queries", type=int, default=2000, help="queries one by one")
    parser.add_argument("--batched", type=int, default=20_000, help="queries in batches")
    parser.add_argument("--batch", type=int, default=100, help="queries per message")
    parser.add_argument("--soak", type=int, default=0, help="also this many queries one by one, memory watched")
    options = parser.parse_args(arguments)
    root = Path(tempfile.mkdtemp(prefix="unseen-lookup-"))
    try:
        return measure(root, options.n, options.queries, options.batched, options.batch, options.soak)
    finally:
        shutil.rmtree(root)


def measure(root: Path, n: int, queries: int, batched: int, batch: int, soak_queries: int) -> int:
    """Set a deployment up in `root`, measure, print the line. Returns 0 if no query failed."""
    report.progress(f"{n:,} synthetic people")
    register = synthetic_people.register(n, np.random.default_rng(7))
    deployment.make_ca(root)
    homes = {name: deployment.enrol(root, name) for name in ("civil-affairs", "id-platform", "bank")}
    home = homes["civil-affairs"]
    status = np.where(register.married, "married", "unmarried")
    pyarrow.parquet.write_table(
        pa.table({"resident_id": register.ids.astype("U18"), "status": status}), home / "register.parquet"
    )
    (home / "node.toml").write_text(NODE_TOML)
    (home / "policy.toml").write_text(POLICY_TOML)
    platform = Platform(Identity.load(homes["id-platform"]), register, np.random.default_rng(8))
    with deployment.serving("node", home) as node:
        report.progress("building the table")
        build_s = deployment.wait_for_products(home, node, within_s=36_000, waiting=lambda _: None)
        with asker.connect(homes["bank"], PRODUCT, node=node.at, scenario=SCENARIO) as connection:
            manifest = connection.manifest
            table_bytes = manifest.table_rows * (8 + manifest.answer_bytes)
            pids = [node.process.pid, *deployment.product_pids(home)]
            report.progress("queries one by one")
            singles(connection, platform, 200)
            before = connection.traffic
            latencies_ms, failures = singles(connection, platform, queries)
            after = connection.traffic
            report.progress(f"queries in batches of {batch}")
            batches(connection, platform, count=batch, batch=batch)
            seconds, failed = batches(connection, platform, count=batched, batch=batch)
            failures += failed
            more: dict[str, report.Value] = {
                "build_s": round(build_s, 1),
                "table_bytes": table_bytes,
                "bytes_per_record": round(table_bytes / n, 2),
                "p50_ms": round(float(np.percentile(latencies_ms, 50)), 2),
                "p99_ms": round(float(np.percentile(latencies_ms, 99)), 2),
                "per_s": round(batched / seconds, 1),
                "batch": batch,
                "failures": failures,
            }
            if soak_queries:
                more |= soak(connection, platform, soak_queries, [report.own_pid(), *pids])
            processes = [report.own_use(), *(report.process_use(pid) for pid in pids)]
    report.line(
        "lookup",
        n=n,
        seconds=seconds,
        suite=manifest.suite,
        transport="direct",
        bytes_sent=(after.bytes_sent - before.bytes_sent) // queries,
        bytes_received=(after.bytes_received - before.bytes_received) // queries,
        rounds=(after.rounds - before.rounds) // queries,
        processes=processes,
        more=more,
    )
    return int(failures != 0 or more.get("soak_failures", 0) != 0)
