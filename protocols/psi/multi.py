"""Intersection of three and more parties' sets: shares of zero, programmed for one party that leads.

The parties other than the leader share zero at every item x: party i's share S_i(x) is the sum of PRFs under keys that
it has with each other one, so that the shares of all add up to zero. Each programs S_i into an OPPRF at its own items,
and the leader evaluates all of them at its items. Where every party has the item the values add up to zero; where one
lacks it they are random. [Kolesnikov, Matania, Pinkas, Rosulek, Trieu 2017; Nevo, Trieu, Yanai 2021, on stores.]

Security: semi-honest; the OPPRF's assumptions (``protocols/psi/opprf.py``), the shares' PRF is TMMO with a key in place
          of the offset [Guo, Katz, Wang, Yu 2020]. The leader must collude with nobody. If it pools what it sees with
          another party's key, the two learn which of the leader's items are with *all other* parties, whether or not
          the colluding one has them: of three parties, the third's intersection with the leader. Parties that do not
          lead may collude among themselves: they see nothing but sizes, and the result where they are told it.
Leaks:    to everybody all sizes; to the leader which of its items all parties have, and to the others the same, where
          all are to learn. No size of an intersection of two parties, or of some of the parties, to anybody.
Cost:     with n the leader's items and m(n) = `oprf.table_rows(n)`: for each other party i a VOLE of m(n), 16·m(n)
          bytes from the leader and 16·m(n_i) to it, and at most 80 bytes of envelope for every 4 bins of each table; 16
          bytes to each party for each match where all learn; and below 200 bytes and all parties' names from each
          party to each other. The leader does as much work for each other party as the receiver of psi.rr22, and reads
          one more table; it serves all at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import blocks, wipe
from mpc.kernels import hash as hashes
from mpc.kernels import join as joins
from mpc.kernels.packing import pack
from mpc.rng import Rng
from mpc.session import Progress, Session, at_once, closing_on_error
from mpc.suite import Suite
from mpc.wire.psi.v1 import multi_pb2 as wire
from protocols.operator import Operator
from protocols.ot import vole
from protocols.psi import items as sets
from protocols.psi import opprf, oprf
from protocols.psi.items import Column, Duplicates, collect

OPERATOR = Operator(
    name="psi.multi",
    version=1,
    title="Private set intersection of three and more parties by shares of zero and one leader",
    learns={
        "leader": ("which of its own items all parties hold", "how many items each party holds"),
        "other": (
            "how many items each party holds",
            "which of its own items all parties hold, where all are to learn the result",
        ),
    },
)

Bytes = NDArray[np.uint8]
Reveal = Literal["all", "leader"]

MAX_ITEMS = 1 << 25
"""Most items of one party in one run: one VOLE has to do for its table."""
MAX_PARTIES = 64
"""Most parties in one run: the leader keeps a conversation and its memory for each."""

_BLOCK = 16
_NONCE_BYTES = 32
_PIECE = 1 << 18  # matches in a message
_SHOWN = 200  # characters of what a peer says that an error text repeats
_SALT = b"unseen psi.multi salt v1\x00"


@dataclass(frozen=True)
class MultiResult:
    """What one party has of the intersection of all.

    Matched keys come in an order that is the same at all parties and tells nothing: that of their digests under the
    run's salt. So row ``rows[offsets[j]]`` here and there belong to one key, for every j.

    Attributes:
        rows: (r,) int64, the rows of the caller's own input, from 0, whose keys all parties hold: key by key, the rows
            of one key in the order of the input. None where this party was not to learn them.
        offsets: (k + 1,) int64: matched key j has the rows ``rows[offsets[j]:offsets[j + 1]]``. None where `rows` is.
        sizes: how many distinct keys each party brought, by name, this one among them.
        operator: name of the operator that ran.
    """

    rows: NDArray[np.int64] | None = field(repr=False)
    offsets: NDArray[np.int64] | None = field(repr=False)
    sizes: Mapping[str, int]
    operator: str = OPERATOR.name

    @property
    def matched(self) -> int | None:
        """How many keys all parties hold; None where this party was not to learn it."""
        return None if self.offsets is None else len(self.offsets) - 1


def intersect(
    session: Session,
    items: Column | tuple[Column, ...],
    *,
    leader: str,
    reveal_to: Reveal = "all",
    suite: str | Suite = "intl",
    form: str = "text",
    duplicates: Duplicates = "error",
) -> MultiResult:
    """Find the keys that all parties of the session hold. All call it, with the same options but for `duplicates`.

    Whatever goes wrong at one party ends the conversation with all, so that they fail too and do not wait.

    Args:
        session: this party's run, with a channel to each of two or more others.
        items: the keys, one for each row of the input, as for ``psi.intersect``.
        leader: name of the party that finds the matches. It has the most work, of all sizes its own counts most, and it
            must not collude with another party: take the one that is trusted most with that.
        reveal_to: "all" or only the "leader" learns which keys match.
        suite: cipher suite or its name.
        form: canonical form of the keys.
        duplicates: what a key in several rows means: "error", or "first" for its first row alone, or "many" for all.

    Raises:
        InvalidIdentifier: a row whose key is not of the form.
        UsageError: fewer than three parties, a leader who is none of them, options that there are not, a key in several
            rows, more than ``MAX_ITEMS`` keys.
        PeerError: a party runs something else (the text names it), or broke the protocol.
        ChannelError: a connection failed.
    """
    with closing_on_error(session, "an intersection of several parties"):
        chosen = suites.get(suite) if isinstance(suite, str) else suite
        mine = collect(items, form=form, duplicates=duplicates, rng=session.rng)
        agreed = _agree(session, leader, reveal_to, chosen, form, len(mine.keys))
        learns = session.me == leader or agreed.all_learn
        matched: NDArray[np.int64] | None = np.empty(0, dtype=np.int64) if learns else None
        if min(agreed.sizes.values()):
            digests = sets.digests(mine.keys, suite=chosen, salt=agreed.salt)
            sets.require_distinct(digests)
            at = oprf.points(digests)
            del digests
            matched = (
                _lead(session, at, agreed, chosen) if session.me == leader else _follow(session, at, agreed, chosen)
            )
        result = mine.result(matched, peer_size=0, operator=OPERATOR.name)
        return MultiResult(result.rows, result.offsets, agreed.sizes)


def _lead(session: Session, at: oprf.Points, agreed: _Agreed, suite: Suite) -> NDArray[np.int64]:
    """Find the matches, (k,) rows in common order, and tell them where all are to learn."""
    m = oprf.table_rows(len(at))
    total = np.zeros((len(at), _BLOCK), dtype=np.uint8)

    def evaluate(channel: Channel, rng: Rng) -> Bytes:
        correlation = vole.receive(channel, m, suite=suite, rng=rng)  # 1
        points = agreed.sizes[channel.peer]
        return opprf.receive(channel, at, correlation, peer_points=points, suite=suite, rng=rng)  # 3

    for done, (_, values) in enumerate(at_once(session, sorted(session.channels), evaluate)):
        total ^= values
        session.progress(Progress(OPERATOR.name, done + 1, len(session.channels)))
    rows = np.flatnonzero(~total.view(np.uint64).any(axis=1))  # 4: the shares add up to zero
    words = at.keys[rows].view(">u8")
    rows = rows[np.lexsort((words[:, 1], words[:, 0]))]
    if agreed.all_learn:
        digests = at.keys[rows]
        for channel in _channels(session):
            for start in range(0, max(len(digests), 1), _PIECE):
                channel.send(wire.MultiMatches(total=len(digests)), digests[start : start + _PIECE])  # 5
    return rows


def _follow(session: Session, at: oprf.Points, agreed: _Agreed, suite: Suite) -> NDArray[np.int64] | None:
    """Let the leader evaluate this party's shares; the matches, (k,) rows in common order, where all are to learn."""
    channel = session.channel(agreed.leader)
    size = agreed.sizes[agreed.leader]
    correlation = vole.send(channel, oprf.table_rows(size), suite=suite, rng=session.rng)  # 1
    session.progress(Progress(OPERATOR.name, 1, 2))
    shares = np.zeros((len(at), _BLOCK), dtype=np.uint8)
    for key in agreed.keys.values():  # 2: S(x), the sum of the PRFs
        term = at.values ^ np.frombuffer(key, dtype=np.uint8)
        blocks.hash_under(at.keys, term)
        shares ^= term
    opprf.send(channel, at, shares, correlation, peer_items=size, suite=suite, rng=session.rng)  # 3
    wipe(shares)
    session.progress(Progress(OPERATOR.name, 2, 2))
    return _told(channel, at, min(agreed.sizes.values())) if agreed.all_learn else None


