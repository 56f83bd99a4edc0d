"""Sums over many parties through one aggregator, some of which drop out [Bonawitz et al., CCS 2017; Bell et al., CCS
2020].

Every party adds to its array the streams of one key of its own and of one key with each neighbour; of two neighbours
one adds and the other subtracts. In the sum the streams of neighbours cancel. What does not cancel, the aggregator
takes out: the own streams of those whose arrays are in the sum, and the streams that survivors have with those who
dropped out. The secrets of which these streams are made are shared among the neighbours (Shamir), who open for each
party one or the other, and never both.

Security: semi-honest: the aggregator, pooling what it sees with fewer parties than the threshold, learns the sum of
          the others' arrays and no more. The threshold is above n/2; above 64 parties the graph's, under the shares of
          dropping and colluding parties that the rules state (``protocols/aggregation/graph.py``). CDH in the suite's
          group with its hash a random oracle, AES-128 in counter mode, AES-GCM (intl) or SM4-GCM (gm).
          malicious: keys and survivor sets are signed, the threshold is above 2n/3, and a party masks with no fewer:
          an aggregator that colludes with fewer than n/3 parties and deviates as it likes learns no more than one sum
          over at least the threshold's number of parties. n are those that it says have joined, `minimum` at least:
          against c that collude, let `minimum` be above 3c + 1, since it may also say that it adds an array. Whether
          the sum is right it decides, and any party can spoil it in either model.
Leaks:    to the aggregator, and where all are told to the parties, the sum (and the sum of weights); to everybody the
          names of who joined, and who is in the sum. A sum says what it says: with few parties, or a repetition
          without one of them, much of single arrays.
Cost:     with w words, k neighbours and elements of E bytes, a party sends 8·w + 70 bytes a piece of 2^18 words, about
          112·k + 2·E of keys and shares, and 32·k + 64·d for opening, d of its neighbours having dropped out; it
          receives 2·E + 116 bytes for each neighbour, all names, and where all are told 8·w. 4 rounds (5 malicious).
          A party expands (k + 1)·w words of AES-CTR, the aggregator one stream for each survivor and one for each
          pair of a survivor and a neighbour that dropped out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import PeerError, PolicyError, UsageError
from mpc.kernels import InvalidEncoding, mask, wipe
from mpc.session import Progress, Session
from mpc.sharing import InconsistentShares, shamir_reconstruct, shamir_share
from mpc.wire.aggregation.v1 import aggregation_pb2 as wire
from protocols.aggregation import graph, keys
from protocols.aggregation.crowd import Crowd, add, read_arrays, receive_total, send_total, send_words
from protocols.aggregation.keys import MASKING, SEALING, Identity
from protocols.aggregation.rules import Rules, check_terms, layout_of, next_step, too_few
from protocols.aggregation.vector import FRACTION, PIECE, Aggregate, Layout, Vector, Words, vector
from protocols.operator import Operator

OPERATOR = Operator(
    name="aggregation.sum",
    version=1,
    title="Sum of arrays over many parties through one aggregator",
    learns={
        "aggregator": (
            "the sum of the arrays of all parties that did not drop out",
            "who took part and who dropped out",
        ),
        "party": (
            "who took part and who dropped out",
            "the sum of the arrays of all parties that did not drop out, where all are to learn it",
        ),
    },
)

Bytes = NDArray[np.uint8]
Shares = NDArray[np.uint32]

_METHOD = "single"
_NONCE = 32
_SEED = mask.KEY_BYTES
_SEED_WORDS = _SEED // 2  # of a share: 16 bits of the secret to each
_SCALAR = 32
_UNMASK = 1 << 22  # words between two signs of progress


# A party --------------------------------------------------------------------------------------------------------------


def contribute(
    session: Session,
    values: ArrayLike,
    *,
    aggregator: str,
    weight: ArrayLike | None = None,
    fraction: int = FRACTION,
    rules: Rules | None = None,
    identity: Identity | None = None,
) -> Aggregate | None:
    """Add an array to the sum that `aggregator` collects. Each party calls it once a run; a retry is another run.

    The party waits while others send: its channel has to allow the time that the slowest step of the run takes.

    Args:
        session: with a channel to the aggregator; there need be no others.
        values: integers or real numbers, of the same shape and kind at all parties.
        aggregator: who collects.
        weight: for a weighted mean: a number, or one for each entry; secret like the values.
        fraction: fractional bits of real numbers.
        rules: the same at all.
        identity: with malicious security, this party's key and the others'.

    Returns:
        The sum, where this party is told it; None otherwise.

    Raises:
        UsageError: values that do not fit, or options.
        PolicyError: too few parties were left; nothing was opened.
        CheatingDetected: the aggregator asks for what would uncover one party's array.
        PeerError: the aggregator runs something else, or broke the protocol.
        ChannelError: the connection failed, or the aggregator has gone on without this party.
    """
    channel = session.channel(aggregator)
    try:
        agreed = rules or Rules()
        checked = vector(values, weight=weight, fraction=fraction)
        if (identity is not None) != (agreed.security == "malicious"):
            raise UsageError("An identity belongs to malicious security: give both or neither.")
        return _Party(session, channel, checked, agreed, identity).run()
    except BaseException as error:
        channel.close(f"{session.me} left the sum ({type(error).__name__})")
        raise


@dataclass(frozen=True)
class _Roster:
    """What a party knows of the run.

    Attributes:
        names: of all parties, sorted.
        me: this party's place among them.
        neighbours: (k,) places, increasing.
        keys: (k, 2, element), the neighbours'.
        nonce: of the run.
        shape: neighbours, threshold, fewest survivors.
        own: whether the aggregator adds an array of its own.
    """

    names: tuple[str, ...]
    me: int
    neighbours: NDArray[np.int64]
    keys: Bytes
    nonce: bytes
    shape: graph.Shape
    own: bool


@dataclass(frozen=True)
class _Held:
    """The shares that a party holds.

    Attributes:
        present: (k,), which neighbours have shared.
        places: (h,), whose shares they are, increasing: those neighbours and the party itself.
        shares: (h, 24): of the seed, then of the mask secret.
    """

    present: NDArray[np.bool_]
    places: NDArray[np.int64]
    shares: Shares = field(repr=False)


class _Party:
    """One party's run, step by step."""

    def __init__(
        self, session: Session, channel: Channel, vector: Vector, rules: Rules, identity: Identity | None
    ) -> None:
        self._session = session
        self._channel = channel
        self._vector = vector
        self._rules = rules
        self._identity = identity
        self._suite = suites.get(rules.suite)

    def run(self) -> Aggregate | None:
        channel, layout = self._channel, self._vector.layout
        pairs = keys.draw(self._suite, self._session.rng)
        text = keys.keys_text(self._rules.run, self._session.me, pairs.public.tobytes())
        signature = self._identity.sign(text) if self._identity else b""
        terms = self._rules.terms(layout, method=_METHOD)
        channel.send(wire.Join(terms=terms, signature=signature), pairs.public)  # 1
        roster = self._roster()  # 2
        self._vector.require_room(len(roster.names) + roster.own)
        sealing, masking = self._agreed(roster, pairs.secret)
        seed = self._session.rng.uint8(1, _SEED)
        secrets = np.concatenate([seed[0], pairs.secret[MASKING]])
        held = self._share(roster, pairs.public, secrets, sealing)  # 3, 4
        wipe(pairs.secret)
        next_step(self._channel, wire.Turn)
        self._send(roster, held, seed, masking)  # 5
        survived, dropped = self._sets(roster, held)  # 6, 7
        is_seed, is_secret = survived[held.places], dropped[held.places]
        of_seeds, of_secrets = held.shares[is_seed, :_SEED_WORDS], held.shares[is_secret, _SEED_WORDS:]
        channel.send(wire.Opened(), np.ascontiguousarray(of_seeds), np.ascontiguousarray(of_secrets))  # 8
        (closed,) = next_step(self._channel, wire.Closed)  # 9
        if not self._rules.tells(self._session.me):
            return None
        return receive_total(channel, layout, closed)

    def _roster(self) -> _Roster:
        """Who takes part, checked against the rules that this party goes by."""
        channel, me = self._channel, self._session.me
        header, public = next_step(self._channel, wire.Roster)
        names, neighbours = tuple(header.parties), np.array(header.neighbours, dtype=np.int64)
        n = len(names)
        channel.require(2 <= n <= graph.MAX_PARTIES, f"2 to {graph.MAX_PARTIES} parties")
        channel.require(list(names) == sorted(set(names)) and me in names, "each party once, sorted, and this one")
        shape, place = self._rules.shape(n), names.index(me)
        increasing = bool((np.diff(neighbours) > 0).all()) and bool((neighbours < n).all())
        channel.require(len(neighbours) == shape.neighbours, f"{shape.neighbours} neighbours among {n} parties")
        channel.require(increasing and place not in neighbours, "other parties as neighbours, each once")
        channel.require(public.shape == (len(neighbours), 2, self._suite.group.ELEMENT_BYTES), "two keys of each")
        channel.require(len(header.nonce) == _NONCE, f"a nonce of {_NONCE} bytes")
        channel.require(n + header.own >= self._rules.minimum, f"at least {self._rules.minimum} parties")
        if self._identity:
            channel.require(len(header.signatures) == len(neighbours), "a signature of each neighbour")
            for i, signature, row in zip(neighbours, header.signatures, public, strict=True):
                text = keys.keys_text(self._rules.run, names[i], row.tobytes())
                valid = self._identity.verify(names[i], text, signature)
                channel.require(valid, f"keys that {names[i]} has signed", cheating=True)
        return _Roster(names, place, neighbours, public, header.nonce, shape, header.own)

    def _agreed(self, roster: _Roster, secret: Bytes) -> tuple[Bytes, Bytes]:
        """(k, 32) each: the keys with the neighbours for sealing shares, and for masks."""
        peers = [roster.names[i] for i in roster.neighbours]

        def one(purpose: int) -> Bytes:
            public = np.ascontiguousarray(roster.keys[:, purpose])
            mine, me = secret[purpose], self._session.me
            return keys.agree(self._suite, purpose, mine, public, nonce=roster.nonce, me=me, peers=peers)

        try:
            return one(SEALING), one(MASKING)
        except InvalidEncoding as error:
            where = peers[error.index]
            self._channel.require(False, f"keys that are elements of the group; {where}'s is none")
            raise

    def _share(self, roster: _Roster, public: Bytes, secrets: Bytes, sealing: Bytes) -> _Held:
        """Share the two secrets, seal a share for each neighbour, and open what the neighbours have sealed."""
        suite, me, nonce = self._suite, roster.me, roster.nonce
        everybody = np.append(roster.neighbours, me)
        points = (everybody + 1).astype(np.uint32)
        threshold = roster.shape.threshold
        shares = shamir_share(secrets[None], threshold=threshold, points=points, rng=self._session.rng)[0]
        wipe(secrets)
        mine, theirs = public.tobytes(), [row.tobytes() for row in roster.keys]
        # Each side binds the keys of both as it knows them: whoever was told other keys cannot open.
        sealed = [
            keys.seal(suite, key, share.astype("<u4").tobytes(), sender=me, context=nonce + mine + other)
            for key, share, other in zip(sealing, shares, theirs, strict=False)
        ]
        self._channel.send(wire.Shares(), np.frombuffer(b"".join(sealed), dtype=np.uint8).reshape(len(sealed), -1))  # 3
        _, present, relayed = next_step(self._channel, wire.Relayed)  # 4
        fits = len(present) == len(sealing) and bool((present <= 1).all()) and len(relayed) == int(present.sum())
        self._channel.require(fits, "for each neighbour whether it has shared, and what it has")
        there = present.astype(np.bool_)
        # Masks with fewer would not tie this party's array to those of the others: told that it has shared, they could
        # open its seed by votes that need none of its own.
        enough = 1 + len(relayed) >= threshold
        self._channel.require(enough, f"shares of {threshold} parties at least, this one's counted", cheating=True)
        rows = [shares[-1]]
        for at, row in zip(np.flatnonzero(there), relayed, strict=True):
            i, context = roster.neighbours[at], nonce + theirs[at] + mine
            plain = keys.unseal(suite, sealing[at], row.tobytes(), sender=int(i), context=context)
            opened = plain is not None and len(plain) == shares[-1].nbytes
            self._channel.require(opened, f"shares as {roster.names[i]} has sealed them", cheating=True)
            rows.append(np.frombuffer(plain or b"", dtype="<u4").astype(np.uint32))
        places = np.append(me, roster.neighbours[there])
        order = np.argsort(places)
        return _Held(there, places[order], np.stack(rows)[order])

    def _send(self, roster: _Roster, held: _Held, seed: Bytes, masking: Bytes) -> None:
        """Send the masked array, piece by piece."""
        size = self._vector.layout.words
        streams = np.concatenate([seed, masking[held.present, : mask.KEY_BYTES]])
        # Of two neighbours the one further down the roster subtracts. Everybody adds the stream of its own seed.
        negative = np.append(np.False_, roster.neighbours[held.present] < roster.me)
        wipe(seed)
        wipe(masking)

        def masked(start: int, stop: int) -> Words:
            words = self._vector.words(start, stop)
            mask.apply(streams, negative, words, first=start)
            self._session.progress(Progress(f"{OPERATOR.name}: send", stop, size))
            return words

        send_words(self._channel, size, masked)
        wipe(streams)

    def _sets(self, roster: _Roster, held: _Held) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(n,) each: who survived and who dropped, once they are such that masks may be opened for them."""
        channel, n = self._channel, len(roster.names)
        _, *packed = next_step(self._channel, wire.Survivors)  # 6
        for bits in packed:
            padded = len(bits) == -(-n // 8) and not np.unpackbits(bits, bitorder="little")[n:].any()
            channel.require(padded, f"a bit for each of {n} parties")
        survived, dropped = (np.unpackbits(bits, count=n, bitorder="little").astype(np.bool_) for bits in packed)
        channel.require(
            not (survived & dropped).any(), "to open the seed or the mask secret of a party, never both", cheating=True
        )
        channel.require(
            bool(survived[roster.me]), "this party's array in the sum for which it opens masks", cheating=True
        )
        known = survived | dropped
        told = bool(known[held.places].all()) and not known[roster.neighbours[~held.present]].any()
        channel.require(told, "whether each neighbour that has shared survived or dropped, and no other")
        left, needed = int(survived.sum()), _needed(roster.shape, self._rules, own=roster.own)
        if left < needed:
            raise too_few(left, needed)
        if self._identity:
            self._vote(self._identity, roster, survived, [bits.tobytes() for bits in packed])
        return survived, dropped

    def _vote(self, identity: Identity, roster: _Roster, survived: NDArray[np.bool_], sets: list[bytes]) -> None:
        """Sign the sets, and see that as many as the threshold have signed the same."""
        text = keys.survivors_text(self._rules.run, roster.nonce, roster.names, *sets)
        self._channel.send(wire.Vote(signature=identity.sign(text)))  # 7
        (votes,) = next_step(self._channel, wire.Votes)
        voters = np.array(votes.voters, dtype=np.int64)
        each = bool((np.diff(voters) > 0).all()) and bool((voters < len(survived)).all())
        self._channel.require(each and len(votes.signatures) == len(voters), "votes of parties, each once")
        self._channel.require(bool(survived[voters].all()), "votes of survivors", cheating=True)
        enough = len(voters) >= roster.shape.threshold
        self._channel.require(enough, f"votes of {roster.shape.threshold} parties", cheating=True)
        for i, signature in zip(voters, votes.signatures, strict=True):
            valid = identity.verify(roster.names[i], text, signature)
            self._channel.require(
                valid, f"a vote of {roster.names[i]} for the sets that this party was told", cheating=True
            )


def _needed(shape: graph.Shape, rules: Rules, *, own: bool) -> int:
    """The fewest parties whose arrays a sum may hold, the aggregator's own not counted."""
    return max(shape.survivors, rules.minimum - own, 2)


