"""The ledger: durable before anything is answered, one use per consent, and a chain in which no change goes unseen."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_mock_engine
from sqlalchemy.dialects import postgresql

from mpc.errors import PolicyError, UsageError
from tests.governance.world import BANK, NODE, NOW, PRODUCT, SCENARIO, World, checked, nonce
from unseen.governance import ledger as ledgers
from unseen.governance.consent import CheckedConsent
from unseen.governance.documents import from_base64, to_base64
from unseen.governance.ledger import Evaluation, JobFacts, Ledger, Note, Outcome, Quota, Witness, open_ledger, verify
from unseen.governance.receipt import issue_receipt, verify_receipt
from unseen.governance.trust import Trust

REPOSITORY = Path(__file__).resolve().parents[2]


def evaluation(consent: CheckedConsent | None = None, *, quota: Quota | None = None) -> Evaluation:
    return Evaluation(
        consent=consent or checked(),
        evaluated=os.urandom(32),
        operator="lookup.table",
        operator_version=1,
        quotas=() if quota is None else (quota,),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with open_ledger(path, node=NODE, clock=lambda: NOW) as opened:
        yield opened


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


# One use ------------------------------------------------------------------------------------------------------------


def test_a_consent_is_good_for_one_element(ledger: Ledger) -> None:
    first = checked()
    assert statuses(ledger.commit([evaluation(first)])) == ["fresh"]
    [again] = ledger.commit([evaluation(first)])
    assert (again.status, again.answered, again.billed) == ("repeat", True, False)
    for change in (replace(first, blinded=os.urandom(32)), replace(first, epoch=8), replace(first, product="other")):
        [reused] = ledger.commit([evaluation(change)])
        assert (reused.status, reused.answered, reused.billed) == ("reused", False, False)
    assert statuses(ledger.commit([evaluation(first)])) == ["repeat"]
    # Another platform may happen to draw the same nonce.
    assert statuses(ledger.commit([evaluation(replace(first, issuers=("other",), blinded=bytes(32)))])) == ["fresh"]


def test_one_batch_is_judged_in_order(ledger: Ledger) -> None:
    first = checked()
    batch = [evaluation(first), evaluation(first), evaluation(replace(first, epoch=8)), evaluation()]
    outcomes = ledger.commit(batch)
    assert statuses(outcomes) == ["fresh", "repeat", "reused", "fresh"]
    assert [outcome.billed for outcome in outcomes] == [True, False, False, True]
    assert [outcome.entry for outcome in outcomes] == [1, 2, 3, 4]
    assert ledger.head() == (4, outcomes[-1].head)
    assert ledger.commit([]) == []


def test_a_pair_burns_both_or_neither(ledger: Ledger) -> None:
    pair = checked(nonces=(nonce(), nonce()))
    mixed = replace(pair, blinded=os.urandom(32), nonces=(nonce(), pair.nonces[1]))
    assert statuses(ledger.commit([evaluation(pair), evaluation(mixed)])) == ["fresh", "reused"]
    # The refused pair's own nonce is still good.
    alone = replace(mixed, nonces=mixed.nonces[:1], issuers=mixed.issuers[:1], digests=mixed.digests[:1])
    assert statuses(ledger.commit([evaluation(alone)])) == ["fresh"]
    # One part used before, for the very same element: nothing new is learnt, and the other part is burnt too.
    half = replace(pair, nonces=(pair.nonces[0], nonce()))
    elsewhere = replace(half, blinded=os.urandom(32))
    assert statuses(ledger.commit([evaluation(half), evaluation(elsewhere)])) == ["repeat", "reused"]


def test_many_nonces_are_found_at_once(ledger: Ledger) -> None:
    consents = [checked() for _ in range(1203)]
    assert set(statuses(ledger.commit([evaluation(one) for one in consents]))) == {"fresh"}
    assert set(statuses(ledger.commit([evaluation(one) for one in consents]))) == {"repeat"}


def test_nonces_survive_and_expire_but_the_log_stays(path: Path) -> None:
    short, long = checked(expires=NOW + timedelta(minutes=1)), checked(expires=NOW + timedelta(hours=2))
    with open_ledger(path, node=NODE) as ledger:
        ledger.commit([evaluation(short), evaluation(long)])
    with open_ledger(path, node=NODE) as ledger:
        assert statuses(ledger.commit([evaluation(short), evaluation(long)])) == ["repeat", "repeat"]
        assert ledger.purge(NOW + timedelta(minutes=4)) == 0
        assert ledger.purge(NOW + timedelta(minutes=6)) == 1
        assert statuses(ledger.commit([evaluation(long)])) == ["repeat"]
    assert verify(path).last_entry == 5


def test_no_clock_makes_a_consent_good_twice(path: Path) -> None:
    """The clock runs ahead, nonces are forgotten, the clock is set right: by the clock, they have not expired."""
    moment = NOW
    used, late = checked(), checked(expires=NOW + timedelta(minutes=11))
    pair = checked(nonces=(nonce(NOW + timedelta(minutes=9)), nonce(NOW + timedelta(minutes=20))))
    with open_ledger(path, node=NODE, clock=lambda: moment) as ledger:
        ledger.commit([evaluation(used)])
        moment = NOW + timedelta(days=400)
        assert ledger.purge() == 1
        moment = NOW
        [again, other] = ledger.commit([evaluation(used), evaluation(replace(used, blinded=os.urandom(32)))])
        assert (again.status, again.answered, again.billed) == ("expired", False, False)
        assert other.status == "expired"
        # What was not used and expires later than what was forgotten is as good as before: nothing is refused for
        # the four hundred days.
        assert statuses(ledger.commit([evaluation(late)])) == ["fresh"]
        assert statuses(ledger.commit([evaluation(pair)])) == ["expired"]
        assert ledger.purge() == 0
    with open_ledger(path, node=NODE, clock=lambda: moment) as ledger:
        assert statuses(ledger.commit([evaluation(used)])) == ["expired"]
    assert '"result":"consent-expired"' in entry_of(path, 2)


def test_a_check_that_was_held_up_does_not_outlive_the_nonce(path: Path) -> None:
    """Two processes check one consent; one of them sleeps until the other has used and forgotten it."""
    consent = checked()
    with open_ledger(path, node=NODE) as asleep, open_ledger(path, node=NODE) as awake:
        assert statuses(awake.commit([evaluation(consent)])) == ["fresh"]
        assert awake.purge(NOW + timedelta(hours=1)) == 1
        assert statuses(asleep.commit([evaluation(consent)])) == ["expired"]


def test_a_job_counts_against_all_of_its_limits_or_none(path: Path) -> None:
    facts = JobFacts(job="00ff", grant=bytes(32), peers=("insurer",), data_set="customers", columns=("id",), rows=7)

    def start(job: str, uses: int) -> Note:
        once = Quota(rule=f"job/{job}", limit=1, ever=True)
        grant = Quota(rule="grant/g", limit=uses, ever=True)
        return Note(kind="job", result="started", requester=BANK, job=replace(facts, job=job), quotas=(once, grant))

    for day, wanted in ((0, ["noted", "over-quota"]), (1, ["noted", "over-quota", "over-quota"])):
        with open_ledger(path, node=NODE, clock=lambda day=day: NOW + timedelta(days=day)) as ledger:
            jobs = [start(f"{day}", 2), start(f"{day}", 2), *([start("third", 2)] if day else [])]
            assert statuses(ledger.commit(jobs)) == wanted
    entries = [entry for entry in ledgers.entries(path) if entry["kind"] != "genesis"]
    assert [(e["kind"], e["result"]) for e in entries[:2]] == [("job", "started"), ("refusal", "quota-exceeded")]
    assert (entries[0]["job"], entries[0]["data_set"], entries[0]["rows"]) == ("0", "customers", 7)
    assert entries[0]["grant"] == to_base64(bytes(32))
    assert "files" not in entries[0]
    with open_ledger(path, node=NODE, clock=lambda: NOW + timedelta(days=1)) as ledger:
        files = {"model.json": bytes(range(32))}
        assert statuses(ledger.commit([Note(kind="job", result="ok", job=replace(facts, files=files))])) == ["noted"]
    assert list(ledgers.entries(path))[-1]["files"] == {"model.json": to_base64(bytes(range(32)))}
    verify(path)


def test_calls_are_counted_per_rule_and_day(path: Path) -> None:
    moment = datetime(2026, 5, 1, 23, 59, 58, tzinfo=UTC)
    quota = Quota(rule="r", limit=3)
    first = checked()
    with open_ledger(path, node=NODE, clock=lambda: moment) as ledger:
        assert statuses(ledger.commit([evaluation(first, quota=quota), evaluation(quota=quota)])) == ["fresh"] * 2
    with open_ledger(path, node=NODE, clock=lambda: moment) as ledger:
        refused = checked()
        batch = [evaluation(quota=quota), evaluation(refused, quota=quota), evaluation(first, quota=quota)]
        outcomes = ledger.commit([*batch, evaluation(quota=Quota(rule="s", limit=1))])
        assert statuses(outcomes) == ["fresh", "over-quota", "repeat", "fresh"]
        assert not outcomes[1].answered
        moment += timedelta(seconds=3)
        # A refusal burnt nothing, so the consent is good on the next day.
        assert statuses(ledger.commit([evaluation(refused, quota=quota)])) == ["fresh"]


def test_a_call_counts_against_all_its_limits_or_none(path: Path) -> None:
    rule, person = Quota(rule="r", limit=3), Quota(rule="p/bank/someone", limit=1)
    both = replace(evaluation(), quotas=(rule, person))
    with open_ledger(path, node=NODE) as ledger:
        again = replace(evaluation(), quotas=(rule, person))
        assert statuses(ledger.commit([both, again])) == ["fresh", "over-quota"]
        # What the person's limit refused did not count against the rule's.
        calls = [evaluation(quota=rule) for _ in range(3)]
        assert statuses(ledger.commit(calls)) == ["fresh", "fresh", "over-quota"]


def test_counts_of_days_that_are_over_are_forgotten(path: Path) -> None:
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
    ever, daily = Quota(rule="grant", limit=1, ever=True), Quota(rule="r", limit=1)
    with open_ledger(path, node=NODE, clock=lambda: moment) as ledger:
        assert statuses(ledger.commit([replace(evaluation(), quotas=(ever, daily))])) == ["fresh"]
        for _ in range(2):  # the same day, and the next one: a clock may be set back a little
            ledger.purge()
            assert _days(path) == ["2026-05-01", "ever"]
            moment += timedelta(days=1)
        ledger.purge()
        assert _days(path) == ["ever"]
        assert statuses(ledger.commit([evaluation(quota=ever)])) == ["over-quota"]


def _days(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as opened:
        return [str(day) for (day,) in opened.execute("SELECT day FROM calls ORDER BY day")]


# What is written ----------------------------------------------------------------------------------------------------


def test_entries_say_what_happened_and_hold_no_secrets(ledger: Ledger, path: Path) -> None:
    good = evaluation()
    refusal = Note(
        kind="refusal",
        result="consent-expired",
        requester=BANK,
        product=PRODUCT,
        consents=(bytes(32),),
        input=hashlib.sha256(b"B").digest(),
    )
    ledger.commit([good, refusal, evaluation(replace(good.consent, epoch=8)), Note(kind="start", result="ok")])
    genesis, evaluated, refused, reused, started = ledgers.entries(path)
    assert genesis == {
        "seq": 0,
        "kind": "genesis",
        "node": NODE,
        "ledger": ledger.ledger_id,
        "suite": "intl",
        "time": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert evaluated == {
        "seq": 1,
        "time": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "kind": "evaluation",
        "node": NODE,
        "requester": BANK,
        "scenario": SCENARIO,
        "product": PRODUCT,
        "operator": "lookup.table",
        "operator_version": 1,
        "suite": "intl",
        "epoch": 7,
        "issuers": ["platform"],
        "consents": [to_base64(good.consent.digests[0])],
        "input": to_base64(hashlib.sha256(good.consent.blinded).digest()),
        "output": to_base64(hashlib.sha256(good.evaluated).digest()),
        "billed": True,
        "result": "ok",
    }
    assert (refused["kind"], refused["result"], refused["output"]) == ("refusal", "consent-expired", None)
    assert refused["input"] == to_base64(hashlib.sha256(b"B").digest())
    assert (reused["kind"], reused["result"], reused["output"]) == ("refusal", "consent-reused", None)
    assert (started["kind"], started["result"], started["billed"]) == ("start", "ok", False)
    assert [entry["seq"] for entry in ledgers.entries(path, first=3)] == [3, 4]
    assert ledgers.last_entry(path) == 4
    found = verify(path)
    assert (found.node, found.ledger_id, found.billed, found.refusals) == (NODE, ledger.ledger_id, 1, 2)


def test_the_chain_is_what_the_documentation_says(ledger: Ledger, path: Path) -> None:
    outcomes = ledger.commit([evaluation(), evaluation(), Note(kind="epoch", result="ok", epoch=8)])
    head = bytes(32)
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT entry, hash FROM audit ORDER BY seq").fetchall()
    connection.close()
    for entry, stored in rows:
        assert entry.encode() == rfc8785.dumps(json.loads(entry))
        head = hashlib.sha256(head + entry.encode()).digest()
        assert head == stored
    assert outcomes[-1].head == head


def test_receipts_name_the_entries_and_the_head(world: World, trust: Trust, ledger: Ledger, path: Path) -> None:
    signer = world.identity(NODE).signer
    ledger.commit([evaluation()])
    first = checked()
    outcomes = ledger.commit([evaluation(first), evaluation(first), evaluation()])
    signed = issue_receipt(signer, outcomes, requester=BANK, product=PRODUCT, epoch=7, now=NOW)
    ledger.commit([evaluation()])
    receipt = verify_receipt(signed, trust=trust, node=NODE, suite="intl")
    assert (receipt.first_entry, receipt.last_entry, receipt.count, receipt.billed) == (2, 4, 3, 2)
    witness = Witness(entry=receipt.last_entry, head=from_base64(receipt.head))
    assert verify(path, witnesses=[witness, witness]).witnesses == 2
    with pytest.raises(UsageError, match="commit to the ledger first"):
        issue_receipt(signer, [], requester=BANK, product=PRODUCT, epoch=7)
    with pytest.raises(PolicyError, match="document-wrong-signer"):
        verify_receipt(signed, trust=trust, node=BANK, suite="intl")


# Tampering ----------------------------------------------------------------------------------------------------------

SIZE = 12


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A log of 12 entries after the first, and the chain's hash after each."""
    place = tmp_path_factory.mktemp("log") / "ledger.db"
    with open_ledger(place, node=NODE) as ledger:
        for _ in range(SIZE):
            ledger.commit([evaluation()])
    connection = sqlite3.connect(place)
    heads = [head for (head,) in connection.execute("SELECT hash FROM audit ORDER BY seq")]
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return place, heads


