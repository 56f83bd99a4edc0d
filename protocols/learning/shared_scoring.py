"""Scoring by a model that nobody has: its coefficients stay shared, and of each row nothing opens but the outcome.

    1  z = Σ_p X_p·w_p           X_p the owner's prepared columns, w_p shared (protocols.learning.products)
    2  scores: z opens to the asker; grades: z is compared with the public cuts, and the outcomes open

Each party calls the same function with its shares of the model (``logistic.Shares``, as training with
``reveal_model="none"`` gave them), its columns of the same rows, or none.

Security: semi-honest; of protocols.arithmetic and protocols.matvec. Columns never leave their owner, in any form.
Leaks:    scores: to the asker each row's score. A score is a sum of coefficients times columns: of many rows the asker
          can fit its own coefficients, as to any score that it is told. grades: to the asker the grade alone. To all
          how many rows and columns there are.
Cost:     a product of protocols.matvec for each owner, of n rows and its columns; then as protocols.learning.scoring.
Exact:    columns, centred and scaled, are rounded to 2^-16: a score is off by at most 2^-17 times the sum of the
          magnitudes of its coefficients, per deviation, and a grade is exact but so near a cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

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

_RANGE = float(1 << (whitening.BITS - 1 - whitening.FRACTION))


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
        z = _sums(run, shares, features, method)
        if isinstance(run, InputParty) or z is None:
            opened = run.obtain() if isinstance(run, InputParty) and session.me == asker else None
        else:
            opened = run.reveal(z, to=asker)
    return None if opened is None else opened * shares.unit


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
        z = _sums(run, shares, features, method)
        if isinstance(run, InputParty) or z is None:
            opened = run.obtain() if isinstance(run, InputParty) and session.me == asker else None
        else:
            above = z.reshape(-1, 1) >= np.asarray(cuts, dtype=np.float64) / shares.unit
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
    _matrix(session.me, shares, features)  # what is wrong with it is told before anybody waits
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


def _sums(
    run: Computation | InputParty, shares: Shares, features: NDArray[np.float64], method: Method
) -> Shared | None:
    """Step 1: (n,) shared at those who compute, None at the others."""
    widths = dict(shares.owners)
    work = products.start(
        run, {name: (len(features), width) for name, width in widths.items()}, bits=whitening.BITS, method=method
    )
    own = _matrix(run.session.me, shares, features)
    mine = None if own is None else matvec.prepare(own, bits=whitening.BITS)
    if isinstance(run, InputParty):
        work.forward(mine, None)
        return None
    whole = Shared(run.context, np.ascontiguousarray(shares.components), "fixed", shares.fraction)
    ends = np.cumsum(list(widths.values())).tolist()
    vectors = {name: whole[end - widths[name] : end] for name, end in zip(widths, ends, strict=True)}
    pieces = work.forward(mine, vectors)
    return run.from_pieces(products.total(list(pieces.values())), fraction=whitening.FRACTION + shares.fraction)


def _matrix(me: str, shares: Shares, features: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """(n, width) this party's columns, centred and scaled as in training; None where it has none."""
    width = dict(shares.owners).get(me)
    if width is None:
        return None
    if features.ndim != 2 or features.shape[1] != len(shares.kept):
        raise UsageError(f"The model has {len(shares.kept)} columns of this party: prepare the rows as in training.")
    z = ((features - shares.centre) / shares.scale)[:, shares.kept]
    if width == z.shape[1] + 1:
        z = np.hstack([z, np.ones((len(z), 1))])  # the intercept's
    if width != z.shape[1] or not (np.abs(z) < _RANGE).all():
        raise UsageError(
            f"A value is no number, or {_RANGE:.0f} deviations from what it was in training: fill in what is missing, "
            "or clip."
        )
    words: NDArray[np.int64] = np.rint(np.ldexp(z, whitening.FRACTION)).astype(np.int64)
    return words
