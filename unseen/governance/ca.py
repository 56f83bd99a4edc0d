"""The local certificate authority: a directory with a root key, the certificates it issued, and its revocation list.

    ca/root.key     P-256, PKCS #8, mode 0600. Whoever has it can be anyone: keep the directory on a machine that is not
    a node. ca/root.crt     the root certificate, PEM
    ca/crl.pem      the revocation list, PEM
    ca/issued.json  what was issued and revoked

The root is on P-256 because gRPC's TLS verifies it. A certificate enters the index before it leaves the CA, so that
everything that was ever signed can be revoked. A name belongs to whoever enrolled it first: another request for it must
carry the statement of the old signing key, or the old certificates must have been revoked or have expired.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import BaseModel, ValidationError

from mpc.errors import UsageError
from unseen.governance import files, sm2
from unseen.governance.documents import (
    STRICT,
    Name,
    Time,
    check_signature,
    format_time,
    parse,
    parse_time,
    utc_now,
)
from unseen.governance.enrolment import Bundle, CheckedRequest, read_request
from unseen.governance.keys import VerifyingKey
from unseen.governance.manifest import Continuity
from unseen.governance.sm2 import Sm2PublicKey
from unseen.governance.trust import (
    SIGNING_URI,
    SIGNING_USAGE,
    UNREADABLE,
    Trust,
    certificate_fingerprint,
    key_fingerprint,
)
from unseen.names import check_party_name, party_host

ROOT_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=365)
CRL_LIFETIME = timedelta(days=30)
"""A revocation list must be renewed within this time (`unseen ca crl`), or certificates are refused."""
BACKDATE = timedelta(minutes=5)
"""Certificates begin this much before they are made, for machines whose clocks are behind."""


class Issued(BaseModel):
    """One certificate of the index. `serial`: hexadecimal. `fingerprint`: SHA-256 of the certificate,
    colon-separated.
    """

    model_config = STRICT
    serial: str
    name: Name
    kind: Literal["tls", "signing"]
    fingerprint: str
    not_before: Time
    not_after: Time
    revoked_at: Time | None = None


class _Index(BaseModel):
    model_config = STRICT
    crl_number: int
    certificates: list[Issued]


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What the CA made of a request: the bundle for the party, and what to compare and to write down."""

    bundle: bytes
    name: str
    request_fingerprint: str
    root_fingerprint: str
    renewal: bool
    expires: datetime


