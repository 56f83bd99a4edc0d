"""SM2: the native core against the standard, the slow reference and gmssl."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gmssl.sm2 import CryptSM2
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import InvalidEncoding, sm2
from mpc.kernels.ed25519 import InvalidSignature
from mpc.kernels.packing import pack
from mpc.rng import Rng
from tests import vectors
from tests.reference import sm2 as reference

STANDARD = vectors.load("gmt0003_sm2")["signature"]
OPRF = vectors.load("reference_sm2_oprf")
REFERENCE = vectors.load("reference_sm2")

ORDER = reference.ORDER
ENTROPY = bytes(range(32))
scalars = st.integers(1, ORDER - 1)


def big(*values: int) -> np.ndarray:
    """(n, 32) encodings of integers."""
    return np.stack([np.frombuffer(value.to_bytes(32, "big"), dtype=np.uint8) for value in values])


def random_scalars(n: int) -> np.ndarray:
    return sm2.scalar_from_uniform(Rng.from_seed(b"scalars").uint8(n, 48))


def random_points(n: int) -> np.ndarray:
    return sm2.hash_to_group(pack([b"%d" % i for i in range(n)]), b"points")


def product(scalar: int, point: np.ndarray) -> bytes:
    """The reference's answer for one point."""
    return reference.encode(scalar * reference.decode(point.tobytes()))


def test_scalars_at_the_edges() -> None:
    edges = REFERENCE["multiples"]
    factors, points = (vectors.rows([v[name] for v in edges]) for name in ("scalar", "point"))
    assert np.array_equal(sm2.mul_base(factors), vectors.rows([v["base_multiple"] for v in edges]))
    multiples = vectors.rows([v["multiple"] for v in edges])
    assert np.array_equal(sm2.mul_each(factors, points), multiples)
    # One edge among many others takes the path of a large batch, and must not spoil the others.
    others, other_points = random_scalars(300), random_points(300)
    expected = sm2.mul_each(others, other_points)
    for factor, point, multiple in zip(factors, points, multiples, strict=True):
        others[77], other_points[77], expected[77] = factor, point, multiple
        assert np.array_equal(sm2.mul_each(others, other_points), expected)
        assert np.array_equal(sm2.mul_base(others)[77], sm2.mul_base(factor[None])[0])


