"""Sending and receiving at once on one channel, each many messages long, neither waiting for the other."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

from mpc.channel import Channel
from mpc.errors import ChannelClosed, ChannelError


def both_ways(channel: Channel, send: Callable[[], None], receive: Callable[[], None]) -> None:
    """Run `send` in a thread of its own while `receive` runs here, as ``Channel.exchange`` does for a message each.

    Whichever fails closes the channel, so that the other ends too. Raises what failed first.
    """
    failure: list[BaseException] = []

    def run() -> None:
        try:
            send()
        except BaseException as error:
            failure.append(error)
            channel.close("sending broke off")

    # In the caller's context, so that what follows the caller about (a simulated clock) is in both threads.
    context = contextvars.copy_context()
    sender = threading.Thread(target=context.run, args=(run,), name=f"sending to {channel.peer}", daemon=True)
    sender.start()
    try:
        receive()
    except BaseException as error:
        channel.close("receiving broke off")
        sender.join()
        if isinstance(error, ChannelClosed) and failure and not isinstance(failure[0], ChannelError):
            raise failure[0] from None  # the cause, of which the closed channel is a consequence
        raise
    sender.join()
    if failure:
        raise failure[0]