def tampered(log: Path, statements: list[tuple[str, tuple[object, ...]]]) -> Path:
    copy = log.parent / f"{os.urandom(8).hex()}.db"
    shutil.copyfile(log, copy)
    with sqlite3.connect(copy) as connection:
        for statement, parameters in statements:
            connection.execute(statement, parameters)
    connection.close()
    return copy


def fault(place: Path, witnesses: list[Witness] | None = None) -> tuple[str, str]:
    with pytest.raises(PolicyError) as found:
        verify(place, witnesses=witnesses or [])
    place.unlink(missing_ok=True)
    return found.value.code, found.value.reason


def entry_of(place: Path, seq: int) -> str:
    connection = sqlite3.connect(place)
    [entry] = connection.execute("SELECT entry FROM audit WHERE seq = ?", (seq,)).fetchone()
    connection.close()
    return str(entry)


@settings(deadline=None, max_examples=60)
@given(seq=st.integers(0, SIZE), data=st.data())
def test_any_changed_character_is_found(log: tuple[Path, list[bytes]], seq: int, data: st.DataObject) -> None:
    place, _ = log
    entry = entry_of(place, seq)
    at = data.draw(st.integers(0, len(entry) - 1))
    character = data.draw(st.characters(codec="utf-8", exclude_characters=entry[at]))
    changed = entry[:at] + character + entry[at + 1 :]
    copy = tampered(place, [("UPDATE audit SET entry = ? WHERE seq = ?", (changed, seq))])
    code, reason = fault(copy)
    assert code in ("audit-changed", "audit-reordered")  # the latter where it is the number that was changed
    assert reason.startswith(f"entry {seq} ")


