"""One suite for all transports: a protocol must not be able to tell which of them it runs on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mpc.channel import CHUNK_BYTES, Channel, Lane
from mpc.errors import ChannelClosed, ChannelTimeout, PeerError, UsageError
from tests.messages import Block, Points, Word
from tests.transport.support import TRANSPORTS, Parties, connected, make_parties

BIG_ROWS = 50_000_000 // 16


@pytest.fixture(scope="module")
def parties() -> Parties:
    return make_parties()


@pytest.fixture(params=TRANSPORTS)
def lanes(request: pytest.FixtureRequest, parties: Parties) -> Iterator[tuple[Lane, Lane]]:
    with connected(request.param, parties) as pair:
        yield pair


@pytest.fixture
def channels(lanes: tuple[Lane, Lane]) -> tuple[Channel, Channel]:
    bank, tax = (Channel(lane, protocol="test", timeout_s=20) for lane in lanes)
    return bank, tax


def in_parallel(*jobs: Callable[[], object]) -> list[object]:
    """Run each job in a thread; return their results, or raise the first error."""
    results: list[object] = [None] * len(jobs)
    errors: list[BaseException] = []

    def run(number: int, job: Callable[[], object]) -> None:
        try:
            results[number] = job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
        assert not thread.is_alive(), "a party hangs"
    if errors:
        raise errors[0]
    return results


def block(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, 16), dtype=np.uint8)


def test_each_end_knows_both_names(lanes: tuple[Lane, Lane]) -> None:
    bank, tax = lanes
    assert (bank.me, bank.peer, tax.me, tax.peer) == ("bank", "tax", "tax", "bank")


def test_messages_arrive_in_order(channels: tuple[Channel, Channel]) -> None:
    bank, tax = channels
    for i in range(500):
        bank.send(Word(number=i))
    assert [tax.recv(Word)[0].number for _ in range(500)] == list(range(500))
    tax.send(Word(number=7))
    assert bank.recv(Word)[0].number == 7


def test_chunks_keep_their_boundaries(lanes: tuple[Lane, Lane]) -> None:
    bank, tax = lanes
    sizes = [0, 1, 127, 128, 16_383, 16_384, CHUNK_BYTES - 1, CHUNK_BYTES]
    for i, size in enumerate(sizes):
        bank.write([b"a" * (size // 2), memoryview(b"b" * (size - size // 2))], last=i % 2 == 0, timeout_s=10)
    for i, size in enumerate(sizes):
        chunk, last = tax.read(timeout_s=10)
        assert bytes(chunk) == b"a" * (size // 2) + b"b" * (size - size // 2)
        assert last is (i % 2 == 0)


def test_what_is_written_may_change_afterwards(lanes: tuple[Lane, Lane]) -> None:
    bank, tax = lanes
    buffer = bytearray(b"before")
    bank.write([buffer], last=True, timeout_s=10)
    buffer[:] = b"after!"
    assert bytes(tax.read(timeout_s=10)[0]) == b"before"


@pytest.mark.parametrize("rows", [0, 1, CHUNK_BYTES // 16 - 5, CHUNK_BYTES // 16, 3 * CHUNK_BYTES // 16 + 1])
def test_arrays_of_any_length(channels: tuple[Channel, Channel], rows: int) -> None:
    bank, tax = channels
    sent = block(rows, rows)
    bank.send(Block(number=3), sent)
    header, received = tax.recv(Block)
    assert header.number == 3
    np.testing.assert_array_equal(received, sent)


def test_fifty_megabytes(channels: tuple[Channel, Channel]) -> None:
    bank, tax = channels
    sent = block(BIG_ROWS, 1)
    _, (_, received) = in_parallel(lambda: bank.send(Block(), sent), lambda: tax.recv(Block))
    np.testing.assert_array_equal(received, sent)
    assert bank.traffic.bytes_sent == tax.traffic.bytes_received > sent.nbytes


def test_exchange_of_big_arrays_does_not_deadlock(channels: tuple[Channel, Channel]) -> None:
    bank, tax = channels
    mine, theirs = block(BIG_ROWS, 2), block(BIG_ROWS, 3)
    (_, at_bank), (_, at_tax) = in_parallel(lambda: bank.exchange(Block(), mine), lambda: tax.exchange(Block(), theirs))
    np.testing.assert_array_equal(at_bank, theirs)
    np.testing.assert_array_equal(at_tax, mine)


def test_forks_run_in_parallel_threads(channels: tuple[Channel, Channel]) -> None:
    bank, tax = channels

    def talk(channel: Channel, label: str, *, first: bool) -> list[int]:
        fork = channel.fork(label).fork("inner")
        heard = []
        for i in range(20):
            if first:
                fork.send(Block(number=i), block(5000, i))
            header, rows = fork.recv(Block)
            np.testing.assert_array_equal(rows, block(5000, i))
            heard.append(header.number)
            if not first:
                fork.send(Block(number=i * int(label)), rows)
        return heard

    jobs = [
        lambda end=end, label=label, first=first: talk(end, str(label), first=first)
        for label in range(6)
        for end, first in ((bank, True), (tax, False))
    ]
    results = in_parallel(*jobs)
    assert results[::2] == [[i * label for i in range(20)] for label in range(6)]


def test_a_fork_of_one_side_waits_for_the_other(channels: tuple[Channel, Channel]) -> None:
    bank, tax = channels
    sent = block(300_000, 4)  # more than a peer may send on a lane that nobody here has opened
    sender = threading.Thread(target=lambda: bank.fork("late").send(Block(), sent), daemon=True)
    sender.start()
    bank.send(Word(number=1))
    assert tax.recv(Word)[0].number == 1
    time.sleep(0.1)
    np.testing.assert_array_equal(tax.fork("late").recv(Block)[1], sent)
    sender.join(10)
    assert not sender.is_alive()


def test_the_reason_of_a_close_arrives_after_what_was_sent(channels: tuple[Channel, Channel]) -> None:
    bank, tax = channels
    bank.send(Word(number=9))
    bank.close("nothing left to ask")
    assert tax.recv(Word)[0].number == 9
    with pytest.raises(ChannelClosed, match=r"^bank ended the conversation: nothing left to ask$"):
        tax.recv(Word)
    with pytest.raises(ChannelClosed, match=r"^bank ended the conversation: nothing left to ask$"):
        tax.send(Word())
    with pytest.raises(ChannelClosed, match="bank ended"):
        bank.send(Word())
    with pytest.raises(ChannelClosed, match="bank ended"):
        tax.fork("later").send(Word())


def test_closing_a_fork_leaves_the_rest(channels: tuple[Channel, Channel]) -> None:
    bank, tax = channels
    fork = bank.fork("x")
    fork.send(Word(number=1))
    theirs = tax.fork("x")
    assert theirs.recv(Word)[0].number == 1
    fork.close("done with x")
    with pytest.raises(ChannelClosed, match="bank ended the conversation: done with x"):
        theirs.recv(Word)
    with pytest.raises(ChannelClosed, match="done with x"):
        theirs.fork("below").recv(Word)
    bank.send(Word(number=2))
    assert tax.recv(Word)[0].number == 2


def test_a_close_wakes_a_writer_that_waits(lanes: tuple[Lane, Lane]) -> None:
    bank, tax = lanes
    failure: list[BaseException] = []

    def write() -> None:
        try:
            while True:
                bank.write([bytes(CHUNK_BYTES)], last=False, timeout_s=10)
        except ChannelClosed as error:
            failure.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    time.sleep(0.5)
    tax.close("enough")
    writer.join(10)
    assert str(failure[0]) == "tax ended the conversation: enough"


def test_a_silent_peer_is_a_timeout(channels: tuple[Channel, Channel], lanes: tuple[Lane, Lane]) -> None:
    started = time.monotonic()
    with pytest.raises(ChannelTimeout, match=r"nothing arrived .*for 0\.2 s"):
        lanes[0].read(timeout_s=0.2)
    assert 0.15 < time.monotonic() - started < 5
    channels[1].send(Word(number=5))  # the lane is still good
    assert channels[0].recv(Word)[0].number == 5


def test_a_chunk_that_is_too_large_is_misuse(lanes: tuple[Lane, Lane]) -> None:
    with pytest.raises(UsageError, match=f"at most {CHUNK_BYTES} bytes, this one {CHUNK_BYTES + 1}"):
        lanes[0].write([bytes(CHUNK_BYTES), b"x"], last=True, timeout_s=10)


@pytest.mark.parametrize("label", ["", "a/b"])
def test_a_label_is_no_path(lanes: tuple[Lane, Lane], label: str) -> None:
    with pytest.raises(UsageError, match="A lane's label is not empty and has no slash"):
        lanes[0].fork(label)


def test_another_type_ends_both_sides(channels: tuple[Channel, Channel]) -> None:
    bank, tax = channels
    bank.send(Points(), block(6, 1).reshape(3, 32))
    with pytest.raises(PeerError, match=r"^bank broke test at Word: got a 'unseen.test.v1.Points'"):
        tax.recv(Word)
    with pytest.raises(ChannelClosed, match="tax ended the conversation: malformed Word"):
        bank.recv(Word)


def test_a_slow_reader_holds_the_writer_back(lanes: tuple[Lane, Lane]) -> None:
    bank, tax = lanes
    chunks, written = 96, 0

    def write() -> None:
        nonlocal written
        for i in range(chunks):
            bank.write([i.to_bytes(4, "little"), bytes(CHUNK_BYTES - 4)], last=i == chunks - 1, timeout_s=10)
            written += 1

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    before = -1
    while before != written:  # until it stands still
        before = written
        time.sleep(0.5)
    assert 0 < written <= 65  # 64 MiB are the most that any transport takes in for a lane
    for i in range(chunks):
        chunk, last = tax.read(timeout_s=10)
        assert int.from_bytes(bytes(chunk[:4]), "little") == i
        assert last is (i == chunks - 1)
    writer.join(10)
    assert written == chunks


def test_a_reader_that_takes_nothing_is_a_timeout(lanes: tuple[Lane, Lane]) -> None:
    bank, tax = lanes
    written = 0

    def write() -> None:
        nonlocal written
        for _ in range(200):
            bank.write([bytes(CHUNK_BYTES)], last=False, timeout_s=0.5)
            written += 1

    with pytest.raises(ChannelTimeout, match=r"for 0\.5 s$"):
        write()
    assert 0 < written <= 65
    for _ in range(written):  # the lane is still good, and the chunk that did not go is not on it
        tax.read(timeout_s=10)
    bank.write([b"after all"], last=True, timeout_s=10)
    assert bytes(tax.read(timeout_s=10)[0]) == b"after all"


def test_a_slow_reader_is_no_timeout(lanes: tuple[Lane, Lane]) -> None:
    bank, tax = lanes
    chunks = 80

    def read() -> None:
        for i in range(chunks):
            if i % 8 == 0:
                time.sleep(0.2)
            tax.read(timeout_s=10)

    def write() -> None:
        for _ in range(chunks):
            bank.write([bytes(CHUNK_BYTES)], last=False, timeout_s=1.0)

    started = time.monotonic()
    in_parallel(read, write)
    assert time.monotonic() - started > 1.9  # longer than the timeout in all


def test_a_service_that_waits_for_ever_does_not_send_for_ever(lanes: tuple[Lane, Lane]) -> None:
    source = Channel(lanes[1], protocol="test", timeout_s=None, send_timeout_s=0.5)
    with pytest.raises(ChannelTimeout, match=r"for 0\.5 s$"):
        source.send(Block(), block(CHUNK_BYTES * 5, 1))  # 80 MiB
    with pytest.raises(ChannelClosed, match="tax ended the conversation: a message broke off"):
        source.send(Block(), block(1, 1))
