"""Hidden lookup against its ideal, a dictionary; and against peers that lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.channel import Channel
from mpc.data import identifiers
from mpc.errors import ChannelClosed, CheatingDetected, PeerError, PolicyError, UsageError
from mpc.kernels import oprf
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.testing import Tamper, run_parties
from mpc.wire.lookup.v1 import table_pb2 as wire
from protocols.lookup import table as lookup
from protocols.lookup.table import Manifest, Recorded, Records, Request, SignedDocument
from protocols.lookup.tablefile import Table, TableSpec, assemble, size_class

T = TypeVar("T")
SUITE = suites.get("intl")
ENVELOPE = 160
"""What the file's Cost line allows per message besides arrays, permits, refusals and receipt, bytes."""


def built(
    records: Mapping[str, bytes],
    *,
    width: int = 1,
    default: bytes | None = None,
    epoch: int = 1,
    batches: int = 1,
    suite: suites.Suite = SUITE,
) -> lookup.Built:
    keys = list(records)
    parts = []
    for i in range(batches):
        some = keys[i::batches]
        answers = np.frombuffer(b"".join(records[k] for k in some), dtype=np.uint8).reshape(len(some), width)
        parts.append(Records(pack(some), answers))
    return lookup.build(
        parts,
        suite=suite,
        product="marriage-status",
        epoch=epoch,
        key_form="text",
        answer_bytes=width,
        default_answer=default,
        rng=Rng.from_seed(b"build %d" % epoch),
    )


PEOPLE = {f"person {i}": bytes([i % 3 + 1]) for i in range(60)}
BUILT = built(PEOPLE)
TABLE = BUILT.table


@dataclass
class Decision:
    """An admission that refuses what it is told to, and remembers what happened."""

    desk: Desk
    request: Request
    refusals: Mapping[int, PolicyError]

    def record(self, accepted: NDArray[np.int64], evaluated: NDArray[np.uint8]) -> Recorded:
        self.desk.events.append("record")
        self.desk.recorded.append((accepted, evaluated))
        if self.desk.record_fails:
            raise PolicyError("the ledger cannot be written", code="ledger-unavailable", remedy="Free some space.")
        return Recorded(receipt=self.desk.receipt, refusals=self.desk.late)


@dataclass
class Desk:
    """The application behind the protocol, as a test sees it."""

    built: Sequence[lookup.Built] = (BUILT,)
    early: Mapping[int, PolicyError] = field(default_factory=dict)
    late: Mapping[int, PolicyError] = field(default_factory=dict)
    receipt: SignedDocument | None = None
    admit_fails: bool = False
    record_fails: bool = False
    manifest_count: int = 1
    events: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    recorded: list[tuple[NDArray[np.int64], NDArray[np.uint8]]] = field(default_factory=list)

    def manifests(self, since_epoch: int) -> list[Manifest]:
        every = [Manifest(e, SignedDocument(b"manifest %d" % e, b"signed")) for e in range(1, self.manifest_count + 1)]
        return every[-1:] if not since_epoch else every[since_epoch - 1 :]

    def epoch(self, number: int) -> lookup.Epoch:
        for b in self.built:
            if b.table.spec.epoch == number:
                return lookup.Epoch(b.table, b.private_key)
        raise PolicyError(f"epoch {number} is not served", code="epoch-not-served", remedy="Fetch the manifest again.")

    def admit(self, request: Request) -> Decision:
        self.events.append("admit")
        self.requests.append(request)
        if self.admit_fails:
            raise PolicyError("no rule allows this", code="policy-denied")
        return Decision(self, request, self.early)


def run(asker: Callable[[Channel, Session], T], desk: Desk | None = None, **options: object) -> T:
    """Run an asker against the real source; returns what the asker returned."""

    def ask(s: Session) -> T:
        channel = s.channel("civil-affairs")
        try:
            return asker(channel, s)
        finally:
            channel.close()

    service = Desk() if desk is None else desk
    source = {"civil-affairs": lambda s: lookup.send(s.channel("bank"), service=service, rng=s.rng)}
    results = run_parties({"bank": ask, **source}, protocol="lookup.table", timeout_s=20, **options)
    return results["bank"]


def ask(
    keys: Sequence[str], *, table: Table = TABLE, **options: object
) -> Callable[[Channel, Session], lookup.Answers]:
    return lambda channel, s: lookup.query(channel, table, pack(keys), rng=s.rng, **options)


# Against the ideal ----------------------------------------------------------------------------------------------------


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[dict[str, bytes], int, bytes | None, list[str]]:
    width = draw(st.sampled_from([1, 2, 7, 8, 9, 33, 64]))
    keys = st.text(min_size=1, max_size=12)
    answers = st.binary(min_size=width, max_size=width) | st.just(bytes(width))
    records = draw(st.dictionaries(keys, answers, max_size=12))
    default = draw(st.none() | st.just(bytes(width)) | answers)
    asked = draw(st.lists(st.sampled_from(sorted(records)) | keys if records else keys, max_size=8))
    return records, width, default, asked


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data_sets(), st.integers(1, 3), st.sampled_from(["intl", "gm"]))
def test_the_protocol_is_a_dictionary(
    data: tuple[dict[str, bytes], int, bytes | None, list[str]], batches: int, suite: str
) -> None:
    records, width, default, asked = data
    b = built(records, width=width, default=default, batches=batches, suite=suites.get(suite))

    def asker(channel: Channel, s: Session) -> lookup.Answers:
        table = lookup.fetch_table(channel, spec=b.table.spec, table_hash=b.table.hash)
        return lookup.query(channel, table, pack(asked), rng=s.rng)

    got = run(asker, Desk(built=[b]))
    assert got.answered.all()
    assert got.refusals == {}
    assert got.found.tolist() == [default is not None or key in records for key in asked]
    assert [a.tobytes() for a in got.answers] == [records.get(key, default or bytes(width)) for key in asked]
    assert b.records == len(records)


