"""Circuit PSI with payload: shares of the sender's words at the receiver's items; nobody learns which of them matched.

For every bin of a table that holds the receiver's items, the parties end with additive shares modulo 2^64 of the words
that the sender has for the bin's item, and of zeros where it has none [Pinkas, Schneider, Tkachenko, Yanai 2019, on the
OPPRF of Raghuraman and Rindal 2022]. The words stay shared for whatever is computed next.

    table     cuckoo hashing with three places: each item x of the receiver has one bin, b = place j of x; other bins
              have a random point, which no item is
    masks     the sender draws, for each bin, as many uniform words m_0 … m_w; word 0 is there to tell matches
    OPPRF     at (y, j) for each of its items y and all three places j the sender programs v_i(y) − m_i, v_0 = 0, of the
              bin that place j of y is; the receiver evaluates at one point for each bin: u_i
    match     u_0 + m_0 = 0 where the bin's item is the sender's, random elsewhere: equality in two-party arithmetic
    select    match · (u_i + m_i), in shares

What the receiver sees of a bin is one uniform u, whether it matched or not: it evaluates one point there, so that at
most one programmed value with this bin's masks ever meets it unmasked by F. Other points of the bin share these masks,
under values of F that the receiver does not have.

Security: semi-honest; the OPPRF's assumptions and those of two-party arithmetic. A flipped bit, or a party that does
          not follow the protocol, makes wrong shares: nothing authenticates them.
Leaks:    to the sender |X|, to the receiver |Y|. Both know the number of bins, which is `cuckoo.bins(|X|)`.
Exact:    but for odds of bins · 2^-64 ≤ 2^-40 that some item counts as matched which is not, and has random words.
          Words are those of Z_2^64, of any meaning.
Cost:     with β = `cuckoo.bins(|X|)` = 1.3·|X| + 128, w words, m(n) = `oprf.table_rows(n)` (1.35·n at 2^20): a VOLE of
          m(β); 16·m(β) bytes from the receiver, 16·⌈(w + 1) / 2⌉·m(3·|Y|) from the sender, with 80 bytes of envelope at
          most for every 4 bins of 2^14 points; for each bin an `is_zero` and w `select_word` of two-party arithmetic,
          which take 455.5 + 24.25·w bytes with "softspoken" and 79.5 + 16.25·w with "silent", both directions together,
          beside at most 1 MB for their set-up; and two messages below 100 bytes.
          Rounds: 2, the VOLE's, and the arithmetic's: 11, and at most 10 for every further 2^14 bins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import EncodingFailed, blocks, cuckoo
from mpc.kernels.packing import Packed
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.psi.v1 import payload_pb2 as wire
from protocols.arithmetic.two import TwoParty
from protocols.operator import Operator
from protocols.ot import vole
from protocols.ot.method import Method
from protocols.psi import items as sets
from protocols.psi import opprf, oprf

OPERATOR = Operator(
    name="psi.payload",
    version=1,
    title="Shares of a peer's values at one's own items, without learning which it holds",
    learns={"receiver": ("how many items the sender holds",), "sender": ("how many items the receiver holds",)},
)

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

MAX_ITEMS = 1 << 23
"""Most items of one party in one run: with the bins of so many the odds of a wrong match stay below 2^-40."""
MAX_WIDTH = 64
"""Most words of an item."""

_BLOCK = 16
_ATTEMPTS = 4
_SHOWN = 64  # characters of what a peer says that an error text repeats


@dataclass(frozen=True)
class Table:
    """A receiver's items in their bins, which serves for runs with any number of senders: their bins line up then.

    Attributes:
        rows: (bins,) int64, which item each bin has, from 0; -1 for none.
        size: how many items there are.
        suite: name of the suite that it was made under.
        salt: of the items' digests, 32 bytes; every sender gets it.
        points: what each bin stands for in the OPPRF.
    """

    rows: NDArray[np.int64] = field(repr=False)
    size: int
    suite: str
    salt: bytes = field(repr=False)
    points: oprf.Points = field(repr=False)


@dataclass(frozen=True)
class Payload:
    """What the receiver has of it.

    Attributes:
        rows: (bins,) int64, which of its items each bin has, from 0; -1 for none. As private as the items are.
        values: (width, bins) uint64, its additive shares of the sender's words: zeros are shared where a bin has no
            item, or one that the sender has not.
        peer_size: how many items the sender brought.
    """

    rows: NDArray[np.int64] = field(repr=False)
    values: Words = field(repr=False)
    peer_size: int


def arrange(items: Packed, *, suite: Suite, rng: Rng) -> Table:
    """Put items into bins, under a salt that is drawn here: once the items are fixed, and anew for every table.

    A salt under which they do not fit is replaced before anything depends on it. The salt that is used is then one of
    those that work for these items, which are all but a part of 2^-41.

    Args:
        items: n distinct canonical keys, n at most ``MAX_ITEMS``.
        suite: whose hash makes the digests.
        rng: the receiver's randomness.

    Raises:
        UsageError: a key that comes twice, or too many.
    """
    _require_few(len(items))
    bins = cuckoo.bins(len(items))
    for attempt in range(_ATTEMPTS):
        salt = rng.bytes(sets.SALT_BYTES)
        digests = sets.digests(items, suite=suite, salt=salt)
        if attempt == 0:
            sets.require_distinct(digests, otherwise="")
        halves = oprf.points(digests)
        places = cuckoo.places(halves.keys, bins=bins)
        try:
            rows = cuckoo.assign(places, bins=bins)
        except EncodingFailed:
            continue
        used = np.flatnonzero(rows >= 0)
        number = (places[rows[used]] == used[:, None]).argmax(axis=1)  # which of the three places it is
        own = oprf.Points(halves.keys[rows[used]], halves.values[rows[used]])
        _place(own, number)
        points = oprf.Points(rng.uint8(bins, _BLOCK), rng.uint8(bins, _BLOCK))
        points.keys[used], points.values[used] = own.keys, own.values
        return Table(rows, len(items), suite.name, salt, points)
    raise EncodingFailed(f"the items have no bins under {_ATTEMPTS} salts, which has odds below 2^-160")


def receive(
    channel: Channel,
    items: Packed | Table,
    *,
    width: int = 1,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
) -> Payload:
    """The receiver's side. Whatever goes wrong ends the conversation, so that the sender fails too and does not wait.

    Args:
        channel: to the sender; free again afterwards.
        items: n distinct canonical keys, or a table of them, which several senders may be asked with.
        width: how many words the sender has for each item, 1 to ``MAX_WIDTH``.
        suite: of the base transfers and of the hashes.
        rng: this party's randomness.
        method: how the arithmetic's transfers are made: "softspoken", or "silent" on slow lines.

    Returns:
        The items' bins, and this party's shares.

    Raises:
        UsageError: a key that comes twice, too many, a table of another suite, a width that there is not.
        PeerError: the peer runs something else, or broke the protocol.
        EncodingFailed: with odds below 2^-39 for each store that is made.
    """
    with _closing(channel):
        table = items if isinstance(items, Table) else arrange(items, suite=suite, rng=rng)
        if table.suite != suite.name:
            raise UsageError(
                f"The table was made under {table.suite}, this run is under {suite.name}: arrange it anew."
            )
        peer_size, _ = _agree(channel, table.size, width, suite, salt=table.salt)
        bins = len(table.rows)
        if not table.size or not peer_size:
            return Payload(table.rows, np.zeros((width, bins), dtype=np.uint64), peer_size)
        correlation = vole.receive(channel, oprf.table_rows(bins), suite=suite, rng=rng)  # 2
        programmed = opprf.receive_blocks(
            channel,
            table.points,
            correlation,
            blocks=_blocks(width),
            peer_points=cuckoo.PLACES * peer_size,
            suite=suite,
            rng=rng,
        )  # 3
        u = _words(programmed)
        return Payload(
            table.rows, _matched(channel, u, width, first=True, suite=suite, rng=rng, method=method), peer_size
        )


def send(
    channel: Channel, items: Packed, values: Words, *, suite: Suite, rng: Rng, method: Method = "softspoken"
) -> Words:
    """The sender's side; the rest as for `receive`.

    Args:
        channel: to the receiver; free again afterwards.
        items: k distinct canonical keys.
        values: (width, k) uint64, the words of each.
        suite: of the base transfers and of the hashes.
        rng: this party's randomness.
        method: how the arithmetic's transfers are made.

    Returns:
        (width, bins) uint64: this party's shares, of the receiver's bins.
    """
    with _closing(channel):
        if values.dtype != np.uint64 or values.ndim != 2 or values.shape[1] != len(items):
            raise UsageError(
                f"values is {values.dtype} {values.shape}; give (width, {len(items)}) uint64, a column an item."
            )
        _require_few(len(items))
        width = len(values)
        peer_size, salt = _agree(channel, len(items), width, suite, salt=b"")
        bins = cuckoo.bins(peer_size)
        digests = sets.digests(items, suite=suite, salt=salt)
        sets.require_distinct(digests, otherwise="")
        if not len(items) or not peer_size:
            return np.zeros((width, bins), dtype=np.uint64)
        masks = rng.uint64(2 * _blocks(width), bins)
        at, programmed = _programmed(oprf.points(digests), values, masks)
        del digests
        correlation = vole.send(channel, oprf.table_rows(bins), suite=suite, rng=rng)  # 2
        opprf.send_blocks(channel, at, programmed, correlation, peer_items=bins, suite=suite, rng=rng)  # 3
        del at, programmed, correlation
        return _matched(channel, masks, width, first=False, suite=suite, rng=rng, method=method)


@contextmanager
def _closing(channel: Channel) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        channel.close(f"a circuit PSI broke off ({type(error).__name__})")
        raise


def _agree(channel: Channel, size: int, width: int, suite: Suite, *, salt: bytes) -> tuple[int, bytes]:
    """What the peer brings, and the receiver's salt: 1 round. The receiver gives a salt, the sender none."""
    if not 1 <= width <= MAX_WIDTH:
        raise UsageError(f"An item has 1 to {MAX_WIDTH} words, not {width}.")
    mine = wire.PayloadTerms(version=OPERATOR.version, suite=suite.name, size=size, width=width, salt=salt)
    (theirs,) = channel.exchange(mine)  # 1
    for what, here, there in (
        ("version", str(mine.version), str(theirs.version)),
        ("suite", mine.suite, theirs.suite),
        ("width", str(width), str(theirs.width)),
    ):
        text = f"one {what} at both parties: {here!r} here, {there[:_SHOWN]!r} there"
        channel.require(there == here, text)
    channel.require(len(theirs.salt) == (0 if salt else sets.SALT_BYTES), "a receiver and a sender")
    channel.require(theirs.size <= MAX_ITEMS, f"at most {MAX_ITEMS} items in one run")
    return int(theirs.size), salt or theirs.salt


