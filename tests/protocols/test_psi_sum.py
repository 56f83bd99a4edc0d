"""Count and sum over an intersection against the plain ones; and that nothing opens that should not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.channel import Array, Buffer, Channel
from mpc.errors import ChannelClosed, MpcError, PeerError, PolicyError, UsageError
from mpc.kernels.packing import pack
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.testing import Tamper, run_parties
from mpc.wire.psi.v1 import sum_pb2 as wire
from protocols.ot import cot
from protocols.psi import cardinality
from protocols.psi import sum as sums
from protocols.psi.agreement import Agreed
from tests.protocols.psi import SUITES, Ran, between

suites = pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)
BOUND = 10**6


def outcomes(asker: dict[str, Any], holder: dict[str, Any], **options: object) -> tuple[Any, Any]:
    """What each party's call gives: a result, or the error."""

    def party(peer: str, given: dict[str, Any]) -> Callable[[Session], object]:
        def function(s: Session) -> object:
            try:
                return sums.total(s, peer=peer, **{"bound": BOUND, "minimum": 0, **given})
            except MpcError as error:
                return error

        return function

    parties = {"bank": party("shop", asker), "shop": party("bank", holder)}
    results = run_parties(parties, protocol="psi.sum", **options)
    return results["bank"], results["shop"]


@suites
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_it_is_the_sum_over_the_intersection(suite: Suite, data: st.DataObject) -> None:
    items = st.binary(max_size=2) | st.sampled_from([b"\n\x00", b"x" * 10_000])
    bank = data.draw(st.lists(items, unique=True, max_size=10))
    shop = data.draw(st.dictionaries(items, st.integers(-BOUND, BOUND), max_size=10))
    reveal_to = data.draw(st.sampled_from(["both", "me"]))
    options = {"suite": suite, "form": "bytes"}
    there = {"items": list(shop), "values": list(shop.values()), "reveal_to": {"both": "both", "me": "peer"}[reveal_to]}
    a, b = outcomes({"items": bank, "reveal_to": reveal_to, **options}, {**there, **options})
    want = (len(set(bank) & set(shop)), sum(value for key, value in shop.items() if key in bank))
    assert (a.count, a.total) == want
    assert (b.count, b.total) == (want if reveal_to == "both" else (None, None))
    assert (a.peer_size, b.peer_size) == (len(shop), len(bank))


def test_sums_are_exact_at_the_limit() -> None:
    bound = (2**63 - 1) // 3
    for values in ([bound] * 3, [-bound] * 3, [bound, -bound, 1]):
        given = {"items": ["a", "b", "c"], "bound": bound}
        a, b = outcomes(given, {**given, "values": values})
        assert (a.count, a.total, b.total) == (3, sum(values), sum(values))
    a, b = outcomes({"items": ["a"], "bound": 2**63 - 1}, {"items": ["a"], "values": [1 - 2**63], "bound": 2**63 - 1})
    assert a.total == b.total == 1 - 2**63


