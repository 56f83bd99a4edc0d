"""The matrix–vector product under Paillier's encryption: right, as cheap as it says, closed to what is malformed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpc.errors import PeerError, UsageError
from mpc.kernels import paillier as kernel
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.matvec.v1 import paillier_pb2 as wire
from protocols.matvec import paillier
from tests.unit.test_kernels_paillier import KEY

RNG = np.random.default_rng(4)


def run(
    matrix: np.ndarray,
    v: np.ndarray,
    *,
    transpose: bool = False,
    mine: np.ndarray | None = None,
    vectors: int | None = None,
    **options: Any,  # noqa: ANN401  # as run_parties
) -> dict[str, Any]:
    def holder(s: Session) -> Any:  # noqa: ANN401
        channel = s.channel("owner")
        share = paillier.holder(
            channel, paillier.prepare(matrix), transpose=transpose, vectors=vectors, mine=mine, rng=s.rng
        )
        return share, channel.traffic

    def owner(s: Session) -> Any:  # noqa: ANN401
        rows, cols = matrix.shape
        channel = s.channel("holder")
        share = paillier.vector(channel, v, rows=rows, cols=cols, transpose=transpose, key=KEY, rng=s.rng)
        return share, channel.traffic

    return run_parties({"holder": holder, "owner": owner}, protocol="matvec.paillier", **options)


def words(*shape: int) -> np.ndarray:
    return RNG.integers(0, 2**64, size=shape, dtype=np.uint64)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_shares_add_up_to_the_product(*, transpose: bool, shared: bool, signed: bool) -> None:
    matrix = RNG.integers(-1000, 1000, size=(5, 3)) if signed else words(5, 3)
    v = words(5 if transpose else 3)
    mine = words(*v.shape) if shared else None
    results = run(matrix, v, transpose=transpose, mine=mine)
    whole = v if mine is None else v + mine
    product = (matrix.T if transpose else matrix).astype(np.uint64) @ whole
    shares = [results[name][0] for name in ("holder", "owner")]
    assert np.array_equal(shares[0] + shares[1], product)
    assert all(share.dtype == np.uint64 for share in shares)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("vectors", [0, 1, 3])
def test_several_vectors_at_once(*, transpose: bool, vectors: int) -> None:
    matrix, n = words(3, 2), 3 if transpose else 2
    v, mine = words(n, vectors), words(n, vectors)
    results = run(matrix, v, transpose=transpose, mine=mine, vectors=vectors)
    product = (matrix.T if transpose else matrix) @ (v + mine)
    assert np.array_equal(results["holder"][0] + results["owner"][0], product)


@pytest.mark.parametrize("shape", [(1, 1), (0, 2), (2, 0)])
def test_small_shapes(shape: tuple[int, int]) -> None:
    matrix, v = words(*shape), words(shape[1])
    results = run(matrix, v)
    assert np.array_equal(results["holder"][0] + results["owner"][0], matrix @ v)


def test_traffic_is_as_stated() -> None:
    results = run(words(4, 6), words(6))
    holder, owner = (results[name][1] for name in ("holder", "owner"))
    width = KEY.public.cipher_bytes
    assert (owner.messages_sent, owner.messages_received, owner.rounds) == (1, 1, 1)
    assert 0 <= owner.bytes_sent - 6 * width - width // 2 < 100
    assert 0 <= holder.bytes_sent - 4 * width < 100


def test_masks_hide_the_products() -> None:
    """What the owner decrypts is a mask of the stated length and a product that is lost in it; shares are uniform."""
    seen: list[np.ndarray] = []

    def owner(s: Session) -> None:
        channel = s.channel("holder")
        plain = kernel.encode(KEY.public, [1, 2])
        query = wire.PaillierVectors(version=paillier.VERSION, rows=24, cols=2, vectors=1)
        n = np.frombuffer(KEY.public.encoded, dtype=np.uint8)
        channel.send(query, n, kernel.encrypt(KEY, plain, s.rng.uint8(2, KEY.public.random_bytes)))
        seen.append(kernel.decrypt(KEY, channel.recv(wire.PaillierProducts)[1]))

    zeros = np.zeros((24, 2), dtype=np.int64)
    parties = {
        "holder": lambda s: paillier.holder(s.channel("owner"), paillier.prepare(zeros), rng=s.rng),
        "owner": owner,
    }
    shares = run_parties(parties, seed=b"masks")["holder"]
    width = paillier.mask_bytes(2)
    assert 8 * width >= 128 + 1 + 40
    masks = seen[0]
    assert not masks[:, width:].any()
    for bits in (masks[:, :width], masks[:, width - 1], shares.view(np.uint8)):
        mean = np.unpackbits(np.ascontiguousarray(bits)).mean()
        assert abs(mean - 0.5) < 5 / (2 * np.sqrt(bits.size * 8))
    assert len({row.tobytes() for row in masks}) == 24


def test_a_product_is_encrypted_anew() -> None:
    """What the owner said being the same twice, the answers differ: their randomness is the holder's."""
    answers = []

    def owner(s: Session) -> None:
        rng = Rng.from_seed(b"the same")
        query = wire.PaillierVectors(version=paillier.VERSION, rows=1, cols=1, vectors=1)
        plain, n = kernel.encode(KEY.public, [3]), np.frombuffer(KEY.public.encoded, dtype=np.uint8)
        channel = s.channel("holder")
        channel.send(query, n, kernel.encrypt(KEY, plain, rng.uint8(1, KEY.public.random_bytes)))
        answers.append(channel.recv(wire.PaillierProducts)[1].tobytes())

    matrix = np.array([[5]])
    for _ in range(2):
        run_parties(
            {
                "holder": lambda s: paillier.holder(s.channel("owner"), paillier.prepare(matrix), rng=s.rng),
                "owner": owner,
            }
        )
    assert answers[0] != answers[1]