def init_ca(home: Path, *, name: str = "unseen root", now: datetime | None = None) -> str:
    """Makes a CA in the directory `home`. Returns the root's fingerprint, which parties compare when they enrol.

    `name`: common name of the root. Raises UsageError if there is a CA already.
    """
    moment = now or utc_now()
    files.private_directory(home)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    root = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - BACKDATE)
        .not_valid_after(moment + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # The key comes first: if it exists, nothing else is touched.
    files.create(home / "root.key", pem, mode=files.PRIVATE)
    files.create(home / "root.crt", root.public_bytes(serialization.Encoding.PEM))
    with _opened(home) as ca:
        _publish(ca, _Index(crl_number=0, certificates=[]), moment)
    return certificate_fingerprint(root)


def sign_request(
    home: Path, request: bytes, *, lifetime: timedelta = LIFETIME, now: datetime | None = None
) -> SignedRequest:
    """Certifies the keys of a request.

    Compare `read_request(request).fingerprint` with what the party sees *before*: the request proves its keys, not its
    name.

    Args:
        home: the CA's directory.
        request: content of the party's request file.
        lifetime: how long the certificates are valid.
        now: the time of issue; the present by default.

    Raises UsageError: the request does not prove itself, or its name belongs to another key.
    """
    moment = now or utc_now()
    checked = read_request(request)
    with _opened(home) as ca:
        # A fresh list: the party gets it with the bundle, and an old one would refuse the renewal below.
        index = _publish(ca, _read_index(home), moment)
        held = [one for one in index.certificates if one.name == checked.name and _live(one, moment)]
        if held:
            _check_renewal(ca, checked, moment)
        tls = _certificate(ca, checked.name, checked.tls_key, "tls", lifetime, moment)
        signing = _certificate(ca, checked.name, checked.signing_key, "signing", lifetime, moment)
        issued = [_entry(tls, checked.name, "tls"), _entry(signing, checked.name, "signing")]
        _write_index(home, _Index(crl_number=index.crl_number, certificates=[*index.certificates, *issued]))
        bundle = Bundle(
            name=checked.name,
            suite=checked.suite,
            tls_certificate=_pem(tls),
            signing_certificate=_pem(signing),
            root=_pem(ca.root),
            crl=(home / "crl.pem").read_text(encoding="ascii"),
        )
        return SignedRequest(
            bundle=bundle.model_dump_json(indent=1).encode(),
            name=checked.name,
            request_fingerprint=checked.fingerprint,
            root_fingerprint=certificate_fingerprint(ca.root),
            renewal=bool(held),
            expires=tls.not_valid_after_utc,
        )


def revoke(
    home: Path, *, name: str | None = None, serial: str | None = None, now: datetime | None = None
) -> list[Issued]:
    """Revokes all certificates of a party, or the one with a serial number (hexadecimal), and issues a new list.

    Returns what was revoked. Raises UsageError if neither or both are given, or nothing fits.
    """
    if (name is None) == (serial is None):
        raise UsageError("give either the party's name or a certificate's serial number.")
    if name is not None:
        check_party_name(name)
    wanted = "" if serial is None else serial.replace(":", "").lower().lstrip("0")
    moment = now or utc_now()
    with _opened(home) as ca:
        index = _read_index(home)
        found = [
            one
            for one in index.certificates
            if one.revoked_at is None and (one.name == name if name is not None else one.serial == wanted)
        ]
        if not found:
            _publish(ca, index, moment)
            raise UsageError("no certificate in force fits. `unseen ca list` shows what was issued.")
        revoked = [one.model_copy(update={"revoked_at": format_time(moment)}) for one in found]
        by_serial = {one.serial: one for one in revoked}
        certificates = [by_serial.get(one.serial, one) for one in index.certificates]
        _publish(ca, _Index(crl_number=index.crl_number, certificates=certificates), moment)
    return revoked


def refresh_crl(home: Path, *, now: datetime | None = None) -> bytes:
    """Issues the revocation list anew, for another `CRL_LIFETIME`. Returns it, PEM."""
    with _opened(home) as ca:
        _publish(ca, _read_index(home), now or utc_now())
    return files.read(home / "crl.pem", what="a revocation list")


def list_issued(home: Path) -> list[Issued]:
    """Everything that the CA ever issued, oldest first."""
    return _read_index(home).certificates


# Inside -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _CA:
    home: Path
    key: ec.EllipticCurvePrivateKey
    root: x509.Certificate


@contextmanager
def _opened(home: Path) -> Iterator[_CA]:
    """The CA's keys, and the right to change its files: one command at a time."""
    try:
        key = serialization.load_pem_private_key(files.read_private(home / "root.key", what="a CA"), password=None)
        root = x509.load_pem_x509_certificate(files.read(home / "root.crt", what="a CA"))
    except UNREADABLE:
        raise UsageError(f"the CA in {home} is damaged. Restore it from a back-up.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key():
        raise UsageError(f"root.key and root.crt in {home} do not belong together. Restore them from a back-up.")
    handle = os.open(home / ".lock", os.O_RDWR | os.O_CREAT, files.PRIVATE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield _CA(home=home, key=key, root=root)
    finally:
        os.close(handle)


def _check_renewal(ca: _CA, request: CheckedRequest, now: datetime) -> None:
    """A name that is in use goes on only to a key that the one in use names."""
    signed = request.continuity
    if signed is None:
        raise UsageError(
            f"{request.name!r} is enrolled with other keys. If they are lost, revoke them first "
            f"(`unseen ca revoke --name {request.name}`); otherwise renew with `unseen node renew`."
        )
    trust = Trust(ca.root.public_bytes(serialization.Encoding.PEM), ca.home / "crl.pem")
    key = trust.signing_key(request.name, signed.certificate, suite=request.suite, now=now)
    check_signature(signed, key, suite=request.suite)
    statement = parse(signed.document, Continuity)
    expected = (request.name, key_fingerprint(key), key_fingerprint(request.signing_key))
    if (statement.party, statement.old_key, statement.new_key) != expected:
        raise UsageError("the renewal is endorsed for other keys than the request's. Make the request anew.")


def _certificate(
    ca: _CA,
    name: str,
    key: ec.EllipticCurvePublicKey | VerifyingKey,
    kind: Literal["tls", "signing"],
    lifetime: timedelta,
    now: datetime,
) -> x509.Certificate:
    end = min(now + lifetime, ca.root.not_valid_after_utc)
    if end <= now:
        raise UsageError("the certificate would have expired when it is made. Choose a longer lifetime, or a new CA.")
    if kind == "tls":
        names: list[x509.GeneralName] = [x509.DNSName(party_host(name))]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    else:
        names, usages = [x509.UniformResourceIdentifier(SIGNING_URI + name)], [SIGNING_USAGE]
    root_key = x509.SubjectKeyIdentifier.from_public_key(ca.key.public_key())
    # The builder takes no key of SM2: it gets one that is thrown away, and `sm2.certify` exchanges it.
    taken = ec.generate_private_key(ec.SECP256R1()).public_key() if isinstance(key, Sm2PublicKey) else key
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.root.subject)
        .public_key(taken)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True, content_commitment=kind == "signing"), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=kind == "signing")
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_key), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    return sm2.certify(certificate, key, ca.key) if isinstance(key, Sm2PublicKey) else certificate


