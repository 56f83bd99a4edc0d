"""A party's identity: two keys, made where they stay, and two certificates for them.

    home/identity/0001/   one generation: tls.key signing.key request.json, and after enrolment tls.crt signing.crt
    home/identity/current -> 0001
    home/root.crt         the CA's root, pinned at the first installation
    home/crl.pem          the CA's revocation list

`init_party` makes keys and a request; the CA turns the request into a bundle; `install_bundle` checks the bundle and
switches to it. `renew_party` makes the next generation, whose request carries a continuity statement signed by the old
key; the old keys serve until the new bundle is installed, and the switch is one rename. Nothing here ever overwrites a
key.

The request proves itself: both certificate requests are self-signed, and the signing key signs the whole. The CA's
operator compares its fingerprint with the one that the party sees, over the telephone for example.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import BaseModel, ValidationError

from mpc import durable
from mpc.errors import PolicyError, UsageError
from unseen.governance import files, keys
from unseen.governance.documents import (
    STRICT,
    Base64,
    Name,
    Signed,
    Signer,
    Time,
    check_signature,
    format_time,
    from_base64,
    from_json,
    parse,
    sign,
    to_base64,
    to_json,
    utc_now,
)
from unseen.governance.keys import SigningKey, VerifyingKey, scheme_of
from unseen.governance.manifest import Continuity
from unseen.governance.trust import (
    UNREADABLE,
    Trust,
    certificate_fingerprint,
    check_current,
    colons,
    key_fingerprint,
    load_root,
    parse_crl,
    vouch,
)
from unseen.names import check_party_name

IDENTITY = "identity"
CURRENT = "current"
ROOT_FILE = "root.crt"
CRL_FILE = "crl.pem"


class Enrolment(BaseModel):
    """What a party asks of the CA: certificates for two keys of its own. The TLS key's is a CSR, DER; the signing key's
    is what `keys.to_request` makes of it.
    """

    model_config = STRICT
    type: Literal["unseen.enrolment.v1"] = "unseen.enrolment.v1"
    suite: str
    name: Name
    tls_request: Base64
    signing_request: Base64
    requested_at: Time


class _Request(BaseModel):
    """The request file: the enrolment, signed with the new signing key; on renewal also the old key's continuity
    statement.
    """

    model_config = STRICT
    enrolment: str
    continuity: str | None


class Bundle(BaseModel):
    """What the CA gives back, PEM throughout. It needs no signature: every part is checked by itself."""

    model_config = STRICT
    type: Literal["unseen.bundle.v1"] = "unseen.bundle.v1"
    name: Name
    suite: str
    tls_certificate: str
    signing_certificate: str
    root: str
    crl: str


@dataclass(frozen=True, slots=True)
class PartyRequest:
    """A request as its party sees it. `fingerprint`: SHA-256 of the enrolment, colon-separated, to compare with the
    CA.
    """

    name: str
    path: Path
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that proved itself.

    Attributes:
        fingerprint: as in `PartyRequest`.
        continuity: the old key's statement, not yet checked; None for a first enrolment.
    """

    name: str
    suite: str
    fingerprint: str
    tls_key: ec.EllipticCurvePublicKey
    signing_key: VerifyingKey
    continuity: Signed | None


@dataclass(frozen=True, slots=True)
class Installed:
    """What `install_bundle` did. `first`: the root was pinned just now; compare its fingerprint with the CA's
    operator.
    """

    name: str
    root_fingerprint: str
    signing_key: str
    expires: datetime
    first: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """A party's identity in use.

    Attributes:
        tls_key, tls_certificate, root: PEM, as gRPC takes them.
        signer: for `unseen.governance.documents.sign`.
        crl: path of the revocation list.
        expires: when the first of the two certificates expires.
        continuity: continuity statements of earlier renewals, oldest first, for askers that have pinned an earlier key.
    """

    name: str
    suite: str
    tls_key: bytes = field(repr=False)
    tls_certificate: bytes = field(repr=False)
    root: bytes = field(repr=False)
    signer: Signer
    crl: Path
    expires: datetime
    continuity: tuple[Signed, ...] = field(repr=False)

    @property
    def signing_key(self) -> str:
        """Fingerprint of the signing key: what askers pin."""
        return key_fingerprint(self.signer.key.public_key())

    @staticmethod
    def load(home: Path) -> Identity:
        """Reads the identity in use. Raises UsageError that says which step of enrolment is missing."""
        return _load_identity(home)

    def trust(self) -> Trust:
        """Checks other parties' certificates against this party's root and revocation list."""
        return Trust(self.root, self.crl)


