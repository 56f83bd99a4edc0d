"""Cipher suites by name."""

from __future__ import annotations

import numpy as np
import pytest

from mpc import suite
from mpc.errors import UsageError
from mpc.kernels import InvalidEncoding, oprf
from mpc.kernels import hash as hashes
from mpc.kernels.packing import pack
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


@pytest.mark.parametrize("name", ["intl", "gm"])
@pytest.mark.parametrize("n", [0, 1, 300])
def test_hashing_and_multiplying_at_once_is_one_after_the_other(name: str, n: int) -> None:
    group = suite.get(name).group
    items = pack([b"x" * (i % 80) + b"%d" % i for i in range(n + 1)]).slice(1, n + 1)
    scalar = group.scalar_from_uniform(Rng().uint8(1, group.UNIFORM_SCALAR_BYTES))[0]
    expected = group.mul(scalar, group.hash_to_group(items, b"test"))
    assert np.array_equal(group.hash_mul(scalar, items, b"test"), expected)
    with pytest.raises(InvalidEncoding):
        group.hash_mul(bytes(group.SCALAR_BYTES), items, b"test")
    with pytest.raises(UsageError, match="dst is empty"):
        group.hash_mul(scalar, items, b"")
    with pytest.raises(UsageError, match="scalar is 31 bytes"):
        group.hash_mul(scalar[1:], items, b"test")


def test_an_unknown_suite_is_told_what_there_is() -> None:
    with pytest.raises(UsageError, match="There is no cipher suite 'gm2'; choose one of: intl, gm"):
        suite.get("gm2")