def _key_usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _publish(ca: _CA, index: _Index, now: datetime) -> _Index:
    """Writes the index, and then the revocation list that follows from it. Returns the index as written.

    Cut off in between, the list is behind, and every later command brings it up to date. In the other order the next
    list would have the number of this one, and fewer revocations.
    """
    index = index.model_copy(update={"crl_number": index.crl_number + 1})
    _write_index(ca.home, index)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.root.subject)
        .last_update(now - BACKDATE)
        .next_update(now + CRL_LIFETIME)
        .add_extension(x509.CRLNumber(index.crl_number), critical=False)
    )
    for one in index.certificates:
        if one.revoked_at is not None:
            entry = x509.RevokedCertificateBuilder().serial_number(int(one.serial, 16))
            builder = builder.add_revoked_certificate(entry.revocation_date(parse_time(one.revoked_at)).build())
    crl = builder.sign(ca.key, hashes.SHA256())
    files.replace(ca.home / "crl.pem", crl.public_bytes(serialization.Encoding.PEM))
    return index


def _entry(certificate: x509.Certificate, name: str, kind: Literal["tls", "signing"]) -> Issued:
    return Issued(
        serial=f"{certificate.serial_number:x}",
        name=name,
        kind=kind,
        fingerprint=certificate_fingerprint(certificate),
        not_before=format_time(certificate.not_valid_before_utc),
        not_after=format_time(certificate.not_valid_after_utc),
    )


def _live(one: Issued, now: datetime) -> bool:
    return one.revoked_at is None and now <= parse_time(one.not_after)


def _read_index(home: Path) -> _Index:
    try:
        return _Index.model_validate_json(files.read(home / "issued.json", what="a CA's index"))
    except ValidationError:
        raise UsageError(f"{home / 'issued.json'} is damaged. Restore it from a back-up.") from None


def _write_index(home: Path, index: _Index) -> None:
    files.replace(home / "issued.json", index.model_dump_json(indent=1).encode(), mode=files.PRIVATE)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
