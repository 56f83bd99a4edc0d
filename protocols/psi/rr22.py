"""Private set intersection from a batched OPRF [Raghuraman, Rindal 2022, "Blazing Fast PSI", figure 5].

The receiver has F at its items by an oblivious PRF (``protocols/psi/oprf.py``: VOLE and a key-value store), the sender
sends F at its own, cut to tags and shuffled; equal items have equal tags, and other tags are random to the receiver.

Security: semi-honest; the OPRF's assumptions. "malicious", for the receiver's result alone: a malicious sender learns
          nothing of the receiver's items, and what the receiver outputs is its intersection with one set of at most |Y|
          items; a malicious receiver learns of its intersection with at most `oprf.most_items` items instead of |X|.
          Tags then have 128 bits. The sender learns no result in that mode, for a receiver could tell it anything.
Leaks:    the receiver learns |Y| and which of its items match; the sender learns |X|, and where both are to learn,
          which of its items match.
Cost:     with X the receiver's set, Y the sender's, m = `oprf.table_rows(|X|)` (1.35·|X| at 2^20), t = 5 to 13 bytes a
          tag (10 at 2^20 × 2^20; never below 8; 16 malicious): 16·m bytes from the receiver, t·|Y| from the sender, the
          VOLE's bytes, |Y| / 8 from the receiver where both learn, and at most 80 bytes of envelope for every 4 bins
          of the table, 2^14 items each, and every 2^17 tags. Rounds: the VOLE's, and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels.packing import Packed
from mpc.rng import Rng
from mpc.session import Progress
from mpc.suite import Suite
from mpc.wire.psi.v1 import rr22_pb2 as wire
from protocols.operator import Operator
from protocols.ot import vole
from protocols.psi import items as sets
from protocols.psi import oprf
from protocols.psi.agreement import Agreed
from protocols.psi.result import matches, receive_matches, send_matches

OPERATOR = Operator(
    name="psi.rr22",
    version=1,
    title="Private set intersection by an oblivious PRF from VOLE",
    learns={
        "receiver": ("which of its own items the sender holds too", "how many items the sender holds"),
        "sender": (
            "how many items the receiver holds",
            "which of its own items the receiver holds too, where both parties are to learn the result",
        ),
    },
)

MAX_ITEMS = 1 << 25
"""Most items of one party in one run: one VOLE has to do for its table. Larger sets go through in buckets."""

_MALICIOUS_TAG_BYTES = 16
_PIECE = 1 << 17  # tags in a message
_BATCH = 1 << 14  # items whose digests are made at a time


def receive(
    channel: Channel,
    keys: Packed,
    agreed: Agreed,
    *,
    suite: Suite,
    rng: Rng,
    progress: Callable[[Progress], None] = lambda _: None,
) -> NDArray[np.int64]:
    """The receiver's side.

    Args:
        channel: to the sender.
        keys: n distinct canonical keys.
        agreed: what `agreement.agree` gave.
        suite: of the base transfers and of the hashes.
        rng: this party's randomness.
        progress: called with the stage "psi.rr22" at each step, in steps.

    Returns:
        (k,) int64: which keys matched, in common order.

    Raises:
        UsageError: two equal keys, or more than ``MAX_ITEMS``.
        EncodingFailed: with odds below 2^-40.
        PeerError: a malformed message. CheatingDetected: a check of the malicious variant failed.
    """
    width = _tag_bytes(channel, keys, agreed)
    if not len(keys) or not agreed.peer_size:
        return np.empty(0, dtype=np.int64)
    steps = _Steps(progress)
    m = oprf.table_rows(len(keys))
    with ThreadPoolExecutor(1) as beside:  # fills the waits of the set-up
        digesting = [beside.submit(_points, keys, agreed, suite)]
        correlation = vole.receive(channel, m, suite=suite, rng=rng, security=agreed.security)  # 1
    steps.done()
    at = [digesting.pop().result()]  # lists, so that the points are given away below and not kept
    steps.done()
    try:
        outputs = oprf.receive(channel, at.pop(), correlation, suite=suite, rng=rng, security=agreed.security)  # 2
    except UsageError:
        sets.require_distinct(sets.digests(keys, suite=suite, salt=agreed.salt))  # says which rows
        raise
    del correlation
    mine, of = np.ascontiguousarray(outputs.values[:, :width]), outputs.rows
    del outputs
    steps.done()
    theirs = np.empty((agreed.peer_size, width), dtype=np.uint8)
    for start in range(0, len(theirs), _PIECE):  # 3
        piece = theirs[start : start + _PIECE]
        _, tags = channel.recv(wire.Rr22Tags)
        channel.require(tags.shape == piece.shape, f"{len(piece)} tags of {width} bytes")
        piece[:] = tags
    steps.done()
    rows, positions = matches(channel, mine, theirs, malicious=agreed.security == "malicious")  # 4
    if agreed.both:
        send_matches(channel, positions, len(theirs))  # 5
    steps.done()
    return of[rows].astype(np.int64)


def send(
    channel: Channel,
    keys: Packed,
    agreed: Agreed,
    *,
    suite: Suite,
    rng: Rng,
    progress: Callable[[Progress], None] = lambda _: None,
) -> NDArray[np.int64] | None:
    """The sender's side; arguments and errors as for `receive`. Returns None where the receiver alone learns."""
    width = _tag_bytes(channel, keys, agreed)
    if not len(keys) or not agreed.peer_size:
        return np.empty(0, dtype=np.int64) if agreed.both else None
    steps = _Steps(progress)
    m = oprf.table_rows(agreed.peer_size)
    with ThreadPoolExecutor(1) as beside:
        digesting = [beside.submit(_points, keys, agreed, suite)]
        correlation = vole.send(channel, m, suite=suite, rng=rng, security=agreed.security)  # 1
    steps.done()
    at = [digesting.pop().result()]
    sets.require_distinct(at[0].keys)
    order = rng.permutation(len(keys))  # hides which item a tag stands for
    steps.done()
    size, security = agreed.peer_size, agreed.security
    outputs = oprf.send(channel, at.pop(), correlation, peer_items=size, suite=suite, rng=rng, security=security)  # 2
    del correlation
    steps.done()
    values = outputs.values.view("V16").reshape(-1)
    for start in range(0, len(order), _PIECE):
        shuffled = values[order[start : start + _PIECE]].view(np.uint8).reshape(-1, 16)
        channel.send(wire.Rr22Tags(), np.ascontiguousarray(shuffled[:, :width]))  # 3
    steps.done()
    matched = None
    if agreed.both:
        matched = outputs.rows[order[receive_matches(channel, len(order))]].astype(np.int64)  # 5
    steps.done()
    return matched


