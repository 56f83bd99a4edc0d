"""Cipher suites by name."""

from __future__ import annotations

import pytest

from mpc import suite
from mpc.errors import UsageError
from mpc.kernels import hash as hashes
from mpc.kernels import oprf
from mpc.rng import Rng


@pytest.mark.parametrize(("name", "oprf_name", "output"), [("intl", "ristretto255-SHA512", 64), ("gm", "SM2-SM3", 32)])
def test_a_suite_is_whole(name: str, oprf_name: str, output: int) -> None:
    chosen = suite.get(name)
    assert (chosen.name, chosen.oprf) == (name, oprf_name)
    sizes = oprf.sizes(chosen.name)
    assert sizes.element == chosen.group.ELEMENT_BYTES
    assert sizes.scalar == chosen.group.SCALAR_BYTES
    assert sizes.output == hashes.DIGEST_BYTES[chosen.hash] == output
    assert hashes.DIGEST_BYTES[chosen.digest] == 32
    scalars = chosen.group.scalar_from_uniform(Rng().uint8(2, chosen.group.UNIFORM_SCALAR_BYTES))
    points = chosen.group.mul_base(scalars)
    chosen.group.check(points)
    back = chosen.group.mul_each(chosen.group.scalar_invert(scalars), points)
    assert (back[0] == back[1]).all()
    assert (chosen.group.sub(chosen.group.add(points, back), back) == points).all()


def test_an_unknown_suite_is_told_what_there_is() -> None:
    with pytest.raises(UsageError, match="There is no cipher suite 'gm2'; choose one of: intl, gm"):
        suite.get("gm2")