def test_a_sum_that_might_pass_64_bits_is_refused_at_both() -> None:
    given = {"items": ["a", "b", "c"], "bound": (2**63 - 1) // 3 + 1}
    for error in outcomes(given, {**given, "values": [1, 2, 3]}):
        assert isinstance(error, UsageError)
        assert "The sum of 3 values up to 3074457345618258603 may pass 64 bits: agree on a lower bound" in str(error)


def test_rows_of_one_key() -> None:
    holder = {"items": ["a", "b", "a", "a", "c"], "values": [1, 10, 100, -7, 1000]}
    for duplicates, want in (("many", 94 + 10), ("first", 11)):
        a, _ = outcomes({"items": ["b", "a"]}, {**holder, "duplicates": duplicates})
        assert (a.count, a.total) == (2, want)
    a, b = outcomes({"items": ["b", "a"]}, holder)
    assert "Rows 1 and 3 have the same key" in str(b)
    assert isinstance(a, ChannelClosed)
    _, b = outcomes({"items": ["a"]}, {"items": ["a", "a"], "values": [BOUND, 1], "duplicates": "many"})
    assert "The sum of one key's rows passes the bound 1000000: raise it at both" in str(b)
    given = {"items": ["a"] * 3, "bound": 2**62, "duplicates": "many"}
    _, b = outcomes({"items": ["a"], "bound": 2**62}, {**given, "values": [2**62] * 3})
    assert "The sum of one key's rows may pass 64 bits" in str(b)


def test_what_values_may_be() -> None:
    for values in (
        np.array([5, 7], np.int32),
        pa.array([5, 7]),
        pa.chunked_array([[5], [7]]),
        pa.array([5, 7], pa.uint8()),
    ):
        a, _ = outcomes({"items": ["x", "y"]}, {"items": ["y", "z"], "values": values})
        assert (a.count, a.total) == (1, 5)
    for wrong, text in (
        ([1.5, 2], "Values are whole numbers, one for each row, not double or missing ones"),
        ([1, None], "not int64 or missing ones"),
        (["1", "2"], "not string"),
        ([1], "There are 2 rows and 1 values; give one value for each row"),
        ([1, 2**63], "Values are whole numbers of 64 bits with a sign|not uint64"),
        (pa.array([1, 2**63], pa.uint64()), "Values are whole numbers of 64 bits with a sign"),
        ([1, BOUND + 1], "The value of row 2 passes the bound 1000000: raise it at both"),
        ([-BOUND - 1, 1], "The value of row 1 passes the bound"),
    ):
        a, b = outcomes({"items": ["y"]}, {"items": ["y", "z"], "values": wrong})
        assert isinstance(b, UsageError), wrong
        assert any(part in str(b) for part in text.split("|")), b
        assert isinstance(a, ChannelClosed)


def test_too_few_matches_open_nothing_at_either() -> None:
    asker, holder = (
        {"items": ["a", "b", "x"], "minimum": 3},
        {"items": ["a", "b", "y"], "values": [1, 2, 3], "minimum": 3},
    )
    for error in outcomes(asker, holder):
        assert isinstance(error, PolicyError)
        assert error.code == "too-few-matches"
        assert "Fewer than 3 keys match, so that no sum may open." in str(error)
    a, b = outcomes({**asker, "minimum": 2}, {**holder, "minimum": 2})
    assert (a.total, b.total) == (3, 3)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"bound": 7}, "bound (here "),
        ({"minimum": 7}, "minimum (here "),
        ({"values": [1]}, "sender (here "),
        ({"reveal_to": "me"}, "who learns (here "),
        ({"form": "bytes"}, "form of keys (here "),
    ],
)
def test_what_differs_is_named_at_both(change: dict[str, Any], word: str) -> None:
    for error in outcomes({"items": ["a"], **change}, {"items": ["a"], "values": [1]}):
        assert isinstance(error, PeerError)
        assert word in str(error)


@pytest.mark.parametrize(
    ("holder", "change", "text"),
    [
        (True, {"reveal_to": "me"}, "The party without the column learns the sum: pass reveal_to='me' there"),
        (False, {"reveal_to": "peer"}, "The party without the column learns the sum"),
        (False, {"bound": 0}, "bound is 1 to 2^63 - 1 and minimum not negative; got 0 and 0"),
        (False, {"bound": 2**63}, "bound is 1 to 2^63 - 1"),
        (True, {"minimum": -1}, "minimum not negative"),
    ],
)
def test_misuse(holder: object, change: dict[str, Any], text: str) -> None:
    asker, shop = {"items": ["a"]}, {"items": ["a"], "values": [1]}
    a, b = outcomes(asker, {**shop, **change}) if holder else outcomes({**asker, **change}, shop)
    mine, theirs = (b, a) if holder else (a, b)
    assert isinstance(mine, UsageError)
    assert text in str(mine)
    assert isinstance(theirs, ChannelClosed)
    assert "a sum broke off (UsageError)" in str(theirs)


def test_no_amount_is_printed() -> None:
    a, b = outcomes({"items": ["a"]}, {"items": ["a"], "values": [271828]})
    assert "271828" not in repr((a, b))


def test_progress_is_reported() -> None:
    seen: list[Progress] = []
    options: dict[str, Any] = {"bound": 9, "minimum": 0}
    run_parties(
        {
            "bank": lambda s: sums.total(Session(s.me, s.channels, s.rng, seen.append), ["a"], peer="shop", **options),
            "shop": lambda s: sums.total(s, ["a", "b"], [1, 2], peer="bank", **options),
        }
    )
    assert seen[-1] == Progress("psi.sum", 3, 3)


# Below the way in -----------------------------------------------------------------------------------------------------


def run(n: int, m: int, suite: Suite, *, both: object = False, minimum: int = 0, **options: object) -> Ran:
    x, y = pack([b"%d" % i for i in range(n)]), pack([b"%d" % i for i in range(m)])
    values = np.arange(1, m + 1)
    given: dict[str, Any] = {"bound": m, "minimum": minimum, "suite": suite}

    def receive(channel: Channel, agreed: Agreed, s: Session) -> object:
        return sums.receive(channel, x, agreed, rng=s.rng, **given)

    def send(channel: Channel, agreed: Agreed, s: Session) -> object:
        return sums.send(channel, y, values, agreed, rng=s.rng, **given)

    return between(sums.OPERATOR, (n, m), receive, send, suite=suite, both=bool(both), **options)


