"""The slow references against the standards. Everything else is judged by them, so they are judged first."""

from __future__ import annotations

import hashlib

import pytest

from tests import vectors
from tests.reference import generate, sm2, sm3
from tests.reference import ristretto255 as group
from tests.reference.oprf import INTL

RFC9496 = vectors.load("rfc9496_ristretto255")
RFC9380 = vectors.load("rfc9380_expand_message_xmd_sha512")
RFC9497 = vectors.load("rfc9497_ristretto255_sha512")


def test_constants_are_the_roots_that_they_are_named_for() -> None:
    assert group.SQRT_M1**2 % group.P == group.P - 1
    assert group.SQRT_AD_MINUS_ONE**2 % group.P == (-group.D - 1) % group.P
    assert group.INVSQRT_A_MINUS_D**2 * (-1 - group.D) % group.P == 1


def test_multiples_of_the_generator() -> None:
    for k, encoding in enumerate(RFC9496["multiples"]):
        assert group.encode(k * group.GENERATOR).hex() == encoding
        assert group.encode(group.decode(bytes.fromhex(encoding))).hex() == encoding


@pytest.mark.parametrize("kind", RFC9496["bad_encodings"])
def test_bad_encodings(kind: str) -> None:
    for encoding in RFC9496["bad_encodings"][kind]:
        with pytest.raises(ValueError, match="not"):
            group.decode(bytes.fromhex(encoding))


def test_derivation() -> None:
    for vector in RFC9496["derived"]:
        uniform = hashlib.sha512(vector["text"].encode()).digest()
        assert group.encode(group.derive(uniform)).hex() == vector["element"]


def test_expand_message_xmd() -> None:
    for vector in RFC9380["vectors"]:
        expanded = INTL.expand_message_xmd(vector["message"].encode(), RFC9380["dst"].encode(), vector["length"])
        assert expanded.hex() == vector["uniform"]


@pytest.mark.parametrize("run", RFC9497["modes"], ids=lambda run: f"mode{run['mode']}")
def test_rfc9497(run: dict) -> None:
    mode, k = run["mode"], INTL.derive_key(run["mode"], bytes.fromhex(run["seed"]), bytes.fromhex(run["info"]))
    assert INTL.scalar_bytes(k).hex() == run["private"]
    for vector in run["vectors"]:
        inputs, blinded, evaluated = (
            [bytes.fromhex(x) for x in vector[name]] for name in ("inputs", "blinded", "evaluated")
        )
        blinds = [int.from_bytes(bytes.fromhex(r), "little") for r in vector["blinds"]]
        assert [INTL.blind(mode, x, r) for x, r in zip(inputs, blinds, strict=True)] == blinded
        assert [INTL.blind_evaluate(k, b) for b in blinded] == evaluated
        finalized = [INTL.finalize(*triple).hex() for triple in zip(inputs, blinds, evaluated, strict=True)]
        assert finalized == vector["outputs"]
        assert [INTL.evaluate(mode, k, x).hex() for x in inputs] == vector["outputs"]
        if "proof" in vector:
            nonce = int.from_bytes(bytes.fromhex(vector["nonce"]), "little")
            proof = INTL.generate_proof(mode, k, blinded, evaluated, nonce)
            assert proof.hex() == vector["proof"]
            assert INTL.verify_proof(mode, bytes.fromhex(run["public"]), blinded, evaluated, proof)


def test_sm3() -> None:
    # GM/T 0004-2012, appendix A.
    assert sm3.digest(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert sm3.digest(b"abcd" * 16).hex() == "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"


def test_the_parameters_of_sm2_are_what_they_are_named_for() -> None:
    assert sm2.decode(sm2.encode(sm2.GENERATOR)) == sm2.GENERATOR
    assert (sm2.ORDER - 1) * sm2.GENERATOR + sm2.GENERATOR == sm2.IDENTITY
    assert sm2.find_z() % sm2.P == sm2.Z


def test_signatures_of_sm2() -> None:
    vector = vectors.load("gmt0003_sm2")["signature"]
    private, nonce = int(vector["private"], 16), int(vector["nonce"], 16)
    message, public = vector["message"].encode(), private * sm2.GENERATOR
    assert sm2.encode(public).hex() == vector["public"]
    assert sm2.digest_of(public, message, sm2.DEFAULT_ID).hex() == vector["e"]
    assert sm2.sign(private, message, nonce).hex() == vector["signature"]
    assert sm2.verify(public, message, bytes.fromhex(vector["signature"]))


def test_the_written_vectors_are_what_the_references_say() -> None:
    for name, text in generate.documents().items():
        assert (generate.VECTORS / f"{name}.json").read_text(encoding="utf-8") == text, name
