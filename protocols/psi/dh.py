"""The double pass under two secrets that the Diffie-Hellman operators share: both parties compute at once, in batches.

Each hashes its items to the group and multiplies them by its scalar; each multiplies what the other sent by its own.
Then equal items have equal points at both, and no party can tell anything of a point that it has not made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
from protocols.psi.result import matches

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
    order: NDArray[np.int64],
    scalar: NDArray[np.uint8],
    suite: Suite,
) -> Iterator[NDArray[np.uint8] | None]:
    """Send own items under the scalar, always a batch ahead, and give the peer's under both scalars.

    Neither party waits for the other while it has work, and neither holds more than a few batches.

    Args:
        channel: to the peer, which runs this too.
        keys: n distinct keys.
        agreed: with the peer.
        order: (n,) int64, in which they are sent: a secret permutation, so that a peer which treats some of them
            otherwise than the rest learns nothing of the input's order.
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
    width = sets.tag_bytes(len(keys), agreed.peer_size * agreed.runs)
    for step in range(max(len(own), len(theirs)) + 1):
        if step < len(own):
            start, stop = own[step]
            batch = sets.take(keys, order[start:stop])
            channel.send(wire.Points(), suite.group.hash_mul(scalar, batch, _DST))
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


def count_receive(
    channel: Channel, keys: Packed, agreed: Agreed, *, suite: Suite, rng: Rng, report: Callable[[int], None]
) -> NDArray[np.int64]:
    """The double pass where both lists are shuffled, so that matches are seen, but not of what: the receiver's side.

    Args:
        channel: to the sender.
        keys: n distinct keys.
        agreed: with the sender.
        suite: whose group it is.
        rng: the secret.
        report: called with how many items of both sets are done.

    Returns:
        (k,) int64: the matching positions of the sender's list, which it has shuffled; increasing.

    Raises:
        UsageError: two keys are the same.
        PeerError: a malformed message.
    """
    n, m = len(keys), agreed.peer_size
    width = sets.tag_bytes(n, m)
    mine = np.empty((n if m else 0, width), dtype=np.uint8)
    _, theirs = _both_passes(channel, keys, agreed, width=width, suite=suite, rng=rng, report=report)
    for start, stop in batches(len(mine)):
        receive_tags(channel, mine[start:stop])
    _, positions = matches(channel, mine, theirs)
    return positions


def count_send(
    channel: Channel, keys: Packed, agreed: Agreed, *, suite: Suite, rng: Rng, report: Callable[[int], None]
) -> NDArray[np.int64]:
    """The sender's side; arguments and errors as for `count_receive`.

    Returns:
        (n,) int64: which key stands at each position of the shuffled list.
    """
    width = sets.tag_bytes(len(keys), agreed.peer_size)
    order, back = _both_passes(channel, keys, agreed, width=width, suite=suite, rng=rng, report=report)
    back = back[rng.permutation(len(back))]  # the receiver must not know which of its items a tag is of
    for start, stop in batches(len(back)):
        send_tags(channel, back[start:stop])
    return order


def _both_passes(
    channel: Channel,
    keys: Packed,
    agreed: Agreed,
    *,
    width: int,
    suite: Suite,
    rng: Rng,
    report: Callable[[int], None],
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The order in which own items went, and all tags, (m, width) uint8, of the peer's: none where a set is empty."""
    n, m = len(keys), agreed.peer_size
    tags = np.empty((m if n else 0, width), dtype=np.uint8)
    order = rng.permutation(n)
    scalar = secret(suite, rng)
    try:
        done = 0
        for step, batch in enumerate(passes(channel, keys, agreed, order=order, scalar=scalar, suite=suite), 1):
            if batch is not None:
                tags[done : done + len(batch)] = batch
                done += len(batch)
            report(done + min(step * BATCH, n))
    finally:
        wipe(scalar)
    return order, tags


def send_tags(channel: Channel, tags: NDArray[np.uint8]) -> None:
    """Send at most BATCH tags back to whom their points came from."""
    channel.send(wire.Tags(), tags)


def receive_tags(channel: Channel, into: NDArray[np.uint8]) -> None:
    """Receive as many tags as `into`, (m, width) uint8, has rows."""
    _, tags = channel.recv(wire.Tags)
    channel.require(tags.shape == into.shape, f"{into.shape[0]} tags of {into.shape[1]} bytes")
    into[:] = tags
