"""The page on what boosted trees give away: its example runs as it stands there, and its figures are what they are."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.session import Session
from mpc.testing import run_parties
from protocols.matvec import lwe

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "security" / "boosting.md").read_text(encoding="utf-8")


def test_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(text, {})
    tried, fit_g, fit = capsys.readouterr().out.split(maxsplit=2)
    assert int(tried) == sum(math.comb(20, size) for size in range(7))
    assert f"of up to six rows {int(fit_g)} fit the gradients" in PAGE
    assert fit.strip() == "[[2, 11, 17]]"


def _table(heading: str) -> dict[int, list[float]]:
    """The rows of a table on the page, by what they begin with."""
    rows = PAGE.partition(heading)[2].split("\n\n")[0].splitlines()[2:]
    numbers = [[float(cell.replace(",", "")) for cell in row.strip("| ").split("|")] for row in rows]
    return {int(first): rest for first, *rest in numbers}


@pytest.mark.parametrize("rows", [20, 50, 100, 200, 1000])
def test_what_a_histogram_tells(rows: int) -> None:
    """Entropy of a bin's two sums over random sets of rows at the opening's resolution, and of the sets."""
    rng = np.random.default_rng(5)
    p = rng.beta(1.5, 4, size=rows)
    y = rng.random(rows) < p
    g, h = p - y, p * (1 - p)
    size = round(rows / 20)
    sets = np.argsort(rng.random((2000, rows)), axis=1)[:, :size]
    spread = np.linalg.det(np.cov(g[sets].sum(axis=1), h[sets].sum(axis=1)))
    told = math.log2(2 * math.pi * math.e * math.sqrt(spread)) - math.log2(np.abs(g).sum() * h.sum() / 2**32)
    column = (math.lgamma(rows + 1) - 20 * math.lgamma(rows / 20 + 1)) / math.log(2)
    expected = [told, math.log2(math.comb(rows, size)), 20 * told, column]
    for shown, found in zip(_table("| rows of the node |")[rows], expected, strict=True):
        assert shown == pytest.approx(found, rel=0.1, abs=1)


def test_after_how_many_trees() -> None:
    """16 pairs of vectors for a tree of depth 5, and some 390 bits of a column of 20 bins for each."""
    for rows, (trees,) in _table("| rows | trees after").items():
        assert trees == pytest.approx(rows * math.log2(20) / (16 * 392), rel=0.06)


def test_a_vector_that_is_no_gradient_reads_the_bins_of_fifteen_rows() -> None:
    """Of each vector; what the feature party sends is what it sends an honest label party."""
    rng = np.random.default_rng(6)
    n, sizes, vectors = 500, [20, 7], 2
    codes = np.stack([rng.integers(0, size, n, dtype=np.uint8) for size in sizes], axis=1)
    chosen = rng.permutation(n)[: 15 * vectors].reshape(vectors, 15)
    v = np.zeros((n, vectors), dtype=np.uint32)
    for lane, rows in enumerate(chosen):
        v[rows, lane] = np.uint32(1 << 17) << np.arange(15, dtype=np.uint32)

    def label_party(session: Session) -> NDArray[np.uint32]:
        owner = lwe.start_owner({"b": session.channel("b")}, n, suite=suites.get("intl"), rng=session.rng)
        return owner.products(v)["b"]

    def feature_party(session: Session) -> NDArray[np.uint32]:
        channel = session.channel("a")
        holder = lwe.start_holder(channel, codes, sizes, suite=suites.get("intl"), rng=session.rng)
        return holder.products(vectors) >> np.uint32(16)

    found = run_parties({"a": label_party, "b": feature_party})
    sums = found["a"] + (found["b"] << 16) + np.uint32(1 << 15)  # to within 2^15 and noise
    bits = (sums + np.uint32(1 << 16)) >> 17
    starts = np.cumsum(sizes) - sizes
    for lane, rows in enumerate(chosen):
        for place, row in enumerate(rows):
            inside = np.flatnonzero((bits[:, lane] >> place) & 1)
            np.testing.assert_array_equal(inside, starts + codes[row])
