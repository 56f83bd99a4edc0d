"""Session: everything one party brings to one run of a protocol, besides its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.rng import Rng


@dataclass(frozen=True)
class Progress:
    """How far a stage of long work has come. `total` is 0 where it is not known."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Session:
    """My name, my channels and my randomness.

    Attributes:
        me: this party's name.
        channels: one channel per peer, by the peer's name.
        rng: this party's randomness.
        progress: called with a ``Progress`` now and then; does nothing by default.
    """

    me: str
    channels: Mapping[str, Channel]
    rng: Rng = field(default_factory=Rng)
    progress: Callable[[Progress], None] = lambda _: None

    @property
    def parties(self) -> tuple[str, ...]:
        """All parties of the run in sorted order: the same tuple at every party."""
        return tuple(sorted((self.me, *self.channels)))

    def channel(self, peer: str) -> Channel:
        """The channel to `peer`; UsageError if `peer` takes no part."""
        if peer not in self.channels:
            raise UsageError(f"{self.me} has no channel to {peer!r}; this session has {sorted(self.channels)}.")
        return self.channels[peer]

    def close(self, reason: str = "") -> None:
        """End all conversations."""
        for channel in self.channels.values():
            channel.close(reason)
