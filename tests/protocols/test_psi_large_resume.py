"""What a peer says of an earlier attempt of an intersection by buckets, where it is not so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mpc.data.tables import DataSet
from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from mpc.wire.psi.v1 import large_pb2 as wire
from protocols import psi
from protocols.psi import large

PEER = {"bank": "insurer", "insurer": "bank"}


class Interrupted(Exception):
    """Ends an attempt before its first bucket."""


def party(directory: Path, name: str) -> Callable[[Session], psi.TablesResult]:
    source = directory / f"{name}.csv"
    if not source.exists():
        source.write_text("id\n" + "".join(f"{i}\n" for i in range(100)), encoding="utf-8")
    work = directory / name
    options = {"run": "job 1", "workdir": work, "checkpoint_key": bytes(32), "bucket_rows": 32, "protocol": "ecdh"}
    data = DataSet(str(source), columns=("id",))
    return lambda s: psi.intersect_tables(s, data, None, keys=("id",), peer=PEER[name], **options)


def begun(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parties have the state of a run, and no result."""

    def interrupted(*_: object, **__: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(large._Work, "run", interrupted)
        with pytest.raises(Interrupted):
            run_parties({name: party(directory, name) for name in PEER}, protocol="psi")


def test_a_peer_that_loses_its_state_does_not_have_the_attempts_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could put other keys into the buckets as often as it likes."""
    begun(tmp_path, monkeypatch)
    shutil.rmtree(tmp_path / "insurer")
    monkeypatch.setattr(large, "MAX_ATTEMPTS", 1)
    with pytest.raises(UsageError, match="gone on with 1 times"):
        run_parties({name: party(tmp_path, name) for name in PEER}, protocol="psi")


def test_a_run_is_not_complete_because_the_peer_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(tmp_path, monkeypatch)

    def lies(s: Session) -> None:
        state = large._State(tmp_path / "insurer", bytes(32), s).load()
        assert state is not None
        resume = wire.Resume(run="job 1", state=state.state, bucket_rows=32, complete=True)
        s.channel("bank").exchange(resume)
        s.channel("bank").recv(wire.Resume)

    with pytest.raises(PeerError, match="results of all buckets"):
        run_parties({"bank": party(tmp_path, "bank"), "insurer": lies}, protocol="psi")
    results = run_parties({name: party(tmp_path, name) for name in PEER}, protocol="psi")
    assert {result.matched for result in results.values()} == {100}
