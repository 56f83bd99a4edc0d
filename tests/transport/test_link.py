"""The session's state, frame by frame: what a hostile or broken peer may send, in any order."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.channel import CHUNK_BYTES
from mpc.errors import ChannelClosed, ChannelTimeout, PeerError, UsageError
from mpc.transport import link as link_module
from mpc.transport.link import (
    CLOSE,
    CONTROL,
    DATA,
    FIRST_CREDIT,
    WINDOW_BYTES,
    Frame,
    Link,
    MalformedFrame,
    decode,
    encode,
)
from mpc.wire.wire.v1 import frame_pb2

U64 = st.integers(0, 2**64 - 1)


def attached() -> tuple[Link, int]:
    link = Link(me="tax", peer="bank", protocol="test")
    return link, link.attach(0)


def frames(link: Link, stream: int) -> list[Frame]:
    """What the link would send now."""
    sent = []
    while link._credit_due or link._ack_due or link._unsent:
        data = link.next_frame(stream)
        assert data is not None
        sent.append(decode(data))
    return sent


def data(seq: int, payload: bytes = b"x", *, lane: str = "", ack: int = 0, last: bool = True) -> bytes:
    return encode(Frame(DATA, lane, seq, ack, last=last, payload=payload))


@given(
    kind=st.integers(0, 4),
    lane=st.text(max_size=20),
    seq=U64,
    ack=U64,
    credit=U64,
    last=st.booleans(),
    payload=st.binary(max_size=300),
)
def test_frames_are_what_protobuf_says(
    *, kind: int, lane: str, seq: int, ack: int, credit: int, last: bool, payload: bytes
) -> None:
    frame = Frame(kind, lane, seq, ack, credit, last, payload)
    theirs = frame_pb2.Frame(kind=kind, lane=lane, seq=seq, ack=ack, credit=credit, last=last, payload=payload)
    assert frame_pb2.Frame.FromString(encode(frame)) == theirs
    parsed = decode(theirs.SerializeToString())
    assert (parsed.kind, parsed.lane, parsed.seq, parsed.ack) == (kind, lane, seq, ack)
    assert (parsed.credit, parsed.last, bytes(parsed.payload)) == (credit, last, payload)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_frame_or_malformed(junk: bytes) -> None:
    try:
        decode(junk)
    except MalformedFrame:
        return


def test_unknown_fields_are_skipped() -> None:
    known = encode(Frame(DATA, "/x", 1, payload=b"abc"))
    extra = b"\x78\x05" + b"\x7d1234" + b"\x7912345678" + b"\x7a\x02ab"
    assert decode(extra + known) == decode(known)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (b"\x0a\x05ab", "malformed frame: a field is longer than the frame"),
        (b"\x0a\x02\xff\xfe", "malformed frame: cut short, or a lane that is not UTF-8"),
        (b"\x10", "malformed frame: cut short, or a lane that is not UTF-8"),
        (b"\x10" + b"\xff" * 10 + b"\x01", "malformed frame: a number of more than 64 bits"),
        (b"\x0b", "malformed frame: wire type 3"),
        (data(2), "frame 2 where 1 is due"),
        (data(0), "frame 0 where 1 is due"),
        (encode(Frame(0, "", 1)), "frame of unknown kind 0"),
        (encode(Frame(1, "", 1)), "frame of unknown kind 1"),
        (encode(Frame(77, "", 1)), "frame of unknown kind 77"),
        (data(1, bytes(CHUNK_BYTES + 1)), f"payload of {CHUNK_BYTES + 1} bytes, at most {CHUNK_BYTES} are allowed"),
        (data(1, ack=1), "acknowledges frame 1 of 0"),
        (data(1, lane="x"), "a lane's path that cannot be"),
        (data(1, lane="/" + "x" * 255), "a lane's path that cannot be"),
    ],
)
def test_a_bad_frame_ends_both_sides_with_the_exact_text(bad: bytes, text: str) -> None:
    link, stream = attached()
    fork = link.lane.fork("f")
    with pytest.raises(PeerError) as caught:
        link.receive(stream, bad)
    assert str(caught.value) == f"bank broke test at frame: {text}"
    for operation in (
        lambda: link.lane.write([b"x"], last=True, timeout_s=10),
        lambda: link.lane.read(timeout_s=1),
        lambda: fork.read(timeout_s=1),
    ):
        with pytest.raises(PeerError, match="^bank broke test at frame: "):
            operation()
    told = frames(link, stream)[-1]
    assert (told.kind, told.lane, bytes(told.payload).decode()) == (CLOSE, "", text)


def test_a_repeated_or_reordered_frame_is_no_message() -> None:
    for wrong in (1, 3):
        link, stream = attached()
        link.receive(stream, data(1, b"one"))
        with pytest.raises(PeerError, match=f"frame {wrong} where 2 is due"):
            link.receive(stream, data(wrong, b"wrong"))


def test_data_beyond_the_credit_is_refused() -> None:
    link, stream = attached()
    fits = WINDOW_BYTES // (CHUNK_BYTES + link_module.FRAME_COST)
    for i in range(fits):
        link.receive(stream, data(i + 1, bytes(CHUNK_BYTES)))
    with pytest.raises(PeerError, match="more data than its credit allows"):
        link.receive(stream, data(fits + 1, bytes(CHUNK_BYTES)))


def test_an_unopened_lane_takes_one_chunk() -> None:
    link, stream = attached()
    link.receive(stream, data(1, bytes(CHUNK_BYTES), lane="/x"))
    with pytest.raises(PeerError, match="more data than its credit allows"):
        link.receive(stream, data(2, b"", lane="/x"))


def test_opening_a_lane_grants_its_window() -> None:
    link, stream = attached()
    link.receive(stream, data(1, bytes(CHUNK_BYTES), lane="/x"))
    link.lane.fork("x")
    assert [(f.kind, f.lane, f.credit, f.ack) for f in frames(link, stream)] == [(CONTROL, "/x", WINDOW_BYTES, 1)]


def test_lanes_that_nobody_here_opened_are_few() -> None:
    link, stream = attached()
    for i in range(link_module.UNCLAIMED_LANES):
        link.receive(stream, data(i + 1, lane=f"/{i}"))
    with pytest.raises(PeerError, match="more than 64 lanes that tax has not opened"):
        link.receive(stream, data(65, lane="/one-more"))


def test_lanes_of_a_session_are_limited() -> None:
    link, stream = attached()
    for i in range(link_module.LANES - 1):
        link.lane.fork(str(i))
    with pytest.raises(UsageError, match="at most 1024 lanes in its life"):
        link.lane.fork("one-more")
    with pytest.raises(PeerError, match="more than 1024 lanes"):
        link.receive(stream, data(1, lane="/another"))


def test_a_path_is_limited() -> None:
    link, _ = attached()
    with pytest.raises(UsageError, match="at most 255 bytes"):
        link.lane.fork("税" * 90)


def test_data_after_a_close_is_refused() -> None:
    link, stream = attached()
    link.receive(stream, encode(Frame(CLOSE, "/x", 1, payload=b"bye")))
    with pytest.raises(PeerError, match="data on a lane that it has closed"):
        link.receive(stream, data(2, lane="/x/below"))
    link, stream = attached()
    link.receive(stream, encode(Frame(CLOSE, "/x", 1)))
    with pytest.raises(PeerError, match="closes a lane twice"):
        link.receive(stream, encode(Frame(CLOSE, "/x", 2)))


def test_data_under_way_when_this_side_closes_is_dropped() -> None:
    link, stream = attached()
    fork = link.lane.fork("x")
    fork.close("enough")
    link.receive(stream, data(1, lane="/x"))
    link.receive(stream, data(2, lane="/x/below"))
    link.receive(stream, data(3))
    assert bytes(link.lane.read(timeout_s=1)[0]) == b"x"


def test_a_hostile_reason_is_cut_and_decoded() -> None:
    link, stream = attached()
    link.receive(stream, encode(Frame(CLOSE, "", 1, payload=b"\xff" + b"a" * 5000)))
    with pytest.raises(ChannelClosed) as caught:
        link.lane.read(timeout_s=1)
    assert str(caught.value) == "bank ended the conversation: \ufffd" + "a" * 1023


def test_a_new_stream_carries_what_was_not_acknowledged() -> None:
    link, stream = attached()
    for word in (b"one", b"two", b"three"):
        link.lane.write([word], last=True, timeout_s=10)
    assert [bytes(f.payload) for f in frames(link, stream)] == [b"one", b"two", b"three"]
    link.lane.write([b"four"], last=True, timeout_s=10)
    assert link.detach(stream)
    again = link.attach(2)  # the peer says that it has two
    assert [(f.seq, bytes(f.payload)) for f in frames(link, again)] == [(3, b"three"), (4, b"four")]
    link.receive(stream, data(9))  # the lost stream's frames count no more, right or wrong
    link.receive(again, data(1))
    assert link.next_frame(stream) is None


def test_a_new_stream_says_limits_again() -> None:
    link, stream = attached()
    link.lane.fork("x")
    assert len(frames(link, stream)) == 1
    link.detach(stream)
    assert [(f.lane, f.credit) for f in frames(link, link.attach(0))] == [("/x", WINDOW_BYTES)]


def test_a_stream_that_ends_after_the_last_acknowledgement_is_not_missed() -> None:
    link, stream = attached()
    link.lane.close("done")
    (close,) = frames(link, stream)
    link.receive(stream, encode(Frame(CONTROL, ack=close.seq)))
    assert link.detach(stream)
    assert link.finished.is_set()


def test_a_stream_that_ends_before_it_leaves_the_session_open() -> None:
    link, stream = attached()
    link.lane.close("done")
    frames(link, stream)
    assert link.detach(stream)
    assert not link.finished.is_set()


def test_acknowledging_what_was_never_sent_does_not_attach() -> None:
    link, stream = attached()
    link.lane.write([b"one"], last=True, timeout_s=10)
    link.detach(stream)
    with pytest.raises(PeerError, match="acknowledges frame 2 of 1"):
        link.attach(2)


def test_writers_wait_for_acknowledgements() -> None:
    link, stream = attached()
    link.receive(stream, encode(Frame(CONTROL, credit=1 << 40)))
    written = 0

    def write() -> None:
        nonlocal written
        for _ in range(40):
            link.lane.write([bytes(CHUNK_BYTES)], last=False, timeout_s=10)
            written += 1

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(0.5)
    assert written == link_module.OUT_BYTES // CHUNK_BYTES
    while writer.is_alive():
        sent = frames(link, stream)
        if sent:
            link.receive(stream, encode(Frame(CONTROL, ack=sent[-1].seq)))
        writer.join(0.01)
    assert written == 40


def test_acknowledging_by_drops_does_not_hold_a_writer() -> None:
    link, stream = attached()
    link.receive(stream, encode(Frame(CONTROL, credit=1 << 40)))
    for _ in range(1500):
        link.lane.write([b"drop"], last=True, timeout_s=10)
    while link._out_bytes < link_module.OUT_BYTES:
        link.lane.write([bytes(CHUNK_BYTES)], last=False, timeout_s=10)
    frames(link, stream)
    late: list[float] = []

    def write() -> None:
        started = time.monotonic()
        with pytest.raises(ChannelTimeout, match=r"^bank took nothing for 0\.3 s$"):
            link.lane.write([bytes(CHUNK_BYTES)], last=False, timeout_s=0.3)
        late.append(time.monotonic() - started)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    for drop in range(1, 100):
        link.receive(stream, encode(Frame(CONTROL, ack=drop)))
        writer.join(0.02)
    assert 0.25 < late[0] < 1.5


def test_draining_waits_for_a_peer_that_acknowledges() -> None:
    link, stream = attached()
    for _ in range(4):
        link.lane.write([b"word"], last=True, timeout_s=10)
    link.lane.close("done")
    sent = frames(link, stream)
    drained: list[bool] = []
    waiting = threading.Thread(target=lambda: drained.append(link.drain(0.5)), daemon=True)
    waiting.start()
    for frame in sent:
        waiting.join(0.2)
        link.receive(stream, encode(Frame(CONTROL, ack=frame.seq)))
    assert link.next_frame(stream) is None
    waiting.join(5)
    assert drained == [True]


def test_draining_gives_up_on_a_peer_that_acknowledges_nothing() -> None:
    link, stream = attached()
    link.lane.write([b"word"], last=True, timeout_s=10)
    link.lane.close("done")
    frames(link, stream)
    assert not link.drain(0.1)


def test_a_lane_without_credit_does_not_hold_others_back() -> None:
    link, stream = attached()
    blocked = link.lane.fork("x")

    def write() -> None:
        with suppress(ChannelClosed):
            while True:
                blocked.write([bytes(CHUNK_BYTES)], last=False, timeout_s=10)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    assert blocked._link._states["/x"].sent == FIRST_CREDIT
    link.lane.write([b"through"], last=True, timeout_s=10)
    assert bytes(frames(link, stream)[-1].payload) == b"through"
    link.lane.close("over")
    writer.join(5)
    assert not writer.is_alive()


@given(st.lists(st.integers(0, 3), max_size=60), st.randoms(use_true_random=False))
def test_any_breaks_lose_and_repeat_nothing(breaks: list[int], random: object) -> None:
    """Two links over a stream that breaks at any point: what one writes, the other reads, once and in order."""
    import random as random_module

    assert isinstance(random, random_module.Random)
    a, b = Link(me="bank", peer="tax", protocol="test"), Link(me="tax", peer="bank", protocol="test")
    sa, sb = a.attach(b.ack), b.attach(a.ack)
    wanted, heard = [], []
    for i, step in enumerate(breaks):
        a.lane.write([b"%d" % i], last=True, timeout_s=10)
        wanted.append(b"%d" % i)
        under_way = [encode(f) for f in frames(a, sa)]
        arriving = under_way[: random.randint(0, len(under_way))] if step == 0 else under_way
        for item in arriving:
            b.receive(sb, item)
        if step == 1:
            for f in frames(b, sb):
                a.receive(sa, encode(f))
        if step == 0:
            a.detach(sa)
            b.detach(sb)
            sa, sb = a.attach(b.ack), b.attach(a.ack)
    for f in frames(a, sa):
        b.receive(sb, encode(f))
    while len(heard) < len(wanted):
        heard.append(bytes(b.lane.read(timeout_s=0.1)[0]))
    assert heard == wanted
