"""Ed25519: what others sign verifies, and nothing else does."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import ed25519
from mpc.kernels.ed25519 import InvalidSignature

ORDER = 2**252 + 27742317777372353535851937790883648493

# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
            "4a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_vectors_of_the_rfc(secret: str, public: str, message: str, signature: str) -> None:
    assert Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).public_key().public_bytes_raw().hex() == public
    ed25519.verify(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    with pytest.raises(InvalidSignature):
        ed25519.verify(bytes.fromhex(public), bytes.fromhex(message) + b"\x00", bytes.fromhex(signature))


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300), bit=st.integers(0, 511))
@settings(max_examples=60, deadline=None)
def test_agrees_with_openssl_and_one_bit_undoes_it(seed: bytes, message: bytes, bit: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    ed25519.verify(public, message, signature)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidSignature):
        ed25519.verify(public, message, bytes(changed))


def test_a_signature_has_no_second_form() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    signature = key.sign(b"m")
    s = int.from_bytes(signature[32:], "little") + ORDER
    with pytest.raises(InvalidSignature):
        ed25519.verify(key.public_key().public_bytes_raw(), b"m", signature[:32] + s.to_bytes(32, "little"))


def test_a_key_of_small_order_has_signed_nothing() -> None:
    neutral = (1).to_bytes(32, "little")
    with pytest.raises(InvalidSignature):
        ed25519.verify(neutral, b"anything", neutral + bytes(32))


def test_lengths() -> None:
    key = Ed25519PrivateKey.generate()
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"m")
    for wrong in (b"", signature[:-1], signature + b"\x00"):
        with pytest.raises(InvalidSignature):
            ed25519.verify(public, b"m", wrong)
    with pytest.raises(UsageError, match="32 bytes, this one 31"):
        ed25519.verify(public[:-1], b"m", signature)
