"""Messages: what is declared arrives, and whatever else a peer may send is named and refused."""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.channel import CHUNK_BYTES, Buffer, Channel, Traffic
from mpc.errors import ChannelClosed, ChannelTimeout, CheatingDetected, PeerError, UsageError
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.transport import local
from mpc.wire.wire.v1 import message_pb2
from tests.messages import Block, Pair, Points, Proof, Text, Word


class ScriptedLane:
    """A lane whose peer has said everything already."""

    me = "bank"
    peer = "registry"

    def __init__(self, *chunks: tuple[bytes, bool]) -> None:
        self.chunks = deque(chunks)
        self.closed: str | None = None

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        raise AssertionError(f"nothing is sent here, but {len(buffers)} buffers were, {last=}, {timeout_s=}")

    def read(self, *, timeout_s: float | None) -> tuple[Buffer, bool]:
        assert timeout_s is not None
        return self.chunks.popleft()

    def fork(self, label: str) -> ScriptedLane:
        raise AssertionError(f"nothing is forked here, but {label} was")

    def close(self, reason: str = "") -> None:
        self.closed = reason


def laid_out(header: bytes, arrays: Sequence[tuple[str, tuple[int, ...]]], body: bytes, name: str) -> bytes:
    envelope = message_pb2.Envelope(type=name, header=header)
    for dtype, shape in arrays:
        envelope.arrays.append(message_pb2.ArrayHeader(dtype=dtype, shape=shape))
    head = envelope.SerializeToString()
    return struct.pack("<I", len(head)) + head + body


def hear(*chunks: tuple[bytes, bool], of: type = Points) -> tuple[object, ...]:
    return Channel(ScriptedLane(*chunks), protocol="test").recv(of)


POINTS = "unseen.test.v1.Points"
PROOF = "unseen.test.v1.Proof"


