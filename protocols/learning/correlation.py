"""Correlations and variance inflation of features that several parties hold, and what to keep of them.

    found = correlate(session, columns, parties=("bank", "shop"))          at each party
    found.of(("bank", "income"), ("shop", "spent")), found.matrix           to `decimals` places, NaN where not told
    inflate(session, columns, parties=("bank", "shop")).factors            {"income": 1.7, …}, of its own features
    select(ivs, found, least_iv=0.02, most_correlation=0.8).kept

Rows are aligned. Each party standardises its own columns, so that X'X / n is the matrix R of Pearson's correlations,
and knows its own block of R. The block of two parties p and q comes from one product of p's columns, as integers, with
q's:

    1  terms; how many features each party has                                 all pairs  (CorrelationTerms)
    2  shares of X_p' X_q, for pieces of 2^18 rows                             all pairs, protocols/matvec
    correlations
    3  rounded to `decimals` places on shares: exact floor of r·10^d + 1/2     each pair, protocols/arithmetic/two
    4  the block opens to those of the pair who learn; to others both tell     → `to`     (CorrelationPieces)
       pieces that add up to it
    5  a party that tells its own block                                        → `to`     (CorrelationOwn)
    variance inflation
    3  before 2 each party whitens its block: X_p T_p with T_p' R_pp T_p = I, or 0 in directions that have no variance;
       what is shared is W = T' R T, with blocks I on the diagonal
    4  W^-1 = (1/K)·(I − G)^-1, G = I − W / K with K parties, and              all, on shares
       (I − G)^-1 = Π (I + G^(2^i)), i < 16
    5  VIF_j = t_j W^-1 t_j', t_j row j of T_p                                 → feature j's owner

Security: semi-honest; of protocols.matvec.rlwe and of the arithmetic, protocols.arithmetic.two, or for variance
          inflation of three parties protocols.arithmetic.three.
Leaks:    to all: how many features each party has, their names unless it keeps them, and how many rows.
          Correlations: to the parties in `to` the rounded values of all pairs of features of different parties; of a
          party's own pairs only where it says so. A row's part in a correlation is below a step as long as rows are
          many more than 10^d, which is no protection of a row in a strict sense: a column that is zero but for one row
          would show the other's value there.
          Variance inflation: to each party the factors of its own features, so how well those of all the others
          together predict each of them, to about a hundredth; not which ones do.
Cost:     of protocols.matvec.rlwe for a (k_p, n) by (n, k_q) product in pieces of 2^18 rows, the party with more
          features holding the matrix. Correlations: a truncate, a to_bits and a from_bits a value. Variance inflation,
          k features in all: a product (k, k) by (k, k) and 15 of (2k, k) by (k, k), each truncated; for each party one
          of (k_p, k_p) by (k_p, k_p), and k_p² products.
Error:    before rounding below 2^-16. Factors: 1/64, and relatively 10^-3 up to 100, 1 % up to ``LIMIT``, beyond which
          they are infinite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc import fixed
from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.rng import Rng
from mpc.session import Session, at_once, closing_on_error
from mpc.suite import Suite
from mpc.wire.learning.v1 import correlation_pb2 as wire
from protocols import arithmetic, matvec
from protocols.arithmetic.engine import Words
from protocols.arithmetic.shared import Shared
from protocols.arithmetic.two import TwoParty
from protocols.learning import bins

Feature = tuple[str, str]
"""Party and name."""
Matrix = NDArray[np.float64]

VERSION = 1
MAX_ROWS = 1 << 24
MAX_FEATURES = 512
"""Of one party."""
LIMIT = 1000.0
"""Variance inflation beyond this is infinite: a feature is, for any purpose, a combination of others."""

_PIECE = 1 << 18  # rows multiplied at a time
_LEFT_BITS = 16  # fractional bits of the one factor
_RIGHT_BITS = 20  # and of the other times n
_G_BITS = 24  # of powers of G, and of a correlation before it is rounded
_SUM_BITS = 20  # of their sum, which is up to 2^_DOUBLINGS
_DOUBLINGS = 16
_FACTOR_BITS = 16
_TOLD_BITS = 6  # of a factor that opens: to many digits, that of two columns of two values would tell their counts
_NO_VARIANCE = 1e-6  # of a direction of a party's block
_IN_IT = 1e-10  # part of a feature's direction that lies in those, squared


@dataclass(frozen=True)
class Correlations:
    """Pearson's correlations as one party knows them.

    Attributes:
        features: party and name, in the order of the matrix; one whose name is kept is ``feature 1`` and so on.
        matrix: (k, k), NaN where this party was not told.
        learned: what this party learned, in words.
    """

    features: tuple[Feature, ...]
    matrix: Matrix = field(repr=False)
    learned: tuple[str, ...] = ()

    def of(self, one: Feature, other: Feature) -> float:
        """The correlation of two features, NaN where it is not known. UsageError for a feature that there is not."""
        for feature in (one, other):
            if feature not in self.features:
                raise UsageError(f"There is no feature {feature}; there are {self.features}.")
        return float(self.matrix[self.features.index(one), self.features.index(other)])


@dataclass(frozen=True)
class Inflation:
    """Variance inflation of a party's own features.

    Attributes:
        factors: by feature, 1 to ``LIMIT``, or infinite.
        notes: of each infinite one, whether other features of the same party make it so.
        learned: what this party learned, in words.
    """

    factors: Mapping[str, float]
    notes: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """What ``select`` says.

    Attributes:
        kept: features, the one with the largest IV first.
        dropped: of each other feature why.
        notes: kept features that deserve a look.
    """

    kept: tuple[Feature, ...]
    dropped: Mapping[Feature, str]
    notes: tuple[str, ...] = ()


def select(
    ivs: Mapping[Feature, float],
    correlations: Correlations | None = None,
    *,
    least_iv: float = 0.02,
    suspicious_iv: float = 0.5,
    most_correlation: float = 0.8,
) -> Selection:
    """Features by information value: too weak ones go, and of two that are too alike the weaker one.

    Args:
        ivs: by party and name.
        correlations: what is known; a pair that is not known counts as unlike.
        least_iv: below it a feature goes. 0.02 is the custom [Siddiqi 2006].
        suspicious_iv: from it on a kept feature is noted: it may know the label's future.
        most_correlation: above it, in absolute value, two features are too alike.
    """
    order = sorted(ivs, key=lambda feature: (-ivs[feature], feature))
    kept: list[Feature] = []
    dropped: dict[Feature, str] = {}
    for feature in order:
        if ivs[feature] < least_iv:
            dropped[feature] = f"IV {ivs[feature]:.4f} is below {least_iv:g}"
            continue
        like = [
            other for other in kept if correlations and abs(_known(correlations, feature, other)) > most_correlation
        ]
        if like:
            r = _known(correlations, feature, like[0]) if correlations else 0.0
            dropped[feature] = f"correlation {r:+.3f} with {like[0][1]} of {like[0][0]}, whose IV is larger"
        else:
            kept.append(feature)
    notes = tuple(
        f"{name} of {party}: IV {ivs[party, name]:.3f} is suspiciously large; is it known before the label is?"
        for party, name in kept
        if ivs[party, name] >= suspicious_iv
    )
    return Selection(tuple(kept), dropped, notes)


def correlate(
    session: Session,
    columns: Mapping[str, ArrayLike],
    *,
    parties: Sequence[str],
    to: Sequence[str] | None = None,
    tell_own: bool = False,
    decimals: int = 3,
    names: bool = True,
    suite: str | Suite = "intl",
) -> Correlations:
    """Correlations of the features of different parties. All call it, with the same `parties`, `to` and `decimals`.

    Args:
        session: this party's run, with a channel to each other party.
        columns: this party's features by name, (n,) numbers each, of the aligned rows.
        parties: names of all parties with features, in an order that is the same at all.
        to: which of them learn; all by default.
        tell_own: tell those who learn this party's own features' correlations among each other.
        decimals: places that open, 1 to 4.
        names: whether the others learn this party's features' names.
        suite: cipher suite or its name.

    Raises:
        UsageError: a column that is constant or has missing values, columns of different lengths, options that there
            are not.
        PeerError: a party runs something else, has another number of rows, or broke the protocol.
        ChannelError: a connection failed.
    """
    with closing_on_error(session, "correlations"):
        if not 1 <= decimals <= 4:
            raise UsageError(f"decimals={decimals}: give 1 to 4.")
        standard = _standardised(columns)
        setting = _Setting.of(session, parties, to, "correlation", decimals, suite)
        terms = setting.terms(standard, list(columns) if names else [], tells_own=tell_own)
        theirs = _agree(session, setting, terms)  # 1
        place = _places(setting, theirs)
        k = place[setting.parties[-1]].stop
        matrix = np.full((k, k), np.nan)
        np.fill_diagonal(matrix, 1.0)
        me = place[session.me]
        matrix[me, me] = standard.T @ standard / len(standard)

        def talk(channel: Channel, rng: Rng) -> tuple[NDArray[np.int64] | None, Words | None]:
            share = _cross(channel, standard, theirs[channel.peer].columns, setting, rng)  # 2
            return _rounded_block(channel, share, len(standard), setting, rng)  # 3, 4

        pieces: dict[str, Words] = {}
        peers = [party for party in setting.parties if party != session.me]
        for peer, (block, piece) in at_once(session, peers, talk):
            if block is not None:
                _fill(session.channel(peer), matrix, me, place[peer], block, decimals)
            if piece is not None:
                pieces[peer] = piece
        _tell(session, setting, pieces, matrix[me, me], tell_own=tell_own)  # 4, 5
        if session.me in setting.to:
            _be_told(session, setting, theirs, place, matrix)
        features = tuple((party, name) for party in setting.parties for name in _names(theirs[party], place[party]))
        return Correlations(features, matrix, _learned_correlations(session.me, setting, theirs))


def inflate(
    session: Session,
    columns: Mapping[str, ArrayLike],
    *,
    parties: Sequence[str],
    suite: str | Suite = "intl",
) -> Inflation:
    """Variance inflation of this party's features, against those of all parties. All two or three of them call it.

    Arguments and errors as ``correlate``'s.
    """
    with closing_on_error(session, "variance inflation"):
        standard = _standardised(columns)
        setting = _Setting.of(session, parties, None, "inflation", 0, suite)
        if len(setting.parties) > 3:
            raise UsageError(f"{len(setting.parties)} parties: variance inflation takes two or three.")
        theirs = _agree(session, setting, setting.terms(standard, [], tells_own=False))  # 1
        place = _places(setting, theirs)
        t, alone, inside = _whitening(standard.T @ standard / len(standard))  # 3
        whitened = standard @ t

        def talk(channel: Channel, rng: Rng) -> Words:
            return _cross(channel, whitened, theirs[channel.peer].columns, setting, rng)  # 2

        k = place[setting.parties[-1]].stop
        mine = np.zeros((k, k), dtype=np.uint64)
        me = place[session.me]
        for peer, share in at_once(session, [party for party in setting.parties if party != session.me], talk):
            mine[me, place[peer]] = share
            mine[place[peer], me] = share.T
        factors = _factors(
            session, setting, mine, len(standard), place, np.where(alone[:, None] > LIMIT, 0.0, t)
        )  # 4, 5
        factors = np.where((alone > LIMIT) | (factors > LIMIT), np.inf, np.maximum(factors, 1.0))
        named = dict(zip(columns, factors.tolist(), strict=True))
        notes = [
            f"{name}: infinite; it is a combination of "
            + ("this party's other features" if own else "other features, those of other parties among them")
            + f" (variance inflation beyond {LIMIT:g}). Leave one of them out."
            for (name, factor), own in zip(named.items(), (inside | (alone > LIMIT)).tolist(), strict=True)
            if math.isinf(factor)
        ]
        others = ", ".join(party for party in setting.parties if party != session.me)
        learned = (
            f"how many features {others} have",
            f"of each of its own features how well the features of {others} and its own together predict it",
        )
        return Inflation(named, tuple(notes), learned)


# What all agree on ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Setting:
    me: str
    parties: tuple[str, ...]
    to: tuple[str, ...]
    what: str
    decimals: int
    suite: Suite

    @classmethod
    def of(
        cls,
        session: Session,
        parties: Sequence[str],
        to: Sequence[str] | None,
        what: str,
        decimals: int,
        suite: str | Suite,
    ) -> _Setting:
        all_ = tuple(parties)
        learners = all_ if to is None else tuple(party for party in all_ if party in to)
        if len(all_) < 2 or len(set(all_)) != len(all_) or session.me not in all_:
            raise UsageError(f"parties names two or more different ones, {session.me} among them; got {all_}.")
        if not learners or (to is not None and not set(to) <= set(all_)):
            raise UsageError(f"to names some of the parties {all_}; got {to}.")
        chosen = suites.get(suite) if isinstance(suite, str) else suite
        return cls(session.me, all_, learners, what, decimals, chosen)

    def terms(self, standard: Matrix, names: list[str], *, tells_own: bool) -> wire.CorrelationTerms:
        return wire.CorrelationTerms(
            version=VERSION,
            what=self.what,
            suite=self.suite.name,
            parties=self.parties,
            to=self.to,
            decimals=self.decimals,
            rows=len(standard),
            columns=standard.shape[1],
            names=names,
            tells_own=tells_own,
        )

    def first(self, peer: str) -> bool:
        """Whether this party is the first of the two."""
        return self.parties.index(self.me) < self.parties.index(peer)


def _agree(session: Session, setting: _Setting, ours: wire.CorrelationTerms) -> dict[str, wire.CorrelationTerms]:
    """1: everybody's terms, by party."""
    found = {session.me: ours}
    peers = [party for party in setting.parties if party != session.me]
    for peer in peers:
        session.channel(peer).send(ours)
    for peer in peers:
        channel = session.channel(peer)
        (theirs,) = channel.recv(wire.CorrelationTerms)
        for name in ("version", "what", "suite", "decimals"):
            channel.require(getattr(theirs, name) == getattr(ours, name), f"the same {name} at all parties")
        for name in ("parties", "to"):
            same = list(getattr(theirs, name)) == list(getattr(ours, name))
            channel.require(same, f"the same {name} at all parties, in the same order")
        rows = "as many rows at all parties: align them first, by psi, and pass those alone"
        channel.require(theirs.rows == ours.rows, rows)
        channel.require(1 <= theirs.columns <= MAX_FEATURES, f"1 to {MAX_FEATURES} features")
        named = len(set(theirs.names)) == len(theirs.names) == theirs.columns
        channel.require(named or not theirs.names, "a name of its own for each feature, or none")
        found[peer] = theirs
    return found