@pytest.mark.parametrize("n", [1, 20, 300])
def test_one_scalar_at_the_edges_times_many_points(n: int) -> None:
    points = random_points(n)
    for edge in REFERENCE["multiples"]:
        scalar = bytes.fromhex(edge["scalar"])
        assert np.array_equal(
            sm2.mul(scalar, points), sm2.mul_each(np.tile(vectors.row(edge["scalar"]), (n, 1)), points)
        )
        assert sm2.mul(scalar, vectors.rows([edge["point"]] * n))[n // 2].tobytes().hex() == edge["multiple"]


@pytest.mark.parametrize("vector", OPRF["bad_elements"], ids=lambda v: v["why"])
def test_bad_encodings_are_refused_and_named(vector: dict[str, str]) -> None:
    points, others, factors = random_points(40), random_points(80)[40:], random_scalars(40)
    calls: list[Callable[[np.ndarray], object]] = [
        sm2.check,
        lambda bad: sm2.mul(factors[0], bad),
        lambda bad: sm2.mul_each(factors, bad),
        lambda bad: sm2.add(others, bad),
        lambda bad: sm2.sub(bad, others),
    ]
    for index in (0, 17, 39):
        bad = points.copy()
        bad[index] = vectors.row(vector["encoding"])
        for call in calls:
            with pytest.raises(InvalidEncoding, match=f"element {index} ") as caught:
                call(bad)
            assert caught.value.index == index


@pytest.mark.parametrize("vector", OPRF["bad_scalars"], ids=lambda v: v["why"])
def test_bad_scalars_are_refused(vector: dict[str, str]) -> None:
    bad, points = vectors.row(vector["scalar"]), random_points(3)
    with pytest.raises(InvalidEncoding, match="scalar 0"):
        sm2.mul(bad, points)
    with pytest.raises(InvalidEncoding, match="scalar 0"):
        sm2.sign(bad, b"message", entropy=ENTROPY)
    several = big(1, 2, 3)
    several[1] = bad
    for call in (
        lambda: sm2.mul_base(several),
        lambda: sm2.mul_each(several, points),
        lambda: sm2.scalar_invert(several),
    ):
        with pytest.raises(InvalidEncoding, match="scalar 1") as caught:
            call()
        assert caught.value.index == 1


def test_hash_to_group() -> None:
    for vector in OPRF["hash_to_group"]:
        hashed = sm2.hash_to_group(pack([bytes.fromhex(vector["message"])]), bytes.fromhex(vector["dst"]))
        assert hashed.tobytes().hex() == vector["element"]
    sm2.check(random_points(500))


def test_try_and_rehash() -> None:
    for name in ("sm3", "sha256"):
        cases = [v for v in REFERENCE["try_and_rehash"] if v["hash"] == name]
        hashed = sm2.try_and_rehash_vartime(pack([bytes.fromhex(v["message"]) for v in cases]), name=name)
        assert np.array_equal(hashed, vectors.rows([v["element"] for v in cases]))


def test_scalars_of_uniform_strings() -> None:
    uniform = vectors.rows([v["uniform"] for v in OPRF["scalars"]])
    reduced = sm2.scalar_from_uniform(uniform)
    assert np.array_equal(reduced, vectors.rows([v["scalar"] for v in OPRF["scalars"]]))
    assert np.array_equal(sm2.scalar_invert(reduced), vectors.rows([v["inverse"] for v in OPRF["scalars"]]))
    assert np.array_equal(sm2.mul_base(reduced), vectors.rows([v["base_multiple"] for v in OPRF["scalars"]]))


@pytest.mark.parametrize("multiple", [0, 1, 2**127 + 9])
def test_a_uniform_string_that_gives_zero_is_refused(multiple: int) -> None:
    uniform = np.ones((3, 48), dtype=np.uint8)
    uniform[2] = np.frombuffer((multiple * ORDER).to_bytes(48, "big"), dtype=np.uint8)
    with pytest.raises(InvalidEncoding, match="scalar 2"):
        sm2.scalar_from_uniform(uniform)


@settings(max_examples=15, deadline=None)
@given(a=scalars, b=scalars)
def test_multiplication_agrees_with_the_reference(a: int, b: int) -> None:
    point = sm2.mul_base(big(a))
    assert point.tobytes() == reference.encode(a * reference.GENERATOR)
    twice = sm2.mul(big(b)[0], point)
    assert twice.tobytes() == product(b, point)
    assert np.array_equal(sm2.mul_each(big(b), point), twice)


@settings(max_examples=15, deadline=None)
@given(values=st.lists(scalars, min_size=1, max_size=200))
def test_batches_agree_with_single_products(values: list[int]) -> None:
    n = len(values)
    blinds, points = big(*values), random_points(n)
    there = sm2.mul_each(blinds, points)
    assert np.array_equal(np.concatenate([sm2.mul_each(blinds[i : i + 1], points[i : i + 1]) for i in range(n)]), there)
    assert np.array_equal(sm2.mul_each(sm2.scalar_invert(blinds), there), points)
    same = sm2.mul(blinds[0], points)
    assert np.array_equal(np.concatenate([sm2.mul(blinds[0], points[i : i + 1]) for i in range(n)]), same)
    bases = np.concatenate([sm2.mul_base(blinds[i : i + 1]) for i in range(n)])
    assert np.array_equal(sm2.mul_base(blinds), bases)


def test_sums_and_differences() -> None:
    a, b = random_points(300), random_points(600)[300:]
    sums = sm2.add(a, b)
    for i in (0, 150, 299):
        expected = reference.decode(a[i].tobytes()) + reference.decode(b[i].tobytes())
        assert sums[i].tobytes() == reference.encode(expected)
    assert np.array_equal(sm2.sub(sums, b), a)
    assert np.array_equal(sm2.add(a, a), sm2.mul(big(2)[0], a))
    for call in (lambda: sm2.sub(a, a), lambda: sm2.add(a, sm2.mul(big(ORDER - 1)[0], a))):
        with pytest.raises(InvalidEncoding, match="element 0"):
            call()


@pytest.mark.parametrize("n", [0, 1, 8, 9, 255, 256, 257, 1025, 2050])
def test_every_row_of_a_batch_of_any_size(n: int) -> None:
    # Batches are cut into chunks and spread over threads; no row may be lost at a seam.
    points = np.resize(random_points(31), (n, 33)).copy()
    expected = np.resize(sm2.mul(big(12345)[0], random_points(31)), (n, 33))
    assert np.array_equal(sm2.mul(big(12345)[0], points), expected)
    assert np.array_equal(sm2.mul_each(np.tile(big(12345), (n, 1)), points), expected)


def test_signature_of_the_standard() -> None:
    private, message = bytes.fromhex(STANDARD["private"]), STANDARD["message"].encode()
    public, signature = bytes.fromhex(STANDARD["public"]), bytes.fromhex(STANDARD["signature"])
    assert STANDARD["id"].encode() == sm2.DEFAULT_ID
    assert sm2.public_key(private).tobytes() == public
    sm2.verify(public, message, signature)
    for wrong in (message + b"\0", message[:-1], b""):
        with pytest.raises(InvalidSignature):
            sm2.verify(public, wrong, signature)


@pytest.mark.parametrize("vector", REFERENCE["signatures"], ids=lambda v: f"id of {len(v['id']) // 2} bytes")
def test_signatures_of_the_reference(vector: dict[str, str]) -> None:
    private, public, signer_id, message, signature = (
        bytes.fromhex(vector[name]) for name in ("private", "public", "id", "message", "signature")
    )
    sm2.verify(public, message, signature, signer_id=signer_id)
    own = sm2.sign(private, message, entropy=ENTROPY, signer_id=signer_id)
    assert reference.verify(reference.decode(public), message, own, signer_id)
    with pytest.raises(InvalidSignature):
        sm2.verify(public, message, own, signer_id=signer_id[:-1] or b"another")


@pytest.mark.parametrize("vector", REFERENCE["bad_signatures"], ids=lambda v: v["why"])
def test_bad_signatures_are_refused(vector: dict[str, str]) -> None:
    public, message, signature = (bytes.fromhex(vector[name]) for name in ("public", "message", "signature"))
    with pytest.raises(InvalidSignature, match="does not fit"):
        sm2.verify(public, message, signature)


@settings(max_examples=4, deadline=None)
@given(private=st.integers(1, ORDER - 2), message=st.binary(max_size=300), bit=st.integers(0, 511))
def test_signatures_agree_with_gmssl_and_one_bit_undoes_them(private: int, message: bytes, bit: int) -> None:
    key = big(private)[0]
    public = sm2.public_key(key).tobytes()
    point = reference.decode(public)
    other = CryptSM2(private_key=f"{private:064x}", public_key=f"{point.x:064x}{point.y:064x}")
    signature = sm2.sign(key, message, entropy=ENTROPY)
    sm2.verify(public, message, signature)
    assert other.verify_with_sm3(signature.hex(), message)
    sm2.verify(public, message, bytes.fromhex(other.sign_with_sm3(message, "59" * 32)))
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidSignature):
        sm2.verify(public, message, bytes(changed))


