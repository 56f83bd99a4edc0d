"""The OPRF and the VOPRF: the native core against RFC 9497, the slow reference, and itself."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import InvalidEncoding, InvalidProof, oprf, ristretto255
from mpc.kernels.oprf import Mode
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng
from tests import vectors
from tests.reference import ristretto255 as reference

REFERENCE = vectors.load("reference_ristretto255_oprf")
SUITE = "intl"
ENTROPY = bytes(range(oprf.ENTROPY_BYTES))


def runs() -> list[dict]:
    """Runs of the RFC, one a vector, and of the reference, in one form."""
    rfc = vectors.load("rfc9497_ristretto255_sha512")["modes"]
    flat = [{**mode, **vector} for mode in rfc for vector in mode["vectors"]]
    return flat + REFERENCE["runs"]


def scalars(n: int, label: str) -> np.ndarray:
    return ristretto255.scalar_from_uniform(Rng.from_seed(label.encode()).uint8(n, 64))


def inputs_of(run: dict) -> Packed:
    return pack([bytes.fromhex(x) for x in run["inputs"]])


@pytest.mark.parametrize("run", runs(), ids=lambda run: f"mode{run['mode']}-{len(run['inputs'])}")
def test_vectors(run: dict) -> None:
    mode, inputs = run["mode"], inputs_of(run)
    blinds, blinded, evaluated, outputs = (
        vectors.rows(run[name]) for name in ("blinds", "blinded", "evaluated", "outputs")
    )
    private = oprf.derive_key(SUITE, mode, bytes.fromhex(run["seed"]), bytes.fromhex(run["info"]))
    assert private.tobytes().hex() == run["private"]
    assert np.array_equal(oprf.blind(SUITE, mode, inputs, blinds), blinded)
    assert np.array_equal(oprf.blind_evaluate(SUITE, private, blinded), evaluated)
    assert np.array_equal(oprf.finalize(SUITE, mode, inputs, blinds, evaluated), outputs)
    assert np.array_equal(oprf.evaluate(SUITE, mode, private, inputs), outputs)
    if "proof" in run:
        public = oprf.public_key(SUITE, private)
        assert public.tobytes().hex() == run["public"]
        # That the core makes this proof of the run's nonce is tested in Rust: a nonce is not for Python to choose.
        oprf.verify(SUITE, mode, public, blinded, evaluated, vectors.row(run["proof"]))
    if "hedged_proof" in run:
        proof = oprf.prove(SUITE, mode, private, public, blinded, evaluated, bytes.fromhex(run["entropy"]))
        assert proof.tobytes().hex() == run["hedged_proof"]
        oprf.verify(SUITE, mode, public, blinded, evaluated, proof)


def response_and_challenge(proof: np.ndarray) -> tuple[int, int]:
    """The response and the challenge of a proof."""
    c, s = (int.from_bytes(half.tobytes(), "little") for half in (proof[:32], proof[32:]))
    return s, c


def test_repeated_entropy_does_not_give_the_key_away() -> None:
    # A restored snapshot proves two statements with the same random bytes. With one nonce r for both, s = r - c k
    # twice gives k = (s - s') / (c' - c).
    private, entropy = scalars(1, "key")[0], bytes(range(32))
    public = oprf.public_key(SUITE, private)
    blinded = oprf.blind(SUITE, Mode.VOPRF, pack([b"x", b"y"]), scalars(2, "blinds"))
    evaluated = oprf.blind_evaluate(SUITE, private, blinded)
    statements = [
        (Mode.VOPRF, slice(0, 1)),
        (Mode.VOPRF, slice(1, 2)),
        (Mode.VOPRF, slice(0, 2)),
        (Mode.OPRF, slice(0, 1)),
    ]
    proofs = [oprf.prove(SUITE, mode, private, public, blinded[i], evaluated[i], entropy) for mode, i in statements]
    key = int.from_bytes(private.tobytes(), "little")
    for one, other in itertools.combinations(proofs, 2):
        (s, c), (s_other, c_other) = response_and_challenge(one), response_and_challenge(other)
        assert (s - s_other) * pow(c_other - c, -1, reference.L) % reference.L != key
    for (mode, i), proof in zip(statements, proofs, strict=True):
        oprf.verify(SUITE, mode, public, blinded[i], evaluated[i], proof)
        again = [
            oprf.prove(SUITE, mode, private, public, blinded[i], evaluated[i], e) for e in (entropy, entropy[::-1])
        ]
        assert np.array_equal(again[0], proof)
        assert not np.array_equal(again[1], proof)


@pytest.mark.parametrize("vector", REFERENCE["bad_proofs"], ids=lambda v: v["why"])
def test_bad_proofs_are_refused(vector: dict) -> None:
    with pytest.raises(InvalidProof, match="does not verify"):
        oprf.verify(
            SUITE,
            vector["mode"],
            vectors.row(vector["public"]),
            vectors.rows(vector["blinded"]),
            vectors.rows(vector["evaluated"]),
            vectors.row(vector["proof"]),
        )


def test_any_flipped_bit_of_a_proof_is_refused() -> None:
    private = scalars(1, "key")[0]
    public = oprf.public_key(SUITE, private)
    blinded = oprf.blind(SUITE, Mode.VOPRF, pack([b"x"]), scalars(1, "blind"))
    evaluated = oprf.blind_evaluate(SUITE, private, blinded)
    proof = oprf.prove(SUITE, Mode.VOPRF, private, public, blinded, evaluated, ENTROPY)
    for bit in range(512):
        bad = proof.copy()
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidProof):
            oprf.verify(SUITE, Mode.VOPRF, public, blinded, evaluated, bad)


@pytest.mark.parametrize("vector", REFERENCE["bad_elements"], ids=lambda v: v["why"])
def test_bad_elements_are_refused_at_every_door(vector: dict) -> None:
    bad, n = vectors.row(vector["encoding"]), 20
    private, blinds, inputs = scalars(1, "key")[0], scalars(n, "blinds"), pack([b"%d" % i for i in range(n)])
    public = oprf.public_key(SUITE, private)
    good = oprf.blind(SUITE, Mode.VOPRF, inputs, blinds)
    evaluated = oprf.blind_evaluate(SUITE, private, good)
    proof = oprf.prove(SUITE, Mode.VOPRF, private, public, good, evaluated, ENTROPY)
    wrong, wrong_evaluated = good.copy(), evaluated.copy()
    wrong[13] = wrong_evaluated[13] = bad
    for call in (
        lambda: oprf.blind_evaluate(SUITE, private, wrong),
        lambda: oprf.finalize(SUITE, Mode.VOPRF, inputs, blinds, wrong_evaluated),
        lambda: oprf.verify(SUITE, Mode.VOPRF, public, wrong, evaluated, proof),
        lambda: oprf.verify(SUITE, Mode.VOPRF, public, good, wrong_evaluated, proof),
        lambda: oprf.prove(SUITE, Mode.VOPRF, private, public, wrong, evaluated, ENTROPY),
    ):
        with pytest.raises(InvalidEncoding, match="element 13 ") as caught:
            call()
        assert caught.value.index == 13
    with pytest.raises(InvalidProof):
        oprf.verify(SUITE, Mode.VOPRF, bad, good, evaluated, proof)


@pytest.mark.parametrize("vector", REFERENCE["bad_scalars"], ids=lambda v: v["why"])
def test_bad_scalars_are_refused_at_every_door(vector: dict) -> None:
    bad, n = vectors.row(vector["scalar"]), 3
    private, blinds, inputs = scalars(1, "key")[0], scalars(n, "blinds"), pack([b"%d" % i for i in range(n)])
    public = oprf.public_key(SUITE, private)
    blinded = oprf.blind(SUITE, Mode.VOPRF, inputs, blinds)
    evaluated = oprf.blind_evaluate(SUITE, private, blinded)
    wrong = blinds.copy()
    wrong[2] = bad
    for call in (
        lambda: oprf.blind(SUITE, Mode.VOPRF, inputs, wrong),
        lambda: oprf.finalize(SUITE, Mode.VOPRF, inputs, wrong, evaluated),
        lambda: oprf.public_key(SUITE, bad),
        lambda: oprf.blind_evaluate(SUITE, bad, blinded),
        lambda: oprf.evaluate(SUITE, Mode.VOPRF, bad, inputs),
        lambda: oprf.prove(SUITE, Mode.VOPRF, bad, public, blinded, evaluated, ENTROPY),
    ):
        with pytest.raises(InvalidEncoding, match="scalar"):
            call()


@settings(max_examples=40, deadline=None)
@given(items=st.lists(st.binary(max_size=200), min_size=1, max_size=40), seed=st.binary(min_size=32, max_size=32))
@pytest.mark.parametrize("mode", Mode)
def test_the_client_gets_what_the_server_evaluates(mode: Mode, items: list[bytes], seed: bytes) -> None:
    rng, inputs = Rng.from_seed(seed), pack(items)
    private = oprf.derive_key(SUITE, mode, seed, b"test")
    public = oprf.public_key(SUITE, private)
    blinds = ristretto255.scalar_from_uniform(rng.uint8(len(items), 64))
    blinded = oprf.blind(SUITE, mode, inputs, blinds)
    evaluated = oprf.blind_evaluate(SUITE, private, blinded)
    proof = oprf.prove(SUITE, mode, private, public, blinded, evaluated, rng.uint8(oprf.ENTROPY_BYTES))
    oprf.verify(SUITE, mode, public, blinded, evaluated, proof)
    outputs = oprf.finalize(SUITE, mode, inputs, blinds, evaluated)
    assert np.array_equal(outputs, oprf.evaluate(SUITE, mode, private, inputs))
    assert len({row.tobytes() for row in outputs}) == len(set(items))


def test_blinded_elements_do_not_repeat_and_modes_do_not_mix() -> None:
    inputs, private = pack([b"same", b"same"]), scalars(1, "key")[0]
    blinded = oprf.blind(SUITE, Mode.OPRF, inputs, scalars(2, "blinds"))
    assert not np.array_equal(blinded[0], blinded[1])
    plain, verifiable = (oprf.evaluate(SUITE, mode, private, inputs) for mode in Mode)
    assert np.array_equal(plain[0], plain[1])
    assert not np.array_equal(plain[0], verifiable[0])


def test_the_largest_batch_and_input_that_the_rfc_allows() -> None:
    private = scalars(1, "key")[0]
    public = oprf.public_key(SUITE, private)
    longest = pack([b"x" * oprf.MAX_INPUT_BYTES])
    assert oprf.evaluate(SUITE, Mode.OPRF, private, longest).shape == (1, 64)
    with pytest.raises(UsageError, match="hash long inputs first"):
        oprf.evaluate(SUITE, Mode.OPRF, private, pack([b"x" * (oprf.MAX_INPUT_BYTES + 1)]))
    blinded = np.resize(oprf.blind(SUITE, Mode.VOPRF, pack([b"a", b"b"]), scalars(2, "blinds")), (oprf.MAX_BATCH, 32))
    evaluated = np.resize(oprf.blind_evaluate(SUITE, private, blinded[:2].copy()), (oprf.MAX_BATCH, 32))
    proof = oprf.prove(SUITE, Mode.VOPRF, private, public, blinded, evaluated, ENTROPY)
    oprf.verify(SUITE, Mode.VOPRF, public, blinded, evaluated, proof)
    one_more = np.resize(blinded, (oprf.MAX_BATCH + 1, 32))
    for batch in (one_more, one_more[:0]):
        with pytest.raises(UsageError, match="split the batch"):
            oprf.prove(SUITE, Mode.VOPRF, private, public, batch, batch, ENTROPY)
        with pytest.raises(UsageError, match="split the batch"):
            oprf.verify(SUITE, Mode.VOPRF, public, batch, batch, proof)


def test_an_empty_batch_is_an_empty_answer() -> None:
    nothing, key = np.empty((0, 32), dtype=np.uint8), scalars(1, "key")[0]
    assert oprf.blind(SUITE, Mode.OPRF, pack([]), nothing).shape == (0, 32)
    assert oprf.blind_evaluate(SUITE, key, nothing).shape == (0, 32)
    assert oprf.finalize(SUITE, Mode.OPRF, pack([]), nothing, nothing).shape == (0, 64)
    assert oprf.evaluate(SUITE, Mode.OPRF, key, pack([])).shape == (0, 64)


def test_misuse_says_what_to_do() -> None:
    key, other = scalars(2, "keys")
    blinded = oprf.blind(SUITE, Mode.VOPRF, pack([b"x"]), scalars(1, "blind"))
    evaluated = oprf.blind_evaluate(SUITE, key, blinded)
    for call, text in (
        (lambda: oprf.sizes("gb"), "no suite 'gb'"),
        (lambda: oprf.public_key("gb", key), "no suite 'gb'"),
        (lambda: oprf.derive_key(SUITE, Mode.OPRF, b"short", b""), "seed is 5 bytes; give 32"),
        (lambda: oprf.derive_key(SUITE, Mode.OPRF, bytes(32), bytes(65536)), "at most 65535"),
        (lambda: oprf.derive_key(SUITE, 2, bytes(32), b""), "mode"),
        (lambda: oprf.blind(SUITE, Mode.OPRF, pack([b"a", b"b"]), blinded), "one row for each"),
        (lambda: oprf.blind_evaluate(SUITE, key[:31], blinded), "private is 31 bytes"),
        (
            lambda: oprf.prove(SUITE, Mode.VOPRF, key, oprf.public_key(SUITE, other), blinded, evaluated, ENTROPY),
            "public key does not belong",
        ),
        (
            lambda: oprf.prove(SUITE, Mode.VOPRF, key, oprf.public_key(SUITE, key), blinded, evaluated, b"short"),
            "entropy is 5 bytes; give 32",
        ),
        (lambda: oprf.blind_evaluate(SUITE, key, pd.Series([1], dtype=np.uint8)), "blinded is Series; give a numpy"),
        (
            lambda: oprf.verify(SUITE, Mode.VOPRF, oprf.public_key(SUITE, key), blinded, evaluated, key),
            r"give \(64,\)",
        ),
    ):
        with pytest.raises(UsageError, match=text):
            call()


def test_error_text_holds_no_value() -> None:
    key = scalars(1, "a key that must not be printed")[0]
    bad = np.zeros((1, 32), dtype=np.uint8)
    with pytest.raises(InvalidEncoding) as caught:
        oprf.blind_evaluate(SUITE, key, bad)
    assert str(caught.value) == "element 0 is the identity or not a canonical encoding"
