"""Work that is gone on with: whatever each party has when they meet again, they agree on where they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from mpc.wire.learning.v1 import stages_pb2 as wire
from protocols.learning.stages import Stages
from protocols.psi.checkpoint import DamagedCheckpoint

NAMES = ("bank", "civil", "edu")
KEY = bytes(range(32))


def meet(root: Path, *, puts: dict[str, int] | None = None, work: str = "job 1") -> dict[str, tuple[bytes, int]]:
    """All open their stages and do some more, each so many as `puts` says; run and stages done, as each saw it."""

    def party(s: Session) -> tuple[bytes, int]:
        with Stages.open(s, root / s.me, KEY, work=work) as stages:
            for stage in range(stages.done + 1, stages.done + 1 + (puts or {}).get(s.me, 0)):
                stages.put(stage, s.me.encode(), bytes([stage]) * 3)
            return stages.run, stages.done

    found: dict[str, tuple[bytes, int]] = run_parties(dict.fromkeys(NAMES, party))
    assert len(set(found.values())) == 1
    return found


def test_all_go_on_behind_the_last_stage_that_all_have(tmp_path: Path) -> None:
    run, done = meet(tmp_path, puts={"bank": 3, "civil": 1, "edu": 2})["bank"]
    assert (len(run), done) == (32, 0)
    assert meet(tmp_path)["edu"] == (run, 1)
    # What lay beyond is gone: another try might come to something else.
    assert {path.name for path in (tmp_path / "bank").iterdir()} == {"stage-0", "stage-1"}
    assert meet(tmp_path, puts=dict.fromkeys(NAMES, 2))["bank"] == (run, 1)
    assert meet(tmp_path)["civil"] == (run, 3)

    def read(s: Session) -> tuple[bytes, ...]:
        with Stages.open(s, tmp_path / s.me, KEY, work="job 1") as stages:
            return stages.get(3)

    assert run_parties(dict.fromkeys(NAMES, read))["civil"] == (b"civil", b"\x03\x03\x03")


def test_who_has_lost_everything_begins_anew_with_all(tmp_path: Path) -> None:
    run, _ = meet(tmp_path, puts=dict.fromkeys(NAMES, 2))["bank"]
    for path in (tmp_path / "civil").iterdir():
        path.unlink()
    again, done = meet(tmp_path)["bank"]
    assert again != run
    assert done == 0


def test_other_work_another_key_and_damage_are_named(tmp_path: Path) -> None:
    meet(tmp_path, puts=dict.fromkeys(NAMES, 1))
    with pytest.raises(UsageError, match="holds other work"):
        meet(tmp_path, work="job 2")
    path = tmp_path / "edu" / "stage-0"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedCheckpoint):
        meet(tmp_path)
    with pytest.raises(UsageError, match="4 bytes; give 32"):
        run_parties({name: lambda s: Stages.open(s, tmp_path, b"four", work="").__enter__() for name in NAMES[:2]})


def test_the_last_two_steps_are_kept_and_go_with_what_they_stand_on(tmp_path: Path) -> None:
    def steps(s: Session, save: tuple[int, ...], done: int) -> list[tuple[int, bytes]]:
        with Stages.open(s, tmp_path / s.me, KEY, work="job 1") as stages:
            for stage in range(stages.done + 1, done + 1):
                stages.put(stage, b"")
            for step in save:
                stages.steps(2).save(step, bytes([step]) * (9 << 20))  # more than a frame
            return stages.steps(2).load()

    def run(save: tuple[int, ...], done: int) -> list[tuple[int, bytes]]:
        return run_parties({name: lambda s: steps(s, save, done) for name in NAMES[:2]})["bank"]

    assert [(step, len(state), state[:1]) for step, state in run((1, 9, 10), 1)] == [
        (9, 9 << 20, b"\x09"),
        (10, 9 << 20, b"\x0a"),
    ]
    assert [step for step, _ in run((), 1)] == [9, 10]
    (tmp_path / "civil" / "stage-1").unlink()
    assert run((), 0) == []


@pytest.mark.parametrize("name", ["stage-1", "steps-2-7"])
def test_what_an_earlier_beginning_came_to_is_not_taken_for_this_ones(tmp_path: Path, name: str) -> None:
    """As after a backup of one party: it opens, but it is of other rows, in another order."""

    def party(s: Session) -> None:
        with Stages.open(s, tmp_path / s.me, KEY, work="job 1") as stages:
            if not stages.done:
                stages.put(1, b"rows")
                stages.steps(2).save(7, b"shares")
            assert stages.get(1) == (b"rows",)
            assert stages.steps(2).load() == [(7, b"shares")]

    run_parties(dict.fromkeys(NAMES, party))
    kept = (tmp_path / "bank" / name).read_bytes()
    for path in (tmp_path / "civil").iterdir():
        path.unlink()
    run_parties(dict.fromkeys(NAMES, party))
    run_parties(dict.fromkeys(NAMES, party))
    (tmp_path / "bank" / name).write_bytes(kept)
    with pytest.raises(DamagedCheckpoint):
        run_parties(dict.fromkeys(NAMES, party))


@pytest.mark.parametrize("said", [{"run": b"short"}, {"done": 65}, {"nonce": b"short"}])
def test_what_cannot_be_is_refused(tmp_path: Path, said: dict[str, object]) -> None:
    def lies(s: Session) -> None:
        s.channel("bank").send(wire.Stages(**{"nonce": bytes(32), **said}))
        s.channel("bank").recv(wire.Stages)

    opened: Callable[[Session], object] = lambda s: Stages.open(s, tmp_path, KEY, work="").__enter__()  # noqa: E731
    with pytest.raises(PeerError, match="a run and a nonce of 32 bytes"):
        run_parties({"bank": opened, "civil": lies})
