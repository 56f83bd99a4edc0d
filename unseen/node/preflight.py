"""Everything that has to be in order before a node serves, each thing looked at by itself, with the remedy of what is
not.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from mpc.data import tables
from mpc.data.tables import DataSet
from mpc.errors import MpcError, UsageError
from mpc.wire.coordinator.v1 import coordinator_pb2
from mpc.wire.node.v1 import node_pb2
from unseen import services
from unseen.governance import policy
from unseen.governance.documents import CLOCK_TOLERANCE, format_time, utc_now
from unseen.governance.enrolment import Identity
from unseen.governance.policy import JobRule, Rule
from unseen.home import Home, exclusive
from unseen.node import registrar, settings, sources
from unseen.node.settings import JobData, NodeSettings, Product, Scorer, Served
from unseen.settings import split_party_address

T = TypeVar("T")

RENEW_DAYS = 30
"""A certificate that expires sooner should be renewed, days."""
PRIVATE_FILES = ("tls.key", "signing.key")
SAMPLE_ROWS = 1000
"""How many rows' keys and answers are tried; the rest is only counted."""
BYTES_PER_ROW = 96
"""Room for two epochs' tables and the audit log, per record and generously, bytes."""
SPARE_BYTES = 256 << 20


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        ok: whether a node can serve so.
        found: what was found, for people.
        remedy: what to do; empty where nothing has to be done.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""


def run(home: Home) -> list[Check]:
    """All checks. None of them changes anything, and none ends the others."""
    found: list[Check] = []
    identity = _try(found, "identity", lambda: Identity.load(home.root))
    if identity is not None:
        found += _identity(identity)
    found += _modes(home)
    values = _try(found, "node.toml", lambda: settings.load(home))
    if values is None:
        return found
    names = ", ".join(product.name for product in values.served)
    jobs = ", ".join(data.name for data in values.data_set)
    remedy = "" if names or jobs else "Add a [[product]] or [[scorer]] table, or a [[data_set]] for jobs."
    offers = f"products: {names or 'none'}" + (f"; data sets for jobs: {jobs}" if jobs else "")
    found.append(Check("node.toml", not remedy, offers, remedy))
    if identity is not None:
        found += _suites(values, identity)
    found += _policy(home, values)
    rows = 0
    for product in values.product:
        check, count = _data(home, product)
        found.append(check)
        rows += count
    found += [_scorer(home, scorer) for scorer in values.scorer]
    found += [_job_data(home, data) for data in values.data_set]
    found.append(_disk(home, rows))
    found.append(_port(home, values))
    if identity is not None and values.coordinator is not None:
        found += _coordinator(values.coordinator, identity)
    return found


