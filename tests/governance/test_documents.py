"""Signed documents: one byte string for one content, and no signature over anything else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import PolicyError, UsageError
from mpc.kernels.ed25519 import InvalidSignature
from tests.governance.world import NODE, World, flipped, manifest, resigned
from unseen.governance import documents, keys
from unseen.governance.documents import Signed, Signer
from unseen.governance.keys import SCHEMES, Scheme
from unseen.governance.manifest import Manifest
from unseen.governance.receipt import Receipt
from unseen.governance.trust import Trust

PLAIN = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text()
NAMES = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


@settings(deadline=None)
@given(st.dictionaries(NAMES, PLAIN | st.lists(PLAIN, max_size=3), max_size=8))
def test_canonical_bytes_are_those_of_rfc_8785(fields: dict[str, object]) -> None:
    assert documents.canonical(fields) == rfc8785.dumps(fields)  # type: ignore[arg-type]  # its type is narrower


def test_a_lone_surrogate_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        documents.canonical({"a": "\ud800"})


@settings(deadline=None)
@given(st.binary(max_size=70))
def test_base64_has_one_text_per_value(data: bytes) -> None:
    text = documents.to_base64(data)
    assert documents.from_base64(text) == data


@pytest.mark.parametrize("text", ["A", "AB", "AAB", "AA==", "A A", "AA\n", "A+", "A/", "éé"])
def test_other_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not base64url"):
        documents.from_base64(text)


def test_times_are_utc_with_whole_seconds() -> None:
    moment = datetime(2026, 3, 1, 8, 0, 5, 999999, tzinfo=timezone(timedelta(hours=8)))
    assert documents.format_time(moment) == "2026-03-01T00:00:05Z"
    assert documents.parse_time("2026-03-01T00:00:05Z") == datetime(2026, 3, 1, 0, 0, 5, tzinfo=UTC)
    with pytest.raises(UsageError, match="time zone"):
        documents.format_time(datetime(2026, 3, 1))  # noqa: DTZ001  # a naive time is what is refused


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T00:00:05+00:00",
        "2026-03-01 00:00:05Z",
        "2026-13-01T00:00:05Z",
        "2026-02-30T00:00:05Z",
        "2026-03-01T00:00:5.5Z",
        "٢٠٢٦-03-01T00:00:05Z",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    data = documents.canonical({**manifest(epoch=1).model_dump(), "not_before": text})
    with pytest.raises(PolicyError) as refusal:
        documents.parse(data, Manifest)
    assert refusal.value.code == "document-malformed"
    assert "not_before" in refusal.value.reason


def test_a_document_verifies_and_comes_back(world: World, trust: Trust) -> None:
    original = manifest(epoch=3)
    signed = documents.sign(original, world.identity(NODE).signer)
    assert signed.document == rfc8785.dumps(original.model_dump())
    assert documents.from_json(documents.to_json(signed)) == signed
    assert verified(signed, trust) == original


def verified(signed: Signed, trust: Trust, *, signer: str = NODE, suite: str = "intl") -> Manifest:
    return documents.verify(signed, Manifest, trust=trust, signer=signer, signer_field="node", suite=suite)


def test_one_flipped_bit_anywhere_is_refused(world: World, trust: Trust) -> None:
    signed = documents.sign(manifest(epoch=3), world.identity(NODE).signer)
    for bit in range(0, 8 * len(signed.document), 37):
        with pytest.raises(PolicyError) as refusal:
            verified(resigned(signed, document=flipped(signed.document, bit=bit)), trust)
        assert refusal.value.code == "document-bad-signature"
    for bit in range(8 * len(signed.signature)):
        with pytest.raises(PolicyError) as refusal:
            verified(resigned(signed, signature=flipped(signed.signature, bit=bit)), trust)
        assert refusal.value.code == "document-bad-signature"


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_every_scheme_refuses_what_another_key_signed(scheme: Scheme) -> None:
    ours, theirs = scheme.generate(), scheme.generate()
    signature = ours.sign(b"text")
    keys.verify(ours.public_key(), b"text", signature)
    for key, message, signed in ((theirs, b"text", signature), (ours, b"texts", signature), (ours, b"text", b"")):
        with pytest.raises(InvalidSignature):
            keys.verify(key.public_key(), message, signed)
    assert keys.suite_of(ours.public_key()) == scheme.suite


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_keys_are_read_as_they_were_written(scheme: Scheme) -> None:
    key = scheme.generate()
    assert keys.signing_key_from_pem(keys.to_pem(key)).public_key() == key.public_key()
    request = keys.to_request(key, "bank")
    assert keys.from_request(request, "bank", suite=scheme.suite) == key.public_key()
    for other in SCHEMES.keys() - {scheme.suite}:
        with pytest.raises(ValueError, match="not|pars"):
            keys.from_request(request, "bank", suite=other)


def test_a_signature_without_the_context_is_none(world: World, trust: Trust) -> None:
    signer = world.identity(NODE).signer
    signed = documents.sign(manifest(epoch=3), signer)
    with pytest.raises(PolicyError, match="document-bad-signature"):
        verified(resigned(signed, signature=signer.key.sign(signed.document)), trust)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(":", ": ", 1),
        lambda text: json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":")),
        lambda text: text.replace('"epoch":3', '"epoch":2,"epoch":3'),
        lambda text: text.replace("marriage", "m\\u0061rriage"),
        lambda text: text.replace('"default_answer":null,', ""),
        lambda text: text + "\n",
    ],
)
def test_signed_bytes_that_are_not_canonical_are_refused(world: World, trust: Trust, change: object) -> None:
    assert callable(change)
    signer = world.identity(NODE).signer
    signed = documents.sign(manifest(epoch=3), signer)
    data = change(signed.document.decode()).encode()
    assert data != signed.document
    again = resigned(signed, document=data, signature=signer.key.sign(documents.CONTEXT + data))
    with pytest.raises(PolicyError) as refusal:
        verified(again, trust)
    assert refusal.value.code == "document-not-canonical"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epoch": "3"}, "epoch"),
        ({"epoch": 3.0}, "epoch"),
        ({"epoch": -1}, "epoch"),
        ({"epoch": 2**53}, "epoch"),
        ({"extra": 1}, "extra"),
        ({"type": "unseen.manifest.v2"}, "type"),
        ({"node": "Civil"}, "node"),
        ({"public_key": "AAAA"}, "public_key"),
        ({"table_hash": "A" * 42 + "B"}, "table_hash"),
    ],
)
def test_a_malformed_document_names_the_field(change: dict[str, object], field: str) -> None:
    data = json.dumps({**manifest(epoch=1).model_dump(), **change}).encode()
    with pytest.raises(PolicyError) as refusal:
        documents.parse(data, Manifest)
    assert refusal.value.code == "document-malformed"
    assert field in refusal.value.reason


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"a":' * 5000])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(PolicyError) as refusal:
        documents.parse(data, Manifest)
    assert refusal.value.code == "document-malformed"
    with pytest.raises(PolicyError, match="document-malformed"):
        documents.from_json(data)


def test_another_type_of_document_is_refused(world: World, trust: Trust) -> None:
    signed = documents.sign(manifest(epoch=3), world.identity(NODE).signer)
    with pytest.raises(PolicyError) as refusal:
        documents.verify(signed, Receipt, trust=trust, signer=NODE, signer_field="node", suite="intl")
    assert refusal.value.code == "document-malformed"


def test_the_signer_must_be_whom_the_document_speaks_for(world: World, trust: Trust) -> None:
    bank = world.identity("bank").signer
    signed = documents.sign(manifest(epoch=3), bank)
    for signer in (NODE, "bank"):
        with pytest.raises(PolicyError) as refusal:
            verified(signed, trust, signer=signer)
        assert refusal.value.code == "document-wrong-signer"
    with pytest.raises(PolicyError) as refusal:
        verified(resigned(signed, signer=NODE), trust)
    assert refusal.value.code == "certificate-wrong-name"


def test_suites_are_named_and_known(world: World, trust: Trust) -> None:
    signer = world.identity(NODE).signer
    signed = documents.sign(manifest(epoch=3), signer)
    with pytest.raises(UsageError, match=r"unknown suite 'rot13'. Known suites: intl"):
        verified(signed, trust, suite="rot13")
    foreign = manifest(epoch=3).model_copy(update={"suite": "gm", "public_key": documents.to_base64(bytes(33))})
    with pytest.raises(UsageError, match="Use one suite"):
        documents.sign(foreign, signer)
    data = rfc8785.dumps(foreign.model_dump())
    forged = resigned(signed, document=data, signature=signer.key.sign(documents.CONTEXT + data))
    with pytest.raises(PolicyError, match="document-wrong-suite"):
        verified(forged, trust)


def test_secrets_do_not_show() -> None:
    signer = Signer(name="bank", suite="intl", key=Ed25519PrivateKey.generate())
    assert "key" not in repr(signer)
