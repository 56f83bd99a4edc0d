"""ristretto255: the native core against RFC 9496, RFC 9380 and the slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import InvalidEncoding, ristretto255
from mpc.kernels.packing import pack
from mpc.rng import Rng
from tests import vectors
from tests.reference import ristretto255 as reference

RFC9496 = vectors.load("rfc9496_ristretto255")
REFERENCE = vectors.load("reference_ristretto255_oprf")

ORDER = reference.ORDER
scalars = st.integers(1, ORDER - 1)


def little(*values: int) -> np.ndarray:
    """(n, 32) encodings of integers."""
    return np.stack([np.frombuffer(value.to_bytes(32, "little"), dtype=np.uint8) for value in values])


def random_points(n: int) -> np.ndarray:
    rng = Rng.from_seed(b"points")
    return ristretto255.mul_base(ristretto255.scalar_from_uniform(rng.uint8(n, 64)))


def test_multiples_of_the_generator() -> None:
    multiples = vectors.rows(RFC9496["multiples"][1:])
    assert np.array_equal(ristretto255.mul_base(little(*range(1, 16))), multiples)
    ristretto255.check(multiples)
    base = np.repeat(multiples[:1], 15, axis=0)
    assert np.array_equal(ristretto255.mul_each(little(*range(1, 16)), base), multiples)


@pytest.mark.parametrize(
    "encoding",
    [e for kind in RFC9496["bad_encodings"].values() for e in kind]
    + [v["encoding"] for v in REFERENCE["bad_elements"]],
)
def test_bad_encodings_are_refused_and_named(encoding: str) -> None:
    points = random_points(40)
    for index in (0, 17, 39):
        bad = points.copy()
        bad[index] = vectors.row(encoding)
        with pytest.raises(InvalidEncoding, match=f"element {index} ") as caught:
            ristretto255.check(bad)
        assert caught.value.index == index
        with pytest.raises(InvalidEncoding) as caught:
            ristretto255.mul(little(7)[0], bad)
        assert caught.value.index == index
        with pytest.raises(InvalidEncoding) as caught:
            ristretto255.mul_each(little(*range(1, 41)), bad)
        assert caught.value.index == index


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(scalars, scalars), min_size=1, max_size=12))
def test_sums_and_differences_are_those_of_the_exponents(pairs: list[tuple[int, int]]) -> None:
    pairs = [(a, b) for a, b in pairs if a != b and a + b != ORDER] or [(1, 2)]
    a, b = (ristretto255.mul_base(little(*column)) for column in zip(*pairs, strict=True))
    sums, differences = ([(x + sign * y) % ORDER for x, y in pairs] for sign in (1, -1))
    assert np.array_equal(ristretto255.add(a, b), ristretto255.mul_base(little(*sums)))
    assert np.array_equal(ristretto255.sub(a, b), ristretto255.mul_base(little(*differences)))


def test_sums_that_are_the_identity_and_bad_operands_are_refused() -> None:
    points = random_points(40)
    negative = ristretto255.mul(little(ORDER - 1)[0], points)
    some = random_points(41)[1:]
    some[17] = negative[17]
    with pytest.raises(InvalidEncoding) as caught:
        ristretto255.add(points, some)
    assert caught.value.index == 17
    some[23] = points[23]
    with pytest.raises(InvalidEncoding) as caught:
        ristretto255.sub(points, some)
    assert caught.value.index == 23
    some[5] = 0
    for call in (lambda: ristretto255.add(points, some), lambda: ristretto255.sub(some, points)):
        with pytest.raises(InvalidEncoding) as caught:
            call()
        assert caught.value.index == 5
    with pytest.raises(UsageError, match="one row for each"):
        ristretto255.add(points, some[1:])


def test_the_first_of_several_bad_rows_is_named() -> None:
    points = random_points(3000)
    points[[700, 1900, 2999]] = 0
    for _ in range(5):
        with pytest.raises(InvalidEncoding) as caught:
            ristretto255.check(points)
        assert caught.value.index == 700


@pytest.mark.parametrize("vector", REFERENCE["bad_scalars"], ids=lambda v: v["why"])
def test_bad_scalars_are_refused(vector: dict[str, str]) -> None:
    bad, points = vectors.row(vector["scalar"]), random_points(3)
    with pytest.raises(InvalidEncoding, match="scalar 0"):
        ristretto255.mul(bad, points)
    several = little(1, 2, 3)
    several[1] = bad
    for call in (
        lambda: ristretto255.mul_base(several),
        lambda: ristretto255.mul_each(several, points),
        lambda: ristretto255.scalar_invert(several),
    ):
        with pytest.raises(InvalidEncoding, match="scalar 1") as caught:
            call()
        assert caught.value.index == 1


def test_hash_to_group() -> None:
    for vector in REFERENCE["hash_to_group"]:
        hashed = ristretto255.hash_to_group(pack([bytes.fromhex(vector["message"])]), bytes.fromhex(vector["dst"]))
        assert hashed.tobytes().hex() == vector["element"]


def test_scalars_of_uniform_strings() -> None:
    uniform = vectors.rows([v["uniform"] for v in REFERENCE["scalars"]])
    reduced = ristretto255.scalar_from_uniform(uniform)
    assert np.array_equal(reduced, vectors.rows([v["scalar"] for v in REFERENCE["scalars"]]))
    inverses = vectors.rows([v["inverse"] for v in REFERENCE["scalars"]])
    assert np.array_equal(ristretto255.scalar_invert(reduced), inverses)
    multiples = vectors.rows([v["base_multiple"] for v in REFERENCE["scalars"]])
    assert np.array_equal(ristretto255.mul_base(reduced), multiples)


@pytest.mark.parametrize("multiple", [0, 1, 2**259])
def test_a_uniform_string_that_gives_zero_is_refused(multiple: int) -> None:
    uniform = np.ones((3, 64), dtype=np.uint8)
    uniform[2] = np.frombuffer((multiple * ORDER % 2**512 // ORDER * ORDER).to_bytes(64, "little"), dtype=np.uint8)
    with pytest.raises(InvalidEncoding, match="scalar 2"):
        ristretto255.scalar_from_uniform(uniform)


@settings(max_examples=25, deadline=None)
@given(a=scalars, b=scalars)
def test_multiplication_agrees_with_the_reference(a: int, b: int) -> None:
    point = ristretto255.mul_base(little(a))
    assert point.tobytes() == reference.encode(a * reference.GENERATOR)
    twice = ristretto255.mul(little(b)[0], point)
    assert twice.tobytes() == reference.encode(b * reference.decode(point.tobytes()))
    assert np.array_equal(ristretto255.mul_each(little(b), point), twice)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(scalars, min_size=1, max_size=30))
def test_an_inverse_undoes_a_multiplication(values: list[int]) -> None:
    blinds, points = little(*values), random_points(len(values))
    there = ristretto255.mul_each(blinds, points)
    assert np.array_equal(ristretto255.mul_each(ristretto255.scalar_invert(blinds), there), points)


@pytest.mark.parametrize("n", [0, 1, 8, 9, 255, 256, 257, 1025])
def test_every_row_of_a_batch_of_any_size(n: int) -> None:
    # Batches are cut into chunks and spread over threads; no row may be lost at a seam.
    points = np.resize(random_points(31), (n, 32)).copy()
    expected = np.resize(ristretto255.mul(little(12345)[0], random_points(31)), (n, 32))
    assert np.array_equal(ristretto255.mul(little(12345)[0], points), expected)


def test_misuse_says_what_to_do() -> None:
    points = random_points(2)
    for call, text in (
        (lambda: ristretto255.mul(b"short", points), "scalar is 5 bytes; give 32"),
        (lambda: ristretto255.mul(little(1), points), "give one row"),
        (lambda: ristretto255.mul(little(1)[0], points[:, :31]), "strided"),
        (lambda: ristretto255.mul(little(1)[0], points[:, :31].copy()), r"give \(n, 32\)"),
        (lambda: ristretto255.check(points.astype(np.int64)), "uint8"),
        (lambda: ristretto255.check(points.tolist()), "numpy array"),
        (lambda: ristretto255.mul_each(little(1), points), "one row for each"),
        (lambda: ristretto255.hash_to_group(pack([b"a"]), b""), "dst is empty"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