@settings(deadline=None, max_examples=40)
@given(seq=st.integers(0, SIZE), bit=st.integers(0, 255))
def test_any_changed_bit_of_a_hash_is_found(log: tuple[Path, list[bytes]], seq: int, bit: int) -> None:
    place, heads = log
    changed = bytearray(heads[seq])
    changed[bit // 8] ^= 1 << bit % 8
    copy = tampered(place, [("UPDATE audit SET hash = ? WHERE seq = ?", (bytes(changed), seq))])
    code, reason = fault(copy)
    assert code == "audit-changed"
    assert reason.startswith(f"entry {seq} ")


@settings(deadline=None, max_examples=40)
@given(removed=st.sets(st.integers(0, SIZE), min_size=1, max_size=4))
def test_removed_entries_are_found(log: tuple[Path, list[bytes]], removed: set[int]) -> None:
    place, heads = log
    copy = tampered(place, [("DELETE FROM audit WHERE seq = ?", (seq,)) for seq in removed])
    first = min(removed)
    if removed == set(range(first, SIZE + 1)):
        # Cut off at the end: what is left is in order, and only a receipt tells.
        assert verify(copy).last_entry == first - 1
        code, reason = fault(copy, [Witness(SIZE, heads[SIZE])])
        assert code == "audit-truncated"
        assert reason.startswith(f"entry {first} to {SIZE} ")
    else:
        code, reason = fault(copy)
        assert code == "audit-removed"
        assert reason.startswith(f"entry {first} is missing")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET hash = 'text' WHERE seq = 3",
        "UPDATE audit SET hash = 1000000000000 WHERE seq = 3",  # which bytes() would take for a length
        "UPDATE audit SET entry = 17 WHERE seq = 3",
        "UPDATE audit SET entry = x'ff' WHERE seq = 3",
        "UPDATE audit SET entry = CAST(x'7b22ff227d' AS TEXT) WHERE seq = 3",  # text that is not UTF-8
        "UPDATE audit SET entry = CAST(zeroblob(9) AS TEXT) WHERE seq = 3",
    ],
)
def test_whatever_lies_in_an_entrys_place_is_named(log: tuple[Path, list[bytes]], statement: str) -> None:
    code, reason = fault(tampered(log[0], [(statement, ())]))
    assert (code, reason[:17]) == ("audit-changed", "entry 3 was chang"), reason


