"""The errors of this library.

    MpcError
    ├── UsageError            you misused the library; the text says what to do instead
    ├── PeerError             a peer broke the protocol; names the party, the protocol and the step
    │   └── CheatingDetected  ... in a way that an honest but faulty peer does not
    ├── ChannelError          the connection, not the peer's logic
    │   ├── ChannelClosed     the other end is gone
    │   └── ChannelTimeout    the other end is silent for longer than allowed
    └── PolicyError           a grant, consent, quota, policy or disclosure rule said no

Local misuse and remote misbehaviour are different errors, because different people have to act on them.
No text here may depend on a secret: it names lengths, indices, parties and steps, never values.
"""

from __future__ import annotations


class MpcError(Exception):
    """Base of every error that this library raises on purpose."""


class UsageError(MpcError):
    """The caller misused the library. The message ends with the remedy."""


class PeerError(MpcError):
    """A peer sent something that the protocol does not allow.

    Attributes:
        party: name of the peer, as proved by its certificate.
        protocol: operator name, such as ``lookup.table``.
        step: message or step at which it was noticed, such as ``Evaluation``.
    """

    def __init__(self, message: str, *, party: str, protocol: str, step: str) -> None:
        super().__init__(f"{party} broke {protocol} at {step}: {message}")
        self.reason = message
        self.party = party
        self.protocol = protocol
        self.step = step


class CheatingDetected(PeerError):
    """The peer's message cannot come from a fault: a proof failed, or two signed statements contradict each other."""


class ChannelError(MpcError):
    """The connection to a peer failed."""


class ChannelClosed(ChannelError):
    """The peer ended the connection, or it was lost for longer than the resume window."""


class ChannelTimeout(ChannelError):
    """Nothing arrived from the peer within the time allowed."""


class PolicyError(MpcError):
    """A rule refused the request.

    Attributes:
        code: short machine-readable reason in kebab case, such as ``consent-expired``.
        remedy: what the reader can do about it; empty where only the rule's owner can act.
    """

    def __init__(self, message: str, *, code: str, remedy: str = "") -> None:
        super().__init__(f"{message} [{code}]" + (f" {remedy}" if remedy else ""))
        self.reason = message
        self.code = code
        self.remedy = remedy
