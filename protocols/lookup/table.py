"""Hidden lookup in a masked table [Freedman, Ishai, Pinkas, Reingold 2005; VOPRF: RFC 9497, mode 1].

The source evaluates a keyed function F_k on every key of its data set once per epoch and gives everybody the same
table: per record a tag, F_k(key) cut to 64 bits, and the answer under a mask made of F_k(key). To read a row the asker
needs F_k(key), which the source evaluates on a blinded key, once per query, so that it never sees the key.

Security: malicious asker: it learns F_k only at points that the source agreed to evaluate, one row each (one-more gap
          Diffie-Hellman in the suite's group, random oracle). Verifiable source: a DLEQ proof shows that every
          evaluation used the epoch's key. It does not show that the rows are true.
Leaks:    the asker learns size_class(number of records that do not hold the default answer) and, per permitted query,
          the answer or that the key is absent; the source learns who asks, when, how often, and under which consents.
          Whoever has an epoch's private key can guess keys and open their rows: it is erased when the epoch is over.
          An absent key is taken for a present one with odds rows / 2^64 (5.7e-14 at 10^6).
Cost:     a query of n elements, m of them accepted, in a suite of e-byte elements (intl 32, gm 33): 1 round; e·n bytes
          up, e·m + 64 down (no 64 where m = 0), and at most 160 bytes of envelope each way, besides permits, refusals
          and receipt.
          Per element: the asker hashes to the group once and multiplies 4 times (blind, verify twice, finalise), the
          source 2 times (evaluate, prove); a proof adds a constant. An epoch's table: 1 round and (8 + answer_bytes)
          · rows bytes down; to build it, 1 multiplication per record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Protocol, TypeVar, cast

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.channel import Array, Channel
from mpc.errors import ChannelClosed, PolicyError, UsageError
from mpc.kernels import InvalidEncoding, InvalidProof, oprf, wipe
from mpc.kernels import hash as hashes
from mpc.kernels.oprf import Mode
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng
from mpc.session import Progress
from mpc.suite import Suite
from mpc.wire.lookup.v1 import table_pb2 as wire
from protocols.lookup import tablefile
from protocols.lookup.tablefile import Table, TableSpec, size_class
from protocols.operator import Operator

OPERATOR = Operator(
    name="lookup.table",
    version=1,
    title="Hidden lookup in a masked table",
    learns={
        "asker": (
            "per permitted query the answer, or that the key is absent; both are one thing where there is a default",
            "the size class of the number of records that do not hold the default answer",
        ),
        "source": ("who asks, when, how often and under which consents; neither about whom nor what came out",),
    },
)

MAX_BATCH = 1000
"""Most elements in one Query message. `query` cuts larger batches."""

MAX_CONSENTS = 2
"""Most consents that permit one element: one of a person, two of a couple."""

_DOMAIN = b"unseen lookup.table v1"
_MASK = b"unseen lookup.table v1 mask"
_KEY_INFO = b"unseen lookup.table v1 epoch key"
_PERMIT_BYTES = 768 << 10  # a Query's header has to fit one chunk of 1 MiB
_REFUSAL_BYTES = 768 << 10  # and so does an Evaluation's, with the texts of all its refusals
_MANIFESTS_PER_REPLY = 128
_MANIFEST_BYTES = 32 << 20  # what an asker takes in: several decades of daily epochs
_BUILD_ROWS = 1 << 16
M = TypeVar("M", bound=Message)

_CODE = re.compile(r"[a-z0-9](-?[a-z0-9]){0,63}")


# What both sides compute ----------------------------------------------------------------------------------------------


def query_inputs(keys: Packed, *, product: str, key_form: str) -> Packed:
    """The inputs of F for canonical keys; source, asker and identity platform use this same function.

    The bytes are ``"unseen lookup.table v1" ‖ u16 ‖ product ‖ u16 ‖ key_form ‖ canonical key``, each u16 the big-endian
    length of what follows it, so that no two of (product, key form, key) share an input.

    Args:
        keys: n canonical keys (``mpc.data.identifiers``).
        product: the product's name.
        key_form: the form that the keys are in.
    """
    words = [w.encode() for w in (product, key_form)]
    prefix = _DOMAIN + b"".join(len(w).to_bytes(2, "big") + w for w in words)
    return pack([prefix + key for key in keys])


def blind(inputs: Packed, *, suite: Suite, rng: Rng) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Blind inputs of F under fresh scalars.

    Args:
        inputs: n inputs, as ``query_inputs`` makes them.
        suite: the product's suite.
        rng: the caller's randomness.

    Returns:
        (n, scalar) uint8, the blinds, to be kept secret and wiped after use; (n, element) uint8, the blinded elements.
    """
    blinds = _random_scalars(suite, rng, len(inputs))
    return blinds, oprf.blind(suite.name, Mode.VOPRF, inputs, blinds)