def test_an_entry_of_endless_depth_is_named(log: tuple[Path, list[bytes]]) -> None:
    code, reason = fault(tampered(log[0], [("UPDATE audit SET entry = ? WHERE seq = 3", ("[" * 100_000,))]))
    assert (code, reason) == ("audit-changed", "entry 3 was changed: it is no longer an entry")


def test_an_entry_of_another_node_is_named(log: tuple[Path, list[bytes]]) -> None:
    place, heads = log
    entry = entry_of(place, SIZE).replace(f'"node":"{NODE}"', '"node":"tax"')
    head = hashlib.sha256(heads[SIZE - 1] + entry.encode()).digest()
    copy = tampered(place, [("UPDATE audit SET entry = ?, hash = ? WHERE seq = ?", (entry, head, SIZE))])
    assert fault(copy) == ("audit-changed", f"entry {SIZE} is one of tax, in the log of {NODE}")


@settings(deadline=None, max_examples=40)
@given(order=st.permutations(range(SIZE + 1)).filter(lambda order: order != list(range(SIZE + 1))))
def test_reordered_entries_are_found(log: tuple[Path, list[bytes]], order: list[int]) -> None:
    place, _ = log
    away = [("UPDATE audit SET seq = seq + 1000", ())]
    back = [("UPDATE audit SET seq = ? WHERE seq = ?", (new, old + 1000)) for new, old in enumerate(order)]
    code, reason = fault(tampered(place, [*away, *back]))  # type: ignore[list-item]  # parameters of two kinds
    first = next(new for new, old in enumerate(order) if new != old)
    assert code == "audit-reordered"
    assert reason == f"entry {first} is not in its place; entry {order[first]} stands there"


