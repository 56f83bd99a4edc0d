"""Scores by a model that nobody has: linear predictors of rows, in shares, by shares of the coefficients.

    fitted = logistic.fit(session, x, y, label_party="bank", training=Training(reveal_model="none"))
    with arithmetic.two_party(session, compute=("bank", "tax")) as run:
        z = shared_scores.linear(run, later, fitted.shares)        # (n,) log odds, in shares: nobody sees one
        evaluation = evaluate_shared(run, labels, z, label_party="bank")

    grades = shared_scores.grades(session, fitted.shares, later, asker="bank", cuts=[-1.0, 0.5])    # opens these alone

    1  M_p = (x_p − centre) / scale, and ones for the intercept, in fixed point; M_p never leaves its owner
    2  z = unit · Σ_p M_p·w_p                          products of all owners at once (``protocols.learning.products``)

Security: semi-honest, of protocols.matvec and of the engine.
Leaks:    to all how many rows there are. Whoever opens z of a row whose columns it knows learns about the coefficients:
          as many rows as there are columns tell them all. Compare z with cuts, or judge it, and open that. ``scores``
          opens z to the asker, ``grades`` in which of a few public bands it is.
Cost:     of an owner that computes a product of protocols.matvec with an (n, k) matrix, of another one two; and 8 bytes
          for each row and owner.
Error:    entries are rounded to 2^-16 of a deviation, and z to 2^-18.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError
from mpc.session import Session
from mpc.wire.learning.v1 import scoring_pb2 as wire
from protocols import arithmetic, matvec
from protocols.arithmetic import Computation, InputParty, Shared
from protocols.learning import products, whitening
from protocols.learning import scoring as plain
from protocols.learning.logistic import Shares
from protocols.learning.products import Method
from protocols.learning.scoring import Grades, Sums
from protocols.learning.whitening import Standard

FRACTION = 18
"""Fractional bits of a score."""


def linear(
    run: Computation | InputParty,
    features: ArrayLike | None,
    shares: Shares,
    *,
    rows: int,
    method: Method = "rlwe",
) -> Shared | None:
    """Linear predictors by the parties' columns. All parties of the training call it, and the same ones compute.

    Args:
        run: of this party; who computes is in the order of the training.
        features: (n, k) of this party, the rows as at all others, the columns as in training; None where it has none.
        shares: this party's, of ``logistic.fit``.
        rows: n, the same at all.
        method: ``ideal`` for tests of what stands on this.

    Returns:
        (n,) real numbers at a party that computes; None elsewhere.

    Raises:
        UsageError: other columns or rows than that, values that are missing or far beyond those of training, shares of
            other parties.
        PeerError: another party runs something else.
    """
    widths = dict(shares.owners)
    me = run.session.me
    if not set(widths) <= set(run.session.parties):
        raise UsageError(f"The model is of {', '.join(widths)}: all of them take part in the session.")
    matrix = _matrix(features, shares, widths[me], rows) if me in widths else None
    work = products.start(run, {p: (rows, k) for p, k in widths.items()}, bits=whitening.BITS, method=method)
    if not isinstance(run, Computation):
        work.forward(matrix, None)
        return None
    if shares.components.shape != (run.context.engine.k, sum(widths.values())):
        raise UsageError("These shares are of a training in which others computed: compute with the same parties.")
    pieces = work.forward(matrix, _split(run, shares, widths))
    fraction = whitening.FRACTION + shares.fraction
    z = run.from_pieces(products.total(list(pieces.values())), fraction=fraction).as_fixed(FRACTION)
    return z if shares.unit == 1.0 else z * shares.unit


def scores(
    session: Session,
    shares: Shares,
    features: NDArray[np.float64],
    *,
    asker: str,
    training: str = "",
    suite: str = "intl",
    method: Method = "rlwe",
) -> Sums | None:
    """Open each row's score to the asker. Called by all parties of the model.

    Args:
        session: with a channel to each other party.
        shares: this party's, of the model.
        features: (n, k) this party's prepared columns, as in training, of the rows that all have in this order.
        asker: who learns the scores.
        training: names the training; the same at all.
        suite: of the base transfers.
        method: ``ideal`` computes in the clear, for tests of what stands on this. It protects nothing.

    Returns:
        (n,) at the asker; None at the others.

    Raises:
        UsageError: other columns than in training, or values that are no numbers or thousands of deviations away.
        PeerError: another party has other rows, roles, or another training.
    """
    with _opened(session, shares, features, asker, (), training, suite, method) as run:
        z = linear(run, features, shares, rows=len(features), method=method)
        if isinstance(run, InputParty) or z is None:
            opened = run.obtain() if isinstance(run, InputParty) and session.me == asker else None
        else:
            opened = run.reveal(z, to=asker)
    return opened


def grades(
    session: Session,
    shares: Shares,
    features: NDArray[np.float64],
    *,
    asker: str,
    cuts: Sequence[float],
    training: str = "",
    suite: str = "intl",
    method: Method = "rlwe",
) -> Grades | None:
    """Open each row's grade to the asker, and nothing else. As ``scores``, with cuts as of ``scoring.grades``."""
    plain.check_cuts(cuts)
    with _opened(session, shares, features, asker, cuts, training, suite, method) as run:
        z = linear(run, features, shares, rows=len(features), method=method)
        if isinstance(run, InputParty) or z is None:
            opened = run.obtain() if isinstance(run, InputParty) and session.me == asker else None
        else:
            above = z.reshape(-1, 1) >= np.asarray(cuts, dtype=np.float64)
            opened = run.reveal(above, to=asker)
    return None if opened is None else opened.sum(axis=1).astype(np.int64)