def _places(setting: _Setting, theirs: Mapping[str, wire.CorrelationTerms]) -> dict[str, slice]:
    """Where each party's features are among all."""
    places, start = {}, 0
    for party in setting.parties:
        places[party] = slice(start, start + theirs[party].columns)
        start = places[party].stop
    return places


def _names(terms: wire.CorrelationTerms, place: slice) -> list[str]:
    return list(terms.names) or [f"feature {i + 1}" for i in range(place.stop - place.start)]


def _standardised(columns: Mapping[str, ArrayLike]) -> Matrix:
    """(n, k), each column of mean 0 and variance 1."""
    if not 1 <= len(columns) <= MAX_FEATURES:
        raise UsageError(f"{len(columns)} features: give 1 to {MAX_FEATURES}.")
    found: list[NDArray[np.float64]] = []
    for name, values in columns.items():
        column = bins.numbers_of(values, name)
        if not np.isfinite(column).all():
            raise UsageError(f"{name!r} has missing or infinite values: fill them in or leave the feature out.")
        if found and len(column) != len(found[0]):
            raise UsageError(
                f"{name!r} has {len(column)} rows and others {len(found[0])}: give the aligned rows of all."
            )
        if not 2 <= len(column) <= MAX_ROWS:
            raise UsageError(f"{len(column)} rows: give 2 to {MAX_ROWS}.")
        # Scaled first: squares of large numbers overflow, and those of small ones vanish.
        largest = np.abs(column).max()
        scaled = column / largest if largest else column
        centred = scaled - scaled.mean()
        deviation = math.sqrt(float(np.square(centred).mean()))
        if deviation < 1e-12:
            raise UsageError(f"{name!r} is constant and correlates with nothing: leave it out.")
        found.append(centred / deviation)
    return np.stack(found, axis=1)