def _random_scalars(suite: Suite, rng: Rng, n: int) -> NDArray[np.uint8]:
    """(n, scalar): uniform and not zero."""
    uniform = rng.uint8(n, suite.group.UNIFORM_SCALAR_BYTES)
    try:
        return suite.group.scalar_from_uniform(uniform)
    finally:
        wipe(uniform)


def _tags(y: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, h) outputs of F → (n,) tags: the first 8 bytes of each, little-endian."""
    return np.ascontiguousarray(y[:, : tablefile.TAG_BYTES]).view("<u8").reshape(-1)


def _masks(y: NDArray[np.uint8], width: int, suite: Suite) -> NDArray[np.uint8]:
    """(n, h) outputs of F → (n, width) masks: hash("… mask" ‖ y) ‖ hash("… mask" ‖ 1 ‖ y) ‖ …, cut to the width.

    The counter is one byte, and there is none in the first block, which is all of it for SHA-512. All y are as long as
    one another, so the lengths of the blocks' inputs keep them apart.
    """
    blocks = range(-(-width // hashes.DIGEST_BYTES[suite.hash]))
    masks = [hashes.rows(suite.hash, _MASK + bytes([i] if i else []), y) for i in blocks]
    return (masks[0] if len(masks) == 1 else np.hstack(masks))[:, :width]


# The table of one epoch -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Records:
    """Some of the records that go into a table.

    Attributes:
        keys: m canonical keys, distinct over the whole data set.
        answers: (m, answer_bytes) uint8.
    """

    keys: Packed
    answers: NDArray[np.uint8]


@dataclass(frozen=True)
class Built:
    """A table and the key that opens it.

    Attributes:
        table: for everybody.
        private_key: (scalar,) uint8. Seal it, and wipe it with the epoch.
        records: how many records went in, those with the default answer included.
    """

    table: Table
    private_key: NDArray[np.uint8] = field(repr=False)
    records: int


def build(
    records: Iterable[Records],
    *,
    suite: Suite,
    product: str,
    epoch: int,
    key_form: str,
    answer_bytes: int,
    default_answer: bytes | None = None,
    rng: Rng,
    progress: Callable[[Progress], None] = lambda _: None,
    expected_records: int = 0,
) -> Built:
    """Draw a key for an epoch and build its table: about 30 s for 10^6 records on two cores.

    Records that hold the default answer are left out, so that a table shows of them not even their number.
    Memory: one batch of `records`; per row 8 bytes and the answer's width, and while sorting 16 bytes more.

    Args:
        records: batches, of any size; must start again when iterated again, as a list does and a generator does not.
        suite: group and hashes.
        product: the product's name.
        epoch: number of the epoch, from 1.
        key_form: form of the keys.
        answer_bytes: width of every answer, 1 to 64.
        default_answer: what absence means, if anything.
        rng: the key, the dummy rows.
        progress: called with the stage "table" after each piece of work.
        expected_records: total for `progress`, where it is known.

    Raises:
        UsageError: two records with the same key, answers of another width, too many records, `records` that cannot be
            read again.
    """
    if iter(records) is records:
        raise UsageError("`records` can be read only once; pass a list, or an object whose __iter__ starts again.")
    # Half an hour of work should not end in a spec that cannot be: all but rows and public key is known already.
    TableSpec(suite.name, product, epoch, key_form, answer_bytes, default_answer, tablefile.MIN_ROWS, b"")
    suspects: frozenset[int] = frozenset()
    while True:
        private_key = _new_key(suite, rng)
        try:
            columns = _Columns(answer_bytes, default_answer)
            for done in columns.extend(_evaluated(records, product, key_form, answer_bytes, private_key, suite)):
                progress(Progress("table", done, expected_records))
            rows = size_class(columns.kept)
            tags, masked = columns.padded(rows)
            twins = _sort(tags, masked, columns.kept, rng)
            if twins & suspects:
                raise UsageError(
                    "Two records have the same key; read them with mpc.data.tables.keyed, which names the rows."
                )
            if not twins:
                public = oprf.public_key(suite.name, private_key).tobytes()
                spec = TableSpec(suite.name, product, epoch, key_form, answer_bytes, default_answer, rows, public)
                return Built(tablefile.assemble(spec, tags, masked), private_key, columns.read)
        except BaseException:
            wipe(private_key)
            raise
        # Records that collide under two independent keys have the same key; others collide once in 10^5 tables of 10^7.
        wipe(private_key)
        suspects = twins


def _new_key(suite: Suite, rng: Rng) -> NDArray[np.uint8]:
    """A private key (RFC 9497, DeriveKeyPair, from a fresh seed)."""
    seed = rng.uint8(32)
    try:
        return oprf.derive_key(suite.name, Mode.VOPRF, seed, _KEY_INFO)
    finally:
        wipe(seed)


def _evaluated(
    records: Iterable[Records], product: str, key_form: str, width: int, private_key: NDArray[np.uint8], suite: Suite
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint8]]]:
    """Per piece of the records: tags (m,), masks (m, width), answers (m, width)."""
    for batch in records:
        if batch.answers.dtype != np.uint8 or batch.answers.shape != (len(batch.keys), width):
            raise UsageError(f"Answers are (records, {width}) uint8, one row per key; got {batch.answers.shape}.")
        for i in range(0, len(batch.keys), _BUILD_ROWS):
            keys = batch.keys.slice(i, min(i + _BUILD_ROWS, len(batch.keys)))
            inputs = query_inputs(keys, product=product, key_form=key_form)
            y = oprf.evaluate(suite.name, Mode.VOPRF, private_key, inputs)
            yield _tags(y), _masks(y, width, suite), batch.answers[i : i + _BUILD_ROWS]


class _Columns:
    """The rows gathered so far, in pieces, so that the final columns are made without holding everything twice."""

    def __init__(self, width: int, default: bytes | None) -> None:
        self._width = width
        self._default = None if default is None else np.frombuffer(default, dtype=np.uint8)
        self._pieces: list[tuple[NDArray[np.uint64], NDArray[np.uint8]]] = []
        self.read = 0
        self.kept = 0

    def extend(
        self, evaluated: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint8]]]
    ) -> Iterator[int]:
        """Take pieces in; yields how many records have been read after each."""
        for tags, masks, answers in evaluated:
            masked = answers ^ masks
            if self._default is not None:
                keep = np.any(answers != self._default, axis=1)
                tags, masked = tags[keep], masked[keep]
            self._pieces.append((tags, masked))
            self.read += len(answers)
            self.kept += len(tags)
            yield self.read

    def padded(self, rows: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        """The columns, with room for dummies behind the `kept` rows. Each piece is released once it is copied."""
        tags = np.empty(rows, dtype=np.uint64)
        masked = np.empty((rows, self._width), dtype=np.uint8)
        end = self.kept
        while self._pieces:
            piece_tags, piece_masked = self._pieces.pop()
            start = end - len(piece_tags)
            tags[start:end] = piece_tags
            masked[start:end] = piece_masked
            end = start
        return tags, masked


def _sort(tags: NDArray[np.uint64], masked: NDArray[np.uint8], kept: int, rng: Rng) -> frozenset[int]:
    """Fill the rows from `kept` on with dummies and sort all rows by tag, in place.

    A dummy's tag and masked answer are uniform, as a record's are to whoever has not evaluated its key.

    Returns:
        Positions, before sorting, of records whose tags collide; nothing is sorted then.
    """
    dummies = len(tags) - kept
    masked[kept:] = rng.uint8(dummies, masked.shape[1])
    while True:
        tags[kept:] = rng.uint64(dummies)
        order = np.argsort(tags)
        ordered = tags[order]
        equal = np.flatnonzero(ordered[1:] == ordered[:-1])
        positions = np.concatenate((order[equal], order[equal + 1]))
        if not len(positions):
            break
        if np.all(positions < kept):
            return frozenset(positions.tolist())
    tags[:] = ordered
    del ordered
    for column in range(0, masked.shape[1], 8):  # a few columns at a time: a whole second copy would be held otherwise
        masked[:, column : column + 8] = masked[order, column : column + 8]
    return frozenset()


# The source -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """A document and its signature, opaque here: manifests, consents and receipts.

    Attributes:
        document: the bytes that were signed.
        signature: over the document.
        certificate: the signer's, DER; empty where the other side has it already.
    """

    document: bytes
    signature: bytes
    certificate: bytes = b""


@dataclass(frozen=True)
class Epoch:
    """What the source needs to serve one epoch.

    Attributes:
        table: the epoch's table.
        private_key: (scalar,) uint8.
    """

    table: Table
    private_key: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True)
class Manifest:
    """A signed manifest and the epoch it announces."""

    epoch: int
    signed: SignedDocument


@dataclass(frozen=True)
class Request:
    """What somebody asks to have evaluated.

    Attributes:
        peer: the asker's name, as its certificate proves it.
        spec: the table that is asked.
        scenario: the scenario that the asker names; empty if none.
        blinded: (n, element) uint8, valid elements other than the identity.
        permits: per element the consents that permit it; empty where the asker sent none at all.
    """

    peer: str
    spec: TableSpec
    scenario: str
    blinded: NDArray[np.uint8]
    permits: tuple[tuple[SignedDocument, ...], ...]


@dataclass(frozen=True)
class Recorded:
    """What the application has durably written down before a reply goes out.

    Attributes:
        receipt: goes to the asker; None where the application gives none.
        refusals: by index in the request, elements that must not go out after all, such as those with a burnt nonce.
    """

    receipt: SignedDocument | None = None
    refusals: Mapping[int, PolicyError] = field(default_factory=dict)


class Admission(Protocol):
    """What the application decided about a request, and how it writes the evaluation down."""

    @property
    def refusals(self) -> Mapping[int, PolicyError]:
        """By index in the request, the elements that will not be evaluated."""

    def record(self, accepted: NDArray[np.int64], evaluated: NDArray[np.uint8]) -> Recorded:
        """Make the evaluation durable. The reply goes out after this returns, and only what it lets through.

        Args:
            accepted: (m,) indices in the request, increasing; may be empty.
            evaluated: (m, element) uint8, the elements that would go out.

        Raises:
            PolicyError: nothing goes out, such as when the ledger's disk is full.
        """


class Service(Protocol):
    """What the application behind ``send`` provides. Any method may raise PolicyError: the asker gets its text."""

    def manifests(self, since_epoch: int) -> Sequence[Manifest]:
        """The manifests from `since_epoch` on, oldest first; for 0, that of the current epoch alone."""

    def epoch(self, number: int) -> Epoch:
        """A served epoch; PolicyError with the code ``epoch-not-served`` otherwise."""

    def admit(self, request: Request) -> Admission:
        """Decide which elements may be evaluated, by policy and consents. Called before anything is evaluated."""


def send(channel: Channel, *, service: Service, rng: Rng) -> int:
    """The source's side of one warm session: answer requests until the asker closes the channel.

    Args:
        channel: to the asker.
        service: epochs, policy and ledger.
        rng: for the proofs.

    Returns:
        How many elements went out.

    Raises:
        PeerError: a malformed request, or an element that is not a valid encoding, or the identity; nothing of that
            request was evaluated.
        ChannelTimeout: the asker was silent for longer than the channel allows.
    """
    sent = 0
    while True:
        try:
            request, *arrays = channel.recv(wire.ManifestRequest, wire.TableRequest, wire.Query)
            try:
                if isinstance(request, wire.Query):
                    evaluation, evaluated, proof = _evaluate(channel, request, arrays[0], service, rng)
                    channel.send(evaluation, evaluated, proof)
                    sent += len(evaluated)
                elif isinstance(request, wire.TableRequest):
                    table = service.epoch(request.epoch).table
                    channel.send(wire.Table(epoch=request.epoch), table.tags, table.masked)
                elif isinstance(request, wire.ManifestRequest):
                    channel.send(_manifests(service, request.since_epoch))
            except PolicyError as error:
                channel.send(wire.Refused(code=error.code, message=_plain(error.reason), remedy=_plain(error.remedy)))
        except ChannelClosed:
            return sent


def _manifests(service: Service, since_epoch: int) -> wire.Manifests:
    found = service.manifests(since_epoch)
    now, later = found[:_MANIFESTS_PER_REPLY], found[_MANIFESTS_PER_REPLY:]
    return wire.Manifests(manifests=[_to_wire(m.signed) for m in now], next_epoch=later[0].epoch if later else 0)


def _evaluate(
    channel: Channel, header: wire.Query, blinded: NDArray[np.uint8], service: Service, rng: Rng
) -> tuple[wire.Evaluation, NDArray[np.uint8], NDArray[np.uint8]]:
    """Answer one Query: check, admit, evaluate, record, prove, in this order."""
    n = len(blinded)
    channel.require(1 <= n <= MAX_BATCH, f"1 to {MAX_BATCH} elements in a query")
    channel.require(len(header.permits) in (0, n), "one permit per element, or none at all")
    few = all(len(p.tokens) <= MAX_CONSENTS for p in header.permits)
    channel.require(few, f"at most {MAX_CONSENTS} consents per element")
    channel.require(header.scenario == _plain(header.scenario), "a scenario in plain words")
    epoch = service.epoch(header.epoch)
    spec = epoch.table.spec
    suite = suites.get(spec.suite)
    channel.require(blinded.shape[1] == suite.group.ELEMENT_BYTES, f"elements of {suite.group.ELEMENT_BYTES} bytes")
    try:
        suite.group.check(blinded)
    except InvalidEncoding as error:
        channel.require(False, f"element {error.index} canonically encoded and not the identity")
    permits = tuple(tuple(_from_wire(t) for t in p.tokens) for p in header.permits)
    admission = service.admit(Request(channel.peer, spec, header.scenario, blinded, permits))
    accepted = np.arange(n, dtype=np.int64)
    accepted = accepted[_admitted(accepted, admission.refusals)]
    evaluated = oprf.blind_evaluate(suite.name, epoch.private_key, blinded[accepted])
    recorded = admission.record(accepted, evaluated)
    stays = _admitted(accepted, recorded.refusals)
    accepted, evaluated = accepted[stays], evaluated[stays]
    proof = np.empty(0, dtype=np.uint8)
    if len(accepted):
        entropy = rng.uint8(oprf.ENTROPY_BYTES)
        public_key = np.frombuffer(spec.public_key, dtype=np.uint8)
        proof = oprf.prove(suite.name, Mode.VOPRF, epoch.private_key, public_key, blinded[accepted], evaluated, entropy)
        wipe(entropy)
    reply = wire.Evaluation(
        epoch=header.epoch,
        refusals=_refusals_to_wire({**admission.refusals, **recorded.refusals}),
        receipt=None if recorded.receipt is None else _to_wire(recorded.receipt),
    )
    return reply, evaluated, proof


def _admitted(indices: NDArray[np.int64], refusals: Mapping[int, PolicyError]) -> NDArray[np.bool_]:
    """(m,) bool: which of m indices are not refused.

    UsageError where another index is refused: the application has mixed elements up, so none may go out.
    """
    refused = np.isin(indices, np.fromiter(refusals, dtype=np.int64, count=len(refusals)))
    if np.count_nonzero(refused) != len(refusals):
        raise UsageError("An element was refused that was not up for decision: refuse by the index in the request.")
    return ~refused


def _refusals_to_wire(refusals: Mapping[int, PolicyError]) -> list[wire.Refusal]:
    """In increasing order of index, with texts that fit one header however many there are."""
    room = _REFUSAL_BYTES // max(2 * len(refusals), 1)

    def words(text: str) -> str:
        return _plain(text).encode()[:room].decode(errors="ignore")

    return [
        wire.Refusal(index=i, code=e.code, message=words(e.reason), remedy=words(e.remedy))
        for i, e in sorted(refusals.items())
    ]


# The asker ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """What an asker learned of n keys.

    Attributes:
        answered: (n,) bool, whether the source evaluated the element.
        found: (n,) bool, whether the key has an answer; with a default answer every answered key has.
        answers: (n, answer_bytes) uint8; zeros where not found.
        refusals: by index of the key, why it was not answered.
        receipts: one per message, in order, where the source gives receipts. The caller verifies them.
    """

    answered: NDArray[np.bool_]
    found: NDArray[np.bool_]
    answers: NDArray[np.uint8] = field(repr=False)
    refusals: Mapping[int, PolicyError]
    receipts: tuple[SignedDocument, ...]


def fetch_manifests(channel: Channel, *, since_epoch: int = 0) -> tuple[SignedDocument, ...]:
    """Ask for the signed manifests from an epoch on, oldest first; by default for that of the current epoch alone.

    Verify them before use: signer, chain and validity.

    Raises:
        PolicyError: the source refuses.
        PeerError: a malformed reply.
    """
    manifests: list[SignedDocument] = []
    held = 0
    while True:
        channel.send(wire.ManifestRequest(since_epoch=since_epoch))
        reply, _ = _reply(channel, wire.Manifests)
        held += max(reply.ByteSize(), len(reply.manifests) << 10)
        channel.require(held <= _MANIFEST_BYTES, "manifests that one can hold")
        manifests += [_from_wire(m) for m in reply.manifests]
        if not reply.next_epoch:
            return tuple(manifests)
        channel.require(reply.next_epoch > since_epoch and bool(reply.manifests), "manifests that go on")
        since_epoch = reply.next_epoch


def fetch_table(channel: Channel, *, spec: TableSpec, table_hash: bytes) -> Table:
    """Download the table of an epoch and check it.

    Args:
        channel: to the source.
        spec: what the verified manifest says of the table.
        table_hash: the hash that the manifest states, 32 bytes.

    Raises:
        PolicyError: the source refuses, for instance since the epoch is over.
        PeerError: a table of another epoch or size, such as one cut short; a larger one is not taken in.
        CheatingDetected: a table of another hash: not the one that other askers get.
    """
    channel.send(wire.TableRequest(epoch=spec.epoch))
    rows, width = spec.rows, spec.answer_bytes
    reply, (tags, masked) = _reply(channel, wire.Table, max_bytes=rows * (tablefile.TAG_BYTES + width))
    channel.require(reply.epoch == spec.epoch, "the table of the epoch asked for")
    channel.require(
        masked.shape == (rows, width), f"a table of {rows} rows with {width}-byte answers, as its manifest says"
    )
    channel.require(tablefile.increasing(tags), "tags that strictly increase")
    table = tablefile.assemble(spec, tags, masked)
    channel.require(table.hash == table_hash, "the table that the manifest's hash names", cheating=True)
    return table


def query(
    channel: Channel,
    table: Table,
    keys: Packed,
    *,
    rng: Rng,
    scenario: str = "",
    blinds: NDArray[np.uint8] | None = None,
    permits: Sequence[Sequence[SignedDocument]] = (),
    batch: int = MAX_BATCH,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Answers:
    """Look keys up. The next message is under way while the reply to the last one is awaited.

    Whatever goes wrong once messages are under way ends the channel; a refusal is an answer and does not.

    Args:
        channel: to the source.
        table: the epoch's table, verified.
        keys: n canonical keys in the table's key form.
        rng: for fresh blinds.
        scenario: what the query is for, where the source's policy asks.
        blinds: (n, scalar) uint8, under which the identity platform blinded the keys; None draws fresh ones. A query
            repeated after a lost reply needs the blinds and permits of the first.
        permits: per key the consents that permit it, at most ``MAX_CONSENTS``; empty for a product that asks for none.
        batch: elements per message, at most ``MAX_BATCH``.
        progress: called with the stage "query" after each reply.

    Raises:
        UsageError: lengths that do not match, a blind that is no scalar, too many consents for a key, or one too long
            for a message.
        CheatingDetected: a proof that does not verify against the epoch's public key.
        PeerError: another malformed reply.
    """
    n = len(keys)
    if not 1 <= batch <= MAX_BATCH:
        raise UsageError(f"batch is 1 to {MAX_BATCH}, not {batch}.")
    if (blinds is not None and len(blinds) != n) or len(permits) not in (0, n):
        raise UsageError(f"{n} keys need as many blinds and permits; pass one of each per key, or none at all.")
    if any(len(tokens) > MAX_CONSENTS for tokens in permits):
        raise UsageError(
            f"A key has at most {MAX_CONSENTS} consents, one of each person that it names: pass no others."
        )
    replies: list[_Replied] = []
    waiting: list[_Asked] = []
    cuts = list(_cuts(n, permits, batch))
    try:
        for start, stop in cuts:
            own = None if blinds is None else blinds[start:stop].copy()  # a copy, since it is wiped after use
            waiting.append(_ask(channel, table.spec, keys.slice(start, stop), own, scenario, permits[start:stop], rng))
            if len(waiting) > 1:
                replies.append(_take(channel, table.spec, waiting.pop(0)))
                progress(Progress("query", start, n))
        while waiting:
            replies.append(_take(channel, table.spec, waiting.pop(0)))
            progress(Progress("query", n, n))
    except BaseException:
        for asked in waiting:
            wipe(asked.blinds)
        channel.close("a query was abandoned")  # a reply still on its way would be taken for the next query's
        raise
    # Not before the last reply: how long a search takes depends on where the key's row lies, and the source sees when
    # messages are sent.
    return _joined([_look_up(table, reply) for reply in replies], table.spec.answer_bytes)


@dataclass(frozen=True)
class _Asked:
    """A Query message whose reply is outstanding."""

    inputs: Packed
    blinds: NDArray[np.uint8]
    blinded: NDArray[np.uint8]


@dataclass(frozen=True)
class _Replied:
    """What a verified reply to one Query message says: which of its n elements were evaluated, and F of their keys."""

    accepted: NDArray[np.bool_]  # (n,)
    y: NDArray[np.uint8]  # (m, h), for the m accepted
    refusals: Mapping[int, PolicyError]
    receipts: tuple[SignedDocument, ...]


def _cuts(n: int, permits: Sequence[Sequence[SignedDocument]], batch: int) -> Iterator[tuple[int, int]]:
    """Cut 0 … n into messages of at most `batch` elements whose permits fit one header."""
    sizes = [sum(len(t.document) + len(t.signature) + len(t.certificate) + 16 for t in p) + 8 for p in permits]
    if sizes and max(sizes) > _PERMIT_BYTES:
        raise UsageError(f"The consents of one key take more than {_PERMIT_BYTES} bytes: leave certificates out.")
    start = total = 0
    for i in range(n):
        size = sizes[i] if sizes else 0
        if i - start == batch or total + size > _PERMIT_BYTES:
            yield start, i
            start, total = i, 0
        total += size
    if start < n:
        yield start, n


def _ask(
    channel: Channel,
    spec: TableSpec,
    keys: Packed,
    blinds: NDArray[np.uint8] | None,
    scenario: str,
    permits: Sequence[Sequence[SignedDocument]],
    rng: Rng,
) -> _Asked:
    """Blind some keys, and send them."""
    suite = suites.get(spec.suite)
    inputs = query_inputs(keys, product=spec.product, key_form=spec.key_form)
    if blinds is None:
        blinds, blinded = blind(inputs, suite=suite, rng=rng)
    else:
        try:
            blinded = oprf.blind(suite.name, Mode.VOPRF, inputs, blinds)
        except InvalidEncoding as error:
            raise UsageError(
                f"Blind {error.index} of a message is no scalar: take it anew from where it came."
            ) from None
    tokens = [wire.Permit(tokens=[_to_wire(t) for t in p]) for p in permits]
    channel.send(wire.Query(epoch=spec.epoch, scenario=scenario, permits=tokens), blinded)
    return _Asked(inputs, blinds, blinded)


def _take(channel: Channel, spec: TableSpec, asked: _Asked) -> _Replied:
    """Receive one reply, verify it, and unblind what it evaluates. The blinds are wiped, whatever comes."""
    n, sizes = len(asked.blinded), oprf.sizes(spec.suite)
    nothing = np.empty((0, sizes.output), dtype=np.uint8)
    try:
        try:
            reply, (evaluated, proof) = _reply(channel, wire.Evaluation)
        except PolicyError as refusal:
            return _Replied(np.zeros(n, dtype=np.bool_), nothing, dict.fromkeys(range(n), refusal), ())
        accepted = _accepted(channel, reply, n, epoch=spec.epoch)
        channel.require(len(evaluated) == accepted.sum(), "one evaluated element for each that was not refused")
        refusals = {r.index: _refusal(channel, r) for r in reply.refusals}
        receipts = (_from_wire(reply.receipt),) if reply.HasField("receipt") else ()
        if len(evaluated):
            return _Replied(accepted, _unblinded(channel, spec, asked, accepted, evaluated, proof), refusals, receipts)
        channel.require(not len(proof), "no proof where nothing was evaluated")
        return _Replied(accepted, nothing, refusals, receipts)
    finally:
        wipe(asked.blinds)


def _look_up(table: Table, reply: _Replied) -> Answers:
    """Find the rows of the accepted keys in the table, and take their masks off."""
    spec = table.spec
    n = len(reply.accepted)
    found = np.zeros(n, dtype=np.bool_)
    answers = np.zeros((n, spec.answer_bytes), dtype=np.uint8)
    present, masked = table.find(_tags(reply.y))
    opened = masked ^ _masks(reply.y, spec.answer_bytes, suites.get(spec.suite))
    opened[~present] = 0 if spec.default_answer is None else np.frombuffer(spec.default_answer, dtype=np.uint8)
    answers[reply.accepted] = opened
    found[reply.accepted] = present | (spec.default_answer is not None)
    return Answers(reply.accepted, found, answers, reply.refusals, reply.receipts)


def _accepted(channel: Channel, reply: wire.Evaluation, n: int, *, epoch: int) -> NDArray[np.bool_]:
    """(n,) bool: which elements the source says that it has evaluated."""
    channel.require(reply.epoch == epoch, "an evaluation of the epoch that was asked")
    refused = [r.index for r in reply.refusals]
    in_order = all(a < b for a, b in zip([-1, *refused], [*refused, n], strict=True))
    channel.require(in_order, "refusals in order, at most one per element")
    accepted = np.ones(n, dtype=np.bool_)
    accepted[refused] = False
    return accepted


def _unblinded(
    channel: Channel,
    spec: TableSpec,
    asked: _Asked,
    accepted: NDArray[np.bool_],
    evaluated: NDArray[np.uint8],
    proof: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """(m, h) outputs of F for the m accepted inputs, after the proof that the epoch's key made them."""
    sizes = oprf.sizes(spec.suite)
    channel.require(
        evaluated.shape[1] == sizes.element and len(proof) == sizes.proof, "elements and a proof of the suite"
    )
    try:
        public_key = np.frombuffer(spec.public_key, dtype=np.uint8)
        oprf.verify(spec.suite, Mode.VOPRF, public_key, asked.blinded[accepted], evaluated, proof)
    except InvalidEncoding as error:
        channel.require(False, f"element {error.index} canonically encoded and not the identity")
    except InvalidProof:
        channel.require(False, "a proof that the epoch's key was used", cheating=True)
    inputs = asked.inputs if accepted.all() else pack(list(compress(asked.inputs, accepted)))
    blinds = asked.blinds[accepted]
    try:
        return oprf.finalize(spec.suite, Mode.VOPRF, inputs, blinds, evaluated)
    finally:
        wipe(blinds)