# The aggregator -------------------------------------------------------------------------------------------------------


def collect(
    session: Session,
    mine: ArrayLike | None = None,
    *,
    weight: ArrayLike | None = None,
    fraction: int = FRACTION,
    parties: Iterable[str] | None = None,
    rules: Rules | None = None,
    readers: int = 2,
) -> Aggregate:
    """Sum the arrays of all parties that do not drop out.

    Args:
        session: with a channel to each party.
        mine: an array of the aggregator's own to add, if it has one; it is not masked from anybody but by the others'.
        weight: of that array, where the parties' have weights.
        fraction: fractional bits of real numbers in it.
        parties: whose arrays; all that the session has a channel to by default. Who cannot be reached has dropped out.
        rules: the same at all.
        readers: how many arrays are received at the same time. Each takes its size in memory until it is whole, since
            what a party that drops out midway has sent must not be in the sum; the sum itself takes one more.

    Raises:
        UsageError: options, or an array of one's own, that do not fit.
        PolicyError: too few parties were left; nothing was opened.
        PeerError: a party runs something else, or broke the protocol. The run ends for all.
    """
    crowd = Crowd(session, session.channels if parties is None else parties, stage=OPERATOR.name)
    try:
        own = None if mine is None else vector(mine, weight=weight, fraction=fraction)
        if readers < 1:
            raise UsageError("readers is how many arrays are received at once: 1 at least.")
        return _Collector(session, crowd, own, rules or Rules(), readers).run()
    except PolicyError:
        raise  # the parties have been told, and end by themselves
    except BaseException as error:
        crowd.close(f"the sum broke off ({type(error).__name__})")
        raise


