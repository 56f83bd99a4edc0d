"""A home: what killed processes left is swept away, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from unseen import home as homes
from unseen.governance import files
from unseen.home import Home


def age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment), follow_symlinks=False)


def test_leftovers_are_swept_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    places = (tmp_path, tmp_path / "identity" / "0001", home.state, home.pins, home.pins / "evidence", home.tables)
    elsewhere = home.manifests("marriage-status")
    for place in (*places, elsewhere):
        place.mkdir(parents=True, exist_ok=True)
    # What a write leaves that was cut off before its rename and could not clean up.
    leftovers = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        for place in (*places, elsewhere):
            with pytest.raises(KeyboardInterrupt):
                files.replace(place / "some.json", b"half")
            (left,) = place.glob(".*.tmp")
            leftovers.append(left)
    for left in leftovers[1:]:
        age(left, 3600)
    young, *old, foreign = leftovers
    others = [home.pins / name for name in (".x.json.tmp", ".x.json.0123456789AB.tmp", "x.0123456789ab.tmp", "x.json")]
    for path in others:
        path.write_text("keep")
        age(path, 3600)
    link, directory = home.pins / ".l.0123456789ab.tmp", home.pins / ".d.0123456789ab.tmp"
    link.symlink_to(others[-1])
    directory.mkdir()
    for path in (link, directory):
        age(path, 3600)
    assert homes.sweep(home) == len(old) == 5
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in (young, foreign, *others, link, directory))
    age(young, 3600)
    assert homes.sweep(home) == 1
    assert homes.sweep(Home(tmp_path / "nothing")) == 0
