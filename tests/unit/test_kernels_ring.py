"""Z_2^64 and bit planes against the slow reference, at sizes around those at which the kernels divide their work."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.kernels import bits, ring
from mpc.rng import Rng
from tests import vectors
from tests.reference import generate_ring as given_by
from tests.reference import ring as slow

VECTORS = vectors.load("ring")
Words = NDArray[np.uint64]

LENGTHS = [0, 1, 2, 3, 511, 512, 513, 1023, 1025, 16_383, 16_385, 32_767, 32_769]
"""Around the tiles of a stream, and the chunks of threads."""
WIDTHS = [0, 1, 2, 63, 64, 65, 255, 257, 2047, 2048, 2049, 4095, 4097, 4225]
"""Around a plane's words, four of them, tiles of columns, and the chunks of threads."""


def words(label: str, *shape: int) -> Words:
    return np.array(given_by.words(label, int(np.prod(shape))), dtype=np.uint64).reshape(shape)


def zeros(*shape: int) -> Words:
    return np.zeros(shape, dtype=np.uint64)


def sha256(array: Words) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def same(found: Words, expected: object) -> bool:
    """Whether these are the words. A comparison of lists would take minutes to say where thousands differ."""
    return np.array_equal(found, np.array(expected, dtype=np.uint64).reshape(found.shape))


def edged(rng: Rng, n: int) -> Words:
    """Words among which are those whose sums carry far, or not at all."""
    drawn, edges = rng.uint64(n), [0, 1, 2**64 - 1, 2**63, 2**63 - 1, 0o111111111111111111111, 7]
    drawn[::3] = np.resize(np.array(edges, dtype=np.uint64), len(drawn[::3]))
    return drawn


def places(rng: Rng, blocks: tuple[int, int]) -> list[ring.Place]:
    return [ring.Place(rng.uint8(16), block) for block in blocks]


BLOCKS = st.one_of(st.integers(0, 2**128 - 1), st.integers(2**128 - 300, 2**128 - 1), st.integers(2**64 - 300, 2**64))


@pytest.mark.parametrize("vector", VECTORS["masks"], ids=lambda v: f"{v['kind']} {v['n']}")
def test_masks(vector: dict[str, Any]) -> None:
    of, key = words("mask", vector["n"]), np.frombuffer(given_by.key("mask"), dtype=np.uint8)
    ring.mask(of, vector["kind"], ring.Place(key, int(vector["block"])))
    assert sha256(of) == vector["out"]


@pytest.mark.parametrize("vector", VECTORS["products"], ids=lambda v: f"{v['kind']} {v['n']}")
def test_products(vector: dict[str, Any]) -> None:
    x, y, out = words("x", 2, vector["n"]), words("y", 2, vector["n"]), words("out", vector["n"])
    plus, minus = (
        ring.Place(np.frombuffer(given_by.key(name), dtype=np.uint8), int(vector[name])) for name in ("plus", "minus")
    )
    ring.product(vector["kind"], x, y, out, plus=plus, minus=minus)
    assert sha256(out) == vector["out"]


@pytest.mark.parametrize("vector", VECTORS["matmuls"], ids=lambda v: str(v["shape"]))
def test_matmuls(vector: dict[str, Any]) -> None:
    n, m, p = vector["shape"]
    sums = words("sums", n, p)
    assert ring.matmul(words("a", n, m), words("b", m, p), sums) is sums
    assert sha256(sums) == vector["out"]


@pytest.mark.parametrize("vector", VECTORS["planes"], ids=lambda v: str(v["n"]))
def test_planes(vector: dict[str, Any]) -> None:
    n = vector["n"]
    s, t, masks = words("s", n), words("t", n), words("masks", bits.step_planes(bits.BLOCKS) * bits.width(n))
    assert sha256(bits.planes(s)) == vector["planes"]
    stepped = masks.copy()
    bits.steps(s, stepped)
    assert sha256(stepped) == vector["steps"]
    shares = [bits.carries(masks, t, one=True), bits.carries(stepped, t, one=False)]
    assert [sha256(share) for share in shares] == vector["carries"]


@pytest.mark.parametrize("vector", VECTORS["bad_places"], ids=lambda v: v["why"])
def test_bad_places_are_refused(vector: dict[str, Any]) -> None:
    bad = ring.Place(np.zeros(vector["key_bytes"], dtype=np.uint8), int(vector["block"]))
    good = ring.Place(np.zeros(16, dtype=np.uint8), 0)
    with pytest.raises(UsageError, match="key|block"):
        ring.mask(zeros(3), "add", bad)
    for plus, minus in ((bad, good), (good, bad)):
        with pytest.raises(UsageError, match="key|block"):
            ring.product("and", zeros(2, 3), zeros(2, 3), zeros(3), plus=plus, minus=minus)


@pytest.mark.parametrize("vector", VECTORS["bad_matmuls"], ids=lambda v: v["why"])
def test_bad_matmuls_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"multiplied|out has shape"):
        ring.matmul(*(zeros(*vector[name]) for name in ("a", "b", "out")))


