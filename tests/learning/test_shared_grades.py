"""Scores and grades by a model that nobody has, against the plain product."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from mpc import fixed
from mpc.errors import PeerError, UsageError
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import run_parties
from protocols.arithmetic import three, two
from protocols.learning import logistic, shared_scores
from protocols.learning.logistic import Shares, Training

BITS = 24
CUTS = (-0.75, 0.5)
COLUMNS = {"bank": 2, "fund": 3, "tax": 2, "court": 0}
W = {"bank": np.array([0.5, -1.25, 0.125]), "fund": np.array([1.0, 0.25]), "tax": np.array([-0.5, 0.75])}
"""Of centred and scaled columns; the bank's last is the intercept, and the fund's first column did not vary."""


def features(name: str, n: int) -> np.ndarray:
    return 3 + 10 * np.random.default_rng(len(name)).normal(size=(n, COLUMNS[name]))


def shares_of(compute: tuple[str, ...], parties: tuple[str, ...]) -> dict[str, Shares]:
    """A model as training leaves it, dealt to those who compute."""
    owners = tuple(name for name in parties if COLUMNS[name])
    whole = fixed.encode(np.concatenate([W[name] for name in owners]), BITS)
    scheme = two.SCHEME if len(compute) == 2 else three.SCHEME
    dealt = dict(zip(compute, scheme.deal(whole, Rng.from_seed(bytes(32))), strict=True))
    nobody = np.zeros((0, 0), np.uint64)
    return {
        name: Shares(
            components=dealt.get(name, nobody),
            fraction=BITS,
            compute=compute,
            owners=tuple((owner, len(W[owner])) for owner in owners),
            unit=2.0,
            kept=np.array([name != "fund"] + [True] * (COLUMNS[name] - 1), dtype=np.bool_)[: COLUMNS[name]],
            centre=np.full(COLUMNS[name], 3.0),
            scale=np.full(COLUMNS[name], 10.0),
        )
        for name in parties
    }


def plain(parties: tuple[str, ...], n: int) -> np.ndarray:
    z = np.full(n, W["bank"][-1])
    for name in parties:
        if COLUMNS[name]:
            x = (features(name, n) - 3) / 10
            z += x[:, 1:] @ W[name] if name == "fund" else x @ W[name][: COLUMNS[name]]
    return 2 * z


def run(
    parties: tuple[str, ...],
    compute: tuple[str, ...],
    n: int,
    *,
    differs: Mapping[str, Any] | None = None,
    **more: object,
) -> dict[str, Any]:
    model = shares_of(compute, parties)

    def party(name: str) -> Callable[[Session], Any]:
        words: dict[str, Any] = {"asker": "bank", **more, **(differs or {}).get(name, {})}
        function = shared_scores.grades if "cuts" in words else shared_scores.scores
        return lambda s: function(s, model[name], features(name, n), **words)

    return run_parties({name: party(name) for name in parties})


@pytest.mark.parametrize(
    ("parties", "compute"),
    [
        (("bank", "tax"), ("tax", "bank")),
        (("bank", "fund", "tax"), ("tax", "bank", "fund")),
        (("bank", "court", "fund"), ("court", "fund")),
    ],
)
def test_scores_and_grades(parties: tuple[str, ...], compute: tuple[str, ...]) -> None:
    n = 30
    wanted = plain(parties, n)
    found = run(parties, compute, n)
    np.testing.assert_allclose(found["bank"], wanted, atol=2 * 2**-16 * sum(np.abs(w).sum() for w in W.values()))
    graded = run(parties, compute, n, cuts=CUTS)
    assert graded["bank"].tolist() == np.searchsorted(CUTS, wanted, side="right").tolist()
    assert set(graded["bank"].tolist()) == {0, 1, 2}
    for results in (found, graded):
        assert all(results[name] is None for name in parties if name != "bank")


def test_what_training_leaves_scores_as_what_it_tells() -> None:
    rng = np.random.default_rng(5)
    x = {"bank": rng.normal(size=(300, 2)), "tax": 50 * rng.normal(size=(300, 2)) + 7}
    y = (x["bank"][:, 0] - x["tax"][:, 1] / 50 + rng.logistic(size=300) > 0).astype(np.float64)

    def party(name: str, reveal: str) -> Callable[[Session], Any]:
        def work(s: Session) -> object:
            settings = Training(reveal_model=reveal, max_iter=3)  # type: ignore[arg-type]  # one of the two
            labels = y if name == "bank" else None
            fitted = logistic.fit(s, x[name], labels, label_party="bank", training=settings, method="ideal")
            if fitted.shares is None:
                assert fitted.coefficients is not None
                return x[name][:20] @ fitted.coefficients + (fitted.intercept or 0.0)
            return shared_scores.scores(s, fitted.shares, x[name][:20], asker="bank", method="ideal")

        return work

    told, shared = (run_parties({name: party(name, how) for name in x}) for how in ("owners", "none"))
    np.testing.assert_allclose(shared["bank"], told["bank"] + told["tax"], atol=2e-3)


def test_no_rows() -> None:
    assert run(("bank", "tax"), ("bank", "tax"), 0, cuts=CUTS)["bank"].shape == (0,)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [({"training": "another"}, "training"), ({"cuts": (0.0,)}, "cuts"), ({"asker": "tax"}, "asker")],
)
def test_parties_that_score_otherwise_find_out(theirs: dict[str, Any], words: str) -> None:
    with pytest.raises(PeerError, match=words):
        run(("bank", "tax"), ("bank", "tax"), 3, differs={"tax": theirs}, cuts=CUTS)


def test_cuts_that_are_none_are_told_before_anything_is_sent() -> None:
    model = shares_of(("bank", "tax"), ("bank", "tax"))["bank"]
    with pytest.raises(UsageError, match="increasing"):
        shared_scores.grades(Session("bank", {}), model, np.zeros((3, 2)), asker="bank", cuts=[1.0, 1.0])