def _matched(
    channel: Channel, words: Words, width: int, *, first: bool, suite: Suite, rng: Rng, method: Method
) -> Words:
    """Shares of words 1 … width where word 0 is zero, and of zeros elsewhere: (width, bins)."""
    engine = TwoParty.over(channel, first=first, suite=suite, rng=rng, method=method)
    match = engine.is_zero(words[:1])  # 4
    selected = engine.select_word(np.repeat(match[:, None], width, axis=1), words[None, 1 : 1 + width])  # 5
    return selected.reshape(width, -1)


def _require_few(size: int) -> None:
    if size > MAX_ITEMS:
        raise UsageError(f"{size} items are more than the {MAX_ITEMS} that one run takes: split the set.")


def _blocks(width: int) -> int:
    """Blocks of 16 bytes that hold word 0 and the item's."""
    return -(-(1 + width) // 2)


def _programmed(halves: oprf.Points, values: Words, masks: Words) -> tuple[oprf.Points, Bytes]:
    """All items at all their places, 3·k points place by place, and what is programmed there: (blocks, 3·k, 16)."""
    k = len(halves)
    places = cuckoo.places(halves.keys, bins=masks.shape[1]).T
    words = np.negative(masks[:, places])  # (words, 3, k)
    words[1 : 1 + len(values)] += values[:, None]
    at = oprf.Points(np.tile(halves.keys, (cuckoo.PLACES, 1)), np.tile(halves.values, (cuckoo.PLACES, 1)))
    _place(at, np.repeat(np.arange(cuckoo.PLACES), k))
    return at, _as_blocks(words.reshape(len(masks), cuckoo.PLACES * k))


def _place(points: oprf.Points, number: NDArray[np.int64]) -> None:
    """Make of items, in place, what they are to the OPPRF at one of their three places: blocks as uniform as before."""
    tweaks = np.zeros_like(points.keys)
    tweaks[:, 0] = number
    blocks.hash_under(tweaks, points.keys)
    blocks.hash_under(tweaks, points.values)


def _as_blocks(words: Words) -> Bytes:
    """(2·k, n) words → (k, n, 16) bytes: words 2·i and 2·i + 1 in block i, little-endian."""
    pairs = words.reshape(len(words) // 2, 2, -1).transpose(0, 2, 1)
    return np.ascontiguousarray(pairs, dtype="<u8").view(np.uint8)


def _words(programmed: Bytes) -> Words:
    """What `_as_blocks` undoes."""
    pairs = programmed.view("<u8").transpose(0, 2, 1)
    return np.ascontiguousarray(pairs, dtype=np.uint64).reshape(2 * len(programmed), -1)
