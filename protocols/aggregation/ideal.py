"""The ideal twin of sums over many parties: the aggregator sees every array as it is. It protects nothing.

For tests of what is built above, and as the measure of what masks cost: the same messages, and the same words in them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from mpc.errors import PolicyError
from mpc.session import Session
from mpc.wire.aggregation.v1 import aggregation_pb2 as wire
from protocols.aggregation.crowd import Crowd, read_arrays, receive_total, send_total, send_words
from protocols.aggregation.rules import Rules, check_terms, layout_of, next_step, next_turn, too_few
from protocols.aggregation.vector import FRACTION, Aggregate, Layout, vector

_METHOD = "plain"


def contribute(
    session: Session,
    values: ArrayLike,
    *,
    aggregator: str,
    weight: ArrayLike | None = None,
    fraction: int = FRACTION,
    rules: Rules | None = None,
) -> Aggregate | None:
    """As ``aggregation.contribute``, without masks."""
    channel, agreed = session.channel(aggregator), rules or Rules()
    try:
        mine = vector(values, weight=weight, fraction=fraction)
        channel.send(wire.Offer(terms=agreed.terms(mine.layout, method=_METHOD)))
        mine.require_room(next_turn(channel))
        send_words(channel, mine.layout.words, mine.words)
        (closed,) = next_step(channel, wire.Closed)
        return receive_total(channel, mine.layout, closed) if agreed.tells(session.me) else None
    except BaseException as error:
        channel.close(f"{session.me} left the sum ({type(error).__name__})")
        raise


def collect(
    session: Session, *, parties: Iterable[str] | None = None, rules: Rules | None = None, readers: int = 2
) -> Aggregate:
    """As ``aggregation.collect``, without masks and without an array of the aggregator's own."""
    agreed = rules or Rules()
    crowd = Crowd(session, session.channels if parties is None else parties, stage="aggregation.ideal")
    try:
        offers = crowd.ask("offer", crowd.present, lambda channel: channel.recv(wire.Offer)[0])
        layout: Layout | None = None
        for name, offer in offers.items():
            layout = layout or layout_of(crowd.channel(name), offer.terms)
            check_terms(crowd.channel(name), agreed.terms(layout, method=_METHOD), offer.terms)
        total = np.zeros(layout.words if layout else 0, dtype=np.uint64)
        survivors = read_arrays(crowd, offers, total, at_once=readers)
        if layout is None or len(survivors) < agreed.minimum:
            crowd.refuse(len(survivors), agreed.minimum)
            raise too_few(len(survivors), agreed.minimum)
        return send_total(crowd, layout, total, survivors, survivors, offers, tells=agreed.tells)
    except PolicyError:
        raise  # the parties have been told, and end by themselves
    except BaseException as error:
        crowd.close(f"the sum broke off ({type(error).__name__})")
        raise