# The party's side ---------------------------------------------------------------------------------------------------


def init_party(home: Path, name: str, *, suite: str = "intl", now: datetime | None = None) -> PartyRequest:
    """Makes a party's keys and its request to the CA.

    Args:
        home: the party's directory; made if missing.
        name: see `unseen.names`.
        suite: suite of the signing key.
        now: time of the request; the present by default.

    Raises UsageError if the party has keys already.
    """
    check_party_name(name)
    scheme_of(suite)
    if _generations(home):
        raise UsageError(f"{home} has keys already. Renew them with `unseen node renew`, or choose another home.")
    return _new_generation(home, name, suite, number=1, old=None, now=now or utc_now())


def renew_party(home: Path, *, now: datetime | None = None) -> PartyRequest:
    """Makes new keys beside the ones in use, and a request that the old signing key endorses.

    Raises UsageError if the party is not enrolled, or an earlier renewal still waits for its bundle.
    """
    identity = Identity.load(home)
    last = _generations(home)[-1]
    if last.name != (home / IDENTITY / CURRENT).readlink().name:
        raise UsageError(
            f"a request waits for its bundle already: {last / 'request.json'}. Have the CA sign it and install "
            f"the bundle, or delete {last} to start over."
        )
    return _new_generation(
        home, identity.name, identity.suite, number=int(last.name) + 1, old=identity.signer, now=now or utc_now()
    )


def pending_request(home: Path) -> PartyRequest | None:
    """The request that waits for its bundle; None if there is none."""
    generations = _generations(home)
    current = home / IDENTITY / CURRENT
    if not generations or (current.is_symlink() and current.readlink().name == generations[-1].name):
        return None
    path = generations[-1] / "request.json"
    request = read_request(files.read(path, what="a request"))
    return PartyRequest(name=request.name, path=path, fingerprint=request.fingerprint)


def _new_generation(
    home: Path, name: str, suite: str, *, number: int, old: Signer | None, now: datetime
) -> PartyRequest:
    files.private_directory(home)
    files.private_directory(home / IDENTITY)
    tls_key = ec.generate_private_key(ec.SECP256R1())
    signing_key = scheme_of(suite).generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    blank = x509.CertificateSigningRequestBuilder().subject_name(subject)
    enrolment = sign(
        Enrolment(
            suite=suite,
            name=name,
            tls_request=to_base64(blank.sign(tls_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)),
            signing_request=to_base64(keys.to_request(signing_key, name)),
            requested_at=format_time(now),
        ),
        Signer(name=name, suite=suite, key=signing_key),
    )
    continuity = None
    if old is not None:
        statement = Continuity(
            suite=suite,
            party=name,
            old_key=key_fingerprint(old.key.public_key()),
            new_key=key_fingerprint(signing_key.public_key()),
            issued_at=format_time(now),
        )
        continuity = to_json(sign(statement, old))
    request = _Request(enrolment=to_json(enrolment), continuity=continuity).model_dump_json(indent=1).encode()
    # All or nothing: the generation is filled under a temporary name; renaming a directory onto a full one fails.
    generation = home / IDENTITY / f"{number:04d}"
    temporary = home / IDENTITY / f".{secrets.token_hex(6)}.tmp"
    temporary.mkdir(mode=0o700)
    try:
        files.create(temporary / "tls.key", keys.to_pem(tls_key), mode=files.PRIVATE)
        files.create(temporary / "signing.key", keys.to_pem(signing_key), mode=files.PRIVATE)
        files.create(temporary / "request.json", request)
        if continuity is not None:
            files.create(temporary / "continuity.json", continuity.encode())
        try:
            temporary.rename(generation)
        except OSError:
            raise UsageError(
                f"{generation} exists and is not overwritten. Another command made keys at the same time."
            ) from None
        durable.sync_directory(home / IDENTITY)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return PartyRequest(name=name, path=generation / "request.json", fingerprint=_fingerprint(enrolment))