def test_a_chain_that_was_rewritten_contradicts_a_receipt(log: tuple[Path, list[bytes]]) -> None:
    place, heads = log
    statements: list[tuple[str, tuple[object, ...]]] = []
    head = heads[4]
    for seq in range(5, SIZE + 1):
        entry = entry_of(place, seq).replace('"bank"', '"tank"') if seq == 5 else entry_of(place, seq)
        head = hashlib.sha256(head + entry.encode()).digest()
        statements.append(("UPDATE audit SET entry = ?, hash = ? WHERE seq = ?", (entry, head, seq)))
    copy = tampered(place, statements)
    assert verify(copy).last_entry == SIZE
    assert verify(copy, witnesses=[Witness(4, heads[4])]).witnesses == 1
    code, reason = fault(copy, [Witness(9, heads[9]), Witness(4, heads[4])])
    assert (code, reason.split(" or ")[0]) == ("audit-changed", "entry 9")


def test_what_is_no_ledger_is_named(tmp_path: Path, log: tuple[Path, list[bytes]]) -> None:
    with pytest.raises(UsageError, match="no ledger at"):
        verify(tmp_path / "nothing.db")
    (tmp_path / "noise.db").write_bytes(os.urandom(4096))
    with pytest.raises(PolicyError, match="not a database"):
        verify(tmp_path / "noise.db")
    with pytest.raises(PolicyError, match="not a database"):
        open_ledger(tmp_path / "noise.db", node=NODE)
    assert fault(tampered(log[0], [("DELETE FROM audit", ())])) == (
        "audit-removed",
        "entry 0 is missing; the log is empty",
    )
    with pytest.raises(UsageError, match="not a directory"):
        open_ledger(tmp_path / "no" / "ledger.db", node=NODE)