def test_repeated_entropy_does_not_give_the_signing_key_away() -> None:
    # A restored snapshot signs two messages with the same random bytes. With one nonce k for both,
    # s = (k - r d) / (1 + d) twice gives d.
    key = random_scalars(1)[0]
    one, other = (sm2.sign(key, message, entropy=ENTROPY) for message in (b"one", b"other"))
    (r1, s1), (r2, s2) = ((int.from_bytes(x[:32], "big"), int.from_bytes(x[32:], "big")) for x in (one, other))
    found = (s2 - s1) * pow(s1 - s2 + r1 - r2, -1, ORDER) % ORDER
    assert found != int.from_bytes(key.tobytes(), "big")
    assert sm2.sign(key, b"one", entropy=ENTROPY) == one
    assert sm2.sign(key, b"one", entropy=ENTROPY[::-1]) != one
    assert sm2.sign(key, b"one", entropy=ENTROPY, signer_id=b"x") != one


def test_keys_that_are_none() -> None:
    signature = sm2.sign(big(5)[0], b"m", entropy=ENTROPY)
    for why in OPRF["bad_elements"]:
        with pytest.raises(InvalidSignature):
            sm2.verify(bytes.fromhex(why["encoding"]), b"m", signature)
    for wrong in (b"", signature[:-1], signature + b"\0"):
        with pytest.raises(InvalidSignature):
            sm2.verify(sm2.public_key(big(5)[0]).tobytes(), b"m", wrong)
    for call in (lambda: sm2.public_key(big(ORDER - 1)[0]), lambda: sm2.sign(big(ORDER - 1)[0], b"m", entropy=ENTROPY)):
        with pytest.raises(InvalidEncoding):
            call()


def test_misuse_says_what_to_do() -> None:
    points, key = random_points(2), big(3)[0]
    for call, text in (
        (lambda: sm2.mul(b"short", points), "scalar is 5 bytes; give 32"),
        (lambda: sm2.mul(big(1), points), "give one row"),
        (lambda: sm2.mul(key, points[:, :32].copy()), r"give \(n, 33\)"),
        (lambda: sm2.mul_each(big(1), points), "one row for each"),
        (lambda: sm2.add(points, points[:1]), "one row for each"),
        (lambda: sm2.hash_to_group(pack([b"a"]), b""), "dst is empty"),
        (lambda: sm2.try_and_rehash_vartime(pack([b"a"]), name="sha512"), "give sm3 or sha256"),
        (lambda: sm2.sign(key, b"m", entropy=b"short"), "entropy is 5 bytes; give 32"),
        (lambda: sm2.sign(key, b"m", entropy=ENTROPY, signer_id=bytes(8192)), "at most 8191"),
        (lambda: sm2.verify(bytes(65), b"m", bytes(64)), "give the compressed point"),
        (lambda: sm2.verify(bytes(33), b"m", bytes(64), signer_id=bytes(8192)), "at most 8191"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
