"""What the parties of a sum agree on beforehand, and hold against each other's words before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from google.protobuf.message import Message

from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import PolicyError, UsageError
from mpc.wire.aggregation.v1 import aggregation_pb2 as wire
from protocols.aggregation import graph
from protocols.aggregation.vector import MAX_WORDS, Layout

VERSION = 1

_SHOWN = 200  # characters of what a peer says that an error text repeats


@dataclass(frozen=True)
class Rules:
    """Options of a sum, the same at all parties.

    Attributes:
        suite: name of the cipher suite.
        minimum: the fewest parties whose sum may be opened, the aggregator's own array counted; 2 at least.
        threshold: how many holders restore a secret; None for the fewest that are safe, which is also the least
            allowed: more than half of the parties, more than two thirds with malicious security, and what
            ``protocols.aggregation.graph`` says above 64 parties.
        max_dropout: share of the parties that may drop out, above 64 parties.
        max_corrupt: share of the parties that may collude with the aggregator, above 64 parties.
        reveal_to: who is told the sum besides the aggregator: ``all`` parties, nobody (``aggregator``), or the named.
        security: ``semi-honest``, or ``malicious``: privacy against an aggregator that does not follow the protocol.
        run: with malicious security the run's name, which no other run of these parties has had.

    Raises:
        UsageError: options that there are not.
    """

    suite: str = "intl"
    minimum: int = 3
    threshold: int | None = None
    max_dropout: float = 1 / 3
    max_corrupt: float = 1 / 5
    reveal_to: Literal["all", "aggregator"] | tuple[str, ...] = "all"
    security: Literal["semi-honest", "malicious"] = "semi-honest"
    run: str = ""

    def __post_init__(self) -> None:
        suites.get(self.suite)
        if self.minimum < 2:
            raise UsageError("minimum is 2 at least: the sum of one party's array is that array.")
        if self.threshold is not None and self.threshold < 1:
            raise UsageError("threshold counts holders of shares: leave it out, or raise it.")
        if not (0 <= self.max_dropout < 1 and 0 <= self.max_corrupt < 1):
            raise UsageError("max_dropout and max_corrupt are shares of the parties, from 0 to below 1.")
        if self.reveal_to not in ("all", "aggregator") and not isinstance(self.reveal_to, tuple):
            raise UsageError(f"reveal_to is 'all', 'aggregator' or a tuple of parties' names, not {self.reveal_to!r}.")
        if self.security not in ("semi-honest", "malicious"):
            raise UsageError(f"security is 'semi-honest' or 'malicious', not {self.security!r}.")
        if (self.security == "malicious") != bool(self.run):
            raise UsageError("A run has a name, `run`, with malicious security and only then: parties sign under it.")

    def tells(self, party: str) -> bool:
        """Whether a party, other than the aggregator, is told the sum."""
        return self.reveal_to == "all" or (isinstance(self.reveal_to, tuple) and party in self.reveal_to)

    def shape(self, parties: int) -> graph.Shape:
        """Neighbours, threshold and fewest survivors of so many parties, the aggregator not counted.

        Raises:
            UsageError: a threshold that is not safe or cannot be reached.
        """
        if not 2 <= parties <= graph.MAX_PARTIES:
            raise UsageError(f"{parties} parties besides the aggregator: bring 2 to {graph.MAX_PARTIES}.")
        malicious = self.security == "malicious"
        if parties <= graph.COMPLETE or malicious:
            shape = graph.complete(parties, (2 * parties // 3 if malicious else parties // 2) + 1)
        else:
            shape = graph.sparse(
                parties,
                max_dropout=_thousandths(self.max_dropout) / 1e3,
                max_corrupt=_thousandths(self.max_corrupt) / 1e3,
            )
        if self.threshold is None:
            return shape
        if not shape.threshold <= self.threshold <= shape.neighbours + 1:
            raise UsageError(
                f"A threshold of {self.threshold} among {shape.neighbours + 1} holders: choose from {shape.threshold} "
                f"to {shape.neighbours + 1}, or leave it out."
            )
        return replace(shape, threshold=self.threshold, survivors=max(shape.survivors, min(self.threshold, parties)))

    def terms(self, layout: Layout, *, method: str) -> wire.Terms:
        """These rules, and what the array is like, as a message."""
        return wire.Terms(
            version=VERSION,
            method=method,
            suite=self.suite,
            security=self.security,
            kind=layout.kind,
            fraction=layout.fraction,
            shape=layout.shape,
            weight=layout.weight,
            minimum=self.minimum,
            threshold=self.threshold or 0,
            max_dropout=_thousandths(self.max_dropout),
            max_corrupt=_thousandths(self.max_corrupt),
            reveal_to=self.reveal_to if isinstance(self.reveal_to, str) else ", ".join(sorted(self.reveal_to)),
            run=self.run,
        )


def _thousandths(share: float) -> int:
    return round(1000 * share)


def check_terms(channel: Channel, expected: wire.Terms, theirs: wire.Terms) -> None:
    """PeerError, naming the first word, where the peer's last message states other terms than this side's."""
    for field in wire.Terms.DESCRIPTOR.fields:
        here, there = getattr(expected, field.name), getattr(theirs, field.name)
        if field.name == "shape":
            here, there = tuple(here), tuple(there)
        what = field.name.replace("_", " ")
        channel.require(here == there, f"one {what} at all parties: {_shown(here)} here, {_shown(there)} there")


def layout_of(channel: Channel, theirs: wire.Terms) -> Layout:
    """The layout that a party states, where this side has no array of its own to compare with."""
    kind, weight = theirs.kind, theirs.weight
    channel.require(kind in ("integer", "real") and weight in ("none", "one", "each"), "a layout that there is")
    channel.require(len(theirs.shape) <= 64, "an array of at most 64 dimensions")
    layout = Layout(kind, theirs.fraction, tuple(theirs.shape), weight)  # type: ignore[arg-type]
    channel.require(theirs.fraction <= 40 and layout.words <= MAX_WORDS, f"at most {MAX_WORDS} words")
    return layout


def next_step(channel: Channel, step: type[Message]) -> tuple[Any, ...]:
    """The next message of who collects. Raises PolicyError where it is that too few parties are left."""
    header, *arrays = channel.recv(step, wire.TooFew)
    if isinstance(header, wire.TooFew):
        raise too_few(header.left, header.needed)
    return (header, *arrays)


def next_turn(channel: Channel) -> int:
    """Wait for one's turn, where there is no roster; how many arrays there may be in the sum."""
    (turn,) = next_step(channel, wire.Turn)
    parties: int = turn.parties
    channel.require(1 <= parties <= graph.MAX_PARTIES, f"1 to {graph.MAX_PARTIES} parties")
    return parties


def too_few(left: int, needed: int) -> PolicyError:
    """The error of a sum of too few parties."""
    return PolicyError(
        f"{left} parties are left, {needed} are needed for a sum: nothing was opened",
        code="too-few-survivors",
        remedy="Run again when more of them can be reached.",
    )


def _shown(value: object) -> str:
    """A peer may say any text, of any length."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