def offered(**changes: Any) -> None:  # noqa: ANN401  # what the owner says otherwise
    """The holder of a matrix of two columns against an owner who sends something else."""
    n = KEY.public.encoded
    c = kernel.encrypt(KEY, kernel.encode(KEY.public, [1, 2]), Rng().uint8(2, KEY.public.random_bytes))
    words = {"version": paillier.VERSION, "rows": 1, "cols": 2, "transpose": False, "vectors": 1}
    modulus, ciphertexts = changes.pop("n", n), changes.pop("c", c)

    def owner(s: Session) -> None:
        query = wire.PaillierVectors(**words | changes)
        s.channel("holder").send(query, np.frombuffer(modulus, dtype=np.uint8), ciphertexts)
        s.channel("holder").recv(wire.PaillierProducts)

    matrix = np.ones((1, 2), dtype=np.int64)
    run_parties(
        {"holder": lambda s: paillier.holder(s.channel("owner"), paillier.prepare(matrix), rng=s.rng), "owner": owner}
    )


def test_the_holder_takes_nothing_that_does_not_fit() -> None:
    good = kernel.encrypt(KEY, kernel.encode(KEY.public, [1, 2]), Rng().uint8(2, KEY.public.random_bytes))
    zero, large = good.copy(), good.copy()
    zero[1], large[0] = 0, 255
    n = KEY.public.encoded
    for changes, text in (
        ({"version": 99}, "version 1"),
        ({"rows": 2}, "the same sizes"),
        ({"cols": 3}, "the same sizes"),
        ({"transpose": True}, "the same sizes"),
        ({"c": good[:1].copy()}, "as many ciphertexts"),
        ({"c": good[:, :-1].copy()}, "as many ciphertexts"),
        ({"c": zero}, "coprime to n"),
        ({"c": large}, "below n squared"),
        ({"n": n[:128]}, "at least 2048 bits"),
        ({"n": n + n[-1:]}, "at least 2048 bits"),
        ({"n": bytes([n[0] ^ 1]) + n[1:]}, "an odd modulus"),
        ({"n": n[:-1] + b"\x01"}, "of its full length"),
    ):
        with pytest.raises(PeerError, match=text):
            offered(**changes)


def test_the_owner_takes_nothing_that_does_not_fit() -> None:
    width = KEY.public.cipher_bytes
    for answer, text in (
        (np.zeros((1, width), dtype=np.uint8), "coprime"),
        (np.full((1, width), 255, dtype=np.uint8), "below n squared"),
        (np.ones((2, width), dtype=np.uint8), "as many ciphertexts"),
        (np.ones((1, width - 1), dtype=np.uint8), "as many ciphertexts"),
    ):

        def holder(s: Session, answer: np.ndarray = answer) -> None:
            s.channel("owner").recv(wire.PaillierVectors)
            s.channel("owner").send(wire.PaillierProducts(), answer)

        def owner(s: Session) -> object:
            v = np.ones(1, dtype=np.uint64)
            return paillier.vector(s.channel("holder"), v, rows=1, cols=1, key=KEY, rng=s.rng)

        with pytest.raises(PeerError, match=text):
            run_parties({"holder": holder, "owner": owner})


def test_a_flipped_bit_goes_unnoticed_but_hits_one_entry() -> None:
    """Semi-honest: a changed ciphertext decrypts to another number. Nothing else changes, and nothing is told."""
    matrix, v = words(2, 2), words(2)
    results = run(matrix, v, tamper={("holder", "owner"): Tamper(0, byte=-1000)})
    right = results["holder"][0] + results["owner"][0] == matrix @ v
    assert right.tolist() == [False, True]
    results = run(matrix, v, tamper={("owner", "holder"): Tamper(0, byte=-1000)})
    assert not (results["holder"][0] + results["owner"][0] == matrix @ v).any()


def test_misuse() -> None:
    ints = paillier.prepare(np.ones((2, 2), dtype=np.int64))
    wide = paillier.prepare(np.ones((1, 1 << 17), dtype=np.int64))
    wrong = [
        lambda s: paillier.holder(s.channel("b"), wide, rng=s.rng),
        lambda s: paillier.holder(s.channel("b"), ints, vectors=1 << 16, rng=s.rng),
        lambda s: paillier.holder(s.channel("b"), ints, mine=words(3), rng=s.rng),
        lambda s: paillier.holder(s.channel("b"), ints, vectors=2, mine=words(2), rng=s.rng),
        lambda s: paillier.vector(s.channel("b"), np.ones(2), rows=2, cols=2, key=KEY, rng=s.rng),
        lambda s: paillier.vector(s.channel("b"), words(3), rows=2, cols=2, key=KEY, rng=s.rng),
        lambda s: paillier.vector(s.channel("b"), words(1 << 17), rows=2, cols=1 << 17, key=KEY, rng=s.rng),
    ]
    for call in wrong:
        with pytest.raises(UsageError):
            run_parties({"a": call, "b": lambda _: None})
    with pytest.raises(UsageError, match="at least 2048"):
        paillier.key(bits=1024)