def test_a_log_on_a_read_only_medium_is_verified(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_ledger(path, node=NODE) as ledger:
        ledger.commit([evaluation()])
    assert list(path.parent.iterdir()) == [path]
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who can write everywhere
    assert verify(path).last_entry == 1
    assert list(path.parent.iterdir()) == [path]
    # While the node writes, what is not yet in the file itself counts as well.
    with open_ledger(path, node=NODE) as ledger:
        ledger.commit([evaluation()])
        assert verify(path).last_entry == 2


def test_a_ledger_belongs_to_one_node_and_one_version(log: tuple[Path, list[bytes]]) -> None:
    with pytest.raises(UsageError, match=f"belongs to {NODE}, not to tax"):
        open_ledger(log[0], node="tax")
    newer = tampered(log[0], [("UPDATE ledger SET schema_version = 99", ())])
    with pytest.raises(UsageError, match="schema version 99"):
        open_ledger(newer, node=NODE)


# Many at once -------------------------------------------------------------------------------------------------------


def test_concurrent_callers_share_transactions_and_keep_together(path: Path) -> None:
    with open_ledger(path, node=NODE) as ledger:

        def call(_: int) -> list[Outcome]:
            return ledger.commit([evaluation() for _ in range(3)])

        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(call, range(200)))
    for one in outcomes:
        assert statuses(one) == ["fresh"] * 3
        assert [o.entry for o in one] == list(range(one[0].entry, one[0].entry + 3))
    assert sorted(o.entry for one in outcomes for o in one) == list(range(1, 601))
    witnesses = [Witness(o.entry, o.head) for one in outcomes for o in one]
    assert verify(path, witnesses=witnesses).witnesses == 600


