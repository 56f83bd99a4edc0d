"""A sum over silos, at who leads a fit: what it means that one of them leaves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.errors import MpcError, PolicyError
from mpc.session import Session
from protocols import aggregation
from protocols.aggregation import Rules
from protocols.aggregation.crowd import Crowd

Words = NDArray[np.int64]


class Told(Exception):
    """An error that the silos know of already."""

    def __init__(self, error: MpcError) -> None:
        super().__init__()
        self.error = error


class Changed(Exception):
    """A silo has left: what was found before is of other rows."""


def total(
    session: Session,
    crowd: Crowd,
    own: Words | None,
    *,
    rules: Rules,
    silos: Sequence[str],
    refusal: MpcError | None,
) -> Words:
    """The sum over all silos of what each contributes now.

    Args:
        session: this party's run.
        crowd: channels to the silos; who has left is dropped from it.
        own: this party's part, where it has rows.
        rules: of the sum.
        silos: those whose sums were taken before.
        refusal: the error that it is where too few are left; None for the sum's own.

    Raises:
        Told: too few are left.
        Changed: others than `silos` are left.
    """
    try:
        result = aggregation.collect(session, own, parties=crowd.present, rules=rules)
    except PolicyError as error:
        raise Told(refusal or error) from None
    for name in crowd.present:
        if name not in result.survivors:
            crowd.drop(name, result.dropped.get(name, ""))
    if crowd.present != tuple(silos):
        raise Changed
    return np.asarray(result.values, dtype=np.int64)
