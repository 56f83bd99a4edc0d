"""What a party that lies can do to the shared arithmetic of others: end it, and no more."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

from mpc.errors import PeerError, UsageError
from mpc.kernels import ring
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import run_parties
from mpc.wire.arithmetic.v1 import agreement_pb2, input_pb2
from protocols import arithmetic
from protocols.arithmetic import party, three
from protocols.arithmetic.three import ThreeParty

COMPUTE = ("tax", "fund")


def bank(s: Session, **options: bool) -> None:
    with arithmetic.input_party(s, compute=COMPUTE, **options) as mpc:
        mpc.send(np.arange(5))


def idle(s: Session) -> None:
    """Waits for what the others do."""
    s.channel("bank").recv(input_pb2.Array)


def agreeing(scheme: str, **words: Sequence[str]) -> Callable[[Session], None]:
    """A computing party that says this of itself to the bank, and waits."""

    def run(s: Session) -> None:
        said = {"version": party.VERSION, "ring_bits": 64, "compute": COMPUTE, "inputs": ("bank",), "fraction": 18}
        s.channel("bank").send(agreement_pb2.Agreement(scheme=scheme, **{**said, **words}))
        s.channel("bank").recv(agreement_pb2.Agreement)
        idle(s)

    return run


def test_nobody_sends_values_in_the_clear_because_the_others_say_so() -> None:
    """Also where all that compute agree on it: by mistake, in a program that was a test."""

    def compute(s: Session) -> None:
        with arithmetic.ideal_party(s, compute=COMPUTE) as mpc:
            mpc.receive(from_="bank")

    parties = {"bank": bank, "tax": compute, "fund": compute}
    with pytest.raises(PeerError, match="a scheme for 2 parties that protects values, not 'ideal'"):
        run_parties(parties)
    run_parties({**parties, "bank": lambda s: bank(s, ideal=True)})


@pytest.mark.parametrize("scheme", ["three-party", "", "x" * 5000, "ideal\x1b[2J"])
def test_schemes_that_there_are_not_for_two(scheme: str) -> None:
    with pytest.raises(PeerError, match="a scheme for 2 parties") as failed:
        run_parties({"bank": bank, "tax": agreeing(scheme), "fund": agreeing(scheme)})
    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 400


def test_computing_parties_that_tell_the_bank_different_schemes() -> None:
    with pytest.raises(PeerError, match="one scheme at all computing parties"):
        run_parties({"bank": bank, "tax": agreeing("two-party"), "fund": agreeing("ideal")})


def test_a_party_that_the_others_do_not_know_of_sends_nothing() -> None:
    words = {"inputs": ("insurer",)}
    with pytest.raises(PeerError, match="bank as a party that brings or takes values"):
        run_parties({"bank": bank, "tax": agreeing("two-party", **words), "fund": agreeing("two-party", **words)})


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ({"shape": [1 << 31, 2]}, "at most"),
        ({"shape": [party.MAX_VALUES + 1]}, "at most 134217728 values"),
        ({"shape": [1 << 63, 1 << 63]}, "at most"),
        ({"shape": [1] * 33}, "at most"),
        ({"shape": [0, 1 << 40]}, "at most"),
        ({"kind": "float"}, "an array of int, fixed or bool"),
        ({"kind": "fixed", "fraction": 41}, "at most 40 fractional bits"),
        ({"fraction": 3}, "no fractional bits but of fixed numbers"),
        ({"step": 7}, "array number 0"),
        ({"use": "reveal\x1b[2J"}, "input by or to bank, not"),
        ({"parties": ["tax"]}, "input by or to bank, not"),
        ({"parties": ["x" * 4000] * 9}, "input by or to bank, not"),
    ],
)
def test_headers_of_arrays_that_there_cannot_be(header: dict[str, Any], text: str) -> None:
    def lies(s: Session) -> None:
        with arithmetic.input_party(s, compute=COMPUTE, ideal=True):
            said = {"step": 0, "kind": "int", "shape": [3], "use": "input", "parties": ["bank"], **header}
            for name in COMPUTE:
                s.channel(name).send(input_pb2.Array(**said))
            s.channel("tax").recv(input_pb2.Array)

    def compute(s: Session) -> None:
        with arithmetic.ideal_party(s, compute=COMPUTE) as mpc:
            mpc.receive(from_="bank")

    with pytest.raises(PeerError, match=text) as failed:
        run_parties({"bank": lies, "tax": compute, "fund": compute})
    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 400


@pytest.mark.parametrize("kind", ["int", "bool"])
def test_an_array_for_which_there_is_no_memory_is_its_senders_fault(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest that may be announced, of which nothing has come yet: at the party that is to receive it."""
    empty = np.empty

    def limited(shape: int | tuple[int, ...], dtype: type = float) -> np.ndarray:
        if np.prod(shape, dtype=np.int64) >= party.MAX_VALUES:
            raise MemoryError
        return empty(shape, dtype=dtype)

    def announces(names: Sequence[str], use: str) -> Callable[[Session], None]:
        def run(s: Session) -> None:
            for name in names:
                s.channel(name).send(input_pb2.Array(kind=kind, shape=[party.MAX_VALUES], use=use, parties=["bank"]))
            s.channel(names[0]).recv(input_pb2.Array)

        return run

    def bank_lies(s: Session) -> None:
        with arithmetic.input_party(s, compute=COMPUTE, ideal=True):
            announces(COMPUTE, "input")(s)

    def compute(s: Session) -> None:
        with arithmetic.ideal_party(s, compute=COMPUTE) as mpc:
            mpc.receive(from_="bank")

    def computing_lies(s: Session) -> None:
        with arithmetic.ideal_party(s, compute=COMPUTE):
            announces(["bank"], "reveal")(s)

    def obtains(s: Session) -> None:
        with arithmetic.input_party(s, compute=COMPUTE, ideal=True) as mpc:
            mpc.obtain()

    monkeypatch.setattr(np, "empty", limited)
    with pytest.raises(PeerError, match="an array for which there is memory"):
        run_parties({"bank": bank_lies, "tax": compute, "fund": compute})
    with pytest.raises(PeerError, match="an array for which there is memory"):
        run_parties({"bank": obtains, "tax": computing_lies, "fund": computing_lies})