@contextmanager
def _opened(
    session: Session,
    shares: Shares,
    features: NDArray[np.float64],
    asker: str,
    cuts: Sequence[float],
    training: str,
    suite: str,
    method: Method,
) -> Iterator[Computation | InputParty]:
    """Agree with everybody, and begin to compute."""
    names = plain.names_of(session, session.parties, asker)
    compute, bits = shares.compute, shares.fraction
    if not set(compute) <= set(names):
        raise UsageError(f"The model's shares are at {', '.join(compute)}: all of them have to take part.")
    batch = wire.Batch(rows=len(features), asker=asker, parties=names, cuts=cuts, training=training, compute=compute)
    plain.agree(session, batch)
    if session.me not in compute:
        with arithmetic.input_party(session, compute=compute, fraction=bits, ideal=method == "ideal") as outside:
            yield outside
        return
    if method == "ideal":
        opened = arithmetic.ideal_party(session, compute=compute, fraction=bits)
    elif len(compute) == 2:
        opened = arithmetic.two_party(session, compute=compute, suite=suite, fraction=bits)
    else:
        opened = arithmetic.three_party(session, compute=compute, suite=suite, fraction=bits)
    with opened as inside:
        yield inside


def _split(run: Computation, shares: Shares, widths: Mapping[str, int]) -> dict[str, Shared]:
    """Each owner's coefficients."""
    parts = np.split(shares.components, np.cumsum(list(widths.values()))[:-1], axis=1)
    return {
        owner: Shared(run.context, np.ascontiguousarray(part), "fixed", shares.fraction)
        for owner, part in zip(widths, parts, strict=True)
    }


def _matrix(features: ArrayLike | None, shares: Shares, width: int, rows: int) -> matvec.Prepared:
    """M_p: standardised columns, and ones where the intercept is."""
    x = np.asarray(features, dtype=np.float64)
    k = len(shares.kept)
    if x.shape != (rows, k):
        raise UsageError(f"Features are of shape {x.shape}: give all {rows} rows, and the {k} columns of training.")
    standard = Standard(shares.kept, shares.centre, shares.scale, intercept=width > int(shares.kept.sum()))
    entries = standard.of(x)
    # Written so that NaN fails, too.
    if not (np.abs(entries) < 2.0 ** (whitening.BITS - whitening.FRACTION - 1)).all():
        raise UsageError("A value is missing or far beyond those of training: fill it in, or clip the columns.")
    words = np.rint(np.ldexp(entries, whitening.FRACTION)).astype(np.int64)
    return matvec.prepare(words, bits=whitening.BITS)