def _told(channel: Channel, at: oprf.Points, most: int) -> NDArray[np.int64]:
    """The rows that the leader says match."""
    pieces: list[Bytes] = []
    received, total = 0, 1
    while not pieces or received < total:
        header, digests = channel.recv(wire.MultiMatches)  # 5
        total = header.total
        piece = min(total - received, _PIECE)
        channel.require(total <= most and len(digests) == piece, f"at most {most} matches, {_PIECE} in a message")
        pieces.append(digests)
        received += len(digests)
    theirs = np.concatenate(pieces)
    words = theirs.view(">u8")
    increasing = (words[1:, 0] > words[:-1, 0]) | (words[1:, 0] == words[:-1, 0]) & (words[1:, 1] > words[:-1, 1])
    channel.require(bool(increasing.all()), "digests of matches that increase")
    rows, _ = joins.join(at.keys, theirs, most=len(theirs))
    channel.require(len(rows) == len(theirs), "digests of items that this party has")
    return rows


# What they settle before ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Agreed:
    """What a party knows after the terms.

    Attributes:
        leader: who leads.
        all_learn: whether all are told the result.
        sizes: how many distinct items each party says it brings, by name.
        salt: 32 bytes, the same at all, to which each contributed.
        keys: 16 bytes shared with each other party, by name, where neither of the two leads.
    """

    leader: str
    all_learn: bool
    sizes: Mapping[str, int]
    salt: bytes
    keys: Mapping[str, bytes] = field(repr=False)


