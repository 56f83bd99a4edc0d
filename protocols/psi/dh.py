"""The double pass under two secrets that the Diffie-Hellman operators share: both parties compute at once, in batches.

Each hashes its items to the group and multiplies them by its scalar; each multiplies what the other sent by its own.
Then equal items have equal points at both, and no party can tell anything of a point that it has not made.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.kernels import InvalidEncoding, wipe
from mpc.kernels.packing import Packed
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.psi.v1 import ecdh_pb2 as wire
from protocols.psi import items as sets
from protocols.psi.agreement import Agreed

BATCH = 4096
"""Items in a message."""

_DST = b"unseen psi v1 item to group"
_TAG_AT = 8  # where a tag is cut from a point: the first and last bytes of an encoding are not uniform


def secret(suite: Suite, rng: Rng) -> NDArray[np.uint8]:
    """(scalar,) uint8: uniform and not zero. Wipe it after use."""
    uniform = rng.uint8(1, suite.group.UNIFORM_SCALAR_BYTES)
    try:
        return suite.group.scalar_from_uniform(uniform).reshape(-1)
    finally:
        wipe(uniform)


def batches(size: int) -> list[tuple[int, int]]:
    """Where the batches of `size` items begin and end."""
    return [(start, min(start + BATCH, size)) for start in range(0, size, BATCH)]


def passes(
    channel: Channel,
    keys: Packed,
    agreed: Agreed,
    *,
    order: NDArray[np.int64] | None,
    scalar: NDArray[np.uint8],
    suite: Suite,
) -> Iterator[NDArray[np.uint8] | None]:
    """Send own items under the scalar, always a batch ahead, and give the peer's under both scalars.

    Neither party waits for the other while it has work, and neither holds more than a few batches.

    Args:
        channel: to the peer, which runs this too.
        keys: n distinct keys.
        agreed: with the peer.
        order: (n,) int64, in which they are sent; None as they are.
        scalar: this party's secret.
        suite: whose group it is.

    Yields:
        After each step, of which both parties take equally many but the last few, (m, width) tags of the peer's next
        batch; None where it has sent all. Nothing at all where either set is empty.

    Raises:
        UsageError: two keys are the same.
        PeerError: a batch of another length, or a point that is no valid element or the identity.
    """
    sets.require_distinct(sets.digests(keys, suite=suite, salt=agreed.salt))
    if not len(keys) or not agreed.peer_size:
        return  # nothing can match, which both parties know
    own, theirs = batches(len(keys)), batches(agreed.peer_size)
    width = sets.tag_bytes(len(keys), agreed.peer_size)
    for step in range(max(len(own), len(theirs)) + 1):
        if step < len(own):
            start, stop = own[step]
            batch = keys.slice(start, stop) if order is None else sets.take(keys, order[start:stop])
            channel.send(wire.Points(), suite.group.mul(scalar, suite.group.hash_to_group(batch, _DST)))
        if step == 0:
            continue
        if step <= len(theirs):
            start, stop = theirs[step - 1]
            yield _tags(channel, stop - start, scalar=scalar, suite=suite, width=width)
        else:
            yield None


def _tags(channel: Channel, size: int, *, scalar: NDArray[np.uint8], suite: Suite, width: int) -> NDArray[np.uint8]:
    """(size, width) uint8: tags of the peer's next points under both scalars."""
    _, points = channel.recv(wire.Points)
    channel.require(points.shape == (size, suite.group.ELEMENT_BYTES), f"{size} points of the suite's group")
    try:
        both = suite.group.mul(scalar, points)
    except InvalidEncoding as error:
        channel.require(False, f"point {error.index} canonically encoded and not the identity")
        raise
    return np.ascontiguousarray(both[:, _TAG_AT : _TAG_AT + width])


def send_tags(channel: Channel, tags: NDArray[np.uint8]) -> None:
    """Send at most BATCH tags back to whom their points came from."""
    channel.send(wire.Tags(), tags)


def receive_tags(channel: Channel, into: NDArray[np.uint8]) -> None:
    """Receive as many tags as `into`, (m, width) uint8, has rows."""
    _, tags = channel.recv(wire.Tags)
    channel.require(tags.shape == into.shape, f"{into.shape[0]} tags of {into.shape[1]} bytes")
    into[:] = tags
