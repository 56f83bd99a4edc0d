"""Sums over many parties through two servers that do not collude, some of which drop out.

Every party adds one stream to its array and sends the array to the server that collects, and the stream's seed to the
server that unmasks. That one expands the seeds of all whose arrays have come and sends the sum of the streams; taken
from the sum of the arrays it leaves the sum. Parties have nothing to do with each other: one pass of AES over the
array.

Security: semi-honest; each server may collude with any parties and not with the other server. AES-128 in counter mode.
          The server that unmasks answers once a run and for no fewer than `minimum` parties; it takes the other's word
          for whose arrays have come, so one that collects and deviates can have some of them left out of the sum.
Leaks:    to the server that collects, and where all are told to the parties, the sum (and the sum of weights); to both
          servers and the parties the names of who is in it and who dropped out. The server that unmasks sees names and
          sizes alone.
Cost:     with w words: a party sends 8·w + 70 bytes a piece of 2^18 words to the one server and 16 to the other, and
          some 100 of terms to each, and where all are told receives 8·w; 2 rounds with one server, 1 with the other.
          8·w between the servers. Each party expands w words of AES-CTR, the server that unmasks w for each party.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from mpc.errors import PolicyError, UsageError
from mpc.kernels import mask, wipe
from mpc.session import Progress, Session
from mpc.wire.aggregation.v1 import aggregation_pb2 as wire
from protocols.aggregation.crowd import Crowd, read_arrays, receive_total, receive_words, send_total, send_words
from protocols.aggregation.rules import Rules, check_terms, layout_of, next_step, next_turn, too_few
from protocols.aggregation.vector import FRACTION, Aggregate, Layout, Words, vector
from protocols.operator import Operator

OPERATOR = Operator(
    name="aggregation.sum.two-servers",
    version=1,
    title="Sum of arrays over many parties through two servers that do not collude",
    learns={
        "collector": (
            "the sum of the arrays of all parties that did not drop out",
            "who took part and who dropped out",
        ),
        "unmasker": ("who took part and who dropped out", "how large the arrays are"),
        "party": (
            "who took part and who dropped out",
            "the sum of the arrays of all parties that did not drop out, where all are to learn it",
        ),
    },
)

_METHOD = "two"
_UNMASK = 1 << 20  # words that are expanded before they are sent


def contribute(
    session: Session,
    values: ArrayLike,
    *,
    collector: str,
    unmasker: str,
    weight: ArrayLike | None = None,
    fraction: int = FRACTION,
    rules: Rules | None = None,
) -> Aggregate | None:
    """Add an array to the sum of a run. Arguments, result and errors are those of ``aggregation.contribute``."""
    to, beside = session.channel(collector), session.channel(unmasker)
    try:
        agreed = _checked(rules)
        mine = vector(values, weight=weight, fraction=fraction)
        layout = mine.layout
        terms = agreed.terms(layout, method=_METHOD)
        seed = session.rng.uint8(1, mask.KEY_BYTES)
        beside.send(wire.Deposit(terms=terms), seed[0])  # 1
        beside.recv(wire.Held)  # 2
        to.send(wire.Offer(terms=terms))  # 3
        mine.require_room(next_turn(to))  # 4
        plus = np.zeros(1, dtype=np.bool_)

        def masked(start: int, stop: int) -> Words:
            words = mine.words(start, stop)
            mask.apply(seed, plus, words, first=start)
            session.progress(Progress(f"{OPERATOR.name}: send", stop, layout.words))
            return words

        send_words(to, layout.words, masked)  # 5
        wipe(seed)
        (closed,) = next_step(to, wire.Closed)  # 8
        if not agreed.tells(session.me):
            return None
        return receive_total(to, layout, closed)
    except BaseException as error:
        for channel in (to, beside):
            channel.close(f"{session.me} left the sum ({type(error).__name__})")
        raise


def collect(
    session: Session,
    *,
    unmasker: str,
    parties: Iterable[str] | None = None,
    rules: Rules | None = None,
    readers: int = 2,
) -> Aggregate:
    """Sum the arrays of all parties that do not drop out, with the help of `unmasker`.

    Args:
        session: with a channel to each party and to the other server.
        unmasker: the other server.
        parties: whose arrays; all others that the session has a channel to by default.
        rules: the same at all.
        readers: how many arrays are received at the same time; each takes its size in memory until it is whole.

    Raises:
        PolicyError: too few parties were left; nothing was opened.
        PeerError: a party or the other server runs something else, or broke the protocol. The run ends for all.
    """
    helper = session.channel(unmasker)
    crowd = Crowd(session, set(session.channels) - {unmasker} if parties is None else parties, stage=OPERATOR.name)
    names = crowd.present
    try:
        agreed = _checked(rules)
        offers = crowd.ask("offer", names, lambda channel: channel.recv(wire.Offer)[0])  # 3
        deposited = helper.recv(wire.Deposited)[0]
        layout: Layout | None = None
        for name, offer in offers.items():
            layout = layout or layout_of(crowd.channel(name), offer.terms)
            check_terms(crowd.channel(name), agreed.terms(layout, method=_METHOD), offer.terms)
        ready = sorted(set(offers) & set(deposited.parties))
        total = np.zeros(layout.words if layout else 0, dtype=np.uint64)
        if layout and ready:
            check_terms(helper, agreed.terms(layout, method=_METHOD), deposited.terms)
        for name in set(offers) - set(ready):
            crowd.drop(name, "its seed did not come")
        survivors = read_arrays(crowd, ready, total, at_once=readers)  # 4, 5
        helper.send(wire.Expand(survivors=survivors))  # 6
        if layout is None or len(survivors) < agreed.minimum:
            crowd.refuse(len(survivors), agreed.minimum)
            raise too_few(len(survivors), agreed.minimum)

        def take(start: int, words: Words) -> None:
            part = total[start : start + len(words)]
            np.subtract(part, words, out=part)
            session.progress(Progress(f"{OPERATOR.name}: unmask", start + len(words), len(total)))

        receive_words(helper, len(total), take)  # 7
        return send_total(crowd, layout, total, survivors, survivors, names, tells=agreed.tells)  # 8
    except PolicyError:
        raise  # the parties have been told, and end by themselves
    except BaseException as error:
        session.close(f"the sum broke off ({type(error).__name__})")
        raise


def unmask(
    session: Session, *, collector: str, parties: Iterable[str] | None = None, rules: Rules | None = None
) -> tuple[str, ...]:
    """Hold the parties' seeds and expand those of the survivors, once.

    Args:
        session: with a channel to each party and to the other server.
        collector: the other server.
        parties: whose seeds; all others that the session has a channel to by default.
        rules: the same at all.

    Returns:
        The names of the survivors.

    Raises:
        PolicyError: too few parties were left; nothing was opened.
        PeerError: a party or the other server runs something else, or broke the protocol. The run ends for all.
    """
    to = session.channel(collector)
    crowd = Crowd(session, set(session.channels) - {collector} if parties is None else parties, stage=OPERATOR.name)
    names = crowd.present
    try:
        agreed = _checked(rules)
        deposits = crowd.ask("deposit", names, lambda channel: channel.recv(wire.Deposit))  # 1
        layout: Layout | None = None
        for name, (header, _) in deposits.items():
            layout = layout or layout_of(crowd.channel(name), header.terms)
            check_terms(crowd.channel(name), agreed.terms(layout, method=_METHOD), header.terms)
        crowd.ask("held", deposits, lambda channel: channel.send(wire.Held()))  # 2
        terms = agreed.terms(layout, method=_METHOD) if layout else None
        to.send(wire.Deposited(terms=terms, parties=deposits))
        survivors = tuple(to.recv(wire.Expand)[0].survivors)  # 6
        known = list(survivors) == sorted(set(survivors)) and set(survivors) <= set(deposits)
        to.require(known, "parties whose seeds are here, each once")
        if layout is None or len(survivors) < agreed.minimum:
            raise too_few(len(survivors), agreed.minimum)
        seeds = np.stack([deposits[name][1] for name in survivors])
        plus = np.zeros(len(seeds), dtype=np.bool_)
        made = np.empty(0, dtype=np.uint64)
        begin = 0

        def stream(start: int, stop: int) -> Words:
            nonlocal made, begin
            if start >= begin + len(made):  # several pieces at a time, for the threads
                begin, made = start, np.zeros(min(_UNMASK, layout.words - start), dtype=np.uint64)
                mask.apply(seeds, plus, made, first=start)
                session.progress(Progress(f"{OPERATOR.name}: unmask", start + len(made), layout.words))
            return made[start - begin : stop - begin]

        send_words(to, layout.words, stream)  # 7
        wipe(seeds)
        return survivors
    except PolicyError:
        raise  # the other server finds the same, and tells the parties
    except BaseException as error:
        session.close(f"the sum broke off ({type(error).__name__})")
        raise


def _checked(rules: Rules | None) -> Rules:
    agreed = rules or Rules()
    if agreed.security != "semi-honest" or agreed.threshold is not None:
        raise UsageError("With two servers there is neither a threshold nor a malicious variant: leave both out.")
    return agreed
