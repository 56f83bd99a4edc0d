"""How many keys two parties hold, and not which [Huberman, Franklin, Hogg 1999; De Cristofaro, Gasti, Tsudik 2012].

As in psi.ecdh equal items get equal points under both parties' secrets. Here the sender shuffles what it sends back,
too: the receiver can tell how many points are on both lists, and of neither list which item a point stands for.

Security: semi-honest; DDH in the suite's group, random oracle (hash to group). A receiver that deviates by entering one
          item alone learns whether the sender holds it: no protocol that tells a count prevents that, a minimum size of
          sets does, which a node's owner sets.
Leaks:    the receiver learns |X ∩ Y| and |Y|; the sender learns |X|, and where both are to learn, |X ∩ Y|.
Cost:     that of psi.ecdh without its bits: e·|X| bytes from the receiver, e·|Y| + t·|X| from the sender, at most 80
          bytes of envelope for every 4096 items, and 8 bytes from the receiver where both learn. Each side hashes its
          own items to the group and does |X| + |Y| multiplications; rounds: at most 2 + 1 per 4096 items of the larger
          set. The sender holds t·|X| bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mpc import suite as suites
from mpc.channel import Channel
from mpc.kernels.packing import Packed
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.wire.psi.v1 import sum_pb2 as wire
from protocols.operator import Operator
from protocols.psi import dh
from protocols.psi.agreement import Agreed, Reveal, Terms, agree
from protocols.psi.items import Column, Duplicates, collect

OPERATOR = Operator(
    name="psi.cardinality",
    version=1,
    title="Size of a private set intersection",
    learns={
        "receiver": ("how many items both hold", "how many items the sender holds"),
        "sender": (
            "how many items the receiver holds",
            "how many items both hold, where both parties are to learn the result",
        ),
    },
)


@dataclass(frozen=True)
class CardinalityResult:
    """What one party has of it.

    Attributes:
        count: how many keys both parties hold; None where this party was not to learn it.
        peer_size: how many distinct keys the peer brought.
    """

    count: int | None
    peer_size: int


def count(
    session: Session,
    items: Column | tuple[Column, ...],
    *,
    peer: str,
    reveal_to: Reveal = "both",
    suite: str | Suite = "intl",
    form: str = "text",
    duplicates: Duplicates = "error",
) -> CardinalityResult:
    """Count the keys that this party and `peer` both hold. Both call it, with the same options but for `duplicates`.

    Whatever goes wrong ends the conversation with the peer, so that it fails too and does not wait.

    Args:
        session: this party's run.
        items: the keys, as for ``psi.intersect``.
        peer: name of the other party.
        reveal_to: who learns the count: "both", "me" or "peer".
        suite: cipher suite or its name.
        form: canonical form of the keys.
        duplicates: whether a key in several rows is an error, or counts once ("first" and "many" alike).

    Raises:
        InvalidIdentifier: a row whose key is not of the form.
        UsageError: options that there are not, a key in several rows, more than 2^32 keys.
        PeerError: the peer runs something else (the text names it), or broke the protocol.
        ChannelError: the connection failed.
    """
    channel = session.channel(peer)
    try:
        chosen = suites.get(suite) if isinstance(suite, str) else suite
        keys = collect(items, form=form, duplicates=duplicates, rng=session.rng).keys
        terms = Terms([OPERATOR], chosen, "semi-honest", form, reveal_to, len(keys))
        agreed = agree(channel, terms, rng=session.rng)
        run = receive if agreed.receiver else send
        found = run(channel, keys, agreed, suite=chosen, rng=session.rng, progress=session.progress)
        return CardinalityResult(found, agreed.peer_size)
    except BaseException as error:
        channel.close(f"a count broke off ({type(error).__name__})")
        raise


def receive(
    channel: Channel,
    keys: Packed,
    agreed: Agreed,
    *,
    suite: Suite,
    rng: Rng,
    progress: Callable[[Progress], None] = lambda _: None,
) -> int:
    """The receiver's side.

    Args:
        channel: to the sender.
        keys: n distinct canonical keys.
        agreed: what `agreement.agree` gave.
        suite: whose group is used.
        rng: the secret.
        progress: called with the stage "psi.cardinality", in items of both sets.

    Raises:
        UsageError: two keys are the same.
        PeerError: a malformed message.
    """
    total = len(keys) + agreed.peer_size
    positions = dh.count_receive(
        channel, keys, agreed, suite=suite, rng=rng, report=lambda done: progress(Progress(OPERATOR.name, done, total))
    )
    if agreed.both:
        channel.send(wire.Outcome(count=len(positions)))
    return len(positions)


def send(
    channel: Channel,
    keys: Packed,
    agreed: Agreed,
    *,
    suite: Suite,
    rng: Rng,
    progress: Callable[[Progress], None] = lambda _: None,
) -> int | None:
    """The sender's side; arguments and errors as for `receive`. Returns None where the receiver alone learns."""
    total = len(keys) + agreed.peer_size
    dh.count_send(
        channel, keys, agreed, suite=suite, rng=rng, report=lambda done: progress(Progress(OPERATOR.name, done, total))
    )
    if not agreed.both:
        return None
    (outcome,) = channel.recv(wire.Outcome)
    channel.require(outcome.count <= min(len(keys), agreed.peer_size), "no more matches than items")
    return int(outcome.count)
