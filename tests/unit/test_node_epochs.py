"""The epoch store: cut off after any single step on the disk, it opens with the old epoch or the new one, whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mpc.errors import UsageError
from tests.governance.world import make_world
from unseen.governance import documents
from unseen.governance.documents import Signed, Signer, format_time, to_base64, utc_now
from unseen.governance.manifest import Manifest
from unseen.home import Home
from unseen.node import epochs, sealing
from unseen.node.epochs import EpochStore

NODE, PRODUCT = "civil-affairs", "marriage-status"


@pytest.fixture(name="signer", scope="module")
def _signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_world(tmp_path_factory.mktemp("world"), NODE).identity(NODE).signer


def manifest(signer: Signer, epoch: int) -> Signed:
    now = format_time(utc_now())
    content = Manifest(
        suite="intl",
        node=NODE,
        product=PRODUCT,
        epoch=epoch,
        public_key=to_base64(bytes(32)),
        table_hash=to_base64(bytes(32)),
        table_rows=1024,
        row_bytes=9,
        key_form="resident-id",
        answer_bytes=1,
        not_before=now,
        not_after=now,
        grace_until=now,
    )
    return documents.sign(content, signer)


def build(store: EpochStore, text: str) -> Path:
    directory = store.new_building()
    (directory / epochs.TABLE).write_text(text)
    (directory / epochs.KEY).write_text(f"key of {text}")
    return directory


def check(directory: Path, *, latest: int) -> int:
    """Open the store as after a restart; returns the current epoch, which is whole."""
    store = EpochStore(Home(directory), PRODUCT)
    store.open()
    current = store.current()
    assert current in (latest - 1, latest)
    assert store.last() == current
    assert [number for number, _ in store.manifests(1, current)] == list(range(1, current + 1))
    assert (store.epoch(current) / epochs.TABLE).read_text() == f"table {current}"
    assert (store.epoch(current) / epochs.KEY).read_text() == f"key of table {current}"
    assert documents.parse(store.manifest(current).document, Manifest).epoch == current
    home = Home(directory)
    assert {path.name for path in home.product(PRODUCT).iterdir()} == {"current", "epochs", "builder.lock"}
    assert {path.name for path in home.manifests(PRODUCT).iterdir()} == {f"{n}.json" for n in range(1, current + 1)}
    return current


class Stop(BaseException):
    """As kill -9: nobody catches it, nothing is cleaned up."""


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `steps` changes of the file system happen, and stop before the next."""
    done = 0

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal done
            if done == steps:
                raise Stop
            done += 1
            return function(*arguments, **options)

        return call

    for name in ("fsync", "rename", "unlink", "link", "open", "write"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    for name in ("rename", "unlink", "mkdir"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))