@pytest.mark.parametrize("vector", VECTORS["bad_planes"], ids=lambda v: v["why"])
def test_bad_planes_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="planes must be"):
        bits.words(zeros(*vector["planes"]), vector["n"])


@settings(max_examples=25)
@given(
    n=st.sampled_from(LENGTHS),
    kind=st.sampled_from(["add", "subtract", "xor"]),
    block=BLOCKS,
    seed=st.binary(max_size=8),
)
def test_a_mask_is_the_stream(n: int, kind: Literal["add", "subtract", "xor"], block: int, seed: bytes) -> None:
    rng = Rng.from_seed(seed)
    of, place = edged(rng, n), ring.Place(rng.uint8(16), block)
    expected = slow.mask(of.tolist(), kind, place.key.tobytes(), block)
    ring.mask(of, kind, place)
    assert same(of, expected)


def test_a_mask_of_any_shape_is_read_row_by_row() -> None:
    rng = Rng.from_seed(b"shape")
    of, place = rng.uint64(5, 3, 7), ring.Place(rng.uint8(16), 4)
    row = of.reshape(-1).copy()
    ring.mask(of, "add", place)
    ring.mask(row, "add", place)
    assert np.array_equal(of.reshape(-1), row)


@settings(max_examples=20)
@given(
    n=st.sampled_from(LENGTHS),
    kind=st.sampled_from(["multiply", "and"]),
    blocks=st.tuples(BLOCKS, BLOCKS),
    seed=st.binary(max_size=8),
)
def test_a_partys_part(n: int, kind: Literal["multiply", "and"], blocks: tuple[int, int], seed: bytes) -> None:
    rng = Rng.from_seed(seed)
    x, y = edged(rng, 2 * n).reshape(2, n), rng.uint64(2, n)
    (plus, minus), out = places(rng, blocks), rng.uint64(n)
    ring.product(kind, x, y, out, plus=plus, minus=minus)
    keys = (plus.key.tobytes(), plus.block), (minus.key.tobytes(), minus.block)
    assert same(out, slow.product(kind, x.tolist(), y.tolist(), *keys))


@settings(max_examples=10)
@given(n=st.integers(0, 600), seed=st.binary(max_size=8))
def test_three_parts_are_a_product(n: int, seed: bytes) -> None:
    rng = Rng.from_seed(seed)
    x, y, at = rng.uint64(3, n), rng.uint64(3, n), [ring.Place(rng.uint8(16), i) for i in range(3)]
    for kind, add, times in (("multiply", np.add, np.multiply), ("and", np.bitwise_xor, np.bitwise_and)):
        parts = zeros(3, n)
        for i, out in enumerate(parts):
            j = (i + 1) % 3
            ring.product(kind, x[[i, j]], y[[i, j]], out, plus=at[i], minus=at[j])  # type: ignore[arg-type]
        assert np.array_equal(add.reduce(parts), times(add.reduce(x), add.reduce(y)))


@settings(max_examples=20)
@given(
    n=st.sampled_from([0, 1, 2, 3, 4, 47, 48, 49, 97]),
    m=st.sampled_from([0, 1, 2, 255, 256, 257, 513]),
    p=st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 17]),
    seed=st.binary(max_size=8),
)
def test_matrices(n: int, m: int, p: int, seed: bytes) -> None:
    rng = Rng.from_seed(seed)
    a, b, sums = edged(rng, n * m).reshape(n, m), edged(rng, m * p).reshape(m, p), rng.uint64(n, p)
    expected = slow.matmul(a.tolist(), b.tolist(), sums.tolist())
    turned = np.asfortranarray(b)
    before = a.copy(), b.copy()
    assert np.array_equal(ring.matmul(a, turned) + sums, ring.matmul(a, b, sums))
    assert same(sums, expected)
    assert np.array_equal(a, before[0])
    assert np.array_equal(b, before[1])


def test_a_matrix_wider_than_what_is_packed_at_a_time() -> None:
    rng = Rng.from_seed(b"wide")
    for n, m, p in ((2, 3, 2047), (2, 3, 2048), (4, 2, 2057), (1, 1, 4097)):
        a, b, sums = rng.uint64(n, m), rng.uint64(m, p), rng.uint64(n, p)
        expected = slow.matmul(a.tolist(), b.tolist(), sums.tolist())
        assert same(ring.matmul(a, b, sums), expected)


@settings(max_examples=8)
@given(n=st.sampled_from(WIDTHS), seed=st.binary(max_size=8))
def test_planes_and_back(n: int, seed: bytes) -> None:
    of = edged(Rng.from_seed(seed), n)
    out = bits.planes(of)
    assert same(out, slow.planes(of.tolist()))
    assert np.array_equal(bits.words(out, n), of)


@settings(max_examples=8)
@given(n=st.sampled_from(WIDTHS), seed=st.binary(max_size=8))
def test_words_leave_out_what_is_behind_the_last(n: int, seed: bytes) -> None:
    planes = Rng.from_seed(seed).uint64(bits.WORD_BITS, bits.width(n))
    assert same(bits.words(planes, n), slow.words(planes.tolist(), n))


