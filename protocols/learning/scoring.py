"""Scoring by the parts of a model: the sums that the parties' parts give for a row, put together, or graded unopened.

    total = Σ_p x_p · w_p                       the asker's part, which has the intercept, and each partner's
    score    each partner tells the asker its part of each row's sum
    grade    the parts are shares of the sum as they are: additive ones over Z_2^64 between two parties, re-shared at
             three; they are compared with the public cuts, and the outcomes open to the asker alone

Of boosted trees no part has a sum of its own: between the two of a warm session the asker offers what each of the
partner's nodes would add to a row's margin, and shares of the margins come of it (``leaf_sums``), which open to the
asker, or are compared. For a batch see ``boosted_scoring``.

The asker is the party that had the labels. Rows are already the same at all parties: by an alignment in a batch
(`scores`, `grades`), by keys in a warm session between two (`asking`, `serve`).

Security: semi-honest; `grade` as protocols.arithmetic: either of two parties, or one of the three that compute.
Leaks:    score: to the asker each partner's part of each row's sum. With as many rows as a partner has features, and
          those features known, that is its coefficients. grade: to the asker the grade, which is that the partners' sum
          lies between two cuts less the asker's own part. Whoever asks again about a row with another part of its own
          learns another such bound: a partner limits how often, and does not see it. In a warm session the partner
          learns the keys and the asker which of them have a record. With more than two parties, the asker and one
          other of those who compute know together what the rest have.
Cost:     score: 8 n bytes from each partner, and two messages. grade, of c cuts: n c comparisons as of
          protocols.arithmetic, and one opening; between two parties at most 460 bytes a comparison with the transfers
          that it takes, padded to multiples of 64, and 10 rounds besides the set-up.
          A warm session: one round before, to learn the terms; a query one round and 41 bytes and its key for each row,
          then the comparison where grades are released. Of boosted trees one more round, and 12 bytes for each row and
          node of the partner's, rows times nodes padded to a multiple of 128.
Exact:    each part, and each cut, is rounded to 2^-30 before it is graded: a grade is exact where the sum is not within
          (K + 1) 2^-31 of a cut, of K parties. Of boosted trees, of ``leaf_sums``.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpc import fixed
from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import ChannelClosed, PolicyError, UsageError
from mpc.session import Session
from mpc.wire.learning.v1 import boosted_pb2 as boosted_wire
from mpc.wire.learning.v1 import scoring_pb2 as wire
from mpc.wire.lookup.v1 import table_pb2 as lookup_wire
from protocols.arithmetic import party as arithmetic
from protocols.arithmetic.party import Computation
from protocols.arithmetic.shared import Shared
from protocols.learning import leaf_sums
from protocols.learning.boosted import MAX_NODES
from protocols.learning.leaf_sums import Chooser, Giver, Offers
from protocols.learning.release import Release
from protocols.lookup.table import SignedDocument

FRACTION = 30
"""Fractional bits of a part's sum when it is graded."""
LARGEST = float(1 << 20)
"""A part's sum is smaller: log odds of a million are an error of scale, and sums of many parts must not overflow."""
MAX_ROWS = 1 << 22
"""Most rows of a batch."""
MAX_CUTS = 16
"""Most cuts: what is told by grades finer than that is nearly the score."""
MAX_KEYS = 1000
"""Most keys in one query of a warm session."""
MAX_KEY_BYTES = 256
"""Longest canonical key."""

ABSENT, FOUND, OVER_QUOTA = 0, 1, 2
"""What a partner says of a key: no record, scored, refused since the day's calls are spent."""

Grades = NDArray[np.int64]
Sums = NDArray[np.float64]

_CODE = re.compile(r"[a-z0-9](-?[a-z0-9]){0,63}")
_WARM_LANE, _TREES_LANE = "grades", "trees"


# A batch --------------------------------------------------------------------------------------------------------------