def _joined(parts: Sequence[Answers], width: int) -> Answers:
    """The answers of consecutive messages as one."""
    starts = np.cumsum([0, *(len(p.found) for p in parts)]).tolist()
    return Answers(
        answered=np.concatenate([np.zeros(0, dtype=np.bool_), *(p.answered for p in parts)]),
        found=np.concatenate([np.zeros(0, dtype=np.bool_), *(p.found for p in parts)]),
        answers=np.concatenate([np.zeros((0, width), dtype=np.uint8), *(p.answers for p in parts)]),
        refusals={start + i: e for start, p in zip(starts, parts, strict=False) for i, e in p.refusals.items()},
        receipts=tuple(r for p in parts for r in p.receipts),
    )


# Small things ---------------------------------------------------------------------------------------------------------


def _reply(channel: Channel, wanted: type[M], *, max_bytes: int | None = None) -> tuple[M, list[Array]]:
    """Receive the message that was asked for; PolicyError where the source refuses."""
    reply, *arrays = channel.recv(wanted, wire.Refused, max_bytes=max_bytes)
    if isinstance(reply, wire.Refused):
        raise _refusal(channel, reply)
    return cast(M, reply), arrays


def _refusal(channel: Channel, refusal: wire.Refused | wire.Refusal) -> PolicyError:
    """A peer's refusal as an error."""
    words = (refusal.message, refusal.remedy)
    printable = _CODE.fullmatch(refusal.code) is not None and all(w == _plain(w) for w in words)
    channel.require(printable, "a refusal with a code in kebab case and printable text")
    return PolicyError(refusal.message, code=refusal.code, remedy=refusal.remedy)


def _plain(text: str) -> str:
    """The text as it may go into a terminal or a log: without control characters, and not endless."""
    return "".join(c if c.isprintable() else " " for c in text[:1000])


def _to_wire(signed: SignedDocument) -> wire.SignedDocument:
    return wire.SignedDocument(document=signed.document, signature=signed.signature, certificate=signed.certificate)


def _from_wire(signed: wire.SignedDocument) -> SignedDocument:
    return SignedDocument(signed.document, signed.signature, signed.certificate)
