"""Intersection with a large prepared set [Jarecki, Liu 2010; Kales et al. 2019; VOPRF: RFC 9497, mode 1].

The sender has evaluated a keyed function F_k on its whole set once, and gives everybody the same file of tags, F_k(key)
cut short. A receiver of a few keys has F_k evaluated on them, blinded, and looks the results up in the file.

Security: malicious receiver: it learns F_k at points that the sender agreed to evaluate, and no others (one-more gap
          Diffie-Hellman in the suite's group, random oracle). Verifiable sender: a DLEQ proof shows that every
          evaluation used the key that the file names. It does not show that the file is of the right set.
Leaks:    the receiver learns how many keys the set has, and which of its own are in it, now *and later*: the file stays
          with it, so what it had evaluated once it can look up in every file of the same key. Each evaluation is a
          question about one key of its choice: meter them, and change the key from time to time (a new epoch).
          The sender learns how many keys are asked for, and when. Whoever has the private key can test guesses of keys
          against the file.
Cost:     once per receiver and epoch the file, 1 round: 8 bytes per key of the set and at most 65 MiB. A run of n keys:
          1 round and one for each 512 keys, up to three at once; 32·n bytes up, 32·n and 64 for each 512 keys down, in
          a suite of 32-byte elements, and at most 256 bytes of header and envelope a message. Per key the receiver
          hashes to the group once and multiplies 4 times, the sender 2 times. The set's size enters by a search alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import PolicyError, UsageError
from mpc.kernels import InvalidEncoding, InvalidProof, oprf, wipe
from mpc.kernels.oprf import Mode
from mpc.kernels.packing import Packed, pack_rows
from mpc.rng import Rng
from mpc.session import Progress
from mpc.suite import Suite
from mpc.wire.psi.v1 import unbalanced_pb2 as wire
from protocols.operator import Operator
from protocols.psi import prepared, tagfile
from protocols.psi.prepared import Prepared
from protocols.psi.tagfile import DamagedTags, TagFile, TagSpec

OPERATOR = Operator(
    name="psi.unbalanced",
    version=1,
    title="Intersection with a large prepared set",
    learns={
        "receiver": (
            "which of its keys the sender's set has, now and in every later set of the same key",
            "how many keys the sender's set has",
        ),
        "sender": ("how many keys the receiver asks for, and when; neither which nor what came out",),
    },
)

BATCH = 512
"""Keys in one query: small enough that both sides work at once on a thousand keys, large enough for one proof."""

_CODE = re.compile(r"[a-z0-9](-?[a-z0-9]){0,63}")
_AHEAD = 2  # queries that are under way while the first of them is answered
M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Matches:
    """What the receiver has of it.

    Attributes:
        rows: (k,) int64, which of its keys the sender's set has, increasing.
        peer_size: how many distinct keys the sender's set has.
        epoch: of the sender's key.
    """

    rows: NDArray[np.int64] = field(repr=False)
    peer_size: int
    epoch: int


# The sender -----------------------------------------------------------------------------------------------------------


def send(
    channel: Channel,
    prepared_set: Prepared,
    *,
    suite: Suite,
    rng: Rng,
    admit: Callable[[int], None] = lambda _: None,
) -> int:
    """Answer one receiver until it is done.

    Args:
        channel: to the receiver.
        prepared_set: from ``prepared.prepare`` or ``prepared.load``.
        suite: that the set was prepared in.
        rng: proofs.
        admit: called with the number of keys of each query before any of them is evaluated; raises PolicyError where
            the receiver has used up what it may ask. Counting over sessions is its business; that one session asks for
            no more keys than the tags are made for is checked here.

    Returns:
        How many keys were evaluated.

    Raises:
        PeerError: the receiver sent something that is no step of this protocol.
        PolicyError: what `admit` raised; the receiver has been told.
    """
    spec = prepared_set.tags.spec
    if suite.name != spec.suite:
        raise UsageError(f"The set was prepared in suite {spec.suite!r}, not {suite.name!r}: give that one.")
    (enquiry,) = channel.recv(wire.Enquiry)  # 1
    _require_same(channel, enquiry, spec)
    evaluated = 0
    try:
        _admit(enquiry.size, spec)
        header = np.frombuffer(spec.header(), dtype=np.uint8)
        channel.send(wire.Announcement(), header, np.frombuffer(prepared_set.tags.hash, dtype=np.uint8))  # 2
        while True:
            message, *arrays = channel.recv(wire.Fetch, wire.Query, wire.Done)
            if isinstance(message, wire.Done):
                return evaluated
            if isinstance(message, wire.Fetch):
                channel.require(message.offset <= spec.file_bytes, "an offset within the file")
                for piece in tagfile.pieces(prepared_set.tags.path, message.offset):  # 4
                    channel.send(wire.Piece(), piece)
                continue
            (blinded,) = arrays
            evaluated += len(blinded)
            _admit(evaluated, spec)
            admit(len(blinded))
            _answer(channel, prepared_set, blinded, suite, rng)  # 6
    except PolicyError as refused:
        words = {"message": _plain(refused.reason), "remedy": _plain(refused.remedy)}
        channel.send(wire.Refusal(code=refused.code, **words))
        raise


def _require_same(channel: Channel, enquiry: wire.Enquiry, spec: TagSpec) -> None:
    here = {"version": OPERATOR.version, "suite": spec.suite, "name": spec.name, "form": spec.form}
    for word, value in here.items():
        wanted = str(getattr(enquiry, word))[:64]
        channel.require(wanted == str(value), f"the {word} of this set, {str(value)!r}, not {wanted!r}")


def _admit(size: int, spec: TagSpec) -> None:
    if size > spec.most:
        raise PolicyError(
            f"{size} keys where at most {spec.most} may be asked for in one session",
            code="too-many-keys",
            remedy="Ask in several sessions.",
        )


def _answer(channel: Channel, prepared_set: Prepared, blinded: NDArray[np.uint8], suite: Suite, rng: Rng) -> None:
    channel.require(
        1 <= len(blinded) <= BATCH and blinded.shape[1] == suite.group.ELEMENT_BYTES, f"1 to {BATCH} group elements"
    )
    private = prepared_set.private_key
    public = np.frombuffer(prepared_set.tags.spec.public_key, dtype=np.uint8)
    try:
        evaluated = oprf.blind_evaluate(suite.name, private, blinded)
    except InvalidEncoding as error:
        channel.require(False, f"elements of the suite's group, which number {error.index} is not")
        raise
    entropy = rng.uint8(oprf.ENTROPY_BYTES)
    proof = oprf.prove(suite.name, Mode.VOPRF, private, public, blinded, evaluated, entropy)
    channel.send(wire.Evaluation(), evaluated, proof)


# The receiver ---------------------------------------------------------------------------------------------------------


def receive(
    channel: Channel,
    keys: Packed,
    *,
    suite: Suite,
    name: str,
    form: str = "text",
    cache: Path,
    rng: Rng,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Matches:
    """Find out which keys the sender's set has.

    Args:
        channel: to the sender.
        keys: n canonical keys, of any length.
        suite: of the sender's set.
        name: of the sender's set.
        form: canonical form of its keys.
        cache: directory where tag files are kept, so that each is fetched once; made if missing.
        rng: blinds.
        progress: called with the stages "fetch", bytes, and "query", keys.

    Raises:
        DamagedTags: a cached file is cut short or changed. It says which; delete it.
        CheatingDetected: an evaluation used another key than the file names.
        PeerError: the sender serves another set, or broke the protocol.
        PolicyError: the sender refuses; `code` and text are the sender's.
    """
    enquiry = wire.Enquiry(version=OPERATOR.version, suite=suite.name, name=name, form=form, size=len(keys))
    channel.send(enquiry)  # 1
    _, header, digest = _reply(channel, wire.Announcement)  # 2
    try:
        spec = tagfile.parse_header(header.tobytes())
    except DamagedTags:
        channel.require(False, "the header of a tag file of this version")
        raise
    _require_same(channel, enquiry, spec)
    channel.require(len(spec.public_key) == suite.group.ELEMENT_BYTES, "a public key of the suite")
    path = cache / f"{digest.tobytes().hex()[:32]}.tags"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _fetch(channel, spec, digest.tobytes(), path, progress)
    tags = tagfile.load(path, expected=digest.tobytes())
    rows = _query(channel, tags, keys, suite=suite, rng=rng, progress=progress)
    channel.send(wire.Done())
    return Matches(rows, spec.rows, spec.epoch)


def _reply(channel: Channel, kind: type[M]) -> tuple[M, NDArray[np.uint8], NDArray[np.uint8]]:
    """The next message, of this type with two arrays; PolicyError where it is a refusal."""
    message, *arrays = channel.recv(kind, wire.Refusal)
    if isinstance(message, wire.Refusal):
        words = (message.message, message.remedy)
        printable = _CODE.fullmatch(message.code) is not None and all(w == _plain(w) for w in words)
        channel.require(printable, "a refusal with a code in kebab case and printable text")
        raise PolicyError(message.message, code=message.code, remedy=message.remedy)
    first, second = arrays
    return message, first, second


def _plain(text: str) -> str:
    """The text as it may go into a terminal or a log: without control characters, and not endless."""
    return "".join(c if c.isprintable() else " " for c in text[:1000])


def _fetch(channel: Channel, spec: TagSpec, digest: bytes, path: Path, progress: Callable[[Progress], None]) -> None:
    """The tag file into the cache. What an earlier attempt has left is gone on from."""
    part = path.with_suffix(".part")
    total = spec.file_bytes
    with part.open("ab") as file:
        if file.tell() > total:
            file.truncate(0)
        at = file.tell()
        channel.send(wire.Fetch(offset=at))  # 3
        while at < total:
            _, piece = channel.recv(wire.Piece)  # 4
            channel.require(len(piece) == min(tagfile.PIECE_BYTES, total - at), "the next piece of the file")
            file.write(piece.data)
            at += len(piece)
            progress(Progress("fetch", at, total))
    try:
        tagfile.load(part, expected=digest)
    except DamagedTags:
        part.unlink()
        channel.require(False, "the file that was announced")
        raise
    part.rename(path)


def _query(
    channel: Channel,
    tags: TagFile,
    keys: Packed,
    *,
    suite: Suite,
    rng: Rng,
    progress: Callable[[Progress], None],
) -> NDArray[np.int64]:
    """(k,) rows of the keys that are in the file."""
    n = len(keys)
    found = np.zeros(n, dtype=np.bool_)
    waiting: list[_Asked] = []
    for asked in _blinded(keys, tags.spec, suite, rng):
        channel.send(wire.Query(), asked.blinded)  # 5
        waiting.append(asked)
        while len(waiting) > _AHEAD or (waiting and asked.start + BATCH >= n):
            answered = waiting.pop(0)
            y = _finalized(channel, tags.spec, answered, suite)  # 7
            end = answered.start + len(y)
            found[answered.start : end] = tags.contains(y)
            progress(Progress("query", end, n))
    return np.flatnonzero(found)


@dataclass(frozen=True)
class _Asked:
    """One query that is under way: its keys from `start` on, as inputs of F, their blinds and blinded elements."""

    start: int
    inputs: Packed
    blinds: NDArray[np.uint8]
    blinded: NDArray[np.uint8]


def _blinded(keys: Packed, spec: TagSpec, suite: Suite, rng: Rng) -> Iterator[_Asked]:
    """The queries, batch by batch."""
    for start in range(0, len(keys), BATCH):
        batch = keys.slice(start, min(start + BATCH, len(keys)))
        inputs = pack_rows(prepared.inputs(batch, suite=suite, name=spec.name, form=spec.form))
        uniform = rng.uint8(len(batch), suite.group.UNIFORM_SCALAR_BYTES)
        blinds = suite.group.scalar_from_uniform(uniform)
        wipe(uniform)
        yield _Asked(start, inputs, blinds, oprf.blind(suite.name, Mode.VOPRF, inputs, blinds))


def _finalized(channel: Channel, spec: TagSpec, asked: _Asked, suite: Suite) -> NDArray[np.uint8]:
    """(n, h): F of a batch, from the sender's answer to it."""
    _, evaluated, proof = _reply(channel, wire.Evaluation)
    channel.require(evaluated.shape == asked.blinded.shape, "one element for each that was asked for")
    channel.require(len(proof) == oprf.sizes(suite.name).proof, "a proof")
    public = np.frombuffer(spec.public_key, dtype=np.uint8)
    try:
        oprf.verify(suite.name, Mode.VOPRF, public, asked.blinded, evaluated, proof)
        return oprf.finalize(suite.name, Mode.VOPRF, asked.inputs, asked.blinds, evaluated)
    except InvalidEncoding as error:
        channel.require(False, f"elements of the suite's group, which number {error.index} is not")
        raise
    except InvalidProof:
        channel.require(False, "evaluations under the key that the file names", cheating=True)
        raise
    finally:
        wipe(asked.blinds)
