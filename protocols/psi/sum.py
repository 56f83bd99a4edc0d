"""How many keys two parties both hold, and the sum of the sender's column over them; nothing of any single row.

The double pass of psi.cardinality shows the receiver which positions of the sender's shuffled list match, and not of
what. For each position the parties then turn (bit of the receiver) × (value of the sender) into additive shares modulo
2^64 by one correlated oblivious transfer; only the sums of the shares are put together. This is the functionality of
Ion et al. 2017 ("private join and compute") with transfers in place of Paillier's encryption.

Security: semi-honest; DDH in the suite's group, random oracle, and what the transfers rest on (protocols/ot).
Leaks:    the receiver learns |X ∩ Y|, the sum over it, and |Y|; the sender learns |X|, whether the agreed minimum was
          reached, and where both are to learn, count and sum. Of a single match the sum is the row's value, and of two
          runs that differ in one item the difference: agree on a minimum, and see what else may be asked. It is the
          receiver that counts: against one that does not follow the protocol the minimum protects nothing.
Exact:    values are whole numbers, at most `bound` in absolute value, and min(|X|, |Y|) · bound must be below 2^63, so
          that no sum can pass what 64 bits hold: where it could, both parties refuse before anything is sent.
Cost:     that of psi.cardinality, |Y| correlated oblivious transfers of 8 bytes (docs/protocols/ot.md), and at most
          three messages of 80 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import PolicyError, UsageError
from mpc.kernels.packing import Packed
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.wire.psi.v1 import sum_pb2 as wire
from protocols.operator import Operator
from protocols.ot import cot
from protocols.psi import dh
from protocols.psi.agreement import Agreed, Reveal, Terms, agree
from protocols.psi.items import Amounts, Column, Duplicates, amounts_by_key, collect

OPERATOR = Operator(
    name="psi.sum",
    version=1,
    title="Size of a private set intersection, and the sum of a column over it",
    learns={
        "receiver": (
            "how many items both hold",
            "the sum of the sender's column over these items; of a single item that is its value",
            "how many items the sender holds",
        ),
        "sender": (
            "how many items the receiver holds",
            "whether the agreed minimum of matches was reached",
            "count and sum, where both parties are to learn the result",
        ),
    },
)

_LIMIT = 1 << 63


@dataclass(frozen=True)
class SumResult:
    """What one party has of it.

    Attributes:
        count: how many keys both parties hold; None where this party was not to learn it.
        total: the sum of the sender's values over them; None where `count` is.
        peer_size: how many distinct keys the peer brought.
    """

    count: int | None
    total: int | None = field(repr=False)
    peer_size: int


def total(
    session: Session,
    items: Column | tuple[Column, ...],
    values: Amounts | None = None,
    *,
    peer: str,
    bound: int,
    minimum: int = 1,
    reveal_to: Reveal = "both",
    suite: str | Suite = "intl",
    form: str = "text",
    duplicates: Duplicates = "error",
) -> SumResult:
    """Sum one party's column over the keys that both hold. Both call it, the one with the column passing `values`.

    The party without the column always learns, since it is the one that can tell matches.
    Whatever goes wrong ends the conversation with the peer, so that it fails too and does not wait.

    Args:
        session: this party's run.
        items: the keys, as for ``psi.intersect``.
        values: a whole number for each row; None at the party without the column.
        peer: name of the other party.
        bound: largest absolute value of a key's number, the same at both parties. A public figure, such as the largest
            amount that the column's meaning allows: not the largest that occurs.
        minimum: with fewer matches than this no sum opens, and both get a PolicyError. The same at both parties.
        reveal_to: "both", or "me" at the party without the column, which is "peer" at the one with it.
        suite: cipher suite or its name.
        form: canonical form of the keys.
        duplicates: of a key in several rows: "error", or "first" for its first row's value, or "many" for their sum.

    Raises:
        InvalidIdentifier: a row whose key is not of the form.
        UsageError: values that are no whole numbers or pass the bound, sums that might pass 64 bits, a key in several
            rows, options that there are not.
        PolicyError: fewer matches than `minimum`.
        PeerError: the peer runs something else (the text names it), or broke the protocol.
        ChannelError: the connection failed.
    """
    channel = session.channel(peer)
    try:
        chosen = suites.get(suite) if isinstance(suite, str) else suite
        if not 1 <= bound < _LIMIT or not 0 <= minimum < _LIMIT:
            raise UsageError(f"bound is 1 to 2^63 - 1 and minimum not negative; got {bound} and {minimum}.")
        if reveal_to == ("peer" if values is None else "me"):
            raise UsageError("The party without the column learns the sum: pass reveal_to='me' there, or 'both'.")
        mine = collect(items, form=form, duplicates=duplicates, rng=session.rng)
        amounts = None if values is None else amounts_by_key(values, mine, bound=bound)
        size = len(mine.keys)
        terms = Terms([OPERATOR], chosen, "semi-honest", form, reveal_to, size, bound, minimum, amounts is not None)
        agreed = agree(channel, terms, rng=session.rng)
        _require_exact(min(size, agreed.peer_size), bound)
        if amounts is None:
            found: tuple[int, int] | None = receive(
                channel,
                mine.keys,
                agreed,
                bound=bound,
                minimum=minimum,
                suite=chosen,
                rng=session.rng,
                progress=session.progress,
            )
        else:
            found = send(
                channel,
                mine.keys,
                amounts,
                agreed,
                bound=bound,
                minimum=minimum,
                suite=chosen,
                rng=session.rng,
                progress=session.progress,
            )
        return SumResult(found and found[0], found and found[1], agreed.peer_size)
    except BaseException as error:
        channel.close(f"a sum broke off ({type(error).__name__})")
        raise


def receive(
    channel: Channel,
    keys: Packed,
    agreed: Agreed,
    *,
    bound: int,
    minimum: int,
    suite: Suite,
    rng: Rng,
    progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[int, int]:
    """The receiver's side.

    Args:
        channel: to the sender.
        keys: n distinct canonical keys.
        agreed: what `agreement.agree` gave.
        bound: largest absolute value of a number.
        minimum: fewest matches under which a sum opens.
        suite: whose group is used.
        rng: the secret, and the transfers'.
        progress: called with the stage "psi.sum", in items of both sets.

    Returns:
        Count and sum.

    Raises:
        UsageError: two keys are the same.
        PolicyError: too few matches.
        PeerError: a malformed message, or a sum that so many values within the bound cannot have.
    """
    size = len(keys) + agreed.peer_size
    positions = dh.count_receive(
        channel, keys, agreed, suite=suite, rng=rng, report=lambda done: progress(Progress(OPERATOR.name, done, size))
    )
    count = len(positions)
    if minimum:
        channel.send(wire.Enough(enough=count >= minimum))
        if count < minimum:
            raise _too_few(minimum)
    bits = np.zeros(agreed.peer_size, dtype=np.bool_)
    bits[positions] = True
    shares = cot.additive_receive(channel, bits, suite=suite, rng=rng)
    (theirs,) = channel.recv(wire.Share)
    opened = (int(shares.sum(dtype=np.uint64)) + theirs.share) % (1 << 64)
    opened -= (opened >= _LIMIT) << 64
    channel.require(abs(opened) <= count * bound, "a sum that values within the bound can have")
    if agreed.both:
        channel.send(wire.Outcome(count=count, total=opened))
    return count, opened


def send(
    channel: Channel,
    keys: Packed,
    amounts: NDArray[np.int64],
    agreed: Agreed,
    *,
    bound: int,
    minimum: int,
    suite: Suite,
    rng: Rng,
    progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[int, int] | None:
    """The sender's side: `amounts`, (n,) int64, has the value of each key. The rest as for `receive`.

    Returns None where the receiver alone learns.
    """
    size = len(keys) + agreed.peer_size
    order = dh.count_send(
        channel, keys, agreed, suite=suite, rng=rng, report=lambda done: progress(Progress(OPERATOR.name, done, size))
    )
    if minimum:
        (verdict,) = channel.recv(wire.Enough)
        if not verdict.enough:
            raise _too_few(minimum)
    shares = cot.additive_send(channel, amounts[order].view(np.uint64), suite=suite, rng=rng)
    channel.send(wire.Share(share=int(shares.sum(dtype=np.uint64))))
    if not agreed.both:
        return None
    (outcome,) = channel.recv(wire.Outcome)
    possible = outcome.count <= min(len(keys), agreed.peer_size) and abs(outcome.total) <= outcome.count * bound
    channel.require(possible and outcome.count >= minimum, "a count and a sum that there can be")
    return int(outcome.count), int(outcome.total)


def _too_few(minimum: int) -> PolicyError:
    return PolicyError(
        f"Fewer than {minimum} keys match, so that no sum may open.",
        code="too-few-matches",
        remedy="Ask about more keys.",
    )


def _require_exact(size: int, bound: int) -> None:
    if size * bound >= _LIMIT:
        raise UsageError(
            f"The sum of {size} values up to {bound} may pass 64 bits: agree on a lower bound, or sum in larger units."
        )