def test_arrays_that_nobody_would_take_are_refused_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(party, "MAX_VALUES", 4)

    def compute(s: Session) -> None:
        with arithmetic.ideal_party(s, compute=COMPUTE) as mpc:
            mpc.receive(from_="bank")

    with pytest.raises(UsageError, match="An array of 5 values is larger than the 4 .* go in parts"):
        run_parties({"bank": lambda s: bank(s, ideal=True), "tax": compute, "fund": compute})


def test_a_bank_that_tells_the_sources_different_things() -> None:
    def lies(s: Session) -> None:
        with arithmetic.input_party(s, compute=COMPUTE, ideal=True):
            for name, shape in zip(COMPUTE, ([3], [4]), strict=True):
                s.channel(name).send(input_pb2.Array(kind="int", shape=shape, use="input", parties=["bank"]))
            s.channel("tax").recv(input_pb2.Array)

    def compute(s: Session) -> None:
        with arithmetic.ideal_party(s, compute=COMPUTE) as mpc:
            mpc.receive(from_="bank")

    with pytest.raises(PeerError, match="who differ in shape"):
        run_parties({"bank": lies, "tax": compute, "fund": compute})


def test_nothing_opens_where_one_party_would_open_something_else() -> None:
    """A source whose program opens the claims to itself, while the other opens the sum to the bank."""
    opened: list[Any] = []

    def compute(s: Session) -> None:
        with arithmetic.ideal_party(s, compute=COMPUTE) as mpc:
            claims = mpc.receive(from_="bank")
            if s.me == "tax":
                opened.append(mpc.reveal(claims, to="tax"))
            else:
                mpc.reveal(claims.sum(), to="bank")

    def asks(s: Session) -> None:
        with arithmetic.input_party(s, compute=COMPUTE, ideal=True) as mpc:
            mpc.send(np.arange(5))
            mpc.obtain()

    with pytest.raises(PeerError, match="who differ in shape .* and in parties"):
        run_parties({"bank": asks, "tax": compute, "fund": compute})
    assert not opened


