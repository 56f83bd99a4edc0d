"""Manifests: what a node states about a product's epoch, the same for every asker; and what an asker remembers of them.

Each epoch the node signs the product's public key, the hash and size class of its table, and when it is valid.
Manifests form a chain by hash. The asker pins the node's *signing key* at first contact and keeps the manifests it has
seen. Two different manifests
for one epoch, both signed by the node, are a proof of cheating: both are kept on disk as evidence.

A node that renews its keys signs, with the old one, a *continuity statement* that names the new one
(`unseen.governance.enrolment.renew_party`). An asker accepts a new key only with an unbroken line of statements from
the pinned key, or when its operator accepts the new fingerprint by hand (`unseen node pin`). The CA's signature alone
does not do.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, StringConstraints, ValidationError, model_validator

from mpc import suite as suites
from mpc.errors import CheatingDetected, PeerError, PolicyError, UsageError
from unseen.governance import files
from unseen.governance.documents import (
    CLOCK_TOLERANCE,
    STRICT,
    Base64,
    Count,
    Digest,
    Element,
    Name,
    Signed,
    Time,
    check_signature,
    digest,
    format_time,
    from_base64,
    from_json,
    parse,
    parse_time,
    to_base64,
    to_json,
    utc_now,
    verify,
)
from unseen.governance.keys import SCHEMES
from unseen.governance.trust import Trust, key_fingerprint, read_fingerprint
from unseen.names import check_party_name, check_product_name

PROTOCOL = "unseen.manifest.v1"
Kept = TypeVar("Kept", bound=BaseModel)

REMEMBERED = 64
"""How many of a product's manifests an asker keeps, newest last."""


class Manifest(BaseModel):
    """One epoch of one product.

    Attributes:
        public_key: the epoch's public key, against which every evaluation is proved.
        table_hash: the suite's digest of the table file.
        table_rows: number of rows, padded to a size class.
        row_bytes: bytes per row of the table.
        key_form: canonical form of the key, such as ``resident-id``, or ``pair:resident-id`` for a pair of them.
        answer_bytes: bytes per answer.
        default_answer: the answer that an absent key stands for; null if absence is an answer of its own.
        previous: the suite's digest of the manifest before this one; null for the first.
        not_before, not_after: when the epoch is current.
        grace_until: until when consents for it can still be used; its secret key is erased after that.
    """

    model_config = STRICT
    type: Literal["unseen.manifest.v1"] = "unseen.manifest.v1"
    suite: str
    node: Name
    product: Name
    epoch: Count
    public_key: Element
    table_hash: Digest
    table_rows: Count
    row_bytes: Count
    key_form: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    answer_bytes: Count
    default_answer: Base64 | None = None
    previous: Digest | None = None
    not_before: Time
    not_after: Time
    grace_until: Time

    @model_validator(mode="after")
    def _key_of_the_suite(self) -> Manifest:
        if self.suite in SCHEMES:  # that a suite is unknown is said by whoever checks the signature
            length = suites.get(self.suite).group.ELEMENT_BYTES
            if len(from_base64(self.public_key)) != length:
                raise ValueError(f"a public key of the suite {self.suite} has {length} bytes")
        return self


class Continuity(BaseModel):
    """Signed by a party's old signing key: my next signing key is `new_key`. Both are `key_fingerprint`s."""

    model_config = STRICT
    type: Literal["unseen.continuity.v1"] = "unseen.continuity.v1"
    suite: str
    party: Name
    old_key: str
    new_key: str
    issued_at: Time


class _Seen(BaseModel):
    """What is kept per product: manifests as they came, oldest first."""

    model_config = STRICT
    manifests: list[str]


class _Pin(BaseModel):
    """What is kept per node: its signing key, and since when."""

    model_config = STRICT
    node: Name
    key: str
    since: Time
    how: Literal["first-contact", "continuity", "operator"]


def _broke(node: str, message: str) -> PeerError:
    return PeerError(message, party=node, protocol=PROTOCOL, step="Manifest")


def check_pair(first: Signed, second: Signed, *, node: str) -> None:
    """Raises CheatingDetected, carrying both hashes, if two manifests of one product and epoch differ.

    Both must have been verified before; `node` is who signed them.
    """
    one, two = parse(first.document, Manifest), parse(second.document, Manifest)
    if (one.product, one.epoch) == (two.product, two.epoch) and first.document != second.document:
        raise CheatingDetected(
            f"two different manifests for epoch {one.epoch} of {one.product}: "
            f"{to_base64(digest(first, suite=one.suite))} and {to_base64(digest(second, suite=two.suite))}",
            party=node,
            protocol=PROTOCOL,
            step="Manifest",
        )


