"""The OPRF and the VOPRF: the native core against RFC 9497, the slow reference, and itself."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import suite as suites
from mpc.errors import UsageError
from mpc.kernels import InvalidEncoding, InvalidProof, oprf
from mpc.kernels.oprf import Mode
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng
from tests import vectors
from tests.reference import ristretto255, sm2

REFERENCE = {"intl": vectors.load("reference_ristretto255_oprf"), "gm": vectors.load("reference_sm2_oprf")}
GROUPS = {"intl": ristretto255, "gm": sm2}
ENTROPY = bytes(range(oprf.ENTROPY_BYTES))


every_suite = pytest.mark.parametrize("suite", REFERENCE)


def runs() -> list[dict]:
    """Runs of the RFC, one a vector, and of the references, in one form."""
    rfc = vectors.load("rfc9497_ristretto255_sha512")["modes"]
    flat = [{"suite": "intl", **mode, **vector} for mode in rfc for vector in mode["vectors"]]
    return flat + each("runs")


def each(name: str) -> list[dict]:
    """The references' vectors of one kind, each with its suite."""
    return [{"suite": suite, **vector} for suite, reference in REFERENCE.items() for vector in reference[name]]


def name_of(vector: dict) -> str:
    return f"{vector['suite']}-{vector['why']}"


def scalars(suite: str, n: int, label: str) -> np.ndarray:
    group = suites.get(suite).group
    return group.scalar_from_uniform(Rng.from_seed(label.encode()).uint8(n, group.UNIFORM_SCALAR_BYTES))


def inputs_of(run: dict) -> Packed:
    return pack([bytes.fromhex(x) for x in run["inputs"]])


@pytest.mark.parametrize("run", runs(), ids=lambda run: f"{run['suite']}-mode{run['mode']}-{len(run['inputs'])}")
def test_vectors(run: dict) -> None:
    suite, mode, inputs = run["suite"], run["mode"], inputs_of(run)
    blinds, blinded, evaluated, outputs = (
        vectors.rows(run[name]) for name in ("blinds", "blinded", "evaluated", "outputs")
    )
    private = oprf.derive_key(suite, mode, bytes.fromhex(run["seed"]), bytes.fromhex(run["info"]))
    assert private.tobytes().hex() == run["private"]
    assert np.array_equal(oprf.blind(suite, mode, inputs, blinds), blinded)
    assert np.array_equal(oprf.blind_evaluate(suite, private, blinded), evaluated)
    assert np.array_equal(oprf.finalize(suite, mode, inputs, blinds, evaluated), outputs)
    assert np.array_equal(oprf.evaluate(suite, mode, private, inputs), outputs)
    if "proof" in run:
        public = oprf.public_key(suite, private)
        assert public.tobytes().hex() == run["public"]
        # That the core makes this proof of the run's nonce is tested in Rust: a nonce is not for Python to choose.
        oprf.verify(suite, mode, public, blinded, evaluated, vectors.row(run["proof"]))
    if "hedged_proof" in run:
        proof = oprf.prove(suite, mode, private, public, blinded, evaluated, bytes.fromhex(run["entropy"]))
        assert proof.tobytes().hex() == run["hedged_proof"]
        oprf.verify(suite, mode, public, blinded, evaluated, proof)


def response_and_challenge(suite: str, proof: np.ndarray) -> tuple[int, int]:
    """The response and the challenge of a proof."""
    c, s = (int.from_bytes(half.tobytes(), GROUPS[suite].BYTE_ORDER) for half in (proof[:32], proof[32:]))
    return s, c