@settings(max_examples=8)
@given(
    n=st.sampled_from(WIDTHS), one=st.booleans(), blocks=st.sampled_from([21, 21, 20, 9, 1]), seed=st.binary(max_size=8)
)
def test_blocks_carry_as_sums_do(n: int, one: bool, blocks: int, seed: bytes) -> None:  # noqa: FBT001 - drawn
    rng = Rng.from_seed(seed)
    s, t, masks = edged(rng, n), edged(rng, n)[::-1].copy(), rng.uint64(bits.step_planes(blocks) * bits.width(n))
    stepped = masks.copy()
    bits.steps(s, stepped, blocks=blocks)
    assert same(stepped, slow.steps(s.tolist(), masks.tolist(), blocks))
    mine = bits.carries(masks, t, one=one, blocks=blocks)
    assert same(mine, slow.carries(masks.tolist(), t.tolist(), one=one, blocks=blocks))
    opened = mine ^ bits.carries(stepped, t, one=not one, blocks=blocks)
    assert same(opened, slow.carries_of_sums(s.tolist(), t.tolist(), blocks))


def fixed(*shape: int) -> Words:
    """An array that may not be changed."""
    array = zeros(*shape)
    array.flags.writeable = False
    return array


def test_misuse_of_the_ring() -> None:
    at, pair, row, square = ring.Place(np.zeros(16, dtype=np.uint8), 0), zeros(2, 3), zeros(3), zeros(3, 3)
    wrong: list[tuple[Any, str]] = [
        (zeros(6)[::2], "contiguous"), (row.astype(np.int64), "uint64"), (fixed(3), "read-only"), ([1, 2], "array"),
    ]  # fmt: skip
    for of, text in wrong:
        with pytest.raises(UsageError, match=text):
            ring.mask(of, "add", at)
        with pytest.raises(UsageError, match=text):
            ring.product("and", zeros(2, len(of)), zeros(2, len(of)), of, plus=at, minus=at)
    bad: Any = "or"
    with pytest.raises(UsageError, match="kind"):
        ring.mask(row, bad, at)
    with pytest.raises(UsageError, match="kind"):
        ring.product(bad, pair, pair, row, plus=at, minus=at)
    for x in (zeros(2, 4), zeros(3), zeros(3, 3), pair.astype(np.int64)):
        with pytest.raises(UsageError, match="x must be"):
            ring.product("and", x, pair, row, plus=at, minus=at)
        with pytest.raises(UsageError, match="y must be"):
            ring.product("and", pair, x, row, plus=at, minus=at)
    with pytest.raises(UsageError, match="x must be"):
        ring.product("and", zeros(2, 3, 3), zeros(2, 3, 3), square, plus=at, minus=at)
    with pytest.raises(UsageError, match="shares memory"):
        ring.product("and", pair, zeros(2, 3), pair[1], plus=at, minus=at)
    for a, b, out, text in (
        (square.astype(np.float64), square, zeros(3, 3), "a must be"),
        (square, square.astype(np.int64), zeros(3, 3), "b must be"),
        (square.tolist(), square, zeros(3, 3), "a must be"),
        (square, square, zeros(3, 6)[:, ::2], "out must be"),
        (square, square, fixed(3, 3), "read-only"),
        (square, zeros(3, 3), square, "shares memory"),
        (zeros(3, 3), square, square, "shares memory"),
    ):
        with pytest.raises(UsageError, match=text):
            ring.matmul(a, b, out)  # type: ignore[arg-type]


def test_misuse_of_bit_planes() -> None:
    row, out = zeros(3), zeros(bits.step_planes(bits.BLOCKS))
    wrong: list[Any] = [zeros(3, 1), zeros(6)[::2], row.astype(np.int64), [1, 2, 3]]
    for of in wrong:
        with pytest.raises(UsageError, match="words must be"):
            bits.planes(of)
        with pytest.raises(UsageError, match="words must be"):
            bits.steps(of, out)
        with pytest.raises(UsageError, match="out must be"):
            bits.steps(row, of)
        with pytest.raises(UsageError, match="steps must be"):
            bits.carries(of, row, one=True)
        with pytest.raises(UsageError, match="t must be"):
            bits.carries(out, of, one=True)
    for blocks in (0, 22):
        with pytest.raises(UsageError, match="1 to 21"):
            bits.steps(row, out, blocks=blocks)
        with pytest.raises(UsageError, match="1 to 21"):
            bits.carries(out, row, one=True, blocks=blocks)
    with pytest.raises(UsageError, match="give 148"):
        bits.steps(row, out[1:])
    with pytest.raises(UsageError, match="give 296"):
        bits.carries(out, zeros(65), one=True)
    with pytest.raises(UsageError, match="read-only"):
        bits.steps(row, fixed(bits.step_planes(bits.BLOCKS)))
    with pytest.raises(UsageError, match="shares memory"):
        bits.steps(out[:3], out)


def test_the_written_vectors_are_what_the_reference_says() -> None:
    assert given_by.PATH.read_text(encoding="utf-8") == given_by.document()