def test_one_consent_raced_by_many_is_used_once(path: Path) -> None:
    first = checked()
    with open_ledger(path, node=NODE) as ledger, ThreadPoolExecutor(8) as pool:
        others = [replace(first, blinded=os.urandom(32)) for _ in range(40)]
        outcomes = list(pool.map(lambda one: ledger.commit([evaluation(one)])[0], others))
    assert sorted(statuses(outcomes)) == ["fresh"] + ["reused"] * 39


def test_callers_that_wait_are_committed_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one transaction waits for the disk, all who come meanwhile go into the next one."""
    with open_ledger(path, node=NODE) as ledger:
        write, sizes, entered, leave = Ledger._write, [], threading.Event(), threading.Event()

        def slow(self: Ledger, connection: object, items: list[Evaluation]) -> list[Outcome]:
            sizes.append(len(items))
            if len(sizes) == 1:
                entered.set()
                assert leave.wait(10)
            return write(self, connection, items)  # type: ignore[arg-type]  # passed on as it came

        monkeypatch.setattr(Ledger, "_write", slow)
        with ThreadPoolExecutor(9) as pool:
            first = pool.submit(ledger.commit, [evaluation()])
            assert entered.wait(10)
            rest = [pool.submit(ledger.commit, [evaluation(), evaluation()]) for _ in range(8)]
            while len(ledger._waiting) < 8:
                time.sleep(0.001)
            leave.set()
            for one in (first, *rest):
                assert set(statuses(one.result())) == {"fresh"}
    assert sizes == [1, 16]


WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from tests.governance.test_ledger import evaluation
    from unseen.governance.ledger import open_ledger

    path, count, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with open_ledger(path, node="civil-affairs") as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(count):
            outcomes = ledger.commit([evaluation() for _ in range(size)])
            print(outcomes[-1].entry, outcomes[-1].head.hex(), flush=True)
    """
)