# Products -------------------------------------------------------------------------------------------------------------


def _fraction(n: int) -> int:
    """Fractional bits of the blocks' shares."""
    return _LEFT_BITS + _RIGHT_BITS + n.bit_length()


def _cross(channel: Channel, mine: Matrix, columns: int, setting: _Setting, rng: Rng) -> Words:
    """2: this party's share of mine' · theirs / n, (own features, the peer's), with ``_fraction`` fractional bits.

    For variance inflation it is divided by the number of parties, too.
    """
    n, own = mine.shape
    holds = (own, setting.first(channel.peer)) > (columns, not setting.first(channel.peer))
    # A column's squares add up to n, so that no entry is beyond √n.
    bits = _LEFT_BITS + (n.bit_length() + 1) // 2 + 3
    scale = 2.0**_LEFT_BITS
    if not holds:
        divisor = n * (len(setting.parties) if setting.what == "inflation" else 1)
        scale = 2.0 ** (_RIGHT_BITS + n.bit_length()) / divisor
    key = None if holds else matvec.key(rng)
    share = np.zeros((own, columns) if holds else (columns, own), dtype=np.uint64)
    for start in range(0, n, _PIECE):
        words = np.rint(mine[start : start + _PIECE] * scale).astype(np.int64)
        if key is None:
            prepared = matvec.prepare(words, bits=bits)
            share += matvec.holder(channel, prepared, transpose=True, vectors=columns, rng=rng)
        else:
            share += matvec.vector(
                channel,
                words.view(np.uint64),
                rows=len(words),
                cols=columns,
                transpose=True,
                bits=bits,
                key=key,
                rng=rng,
            )
    return share if holds else np.ascontiguousarray(share.T)