@every_suite
def test_repeated_entropy_does_not_give_the_key_away(suite: str) -> None:
    # A restored snapshot proves two statements with the same random bytes. With one nonce r for both, s = r - c k
    # twice gives k = (s - s') / (c' - c).
    private, entropy = scalars(suite, 1, "key")[0], bytes(range(32))
    public = oprf.public_key(suite, private)
    blinded = oprf.blind(suite, Mode.VOPRF, pack([b"x", b"y"]), scalars(suite, 2, "blinds"))
    evaluated = oprf.blind_evaluate(suite, private, blinded)
    statements = [
        (Mode.VOPRF, slice(0, 1)),
        (Mode.VOPRF, slice(1, 2)),
        (Mode.VOPRF, slice(0, 2)),
        (Mode.OPRF, slice(0, 1)),
    ]
    proofs = [oprf.prove(suite, mode, private, public, blinded[i], evaluated[i], entropy) for mode, i in statements]
    order = GROUPS[suite].ORDER
    key = int.from_bytes(private.tobytes(), GROUPS[suite].BYTE_ORDER)
    for one, other in itertools.combinations(proofs, 2):
        (s, c), (s_other, c_other) = response_and_challenge(suite, one), response_and_challenge(suite, other)
        assert (s - s_other) * pow(c_other - c, -1, order) % order != key
    for (mode, i), proof in zip(statements, proofs, strict=True):
        oprf.verify(suite, mode, public, blinded[i], evaluated[i], proof)
        again = [
            oprf.prove(suite, mode, private, public, blinded[i], evaluated[i], e) for e in (entropy, entropy[::-1])
        ]
        assert np.array_equal(again[0], proof)
        assert not np.array_equal(again[1], proof)


@pytest.mark.parametrize("vector", each("bad_proofs"), ids=name_of)
def test_bad_proofs_are_refused(vector: dict) -> None:
    with pytest.raises(InvalidProof, match="does not verify"):
        oprf.verify(
            vector["suite"],
            vector["mode"],
            vectors.row(vector["public"]),
            vectors.rows(vector["blinded"]),
            vectors.rows(vector["evaluated"]),
            vectors.row(vector["proof"]),
        )


@every_suite
def test_any_flipped_bit_of_a_proof_is_refused(suite: str) -> None:
    private = scalars(suite, 1, "key")[0]
    public = oprf.public_key(suite, private)
    blinded = oprf.blind(suite, Mode.VOPRF, pack([b"x"]), scalars(suite, 1, "blind"))
    evaluated = oprf.blind_evaluate(suite, private, blinded)
    proof = oprf.prove(suite, Mode.VOPRF, private, public, blinded, evaluated, ENTROPY)
    for bit in range(512):
        bad = proof.copy()
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidProof):
            oprf.verify(suite, Mode.VOPRF, public, blinded, evaluated, bad)


@pytest.mark.parametrize("vector", each("bad_elements"), ids=name_of)
def test_bad_elements_are_refused_at_every_door(vector: dict) -> None:
    suite, bad, n = vector["suite"], vectors.row(vector["encoding"]), 20
    private, blinds, inputs = (
        scalars(suite, 1, "key")[0],
        scalars(suite, n, "blinds"),
        pack([b"%d" % i for i in range(n)]),
    )
    public = oprf.public_key(suite, private)
    good = oprf.blind(suite, Mode.VOPRF, inputs, blinds)
    evaluated = oprf.blind_evaluate(suite, private, good)
    proof = oprf.prove(suite, Mode.VOPRF, private, public, good, evaluated, ENTROPY)
    wrong, wrong_evaluated = good.copy(), evaluated.copy()
    wrong[13] = wrong_evaluated[13] = bad
    for call in (
        lambda: oprf.blind_evaluate(suite, private, wrong),
        lambda: oprf.finalize(suite, Mode.VOPRF, inputs, blinds, wrong_evaluated),
        lambda: oprf.verify(suite, Mode.VOPRF, public, wrong, evaluated, proof),
        lambda: oprf.verify(suite, Mode.VOPRF, public, good, wrong_evaluated, proof),
        lambda: oprf.prove(suite, Mode.VOPRF, private, public, wrong, evaluated, ENTROPY),
    ):
        with pytest.raises(InvalidEncoding, match="element 13 ") as caught:
            call()
        assert caught.value.index == 13
    with pytest.raises(InvalidProof):
        oprf.verify(suite, Mode.VOPRF, bad, good, evaluated, proof)


