"""Which protocol finds an intersection: those that there are, and the rule by which both parties choose alike."""

from __future__ import annotations

from typing import Literal

from mpc.errors import UsageError
from protocols.psi import ecdh, rr22

Protocol = Literal["auto", "rr22", "ecdh"]

OPERATORS = {"ecdh": ecdh.OPERATOR, "rr22": rr22.OPERATOR}
RUNS = {"ecdh": (ecdh.receive, ecdh.send), "rr22": (rr22.receive, rr22.send)}
"""By name, the receiver's side and the sender's."""

_RR22_FROM = 1 << 10  # items of the larger set, from which on its set-up pays


def candidates(protocol: str, security: str, reveal_to: str) -> tuple[str, ...]:
    """Which protocols may run, that for small sets first. UsageError where the options do not go together."""
    if security == "malicious":
        if protocol == "ecdh":
            raise UsageError("ecdh is for semi-honest peers alone: for security='malicious' take protocol='rr22'.")
        if reveal_to == "both":
            raise UsageError(
                "security='malicious' protects a result that only its receiver learns: pass reveal_to='me' or 'peer'."
            )
        return ("rr22",)
    if protocol == "auto":
        return tuple(RUNS)
    if protocol not in RUNS:
        raise UsageError(f"There is no protocol {protocol!r}; choose one of auto, {', '.join(RUNS)}.")
    return (protocol,)


def pick(names: tuple[str, ...], size: int, peer_size: int) -> str:
    """Of what `candidates` gave, the one for sets of these sizes."""
    return names[0 if max(size, peer_size) < _RR22_FROM else -1]