def install_bundle(
    home: Path, bundle: bytes, *, root_fingerprint: str | None = None, now: datetime | None = None
) -> Installed:
    """Checks the CA's bundle and puts the keys that it certifies into use, at one stroke.

    Args:
        home: the party's directory, in which `init_party` or `renew_party` made the keys.
        bundle: what the CA made of the request.
        root_fingerprint: the root expected, as the CA's operator told it. Without it the first root is pinned as it
        comes, and
            whoever could exchange the bundle on its way could be the CA; `Installed.first` says when to compare.
        now: the time to check at; the present by default.

    Raises:
        UsageError: the bundle is not for these keys, this party, or this root.
        PolicyError: ``certificate-…`` or ``crl-…``: a certificate is not in order.
    """
    moment = now or utc_now()
    try:
        content = Bundle.model_validate_json(bundle)
        root = load_root(content.root.encode())
        tls = x509.load_pem_x509_certificate(content.tls_certificate.encode())
        signing = x509.load_pem_x509_certificate(content.signing_certificate.encode())
        certified = tls.public_key(), keys.certified_key(signing)
    except UNREADABLE:  # a ValidationError is a ValueError
        raise UsageError("not a bundle. Use the file that `unseen ca sign` wrote.") from None
    fingerprint = certificate_fingerprint(root)
    pinned = home / ROOT_FILE
    first = not pinned.exists()
    if root_fingerprint is not None and _plain(root_fingerprint) != _plain(fingerprint):
        raise UsageError(f"the bundle's root is {fingerprint}, not the one expected. Get the bundle from the right CA.")
    if not first and load_root(files.read(pinned, what="a root certificate")) != root:
        raise UsageError(
            f"the bundle's root {fingerprint} is not the pinned one. Get it from the CA you enrolled with."
        )
    generation = _generation_of(home, certified)
    crl = parse_crl(content.crl.encode(), root=root)
    for certificate, kind in ((tls, "tls"), (signing, "signing")):
        vouched = vouch(certificate.public_bytes(serialization.Encoding.DER), root=root)
        check_current(vouched, crl, now=moment)
        name = read_request(files.read(generation / "request.json", what="a request")).name
        if (vouched.name, vouched.kind) != (name, kind):
            raise UsageError(
                f"the bundle certifies {vouched.name!r}, this party is {name!r}. Install each party's own."
            )
    if first:
        files.replace(home / CRL_FILE, content.crl.encode())
        files.create(pinned, content.root.encode())
    else:
        update_crl(home, content.crl.encode())
    files.replace(generation / "tls.crt", content.tls_certificate.encode())
    files.replace(generation / "signing.crt", content.signing_certificate.encode())
    _switch(home, generation)
    identity = Identity.load(home)
    return Installed(
        name=identity.name,
        root_fingerprint=fingerprint,
        signing_key=identity.signing_key,
        expires=identity.expires,
        first=first,
    )


def update_crl(home: Path, crl: bytes) -> bool:
    """Replaces the party's revocation list (PEM) by a newer one. Returns whether it was newer.

    Raises PolicyError ``crl-untrusted`` if the pinned root did not sign it.
    """
    root = load_root(files.read(home / ROOT_FILE, what="a root certificate"))
    fresh = parse_crl(crl, root=root)
    if fresh.number <= _crl_number(home, root):
        return False
    files.replace(home / CRL_FILE, crl)
    return True


def crl_number(home: Path) -> int:
    """Number of the party's revocation list; -1 where it is lost or damaged."""
    return _crl_number(home, load_root(files.read(home / ROOT_FILE, what="a root certificate")))


def _crl_number(home: Path, root: x509.Certificate) -> int:
    try:
        return parse_crl(files.read(home / CRL_FILE, what="a revocation list"), root=root).number
    except (PolicyError, UsageError):
        return -1  # Nothing is accepted until there is a list again, so any of the root's is good.


def _switch(home: Path, generation: Path) -> None:
    """Points ``current`` at a generation. A rename replaces the old link at one stroke."""
    link = home / IDENTITY / f".{secrets.token_hex(6)}.tmp"
    link.symlink_to(generation.name)
    link.rename(home / IDENTITY / CURRENT)
    durable.sync_directory(home / IDENTITY)


def _generation_of(home: Path, certified: tuple[object, object]) -> Path:
    """The generation whose TLS and signing key these are."""
    for generation in reversed(_generations(home)):
        tls_key, signing_key = _load_tls_key(generation / "tls.key"), _load_signing_key(generation / "signing.key")
        if (tls_key.public_key(), signing_key.public_key()) == certified:
            return generation
    raise UsageError("the bundle certifies other keys than this party's. Install the bundle made of its own request.")


def _generations(home: Path) -> list[Path]:
    """Directories of keys, oldest first."""
    return sorted(path for path in (home / IDENTITY).glob("[0-9][0-9][0-9][0-9]") if path.is_dir())


def _newest(home: Path) -> str:
    """The newest generation that has certificates."""
    names = [path.name for path in _generations(home) if (path / "signing.crt").exists()]
    return names[-1] if names else "0001"


