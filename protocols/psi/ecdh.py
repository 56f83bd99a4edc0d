"""Intersection by Diffie-Hellman [Meadows 1986; Huberman, Franklin, Hogg 1999], on the suite's group.

Equal items have equal points under both parties' secrets a and b, in whichever order they are multiplied.

Security: semi-honest; DDH in the suite's group, random oracle (hash to group). A party that deviates can enter items
          that it does not hold into the set, or make the other's result wrong, but learns nothing more of the other's
          items than an intersection with what it entered.
Leaks:    the receiver learns |Y| and which of its items match; the sender learns |X|, and where both are to learn,
          which of its items match.
Cost:     with X the receiver's set and Y the sender's, e bytes an element (32 on ristretto255, 33 on SM2), t = 5 to 13
          bytes a tag (10 at 2^20 × 2^20; never below 8): e·|X| bytes from the receiver, e·|Y| + t·|X| from the sender,
          |Y| / 8 from the receiver where both learn, and at most 80 bytes of envelope for every 4096 items. Each side
          hashes its own items to the group and does |X| + |Y| multiplications. Both send at once; rounds: 1 per 4096
          items of the larger set at either side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.kernels import wipe
from mpc.kernels.packing import Packed
from mpc.rng import Rng
from mpc.session import Progress
from mpc.suite import Suite
from protocols.operator import Operator
from protocols.psi import dh
from protocols.psi import items as sets
from protocols.psi.agreement import Agreed
from protocols.psi.result import matches, receive_matches, send_matches

OPERATOR = Operator(
    name="psi.ecdh",
    version=1,
    title="Private set intersection by Diffie-Hellman",
    learns={
        "receiver": ("which of its own items the sender holds too", "how many items the sender holds"),
        "sender": (
            "how many items the receiver holds",
            "which of its own items the receiver holds too, where both parties are to learn the result",
        ),
    },
)


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
        suite: whose group is used.
        rng: the secret a.
        progress: called with the stage "psi.ecdh", in items of both sets.

    Returns:
        (k,) int64: which keys matched, in common order.

    Raises:
        UsageError: two keys are the same.
        PeerError: a malformed message.
    """
    n, m = len(keys), agreed.peer_size
    width = sets.tag_bytes(n, m * agreed.runs)
    mine = np.empty((n, width), dtype=np.uint8)
    theirs = np.empty((m, width), dtype=np.uint8)
    order = rng.permutation(n)  # hides which row an item stands in
    a = dh.secret(suite, rng)
    back = iter(dh.batches(n) if m else ())
    try:
        done = 0
        for step, tags in enumerate(dh.passes(channel, keys, agreed, order=order, scalar=a, suite=suite)):  # 1, 3
            if tags is not None:
                theirs[done : done + len(tags)] = tags
                done += len(tags)
            if step and (batch := next(back, None)):  # one step behind, so that it has arrived                   4
                dh.receive_tags(channel, mine[slice(*batch)])
                progress(Progress(OPERATOR.name, done + batch[1], n + m))
    finally:
        wipe(a)
    for start, stop in back:
        dh.receive_tags(channel, mine[start:stop])
    rows, positions = matches(channel, mine, theirs)
    if agreed.both:
        send_matches(channel, positions, m)  # 5
    progress(Progress(OPERATOR.name, n + m, n + m))
    return order[rows]


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
    n, m = len(keys), agreed.peer_size
    order = rng.permutation(n)  # hides which item a point stands for
    b = dh.secret(suite, rng)
    try:
        done = 0
        for step, tags in enumerate(dh.passes(channel, keys, agreed, order=order, scalar=b, suite=suite), 1):  # 2
            if tags is not None:
                dh.send_tags(channel, tags)  # 4
                done += len(tags)
            progress(Progress(OPERATOR.name, done + min(step * dh.BATCH, n), n + m))
    finally:
        wipe(b)
    return order[receive_matches(channel, n)] if agreed.both else None  # 5
