"""Recordings: what was recorded plays the peer; what differs is named exactly."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from mpc.channel import Channel
from mpc.errors import ChannelClosed, ChannelTimeout, UsageError
from mpc.rng import Rng
from mpc.transport.local import pair
from mpc.transport.record import Recorder, replay
from tests.messages import Block, Word


def bank(channel: Channel, rng: Rng, *, questions: int = 3) -> list[int]:
    """Asks, on the channel and on a fork of it; what it sends depends on its randomness and on the answers."""
    answers = []
    for i in range(questions):
        channel.send(Block(number=sum(answers) + i), rng.uint8(100_000 * i, 16))
        answers.append(channel.recv(Word)[0].number)
    fork = channel.fork("aside")
    fork.send(Word(number=answers[-1]))
    return [*answers, fork.recv(Word)[0].number]


def tax(channel: Channel) -> None:
    for _ in range(3):
        header, rows = channel.recv(Block)
        channel.send(Word(number=header.number + int(rows.sum())))
    fork = channel.fork("aside")
    fork.send(Word(number=fork.recv(Word)[0].number + 1))
    channel.close("that was all")


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Path, list[int]]:
    """A recording of the bank's side, and what the bank had from it."""
    path = tmp_path / "bank.recording"
    mine, theirs = pair("bank", "tax")
    peer = threading.Thread(target=tax, args=(Channel(theirs, protocol="test"),), daemon=True)
    peer.start()
    with Recorder(mine, path) as recorder:
        channel = Channel(recorder.lane, protocol="test", timeout_s=10)
        result = bank(channel, Rng.from_seed(b"1"))
        peer.join(10)
        with pytest.raises(ChannelClosed, match="that was all"):
            channel.recv(Word)
    return path, result


def test_the_same_run_gives_the_same_sends_and_results(recording: tuple[Path, list[int]]) -> None:
    path, result = recording
    lane = replay(path)
    assert (lane.me, lane.peer) == ("bank", "tax")
    channel = Channel(lane, protocol="test")
    assert bank(channel, Rng.from_seed(b"1")) == result
    with pytest.raises(ChannelClosed, match=r"^tax ended the conversation: that was all$"):
        channel.recv(Word)
    lane.finish()


def test_other_randomness_is_named_where_it_shows(recording: tuple[Path, list[int]]) -> None:
    expected = np.flatnonzero(Rng.from_seed(b"1").fork().uint8(64) != Rng.from_seed(b"2").fork().uint8(64))
    assert len(expected)  # the two streams differ, so the replay has to
    with pytest.raises(UsageError, match=r"^Replay: chunk 1 on lane / differs at byte \d+\. Run the same code"):
        bank(Channel(replay(recording[0]), protocol="test"), Rng.from_seed(b"2"))


def test_a_send_too_many_is_named(recording: tuple[Path, list[int]]) -> None:
    lane = replay(recording[0])
    channel = Channel(lane, protocol="test")
    bank(channel, Rng.from_seed(b"1"))
    fork = lane.fork("another")
    with pytest.raises(UsageError, match=r"^Replay: bank sends chunk 0 on lane /another, the recording ends before it"):
        fork.write([b"x"], last=True, timeout_s=10)
    with pytest.raises(ChannelTimeout, match="nothing more from tax on lane /another"):
        fork.read(timeout_s=1)


def test_length_and_end_of_message_count(recording: tuple[Path, list[int]]) -> None:
    lane = replay(recording[0])
    first = lane._reel.sent[0][0]
    with pytest.raises(UsageError, match=rf"chunk 0 on lane / has {len(first) + 1} bytes, not {len(first)}"):
        lane.write([first, b"x"], last=True, timeout_s=10)
    with pytest.raises(UsageError, match="chunk 0 on lane / ends its message too late"):
        replay(recording[0]).write([first], last=False, timeout_s=10)


def test_a_run_that_stops_early_is_named(recording: tuple[Path, list[int]]) -> None:
    lane = replay(recording[0])
    Channel(lane, protocol="test").send(Block(), Rng.from_seed(b"1").uint8(0, 16))
    with pytest.raises(UsageError, match=r"on lane /, \d+ recorded chunks were not sent and 3 not received"):
        lane.finish()


def test_a_file_that_was_cut_or_changed_is_refused(recording: tuple[Path, list[int]]) -> None:
    path, _ = recording
    whole = path.read_bytes()
    for data in (whole[:-1], whole[:100], b"", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        path.write_bytes(data)
        with pytest.raises(UsageError, match="bank.recording is no whole recording"):
            replay(path)


def test_only_the_owner_reads_it_and_only_whole_files_appear(tmp_path: Path) -> None:
    path = tmp_path / "r"
    recorder = Recorder(pair("bank", "tax")[0], path)
    recorder.lane.write([b"secret"], last=True, timeout_s=10)
    assert not path.exists()
    recorder.close()
    recorder.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert replay(path)._reel.sent[0] == (b"secret", True)