def test_a_pair_is_found_in_either_order() -> None:
    form = "pair:text"
    couples = identifiers.canonical_columns(form, ["Ann", "李雷"], ["Bob", "韩梅梅"])
    b = lookup.build(
        [Records(couples, np.array([[1], [1]], dtype=np.uint8))],
        suite=SUITE,
        product="couple",
        epoch=1,
        key_form=form,
        answer_bytes=1,
        default_answer=b"\x00",
        rng=Rng(),
    )
    asked = pack([identifiers.canonical(form, *p) for p in (("Bob", "Ann"), ("李雷", "韩梅梅"), ("Ann", "韩梅梅"))])
    got = run(lambda c, s: lookup.query(c, b.table, asked, rng=s.rng), Desk(built=[b]))
    assert got.answers.reshape(-1).tolist() == [1, 1, 0]
    assert got.found.all()


def test_many_keys_go_in_several_messages_and_come_back_in_order() -> None:
    asked = [f"person {i}" for i in range(2300)]
    desk = Desk(receipt=SignedDocument(b"receipt", b"signed", b"cert"))
    seen: list[Progress] = []
    got = run(ask(asked, progress=seen.append), desk)
    assert [len(r.blinded) for r in desk.requests] == [1000, 1000, 300]
    assert got.found.tolist() == [i < 60 for i in range(2300)]
    assert got.answers[:60].reshape(-1).tolist() == [i % 3 + 1 for i in range(60)]
    assert not got.answers[60:].any()
    assert got.receipts == (SignedDocument(b"receipt", b"signed", b"cert"),) * 3
    assert [(p.stage, p.done, p.total) for p in seen] == [("query", n, 2300) for n in (1000, 2000, 2300)]


def test_no_keys_need_no_message() -> None:
    desk = Desk()
    got = run(ask([]), desk)
    assert (len(got.found), got.answers.shape, desk.requests) == (0, (0, 1), [])


def test_what_a_default_answer_hides() -> None:
    records = {f"person {i}": b"\x00" if i % 2 else b"\x01" for i in range(4000)}
    assert built(records).table.spec.rows == size_class(4000)
    hidden = built(records, default=b"\x00")
    assert hidden.table.spec.rows == size_class(2000)
    assert hidden.records == 4000
    got = run(ask(["person 0", "person 1", "nobody"], table=hidden.table), Desk(built=[hidden]))
    assert got.found.tolist() == [True, True, True]
    assert got.answers.reshape(-1).tolist() == [1, 0, 0]


# Building -------------------------------------------------------------------------------------------------------------


def test_two_tables_of_the_same_records_share_nothing() -> None:
    again = lookup.build(
        [Records(pack(list(PEOPLE)), np.array([list(v) for v in PEOPLE.values()], dtype=np.uint8))],
        suite=SUITE,
        product="marriage-status",
        epoch=2,
        key_form="text",
        answer_bytes=1,
        rng=Rng(),
    )
    assert not np.isin(again.table.tags, TABLE.tags).any()
    assert again.table.spec.public_key != TABLE.spec.public_key


def test_rows_do_not_tell_records_from_dummies() -> None:
    tags = TABLE.tags
    assert len(tags) == 1024
    assert (tags[:-1] < tags[1:]).all()
    # 964 dummies and 60 records: each eighth of the range holds about 128 tags, within 6 standard deviations.
    counts = np.bincount((tags >> np.uint64(61)).astype(np.int64), minlength=8)
    assert abs(counts - 128).max() < 6 * (1024 * 7 / 64) ** 0.5


