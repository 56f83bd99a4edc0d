"""Base oblivious transfers from key agreement [Masny, Rindal 2019; batches: McQuoid, Rosulek, Roy 2021].

The receiver shows two group elements per transfer of which it knows the discrete logarithm of one combination only: it
draws the element for the other branch at random and corrects its own branch by the other's hash. Which of the two was
corrected does not show. The sender agrees on a key with both; the receiver can finish one of these agreements.

Security: malicious, either side; gap Diffie-Hellman in the suite's group, random oracle. The transfers are *endemic*: a
          corrupt party may influence its own keys (and never learns the other's), which is what extension needs.
          One offer serves all transfers of a call; each transfer's index and the offer enter every hash, without which
          the 2021 paper breaks the batch.
Leaks:    nothing but n.
Cost:     2 messages, 1 round; (2n + 1) elements (32 bytes in ristretto255, 33 in SM2) and at most 128 bytes of
          envelopes. Sender: 2n multiplications and 2n hashes to the group; receiver: n multiplications, 2n of the
          generator and n hashes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import InvalidEncoding, wipe
from mpc.kernels import hash as hashes
from mpc.kernels.packing import Packed
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.ot.v1 import ot_pb2 as wire
from protocols.ot import choices as bits
from protocols.ot.choices import Choices

BLOCK_BYTES = 16

MAX_TRANSFERS = 1 << 12
"""Most base transfers of one call. Whoever needs more extends some."""

_DST = b"unseen ot base v1 branch"
_KEY = b"unseen ot base v1 key"


def send(channel: Channel, n: int, *, suite: Suite, rng: Rng) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Make n transfers of random messages, as the sender.

    Args:
        channel: to the receiver.
        n: how many, up to ``MAX_TRANSFERS``; the receiver has as many choices.
        suite: group and hash.
        rng: this party's randomness.

    Returns:
        (n, 16) uint8 and (n, 16) uint8: the messages for choice 0 and for choice 1.

    Raises:
        PeerError: the receiver sent other than n pairs of group elements.
    """
    _require_count(n)
    group = suite.group
    a = _scalars(suite, rng, 1)
    offer = group.mul_base(a)
    channel.send(wire.BaseOffer(), offer[0])  # 1
    _, elements = channel.recv(wire.BaseChoice)  # 2
    channel.require(elements.shape == (n, 2, group.ELEMENT_BYTES), f"two group elements for each of {n} transfers")
    r = [np.ascontiguousarray(elements[:, branch]) for branch in (0, 1)]
    keys = []
    try:
        for branch in (0, 1):  # 3
            own = group.sub(r[branch], _branch_hash(suite, offer, branch, r[1 - branch]))
            keys.append(_keys(suite, offer, np.full(n, branch, np.uint8), elements, group.mul(a[0], own)))
    except InvalidEncoding:
        channel.require(False, "elements of the suite's group")
        raise
    finally:
        wipe(a)
    return keys[0], keys[1]


def receive(channel: Channel, choices: Choices, *, suite: Suite, rng: Rng) -> NDArray[np.uint8]:
    """Make transfers of random messages, as the receiver.

    Args:
        channel: to the sender.
        choices: (n,) bits, up to ``MAX_TRANSFERS`` of them.
        suite: group and hash.
        rng: this party's randomness.

    Returns:
        (n, 16) uint8: per transfer, the message that its choice names.

    Raises:
        PeerError: the sender's offer is no element of the group.
    """
    choice = bits.checked(choices)
    n = len(choice)
    _require_count(n)
    group = suite.group
    _, element = channel.recv(wire.BaseOffer)  # 1
    offer = element.reshape(1, -1)
    channel.require(offer.shape[1] == group.ELEMENT_BYTES, "an element of the suite's group")
    try:
        group.check(offer)
    except InvalidEncoding:
        channel.require(False, "an element of the suite's group")
    b = _scalars(suite, rng, n)
    # A random element whose logarithm nobody uses again is as good as one that nobody knows.
    other = group.mul_base(_scalars(suite, rng, n))
    hashed = bits.select(choice, _branch_hash(suite, offer, 0, other), _branch_hash(suite, offer, 1, other))
    own = group.add(group.mul_base(b), hashed)
    elements = np.stack((bits.select(choice, own, other), bits.select(choice, other, own)), axis=1)
    channel.send(wire.BaseChoice(), elements)  # 2
    shared = group.mul_each(b, np.repeat(offer, n, axis=0))  # 3
    wipe(b)
    return _keys(suite, offer, choice.view(np.uint8), elements, shared)


def _require_count(n: int) -> None:
    if not 0 <= n <= MAX_TRANSFERS:
        raise UsageError(f"Base transfers come by up to {MAX_TRANSFERS}, not {n}: extend them with protocols.ot.cot.")


def _scalars(suite: Suite, rng: Rng, n: int) -> NDArray[np.uint8]:
    """(n, scalar): uniform and not zero."""
    uniform = rng.uint8(n, suite.group.UNIFORM_SCALAR_BYTES)
    try:
        return suite.group.scalar_from_uniform(uniform)
    finally:
        wipe(uniform)


def _columns(*columns: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, w) arrays side by side, as one."""
    return np.concatenate(columns, axis=1)


def _indices(n: int) -> NDArray[np.uint8]:
    """(n, 8): 0 … n-1, little-endian."""
    return np.arange(n, dtype="<u8").view(np.uint8).reshape(n, 8)


def _branch_hash(suite: Suite, offer: NDArray[np.uint8], branch: int, other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, element): what corrects a branch, hashed from the offer, the index, the branch and the other element."""
    n = len(other)
    rows = _columns(np.repeat(offer, n, axis=0), _indices(n), np.full((n, 1), branch, np.uint8), other)
    return suite.group.hash_to_group(Packed(rows.reshape(-1), np.arange(n + 1) * rows.shape[1]), _DST)


def _keys(
    suite: Suite,
    offer: NDArray[np.uint8],
    branch: NDArray[np.uint8],
    elements: NDArray[np.uint8],
    shared: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """(n, 16): the messages, hashed from everything that was said about a transfer and what its parties share."""
    n = len(shared)
    rows = _columns(np.repeat(offer, n, axis=0), _indices(n), branch[:, None], elements[:, 0], elements[:, 1], shared)
    return np.ascontiguousarray(hashes.rows(suite.digest, _KEY, rows)[:, :BLOCK_BYTES])