class _Steps:
    """Tells how far a run has come, in steps of about equal length."""

    def __init__(self, progress: Callable[[Progress], None]) -> None:
        self._progress = progress
        self._done = 0

    def done(self) -> None:
        self._done += 1
        self._progress(Progress(OPERATOR.name, self._done, 5))


def _points(keys: Packed, agreed: Agreed, suite: Suite) -> oprf.Points:
    """Where F is evaluated: the items' digests in halves, made by pieces that stay in the cache."""
    at = oprf.Points(np.empty((len(keys), 16), dtype=np.uint8), np.empty((len(keys), 16), dtype=np.uint8))
    for start in range(0, len(keys), _BATCH):
        stop = min(start + _BATCH, len(keys))
        digests = sets.digests(keys.slice(start, stop), suite=suite, salt=agreed.salt)
        at.keys[start:stop], at.values[start:stop] = digests[:, :16], digests[:, 16:]
    return at


def _tag_bytes(channel: Channel, keys: Packed, agreed: Agreed) -> int:
    """How wide tags are. Checks the sizes and that the mode can keep what it promises."""
    if agreed.both and agreed.security == "malicious":
        raise UsageError(
            'security="malicious" protects the receiver\'s result alone: let one party learn, or take "semi-honest".'
        )
    if len(keys) > MAX_ITEMS:
        raise UsageError(f"{len(keys)} items are more than the {MAX_ITEMS} of one run: use psi.intersect_tables.")
    channel.require(agreed.peer_size <= MAX_ITEMS, f"at most {MAX_ITEMS} items in one run")
    return (
        _MALICIOUS_TAG_BYTES
        if agreed.security == "malicious"
        else sets.tag_bytes(len(keys), agreed.peer_size * agreed.runs)
    )