def scores(session: Session, partial: Sums, *, asker: str, parties: Sequence[str], training: str = "") -> Sums | None:
    """Put the sums of all parts together, at the asker. Called by each party of the model.

    Args:
        session: with a channel to each other party.
        partial: (n,) this party's part of each row's sum, in the rows' common order.
        asker: the party that learns the scores.
        parties: all parties of the model.
        training: names the training that the part comes from; the same at all.

    Returns:
        (n,) the sums at the asker; None at the others.

    Raises:
        UsageError: numbers that are no sums of a model's part, or too many; parties that are not those of the session.
        PeerError: another party has other rows, roles or another training; other than n finite sums from a partner.
    """
    values, names = checked(partial), names_of(session, parties, asker)
    agree(session, wire.Batch(rows=len(values), asker=asker, parties=names, training=training))
    if session.me != asker:
        session.channel(asker).send(wire.Partial(), values)
        return None
    total = values.copy()
    for partner in names:
        if partner != asker:
            channel = session.channel(partner)
            _, theirs = channel.recv(wire.Partial, max_bytes=8 * max(len(total), 1))
            channel.require(len(theirs) == len(total), "a sum for each row")
            _require_sums(channel, theirs)
            total += theirs
    return total


def grades(
    session: Session,
    partial: Sums,
    *,
    asker: str,
    parties: Sequence[str],
    cuts: Sequence[float],
    training: str = "",
    suite: str = "intl",
) -> Grades | None:
    """Grade the sums of all parts. Called by each party of the model.

    Two parties compute between the two of them; of more, the asker and the first two others compute, and the rest bring
    their parts as shares.

    Args:
        session: with a channel to each other party.
        partial: (n,) this party's part of each row's sum, in the rows' common order.
        asker: the party that learns the grades.
        parties: all parties of the model.
        cuts: where one grade ends and the next begins, increasing; the same at all parties.
        training: names the training that the part comes from; the same at all.
        suite: of the base transfers.

    Returns:
        (n,) int64 at the asker: how many of the cuts are not above the sum, 0 to len(cuts). None at the others.

    Raises:
        UsageError: as for ``scores``; cuts that ``check_cuts`` refuses.
        PeerError: another party has other rows, cuts or roles, or another training.
    """
    values, names = checked(partial), names_of(session, parties, asker)
    check_cuts(cuts)
    agree(session, wire.Batch(rows=len(values), asker=asker, parties=names, cuts=cuts, training=training))
    partners = [name for name in names if name != asker]
    compute, inputs = (asker, *partners[:2]), tuple(partners[2:])
    if session.me in inputs:
        with arithmetic.input_party(session, compute=compute, fraction=FRACTION) as outside:
            outside.send(values)
        return None
    join = arithmetic.two_party if len(compute) == 2 else arithmetic.three_party
    with join(session, compute=compute, inputs=inputs, suite=suite, fraction=FRACTION) as run:
        return graded(run, values, asker=asker, cuts=cuts)


def names_of(session: Session, parties: Sequence[str], asker: str) -> tuple[str, ...]:
    """The parties, sorted. Raises UsageError unless they are those of a model that this session can score with."""
    names = tuple(sorted(set(parties)))
    if len(names) < 2 or not {asker, session.me} <= set(names) or not set(names) <= set(session.parties):
        raise UsageError(f"parties names all of the model's parties, of this session, and the asker; not {names}.")
    return names


def agree(session: Session, mine: wire.Batch) -> None:
    """All parties are about to do the same. PeerError that names what differs."""
    peers = [name for name in mine.parties if name != session.me]
    for peer in peers:
        session.channel(peer).send(mine)
    for peer in peers:
        arithmetic.require_same(session.channel(peer), mine, session.channel(peer).recv(wire.Batch)[0])


def graded(run: Computation, partial: Sums, *, asker: str, cuts: Sequence[float]) -> Grades | None:
    """``grades`` in a computation that runs already. Called by those who compute."""
    total = run.share(partial).sum_over_parties()
    for name in run.inputs:
        total = total + run.receive(from_=name)
    return _compared(run, total, asker, cuts)


def graded_words(run: Computation, words: NDArray[np.uint64], *, asker: str, cuts: Sequence[float]) -> Grades | None:
    """``graded``, of (n,) shares modulo 2^64 with ``FRACTION`` fractional bits, which need not be renewed."""
    return _compared(run, run.from_pieces(words, fraction=FRACTION), asker, cuts)