def check_link(previous: Signed, following: Signed, *, node: str) -> None:
    """Raises PeerError unless `following` is the manifest after `previous`: the next epoch, and linked to it by hash.

    No epoch is left out: two chains that part after a common manifest then both have one for the epoch after it, and
    the two contradict each other. Were gaps allowed, one chain could take the even epochs and the other the odd ones.
    """
    before, after = parse(previous.document, Manifest), parse(following.document, Manifest)
    if after.epoch != before.epoch + 1:
        raise _broke(node, f"epoch {after.epoch} of {after.product} follows epoch {before.epoch} in the chain")
    if after.previous != to_base64(digest(previous, suite=before.suite)):
        raise _broke(
            node,
            f"epoch {after.epoch} of {after.product} is not linked to the manifest of epoch {before.epoch}",
        )


def check_time(manifest: Manifest, now: datetime) -> None:
    """Raises PolicyError ``manifest-expired`` or ``manifest-not-yet-valid``."""
    if now > parse_time(manifest.grace_until):
        raise PolicyError(
            f"the manifest of epoch {manifest.epoch} of {manifest.product} expired at {manifest.grace_until}",
            code="manifest-expired",
            remedy="Ask the node's operator why no new epoch was published; compare the clocks (NTP).",
        )
    if now + CLOCK_TOLERANCE < parse_time(manifest.not_before):
        ahead = int((parse_time(manifest.not_before) - now).total_seconds())
        raise PolicyError(
            f"epoch {manifest.epoch} of {manifest.product} begins in {ahead} seconds by this machine's clock",
            code="manifest-not-yet-valid",
            remedy="Compare the clocks (NTP) of both parties.",
        )