def test_publishing_cut_off_after_every_step(tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for steps in range(200):
        directory = tmp_path / str(steps)
        store = EpochStore(Home(directory), PRODUCT)
        store.open()
        store.publish(build(store, "table 1"), 1, manifest(signer, 1))
        building = build(store, "table 2")
        second = manifest(signer, 2)
        with monkeypatch.context() as patch:
            stop_after(steps, patch)
            try:
                store.publish(building, 2, second)
            except Stop:
                finished = False
            else:
                finished = True
        outcomes.append(check(directory, latest=2))
        if finished:
            break
    else:
        raise AssertionError("publishing takes more than 200 steps")
    assert outcomes == sorted(outcomes)  # before one certain step always the old one, after it always the new one
    assert set(outcomes) == {1, 2}
    assert len(outcomes) > 10


@pytest.mark.parametrize("failing", ["manifest.json", "current"])
def test_a_full_disk_leaves_the_old_epoch_and_nothing_else(
    tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    from unseen.governance import files

    store = EpochStore(Home(tmp_path), PRODUCT)
    store.open()
    store.publish(build(store, "table 1"), 1, manifest(signer, 1))
    replace = files.replace

    def full(path: Path, data: bytes, *, mode: int = files.PUBLIC) -> None:
        if path.name == failing:
            raise OSError(28, "No space left on device")
        replace(path, data, mode=mode)

    building = build(store, "table 2")
    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", full)
        with pytest.raises(OSError, match="No space"):
            store.publish(building, 2, manifest(signer, 2))
    assert store.current() == 1
    if building.exists():
        store.discard(building)
    store.publish(build(store, "table 2"), 2, manifest(signer, 2))  # the number is free again
    assert check(tmp_path, latest=2) == 2


def test_epochs_follow_each_other(tmp_path: Path, signer: Signer) -> None:
    store = EpochStore(Home(tmp_path), PRODUCT)
    store.open()
    for number in (0, 2):
        with pytest.raises(UsageError, match="does not follow"):
            store.publish(build(store, "table"), number, manifest(signer, number))


def test_retiring_erases_key_and_table_and_keeps_the_manifest(tmp_path: Path, signer: Signer) -> None:
    store = EpochStore(Home(tmp_path), PRODUCT)
    store.open()
    store.publish(build(store, "table 1"), 1, manifest(signer, 1))
    first = store.manifest(1)
    assert store.live() == (1,)
    store.retire(1)
    store.retire(1)
    assert not store.epoch(1).exists()
    assert store.live() == ()
    store.open()  # a retired epoch is not a lost one
    assert store.manifest(1) == first
    assert (store.current(), store.last()) == (1, 1)


def test_after_a_loss_of_state_the_numbers_go_on(tmp_path: Path, signer: Signer) -> None:
    home = Home(tmp_path)
    store = EpochStore(home, PRODUCT)
    store.open()
    for number in (1, 2):
        store.publish(build(store, f"table {number}"), number, manifest(signer, number))
    shutil.rmtree(home.product(PRODUCT))
    store.open()
    assert (store.current(), store.last(), store.live()) == (0, 2, ())
    with pytest.raises(UsageError, match="epoch 1 does not follow epoch 2"):
        store.publish(build(store, "table 1"), 1, manifest(signer, 1))
    store.publish(build(store, "table 3"), 3, manifest(signer, 3))
    assert check(tmp_path, latest=3) == 3


def test_a_missing_epoch_is_named(tmp_path: Path) -> None:
    store = EpochStore(Home(tmp_path), PRODUCT)
    store.open()
    current = Home(tmp_path).product(PRODUCT) / "current"
    current.write_text("3\n")
    with pytest.raises(UsageError, match="epoch 3, which is missing"):
        EpochStore(Home(tmp_path), PRODUCT).open()
    current.write_text("three\n")
    with pytest.raises(UsageError, match="does not hold a number"):
        EpochStore(Home(tmp_path), PRODUCT).open()


# Sealing --------------------------------------------------------------------------------------------------------------


@pytest.fixture(name="storage")
def _storage(tmp_path: Path) -> bytes:
    return sealing.storage_key(tmp_path / "storage.key")


def test_a_sealed_key_opens_for_its_purpose_alone(storage: bytes) -> None:
    secret = np.arange(32, dtype=np.uint8)
    sealed = sealing.seal(secret, storage=storage, purpose="marriage-status/7")
    opened = sealing.unseal(sealed, storage=storage, purpose="marriage-status/7")
    assert opened.tobytes() == secret.tobytes()
    assert opened.flags.writeable
    for wrong in (
        lambda: sealing.unseal(sealed, storage=storage, purpose="marriage-status/8"),
        lambda: sealing.unseal(sealed, storage=bytes(32), purpose="marriage-status/7"),
        lambda: sealing.unseal(b"", storage=storage, purpose="marriage-status/7"),
    ):
        with pytest.raises(UsageError, match="does not open"):
            wrong()
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(UsageError, match="does not open"):
            sealing.unseal(bytes(changed), storage=storage, purpose="marriage-status/7")


def test_the_storage_key_is_made_once_and_for_its_owner_alone(tmp_path: Path, storage: bytes) -> None:
    path = tmp_path / "storage.key"
    assert sealing.storage_key(path) == storage
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        sealing.storage_key(path)
    path.chmod(0o600)
    path.write_bytes(storage[:-1])
    with pytest.raises(UsageError, match="Restore it"):
        sealing.storage_key(path)


def test_erasing_overwrites_before_it_unlinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret" * 10)
    seen = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda self: (seen.append(self.read_bytes()), unlink(self))[1])
    sealing.erase(path)
    (content,) = seen
    assert len(content) == 60
    assert b"secret" not in content
    assert not path.exists()
    sealing.erase(path)