# Correlations ---------------------------------------------------------------------------------------------------------


def _rounded_block(
    channel: Channel, share: Words, n: int, setting: _Setting, rng: Rng
) -> tuple[NDArray[np.int64] | None, Words | None]:
    """3, 4: the block in units of the last place, if this party learns; its piece of it, if others than the pair do."""
    first = setting.first(channel.peer)
    pair = (channel.me, channel.peer) if first else (channel.peer, channel.me)
    engine = TwoParty.over(channel, first=first, suite=setting.suite, rng=rng)
    words = engine.sum_inputs(share if first else np.ascontiguousarray(share.T))  # rows are the first party's features
    fine = engine.truncate(words, _fraction(n) - _G_BITS)
    half = engine.constant(np.full(fine.shape[1:], 1 << (_G_BITS - 1), dtype=np.uint64))
    bits = engine.to_bits(fine * np.uint64(10**setting.decimals) + half)
    whole = engine.from_bits((bits.view(np.int64) >> np.int64(_G_BITS)).view(np.uint64))
    piece = engine.outward(whole)[0] if set(setting.to) - set(pair) else None
    inside = tuple(party for party in pair if party in setting.to)
    opened = engine.open(whole, to=inside) if inside else None
    if opened is None:
        return None, piece
    block = opened.view(np.int64)
    return block if first else block.T, piece


