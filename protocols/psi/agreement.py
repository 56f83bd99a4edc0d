"""What two parties settle before they intersect: one small message each way.

A protocol would run on with other sets, groups or forms of keys at the two ends and find nothing in common. So both say
what they are about to do, and where they differ both end here, with an error that names the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import hash as hashes
from mpc.kernels.packing import pack
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.psi.v1 import psi_pb2 as wire
from protocols.operator import Operator

Reveal = Literal["both", "me", "peer"]
Security = Literal["semi-honest", "malicious"]

MAX_ITEMS = 1 << 32
"""Most items that a party may bring, and may claim to bring."""

_NONCE_BYTES = 32
_SALT = b"unseen psi salt v1\x00"
_SHOWN = 64  # characters of what a peer says that an error text repeats


@dataclass(frozen=True)
class Terms:
    """What this party is about to run.

    Attributes:
        operators: those that may run, several where their choice is left to the sizes.
        suite: cipher suite.
        security: against which kind of peer.
        form: canonical form of the keys.
        reveal_to: who learns the result.
        size: how many distinct items this party brings.
        bound: largest absolute value of a summed number; 0 where nothing is summed.
        minimum: fewest matches that the result may rest on.
        sends: whether this party is the sender; None where that follows from who learns, and from the sizes.
    """

    operators: Sequence[Operator]
    suite: Suite
    security: Security
    form: str
    reveal_to: Reveal
    size: int
    bound: int = 0
    minimum: int = 0
    sends: bool | None = None


@dataclass(frozen=True)
class Agreed:
    """What both parties know after the agreement.

    Attributes:
        peer_size: how many distinct items the peer says it brings; at most ``MAX_ITEMS``.
        salt: 32 bytes, the same at both, to which each party contributed.
        receiver: whether this party is the receiver. Where the terms leave it open, that is the one that learns, and
            where both learn the one with fewer items, of equally many the one whose name sorts first.
        both: whether the sender learns too.
        security: what was asked of the protocol.
        runs: of how many like runs, which share the odds of a wrong match, this is one.
    """

    peer_size: int
    salt: bytes
    receiver: bool
    both: bool
    security: Security
    runs: int = 1


def agree(channel: Channel, terms: Terms, *, rng: Rng) -> Agreed:
    """Exchange the terms. Usually below 256 bytes each way, 1 round.

    Raises:
        UsageError: more items than the limit, or a reveal_to that there is not.
        PeerError: the peer is about to run something else, or claims more items than the limit. Both parties get it.
    """
    if terms.size > MAX_ITEMS:
        raise UsageError(f"{terms.size} items are more than the {MAX_ITEMS} that one run takes: split the set.")
    learners = {"both": [channel.me, channel.peer], "me": [channel.me], "peer": [channel.peer]}.get(terms.reveal_to)
    if learners is None:
        raise UsageError(f"reveal_to is 'both', 'me' or 'peer', not {terms.reveal_to!r}.")
    if terms.security not in ("semi-honest", "malicious"):
        raise UsageError(f"security is 'semi-honest' or 'malicious', not {terms.security!r}.")
    mine = wire.Terms(
        operators={o.name: o.version for o in terms.operators},
        suite=terms.suite.name,
        security=terms.security,
        form=terms.form,
        learners=sorted(learners),
        size=terms.size,
        nonce=rng.bytes(_NONCE_BYTES),
        bound=terms.bound,
        minimum=terms.minimum,
        sender="" if terms.sends is None else channel.me if terms.sends else channel.peer,
    )
    channel.send(mine)
    (theirs,) = channel.recv(wire.Terms)
    here, there = _words(mine), _words(theirs)
    differs = [
        f"{word} (here {_shown(here[word])}, there {_shown(there[word])})" for word in here if here[word] != there[word]
    ]
    channel.require(not differs, "the same terms at both parties, which differ in " + " and in ".join(differs))
    channel.require(theirs.size <= MAX_ITEMS, f"at most {MAX_ITEMS} items")
    channel.require(len(theirs.nonce) == _NONCE_BYTES and theirs.nonce != mine.nonce, "a fresh nonce of 32 bytes")
    if terms.sends is not None:
        receiver = not terms.sends
    elif terms.reveal_to == "both":
        receiver = (terms.size, channel.me) < (theirs.size, channel.peer)
    else:
        receiver = terms.reveal_to == "me"
    nonces = dict(sorted({channel.me: mine.nonce, channel.peer: theirs.nonce}.items()))
    salt = hashes.batch(terms.suite.digest, _SALT, pack([b"".join(nonces.values())]))[0].tobytes()
    return Agreed(theirs.size, salt, receiver, terms.reveal_to == "both", terms.security)


def _words(terms: wire.Terms) -> dict[str, str]:
    """What has to be the same at both parties, as words."""
    return {
        "operator": ", ".join(f"{name} version {version}" for name, version in sorted(terms.operators.items())),
        "suite": terms.suite,
        "security": terms.security,
        "form of keys": terms.form,
        "who learns": ", ".join(terms.learners),
        "bound": str(terms.bound),
        "minimum": str(terms.minimum),
        "sender": terms.sender,
    }


def _shown(text: str) -> str:
    """A peer may say any text, of any length."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
