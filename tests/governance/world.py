"""A small world for the tests: a CA and three enrolled parties, and shorthands for what they sign."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from mpc import suite as suites
from unseen.governance import ca, documents, enrolment, issuing
from unseen.governance.consent import CheckedConsent, Issued
from unseen.governance.documents import Signed, format_time, to_base64
from unseen.governance.enrolment import Identity
from unseen.governance.manifest import Manifest

NODE, BANK, PLATFORM = "civil-affairs", "bank", "platform"
PRODUCT, SCENARIO = "marriage-status", "mortgage-approval"
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class World:
    """A CA and its parties."""

    root: Path

    @property
    def ca(self) -> Path:
        return self.root / "ca"

    def home(self, name: str) -> Path:
        return self.root / name

    def identity(self, name: str) -> Identity:
        return Identity.load(self.home(name))


def make_world(root: Path, *names: str, suite: str = "intl") -> World:
    """Makes a CA in `root`, and enrols the parties."""
    world = World(root)
    ca.init_ca(world.ca, now=NOW)
    for name in names:
        enrol(world, name, suite=suite)
    return world


def enrol(
    world: World, name: str, *, home: Path | None = None, lifetime: timedelta = ca.LIFETIME, suite: str = "intl"
) -> Identity:
    place = home or world.home(name)
    request = enrolment.init_party(place, name, suite=suite)
    signed = ca.sign_request(world.ca, request.path.read_bytes(), lifetime=lifetime, now=NOW)
    enrolment.install_bundle(place, signed.bundle)
    return Identity.load(place)


def renew(world: World, name: str) -> Identity:
    request = enrolment.renew_party(world.home(name))
    signed = ca.sign_request(world.ca, request.path.read_bytes(), now=NOW)
    enrolment.install_bundle(world.home(name), signed.bundle)
    return world.identity(name)


def consent_by(
    identity: Identity,
    *,
    blinded: bytes | None = None,
    keys: tuple[str, ...] = ("a",),
    node: str = NODE,
    product: str = PRODUCT,
    scenario: str = SCENARIO,
    requester: str = BANK,
    epoch: int = 7,
    issued: datetime = NOW,
    lifetime: timedelta = timedelta(minutes=10),
) -> Issued:
    """One consent (or the two of a pair) over a random element, unless one is given."""
    element = np.frombuffer(blinded or os.urandom(element_bytes(identity.suite)), dtype=np.uint8)[None]
    [one] = issuing.issue(
        identity.signer,
        keys=[keys],
        blinds=np.zeros((1, 32), dtype=np.uint8),
        blinded=element,
        node=node,
        product=product,
        scenario=scenario,
        requester=requester,
        epoch=epoch,
        expires=issued + lifetime,
        now=issued,
    )
    return one


def element_bytes(suite: str) -> int:
    """Length of a group element."""
    return suites.get(suite).group.ELEMENT_BYTES


def nonce(expires: datetime = NOW + timedelta(minutes=10)) -> bytes:
    """A nonce as the ledger burns it: expiry, then 16 random bytes."""
    return int(expires.timestamp()).to_bytes(8, "big") + os.urandom(16)


def checked(
    *,
    blinded: bytes | None = None,
    nonces: tuple[bytes, ...] | None = None,
    epoch: int = 7,
    product: str = PRODUCT,
    expires: datetime = NOW + timedelta(minutes=10),
    suite: str = "intl",
) -> CheckedConsent:
    """A consent as the node has it after checking, for the ledger's tests."""
    burnt = nonces or (nonce(expires),)
    return CheckedConsent(
        node=NODE,
        product=product,
        scenario=SCENARIO,
        requester=BANK,
        epoch=epoch,
        suite=suite,
        blinded=blinded or os.urandom(element_bytes(suite)),
        nonces=burnt,
        issuers=(PLATFORM,) * len(burnt),
        digests=tuple(os.urandom(32) for _ in burnt),
        expires=expires,
    )


def manifest(
    *,
    epoch: int,
    previous: Signed | None = None,
    product: str = PRODUCT,
    node: str = NODE,
    start: datetime = NOW,
    suite: str = "intl",
) -> Manifest:
    """A manifest of an epoch of one day, with an hour's grace and a random table."""
    return Manifest(
        suite=suite,
        node=node,
        product=product,
        epoch=epoch,
        public_key=to_base64(os.urandom(element_bytes(suite))),
        table_hash=to_base64(os.urandom(32)),
        table_rows=1024,
        row_bytes=9,
        key_form="resident-id",
        answer_bytes=1,
        previous=None if previous is None else to_base64(documents.digest(previous, suite=suite)),
        not_before=format_time(start),
        not_after=format_time(start + timedelta(days=1)),
        grace_until=format_time(start + timedelta(days=1, hours=1)),
    )


def flipped(data: bytes, *, bit: int = 0) -> bytes:
    """`data` with one bit turned over."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def resigned(signed: Signed, **changes: bytes | str) -> Signed:
    """`signed` with some of its parts exchanged."""
    return replace(signed, **changes)  # type: ignore[arg-type]  # the tests exchange parts of the right types
