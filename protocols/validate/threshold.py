"""Validation of claimed amounts against the sum of what several sources hold. Only a grade comes out, at the asker.

    grades = threshold.ask(session, ids, claims, sources=("tax", "social", "fund")).grades          # at the bank
    threshold.answer(session, ids, incomes, asker="bank", sources=("tax", "social", "fund"))        # at each source

An applicant's claim c against the sum s of the sources' amounts, of which one counts as zero where a source has no
record, with a tolerance and a limit in hundredths of a per cent:

    0  consistent        c <= (1 + tolerance)·s
    1  above             c <= (1 + limit)·s, and not consistent
    2  far above         c >  (1 + limit)·s
    3  no data           no source has a record

in whole numbers, so exactly. Two or three of the sources, by default all, compute on shares; further sources, and the
asker with its claims, only put shares in.

    1  terms, a salt                                                 asker ↔ sources       (ThresholdTerms)
    2  consented: digests of the applicants' keys                    asker → sources       (ThresholdApplicants)
       hidden: circuit PSI over one cuckoo table; asker and source share what the source holds of each bin's applicant:
       amount and 1, or 0 and 0                                      asker ↔ each source   (protocols/psi/payload.py)
    3  the claims, with hidden alignment the asker's shares, too     asker → who computes  (protocols/arithmetic)
    4  income and number of records: shares of the sums              all sources
    5  records < 1, (1 + tolerance)·s < c, (1 + limit)·s < c         among who computes
    6  these three bits of each applicant                            who computes → asker

Security: semi-honest. Three compute: one of them may be corrupt, also together with the asker and with sources that do
          not compute; two of them learn all that is shared. Two compute: the same, by protocols/arithmetic/two.py.
          With hidden alignment the asker and a source that pool what they see learn, besides, which applicants that
          source has. The arithmetic's and psi.payload's assumptions.
Leaks:    the asker learns each applicant's grade, and with hidden alignment how many different keys each source holds.
          The bits tell nothing more: of an applicant without data both comparisons say whether the claim is positive.
          Each source learns how many applicants there are; with consented alignment whom it is asked about: it sees
          digests under a salt that it knows, so the keys of those of whom it has a record, and can try any other.
          No source learns claims, grades, sums, or whether another source has a record. Consented, the time that a
          source takes to look applicants up grows with how many it finds, some 40 ns each: of large lists the others
          may guess from it about how many, but not whom.
          That all sources are asked about the same applicants rests on the asker: what it tells one alone, it is graded
          against that one's amounts alone.
          Whoever may ask again with other claims narrows the sum down: what may be asked how often, and for how many
          applicants at least (`minimum`), is for the sources to agree.
Cost:     with k = 2 words a share where three compute, 1 where two do, n applicants, and with hidden alignment
          m = `cuckoo.bins(n)` places, otherwise m = n: from the asker to each source 16·n bytes, or psi.payload of two
          words; to each that computes 8·k·m bytes, hidden 24·k·m, and 3·k·m / 8 back; from each source that does not
          compute 16·k·m to each that does; among these a ``sum_inputs`` of 2·m words, a ``negative`` of 3·m and an
          ``outward`` of 3·m bits; terms of below 400 bytes, and 80 a message. Rounds of the asker: 2 with each source,
          hidden psi.payload's besides; those of one comparison among those that compute, for every 2^18 places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import PeerError, PolicyError, UsageError
from mpc.kernels import cuckoo
from mpc.kernels import join as joins
from mpc.kernels.packing import Packed
from mpc.rng import Rng
from mpc.session import Progress, Session, at_once, closing_on_error
from mpc.suite import Suite
from mpc.wire.validate.v1 import threshold_pb2 as wire
from protocols.arithmetic import pieces, three, two
from protocols.arithmetic.engine import Disagreement, Engine, Scheme
from protocols.operator import Operator
from protocols.psi import items as sets
from protocols.psi import payload
from protocols.psi.items import Amounts, Column, Items, amounts_by_key, collect
from protocols.validate.operators import OPERATORS, Alignment

CONSISTENT, ABOVE, FAR_ABOVE, NO_DATA = range(4)

BASIS = 10_000
"""Basis points in one."""
MAX_BASIS_POINTS = 100_000
"""Largest tolerance and limit: a claim of eleven times the sum."""
AMOUNT_LIMIT = 1 << 40
"""What claims, and amounts of one source, stay below; in smallest units. Then all that is compared is below 2^62."""
MAX_APPLICANTS = 1 << 22
"""Most applicants in one run."""
MAX_SOURCES = 15

_PIECE = 1 << 18  # applicants, or bins, in a message and in one step of the arithmetic
_AT_ONCE = 3  # runs of psi.payload that the asker holds in memory
_SALT_BYTES = 32
_DIGEST_BYTES = 16
_SHOWN = 200  # characters of what a peer says that an error text repeats

Words = NDArray[np.int64]


@dataclass(frozen=True)
class Thresholds:
    """By how much a claim may exceed the sum, in basis points (hundredths of a per cent), at most 100,000.

    Attributes:
        tolerance_bp: up to this a claim is consistent.
        limit_bp: up to this it is above, and beyond it far above. Not below the tolerance.
    """

    tolerance_bp: int = 0
    limit_bp: int = 2_000

    def __post_init__(self) -> None:
        whole = all(isinstance(bp, int) for bp in (self.tolerance_bp, self.limit_bp))
        if not whole or not 0 <= self.tolerance_bp <= self.limit_bp <= MAX_BASIS_POINTS:
            raise UsageError(
                f"Thresholds are 0 <= tolerance_bp <= limit_bp <= {MAX_BASIS_POINTS} whole basis points; got "
                f"{self.tolerance_bp} and {self.limit_bp}. 20 % are 2000."
            )


@dataclass(frozen=True)
class Asked:
    """What the asker has.

    Attributes:
        grades: (n,) uint8, the grade of each applicant in the order of the input: CONSISTENT, ABOVE, FAR_ABOVE or
            NO_DATA, which are 0 to 3.
        records: how many different keys each source holds, by name; None with consented alignment.
    """

    grades: NDArray[np.uint8] = field(repr=False)
    records: Mapping[str, int] | None


@dataclass(frozen=True)
class Answered:
    """What a source has.

    Attributes:
        applicants: how many the asker asked about.
        found: of how many of them this source has a record; None with hidden alignment.
    """

    applicants: int
    found: int | None


def grade_names(thresholds: Thresholds, *, language: Literal["en", "zh"] = "en") -> tuple[str, str, str, str]:
    """What the grades 0 to 3 mean, for people."""
    limit = f"{thresholds.limit_bp / 100:g} %"
    if language == "zh":
        return ("一致", f"高出不超过 {limit}", f"高出超过 {limit}", "无数据")
    return ("consistent", f"above by at most {limit}", f"above by more than {limit}", "no data")


def ask(
    session: Session,
    ids: Column | tuple[Column, ...],
    claims: Amounts,
    *,
    sources: Sequence[str],
    compute: Sequence[str] | None = None,
    thresholds: Thresholds = Thresholds(),
    alignment: Alignment = "consented",
    minimum: int = 0,
    suite: str | Suite = "intl",
    form: str = "text",
) -> Asked:
    """The asker's side: have claims graded. All parties pass the same options but for `minimum`.

    Whatever goes wrong at one party ends the conversation with all, so that they fail too and do not wait.

    Args:
        session: this party's run, with a channel to each source.
        ids: the applicants' keys, one for each row; as for ``psi.intersect``. No key may occur twice.
        claims: for each row what is claimed, in the smallest unit, 0 to 2^40 - 1.
        sources: names of the sources, 2 to 15, in an order that is the same at all parties.
        compute: which two or three of them compute; left out, all of them, where there are no more.
        thresholds: where one grade ends and the next begins.
        alignment: "consented", or "hidden" if no source is to learn whom it is asked about.
        minimum: fewest applicants for whom grades may be given; what a source asks for counts likewise.
        suite: cipher suite or its name.
        form: canonical form of the keys.

    Raises:
        InvalidIdentifier: a row whose key is not of the form.
        UsageError: a key in several rows, a negative claim or one out of range (naming the row), no whole numbers,
            options that there are not.
        PolicyError: fewer applicants than `minimum`.
        PeerError: a party runs something else (the text names it), or broke the protocol.
        ChannelError: a connection failed.
    """
    with closing_on_error(session, "a validation"):
        chosen = suites.get(suite) if isinstance(suite, str) else suite
        who, operator = _roles(session, session.me, sources, compute), _operator(alignment)
        mine = collect(ids, form=form, duplicates="error", rng=session.rng)
        amounts = _amounts(claims, mine, "claim")
        n = len(mine.keys)
        if n > MAX_APPLICANTS:
            raise UsageError(f"{n} applicants are more than the {MAX_APPLICANTS} of one run: split them.")
        _require_enough(n, minimum)
        salt = session.rng.bytes(_SALT_BYTES)
        digests = _digests(mine.keys, chosen, salt)  # which finds keys that occur twice before anything is sent
        terms = _terms(operator, who, thresholds, chosen, form)
        for source in who.sources:  # 1
            _agree(session.channel(source), terms, wire.ThresholdTerms(applicants=n, salt=salt))
        session.progress(Progress("align", 0, len(who.sources)))
        if alignment == "consented":
            rows, given, records = _name_them(session, who, digests, amounts)  # 2
        else:
            rows, given, records = _with_payloads(session, who, mine.keys, amounts, chosen)  # 2
        by_place = _grades(_put_in(session, who, given, operator))
        grades = np.empty(n, dtype=np.uint8)
        grades[rows[rows >= 0]] = by_place[rows >= 0]
        return Asked(grades, records)


def answer(
    session: Session,
    ids: Column | tuple[Column, ...],
    incomes: Amounts,
    *,
    asker: str,
    sources: Sequence[str],
    compute: Sequence[str] | None = None,
    thresholds: Thresholds = Thresholds(),
    alignment: Alignment = "consented",
    minimum: int = 0,
    duplicates: Literal["error", "sum"] = "error",
    suite: str | Suite = "intl",
    form: str = "text",
) -> Answered:
    """A source's side: put in what it holds, and help to compute. All parties pass the same options but for `minimum`.

    Args:
        session: this party's run, with a channel to the asker and to each other source.
        ids: the keys of the source's records, one for each row.
        incomes: the amount of each row in the smallest unit, 0 to 2^40 - 1.
        asker: name of the party that asks.
        sources: as for `ask`.
        compute: as for `ask`.
        thresholds: as for `ask`.
        alignment: as for `ask`.
        minimum: fewest applicants for whom this source takes part.
        duplicates: what several rows of one key mean: "error", or "sum" if their amounts belong together.
        suite: as for `ask`.
        form: as for `ask`.

    Raises:
        As `ask`; UsageError also for a negative amount (naming the row), and for a key in several rows where
        `duplicates` is "error".
    """
    with closing_on_error(session, "a validation"):
        chosen = suites.get(suite) if isinstance(suite, str) else suite
        who = _roles(session, asker, sources, compute)
        if duplicates not in ("error", "sum"):
            raise UsageError(f"duplicates is 'error' or 'sum', not {duplicates!r}.")
        policy: Literal["error", "many"] = "error" if duplicates == "error" else "many"
        mine = collect(ids, form=form, duplicates=policy, rng=session.rng)
        amounts = _amounts(incomes, mine, "amount")
        channel = session.channel(asker)
        terms = _terms(_operator(alignment), who, thresholds, chosen, form)
        theirs = _agree(channel, terms, wire.ThresholdTerms())  # 1
        channel.require(theirs.applicants <= MAX_APPLICANTS, f"at most {MAX_APPLICANTS} applicants")
        channel.require(len(theirs.salt) == _SALT_BYTES, f"a salt of {_SALT_BYTES} bytes")
        _require_enough(theirs.applicants, minimum)
        summing = ", or pass duplicates='sum' where their amounts belong together"
        digests = _digests(mine.keys, chosen, theirs.salt, otherwise=summing)
        session.progress(Progress("align", 0, 1))
        if alignment == "consented":
            held, found = _look_up(channel, theirs.applicants, digests, amounts)  # 2
        else:
            held, found = _share_records(session, channel, theirs.applicants, mine.keys, amounts, chosen), None  # 2
        session.progress(Progress("align", 1, 1))
        if session.me in who.compute:
            _compute(session, who, held, thresholds, chosen, rows=1 if alignment == "consented" else 3)
        else:
            _deal(session, who, held)  # 4
        return Answered(theirs.applicants, found)


# Who, and on what -----------------------------------------------------------------------------------------------------


def _operator(alignment: Alignment) -> Operator:
    found = OPERATORS.get(alignment)
    if found is None:
        raise UsageError(f"alignment is 'consented' or 'hidden', not {alignment!r}.")
    return found


@dataclass(frozen=True)
class _Roles:
    asker: str
    sources: tuple[str, ...]
    compute: tuple[str, ...]


def _roles(session: Session, asker: str, sources: Sequence[str], compute: Sequence[str] | None) -> _Roles:
    who = _Roles(asker, tuple(sources), tuple(sources if compute is None else compute))
    if not 2 <= len(who.sources) <= MAX_SOURCES or len(set(who.sources)) != len(who.sources) or asker in who.sources:
        raise UsageError(
            f"sources names 2 to {MAX_SOURCES} different parties besides the asker {asker}; got "
            f"{', '.join(who.sources) or 'none'}."
        )
    if len(who.compute) not in (2, 3) or len(set(who.compute)) != len(who.compute):
        raise UsageError(f"Two or three sources compute, not {len(who.compute)}; name them by compute=….")
    if stranger := sorted(set(who.compute) - set(who.sources)):
        raise UsageError(f"compute names {stranger[0]}, which is none of the sources {', '.join(who.sources)}.")
    if session.me not in (asker, *who.sources):
        raise UsageError(f"{session.me} is neither the asker {asker} nor one of the sources {', '.join(who.sources)}.")
    met = {asker, *who.sources} if session.me in (asker, *who.compute) else {asker, *who.compute}
    for name in met - {session.me}:
        session.channel(name)  # which says that there is none
    return who


def _amounts(values: Amounts, items: Items, what: str) -> Words:
    """(n,) int64, one amount for each key, not negative."""
    rows = amounts_by_key(values, Items(items.input_rows, items.keys), bound=(1 << 63) - 1)
    for bad, problem in ((rows < 0, "negative"), (rows >= AMOUNT_LIMIT, "2^40 or more smallest units")):
        if bad.any():
            raise UsageError(f"The {what} of row {int(np.argmax(bad)) + 1} is {problem}: correct it, or drop the row.")
    return amounts_by_key(rows, items, bound=AMOUNT_LIMIT - 1)


def _require_enough(applicants: int, minimum: int) -> None:
    if applicants < minimum:
        raise PolicyError(
            f"grades are asked for fewer than {minimum} applicants, and given for none",
            code="result-too-small",
            remedy="Ask about more applicants at a time.",
        )


# 1  Terms -------------------------------------------------------------------------------------------------------------


def _terms(operator: Operator, who: _Roles, thresholds: Thresholds, suite: Suite, form: str) -> wire.ThresholdTerms:
    return wire.ThresholdTerms(
        operator=operator.name,
        version=operator.version,
        suite=suite.name,
        form=form,
        asker=who.asker,
        sources=who.sources,
        compute=who.compute,
        tolerance_bp=thresholds.tolerance_bp,
        limit_bp=thresholds.limit_bp,
    )


def _agree(channel: Channel, terms: wire.ThresholdTerms, own: wire.ThresholdTerms) -> wire.ThresholdTerms:
    """Exchange terms, `own` being what this party alone says; the peer's. PeerError where they differ."""
    mine = wire.ThresholdTerms()
    mine.CopyFrom(terms)
    mine.MergeFrom(own)
    channel.send(mine)
    (theirs,) = channel.recv(wire.ThresholdTerms)
    here, there = _words(mine), _words(theirs)
    for what, word in here.items():
        text = f"one {what} at all parties: {_shown(word)} here, {_shown(there[what])} there"
        channel.require(word == there[what], text)
    return theirs  # type: ignore[no-any-return]  # recv has checked it