@pytest.mark.parametrize("vector", each("bad_scalars"), ids=name_of)
def test_bad_scalars_are_refused_at_every_door(vector: dict) -> None:
    suite, bad, n = vector["suite"], vectors.row(vector["scalar"]), 3
    private, blinds, inputs = (
        scalars(suite, 1, "key")[0],
        scalars(suite, n, "blinds"),
        pack([b"%d" % i for i in range(n)]),
    )
    public = oprf.public_key(suite, private)
    blinded = oprf.blind(suite, Mode.VOPRF, inputs, blinds)
    evaluated = oprf.blind_evaluate(suite, private, blinded)
    wrong = blinds.copy()
    wrong[2] = bad
    for call in (
        lambda: oprf.blind(suite, Mode.VOPRF, inputs, wrong),
        lambda: oprf.finalize(suite, Mode.VOPRF, inputs, wrong, evaluated),
        lambda: oprf.public_key(suite, bad),
        lambda: oprf.blind_evaluate(suite, bad, blinded),
        lambda: oprf.evaluate(suite, Mode.VOPRF, bad, inputs),
        lambda: oprf.prove(suite, Mode.VOPRF, bad, public, blinded, evaluated, ENTROPY),
    ):
        with pytest.raises(InvalidEncoding, match="scalar"):
            call()


@settings(max_examples=40, deadline=None)
@given(items=st.lists(st.binary(max_size=200), min_size=1, max_size=40), seed=st.binary(min_size=32, max_size=32))
@pytest.mark.parametrize("mode", Mode)
@every_suite
def test_the_client_gets_what_the_server_evaluates(suite: str, mode: Mode, items: list[bytes], seed: bytes) -> None:
    rng, inputs = Rng.from_seed(seed), pack(items)
    private = oprf.derive_key(suite, mode, seed, b"test")
    public = oprf.public_key(suite, private)
    group = suites.get(suite).group
    blinds = group.scalar_from_uniform(rng.uint8(len(items), group.UNIFORM_SCALAR_BYTES))
    blinded = oprf.blind(suite, mode, inputs, blinds)
    evaluated = oprf.blind_evaluate(suite, private, blinded)
    proof = oprf.prove(suite, mode, private, public, blinded, evaluated, rng.uint8(oprf.ENTROPY_BYTES))
    oprf.verify(suite, mode, public, blinded, evaluated, proof)
    outputs = oprf.finalize(suite, mode, inputs, blinds, evaluated)
    assert np.array_equal(outputs, oprf.evaluate(suite, mode, private, inputs))
    assert len({row.tobytes() for row in outputs}) == len(set(items))


@every_suite
def test_blinded_elements_do_not_repeat_and_modes_do_not_mix(suite: str) -> None:
    inputs, private = pack([b"same", b"same"]), scalars(suite, 1, "key")[0]
    blinded = oprf.blind(suite, Mode.OPRF, inputs, scalars(suite, 2, "blinds"))
    assert not np.array_equal(blinded[0], blinded[1])
    plain, verifiable = (oprf.evaluate(suite, mode, private, inputs) for mode in Mode)
    assert np.array_equal(plain[0], plain[1])
    assert not np.array_equal(plain[0], verifiable[0])