@pytest.mark.parametrize("batches", [1, 2])
def test_two_records_with_one_key_are_an_error(batches: int) -> None:
    same = [
        Records(pack(["a", "b", "c", "b"][i::batches]), np.zeros((4 // batches, 1), dtype=np.uint8))
        for i in range(batches)
    ]
    with pytest.raises(UsageError, match="Two records have the same key; read them with mpc.data.tables.keyed"):
        lookup.build(same, suite=SUITE, product="p", epoch=1, key_form="text", answer_bytes=1, rng=Rng())


def test_colliding_tags_take_a_new_key(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = lookup._tags, []

    def colliding(y: NDArray[np.uint8]) -> NDArray[np.uint64]:
        calls.append(len(y))
        return np.zeros(len(y), dtype=np.uint64) if len(calls) == 1 else real(y)

    monkeypatch.setattr(lookup, "_tags", colliding)
    b = built(PEOPLE)
    assert calls == [60, 60]
    assert b.records == 60
    monkeypatch.undo()
    assert run(ask(["person 7"], table=b.table), Desk(built=[b])).answers[0, 0] == 2


def test_what_cannot_be_built() -> None:
    def attempt(records: object, **changes: object) -> None:
        options: dict[str, Any] = {"product": "p", "epoch": 1, "key_form": "text", "answer_bytes": 1, **changes}
        lookup.build(records, suite=SUITE, rng=Rng(), **options)

    one = Records(pack(["a"]), np.zeros((1, 1), dtype=np.uint8))
    with pytest.raises(UsageError, match="can be read only once"):
        attempt(iter([one]))
    with pytest.raises(UsageError, match="one row per key"):
        attempt([Records(pack(["a", "b"]), one.answers)])
    with pytest.raises(UsageError, match=r"\(records, 2\) uint8"):
        attempt([one], answer_bytes=2)
    with pytest.raises(UsageError, match="1 to 64"):
        attempt([one], answer_bytes=65)
    with pytest.raises(UsageError, match="default answer has 2 bytes; give 1"):
        attempt([one], default_answer=b"ab")
    with pytest.raises(UsageError, match="numbered from 1"):
        attempt([one], epoch=0)


def test_a_key_is_wiped_when_its_table_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[NDArray[np.uint8]] = []
    real = lookup._new_key
    monkeypatch.setattr(lookup, "_new_key", lambda *a: (keys.append(real(*a)), keys[-1])[1])
    wrong = [Records(pack(["a", "b"]), np.zeros((1, 1), dtype=np.uint8))]
    with pytest.raises(UsageError, match="one row per key"):
        lookup.build(wrong, suite=SUITE, product="p", epoch=1, key_form="text", answer_bytes=1, rng=Rng())
    assert len(keys) == 1
    assert not keys[0].any()


def test_building_reports_progress() -> None:
    seen: list[Progress] = []
    parts = [Records(pack([f"{i}-{j}" for j in range(10)]), np.zeros((10, 1), dtype=np.uint8)) for i in range(3)]
    lookup.build(
        parts,
        suite=SUITE,
        product="p",
        epoch=1,
        key_form="text",
        answer_bytes=1,
        rng=Rng(),
        progress=seen.append,
        expected_records=30,
    )
    assert seen == [Progress("table", n, 30) for n in (10, 20, 30)]


def test_no_secret_is_printed() -> None:
    assert bytes(BUILT.private_key).hex() not in repr(BUILT)
    assert "private_key" not in repr(BUILT) + repr(lookup.Epoch(TABLE, BUILT.private_key))
    assert "answers=" not in repr(run(ask(["person 0"])))


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=20), max_size=5), st.integers(0, 3))
def test_inputs_are_what_their_documentation_says(keys: list[bytes], skip: int) -> None:
    packed = pack([b"x" * 3, *keys])
    one_off = Packed(packed.data, packed.offsets[1:])  # a slice, whose offsets do not begin at zero
    got = list(lookup.query_inputs(one_off, product="银", key_form="text"))
    prefix = b"unseen lookup.table v1" + b"\x00\x03" + "银".encode() + b"\x00\x04text"
    assert got == [prefix + key for key in keys]


# What the source's application sees and decides -----------------------------------------------------------------------


def test_consents_and_their_blinds_reach_the_application_unchanged() -> None:
    keys = pack(["person 1", "person 2"])
    inputs = lookup.query_inputs(keys, product="marriage-status", key_form="text")
    blinds, blinded = lookup.blind(inputs, suite=SUITE, rng=Rng())
    kept = blinds.copy()
    permits = [
        [SignedDocument(b"token 1", b"sig 1", b"cert")],
        [SignedDocument(b"token 2a", b"sig"), SignedDocument(b"token 2b", b"sig")],
    ]
    desk = Desk()
    got = run(
        lambda c, s: lookup.query(c, TABLE, keys, rng=s.rng, scenario="loan", blinds=blinds, permits=permits), desk
    )
    assert got.answers.reshape(-1).tolist() == [2, 3]
    (request,) = desk.requests
    assert (request.peer, request.scenario, request.spec) == ("bank", "loan", TABLE.spec)
    assert request.permits == tuple(map(tuple, permits))
    assert (request.blinded == blinded).all()
    assert (blinds == kept).all()
    ((accepted, evaluated),) = desk.recorded
    assert accepted.tolist() == [0, 1]
    assert (evaluated == oprf.blind_evaluate("intl", BUILT.private_key, blinded)).all()


def test_a_query_repeated_after_a_lost_reply_is_the_same_query() -> None:
    keys = pack(["person 1"])
    blinds, _ = lookup.blind(
        lookup.query_inputs(keys, product="marriage-status", key_form="text"), suite=SUITE, rng=Rng()
    )
    desk = Desk()
    for _ in range(2):
        run(lambda c, s: lookup.query(c, TABLE, keys, rng=s.rng, blinds=blinds), desk)
    first, second = desk.requests
    assert (first.blinded == second.blinded).all()
    assert (desk.recorded[0][1] == desk.recorded[1][1]).all()


def test_fresh_blinds_are_fresh() -> None:
    desk = Desk()
    run(lambda c, s: [lookup.query(c, TABLE, pack(["person 1"] * 2), rng=s.rng) for _ in range(2)], desk)
    elements = {bytes(b) for r in desk.requests for b in r.blinded}
    assert len(elements) == 4


def test_refusals_before_and_after_the_evaluation() -> None:
    early = {1: PolicyError("it ran out", code="consent-expired", remedy="Get a new one.")}
    late = {3: PolicyError("it was used", code="nonce-reused")}
    desk = Desk(early=early, late=late, receipt=SignedDocument(b"r", b"s"))
    got = run(ask([f"person {i}" for i in range(5)]), desk)
    assert got.answered.tolist() == [True, False, True, False, True]
    assert got.found.tolist() == [True, False, True, False, True]
    assert got.answers.reshape(-1).tolist() == [1, 0, 3, 0, 2]
    assert {i: (e.reason, e.code, e.remedy) for i, e in got.refusals.items()} == {
        1: ("it ran out", "consent-expired", "Get a new one."),
        3: ("it was used", "nonce-reused", ""),
    }
    ((accepted, evaluated),) = desk.recorded
    assert accepted.tolist() == [0, 2, 3, 4]
    assert len(evaluated) == 4
    assert got.receipts == (SignedDocument(b"r", b"s"),)


def test_a_refusal_arrives_in_plain_and_bounded_words() -> None:
    desk = Desk(early={0: PolicyError("two\nlines\x1b[2J", code="no", remedy="r" * 5000)})
    refusal = run(ask(["person 0"]), desk).refusals[0]
    assert (refusal.reason, refusal.remedy) == ("two lines [2J", "r" * 1000)


def test_a_thousand_refusals_fit_one_reply() -> None:
    no = PolicyError("不" * 1000, code="consent-expired", remedy="请" * 1000)
    got = run(ask(["person 0"] * 1000), Desk(early=dict.fromkeys(range(1000), no)))
    assert len(got.refusals) == 1000
    refusal = got.refusals[999]
    assert (refusal.code, set(refusal.reason), set(refusal.remedy)) == ("consent-expired", {"不"}, {"请"})
    assert len(refusal.reason) == len(refusal.remedy) > 100


@pytest.mark.parametrize(
    "refusals",
    [
        {"early": {2: PolicyError("no", code="no")}},
        {"early": {-1: PolicyError("no", code="no")}},
        {"early": {0: PolicyError("no", code="no")}, "late": {0: PolicyError("no", code="no")}},
    ],
    ids=["beyond", "from the end", "twice"],
)
def test_an_application_that_mixes_elements_up_answers_none(refusals: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="An element was refused that was not up for decision"):
        run(ask(["person 0", "person 1"]), Desk(**refusals))


def test_an_asker_that_hangs_up_ends_the_session_whenever_it_does() -> None:
    heard: list[Channel] = []

    class Slow(Desk):
        def admit(self, request: Request) -> Decision:
            heard[0].close()  # while the source is at work
            return super().admit(request)

    def asker(channel: Channel, s: Session) -> None:
        heard.append(channel)
        with pytest.raises(ChannelClosed):
            lookup.query(channel, TABLE, pack(["person 0"]), rng=s.rng)

    desk = Slow()
    run(asker, desk)  # the source's `send` returns, or its error would be raised here
    assert desk.events == ["admit", "record"]


@pytest.mark.parametrize("fails", ["answered", "refused", "cheating", "abandoned"])
def test_blinds_are_wiped_whatever_comes(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real = lookup._ask
    monkeypatch.setattr(lookup, "_ask", lambda *a: (asked.append(real(*a)), asked[-1])[1])

    def stop(_: Progress) -> None:
        if fails == "abandoned":
            raise KeyboardInterrupt

    def asker(channel: Channel, s: Session) -> None:
        table = TABLE
        if fails == "cheating":
            table = assemble(
                TableSpec(**{**vars(TABLE.spec), "public_key": OTHER.table.spec.public_key}), TABLE.tags, TABLE.masked
            )
        with suppress(CheatingDetected, KeyboardInterrupt):
            lookup.query(channel, table, pack(["person 0"] * 3), rng=s.rng, batch=1, progress=stop)

    with suppress(ChannelClosed):
        run(asker, Desk(admit_fails=fails == "refused"))
    assert len(asked) >= 2
    assert not any(a.blinds.any() for a in asked)


def test_the_source_cannot_tell_by_the_clock_where_a_row_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    real = Table.find

    def find(table: Table, tags: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        desk.events.append("find")
        return real(table, tags)

    monkeypatch.setattr(Table, "find", find)
    run(ask(["person 0"] * 4, batch=1), desk)
    assert desk.events == ["admit", "record"] * 4 + ["find"] * 4


def test_found_and_answered_are_two_things() -> None:
    b = built(PEOPLE, default=b"\x00")
    got = run(ask(["nobody"], table=b.table), Desk(built=[b]))
    assert not np.shares_memory(got.found, got.answered)


def test_everything_refused_is_still_recorded() -> None:
    no = PolicyError("no", code="consent-expired")
    desk = Desk(early={0: no, 1: no}, receipt=SignedDocument(b"r", b"s"))
    got = run(ask(["person 0", "person 1"]), desk)
    assert not got.answered.any()
    assert sorted(got.refusals) == [0, 1]
    assert desk.events == ["admit", "record"]
    assert desk.recorded[0][1].shape == (0, 32)


@pytest.mark.parametrize(
    ("desk", "code"),
    [(Desk(admit_fails=True), "policy-denied"), (Desk(record_fails=True), "ledger-unavailable")],
    ids=["admit", "record"],
)
def test_a_rule_that_refuses_the_whole_request(desk: Desk, code: str) -> None:
    got = run(ask(["person 0", "person 1", "person 2"], batch=2), desk)
    assert not got.answered.any()
    assert [got.refusals[i].code for i in range(3)] == [code] * 3


def test_nothing_is_evaluated_before_it_is_admitted_or_sent_before_it_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    for name in ("blind_evaluate", "prove"):
        real = getattr(oprf, name)
        monkeypatch.setattr(oprf, name, lambda *a, n=name, r=real, **k: (desk.events.append(n), r(*a, **k))[1])
    run(ask(["person 0"]), desk)
    assert desk.events == ["admit", "blind_evaluate", "record", "prove"]


def test_an_epoch_that_is_not_served() -> None:
    newer = built(PEOPLE, epoch=2)

    def asker(channel: Channel, s: Session) -> None:
        with pytest.raises(PolicyError) as caught:
            lookup.fetch_table(channel, spec=TABLE.spec, table_hash=TABLE.hash)
        assert caught.value.code == "epoch-not-served"
        got = lookup.query(channel, TABLE, pack(["person 0"]), rng=s.rng)
        assert got.refusals[0].code == "epoch-not-served"
        assert got.refusals[0].remedy == "Fetch the manifest again."
        assert lookup.query(channel, newer.table, pack(["person 0"]), rng=s.rng).answers[0, 0] == 1

    run(asker, Desk(built=[newer]))


def test_two_epochs_served_at_once() -> None:
    newer = built(dict.fromkeys(PEOPLE, b"\t"), epoch=2)

    def asker(channel: Channel, s: Session) -> list[int]:
        return [
            int(lookup.query(channel, t, pack(["person 0"]), rng=s.rng).answers[0, 0]) for t in (TABLE, newer.table)
        ]

    assert run(asker, Desk(built=[BUILT, newer])) == [1, 9]


def test_manifests_come_in_as_many_messages_as_they_need() -> None:
    desk = Desk(manifest_count=300)
    assert [m.document for m in run(lambda c, _: lookup.fetch_manifests(c), desk)] == [b"manifest 300"]
    got = run(lambda c, _: lookup.fetch_manifests(c, since_epoch=2), desk)
    assert [m.document for m in got] == [b"manifest %d" % e for e in range(2, 301)]


def test_misuse_by_the_asker() -> None:
    for options, text in (
        ({"batch": 0}, "batch is 1 to 1000, not 0"),
        ({"batch": 1001}, "batch is 1 to 1000, not 1001"),
        ({"permits": [[]]}, "2 keys need as many"),
        ({"permits": [[], [SignedDocument(b"", b"")] * 3]}, "A key has at most 2 consents"),
        ({"blinds": np.ones((1, 32), dtype=np.uint8)}, "2 keys need as many"),
        ({"blinds": np.ones((2, 31), dtype=np.uint8)}, r"give \(n, 32\)"),
        (
            {"blinds": np.vstack([np.eye(1, 32, dtype=np.uint8), np.zeros((1, 32), dtype=np.uint8)])},
            "Blind 1 of a message",
        ),
        ({"blinds": np.full((2, 32), 255, dtype=np.uint8)}, "Blind 0 of a message is no scalar"),
        ({"permits": [[SignedDocument(bytes(1 << 20), b"")], []]}, "consents of one key take more than"),
    ):
        with pytest.raises(UsageError, match=text):
            run(ask(["a", "b"], **options))


def test_an_abandoned_query_does_not_answer_the_next() -> None:
    def asker(channel: Channel, s: Session) -> None:
        def stop(_: Progress) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            lookup.query(channel, TABLE, pack(["person 0"] * 3), rng=s.rng, batch=1, progress=stop)
        with pytest.raises(ChannelClosed):
            lookup.query(channel, TABLE, pack(["person 1"]), rng=s.rng)

    run(asker)


def test_bulky_consents_are_spread_over_messages() -> None:
    permits = [[SignedDocument(bytes(3000), bytes(64))] for _ in range(600)]
    desk = Desk()
    got = run(ask(["person 0"] * 600, permits=permits), desk)
    assert got.found.all()
    assert len(desk.requests) == 3
    assert [t for r in desk.requests for t in r.permits] == [tuple(p) for p in permits]


@pytest.mark.parametrize("name", ["intl", "gm"])
def test_rows_are_what_the_documentation_says(name: str) -> None:
    """The table made anew from F's outputs, by the standard library's hashes or OpenSSL's."""
    suite, width = suites.get(name), 64
    b = built({"person": bytes(range(width))}, width=width, suite=suite)
    inputs = lookup.query_inputs(pack(["person"]), product="marriage-status", key_form="text")
    [y] = oprf.evaluate(name, oprf.Mode.VOPRF, b.private_key, inputs)
    stream, blocks = b"", [b"", b"\1"] if name == "gm" else [b""]
    for counter in blocks:
        hashed = hashes.Hash(hashes.SM3() if name == "gm" else hashes.SHA512())
        hashed.update(b"unseen lookup.table v1 mask" + counter + y.tobytes())
        stream += hashed.finalize()
    [row] = np.flatnonzero(b.table.tags == int.from_bytes(y[:8].tobytes(), "little"))
    assert bytes(x ^ m for x, m in zip(b.table.masked[row].tobytes(), stream, strict=True)) == bytes(range(width))
    whole = hashes.Hash(hashes.SM3() if name == "gm" else hashes.SHA256())
    whole.update(b.table.spec.header() + b.table.tags.tobytes() + b.table.masked.tobytes())
    assert whole.finalize() == b.table.hash


# Cost -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suite", "element"), [("intl", 32), ("gm", 33)])
@pytest.mark.parametrize("n", [1, 2, 100, 1000])
def test_a_query_costs_what_the_file_says(n: int, suite: str, element: int) -> None:
    b = built(PEOPLE, suite=suites.get(suite))

    def asker(channel: Channel, s: Session) -> None:
        lookup.query(channel, b.table, pack([f"person {i}" for i in range(n)]), rng=s.rng)
        traffic = channel.traffic
        assert traffic.rounds == traffic.messages_sent == traffic.messages_received == 1
        assert 0 < traffic.bytes_sent - element * n <= ENVELOPE
        assert 0 < traffic.bytes_received - (element * n + 64) <= ENVELOPE

    run(asker, Desk(built=[b]))


@pytest.mark.parametrize("width", [1, 64])
def test_a_table_costs_what_the_file_says(width: int) -> None:
    b = built({f"person {i}": bytes(width) for i in range(1100)}, width=width)

    def asker(channel: Channel, s: Session) -> None:
        lookup.fetch_table(channel, spec=b.table.spec, table_hash=b.table.hash)
        traffic = channel.traffic
        assert (traffic.rounds, b.table.spec.rows) == (1, 1280)
        assert 0 < traffic.bytes_received - (8 + width) * 1280 <= ENVELOPE

    run(asker, Desk(built=[b]))


# Peers that lie -------------------------------------------------------------------------------------------------------


def raw_query(blinded: NDArray[np.uint8], **header: object) -> Callable[[Channel, Session], None]:
    def asker(channel: Channel, s: Session) -> None:
        channel.send(wire.Query(**{"epoch": 1, **header}), blinded)
        channel.recv(wire.Evaluation)

    return asker


POINT = lookup.blind(pack(["x"]), suite=SUITE, rng=Rng())[1]


@pytest.mark.parametrize(
    ("blinded", "header", "reason"),
    [
        (np.zeros((1, 32), dtype=np.uint8), {}, "required: element 0 canonically encoded and not the identity"),
        (np.full((1, 32), 255, dtype=np.uint8), {}, "required: element 0 canonically encoded and not the identity"),
        (np.vstack([POINT, POINT ^ 1]), {}, "required: element 1 canonically encoded and not the identity"),
        (np.hstack([POINT, POINT[:, :1]]), {}, "required: elements of 32 bytes"),
        (np.empty((0, 32), dtype=np.uint8), {}, "required: 1 to 1000 elements in a query"),
        (np.repeat(POINT, 1001, axis=0), {}, "required: 1 to 1000 elements in a query"),
        (POINT, {"permits": [wire.Permit()] * 2}, "required: one permit per element, or none at all"),
        (
            POINT,
            {"permits": [wire.Permit(tokens=[wire.SignedDocument()] * 3)]},
            "required: at most 2 consents per element",
        ),
        (POINT, {"scenario": "loan\x1b[2J"}, "required: a scenario in plain words"),
    ],
    ids=["identity", "beyond the field", "negative", "width", "none", "too many", "permits", "consents", "escape"],
)
def test_a_bad_query_is_the_askers_error(blinded: NDArray[np.uint8], header: dict[str, Any], reason: str) -> None:
    desk = Desk()
    with pytest.raises(PeerError) as caught:
        run(raw_query(blinded, **header), desk)
    assert (caught.value.reason, caught.value.party, caught.value.step) == (reason, "bank", "Query")
    assert desk.events == []  # neither the application nor the key was asked


def lying_source(*replies: Callable[[Any, list[Any]], tuple[Any, ...]]) -> Callable[[Session], None]:
    """A source that answers each request by a function of header and arrays."""

    def send(s: Session) -> None:
        channel = s.channel("bank")
        for reply in replies:
            header, *arrays = channel.recv(wire.ManifestRequest, wire.TableRequest, wire.Query)
            channel.send(*reply(header, arrays))
        with pytest.raises(ChannelClosed):
            channel.recv(wire.Query)

    return send


def against(
    source: Callable[[Session], None], asker: Callable[[Channel, Session], Any]
) -> pytest.ExceptionInfo[PeerError]:
    with pytest.raises(PeerError) as caught:
        run_parties(
            {"bank": lambda s: asker(s.channel("civil-affairs"), s), "civil-affairs": source}, protocol="lookup.table"
        )
    assert caught.value.party == "civil-affairs"
    return caught


def evaluated(
    blinded: NDArray[np.uint8], *, private: NDArray[np.uint8] = BUILT.private_key
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An evaluation and its proof under a key."""
    points = oprf.blind_evaluate("intl", private, blinded)
    nonce = SUITE.group.scalar_from_uniform(Rng().uint8(1, 64))[0]
    public = oprf.public_key("intl", private)
    return points, oprf.prove("intl", oprf.Mode.VOPRF, private, public, blinded, points, nonce)


OTHER = built(PEOPLE, epoch=2)
HONEST = wire.Evaluation(epoch=1)
NO_BYTES = np.empty(0, dtype=np.uint8)


@pytest.mark.parametrize(
    ("reply", "reason", "error"),
    [
        (
            lambda _, a: (HONEST, *evaluated(a[0], private=lookup_other_key())),
            "a proof that the epoch's key was used",
            CheatingDetected,
        ),
        (
            lambda _, a: (HONEST, evaluated(a[0])[0][::-1].copy(), evaluated(a[0])[1]),
            "a proof that the epoch's key was used",
            CheatingDetected,
        ),
        (
            lambda _, a: (HONEST, evaluated(a[0])[0], np.zeros(64, dtype=np.uint8)),
            "a proof that the epoch's key was used",
            CheatingDetected,
        ),
        (
            lambda _, a: (HONEST, evaluated(a[0])[0], NO_BYTES),
            "elements and a proof of the suite",
            PeerError,
        ),
        (
            lambda _, a: (HONEST, np.hstack([a[0], a[0][:, :1]]), np.zeros(64, dtype=np.uint8)),
            "elements and a proof of the suite",
            PeerError,
        ),
        (
            lambda _, a: (
                HONEST,
                np.vstack([a[0][:1], np.zeros((1, 32), dtype=np.uint8)]),
                evaluated(a[0])[1],
            ),
            "element 1 canonically encoded and not the identity",
            PeerError,
        ),
        (
            lambda _, a: (wire.Evaluation(epoch=2), *evaluated(a[0])),
            "an evaluation of the epoch that was asked",
            PeerError,
        ),
        (
            lambda _, a: (HONEST, *evaluated(a[0][:1])),
            "one evaluated element for each that was not refused",
            PeerError,
        ),
        (
            lambda _, a: (wire.Evaluation(epoch=1, refusals=[wire.Refusal(index=2, code="x")]), *evaluated(a[0][:1])),
            "refusals in order, at most one per element",
            PeerError,
        ),
        (
            lambda _, a: (
                wire.Evaluation(epoch=1, refusals=[wire.Refusal(index=1, code="x"), wire.Refusal(index=0, code="x")]),
                a[0][:0],
                NO_BYTES,
            ),
            "refusals in order, at most one per element",
            PeerError,
        ),
        (
            lambda _, a: (
                wire.Evaluation(epoch=1, refusals=[wire.Refusal(index=i, code="x") for i in range(2)]),
                a[0][:0],
                np.zeros(64, dtype=np.uint8),
            ),
            "no proof where nothing was evaluated",
            PeerError,
        ),
        (
            lambda *_: (wire.Refused(code="x", message="\x1b[2J"),),
            "a refusal with a code in kebab case and printable text",
            PeerError,
        ),
        (
            lambda *_: (wire.Refused(code="Not Kebab"),),
            "a refusal with a code in kebab case and printable text",
            PeerError,
        ),
        (
            lambda *_: (wire.Refused(code="x", message="m" * 2000),),
            "a refusal with a code in kebab case and printable text",
            PeerError,
        ),
    ],
    ids=[
        "another key",
        "swapped",
        "no proof's proof",
        "empty proof",
        "width",
        "identity",
        "epoch",
        "too few",
        "refusal beyond",
        "refusals out of order",
        "proof of nothing",
        "terminal escape",
        "code",
        "long",
    ],
)
def test_a_bad_evaluation_is_the_sources_error(
    reply: Callable[[Any, list[Any]], tuple[Any, ...]], reason: str, error: type[PeerError]
) -> None:
    caught = against(lying_source(reply), ask(["person 0", "person 1"]))
    assert caught.value.reason == f"required: {reason}"
    assert caught.type is error


def lookup_other_key() -> NDArray[np.uint8]:
    return oprf.derive_key("intl", oprf.Mode.VOPRF, bytes(32), b"another key")


def test_a_table_under_another_public_key_is_noticed() -> None:
    spec = TableSpec(**{**vars(TABLE.spec), "public_key": OTHER.table.spec.public_key})
    table = assemble(spec, TABLE.tags, TABLE.masked)
    with pytest.raises(CheatingDetected, match="a proof that the epoch's key was used"):
        run(ask(["person 0"], table=table))


def changed(column: NDArray[Any]) -> NDArray[Any]:
    copy = column.copy()
    copy[-1] ^= 1
    return copy


@pytest.mark.parametrize(
    ("reply", "reason", "error"),
    [
        (
            lambda *_: (wire.Table(epoch=1), TABLE.tags[:-1], TABLE.masked[:-1]),
            "a table of 1024 rows with 1-byte answers, as its manifest says",
            PeerError,
        ),
        (
            lambda *_: (wire.Table(epoch=1), TABLE.tags[:512], np.hstack([TABLE.masked] * 2)[:512]),
            "a table of 1024 rows with 1-byte answers, as its manifest says",
            PeerError,
        ),
        (
            lambda *_: (wire.Table(epoch=2), TABLE.tags, TABLE.masked),
            "the table of the epoch asked for",
            PeerError,
        ),
        (
            lambda *_: (wire.Table(epoch=1), TABLE.tags[::-1].copy(), TABLE.masked),
            "tags that strictly increase",
            PeerError,
        ),
        (
            lambda *_: (wire.Table(epoch=1), TABLE.tags, changed(TABLE.masked)),
            "the table that the manifest's hash names",
            CheatingDetected,
        ),
        (
            lambda *_: (wire.Table(epoch=1), OTHER.table.tags, OTHER.table.masked),
            "the table that the manifest's hash names",
            CheatingDetected,
        ),
    ],
    ids=["cut short", "wider", "epoch", "unsorted", "one bit", "another table"],
)
def test_a_bad_table_is_the_sources_error(
    reply: Callable[[Any, list[Any]], tuple[Any, ...]], reason: str, error: type[PeerError]
) -> None:
    caught = against(lying_source(reply), lambda c, _: lookup.fetch_table(c, spec=TABLE.spec, table_hash=TABLE.hash))
    assert caught.value.reason == f"required: {reason}"
    assert caught.type is error


def test_a_larger_table_than_the_manifest_says_is_not_taken_in() -> None:
    reply = wire.Table(epoch=1), np.arange(1 << 20, dtype=np.uint64), np.zeros((1 << 20, 64), dtype=np.uint8)
    caught = against(
        lying_source(lambda *_: reply), lambda c, _: lookup.fetch_table(c, spec=TABLE.spec, table_hash=TABLE.hash)
    )
    assert caught.value.reason == f"its arrays claim {72 << 20} bytes where at most {9 * 1024} belong"


def test_manifests_without_end_are_not_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_MANIFEST_BYTES", 20 << 10)
    for size, count in ((0, 21), (3000, 7)):

        def source(s: Session, size: int = size, count: int = count) -> None:
            channel, epoch = s.channel("bank"), 1
            for _ in range(count):
                channel.recv(wire.ManifestRequest)
                epoch += 1
                manifest = wire.SignedDocument(document=bytes(size))
                channel.send(wire.Manifests(manifests=[manifest], next_epoch=epoch))
            with pytest.raises(ChannelClosed):
                channel.recv(wire.ManifestRequest)

        caught = against(source, lambda c, _: lookup.fetch_manifests(c, since_epoch=1))
        assert caught.value.reason == "required: manifests that one can hold"


@pytest.mark.parametrize(
    "reply",
    [
        lambda *_: (wire.Manifests(next_epoch=5),),
        lambda *_: (wire.Manifests(next_epoch=1, manifests=[wire.SignedDocument()]),),
    ],
)
def test_manifests_that_never_end_are_the_sources_error(reply: Callable[[Any, list[Any]], tuple[Any, ...]]) -> None:
    caught = against(lying_source(reply), lambda c, _: lookup.fetch_manifests(c, since_epoch=1))
    assert caught.value.reason == "required: manifests that go on"


# One bit -------------------------------------------------------------------------------------------------------------


def session(channel: Channel, s: Session) -> lookup.Answers:
    """All three requests: the messages of each side are manifest 0, table 1, query 2."""
    lookup.fetch_manifests(channel)
    table = lookup.fetch_table(channel, spec=TABLE.spec, table_hash=TABLE.hash)
    return lookup.query(channel, table, pack(["person 0"]), rng=s.rng)


@pytest.mark.parametrize(
    ("sender", "tamper", "error", "reason"),
    [
        ("bank", Tamper(0, 8), PeerError, "got a"),
        ("bank", Tamper(1, 8), PeerError, "got a"),
        ("bank", Tamper(2, -1, 7), PeerError, "required: element 0 canonically encoded and not the identity"),
        ("bank", Tamper(2, 0, 6), PeerError, "envelope does not lie within the first chunk"),
        ("civil-affairs", Tamper(0, 8), PeerError, "got a"),
        ("civil-affairs", Tamper(1, -1), CheatingDetected, "required: the table that the manifest's hash names"),
        ("civil-affairs", Tamper(1, 200), CheatingDetected, "required: the table that the manifest's hash names"),
        ("civil-affairs", Tamper(2, -1), CheatingDetected, "required: a proof that the epoch's key was used"),
        ("civil-affairs", Tamper(2, -64), CheatingDetected, "required: a proof that the epoch's key was used"),
        ("civil-affairs", Tamper(2, -65, 7), PeerError, "required: element 0 canonically encoded and not the identity"),
    ],
)
def test_one_flipped_bit(sender: str, tamper: Tamper, error: type[PeerError], reason: str) -> None:
    other = {"bank": "civil-affairs", "civil-affairs": "bank"}[sender]
    with pytest.raises(PeerError) as caught:
        run(session, tamper={(sender, other): tamper}, seed=b"bit")
    assert type(caught.value) is error
    assert caught.value.reason.startswith(reason)
    assert caught.value.party == sender


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_no_flipped_bit_of_an_evaluation_changes_an_answer(byte: int, bit: int) -> None:
    size = run(lambda c, s: (session(c, s), c.traffic.bytes_received)[1]) - evaluation_starts_at()
    with suppress(PeerError):  # a bit that the decoder ignores does no harm
        got = run(session, tamper={("civil-affairs", "bank"): Tamper(2, byte % size, bit)})
        assert (got.found.tolist(), got.answers.tolist()) == ([True], [[1]])


def evaluation_starts_at() -> int:
    def before(channel: Channel, s: Session) -> int:
        lookup.fetch_manifests(channel)
        lookup.fetch_table(channel, spec=TABLE.spec, table_hash=TABLE.hash)
        return channel.traffic.bytes_received

    return int(run(before))


def test_what_each_party_learns_is_data() -> None:
    operator = lookup.OPERATOR
    assert (operator.name, operator.version) == ("lookup.table", 1)
    assert set(operator.learns) == {"asker", "source"}
    assert all(sentence for role in operator.learns.values() for sentence in role)