def opened(channel: Channel, words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The scores that words stand for, the sums of both sides' shares. PeerError where they cannot be scores."""
    scores = fixed.decode(words, FRACTION)
    channel.require(bool((np.abs(scores) < LARGEST).all()), f"shares of margins below {LARGEST:.0f}")
    return scores


def _compared(run: Computation, total: Shared, asker: str, cuts: Sequence[float]) -> Grades | None:
    # Sums and cuts are multiples of a step each, so "not below" has no other side to err to. That each cut is compared
    # opens no more than the grade: of increasing cuts the outcomes are ones and then zeros.
    above = total.reshape(-1, 1) >= np.asarray(cuts, dtype=np.float64)
    opened = run.reveal(above, to=asker)
    return None if opened is None else opened.sum(axis=1).astype(np.int64)


def checked(partial: Sums) -> Sums:
    """(n,) float64, if these can be a part's sums. Raises UsageError otherwise; never repeats a value."""
    values = np.ascontiguousarray(partial, dtype=np.float64)
    if values.ndim != 1 or len(values) > MAX_ROWS:
        raise UsageError(f"Give one sum for each row, of at most {MAX_ROWS} rows: go in parts.")
    # Written so that NaN fails, too.
    if not (np.abs(values) < LARGEST).all():
        raise UsageError(
            f"A row's sum is not a number, or not below {LARGEST:.0f}: are the features of this row what the model was "
            "trained on? Fill in what is missing, or clip."
        )
    return values


def check_cuts(cuts: Sequence[float]) -> None:
    """Raises UsageError unless these are 1 to ``MAX_CUTS`` finite, increasing numbers that sums can reach."""
    values = [float(cut) for cut in cuts]
    increasing = all(a < b for a, b in itertools.pairwise(values))
    if not 1 <= len(values) <= MAX_CUTS or not increasing or not all(abs(cut) < LARGEST for cut in values):
        raise UsageError(f"cuts are 1 to {MAX_CUTS} increasing numbers, in units of the score; such as [-1.0, 0.5].")


# A warm session -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terms:
    """What a partner scores with, and what it releases.

    Attributes:
        model: names the model, the same at all parts.
        job: names the training that the part comes from.
        label_party: who may put the parts together.
        release: ``score`` or ``grade``.
        cuts: of the grades; none where scores are released.
        key_form: form of the keys.
        nodes: of boosted trees, how many nodes of each tree are the partner's; empty for other models.
        classes: margins of a row; 1 but for boosted trees.
    """

    model: str
    job: str
    label_party: str
    release: Release
    cuts: tuple[float, ...]
    key_form: str
    nodes: tuple[int, ...] = ()
    classes: int = 1


@dataclass(frozen=True)
class Request:
    """Whom somebody asks to have scored: a party, as its certificate proves it, its scenario, and canonical keys."""

    peer: str
    scenario: str
    keys: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class Reply:
    """What the application has decided and durably written down before anything of it goes out.

    Attributes:
        status: (n,) uint8, ``ABSENT``, ``FOUND`` or ``OVER_QUOTA`` for each key.
        partial: (m,) this part's sums of the m keys found, in order; of boosted trees (nodes, m) bool, of
            ``leaf_sums.bits_of``.
        receipt: goes to the asker; None where the application gives none.
    """

    status: NDArray[np.uint8]
    partial: Sums | NDArray[np.bool_] = field(repr=False)
    receipt: SignedDocument | None = None


class Service(Protocol):
    """What the application behind ``serve`` provides. Both may raise PolicyError: the asker gets its text."""

    def terms(self) -> Terms:
        """What is scored with now. Asked once in a session: what changes holds for the next one."""

    def score(self, request: Request) -> Reply:
        """Decide by policy and quota, find the records, write down what goes out."""


def serve(session: Session, service: Service, *, asker: str, suite: str = "intl") -> int:
    """The partner's side of one warm session: answer queries until the asker closes the channel.

    Args:
        session: with a channel to the asker.
        service: model, policy and ledger.
        asker: who asks.
        suite: of the base transfers, where grades are released.

    Returns:
        How many keys were answered.

    Raises:
        PeerError: a malformed request.
        ChannelTimeout: the asker was silent for longer than the channel allows.
    """
    channel, answered = session.channel(asker), 0
    with ExitStack() as stack:
        terms: Terms | None = None
        run: Computation | None = None
        chooser: Chooser | None = None
        while True:
            try:
                request, *_ = channel.recv(wire.TermsRequest if terms is None else wire.Ask)
                try:
                    if isinstance(request, wire.TermsRequest):
                        terms = service.terms()
                        channel.send(_terms_to_wire(terms))
                        if terms.nodes:
                            lane = channel.fork(_TREES_LANE)
                            chooser = leaf_sums.start_chooser(lane, suite=suites.get(suite), rng=session.rng)
                        if terms.release == "grade":
                            run = stack.enter_context(_comparing(session, asker, asker=asker, suite=suite))
                        continue
                    reply = service.score(_request(channel, request))
                except PolicyError as error:
                    channel.send(
                        lookup_wire.Refused(code=error.code, message=_plain(error.reason), remedy=_plain(error.remedy))
                    )
                    continue
                if terms is not None:
                    _answer(channel, terms, reply, run, chooser)
                answered += len(reply.status)
            except ChannelClosed:
                return answered


def _answer(channel: Channel, terms: Terms, reply: Reply, run: Computation | None, chooser: Chooser | None) -> None:
    """What a reply says goes out."""
    asker, status, nothing = channel.peer, reply.status, np.empty(0, dtype=np.float64)
    header = wire.Scores(receipt=_receipt_to_wire(reply.receipt))
    if chooser is None:
        sums = checked(np.asarray(reply.partial, dtype=np.float64))
        channel.send(header, status, sums if run is None else nothing)
        if run is not None and len(sums):
            graded(run, sums, asker=asker, cuts=terms.cuts)
        return
    counts = leaf_sums.counts_by_class(terms.nodes, terms.classes)
    if reply.partial.dtype != np.bool_ or reply.partial.shape != (sum(counts), np.count_nonzero(status == FOUND)):
        raise UsageError(f"Of boosted trees a reply has bits of {sum(counts)} nodes for each key that was found.")
    channel.send(header, status, nothing)
    if not reply.partial.shape[1]:
        return
    share = leaf_sums.choose_all(chooser, reply.partial.astype(np.bool_), counts)
    if run is None:
        channel.send(boosted_wire.BoostedShares(), np.ascontiguousarray(share.T))
    else:
        graded_words(run, share[0], asker=asker, cuts=terms.cuts)


@dataclass(frozen=True)
class Answers:
    """What an asker learned of n keys.

    Attributes:
        status: (n,) uint8, ``ABSENT``, ``FOUND`` or ``OVER_QUOTA``.
        totals: (n,) the scores, (n, classes) where a row has several; NaN where there is none. None where grades are
            released.
        grades: (n,) the grades; -1 where there is none. None where scores are released.
        receipt: the caller verifies it.
    """

    status: NDArray[np.uint8]
    totals: Sums | None
    grades: Grades | None
    receipt: SignedDocument | None


@dataclass(frozen=True)
class Asking:
    """The asker's end of a warm session. Made by ``asking``; for one thread at a time."""

    channel: Channel
    terms: Terms
    _run: Computation | None = field(repr=False)
    _giver: Giver | None = field(default=None, repr=False)

    def ask(self, keys: Sequence[bytes], partial: Sums | Offers, *, scenario: str) -> Answers:
        """Have rows scored.

        Args:
            keys: n canonical keys, 1 to ``MAX_KEYS``.
            partial: (n,) this party's own part of each row's sum; of boosted trees its offers for the n rows, whose
                base has the base score.
            scenario: what for.

        Raises:
            UsageError: other lengths than that; sums that ``checked`` refuses; offers for other nodes.
            PolicyError: the partner refuses; nothing was scored.
            PeerError: a malformed reply.
            ChannelError: the connection was lost.
        """
        own, n = self._own(partial), len(keys)
        rows = own.base.shape[1] if isinstance(own, Offers) else len(own)
        if not 1 <= n <= MAX_KEYS or rows != n:
            raise UsageError(f"Ask about 1 to {MAX_KEYS} keys at a time, with a sum for each; got {n} and {rows}.")
        if any(len(key) > MAX_KEY_BYTES for key in keys):
            raise UsageError(f"A canonical key has at most {MAX_KEY_BYTES} bytes.")
        channel = self.channel
        channel.send(wire.Ask(scenario=scenario, keys=keys))
        reply, *arrays = channel.recv(wire.Scores, lookup_wire.Refused)
        if isinstance(reply, lookup_wire.Refused):
            raise _refusal(channel, reply)
        status, theirs = arrays
        channel.require(len(status) == n and bool((status <= OVER_QUOTA).all()), "a status for each key")
        found = status == FOUND
        m = int(np.count_nonzero(found))
        told = m if self._run is None and self._giver is None else 0
        channel.require(len(theirs) == told, "a sum for each key found, where sums open")
        receipt = None
        if reply.HasField("receipt"):
            r = reply.receipt
            receipt = SignedDocument(r.document, r.signature, r.certificate)
        if self._run is None:
            scores = self._scores(own, found, theirs)
            totals = np.full((n, *scores.shape[1:]), np.nan)
            totals[found] = scores
            return Answers(status, totals, None, receipt)
        outcome = np.full(n, -1, dtype=np.int64)
        if m:
            opens = self._grades(self._run, own, found)
            if opens is not None:
                outcome[found] = opens
        return Answers(status, None, outcome, receipt)

    def _own(self, partial: Sums | Offers) -> Sums | Offers:
        if isinstance(partial, Offers) != (self._giver is not None):
            raise UsageError(
                "Boosted trees are asked about with offers for the partner's nodes, other models with sums."
            )
        if not isinstance(partial, Offers):
            return checked(partial)
        terms = self.terms
        if partial.counts != leaf_sums.counts_by_class(terms.nodes, terms.classes):
            raise UsageError("These offers are for other nodes than the partner has: are both parts of one training?")
        return partial

    def _scores(self, own: Sums | Offers, found: NDArray[np.bool_], theirs: Sums) -> Sums:
        """(m,) or (m, classes): what opens of the rows found."""
        if not isinstance(own, Offers) or self._giver is None:
            _require_sums(self.channel, theirs)
            return np.asarray(own)[found] + theirs
        mine, m = own.rows(found), int(np.count_nonzero(found))
        words = leaf_sums.give_all(self._giver, mine).T
        if m:
            _, share = self.channel.recv(boosted_wire.BoostedShares, max_bytes=words.nbytes)
            self.channel.require(share.shape == words.shape, "a share of each margin of each key found")
            words = words + share
        scores = opened(self.channel, words)
        return scores[:, 0] if self.terms.classes == 1 else scores

    def _grades(self, run: Computation, own: Sums | Offers, found: NDArray[np.bool_]) -> Grades | None:
        """(m,): the grades of the rows found."""
        asker, cuts = self.channel.me, self.terms.cuts
        if not isinstance(own, Offers) or self._giver is None:
            return graded(run, np.asarray(own)[found], asker=asker, cuts=cuts)
        return graded_words(run, leaf_sums.give_all(self._giver, own.rows(found))[0], asker=asker, cuts=cuts)


@contextmanager
def asking(session: Session, partner: str, *, suite: str = "intl") -> Iterator[Asking]:
    """Begin a warm session. What is set up for grades is set up once and serves all queries.

    Args:
        session: with a channel to the partner.
        partner: who has the other part of the model.
        suite: of the base transfers.

    Raises:
        PolicyError: the partner refuses.
        PeerError: terms that are none.
    """
    channel = session.channel(partner)
    channel.send(wire.TermsRequest())
    reply, *_ = channel.recv(wire.Terms, lookup_wire.Refused)
    if isinstance(reply, lookup_wire.Refused):
        raise _refusal(channel, reply)
    terms = _terms_from_wire(channel, reply)
    with ExitStack() as stack:
        run, giver = None, None
        if terms.nodes:
            giver = leaf_sums.start_giver(channel.fork(_TREES_LANE), suite=suites.get(suite), rng=session.rng)
        if terms.release == "grade":
            run = stack.enter_context(_comparing(session, partner, asker=session.me, suite=suite))
        yield Asking(channel, terms, run, giver)


def _comparing(session: Session, peer: str, *, asker: str, suite: str) -> AbstractContextManager[Computation]:
    """Arithmetic between the two of a warm session, on a lane of its own, which refused queries do not disturb."""
    lane = Session(session.me, {peer: session.channel(peer).fork(_WARM_LANE)}, session.rng)
    other = peer if asker == session.me else session.me
    return arithmetic.two_party(lane, compute=(asker, other), suite=suite, fraction=FRACTION)


# Messages -------------------------------------------------------------------------------------------------------------


def _request(channel: Channel, ask: wire.Ask) -> Request:
    channel.require(1 <= len(ask.keys) <= MAX_KEYS, f"1 to {MAX_KEYS} keys in a query")
    channel.require(all(len(key) <= MAX_KEY_BYTES for key in ask.keys), f"keys of at most {MAX_KEY_BYTES} bytes")
    channel.require(ask.scenario == _plain(ask.scenario), "a scenario in plain words")
    return Request(channel.peer, ask.scenario, tuple(ask.keys))


def _terms_to_wire(terms: Terms) -> wire.Terms:
    return wire.Terms(
        model=terms.model,
        job=terms.job,
        label_party=terms.label_party,
        release=terms.release,
        cuts=terms.cuts,
        key_form=terms.key_form,
        nodes=terms.nodes,
        classes=terms.classes if terms.nodes else 0,
    )


def _terms_from_wire(channel: Channel, terms: wire.Terms) -> Terms:
    words = (terms.model, terms.job, terms.label_party, terms.key_form)
    channel.require(all(word == _plain(word) and len(word) <= 80 for word in words), "terms in plain words")
    channel.require(terms.release in ("score", "grade"), "a release of scores or of grades")
    release: Release = "score" if terms.release == "score" else "grade"
    cuts = tuple(terms.cuts)
    channel.require(all(map(math.isfinite, cuts)) and len(cuts) <= MAX_CUTS, "cuts that are finite, and few")
    if release == "grade":
        try:
            check_cuts(cuts)
        except UsageError:
            channel.require(False, "cuts that increase")
    nodes, classes = tuple(terms.nodes), terms.classes or 1
    if nodes:
        channel.require(sum(nodes) <= MAX_NODES, f"at most {MAX_NODES} nodes")
        channel.require(len(nodes) % classes == 0, "a tree for each class in every round")
        channel.require(release == "score" or classes == 1, "grades of one margin")
    channel.require(bool(nodes) or classes == 1, "classes of boosted trees alone")
    return Terms(terms.model, terms.job, terms.label_party, release, cuts, terms.key_form, nodes, classes)


def _require_sums(channel: Channel, sums: Sums) -> None:
    channel.require(bool((np.abs(sums) < LARGEST).all()), f"sums that are numbers below {LARGEST:.0f}")


def _receipt_to_wire(receipt: SignedDocument | None) -> lookup_wire.SignedDocument | None:
    if receipt is None:
        return None
    return lookup_wire.SignedDocument(
        document=receipt.document, signature=receipt.signature, certificate=receipt.certificate
    )


def _refusal(channel: Channel, refused: lookup_wire.Refused) -> PolicyError:
    printable = all(word == _plain(word) for word in (refused.message, refused.remedy))
    channel.require(
        printable and _CODE.fullmatch(refused.code) is not None,
        "a refusal with a code in kebab case and printable text",
    )
    return PolicyError(refused.message, code=refused.code, remedy=refused.remedy)


def _plain(text: str) -> str:
    """The text as it may go into a terminal or a log: without control characters, and not endless."""
    return "".join(c if c.isprintable() else " " for c in text[:1000])