def _load_identity(home: Path) -> Identity:
    current = home / IDENTITY / CURRENT
    if current.is_dir() and not current.is_symlink():
        raise UsageError(
            f"{current} is a directory and no link: this home was copied without its links, as scp -r does. Copy it "
            f"again with tar or rsync -a; or here: rm -r {current}, ln -s {_newest(home)} {current}."
        )
    if not current.is_symlink():
        step = "Install the bundle that the CA made of its request" if _generations(home) else "Run `unseen node init`"
        raise UsageError(f"{home} holds no identity in use. {step}.")
    root = files.read(home / ROOT_FILE, what="a root certificate")
    tls_certificate = files.read(current / "tls.crt", what="a TLS certificate")
    signing_certificate = files.read(current / "signing.crt", what="a signing certificate")
    try:
        tls = x509.load_pem_x509_certificate(tls_certificate)
        signing = x509.load_pem_x509_certificate(signing_certificate)
    except UNREADABLE:
        raise UsageError(
            f"a certificate in {current} is damaged. Install the bundle again, or restore it from a back-up."
        ) from None
    der = signing.public_bytes(serialization.Encoding.DER)
    name = vouch(der, root=load_root(root)).name
    request = read_request(files.read(current / "request.json", what="a request"))
    key = _load_signing_key(current / "signing.key")
    if keys.certified_key(signing) != key.public_key():
        raise UsageError(
            f"{current / 'signing.key'} and {current / 'signing.crt'} do not belong together. Restore them from a "
            "back-up, or enrol again."
        )
    used = int(current.readlink().name)
    statements = [path / "continuity.json" for path in _generations(home) if int(path.name) <= used]
    return Identity(
        name=name,
        suite=request.suite,
        tls_key=files.read(current / "tls.key", what="a TLS key"),
        tls_certificate=tls_certificate,
        root=root,
        signer=Signer(name=name, suite=request.suite, key=key, certificate=der),
        crl=home / CRL_FILE,
        expires=min(tls.not_valid_after_utc, signing.not_valid_after_utc),
        continuity=tuple(from_json(files.read(path, what="a statement")) for path in statements if path.exists()),
    )


def _load_tls_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(files.read(path, what="a private key"), password=None)
    except UNREADABLE:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{path} is not a private key of a party. Restore it from a back-up, or enrol again.")
    return key


def _load_signing_key(path: Path) -> SigningKey:
    try:
        return keys.signing_key_from_pem(files.read(path, what="a private key"))
    except UNREADABLE:
        raise UsageError(f"{path} is not a signing key. Restore it from a back-up, or enrol again.") from None


def _fingerprint(enrolment: Signed) -> str:
    """SHA-256 of an enrolment, as people compare it; like all fingerprints it is the same in every suite."""
    return colons(hashlib.sha256(enrolment.document).digest())


def _plain(fingerprint: str) -> str:
    return fingerprint.replace(":", "").replace(" ", "").upper()


# The request, as the CA reads it ------------------------------------------------------------------------------------


def read_request(request: bytes) -> CheckedRequest:
    """Reads a request file and checks that it proves itself: the party holds both keys, and both are for one name.

    Raises UsageError if it does not. Whether the party may have the name is the CA's to decide.
    """
    try:
        content = _Request.model_validate_json(request)
        signed = from_json(content.enrolment)
        enrolment = parse(signed.document, Enrolment)
        scheme_of(enrolment.suite)
        tls = x509.load_der_x509_csr(from_base64(enrolment.tls_request))
        tls_key = tls.public_key()
        signing_key = keys.from_request(from_base64(enrolment.signing_request), enrolment.name, suite=enrolment.suite)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, enrolment.name)])
        if not isinstance(tls_key, ec.EllipticCurvePublicKey) or not isinstance(tls_key.curve, ec.SECP256R1):
            raise ValueError("the TLS key is not on P-256")
        if not tls.is_signature_valid or tls.subject != subject:
            raise ValueError("the certificate requests do not prove their keys for this name")
        check_signature(signed, signing_key, suite=enrolment.suite)
        continuity = None if content.continuity is None else from_json(content.continuity)
    except ValidationError:
        raise UsageError("not an enrolment request. Use the request.json that `unseen node init` made.") from None
    except PolicyError as error:
        raise _unproven(error.reason) from None
    except UNREADABLE as error:
        raise _unproven(str(error)) from None
    return CheckedRequest(
        name=enrolment.name,
        suite=enrolment.suite,
        fingerprint=_fingerprint(signed),
        tls_key=tls_key,
        signing_key=signing_key,
        continuity=continuity,
    )


def _unproven(reason: str) -> UsageError:
    return UsageError(f"the enrolment request does not prove itself: {reason}. Have the party make a new one.")