@pytest.mark.parametrize("rows", [0, 1, 7, CHUNK_BYTES // 16 - 3, CHUNK_BYTES // 16, 3 * CHUNK_BYTES // 16 + 1])
def test_arrays_of_any_size_arrive_as_they_were_sent(rows: int) -> None:
    table = np.random.default_rng(rows).integers(0, 256, (rows, 16), dtype=np.uint8)

    def bank(session: Session) -> np.ndarray:
        header, received = session.channel("registry").recv(Block)
        assert header.number == 9
        assert received.flags.writeable
        return received

    got = run_parties({"bank": bank, "registry": lambda s: s.channel("bank").send(Block(number=9), table)})
    np.testing.assert_array_equal(got["bank"], table)


@given(st.lists(st.integers(0, 255), min_size=0, max_size=64))
@settings(max_examples=25, deadline=None)
def test_bytes_stand_for_an_array(values: list[int]) -> None:
    a, b = local.pair("a", "b")
    Channel(a, protocol="t").send(Proof(), np.zeros((2, 32), np.uint8), bytes(values))
    _, evaluated, proof = Channel(b, protocol="t").recv(Proof)
    assert evaluated.shape == (2, 32)
    assert proof.tolist() == values


def test_words_are_little_endian_and_equal_names_are_equal_lengths() -> None:
    a, b = local.pair("a", "b")
    left, right = np.array([1, 2], ">u8"), np.array([[0.5, 1.0], [2.0, -3.0]])
    Channel(a, protocol="t").send(Pair(), left, right)
    _, got_left, got_right = Channel(b, protocol="t").recv(Pair)
    assert got_left.dtype.str == "<u8"
    np.testing.assert_array_equal(got_left, left)
    np.testing.assert_array_equal(got_right, right)
    with pytest.raises(UsageError, match="right has 3 where n is 2"):
        Channel(a, protocol="t").send(Pair(), left, np.zeros((3, 2)))
    body = bytes(3 * 8 + 2 * 16)
    with pytest.raises(PeerError, match="right has 2 where n is 3"):
        hear((laid_out(b"", [("u8", (3,)), ("f8", (2, 2))], body, "unseen.test.v1.Pair"), True), of=Pair)


def test_either_of_two_types_may_come() -> None:
    a, b = local.pair("a", "b")
    Channel(a, protocol="t").send(Word(number=4))
    header, *arrays = Channel(b, protocol="t").recv(Points, Word)
    assert isinstance(header, Word)
    assert arrays == []


def test_parties_that_send_much_to_each_other_at_once_do_not_block() -> None:
    block = np.ones((local.QUEUE_BYTES // 16 + CHUNK_BYTES, 16), np.uint8)

    def party(session: Session) -> int:
        (peer,) = session.channels
        _, received = session.channel(peer).exchange(Block(), block)
        return int(received.sum())

    assert run_parties({"a": party, "b": party}) == {"a": block.size, "b": block.size}


def test_forks_do_not_mix_and_are_counted_together() -> None:
    def sender(session: Session) -> Traffic:
        channel = session.channel("b")
        left, right = channel.fork("left"), channel.fork("right")
        right.send(Word(number=2))
        left.send(Word(number=1))
        return channel.traffic

    def receiver(session: Session) -> tuple[int, int, Traffic]:
        channel = session.channel("a")
        left, right = channel.fork("left"), channel.fork("right")
        numbers = left.recv(Word)[0].number, right.recv(Word)[0].number
        return *numbers, channel.traffic

    got = run_parties({"a": sender, "b": receiver})
    assert got["b"][:2] == (1, 2)
    assert got["b"][2].bytes_received == got["a"].bytes_sent > 0
    assert got["b"][2].messages_received == got["a"].messages_sent == 2


def test_rounds_count_the_times_one_waits_after_having_sent() -> None:
    def ping(session: Session) -> int:
        channel = session.channel("pong")
        for _ in range(3):
            channel.send(Word())
            channel.send(Word())
            channel.recv(Word)
        return channel.traffic.rounds

    def pong(session: Session) -> int:
        channel = session.channel("ping")
        for _ in range(3):
            channel.recv(Word)
            channel.recv(Word)
            channel.send(Word())
        return channel.traffic.rounds

    assert run_parties({"ping": ping, "pong": pong}) == {"ping": 3, "pong": 2}


ZEROS = bytes(64)
GOOD = laid_out(b"", [("u1", (2, 32))], ZEROS, POINTS)


@pytest.mark.parametrize(
    ("chunks", "says"),
    [
        ([(b"\x01", True)], "shorter than its length field"),
        ([(b"\xff\xff\xff\xff" + ZEROS, True)], "envelope does not lie within the first chunk"),
        ([(struct.pack("<I", 3) + b"\xff\xff\xff", True)], "Error parsing message"),
        ([(laid_out(b"", [("u1", (2, 32))], ZEROS, "unseen.test.v1.Ponits"), True)], "got a 'unseen.test.v1.Ponits'"),
        ([(laid_out(b"\xff", [("u1", (2, 32))], ZEROS, POINTS), True)], "Error parsing message"),
        ([(laid_out(b"", [], b"", POINTS), True)], "0 arrays where 1 belong"),
        ([(laid_out(b"", [("u2", (1, 32))], ZEROS, POINTS), True)], "points is not a u1 array of 2 dimensions"),
        ([(laid_out(b"", [("u1", (64,))], ZEROS, POINTS), True)], "points is not a u1 array of 2 dimensions"),
        ([(laid_out(b"", [("u1", (2, 31))], ZEROS[:62], POINTS), True)], "points has 31 where 32 is 32"),
        ([(laid_out(b"", [("u1", (1 << 40, 32))], ZEROS, POINTS), True)], "points claims more than 32768 bytes"),
        ([(laid_out(b"", [("u1", (1 << 63, 0))], b"", POINTS), True)], "points claims more than 32768 bytes"),
        ([(GOOD[:-1], True)], "fewer bytes than its arrays hold"),
        ([(GOOD + b"\x00", True)], "more bytes"),
        ([(GOOD, False), (b"", True)], "though it is not the last"),
        ([(b"", True)], "shorter than its length field"),
    ],
)
def test_a_malformed_message_is_named_and_ends_the_conversation(chunks: list[tuple[bytes, bool]], says: str) -> None:
    lane = ScriptedLane(*chunks)
    with pytest.raises(PeerError, match="registry broke test at Points") as caught:
        Channel(lane, protocol="test").recv(Points)
    assert says in str(caught.value)
    assert caught.value.party == "registry"
    assert lane.closed == "malformed Points"


@pytest.mark.parametrize("more", [b"", b"\x00"])
def test_a_message_that_goes_on_after_its_end_is_refused(more: bytes) -> None:
    envelope = len(laid_out(Text(text=bytes(CHUNK_BYTES // 2)).SerializeToString(), [], b"", "unseen.test.v1.Text"))
    text = Text(text=bytes(CHUNK_BYTES - (envelope - CHUNK_BYTES // 2))).SerializeToString()
    full = laid_out(text, [], b"", "unseen.test.v1.Text")
    assert len(full) == CHUNK_BYTES
    assert len(hear((full, True), of=Text)) == 1
    with pytest.raises(PeerError, match="more bytes, or more chunks, than its arrays need"):
        hear((full, False), (more, True), of=Text)


def test_well_formed_messages_of_a_script_are_heard() -> None:
    assert hear((GOOD, True))[1].shape == (2, 32)  # type: ignore[attr-defined]
    two = laid_out(b"", [("u1", (2, 32)), ("u1", (64,))], ZEROS + ZEROS, PROOF)
    assert len(hear((two, True), of=Proof)) == 3


@given(junk=st.binary(max_size=200), prefix=st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_bytes_from_a_peer_do_more_than_raise_peer_error(junk: bytes, *, prefix: bool) -> None:
    data = struct.pack("<I", max(len(junk) - 4, 0)) + junk if prefix else junk
    with pytest.raises(PeerError):
        hear((data, True))


def test_a_receiver_that_knows_the_size_reserves_no_more() -> None:
    assert Channel(ScriptedLane((GOOD, True)), protocol="test").recv(Points, max_bytes=64)[1].shape == (2, 32)
    lane = ScriptedLane((GOOD, True))
    with pytest.raises(PeerError, match="its arrays claim 64 bytes where at most 63 belong"):
        Channel(lane, protocol="test").recv(Points, max_bytes=63)
    assert lane.closed == "malformed Points"


def test_a_message_that_comes_by_drops_is_refused() -> None:
    lane = ScriptedLane((GOOD[:-1], False), (GOOD[-1:], True))
    with pytest.raises(PeerError, match=f"a chunk of {len(GOOD) - 1} bytes, though it is not the last"):
        Channel(lane, protocol="test").recv(Points)


def test_a_message_that_breaks_off_is_not_taken_up_again() -> None:
    a, b = local.pair("a", "b")
    block = laid_out(b"", [("u1", (CHUNK_BYTES // 8, 16))], bytes(2 * CHUNK_BYTES), "unseen.test.v1.Block")
    a.write([block[:CHUNK_BYTES]], last=False, timeout_s=10)
    channel = Channel(b, protocol="test", timeout_s=0.05)
    with pytest.raises(ChannelTimeout):
        channel.recv(Block)
    with pytest.raises(ChannelClosed, match="b ended the conversation: Block broke off"):
        a.write([block[CHUNK_BYTES : 2 * CHUNK_BYTES]], last=False, timeout_s=10)
    with pytest.raises(ChannelClosed):  # and a is not blamed for the rest of its own message
        channel.recv(Block)


class InterruptedLane(ScriptedLane):
    """A lane whose second write is interrupted."""

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        assert timeout_s is not None
        self.chunks.append((b"".join(buffers), last))
        if len(self.chunks) == 2:
            raise KeyboardInterrupt


def test_half_a_message_is_never_followed_by_another() -> None:
    lane = InterruptedLane()
    with pytest.raises(KeyboardInterrupt):
        Channel(lane, protocol="test").send(Block(), np.zeros((CHUNK_BYTES // 8, 16), np.uint8))
    assert lane.closed == "a message broke off"


def test_misuse_of_an_exchange_is_told_at_once() -> None:
    a, b = local.pair("a", "b")
    began = time.monotonic()
    with pytest.raises(UsageError, match="points has 31 where 32"):
        Channel(a, protocol="t", timeout_s=20).exchange(Points(), np.zeros((2, 31), np.uint8))
    assert time.monotonic() - began < 10  # the peer, which gets nothing, is not waited for
    Channel(b, protocol="t").send(Word(number=3))
    assert Channel(a, protocol="t").recv(Word)[0].number == 3  # nothing has happened to the channel


def test_an_exchange_names_what_the_peer_did_wrong_while_it_is_still_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = local.pair("a", "b")
    end = a.close

    def close(reason: str = "") -> None:
        end(reason)
        for thread in threading.enumerate():
            if thread.name == "exchange with b":
                thread.join(10)  # the sender fails first, as a consequence of what the receiver found

    monkeypatch.setattr(a, "close", close)
    b.write([GOOD], last=True, timeout_s=10)
    much = np.zeros((local.QUEUE_BYTES // 16 + CHUNK_BYTES, 16), np.uint8)
    with pytest.raises(PeerError, match="b broke t at Block: got a 'unseen.test.v1.Points'"):
        Channel(a, protocol="t").exchange(Block(), much)


def test_an_exchange_with_a_silent_peer_leaves_no_sender_behind() -> None:
    a, b = local.pair("a", "b")
    much = np.zeros((local.QUEUE_BYTES // 16 + CHUNK_BYTES, 16), np.uint8)
    with pytest.raises(ChannelTimeout):
        Channel(a, protocol="t", timeout_s=0.05).exchange(Block(), much)
    assert not [t for t in threading.enumerate() if t.name == "exchange with b"]
    with pytest.raises(ChannelClosed, match="a ended the conversation: an exchange broke off"):
        b.write([b"x"], last=True, timeout_s=10)


def test_a_peers_reason_is_put_in_plain_words() -> None:
    a, b = local.pair("a", "b")
    a.close("over\x1b[2J\nroot: all is well")
    with pytest.raises(ChannelClosed, match=r"^a ended the conversation: over \[2J root: all is well$"):
        b.read(timeout_s=1)


def test_misuse_is_told_before_anything_is_sent() -> None:
    channel = Channel(ScriptedLane(), protocol="t")
    with pytest.raises(UsageError, match="declares 1 arrays, 0 given"):
        channel.send(Points())
    with pytest.raises(UsageError, match="points is declared"):
        channel.send(Points(), np.zeros((2, 32), np.uint16))
    with pytest.raises(UsageError, match="points has 31 where 32"):
        channel.send(Points(), np.zeros((2, 31), np.uint8))
    with pytest.raises(UsageError, match="at most 32768 go in one message"):
        channel.send(Points(), np.zeros((1025, 32), np.uint8))
    with pytest.raises(UsageError, match="carry the bulk in arrays"):
        channel.send(Text(text=bytes(CHUNK_BYTES)))


def test_require_tells_peer_protocol_and_step() -> None:
    lane = ScriptedLane((GOOD, True))
    channel = Channel(lane, protocol="test")
    channel.recv(Points)
    channel.require(True, "one permit per element")
    with pytest.raises(PeerError, match="registry broke test at Points: required: one permit per element"):
        channel.require(False, "one permit per element")
    assert lane.closed is not None
    with pytest.raises(CheatingDetected):
        channel.require(False, "a proof that verifies", cheating=True)


def test_when_one_party_fails_the_others_hear_of_it_and_the_cause_is_raised() -> None:
    def careless(session: Session) -> None:
        raise ValueError("my own mistake")

    def waiting(session: Session) -> None:
        with pytest.raises(ChannelClosed, match="careless ended the conversation: ValueError"):
            session.channel("careless").recv(Word)
        raise ChannelClosed("only a consequence")

    with pytest.raises(ValueError, match="my own mistake") as caught:
        run_parties({"waiting": waiting, "careless": careless})
    assert caught.value.__notes__ == ["raised by party careless"]


def test_silence_is_a_timeout() -> None:
    a, _ = local.pair("a", "b")
    with pytest.raises(ChannelTimeout, match="nothing arrived for 0.05 s"):
        Channel(a, protocol="t", timeout_s=0.05).recv(Word)


def test_a_flipped_bit_reaches_the_receiver() -> None:
    block = np.zeros((3, 16), np.uint8)
    got = run_parties(
        {
            "a": lambda s: s.channel("b").send(Block(), block),
            "b": lambda s: s.channel("a").recv(Block)[1],
        },
        tamper={("a", "b"): Tamper(message=0, byte=-1, bit=3)},
    )
    assert got["b"][2, 15] == 8
    assert got["b"].sum() == 8


def test_a_tamper_that_changes_nothing_tests_nothing() -> None:
    parties = {"a": lambda s: s.channel("b").send(Word()), "b": lambda s: s.channel("a").recv(Word)}
    with pytest.raises(UsageError, match="a sent b fewer messages than the Tamper counts"):
        run_parties(parties, tamper={("a", "b"): Tamper(message=1)})


def test_a_party_that_does_not_end_is_named() -> None:
    def stuck(session: Session) -> None:
        while True:
            session.channel("quick").send(Block(), np.zeros((1 << 16, 16), np.uint8))

    with pytest.raises(ChannelTimeout, match=r"stuck had not ended 0\.5 s after another party had"):
        run_parties({"quick": lambda _: None, "stuck": stuck}, timeout_s=0.5)


def test_a_session_names_its_channels() -> None:
    def one(session: Session) -> tuple[str, ...]:
        with pytest.raises(UsageError, match="a has no channel to 'nobody'"):
            session.channel("nobody")
        return session.parties

    got = run_parties({"a": one, "b": lambda s: s.parties, "c": lambda s: s.parties})
    assert got == dict.fromkeys("abc", ("a", "b", "c"))


def test_a_fork_sends_with_the_deadline_of_its_channel() -> None:
    a, _ = local.pair("a", "b")
    fork = Channel(a, protocol="t", timeout_s=None, send_timeout_s=0.05).fork("x")
    much = np.zeros((local.QUEUE_BYTES // 16 + CHUNK_BYTES, 16), np.uint8)
    with pytest.raises(ChannelTimeout, match=r"^nothing was taken for 0\.05 s$"):
        fork.send(Block(), much)


@pytest.mark.parametrize("rest", [[(b"x", True)], [(b"", True)]])
def test_a_message_without_arrays_ends_with_its_envelope(rest: list[tuple[bytes, bool]]) -> None:
    whole = laid_out(b"", [], b"", "unseen.test.v1.Word")
    with pytest.raises(PeerError, match="more bytes, or more chunks|though it is not the last"):
        hear((whole, False), *rest, of=Word)
    with pytest.raises(PeerError, match="more bytes, or more chunks"):
        hear((whole + b"x", True), of=Word)
    assert hear((whole, True), of=Word) == (Word(),)