@every_suite
def test_the_largest_batch_and_input_that_the_rfc_allows(suite: str) -> None:
    private = scalars(suite, 1, "key")[0]
    public = oprf.public_key(suite, private)
    longest = pack([b"x" * oprf.MAX_INPUT_BYTES])
    assert oprf.evaluate(suite, Mode.OPRF, private, longest).shape == (1, oprf.sizes(suite).output)
    with pytest.raises(UsageError, match="hash long inputs first"):
        oprf.evaluate(suite, Mode.OPRF, private, pack([b"x" * (oprf.MAX_INPUT_BYTES + 1)]))
    shape = (oprf.MAX_BATCH, oprf.sizes(suite).element)
    blinded = np.resize(oprf.blind(suite, Mode.VOPRF, pack([b"a", b"b"]), scalars(suite, 2, "blinds")), shape)
    evaluated = np.resize(oprf.blind_evaluate(suite, private, blinded[:2].copy()), shape)
    proof = oprf.prove(suite, Mode.VOPRF, private, public, blinded, evaluated, ENTROPY)
    oprf.verify(suite, Mode.VOPRF, public, blinded, evaluated, proof)
    one_more = np.resize(blinded, (oprf.MAX_BATCH + 1, shape[1]))
    for batch in (one_more, one_more[:0]):
        with pytest.raises(UsageError, match="split the batch"):
            oprf.prove(suite, Mode.VOPRF, private, public, batch, batch, ENTROPY)
        with pytest.raises(UsageError, match="split the batch"):
            oprf.verify(suite, Mode.VOPRF, public, batch, batch, proof)


@every_suite
def test_an_empty_batch_is_an_empty_answer(suite: str) -> None:
    sizes, key = oprf.sizes(suite), scalars(suite, 1, "key")[0]
    blinds, elements = (np.empty((0, width), dtype=np.uint8) for width in (sizes.scalar, sizes.element))
    assert oprf.blind(suite, Mode.OPRF, pack([]), blinds).shape == (0, sizes.element)
    assert oprf.blind_evaluate(suite, key, elements).shape == (0, sizes.element)
    assert oprf.finalize(suite, Mode.OPRF, pack([]), blinds, elements).shape == (0, sizes.output)
    assert oprf.evaluate(suite, Mode.OPRF, key, pack([])).shape == (0, sizes.output)


@every_suite
def test_misuse_says_what_to_do(suite: str) -> None:
    key, other = scalars(suite, 2, "keys")
    blinded = oprf.blind(suite, Mode.VOPRF, pack([b"x"]), scalars(suite, 1, "blind"))
    evaluated = oprf.blind_evaluate(suite, key, blinded)
    for call, text in (
        (lambda: oprf.sizes("gb"), "no suite 'gb'"),
        (lambda: oprf.public_key("gb", key), "no suite 'gb'"),
        (lambda: oprf.derive_key(suite, Mode.OPRF, b"short", b""), "seed is 5 bytes; give 32"),
        (lambda: oprf.derive_key(suite, Mode.OPRF, bytes(32), bytes(65536)), "at most 65535"),
        (lambda: oprf.derive_key(suite, 2, bytes(32), b""), "mode"),
        (lambda: oprf.blind(suite, Mode.OPRF, pack([b"a", b"b"]), scalars(suite, 1, "one")), "one row for each"),
        (lambda: oprf.blind_evaluate(suite, key[:31], blinded), "private is 31 bytes"),
        (
            lambda: oprf.prove(suite, Mode.VOPRF, key, oprf.public_key(suite, other), blinded, evaluated, ENTROPY),
            "public key does not belong",
        ),
        (
            lambda: oprf.prove(suite, Mode.VOPRF, key, oprf.public_key(suite, key), blinded, evaluated, b"short"),
            "entropy is 5 bytes; give 32",
        ),
        (lambda: oprf.blind_evaluate(suite, key, pd.Series([1], dtype=np.uint8)), "blinded is Series; give a numpy"),
        (
            lambda: oprf.verify(suite, Mode.VOPRF, oprf.public_key(suite, key), blinded, evaluated, key),
            r"give \(64,\)",
        ),
    ):
        with pytest.raises(UsageError, match=text):
            call()


@every_suite
def test_error_text_holds_no_value(suite: str) -> None:
    key = scalars(suite, 1, "a key that must not be printed")[0]
    bad = np.zeros((1, oprf.sizes(suite).element), dtype=np.uint8)
    with pytest.raises(InvalidEncoding) as caught:
        oprf.blind_evaluate(suite, key, bad)
    assert str(caught.value) == "element 0 is the identity or not a canonical encoding"