def _fill(channel: Channel, matrix: Matrix, rows: slice, cols: slice, block: NDArray[np.int64], decimals: int) -> None:
    unit = 10**decimals
    channel.require(bool((np.abs(block) <= unit).all()), "correlations from -1 to 1")
    matrix[rows, cols] = block / unit
    matrix[cols, rows] = matrix[rows, cols].T


def _tell(session: Session, setting: _Setting, pieces: Mapping[str, Words], own: Matrix, *, tell_own: bool) -> None:
    """4 and 5, to those who learn: pieces of the blocks that they are not part of, and the own block."""
    for learner in setting.to:
        if learner == session.me:
            continue
        channel = session.channel(learner)
        for party in setting.parties:
            if party not in (session.me, learner):
                channel.send(wire.CorrelationPieces(), pieces[party])
        if tell_own:
            channel.send(wire.CorrelationOwn(), np.rint(own * 10**setting.decimals).astype(np.int32))


def _be_told(
    session: Session,
    setting: _Setting,
    theirs: Mapping[str, wire.CorrelationTerms],
    place: Mapping[str, slice],
    matrix: Matrix,
) -> None:
    """4 and 5, at one who learns."""
    halves: dict[tuple[str, str], Words] = {}
    for sender in (party for party in setting.parties if party != session.me):
        channel = session.channel(sender)
        for party in (party for party in setting.parties if party not in (session.me, sender)):
            one, other = sorted((sender, party), key=setting.parties.index)
            _, words = channel.recv(wire.CorrelationPieces)
            shape = theirs[one].columns, theirs[other].columns
            channel.require(words.shape == shape, f"{shape[0]} x {shape[1]} correlations")
            if (one, other) not in halves:
                halves[one, other] = words
            else:
                block = (halves[one, other] + words).view(np.int64)
                _fill(channel, matrix, place[one], place[other], block, setting.decimals)
        if theirs[sender].tells_own:
            _, own = channel.recv(wire.CorrelationOwn)
            shape = theirs[sender].columns, theirs[sender].columns
            channel.require(own.shape == shape, f"{shape[0]} x {shape[1]} correlations")
            _fill(channel, matrix, place[sender], place[sender], own.astype(np.int64), setting.decimals)