def _agree(session: Session, leader: str, reveal_to: Reveal, suite: Suite, form: str, size: int) -> _Agreed:
    """Everybody tells everybody what it is about to run: 1 round."""
    parties = session.parties
    if not 3 <= len(parties) <= MAX_PARTIES:
        raise UsageError(f"{len(parties)} parties: bring 3 to {MAX_PARTIES}; for two there is psi.intersect.")
    if leader not in parties:
        raise UsageError(f"The leader {leader!r} takes no part; choose one of {', '.join(parties)}.")
    if reveal_to not in ("all", "leader"):
        raise UsageError(f"reveal_to is 'all' or 'leader', not {reveal_to!r}.")
    if size > MAX_ITEMS:
        raise UsageError(f"{size} items are more than the {MAX_ITEMS} that one run takes: split the set.")
    nonces = {session.me: session.rng.bytes(_NONCE_BYTES)}
    mine = wire.MultiTerms(
        version=OPERATOR.version,
        suite=suite.name,
        form=form,
        parties=parties,
        leader=leader,
        reveal_to=reveal_to,
        size=size,
        nonce=nonces[session.me],
    )
    keys: dict[str, bytes] = {}
    for channel in _channels(session):
        pair = leader not in (session.me, channel.peer)
        mine.key = session.rng.bytes(_BLOCK) if pair and session.me < channel.peer else b""
        if mine.key:
            keys[channel.peer] = mine.key
        channel.send(mine)
    sizes = {session.me: size}
    for channel in _channels(session):
        (theirs,) = channel.recv(wire.MultiTerms)
        here, there = _words(mine), _words(theirs)
        for what, word in here.items():
            text = f"one {what} at all parties: {_shown(word)} here, {_shown(there[what])} there"
            channel.require(there[what] == word, text)
        channel.require(theirs.size <= MAX_ITEMS, f"at most {MAX_ITEMS} items in one run")
        channel.require(len(theirs.nonce) == _NONCE_BYTES, f"a nonce of {_NONCE_BYTES} bytes")
        expected = leader not in (session.me, channel.peer) and channel.peer < session.me
        channel.require(len(theirs.key) == (_BLOCK if expected else 0), "a key where one belongs")
        if expected:
            keys[channel.peer] = theirs.key
        sizes[channel.peer], nonces[channel.peer] = theirs.size, theirs.nonce
    ordered = b"".join(nonces[name] for name in parties)
    salt: bytes = hashes.batch(suite.digest, _SALT, pack([ordered]))[0].tobytes()
    return _Agreed(leader, reveal_to == "all", {name: sizes[name] for name in parties}, salt, keys)


def _words(terms: wire.MultiTerms) -> dict[str, str]:
    """What has to be the same at all parties, as words."""
    return {
        "version": str(terms.version),
        "suite": terms.suite,
        "form of keys": terms.form,
        "list of parties": ", ".join(terms.parties),
        "leader": terms.leader,
        "reveal_to": terms.reveal_to,
    }


def _shown(text: str) -> str:
    """A peer may say any text, of any length."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


# The conversations ----------------------------------------------------------------------------------------------------


def _channels(session: Session) -> list[Channel]:
    """One to each other party, by name."""
    return [session.channels[name] for name in sorted(session.channels)]