# Three parties: masks, and what is on its way ------------------------------------------------------------------------

THREE = ("ann", "bob", "cat")


def every_method(engine: ThreeParty) -> None:
    """Each method once, on several pieces."""
    words = Rng.from_seed(b"words").uint64(500)
    a = engine.input(words if engine.me == "ann" else None, "ann", words.shape)
    b = engine.input(words[::-1].copy() if engine.me == "cat" else None, "cat", words.shape)
    bits = engine.input_bits(words % 2 == 1 if engine.me == "bob" else None, "bob", words.shape)
    total = engine.sum_inputs(words)
    engine.mul(a, b)
    engine.matmul(a.reshape(2, 50, 10), b.reshape(2, 10, 50))
    engine.truncate(total, 7)
    engine.truncate_local(total, 7)
    engine.fourier(a, 20, [0.5, 0.25], 18)
    engine.negative(a)
    engine.is_zero(a)
    engine.and_(bits, bits)
    binary = engine.to_bits(b)
    engine.and_(binary, binary)
    assert np.array_equal(engine.open(engine.from_bits(binary)), words[::-1])
    engine.bit_to_word(bits)
    engine.select_word(bits, a)
    engine.outward(a)
    engine.outward(bits)
    engine.open(bits, ("bob",))


def test_what_is_on_its_way_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large messages leave by a thread while the method goes on: on a slow line, after it has computed much more."""
    monkeypatch.setattr(three, "PIECE", 128)
    monkeypatch.setattr(three, "DIRECT", 0)
    seen = []
    sends, flushes = three._Outbox.send, three._Outbox.flush
    waiting: dict[int, list[tuple[np.ndarray, bytes]]] = {}

    def send(self: three._Outbox, header: Message, data: np.ndarray) -> None:
        waiting.setdefault(id(self), []).append((data, data.tobytes()))
        sends(self, header, data)

    def flush(self: three._Outbox) -> None:
        flushes(self)
        for data, as_sent in waiting.pop(id(self), []):
            seen.append(len(as_sent))
            assert data.tobytes() == as_sent

    monkeypatch.setattr(three._Outbox, "send", send)
    monkeypatch.setattr(three._Outbox, "flush", flush)
    run_parties(dict.fromkeys(THREE, lambda s: every_method(ThreeParty(s, THREE))))
    assert len(seen) > 300


def test_no_part_of_a_key_stream_masks_twice_and_both_holders_use_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    used: dict[tuple[str, bytes], list[range]] = {}
    takes = ThreeParty._take

    def take(self: ThreeParty, place: int, words: int) -> ring.Place:
        taken = takes(self, place, words)
        blocks = range(taken.block, taken.block + -(-words // ring.WORDS_PER_BLOCK))
        used.setdefault((self.me, bytes(taken.key)), []).append(blocks)
        return taken

    monkeypatch.setattr(three, "PIECE", 128)
    monkeypatch.setattr(ThreeParty, "_take", take)
    run_parties(dict.fromkeys(THREE, lambda s: every_method(ThreeParty(s, THREE))))
    assert len(used) == 6
    assert len({key for _, key in used}) == 3
    for ranges in used.values():
        assert len(ranges) > 60
        assert all(one.stop <= following.start for one, following in itertools.pairwise(ranges))
    for key in {key for _, key in used}:
        (one, other) = (ranges for (_, of), ranges in used.items() if of == key)
        assert one == other
