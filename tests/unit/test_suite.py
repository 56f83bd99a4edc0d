"""Cipher suites by name."""

from __future__ import annotations

import pytest

from mpc import suite
from mpc.errors import UsageError
from mpc.kernels import hash as hashes
from mpc.kernels import oprf
from mpc.rng import Rng


def test_the_international_suite_is_whole() -> None:
    intl = suite.get("intl")
    assert (intl.name, intl.oprf) == ("intl", "ristretto255-SHA512")
    sizes = oprf.sizes(intl.name)
    assert sizes.element == intl.group.ELEMENT_BYTES
    assert sizes.scalar == intl.group.SCALAR_BYTES
    assert hashes.DIGEST_BYTES[intl.hash] == 64
    assert hashes.DIGEST_BYTES[intl.digest] == 32
    scalars = intl.group.scalar_from_uniform(Rng().uint8(2, intl.group.UNIFORM_SCALAR_BYTES))
    points = intl.group.mul_base(scalars)
    intl.group.check(points)
    back = intl.group.mul_each(intl.group.scalar_invert(scalars), points)
    assert (back[0] == back[1]).all()


def test_an_unknown_suite_is_told_what_there_is() -> None:
    with pytest.raises(UsageError, match="There is no cipher suite 'gm2'; choose one of: intl"):
        suite.get("gm2")
