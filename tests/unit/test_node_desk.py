"""The desk: what it refuses, under which code, and how little of it a flood can make it write."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mpc.errors import PolicyError
from protocols.lookup import table as lookup
from protocols.lookup.tablefile import TableSpec
from tests.governance.world import BANK, NODE, PLATFORM, PRODUCT, SCENARIO, World, consent_by, make_world, manifest
from unseen.governance import documents
from unseen.governance import ledger as ledgers
from unseen.governance.consent import Consent, Issued
from unseen.governance.documents import from_base64, parse, to_base64
from unseen.governance.ledger import Ledger
from unseen.governance.receipt import Receipt
from unseen.home import Home
from unseen.node import sealing, settings
from unseen.node.desk import MANIFESTS_READ, Desk, Unpaid, to_wire
from unseen.node.gate import Gate
from unseen.node.rotation import Epoch, Rotation

EPOCH = 7
SETTINGS = f"""
listen = "127.0.0.1:0"
[[product]]
name = "{PRODUCT}"
requires_consent = true
consent_issuers = ["{PLATFORM}"]
[product.data]
name = "register"
source = "register.csv"
keys = ["id"]
answer = "status"
"""
POLICY = f"""
[[allow]]
scenario = "{SCENARIO}"
requester = "{BANK}"
operator = "lookup.table"
product = "{PRODUCT}"
data_set = "register"
columns = ["id", "status"]
consent_issuers = ["{PLATFORM}"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2100-01-01T00:00:00Z
"""


@pytest.fixture(name="world", scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), NODE, BANK, PLATFORM)


@pytest.fixture(name="ledger")
def _ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledgers.open_ledger(tmp_path / "ledger.db", node=NODE) as opened:
        yield opened


@pytest.fixture(name="desk")
def _desk(world: World, ledger: Ledger, tmp_path: Path) -> Desk:
    home = Home(tmp_path / "home")
    home.state.mkdir(parents=True)
    home.node_toml.write_text(SETTINGS)
    home.policy_toml.write_text(POLICY)
    sealing.storage_key(home.storage_key)
    product = settings.load(home).product[0]
    identity, trust = world.identity(NODE), world.identity(NODE).trust()
    rotation = Rotation(home, product, signer=lambda: identity.signer, ledger=ledger)
    return Desk(product, lambda: identity, lambda: trust, Gate(home), ledger, rotation)


def consents(world: World, count: int) -> list[Issued]:
    # The desk looks at the clock, and a consent is short-lived: it begins when the test does.
    now = datetime.now(UTC).replace(microsecond=0)
    return [consent_by(world.identity(PLATFORM), epoch=EPOCH, issued=now) for _ in range(count)]


def element(consent: Issued) -> bytes:
    return from_base64(parse(consent.tokens[0].document, Consent).blinded)


def ask(desk: Desk, elements: Sequence[bytes], permits: Sequence[Issued | None]) -> tuple[list[str], lookup.Recorded]:
    """What becomes of one message: a code per element, empty where it is answered."""
    spec = TableSpec(
        suite="intl",
        product=PRODUCT,
        epoch=EPOCH,
        key_form="resident-id",
        answer_bytes=1,
        default_answer=None,
        rows=1024,
        public_key=bytes(32),
    )
    blinded = np.frombuffer(b"".join(elements), dtype=np.uint8).reshape(len(elements), 32)
    tokens = tuple(() if permit is None else tuple(to_wire(token) for token in permit.tokens) for permit in permits)
    admission = desk.admit(lookup.Request(BANK, spec, SCENARIO, blinded, tokens))
    accepted = np.array([row for row in range(len(elements)) if row not in admission.refusals], dtype=np.int64)
    recorded = admission.record(accepted, blinded[accepted])
    refusals = {**admission.refusals, **recorded.refusals}
    return [refusals[row].code if row in refusals else "" for row in range(len(elements))], recorded


def test_a_consent_whose_age_is_forgotten_is_expired_and_not_reused(desk: Desk, world: World, ledger: Ledger) -> None:
    used, fresh = consents(world, 2)
    assert ask(desk, [element(used)], [used])[0] == [""]
    assert ledger.purge(datetime.now(UTC) + timedelta(hours=1)) == 1  # a clock that ran ahead
    assert ask(desk, [element(fresh)], [fresh])[0] == ["consent-expired"]


def test_what_is_refused_for_one_reason_is_one_entry(desk: Desk, world: World, ledger: Ledger, tmp_path: Path) -> None:
    good, foreign, *others = consents(world, 4)
    elements = [os.urandom(32), element(good), os.urandom(32), *(os.urandom(32) for _ in range(3))]
    codes, recorded = ask(desk, elements, [None, good, None, foreign, *others])
    assert codes == ["consent-parts-incomplete", ""] + ["consent-parts-incomplete"] + ["consent-blinded-mismatch"] * 3
    assert recorded.receipt is not None
    receipt = parse(recorded.receipt.document, Receipt)
    assert (receipt.count, receipt.billed, receipt.first_entry, receipt.last_entry) == (6, 1, 1, 3)
    path = tmp_path / "ledger.db"
    entries = list(ledgers.entries(path, first=1))
    assert [(entry["result"], entry.get("count")) for entry in entries] == [
        ("consent-parts-incomplete", 2),
        ("ok", None),
        ("consent-blinded-mismatch", 3),
    ]
    for entry, chosen in ((entries[0], (0, 2)), (entries[2], (3, 4, 5))):
        assert entry["consents"] == []
        assert entry["input"] == to_base64(hashlib.sha256(b"".join(elements[row] for row in chosen)).digest())
    # A single one says what it always said.
    ask(desk, [elements[3]], [foreign])
    (single,) = ledgers.entries(path, first=4)
    assert "count" not in single
    assert single["consents"] == [to_base64(hashlib.sha256(foreign.tokens[0].document).digest())]
    assert single["input"] == to_base64(hashlib.sha256(elements[3]).digest())
    assert ledgers.verify(path).refusals == 6


def test_a_flood_of_refusals_ends_for_the_minute_with_one_entry(
    desk: Desk, world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unseen.node.desk.REFUSALS_PER_MINUTE", 5)
    now = 0.0
    desk = replace(desk, unpaid=Unpaid(clock=lambda: now))
    good, later = consents(world, 2)
    assert ask(desk, [element(good)], [good])[0] == [""]
    for _ in range(2):  # repeats count, what is paid for does not
        assert ask(desk, [element(good)], [good])[0] == [""]
    ask(desk, [os.urandom(32)] * 3, [None] * 3)
    assert ask(desk, [os.urandom(32)], [None])[0] == ["consent-parts-incomplete"]
    before, _ = ledger.head()
    for _ in range(3):
        with pytest.raises(PolicyError, match="too-many-refusals"):
            ask(desk, [element(later)], [later])
    assert ledger.head()[0] == before + 1
    assert not desk.unpaid.too_many("another-bank")[0]
    now = 60.0
    assert ask(desk, [element(later)], [later])[0] == [""]


def test_manifests_are_read_by_the_page_and_those_to_come_are_not_promised(
    desk: Desk, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lookup._MANIFESTS_PER_REPLY < MANIFESTS_READ  # else an asker would take a page's end for the chain's
    with pytest.raises(PolicyError, match="epoch-not-ready"):
        desk.manifests(0)
    count = MANIFESTS_READ + 10
    home, signer = Home(tmp_path / "home"), world.identity(NODE).signer
    signed = documents.sign(manifest(epoch=count), signer)
    home.manifests(PRODUCT).mkdir(parents=True)
    for number in range(1, count + 1):
        (home.manifests(PRODUCT) / f"{number}.json").write_text(documents.to_json(signed))
    # The secrets of the epoch are of no use here.
    current = Epoch(count, manifest(epoch=count), signed, lookup.Epoch(table=None, private_key=np.zeros(32, np.uint8)))  # type: ignore[arg-type]
    monkeypatch.setattr(desk.rotation, "_served", {count: current})
    assert [found.epoch for found in desk.manifests(0)] == [count]
    assert [found.epoch for found in desk.manifests(3)] == list(range(3, 3 + MANIFESTS_READ))
    assert [found.epoch for found in desk.manifests(count - 1)] == [count - 1, count]
    with pytest.raises(PolicyError, match=f"epoch {count + 1} has not begun, the current one is {count}"):
        desk.manifests(count + 1)
