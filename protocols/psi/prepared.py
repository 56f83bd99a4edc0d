"""A set prepared for ``psi.unbalanced``: computed once for each key, on disk ever after.

    DIRECTORY/tags          the tag file (protocols/psi/tagfile.py); there when the preparation is complete
    DIRECTORY/key           the private key, sealed under the caller's storage key
    DIRECTORY/unfinished/   sorted runs of tags, while the preparation goes on

A preparation that was interrupted, by whatever, goes on where it was when it is started again with the same keys in the
same order; runs that are there are not computed again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from mpc import durable
from mpc.errors import UsageError
from mpc.kernels import hash as hashes
from mpc.kernels import oprf, wipe
from mpc.kernels.oprf import Mode
from mpc.kernels.packing import Packed, pack_rows
from mpc.rng import Rng
from mpc.session import Progress
from mpc.suite import Suite
from protocols.psi import tagfile
from protocols.psi.checkpoint import alone
from protocols.psi.items import tag_bytes
from protocols.psi.tagfile import TagFile, TagSpec

STORAGE_KEY_BYTES = 32
RUN = 1 << 17
"""Keys of a run: about five seconds of work on a core, which is what an interruption loses."""

_ITEM = b"unseen psi.unbalanced v1 key"
_INFO = b"unseen psi.unbalanced v1 private key"
_SEALED = b"unspkey\x01"
_SALT, _NONCE = 16, 12
_CHECK = 32
_GROUP = 1 << 20  # tags that are sorted at a time in the end


@dataclass(frozen=True)
class Prepared:
    """A prepared set, ready to be asked.

    Attributes:
        tags: for every client.
        private_key: (scalar,) uint8.
    """

    tags: TagFile
    private_key: NDArray[np.uint8] = field(repr=False)


def inputs(keys: Packed, *, suite: Suite, name: str, form: str) -> NDArray[np.uint8]:
    """(n, 32): what F is computed on, for keys of any length: a digest under the set's name and the form of its keys.

    The digest is that of ``"unseen psi.unbalanced v1 key" ‖ u16 ‖ name ‖ u16 ‖ form ‖ key``, each u16 the big-endian
    length of what follows it.
    """
    words = [w.encode() for w in (name, form)]
    return hashes.batch(suite.digest, _ITEM + b"".join(len(w).to_bytes(2, "big") + w for w in words), keys)


def prepare(
    keys: Iterable[Packed],
    directory: Path,
    *,
    suite: Suite,
    name: str,
    form: str = "text",
    epoch: int = 1,
    most: int = 100_000,
    storage: bytes,
    rng: Rng,
    progress: Callable[[Progress], None] = lambda _: None,
    expected: int = 0,
) -> Prepared:
    """Compute the tags of a set: about 40 µs for each key on a core.

    Args:
        keys: canonical keys, in batches of any size. A key that comes twice counts once.
        directory: where the result goes; made if missing. One directory for each epoch.
        suite: group and hashes.
        name: of the set; clients name the same.
        form: canonical form of the keys; clients bring theirs in the same.
        epoch: number of the key. With a new key, old results of evaluations say nothing of new tags.
        most: most keys that a client may ask for in a session.
        storage: 32 bytes, under which the private key is sealed on disk.
        rng: draws the private key.
        progress: called with the stages "prepare", keys, and "sort", tags.
        expected: total for `progress`, where it is known.

    Raises:
        UsageError: the directory holds a prepared set, or an unfinished one of other keys, options or storage key; or
            another process is at it.
        OSError: the disk is full, or the directory cannot be written. What is there can be gone on from.
    """
    if len(storage) != STORAGE_KEY_BYTES:
        raise UsageError(f"The storage key has {len(storage)} bytes; give {STORAGE_KEY_BYTES}.")
    unfinished = directory / "unfinished"
    with alone(unfinished, f"Another process prepares a set in {directory}: wait for it."):
        if (directory / "tags").exists():
            shutil.rmtree(unfinished)
            raise UsageError(f"{directory} holds a prepared set: load it, or give a new directory for a new epoch.")
        if (directory / "key").exists():
            private = _unseal(directory / "key", storage)
        else:
            private = _new_key(suite, rng)
            _seal(private, directory / "key", storage, rng)
        public = oprf.public_key(suite.name, private).tobytes()
        spec = TagSpec(suite.name, name, form, epoch, most, tagfile.TAG_BYTES, 0, public)
        _same(unfinished / "spec", spec.header(), "options")
        runs, total = [], 0
        for number, rows in enumerate(_rows(keys, suite=suite, name=name, form=form)):
            total += len(rows)
            replace(spec, rows=total)  # complains while there is little to lose, not after hours
            runs.append(unfinished / f"{number:06}.run")
            if not _is_run(runs[-1], rows, private):
                _write_run(runs[-1], rows, private, suite)
            progress(Progress("prepare", total, expected))
        spec = TagSpec(suite.name, name, form, epoch, most, tag_bytes(total, most), 0, public)
        tags = tagfile.write(directory / "tags", spec, _merged(runs, total, progress))
        shutil.rmtree(unfinished)
    return Prepared(tags, private)


def load(directory: Path, *, storage: bytes) -> Prepared:
    """Open what `prepare` made; about 0.1 s for 10^7 keys.

    Raises:
        DamagedTags: the tag file is cut short or changed.
        UsageError: there is no prepared set, or its private key does not open under this storage key.
    """
    if not (directory / "tags").exists():
        raise UsageError(f"{directory} holds no prepared set; start or finish one with prepare().")
    tags = tagfile.load(directory / "tags")
    private = _unseal(directory / "key", storage)
    if oprf.public_key(tags.spec.suite, private).tobytes() != tags.spec.public_key:
        raise UsageError(f"{directory} holds the key of another set: restore both files from one backup.")
    return Prepared(tags, private)


# The runs -------------------------------------------------------------------------------------------------------------


def _rows(keys: Iterable[Packed], *, suite: Suite, name: str, form: str) -> Iterator[NDArray[np.uint8]]:
    """The inputs of F in runs of ``RUN``, whatever batches the keys come in; the last may be shorter."""
    held: list[NDArray[np.uint8]] = []
    count = 0
    for batch in keys:
        for start in range(0, len(batch), RUN):
            rows = inputs(batch.slice(start, min(start + RUN, len(batch))), suite=suite, name=name, form=form)
            held.append(rows)
            count += len(rows)
            if count >= RUN:
                whole = np.concatenate(held)
                yield whole[:RUN]
                held, count = [whole[RUN:]], count - RUN
    if count:
        yield np.concatenate(held)


def _fingerprint(rows: NDArray[np.uint8], private: NDArray[np.uint8]) -> bytes:
    """By which a run's keys are known again; keyed, since a short run's keys could be guessed from a plain digest."""
    return hashlib.blake2b(np.ascontiguousarray(rows).data, key=private.tobytes()[:64], digest_size=_CHECK).digest()


def _is_run(path: Path, rows: NDArray[np.uint8], private: NDArray[np.uint8]) -> bool:
    """Whether the run is there already; UsageError where it is one of other keys."""
    if not path.exists():
        return False
    data = path.read_bytes()
    if hashlib.sha256(data[:-_CHECK]).digest() != data[-_CHECK:]:
        return False  # a run that the disk has lost something of is computed again
    if data[:_CHECK] != _fingerprint(rows, private):
        raise UsageError(
            f"{path.parent} was begun with other keys, or in another order: give those, or delete it to begin anew."
        )
    return True


def _write_run(path: Path, rows: NDArray[np.uint8], private: NDArray[np.uint8], suite: Suite) -> None:
    """A fingerprint of the keys, the sorted tags in two columns, and a checksum."""
    first, rest = tagfile.halves(oprf.evaluate(suite.name, Mode.VOPRF, private, pack_rows(rows)))
    order = np.lexsort((rest, first))
    body = b"".join(
        (
            _fingerprint(rows, private),
            first[order].astype("<u8", copy=False).tobytes(),
            rest[order].astype("<u4", copy=False).tobytes(),
        )
    )
    _create(path, body + hashlib.sha256(body).digest())


def _cuts(path: Path, bounds: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where a run's tags reach each of the bounds, from 0 to how many there are."""
    data = np.fromfile(path, dtype="<u8", offset=_CHECK, count=(path.stat().st_size - 2 * _CHECK) // 12)
    return np.concatenate(([0], np.searchsorted(data, bounds), [len(data)])).astype(np.int64)


def _read(path: Path, cut: NDArray[np.int64], first: NDArray[np.uint64], rest: NDArray[np.uint32], group: int) -> int:
    """A run's tags of one group into the columns; returns how many."""
    start, end = cut[group], cut[group + 1]
    with path.open("rb", buffering=0) as file:
        file.seek(_CHECK + 8 * start)
        file.readinto(first[: end - start].data.cast("B"))  # a local file gives what there is
        file.seek(_CHECK + 8 * cut[-1] + 4 * start)
        file.readinto(rest[: end - start].data.cast("B"))
    return int(end - start)


def _merged(
    runs: list[Path], total: int, progress: Callable[[Progress], None]
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint32]]]:
    """All runs' tags in order, without those that come twice; a group at a time, by the tags' first bits."""
    bits = max(total // _GROUP, 1).bit_length()
    bounds = np.arange(1, 1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    cuts = [_cuts(run, bounds) for run in runs]
    done = 0
    for group in range(1 << bits):
        size = int(sum(cut[group + 1] - cut[group] for cut in cuts))
        first, rest = np.empty(size, dtype="<u8"), np.empty(size, dtype="<u4")
        at = 0
        for run, cut in zip(runs, cuts, strict=True):
            at += _read(run, cut, first[at:], rest[at:], group)
        order = np.lexsort((rest, first))
        first, rest = first[order], rest[order]
        new = np.ones(len(first), dtype=np.bool_)
        new[1:] = (first[1:] != first[:-1]) | (rest[1:] != rest[:-1])
        yield first[new], rest[new]
        done += len(first)
        progress(Progress("sort", done, total))


# Files ----------------------------------------------------------------------------------------------------------------


def _create(path: Path, data: bytes) -> None:
    """A file that is there wholly and durably, or not at all; only its owner may read it."""
    temporary = path.with_name(path.name + ".part")
    with durable.private_file(temporary) as file:
        file.write(data)
    temporary.rename(path)
    durable.sync_directory(path.parent)


def _same(path: Path, data: bytes, what: str) -> None:
    """Keep `data`, or find it kept."""
    if not path.exists():
        _create(path, data)
    elif path.read_bytes() != data:
        raise UsageError(f"{path.parent} was begun with other {what}: go on with those, or delete it to begin anew.")


def _new_key(suite: Suite, rng: Rng) -> NDArray[np.uint8]:
    seed = rng.uint8(oprf.SEED_BYTES)
    try:
        return oprf.derive_key(suite.name, Mode.VOPRF, seed, _INFO)
    finally:
        wipe(seed)


def _cipher(storage: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=_INFO).derive(storage))


def _seal(private: NDArray[np.uint8], path: Path, storage: bytes, rng: Rng) -> None:
    """AES-256-GCM under a key of its own, derived from the storage key."""
    salt, nonce = rng.bytes(_SALT), rng.bytes(_NONCE)
    _create(path, _SEALED + salt + nonce + _cipher(storage, salt).encrypt(nonce, private.data, _SEALED))


def _unseal(path: Path, storage: bytes) -> NDArray[np.uint8]:
    """UsageError where the key was changed, or the storage key is another one."""
    data = path.read_bytes()
    at = len(_SEALED)
    salt, nonce, sealed = data[at : at + _SALT], data[at + _SALT : at + _SALT + _NONCE], data[at + _SALT + _NONCE :]
    try:
        if not data.startswith(_SEALED) or len(nonce) != _NONCE:
            raise InvalidTag
        plain = _cipher(storage, salt).decrypt(nonce, sealed, _SEALED)
    except InvalidTag:
        raise UsageError(
            f"{path} does not open: it was changed, or the storage key is another one. Restore both from one backup."
        ) from None
    return np.frombuffer(plain, dtype=np.uint8).copy()