def writer(path: Path, count: int, size: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(count), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def go(*processes: subprocess.Popen[str]) -> None:
    """Lets writers begin, once all of them are ready."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def witnesses_of(output: str) -> list[Witness]:
    """What a writer said it had made durable; a line cut short was not said."""
    lines = [line.split() for line in output.splitlines(keepends=True) if line.endswith("\n")]
    return [Witness(int(entry), bytes.fromhex(head)) for entry, head in lines]


def test_two_processes_extend_one_chain(path: Path) -> None:
    processes = [writer(path, 60, 5) for _ in range(2)]
    go(*processes)
    outputs = [process.communicate(timeout=50)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    witnesses = [witness for output in outputs for witness in witnesses_of(output)]
    found = verify(path, witnesses=witnesses)
    assert (found.last_entry, found.billed, found.witnesses) == (600, 600, 120)


@pytest.mark.parametrize("lines", [1, 7, 40])
def test_kill_9_loses_nothing_that_was_said(path: Path, lines: int) -> None:
    process = writer(path, 100_000, 3)
    go(process)
    assert process.stdin is not None
    assert process.stdout is not None
    said = "".join(process.stdout.readline() for _ in range(lines))
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read()
    process.wait(10)
    process.stdin.close()
    process.stdout.close()
    witnesses = witnesses_of(said)
    assert len(witnesses) >= lines
    found = verify(path, witnesses=witnesses)
    assert found.witnesses == len(witnesses)
    assert found.last_entry % 3 == 0  # whole batches only
    with open_ledger(path, node=NODE) as ledger:
        [outcome] = ledger.commit([evaluation()])
        assert outcome.entry == found.last_entry + 1
    verify(path, witnesses=witnesses)


# A disk that is full --------------------------------------------------------------------------------------------------

FULL = textwrap.dedent(
    """
    import resource, signal, sys
    from pathlib import Path
    from mpc.errors import PolicyError
    from tests.governance.test_ledger import evaluation
    from tests.governance.world import checked
    from unseen.governance.ledger import open_ledger

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = Path(sys.argv[1])
    with open_ledger(path, node="civil-affairs") as ledger:
        before = ledger.commit([evaluation()])[0]
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
        refused, last, consent = 0, before, None
        for _ in range(60):
            consent = checked()
            try:
                last = ledger.commit([evaluation(consent)] + [evaluation() for _ in range(30)])[-1]
            except PolicyError as error:
                assert error.code == "ledger-unavailable", error
                assert error.remedy
                refused += 1
                if refused == 3:
                    break
        assert refused == 3, refused
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        after = ledger.commit([evaluation(consent)])[0]
        # Nothing of the refused calls was kept: the chain goes on where it stood, and the consent is still good.
        assert after.entry == last.entry + 1, (after, last)
        assert after.status == "fresh", after
        print(last.entry, last.head.hex())
        print(after.entry, after.head.hex(), flush=True)
    """
)


def test_a_full_disk_refuses_and_recovers(path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, cwd=REPOSITORY, timeout=50, check=False
    )
    assert result.returncode == 0, result.stderr
    found = verify(path, witnesses=witnesses_of(result.stdout))
    assert found.witnesses == 2


def test_an_unwritable_ledger_says_so_to_every_waiting_caller(path: Path) -> None:
    with open_ledger(path, node=NODE) as ledger:
        ledger.commit([evaluation()])
        other = sqlite3.connect(path)
        other.execute("DROP TABLE nonces")
        other.close()
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(ledger.commit, [evaluation()]) for _ in range(8)]
            for call in calls:
                with pytest.raises(PolicyError) as refusal:
                    call.result()
                assert refusal.value.code == "ledger-unavailable"
                assert "INSERT" not in str(refusal.value)  # statements and their parameters stay inside
    assert verify(path).last_entry == 1


# Another database -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///x.db", "path of an SQLite file, or a URL that begins with postgresql"),
        ("mysql://localhost/x", "path of an SQLite file, or a URL that begins with postgresql"),
        ("postgresql://localhost:port/x", "not a database URL"),
        ("postgresql+nosuchdriver://localhost/x", "not a database URL"),
        ("postgresql+psycopg2://localhost/x", r"pip install 'unseen\[postgres\]'"),
    ],
)
def test_another_place_than_a_ledger_can_have_is_named(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)  # not installed, whatever is installed here
    with pytest.raises(UsageError, match=message):
        open_ledger(url, node=NODE)
    with pytest.raises(UsageError, match=message):
        verify(url)


def test_every_statement_is_also_postgresql() -> None:
    """No server here; but what is sent to one must be its SQL, and take the lock that BEGIN IMMEDIATE is on SQLite."""
    sent: list[str] = []

    def note(statement: object, *_: object, **__: object) -> None:
        sent.append(str(statement.compile(dialect=postgresql.dialect())))  # type: ignore[attr-defined]

    ledgers._metadata.create_all(create_mock_engine("postgresql+psycopg://", note), checkfirst=False)
    tables = " ".join(sent)
    for word in ("BYTEA", "BIGINT", "PRIMARY KEY (nonce, issuer)", "PRIMARY KEY (seq)", "seq BIGINT NOT NULL"):
        assert word in tables
    assert "SERIAL" not in tables
    for statement in (ledgers._find_nonces, ledgers._find_head):
        assert str(statement.compile(dialect=postgresql.dialect())).startswith("SELECT")
    lock = str(ledgers._find_forgotten.compile(dialect=postgresql.dialect()))
    assert lock.endswith("FOR UPDATE")