class _Collector:
    """The aggregator's run, step by step."""

    def __init__(self, session: Session, crowd: Crowd, own: Vector | None, rules: Rules, readers: int) -> None:
        self._session = session
        self._crowd = crowd
        self._own = own
        self._rules = rules
        self._readers = readers
        self._suite = suites.get(rules.suite)

    def run(self) -> Aggregate:
        crowd = self._crowd
        joined = crowd.ask("join", crowd.present, lambda channel: channel.recv(wire.Join))  # 1
        layout = self._check(joined)
        names = tuple(joined)
        self._require(len(names), max(2, self._rules.minimum - (self._own is not None)))
        shape = self._rules.shape(len(names))
        if self._own:
            self._own.require_room(len(names) + 1)
        neighbours = graph.draw(shape, self._session.rng)
        nonce = self._session.rng.bytes(_NONCE)
        public = np.stack([joined[name][1] for name in names])  # (n, 2, element)
        self._send_roster(names, neighbours, nonce, public, [joined[name][0].signature for name in names])  # 2
        shared = self._relay(names, neighbours, shape)  # 3, 4
        total = np.zeros(layout.words, dtype=np.uint64)
        survivors = read_arrays(self._crowd, shared, total, at_once=self._readers)  # 5
        survived = np.array([name in survivors for name in names])
        dropped = np.array([name in shared for name in names]) & ~survived
        opened = self._open(names, shape, survived, dropped)  # 6, 7, 8
        seeds, secrets = self._restore(names, neighbours, shape, survived, dropped, opened)
        self._unmask(total, names, neighbours, public, nonce, survived, dropped, seeds, secrets)
        return self._close(total, layout, names, survivors)  # 9

    def _check(self, joined: Mapping[str, tuple[Any, ...]]) -> Layout:
        """What the arrays are like, once all say the same."""
        layout = self._own.layout if self._own else None
        width = self._suite.group.ELEMENT_BYTES
        for name, (header, public) in joined.items():
            channel = self._crowd.channel(name)
            layout = layout or layout_of(channel, header.terms)
            check_terms(channel, self._rules.terms(layout, method=_METHOD), header.terms)
            channel.require(public.shape == (2, width), f"two keys of {width} bytes")
        return layout or Layout("integer", 0, (), "none")

    def _require(self, left: int, needed: int) -> None:
        """End the run, at all parties, where fewer are left than are needed."""
        if left < needed:
            self._crowd.refuse(left, needed)
            raise too_few(left, needed)

    def _send_roster(
        self,
        names: tuple[str, ...],
        neighbours: list[list[int]],
        nonce: bytes,
        public: Bytes,
        signatures: list[bytes],
    ) -> None:
        place = {name: i for i, name in enumerate(names)}

        def send(channel: Channel) -> None:
            near = neighbours[place[channel.peer]]
            signed = [signatures[i] for i in near] if self._rules.security == "malicious" else []
            header = wire.Roster(
                parties=names, neighbours=near, nonce=nonce, signatures=signed, own=self._own is not None
            )
            channel.send(header, public[near])

        self._crowd.ask("roster", names, send)

    def _relay(self, names: tuple[str, ...], neighbours: list[list[int]], shape: graph.Shape) -> tuple[str, ...]:
        """Hand the sealed shares on; who has shared and has enough neighbours who have."""
        crowd = self._crowd
        size = 4 * (_SEED_WORDS + _SCALAR // 2) + 16

        def receive(channel: Channel) -> Bytes:
            sealed: Bytes
            _, sealed = channel.recv(wire.Shares)
            channel.require(
                sealed.shape == (shape.neighbours, size), f"{shape.neighbours} sealed shares of {size} bytes"
            )
            return sealed

        sealed = crowd.ask("share", names, receive)
        self._require(len(sealed), _needed(shape, self._rules, own=self._own is not None))
        place = {name: i for i, name in enumerate(names)}
        holders = {name: 1 + sum(names[i] in sealed for i in neighbours[place[name]]) for name in sealed}
        while weak := [name for name, count in holders.items() if count < shape.threshold]:
            self._turn_away({name: holders[name] for name in weak}, shape.threshold)
            sealed = {name: rows for name, rows in sealed.items() if name not in weak}
            holders = {name: 1 + sum(names[i] in sealed for i in neighbours[place[name]]) for name in sealed}
        self._require(len(sealed), _needed(shape, self._rules, own=self._own is not None))
        row = {(i, j): at for i, near in enumerate(neighbours) for at, j in enumerate(near)}

        def send(channel: Channel) -> None:
            me = place[channel.peer]
            near = neighbours[me]
            there = [names[i] in sealed for i in near]
            rows = [sealed[names[i]][row[i, me]] for i, here in zip(near, there, strict=True) if here]
            channel.send(wire.Relayed(), np.array(there, dtype=np.uint8), np.reshape(rows, (len(rows), size)))

        crowd.ask("relay", sealed, send)
        return tuple(sealed)

    def _turn_away(self, holders: Mapping[str, int], needed: int) -> None:
        """Go on without parties of whose neighbours so few are left that nobody could restore their secrets."""

        def send(channel: Channel) -> None:
            channel.send(wire.TooFew(left=holders[channel.peer], needed=needed))

        self._crowd.ask("end", holders, send)
        for name in holders:
            self._crowd.drop(name, "too few of its neighbours are left")

    def _open(
        self, names: tuple[str, ...], shape: graph.Shape, survived: NDArray[np.bool_], dropped: NDArray[np.bool_]
    ) -> Mapping[str, tuple[Shares, Shares]]:
        """What the survivors hold of the seeds of survivors, and of the mask secrets of those that dropped."""
        crowd = self._crowd
        survivors = tuple(np.array(names)[survived].tolist())
        self._require(len(survivors), _needed(shape, self._rules, own=self._own is not None))
        sets = [np.packbits(bits, bitorder="little") for bits in (survived, dropped)]
        crowd.ask("survivors", survivors, lambda channel: channel.send(wire.Survivors(), *sets))  # 6
        if self._rules.security == "malicious":
            votes = crowd.ask("vote", survivors, lambda channel: channel.recv(wire.Vote)[0].signature)  # 7
            self._require(len(votes), shape.threshold)
            voters = [i for i, name in enumerate(names) if name in votes]
            everybody = wire.Votes(voters=voters, signatures=[votes[names[i]] for i in voters])
            crowd.ask("votes", votes, lambda channel: channel.send(everybody))

        def receive(channel: Channel) -> tuple[Shares, Shares]:
            _, seeds, secrets = channel.recv(wire.Opened)
            return seeds, secrets

        return crowd.ask("open", survivors, receive)  # 8

    def _restore(
        self,
        names: tuple[str, ...],
        neighbours: list[list[int]],
        shape: graph.Shape,
        survived: NDArray[np.bool_],
        dropped: NDArray[np.bool_],
        opened: Mapping[str, tuple[Shares, Shares]],
    ) -> tuple[Bytes, Bytes]:
        """(s, 16) seeds of those that survived, (d, scalar) mask secrets of those that dropped, by their places."""
        given: dict[int, list[tuple[int, Shares]]] = {int(i): [] for i in np.flatnonzero(survived | dropped)}
        for i, name in enumerate(names):
            if name not in opened:
                continue
            held = np.array(sorted([*neighbours[i], i]))
            for rows, of in zip(opened[name], (survived, dropped), strict=True):
                places = held[of[held]].tolist()
                fits = len(rows) == len(places)
                self._crowd.channel(name).require(
                    fits, f"{len(places)} shares, one of each party that it was asked for"
                )
                for place, row in zip(places, rows, strict=True):
                    given[place].append((i + 1, row))
        t = shape.threshold
        self._require(min(map(len, given.values())), t)

        def restored(places: list[int]) -> Bytes:
            points = np.array([[point for point, _ in given[i][:t]] for i in places], dtype=np.uint32)
            shares = np.array([[row for _, row in given[i][:t]] for i in places], dtype=np.uint32)
            try:
                return shamir_reconstruct(shares, points)
            except InconsistentShares as error:
                raise self._spoilt(names[places[error.index]]) from None

        seeds = restored(np.flatnonzero(survived).tolist())
        gone = np.flatnonzero(dropped).tolist()
        return seeds, restored(gone) if gone else np.empty((0, _SCALAR), dtype=np.uint8)

    def _spoilt(self, name: str) -> PeerError:
        text = "the shares of its secret, as it gave them out or as others opened them, do not fit what it announced"
        return PeerError(text, party=name, protocol=OPERATOR.name, step="Opened")

    def _unmask(
        self,
        total: Words,
        names: tuple[str, ...],
        neighbours: list[list[int]],
        public: Bytes,
        nonce: bytes,
        survived: NDArray[np.bool_],
        dropped: NDArray[np.bool_],
        seeds: Bytes,
        secrets: Bytes,
    ) -> None:
        """Take out of the total what does not cancel."""
        streams, subtract = [seeds], [np.ones(len(seeds), dtype=np.bool_)]
        for i, secret in zip(np.flatnonzero(dropped).tolist(), secrets, strict=True):
            try:
                announced = self._suite.group.mul_base(secret[None])[0]
            except InvalidEncoding:
                raise self._spoilt(names[i]) from None
            if not np.array_equal(announced, public[i, MASKING]):
                raise self._spoilt(names[i])
            near = [j for j in neighbours[i] if survived[j]]
            theirs = np.ascontiguousarray(public[near, MASKING])
            peers = [names[j] for j in near]
            shared = keys.agree(self._suite, MASKING, secret, theirs, nonce=nonce, me=names[i], peers=peers)
            streams.append(shared[:, : mask.KEY_BYTES])
            subtract.append(np.array(near, dtype=np.int64) < i)  # the neighbour before it on the roster has added
        every, sign = np.concatenate(streams), np.concatenate(subtract)
        for start in range(0, len(total), _UNMASK):
            part = total[start : start + _UNMASK]
            mask.apply(every, sign, part, first=start)
            self._session.progress(Progress(f"{OPERATOR.name}: unmask", start + len(part), len(total)))
        for secret in (every, secrets, seeds):
            wipe(secret)

    def _close(self, total: Words, layout: Layout, names: tuple[str, ...], survivors: tuple[str, ...]) -> Aggregate:
        """Add what is one's own, and tell the others what they are to learn."""
        crowd, me = self._crowd, self._session.me
        if self._own:
            for start in range(0, len(total), PIECE):
                add(total, start, self._own.words(start, min(start + PIECE, len(total))))
        counted = tuple(sorted([*survivors, me] if self._own else survivors))
        return send_total(crowd, layout, total, survivors, counted, names, tells=self._rules.tells)