def _try(found: list[Check], name: str, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except MpcError as error:
        found.append(_failed(name, error))
        return None


def _failed(name: str, error: MpcError) -> Check:
    reason, remedy = getattr(error, "reason", str(error)), getattr(error, "remedy", "")
    return Check(name, False, str(reason), str(remedy))


def _identity(identity: Identity) -> Iterator[Check]:
    try:
        identity.trust().tls_party(identity.tls_certificate)
        identity.trust().signing_key(identity.name, identity.signer.certificate, suite=identity.suite)
    except MpcError as error:
        yield _failed("certificate", error)
        return
    days = (identity.expires - utc_now()).days
    soon = days < RENEW_DAYS
    yield Check(
        "certificate",
        True,
        f"{identity.name}, until {format_time(identity.expires)} ({days} days), chain and revocation list in order",
        "Run `unseen node renew` soon." if soon else "",
    )
    # What this operator reads out to those who pin the key; see `unseen node pin`.
    yield Check("signing key", True, identity.signing_key, "")


def _suites(values: NodeSettings, identity: Identity) -> Iterator[Check]:
    try:
        for product in values.served:
            settings.check_suite(product, identity.suite)
    except MpcError as error:
        yield _failed("suite", error)
        return
    yield Check("suite", True, identity.suite, "")


def _modes(home: Home) -> Iterator[Check]:
    paths = [path for name in PRIVATE_FILES for path in (home.root / "identity").glob(f"*/{name}")]
    paths += [path for path in (home.storage_key,) if path.exists()]
    open_ones = [path for path in paths if path.stat().st_mode & 0o077]
    yield Check(
        "file modes",
        not open_ones,
        f"{len(paths)} keys, {len(open_ones)} of them readable by others",
        f"Run: chmod 600 {' '.join(map(str, open_ones))}" if open_ones else "",
    )


def _policy(home: Home, values: NodeSettings) -> Iterator[Check]:
    try:
        read = policy.read_policy(home.policy_toml)
    except UsageError as error:
        yield _failed("policy.toml", error)
        return
    rules, job_rules = read.rules, read.job_rules
    unknown = sorted({rule.product for rule in rules} - {product.name for product in values.served})
    wrong = [problem for product in values.served for rule in rules for problem in _mismatch(rule, product)]
    problems = [f"no product {name!r} in node.toml" for name in unknown] + wrong
    problems += [problem for rule in job_rules for problem in _job_mismatch(rule, values)]
    unused = [p.name for p in values.served if not any(rule.product == p.name for rule in rules)]
    unused += [d.name for d in values.data_set if not any(rule.data_set == d.name for rule in job_rules)]
    note = f"; nobody may use {', '.join(unused)}" if unused else ""
    yield Check(
        "policy.toml",
        not problems,
        f"{len(rules) + len(job_rules)} rules{note}" if not problems else "; ".join(problems),
        "Correct policy.toml or node.toml: what does not fit is refused." if problems else "",
    )


def _mismatch(rule: Rule, product: Served) -> Iterator[str]:
    """What keeps a rule about `product` from ever allowing anything."""
    if rule.product != product.name:
        return
    if rule.data_set != product.data.name:
        yield f"a rule for {product.name} names data_set {rule.data_set!r}, node.toml {product.data.name!r}"
    if rule.operator != product.operator:
        yield f"a rule for {product.name} names the operator {rule.operator!r}, which is {product.operator!r}"
    missing = sorted(set(product.data.columns) - set(rule.columns))
    if missing:
        yield f"a rule for {product.name} does not name the columns {', '.join(missing)}"
    if product.requires_consent and not set(rule.consent_issuers) & set(product.consent_issuers):
        yield f"a rule for {product.name} names no consent issuer that node.toml trusts"


def _job_mismatch(rule: JobRule, values: NodeSettings) -> Iterator[str]:
    """What keeps a rule about jobs from ever allowing all that it names."""
    data = values.find_data_set(rule.data_set)
    if data is None:
        yield f"no data_set {rule.data_set!r} in node.toml"
    elif missing := sorted(set(rule.columns) - set(data.columns)):
        yield f"a job rule for {data.name} names the columns {', '.join(missing)}, which node.toml does not give"


def _scorer(home: Home, scorer: Scorer) -> Check:
    """Whether a scoring product's model is in the store, reads no column but those given, and scores all rows."""
    from unseen.node import scorer as scorers  # it brings the protocols, which other checks do not need

    name = f"model of {scorer.name}"
    try:
        records = scorers.read(home, scorer, number=1, now=utc_now())
    except MpcError as error:
        return _failed(name, error)
    except OSError as error:
        return Check(name, False, f"{scorer.data.source}: {error.strerror}", "Check the path and its permissions.")
    return Check(
        name, True, f"{scorer.model} from job {records.job} scores {len(records)} rows of {scorer.data.source}"
    )


def _job_data(home: Home, data: JobData) -> Check:
    """Whether a data set for jobs can be read: all its rows are counted."""
    name = f"data set {data.name}"
    try:
        rows = sum(batch.num_rows for batch in tables.batches(sources.job_source(home, data)))
    except MpcError as error:
        return _failed(name, error)
    except OSError as error:
        return Check(name, False, f"{data.source}: {error.strerror}", "Check the path and its permissions.")
    return Check(name, True, f"{rows} rows with {', '.join(data.columns)} in {data.source}")


def _data(home: Home, product: Product) -> tuple[Check, int]:
    """Whether the data set can be read: all rows are counted, the first ones' keys and answers are tried."""
    name, data = f"data of {product.name}", product.data
    source = DataSet(str(settings.source_path(home, product)), columns=data.columns, table=data.table)
    rows = 0
    try:
        for batch in tables.batches(source):
            if not rows:
                _try_rows(source, product)
            rows += batch.num_rows
    except MpcError as error:
        return _failed(name, error), 0
    except OSError as error:
        return Check(name, False, f"{data.source}: {error.strerror}", "Check the path and its permissions."), 0
    return Check(name, True, f"{rows} rows with {', '.join(data.columns)} in {data.source}"), rows


def _try_rows(source: DataSet, product: Product) -> None:
    for batch in tables.keyed(source, keys=product.data.keys, form=product.form, duplicates=product.data.duplicates):
        column = batch.columns[product.data.answer].slice(0, SAMPLE_ROWS)
        rows = batch.rows[:SAMPLE_ROWS]
        if product.data.codes is None:
            tables.encode_text(column, product.answer_bytes, rows=rows)
        else:
            codes = {text: product.encode(text) for text in product.data.codes}
            tables.encode_codes(column, codes, rows=rows)
        return


def _disk(home: Home, rows: int) -> Check:
    needed = rows * BYTES_PER_ROW + SPARE_BYTES
    free = shutil.disk_usage(home.root).free
    text = f"{free / 2**30:.1f} GiB free, {needed / 2**30:.1f} GiB advisable"
    return Check("disk space", free >= needed, text, "" if free >= needed else "Free space, or move the home.")


def _port(home: Home, values: NodeSettings) -> Check:
    host, _, port = values.listen.rpartition(":")
    try:
        with exclusive(home, "node"):
            pass
    except UsageError:
        return Check("port", True, f"{values.listen}: this node is serving there already")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            remedy = "Stop what listens there, or set another `listen` address in node.toml."
            return Check("port", False, f"{values.listen}: {error.strerror or error}", remedy)
    return Check("port", True, f"{values.listen} is free")


def _coordinator(at: str, identity: Identity) -> Iterator[Check]:
    """Whether the coordinator can be reached, and how far apart the clocks are, its own and those of the nodes it
    knows.
    """
    name, address = split_party_address(at)
    try:
        with registrar.connect(identity, peer=name, address=address) as client:
            began = time.time()
            directory = client.call(services.LIST, coordinator_pb2.ListRequest())
            ended = time.time()
    except MpcError as error:
        yield Check(
            "coordinator",
            False,
            str(error),
            "Start it, or correct `coordinator` in node.toml. Products serve without it.",
        )
        return
    yield Check("coordinator", True, f"{name} at {address} knows {len(directory.parties)} parties")
    yield _clock(name, directory.time_ms, began, ended)
    for party in directory.parties:
        if party.alive and party.name != identity.name:
            with suppress(MpcError), registrar.connect(identity, peer=party.name, address=party.address) as client:
                began = time.time()
                description = client.call(services.DESCRIBE, node_pb2.DescribeRequest())
                yield _clock(party.name, description.time_ms, began, time.time())


def _clock(peer: str, peer_ms: int, began: float, ended: float) -> Check:
    """Compare a peer's clock, which it read between `began` and `ended` of this machine's."""
    here = (began + ended) / 2
    skew = peer_ms / 1000 - here
    uncertain = (ended - began) / 2
    limit = CLOCK_TOLERANCE.total_seconds()
    ok = abs(skew) - uncertain < limit
    direction = "ahead" if skew > 0 else "behind"
    return Check(
        f"clock against {peer}",
        ok,
        f"{peer} is {abs(skew):.1f} seconds {direction} (± {uncertain:.1f}; up to {limit:.0f} are tolerated)",
        "" if ok else "Synchronise both clocks with NTP: consents and certificates are checked against them.",
    )