def _known(correlations: Correlations, one: Feature, other: Feature) -> float:
    """The correlation of two features, 0 where it is not known."""
    if one not in correlations.features or other not in correlations.features:
        return 0.0
    r = correlations.of(one, other)
    return 0.0 if math.isnan(r) else r


def _learned_correlations(me: str, setting: _Setting, theirs: Mapping[str, wire.CorrelationTerms]) -> tuple[str, ...]:
    others = [party for party in setting.parties if party != me]
    said = [f"how many features {', '.join(others)} have, and their names unless these are kept"]
    if me in setting.to:
        said.append(f"correlations of all pairs of features of different parties, to {setting.decimals} decimal places")
        own = [party for party in others if theirs[party].tells_own]
        if own:
            said.append(f"correlations among the features of {', '.join(own)}, which told them")
    return tuple(said)


# Variance inflation ---------------------------------------------------------------------------------------------------


def _whitening(r: Matrix) -> tuple[Matrix, NDArray[np.float64], NDArray[np.bool_]]:
    """T with T' R T = I, or 0 in directions without variance; variance inflation by R alone; who lies in those."""
    values, directions = np.linalg.eigh(r)
    kept = values > _NO_VARIANCE
    t = np.where(kept, directions / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    inside = np.square(directions[:, ~kept]).sum(axis=1) > _IN_IT
    return t, np.where(inside, np.inf, np.square(t).sum(axis=1)), inside


def _factors(
    session: Session, setting: _Setting, mine: Words, n: int, place: Mapping[str, slice], t: Matrix
) -> NDArray[np.float64]:
    """4, 5: the factors of this party's features, of its part of W / K in words, (k, k), and its T."""
    parties, k = len(setting.parties), len(mine)
    start = arithmetic.two_party if parties == 2 else arithmetic.three_party
    found = np.zeros(len(t))
    with start(session, compute=setting.parties, inputs=(), suite=setting.suite, fraction=_FACTOR_BITS) as run:
        engine = run.context.engine
        w = engine.truncate(engine.sum_inputs(mine), _fraction(n) - _G_BITS)
        eye = np.eye(k)
        g = engine.constant(fixed.encode(eye * (1 - 1 / parties), _G_BITS)) - w
        total = engine.constant(fixed.encode(eye, _SUM_BITS)) + engine.truncate(g, _G_BITS - _SUM_BITS)
        g = engine.truncate(engine.matmul(g, g), _G_BITS)
        for _ in range(_DOUBLINGS - 1):
            both = np.concatenate([total, g], axis=1)
            both = engine.truncate(engine.matmul(both, np.ascontiguousarray(g)), _G_BITS)
            total, g = total + both[:, :k], both[:, k:]
        inverse = Shared(run.context, engine.truncate(total, _SUM_BITS - _FACTOR_BITS), "fixed", _FACTOR_BITS)
        for party in setting.parties:
            rows = run.share(t if party == session.me else None, owner=party)
            exact = ((rows @ inverse[place[party], place[party]]) * rows).sum(axis=1)
            opened = run.reveal(exact.as_fixed(_TOLD_BITS), to=party)
            if opened is not None:
                found = np.asarray(opened, dtype=np.float64) / parties
    return found
