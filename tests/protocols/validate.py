"""Validation with the ideal engine, for tests of what stands on arithmetic and not of arithmetic."""

from __future__ import annotations

import pytest

from mpc.session import Session
from protocols.arithmetic.engine import Engine, Scheme
from protocols.arithmetic.ideal import Ideal
from protocols.validate import threshold


def use_ideal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the test ends sources compute in the clear."""

    def engine(session: Session, sources: tuple[str, ...], _: object) -> Engine:
        return Ideal(session, sources)

    def scheme(sources: tuple[str, ...]) -> Scheme:
        return Ideal(Session(sources[0], dict.fromkeys(sources[1:])), sources).scheme  # type: ignore[arg-type]

    monkeypatch.setattr(threshold, "_engine", engine)
    monkeypatch.setattr(threshold, "_scheme", scheme)