def _words(terms: wire.ThresholdTerms) -> dict[str, str]:
    """What has to be the same at all parties, as words."""
    return {
        "operator": f"{terms.operator} version {terms.version}",
        "suite": terms.suite,
        "form of keys": terms.form,
        "asker": terms.asker,
        "list of sources": ", ".join(terms.sources),
        "list of who computes": ", ".join(terms.compute),
        "tolerance": f"{terms.tolerance_bp} basis points",
        "limit": f"{terms.limit_bp} basis points",
    }


def _shown(text: str) -> str:
    """A peer may say any text, of any length."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


# 2  Who is meant ------------------------------------------------------------------------------------------------------


def _pieces(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _PIECE, n)) for start in range(0, n, _PIECE))


def _digests(keys: Packed, suite: Suite, salt: bytes, *, otherwise: str = "") -> NDArray[np.uint8]:
    """(n, 16) uint8. UsageError where a key occurs twice, whose remedy ends with what there is to do `otherwise`."""
    digests = sets.digests(keys, suite=suite, salt=salt)
    sets.require_distinct(digests, otherwise=otherwise)
    return np.ascontiguousarray(digests[:, :_DIGEST_BYTES])


def _name_them(
    session: Session, who: _Roles, digests: NDArray[np.uint8], claims: Words
) -> tuple[NDArray[np.int64], Words, None]:
    """Consented, the asker's side. Returns as `_with_payloads`; places are those of the asker's own order."""
    for done, source in enumerate(who.sources, start=1):
        for piece in _pieces(len(digests)):
            session.channel(source).send(wire.ThresholdApplicants(), digests[piece])
        session.progress(Progress("align", done, len(who.sources)))
    return np.arange(len(digests)), claims[np.newaxis], None


def _look_up(channel: Channel, n: int, mine: NDArray[np.uint8], amounts: Words) -> tuple[Words, int]:
    """Consented, a source's side. Returns (2, n): amount and 1 for each applicant of whom there is a record, 0 and 0
    for the others; and of how many there is one.
    """
    theirs = np.empty((n, _DIGEST_BYTES), dtype=np.uint8)
    for piece in _pieces(n):
        _, digests = channel.recv(wire.ThresholdApplicants)
        fits = len(digests) == piece.stop - piece.start
        channel.require(fits, f"the digests of {n} applicants, {_PIECE} in a message")
        theirs[piece] = digests
    # Two claims about one person would be two questions in one. Whether there is a record plays no part in refusing
    # them: otherwise the asker, who hears of it, would learn by repeating somebody whether this source has one.
    channel.require(sets.distinct(theirs), "applicants who all differ")
    rows, at = joins.join(mine, theirs, most=n)
    held = np.zeros((2, n), dtype=np.int64)
    held[0, at] = amounts[rows]
    held[1, at] = 1
    return held, int(held[1].sum())


def _with_payloads(
    session: Session, who: _Roles, keys: Packed, claims: Words, suite: Suite
) -> tuple[NDArray[np.int64], Words, Mapping[str, int]]:
    """Hidden, the asker's side; places are the bins of one cuckoo table, the same with all sources.

    Returns which applicant each place has, or -1; (3, bins) claims, and the sums of its shares of amounts and records;
    and how many keys each source brings.
    """
    table = payload.arrange(keys, suite=suite, rng=session.rng)

    def receive(channel: Channel, rng: Rng) -> payload.Payload:
        return payload.receive(channel, table, width=2, suite=suite, rng=rng)

    given = np.zeros((3, len(table.rows)), dtype=np.uint64)
    records = {}
    for source, got in at_once(session, who.sources, receive, most=_AT_ONCE):
        given[1:] += got.values
        records[source] = got.peer_size
        session.progress(Progress("align", len(records), len(who.sources)))
    used = table.rows >= 0
    given[0, used] = claims[table.rows[used]].view(np.uint64)
    return table.rows, given.view(np.int64), {source: records[source] for source in who.sources}


def _share_records(session: Session, channel: Channel, n: int, keys: Packed, amounts: Words, suite: Suite) -> Words:
    """Hidden, a source's side: (2, bins), its shares of amount and 1 of each bin's applicant, or of 0 and 0."""
    words = np.stack([amounts, np.ones_like(amounts)]).view(np.uint64)
    shares = payload.send(channel, keys, words, suite=suite, rng=session.rng)
    channel.require(shares.shape[1] == cuckoo.bins(n), "bins for as many applicants as the terms say")
    return shares.view(np.int64)


# 3 to 6  What is compared ---------------------------------------------------------------------------------------------


def _engine(session: Session, compute: tuple[str, ...], suite: Suite) -> Engine:
    """Who computes, and how."""
    if len(compute) == three.SCHEME.parties:
        return three.ThreeParty(session, compute, suite=suite)
    return two.TwoParty(session, compute, suite=suite)


def _scheme(compute: tuple[str, ...]) -> Scheme:
    """How what the others put in is split for them."""
    return three.SCHEME if len(compute) == three.SCHEME.parties else two.SCHEME


def _deal(session: Session, who: _Roles, values: Words) -> None:
    """What a party that does not compute puts in, (rows, m) int64."""
    scheme = _scheme(who.compute)
    for piece in _pieces(values.shape[1]):
        words = np.ascontiguousarray(values[:, piece]).view(np.uint64)
        for name, components in zip(who.compute, scheme.deal(words, session.rng), strict=True):
            pieces.send(session.channel(name), components)


def _put_in(session: Session, who: _Roles, given: Words, operator: Operator) -> NDArray[np.bool_]:
    """The asker's side: (1 or 3, m) int64, claims, and shares of amounts and records -> (3, m) bits."""
    _deal(session, who, given)  # 3
    scheme, m = _scheme(who.compute), given.shape[1]
    bits = np.empty((3, m), dtype=np.bool_)
    for piece in _pieces(m):  # 6
        shape = (3, piece.stop - piece.start)
        received = [pieces.receive(session.channel(name), scheme.components, shape, bits=True) for name in who.compute]
        try:
            bits[:, piece] = scheme.combine(received)
        except Disagreement:
            party = " or ".join(who.compute)
            raise PeerError("copies of one share differ", party=party, protocol=operator.name, step="Bits") from None
        session.progress(Progress("compute", piece.stop, m))
    return bits