@suites
@pytest.mark.parametrize(
    ("n", "m", "both", "minimum"), [(0, 3, 1, 0), (3, 0, 0, 0), (1, 1, 1, 1), (40, 300, 1, 2), (300, 40, 0, 0)]
)
def test_it_costs_what_the_file_says(suite: Suite, n: int, m: int, both: int, minimum: int) -> None:
    mine, theirs, receiver, sender = run(n, m, suite, both=both, minimum=minimum)
    k = min(n, m)
    assert mine == (k, k * (k + 1) // 2)
    assert theirs == (mine if both else None)
    x, y = pack([b"%d" % i for i in range(n)]), pack([b"%d" % i for i in range(m)])
    *_, count_receiver, count_sender = between(
        cardinality.OPERATOR,
        (n, m),
        lambda c, agreed, s: cardinality.receive(c, x, agreed, suite=suite, rng=s.rng),
        lambda c, agreed, s: cardinality.send(c, y, agreed, suite=suite, rng=s.rng),
        suite=suite,
    )
    transfers = transfer_bytes(m, suite)
    own = 80 * ((minimum > 0) + both), 80
    for got, base, extension, more in zip(
        (receiver, sender), (count_receiver, count_sender), transfers, own, strict=True
    ):
        assert base.bytes_sent + extension <= got.bytes_sent <= base.bytes_sent + extension + more
    assert receiver.messages_sent >= count_receiver.messages_sent + (minimum > 0) + both


def transfer_bytes(m: int, suite: Suite) -> tuple[int, int]:
    """Bytes that m additive correlations take: from the receiver, and from the sender."""

    def receive(s: Session) -> int:
        cot.additive_receive(s.channel("b"), np.zeros(m, dtype=np.bool_), suite=suite, rng=s.rng)
        return s.channel("b").traffic.bytes_sent

    def send(s: Session) -> int:
        cot.additive_send(s.channel("a"), np.zeros(m, dtype=np.uint64), suite=suite, rng=s.rng)
        return s.channel("a").traffic.bytes_sent

    results = run_parties({"a": receive, "b": send})
    return results["a"], results["b"]


def replaced(monkeypatch: pytest.MonkeyPatch, kind: type[Message], change: Callable[[Any], Message]) -> None:
    """Have every party send something else wherever it sends a message of a kind."""
    real = Channel.send

    def send(channel: Channel, header: Message, *arrays: Array | Buffer) -> None:
        real(channel, change(header) if isinstance(header, kind) else header, *arrays)

    monkeypatch.setattr(Channel, "send", send)


def test_a_share_that_cannot_be_is_the_senders_error(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, wire.Share, lambda share: wire.Share(share=share.share ^ 1 << 40))
    with pytest.raises(PeerError, match="bob broke psi.sum at Share: required: a sum that values within the bound can"):
        run(4, 4, SUITES[0])


@pytest.mark.parametrize(("count", "total"), [(5, 3), (2, 9), (0, 0)])
def test_an_outcome_that_cannot_be_is_the_receivers_error(
    count: int, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, wire.Outcome, lambda _: wire.Outcome(count=count, total=total))
    with pytest.raises(
        PeerError, match="alice broke psi.sum at Outcome: required: a count and a sum that there can be"
    ):
        run(4, 4, SUITES[0], both=True, minimum=1)


@pytest.mark.parametrize("sender", ["alice", "bob"])
def test_a_flipped_bit_in_each_message(sender: str) -> None:
    # In an envelope it is an error by name. At a message's end it is one too, or it changes the sum of a semi-honest
    # run, whose transfers are checked by nobody: then the sum is still one that the bound allows, or an error.
    other = {"alice": "bob", "bob": "alice"}[sender]
    _, _, receiver, sent = run(3, 3, SUITES[0], both=True, minimum=1)
    count = (receiver if sender == "alice" else sent).messages_sent
    for message in range(1, count + 1):
        with pytest.raises(PeerError) as caught:
            run(3, 3, SUITES[0], both=True, minimum=1, tamper={(sender, other): Tamper(message, 8)})
        assert caught.value.party == sender
        try:
            mine, *_ = run(3, 3, SUITES[0], both=True, minimum=1, tamper={(sender, other): Tamper(message, -1)})
        except (PeerError, PolicyError):
            continue
        assert abs(mine[1]) <= 3 * mine[0]


def test_what_each_party_learns_is_data() -> None:
    assert set(sums.OPERATOR.learns) == {"receiver", "sender"}
    assert (sums.OPERATOR.name, sums.OPERATOR.version) == ("psi.sum", 1)
