"""Scores by a model that nobody has are those of the model that its owners would have.

With products in the clear; tests/unit/test_jobs_learning.py has a job with the real ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpc.errors import UsageError
from mpc.session import Session
from mpc.testing import run_parties
from protocols import arithmetic
from protocols.learning import logistic, shared_scores
from protocols.learning.logistic import Training

RNG = np.random.default_rng(3)
COLUMNS = {"bank": 2, "civil": 3, "edu": 1}
X = {name: RNG.normal(3, 2, (300, k)) for name, k in COLUMNS.items()}
X["civil"][:, 1] = 7.0  # constant
Y = (RNG.random(300) < 1 / (1 + np.exp(3 - X["bank"][:, 0] - 0.5 * X["civil"][:, 2]))).astype(int)
LATER = {name: RNG.normal(3, 2, (40, k)) for name, k in COLUMNS.items()}


def scores(names: tuple[str, ...], compute: tuple[str, ...], method: Any) -> dict[str, Any]:  # noqa: ANN401
    """(40,) at the bank by the model that nobody has, and by that of the owners."""

    def party(s: Session) -> Any:  # noqa: ANN401
        me = s.me
        fitted = {}
        for reveal in ("none", "owners"):
            training = Training(tol=1e-5, reveal_model=reveal)
            labels = Y if me == "bank" else None
            options: dict[str, Any] = {"label_party": "bank", "compute": compute, "method": method}
            fitted[reveal] = logistic.fit(s, X[me], labels, training=training, **options)
        shares = fitted["none"].shares
        assert shares is not None
        coefficients = fitted["owners"].coefficients
        assert coefficients is not None
        plain = LATER[me] @ coefficients + (fitted["owners"].intercept or 0.0)
        if me not in compute:
            with arithmetic.input_party(s, compute=compute, ideal=method == "ideal") as outside:
                shared_scores.linear(outside, LATER[me], shares, rows=40, method=method)
                return plain, outside.obtain() if me == "bank" else None
        join = arithmetic.two_party if len(compute) == 2 else arithmetic.three_party
        inputs = tuple(name for name in names if name not in compute)
        opened = arithmetic.ideal_party if method == "ideal" else join
        with opened(s, compute=compute, inputs=inputs) as run:
            z = shared_scores.linear(run, LATER[me], shares, rows=40, method=method)
            assert z is not None
            with pytest.raises(UsageError, match="give all 41 rows, and the"):
                shared_scores.linear(run, LATER[me], shares, rows=41, method=method)
            far = LATER[me].copy()
            far[3, 0] = np.nan
            with pytest.raises(UsageError, match="missing or far beyond"):
                shared_scores.linear(run, far, shares, rows=40, method=method)
            return plain, run.reveal(z, to="bank")

    return run_parties(dict.fromkeys(names, party))


@pytest.mark.parametrize(
    ("names", "compute", "method"),
    [
        (("bank", "civil"), ("bank", "civil"), "ideal"),
        (("bank", "civil", "edu"), ("bank", "civil", "edu"), "ideal"),
        (("bank", "civil", "edu"), ("civil", "edu"), "ideal"),
    ],
)
def test_scores_are_those_of_the_owners_model(names: tuple[str, ...], compute: tuple[str, ...], method: str) -> None:
    found = scores(names, compute, method)
    wanted = sum(plain for plain, _ in found.values())
    assert found["bank"][1] == pytest.approx(wanted, abs=2e-3)
    assert [name for name, (_, z) in found.items() if z is not None] == ["bank"]