def _compute(session: Session, who: _Roles, held: Words, thresholds: Thresholds, suite: Suite, *, rows: int) -> None:
    """The side of who computes: `held`, (2, m) int64, are its amounts and records, or its shares of them; the asker
    gives `rows`.
    """
    asker = session.channel(who.asker)
    others = [session.channel(name) for name in who.sources if name not in who.compute]
    m = held.shape[1]
    engine = _engine(session, who.compute, suite)
    limits = (thresholds.tolerance_bp, thresholds.limit_bp)
    factors = np.array([[BASIS + limit] for limit in limits], dtype=np.uint64)
    for piece in _pieces(m):
        size = piece.stop - piece.start
        given = pieces.receive(asker, engine.k, (rows, size))  # 3
        total = engine.sum_inputs(np.ascontiguousarray(held[:, piece]).view(np.uint64))  # 4
        for other in others:
            total += pieces.receive(other, engine.k, (2, size))
        if rows > 1:
            total += given[:, 1:]
        claim, income, records = given[:, :1], total[:, :1], total[:, 1:]
        none = records - engine.constant(np.ones((1, size), dtype=np.uint64))
        bits = engine.negative(np.concatenate([none, income * factors - claim * np.uint64(BASIS)], axis=1))  # 5
        pieces.send(asker, engine.outward(bits))  # 6
        session.progress(Progress("compute", piece.stop, m))


def _grades(bits: NDArray[np.bool_]) -> NDArray[np.uint8]:
    none, above, far = bits
    return np.where(none, np.uint8(NO_DATA), above.astype(np.uint8) + far)