class Pins:
    """An asker's memory of nodes' keys and manifests: a directory of its own. One process at a time writes to it."""

    def __init__(self, directory: Path, *, trust: Trust, suite: str) -> None:
        """`directory` is made if missing, readable by its owner only."""
        files.private_directory(directory)
        self._directory = directory
        self._trust = trust
        self._suite = suite

    def pinned_key(self, node: str) -> str | None:
        """Fingerprint of the node's pinned signing key; None before first contact."""
        pin = self._pin(node)
        return None if pin is None else pin.key

    def accept_key(self, node: str, fingerprint: str) -> None:
        """Pins a key by its operator's decision, whatever was pinned before. Compare it with the node's operator
        first.

        Raises UsageError if `fingerprint` is none.
        """
        self._save_pin(_pin(node, read_fingerprint(fingerprint), "operator"))

    def last(self, node: str, product: str) -> Signed | None:
        """The newest manifest seen of a product; None if there is none."""
        seen = self._seen(node, product)
        return seen[-1] if seen else None

    def accept(
        self,
        manifests: Sequence[Signed],
        *,
        node: str,
        product: str,
        continuity: Sequence[Signed] = (),
        now: datetime | None = None,
    ) -> Manifest:
        """Checks what a node says about a product and remembers it. Returns the newest manifest.

        Args:
            manifests: oldest first, the last one current. At first contact the last is enough; later, all since the
            newest seen.
            node: the node's name, as its TLS certificate says.
            product: the product asked for.
            continuity: the node's continuity statements, oldest first, for when it has renewed its keys.
            now: the time to check at; the present by default.

        Raises:
            CheatingDetected: two manifests of one epoch differ. Both are on disk, see `evidence`.
            PeerError: the chain is broken or goes back, or a manifest is for another product.
            PolicyError: ``document-…``, ``certificate-…``, ``crl-…``, ``manifest-expired``, ``manifest-not-yet-valid``,
            or
                ``pin-mismatch`` if the signing key is neither the pinned one nor endorsed by it.
        """
        if not manifests:
            raise _broke(node, "it sent no manifest")
        moment = now or utc_now()
        seen = self._seen(node, product)
        by_epoch = {parse(known.document, Manifest).epoch: known for known in seen}
        newest = max(by_epoch, default=-1)
        pin = self._pin(node)
        fresh: list[Signed] = []
        manifest: Manifest | None = None
        for place, signed in enumerate(manifests):
            # Earlier manifests are checked as of their own time: their signer's certificate may have been renewed
            # since. Their content is vouched for by the last one, which the chain of hashes ties them to.
            at = moment if place == len(manifests) - 1 else min(moment, _beginning(signed))
            manifest = verify(
                signed, Manifest, trust=self._trust, signer=node, signer_field="node", suite=self._suite, now=at
            )
            if manifest.product != product:
                raise _broke(node, f"asked about {product}, it sent the manifest of {manifest.product}")
            known = by_epoch.get(manifest.epoch)
            if known is not None:
                self._check_same(known, signed, node)
                continue
            if manifest.epoch < newest:
                raise _broke(node, f"epoch {manifest.epoch} of {product} comes after epoch {newest} was seen")
            pin = self._check_key(pin, signed, node=node, continuity=continuity, now=at)
            fresh.append(signed)
            by_epoch[manifest.epoch] = signed
            newest = manifest.epoch
        chain = [*seen[-1:], *fresh]
        for previous, following in itertools.pairwise(chain):
            check_link(previous, following, node=node)
        current = parse(manifests[-1].document, Manifest)
        if current.epoch < newest:
            raise _broke(node, f"it offers epoch {current.epoch} of {product} after epoch {newest} was seen")
        check_time(current, moment)
        if fresh and pin is not None:
            self._save_pin(pin)
            lines = [to_json(signed) for signed in (*seen, *fresh)][-REMEMBERED:]
            self._save(self._product_file(node, product), _Seen(manifests=lines))
        return current

    def compare(self, own: Signed, other: Signed, *, node: str) -> None:
        """Holds a manifest that this asker has verified against one that somebody else shows, of whatever epoch.

        Raises:
            CheatingDetected: the node signed both, for one epoch of one product. Both are on disk, see `evidence`.
            PolicyError: ``document-…``, ``certificate-…``, ``crl-…``: the other one is not signed by the node.
        """
        # As in `accept`: its signer's certificate may have been renewed since.
        at = min(utc_now(), _beginning(other))
        verify(other, Manifest, trust=self._trust, signer=node, signer_field="node", suite=self._suite, now=at)
        self._check_same(own, other, node)

    def evidence(self) -> list[Path]:
        """Files that each hold two contradicting manifests, as the node signed them: JSON with ``first`` and
        ``second``.
        """
        return sorted((self._directory / "evidence").glob("*.json"))

    def _check_same(self, known: Signed, signed: Signed, node: str) -> None:
        try:
            check_pair(known, signed, node=node)
        except CheatingDetected:
            kept = json.dumps({"first": json.loads(to_json(known)), "second": json.loads(to_json(signed))})
            directory = self._directory / "evidence"
            files.private_directory(directory)
            name = hashlib.sha256(known.document + signed.document).hexdigest()[:16]
            files.replace(directory / f"{node}-{name}.json", kept.encode())
            raise

    def _check_key(
        self, pin: _Pin | None, signed: Signed, *, node: str, continuity: Sequence[Signed], now: datetime
    ) -> _Pin:
        """The pin that holds after `signed`: the same one, or its successor."""
        key = key_fingerprint(self._trust.signing_key(node, signed.certificate, suite=self._suite, now=now))
        if pin is None:
            return _pin(node, key, "first-contact")
        if key == pin.key:
            return pin
        if not self._continues(pin.key, key, node, continuity):
            raise PolicyError(
                f"{node} signs with the key {key}, pinned is {pin.key}",
                code="pin-mismatch",
                remedy=f"Ask {node}'s operator, by telephone say, for the signing key that `unseen node preflight` "
                f"shows there; if it is this one, accept it with `unseen node pin {node}`.",
            )
        return _pin(node, key, "continuity")

    def _continues(self, old: str, new: str, node: str, statements: Sequence[Signed]) -> bool:
        """Whether `statements` lead from the key `old` to the key `new`, each signed by the key before."""
        for signed in statements:
            statement = parse(signed.document, Continuity)
            if statement.old_key != old or statement.party != node or signed.signer != node:
                continue
            # The old certificate may have expired since; it must have been valid then, and must not be revoked now.
            try:
                key = self._trust.signing_key(
                    node, signed.certificate, suite=self._suite, now=parse_time(statement.issued_at)
                )
            except PolicyError as error:
                if not error.code.startswith("certificate-"):
                    raise
                continue  # It endorses nobody, and whether the new key is right is for the operator to say.
            if key_fingerprint(key) != old:
                continue
            check_signature(signed, key, suite=self._suite)
            old = statement.new_key
            if old == new:
                return True
        return False

    # Files ----------------------------------------------------------------------------------------------------------

    def _pin(self, node: str) -> _Pin | None:
        return _load(self._directory / f"{check_party_name(node)}.json", _Pin)

    def _save_pin(self, pin: _Pin) -> None:
        self._save(self._directory / f"{pin.node}.json", pin)

    def _product_file(self, node: str, product: str) -> Path:
        # A name has no dots, so that the two names are told apart.
        return self._directory / f"{check_party_name(node)}.{check_product_name(product)}.json"

    def _seen(self, node: str, product: str) -> list[Signed]:
        seen = _load(self._product_file(node, product), _Seen)
        return [] if seen is None else [from_json(line) for line in seen.manifests]

    def _save(self, path: Path, content: BaseModel) -> None:
        files.replace(path, content.model_dump_json(indent=1).encode(), mode=files.PRIVATE)


def _pin(node: str, key: str, how: Literal["first-contact", "continuity", "operator"]) -> _Pin:
    return _Pin(node=check_party_name(node), key=key, since=format_time(utc_now()), how=how)


def _beginning(signed: Signed) -> datetime:
    return parse_time(parse(signed.document, Manifest).not_before)


def _load(path: Path, model: type[Kept]) -> Kept | None:
    if not path.exists():
        return None
    try:
        return model.model_validate_json(files.read(path, what="a pin"))
    except ValidationError:
        raise UsageError(
            f"{path} is damaged. Restore it from a back-up; deleting it means to trust at first contact again."
        ) from None
