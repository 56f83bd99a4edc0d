"""Session: everything one party brings to one run of a protocol, besides its inputs."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from mpc.channel import Channel
from mpc.errors import ChannelError, UsageError
from mpc.rng import Rng

T = TypeVar("T")


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


@contextmanager
def closing_on_error(session: Session, what: str) -> Iterator[None]:
    """Whatever goes wrong at this party ends its conversations, so that the others fail too and do not wait.

    `what` broke off is what they are told, and the error's type.
    """
    try:
        yield
    except BaseException as error:
        session.close(f"{what} broke off ({type(error).__name__})")
        raise


def at_once(
    session: Session, peers: Sequence[str], talk: Callable[[Channel, Rng], T], *, most: int = 64
) -> Iterator[tuple[str, T]]:
    """Hold a conversation with each of several peers, all at a time, each in a thread with randomness of its own.

    Args:
        session: this party's run.
        peers: with whom.
        talk: one conversation, over the channel to a peer.
        most: how many go on at a time; the others' peers wait meanwhile.

    Returns:
        Peers and what `talk` returned for them, as they come to an end.

    Raises:
        What one of the conversations raises, and not an error of the others that merely follows from it: where one
        fails, all channels of the session are closed, and all have ended when the error is raised.
    """
    context = contextvars.copy_context()
    with ThreadPoolExecutor(min(max(len(peers), 1), most), thread_name_prefix="conversation") as pool:
        asked = {pool.submit(context.copy().run, talk, session.channel(p), session.rng.fork()): p for p in peers}
        try:
            for answer in as_completed(asked):
                yield asked[answer], answer.result()
        except BaseException as error:
            session.close(f"a conversation of several broke off ({type(error).__name__})")
            wait(asked)
            causes = [
                cause for answer in asked if (cause := answer.exception()) and not isinstance(cause, ChannelError)
            ]
            raise causes[0] if isinstance(error, ChannelError) and causes else error from None
