"""What the tests of all private set intersections share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from mpc import suite as suites
from mpc.channel import Channel, Traffic
from mpc.errors import UsageError
from mpc.kernels.packing import Packed
from mpc.session import Session
from mpc.suite import Suite
from mpc.testing import run_parties
from protocols import psi
from protocols.operator import Operator
from protocols.psi.agreement import Agreed, Reveal, Security, Terms, agree


def existing(*names: str) -> list[Suite]:
    """The suites of those names that this tree has."""
    found = []
    for name in names:
        try:
            found.append(suites.get(name))
        except UsageError:
            continue
    return found


SUITES = existing("intl", "gm")
OTHER: dict[Reveal, Reveal] = {"both": "both", "me": "peer", "peer": "me"}
"""What the peer has to say where one party says who learns."""


def intersected(
    bank: object,
    insurer: object,
    *,
    reveal_to: Reveal = "both",
    parties: dict[str, Any] | None = None,
    **options: object,
) -> tuple[psi.PsiResult, psi.PsiResult]:
    """What `intersect` gives the bank and the insurer, who call it with their items and the same options."""
    results = run_parties(
        {
            "bank": lambda s: psi.intersect(s, bank, peer="insurer", reveal_to=reveal_to, **options),
            "insurer": lambda s: psi.intersect(s, insurer, peer="bank", reveal_to=OTHER[reveal_to], **options),
        },
        protocol="psi",
        **(parties or {}),
    )
    return results["bank"], results["insurer"]


Ran: TypeAlias = tuple[Any, Any, Traffic, Traffic]
Run: TypeAlias = Callable[[Channel, Agreed, Session], Any]


def between(
    operator: Operator,
    sizes: tuple[int, int],
    receive: Run,
    send: Run,
    *,
    suite: Suite,
    both: bool = False,
    security: Security = "semi-honest",
    terms: dict[str, Any] | None = None,
    **options: object,
) -> Ran:
    """Run a receiver and a sender below the façade; also what each sent and received after the agreement."""
    traffic: dict[str, Traffic] = {}

    def party(peer: str, run: Run, size: int, reveal_to: Reveal) -> Callable[[Session], Any]:
        def function(s: Session) -> object:
            channel = s.channel(peer)
            words = Terms([operator], suite, security, "bytes", "both" if both else reveal_to, size, **(terms or {}))
            agreed = agree(channel, words, rng=s.rng)
            before = channel.traffic
            result = run(channel, agreed, s)
            after = channel.traffic
            fields = Traffic.__dataclass_fields__
            traffic[s.me] = Traffic(*(getattr(after, f) - getattr(before, f) for f in fields))
            return result

        return function

    names = ("alice", "bob")  # where both learn, of equal sizes the first is the receiver
    results = run_parties(
        {
            names[0]: party(names[1], receive, sizes[0], "me"),
            names[1]: party(names[0], send, sizes[1], "peer"),
        },
        protocol=operator.name,
        **options,
    )
    return results[names[0]], results[names[1]], traffic[names[0]], traffic[names[1]]


def keys_of(packed: Packed, rows: Sequence[int]) -> list[bytes]:
    """The keys in some rows."""
    every = list(packed)
    return [every[row] for row in rows]
