"""The asker: a warm connection to one product of one node, with everything checked that an asker can check.

    with connect(Path("bank"), "marriage-status", node="civil-affairs@10.0.0.7:7700") as asker:
        (verdict,) = asker.verify([consent])  # as the identity platform handed it over
        verdict.label  # "married"

Checked at the start and at every new epoch: the node's signature over the manifest, its pinned signing key, the chain
of manifests, the coordinator's log of manifests, the table's hash. Checked at every query: the proof that the epoch's
key was used, the receipt's signature. The table is kept on disk by its hash, so that a second start does not fetch it
again.
"""

from __future__ import annotations

import itertools
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.channel import Channel, Traffic
from mpc.data import identifiers
from mpc.errors import ChannelError, PeerError, PolicyError, UsageError
from mpc.kernels import InvalidEncoding
from mpc.kernels.packing import Packed
from mpc.rng import Rng
from mpc.session import Progress
from mpc.transport import grpc as transport
from mpc.transport.grpc import Connection
from mpc.wire.coordinator.v1 import coordinator_pb2
from mpc.wire.node.v1 import node_pb2
from protocols.lookup import table as lookup
from protocols.lookup import tablefile
from protocols.lookup.table import Answers
from protocols.lookup.tablefile import DamagedTable, Table, TableSpec
from unseen import services
from unseen.governance import documents, files
from unseen.governance import manifest as manifests
from unseen.governance.consent import Consent, Issued
from unseen.governance.documents import Signed, from_base64, parse_time, utc_now
from unseen.governance.enrolment import Identity
from unseen.governance.manifest import Manifest, Pins
from unseen.governance.receipt import verify_receipt
from unseen.governance.trust import Trust
from unseen.hello import lookup_hello
from unseen.home import PINS_TIMEOUT_S, Home, exclusive
from unseen.node import registrar
from unseen.server import as_credentials
from unseen.settings import split_party_address

CLOCK_WARNING_S = 60
"""A node's clock that differs by more is worth a warning, seconds."""
ANSWER_TIMEOUT_S = 60.0
BATCH = 100
"""Queries in one message: enough to share its cost, and few enough that both sides work at the same time."""

Key = tuple[str, ...]
"""A key as a person writes it, or the two keys of a pair."""


@dataclass(frozen=True)
class Verdict:
    """What came out for one key.

    Attributes:
        answered: whether the node evaluated the key.
        found: whether there is an answer; always, where the product has a default answer.
        answer: the answer's bytes; empty if there is none.
        label: the answer in words; None if there is none.
        refusal: why the node did not evaluate it; None if it did.
    """

    answered: bool
    found: bool
    answer: bytes = field(repr=False)
    label: str | None = field(repr=False)
    refusal: PolicyError | None


@dataclass(frozen=True)
class Place:
    """Where a node is: its name, which its certificate has to prove, and its address."""

    name: str
    address: str


class Asker:
    """A warm connection to a product. Made by `connect`; close it, or use it in a ``with`` statement. For one thread
    at a time.
    """

    def __init__(
        self,
        home: Home,
        identity: Identity,
        trust: Trust,
        connection: Connection,
        *,
        offer: node_pb2.Product,
        continuity: Sequence[Signed],
        scenario: str,
        log: Callable[[Signed], None],
        warnings: Sequence[str],
    ) -> None:
        """Use `connect`."""
        self._home = home
        self._identity = identity
        self._trust = trust
        self._connection = connection
        self._offer = offer
        self._continuity = continuity
        self._scenario = scenario
        self._log = log
        self._channel = Channel(connection.lane, protocol=lookup.OPERATOR.name, timeout_s=ANSWER_TIMEOUT_S)
        self._rng = Rng()
        self._epochs: dict[int, tuple[Manifest, Table]] = {}
        self._current = 0
        self._labels = {code.code: printable(code.label) for code in offer.codes}
        self.warnings = tuple(warnings)
        """What a person should know: the coordinator was not reached, a clock is wrong."""

    def __enter__(self) -> Asker:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        self.close()

    @property
    def node(self) -> str:
        """The node's name."""
        return self._connection.peer

    @property
    def offer(self) -> node_pb2.Product:
        """What the node says of the product."""
        return self._offer

    @property
    def manifest(self) -> Manifest:
        """The current epoch's manifest, verified. Fetched again when the epoch is over."""
        if self._current == 0 or utc_now() > parse_time(self._epochs[self._current][0].not_after):
            self._learn(0)
        return self._epochs[self._current][0]

    @property
    def traffic(self) -> Traffic:
        """Bytes and rounds so far, table included."""
        return self._channel.traffic

    def verify(
        self,
        consents: Sequence[Issued],
        *,
        batch: int = BATCH,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> list[Verdict]:
        """Ask about the keys of consents, in any number.

        A consent permits one evaluation; asking again with the same one after a lost reply gives the same answer and
        costs nothing.

        Args:
            consents: as the identity platform handed them over, key, tokens and blind.
            batch: how many go in one message, at most 1000.
            progress: called with the stage "query" now and then.

        Returns:
            A verdict per consent, in order. What the node refuses is a verdict too.

        Raises:
            InvalidIdentifier: a key that is not of the product's form.
            CheatingDetected: a proof that does not hold, a manifest or a table that differs from what others got.
            PeerError: the node broke the protocol.
            ChannelError: the connection was lost.
        """
        verdicts: dict[int, Verdict] = {}
        done = 0
        for epoch, rows in _by_epoch(consents).items():
            keys = [consents[row].key for row in rows]
            blinds = np.frombuffer(b"".join(consents[row].blind for row in rows), dtype=np.uint8).reshape(len(rows), -1)
            permits = [[_to_wire(token) for token in consents[row].tokens] for row in rows]
            try:
                manifest, table = self._epoch(epoch)
            except PolicyError as error:
                verdicts.update(dict.fromkeys(rows, _refused(error)))
                continue
            answers = self._query(manifest, table, keys, batch, _from(progress, done, len(consents)), blinds, permits)
            verdicts.update(zip(rows, self._verdicts(answers), strict=True))
            done += len(rows)
        return [verdicts[row] for row in range(len(consents))]

    def verify_keys(
        self, keys: Sequence[Key], *, batch: int = BATCH, progress: Callable[[Progress], None] = lambda _: None
    ) -> list[Verdict]:
        """Ask about keys, of a product that needs no consent. Otherwise as `verify`."""
        manifest = self.manifest
        answers = self._query(manifest, self._epochs[manifest.epoch][1], keys, batch, progress)
        if keys and all(_is_over(answers.refusals.get(row)) for row in range(len(keys))):
            self._learn(0)  # the epoch ended early: its owner began the next one
            manifest = self.manifest
            answers = self._query(manifest, self._epochs[manifest.epoch][1], keys, batch, progress)
        return self._verdicts(answers)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    # Asking ---------------------------------------------------------------------------------------------------------

    def _query(
        self,
        manifest: Manifest,
        table: Table,
        keys: Sequence[Key],
        batch: int,
        progress: Callable[[Progress], None],
        blinds: NDArray[np.uint8] | None = None,
        permits: Sequence[Sequence[lookup.SignedDocument]] = (),
    ) -> Answers:
        answers = lookup.query(
            self._channel,
            table,
            canonical_keys(keys, form=manifest.key_form),
            rng=self._rng,
            scenario=self._scenario,
            blinds=blinds,
            permits=permits,
            batch=batch,
            progress=progress,
        )
        self._keep_receipts(manifest, answers)
        return answers

    def _verdicts(self, answers: Answers) -> list[Verdict]:
        return [
            _refused(answers.refusals[row])
            if row in answers.refusals
            else Verdict(
                answered=True,
                found=bool(found),
                answer=answer.tobytes() if found else b"",
                label=self._label(answer.tobytes()) if found else None,
                refusal=None,
            )
            for row, (found, answer) in enumerate(zip(answers.found, answers.answers, strict=True))
        ]

    def _label(self, answer: bytes) -> str:
        if self._labels:
            code = int.from_bytes(answer, "little")
            return self._labels.get(code, str(code))
        return printable(answer.rstrip(b"\x00").decode("utf-8", "replace"))

    def _keep_receipts(self, manifest: Manifest, answers: Answers) -> None:
        keep_receipts(
            self._home,
            self._identity,
            self._trust,
            answers.receipts,
            node=self.node,
            product=manifest.product,
            protocol=lookup.OPERATOR.name,
        )

    # Epochs ---------------------------------------------------------------------------------------------------------

    def _epoch(self, number: int) -> tuple[Manifest, Table]:
        """Manifest and table of an epoch. Raises PolicyError if the node does not serve it."""
        if number not in self._epochs:
            self._learn(number)
        if number not in self._epochs:
            raise PolicyError(
                f"epoch {number} of {self._offer.name} is not served; the current one is {self._current}",
                code="consent-wrong-epoch",
                remedy="Ask the identity platform for a new consent, for the current epoch.",
            )
        return self._epochs[number]

    def _learn(self, number: int) -> None:
        """Fetch and check the manifests since `number` (0: the current one alone), and the tables that go with them."""
        with exclusive(self._home, "pins", timeout_s=PINS_TIMEOUT_S):
            pins = Pins(self._home.pins, trust=self._trust, suite=self._identity.suite)
            last = pins.last(self.node, self._offer.name)
            seen = documents.parse(last.document, Manifest).epoch if last is not None else 0
            since = min((epoch for epoch in (number, seen) if epoch), default=0)
            found = [
                Signed(document.document, document.signature, self.node, document.certificate)
                for document in lookup.fetch_manifests(self._channel, since_epoch=since)
            ]
            parsed = [documents.parse(signed.document, Manifest) for signed in found]
            recent = [signed for signed, manifest in zip(found, parsed, strict=True) if manifest.epoch >= seen]
            current = pins.accept(recent, node=self.node, product=self._offer.name, continuity=self._continuity)
        # What lies before the newest manifest seen is held by the chain: each names the hash of the one before.
        for before, after in itertools.pairwise(found):
            manifests.check_link(before, after, node=self.node)
        for signed, manifest in zip(found, parsed, strict=True):
            if manifest.epoch in (current.epoch, number) and manifest.epoch not in self._epochs:
                check_public_key(manifest)
                self._log(signed)
                self._epochs[manifest.epoch] = manifest, self._table(manifest)
        self._current = current.epoch

    def _table(self, manifest: Manifest) -> Table:
        """The epoch's table, from disk or from the node."""
        table_hash = from_base64(manifest.table_hash)
        directory = self._home.tables
        files.private_directory(directory)
        path = directory / f"{manifest.node}.{manifest.product}.{manifest.epoch}.{table_hash.hex()[:16]}.table"
        try:
            return tablefile.load(path, table_hash=table_hash)
        except FileNotFoundError:
            pass
        except DamagedTable:
            path.unlink()
        table = lookup.fetch_table(self._channel, spec=spec_of(manifest), table_hash=table_hash)
        temporary = directory / f".{path.name}.{secrets.token_hex(6)}.tmp"
        try:
            tablefile.save(table, temporary)
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        for old in directory.glob(f"{manifest.node}.{manifest.product}.*.table"):
            if int(old.name.split(".")[2]) < manifest.epoch - 1:
                old.unlink(missing_ok=True)
        # The mapped file rather than the fetched arrays: its pages are the system's to drop, and shared between
        # processes.
        return tablefile.load(path, table_hash=table_hash)


def keep_receipts(
    home: Home,
    identity: Identity,
    trust: Trust,
    receipts: Sequence[lookup.SignedDocument],
    *,
    node: str,
    product: str,
    protocol: str,
) -> None:
    """Check a node's receipts and append them to this party's own record.

    Raises:
        PolicyError: a receipt that is not genuine.
        PeerError: one for somebody else, or for another product.
    """
    if not receipts:
        return
    lines = []
    for document in receipts:
        signed = Signed(document.document, document.signature, node, document.certificate)
        receipt = verify_receipt(signed, trust=trust, node=node, suite=identity.suite)
        if (receipt.requester, receipt.product) != (identity.name, product):
            raise PeerError(
                "a receipt for somebody else, or for another product", party=node, protocol=protocol, step="Evaluation"
            )
        lines.append(documents.to_json(signed) + "\n")
    files.private_directory(home.receipts)
    path = home.receipts / f"{node}.{product}.jsonl"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, files.PRIVATE)
    try:
        os.write(handle, "".join(lines).encode())
    finally:
        os.close(handle)


def printable(text: str) -> str:
    """`text` with what a terminal would obey, and not show, replaced: a source's words end up in people's terminals."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def canonical_keys(keys: Sequence[Key], *, form: str) -> Packed:
    """The canonical bytes of keys. Raises InvalidIdentifier naming the row, UsageError for another number of values."""
    width = identifiers.key_columns(form)
    if any(len(key) != width for key in keys):
        raise UsageError(f"A key of the form {form} has {width} value(s). Give as many for each query.")
    if len(keys) == 1 and width == 1:
        return _one(identifiers.canonical(form, *keys[0]))
    return identifiers.canonical_columns(form, *([key[column] for key in keys] for column in range(width)))


def _one(data: bytes) -> Packed:
    return Packed(data=np.frombuffer(data, dtype=np.uint8), offsets=np.array([0, len(data)], dtype=np.int64))


def spec_of(manifest: Manifest) -> TableSpec:
    """What a verified manifest says of its epoch's table."""
    return TableSpec(
        suite=manifest.suite,
        product=manifest.product,
        epoch=manifest.epoch,
        key_form=manifest.key_form,
        answer_bytes=manifest.answer_bytes,
        default_answer=None if manifest.default_answer is None else from_base64(manifest.default_answer),
        rows=manifest.table_rows,
        public_key=from_base64(manifest.public_key),
    )


def check_public_key(manifest: Manifest) -> None:
    """Raises PeerError if the epoch's public key is no element of its group, before a consent is spent on it."""
    try:
        key = np.frombuffer(from_base64(manifest.public_key), dtype=np.uint8)
        suites.get(manifest.suite).group.check(key[None])
    except InvalidEncoding:
        raise PeerError(
            f"the public key of epoch {manifest.epoch} of {manifest.product} is no element of the group",
            party=manifest.node,
            protocol=manifests.PROTOCOL,
            step="Manifest",
        ) from None


def _is_over(error: PolicyError | None) -> bool:
    return error is not None and error.code == "epoch-not-served"


def _refused(error: PolicyError) -> Verdict:
    return Verdict(answered=False, found=False, answer=b"", label=None, refusal=error)


def _to_wire(signed: Signed) -> lookup.SignedDocument:
    return lookup.SignedDocument(signed.document, signed.signature, signed.certificate)


def _by_epoch(consents: Sequence[Issued]) -> Mapping[int, list[int]]:
    """Rows of consents by the epoch that they are for. The first token speaks for a pair; the node compares the two."""
    rows: dict[int, list[int]] = {}
    for row, issued in enumerate(consents):
        if not issued.tokens:
            raise UsageError("a consent without a token. Use the file that the identity platform handed over.")
        rows.setdefault(documents.parse(issued.tokens[0].document, Consent).epoch, []).append(row)
    return rows


def _from(progress: Callable[[Progress], None], start: int, total: int) -> Callable[[Progress], None]:
    """`progress` of a part, as progress of the whole."""
    return lambda part: progress(Progress(part.stage, start + part.done, total))


# Connecting -----------------------------------------------------------------------------------------------------------


def connect(
    home: Path,
    product: str,
    *,
    node: str | None = None,
    coordinator_at: str | None = None,
    scenario: str | None = None,
    resume_window_s: float = 30.0,
) -> Asker:
    """Connect to a product and check everything that can be checked before the first query.

    Args:
        home: this party's home directory, with an identity.
        product: the product's name.
        node: ``name@host:port``; or the name alone, where a coordinator knows the address; None where the coordinator
            knows only one node with this product.
        coordinator_at: ``name@host:port`` of the coordinator; None to do without one, and without its log of manifests.
        scenario: what for; None where the node's policy has only one scenario for this party.
        resume_window_s: how long a lost connection is dialled again, seconds.

    Raises:
        UsageError: neither node nor coordinator, no such product, more than one that could be meant.
        PolicyError: the node's policy does not allow it, or a certificate, pin or manifest is not in order.
        CheatingDetected: the manifest differs from the one that others got. Both are kept under ``pins/evidence``.
        ChannelError: the node cannot be reached.
    """
    own = Home(home)
    identity = Identity.load(home)
    trust = identity.trust()
    warnings: list[str] = []
    place = find(own, identity, product, node=node, coordinator_at=coordinator_at, warnings=warnings)
    description = describe(identity, place)
    offer = offer_of(description, product, suite=identity.suite)
    if offer.operator != lookup.OPERATOR.name:
        raise UsageError(
            f"{product} is served by {printable(offer.operator)[:63]}; have rows scored by `unseen score`."
        )
    continuity = [documents.from_json(text) for text in description.continuity]
    skew_s = (description.time_ms - time.time_ns() // 1_000_000) / 1000
    if abs(skew_s) > CLOCK_WARNING_S:
        warnings.append(
            f"the clock of {place.name} is {abs(skew_s):.0f} seconds {'ahead of' if skew_s > 0 else 'behind'} "
            "this one; compare both with NTP"
        )
    chosen = scenario_for(offer, place.name, scenario)
    hello = lookup_hello(session=secrets.token_hex(16), product=product, scenario=chosen, suite=offer.suite)
    connection = transport.connect(
        place.address,
        me=identity.name,
        peer=place.name,
        hello=hello,
        credentials=as_credentials(identity),
        resume_window_s=resume_window_s,
    )
    asker = Asker(
        own,
        identity,
        trust,
        connection,
        offer=offer,
        continuity=continuity,
        scenario=chosen,
        log=_log_comparison(own, identity, trust, coordinator_at, node=place.name, warnings=warnings),
        warnings=(),
    )
    try:
        asker.manifest  # noqa: B018  # fetched and checked now, so that what is wrong is said before the first query
    except BaseException:
        asker.close()
        raise
    asker.warnings = tuple(warnings)
    return asker


def find(
    home: Home,
    identity: Identity,
    product: str,
    *,
    node: str | None,
    coordinator_at: str | None,
    warnings: list[str],
) -> Place:
    """Where to ask. Arguments and errors as for `connect`; what went wrong without being fatal goes into `warnings`."""
    if node is not None and "@" in node:
        return Place(*split(node))
    if coordinator_at is None:
        raise UsageError("say where the product is: --node name@host:port, or --coordinator name@host:port.")
    places = [
        (Place(party.name, party.address), party.alive)
        for party in directory(home, identity, coordinator_at).parties
        if node in (None, party.name) and any(offered.name == product for offered in party.products)
    ]
    if not places:
        who = f"{node} offers" if node else "nobody offers"
        raise UsageError(f"by the coordinator, {who} no product {product!r}. `unseen products` lists what there is.")
    if len(places) > 1:
        raise UsageError(
            f"several nodes offer {product}: {', '.join(p.name for p, _ in places)}. Choose one with --node."
        )
    place, alive = places[0]
    if not alive:
        warnings.append(f"{place.name} has not announced itself to the coordinator for a while")
    return place


def places(home: Home, identity: Identity, *, node: str | None, coordinator_at: str | None) -> list[Place]:
    """The node named, or all nodes that the coordinator knows to be alive. Arguments and errors as for `connect`."""
    if node is not None and "@" in node:
        return [Place(*split(node))]
    if coordinator_at is None:
        raise UsageError("say whom to ask: --node name@host:port, or --coordinator name@host:port.")
    parties = directory(home, identity, coordinator_at).parties
    return [Place(party.name, party.address) for party in parties if party.alive and node in (None, party.name)]


def directory(home: Home, identity: Identity, coordinator_at: str) -> coordinator_pb2.Directory:
    """Everybody whom the coordinator knows; fetches its revocation list on the way. Raises ChannelError."""
    name, address = split(coordinator_at)
    with registrar.connect(identity, peer=name, address=address) as client:
        registrar.update_crl(home, client)
        return client.call(services.LIST, coordinator_pb2.ListRequest())


def describe(identity: Identity, place: Place) -> node_pb2.Description:
    """What a node says of itself, and on which terms this party may use it. Raises ChannelError."""
    with registrar.connect(identity, peer=place.name, address=place.address) as client:
        return client.call(services.DESCRIBE, node_pb2.DescribeRequest())


def fetch_manifest(
    home: Path, product: str, *, node: str | None, coordinator_at: str | None
) -> tuple[Signed, list[str]]:
    """The current manifest of a product, checked and pinned: what an identity platform needs to issue consents.

    Returns:
        The signed manifest, and warnings. Arguments and errors as for `connect`; no policy is needed.
    """
    own, identity, warnings = Home(home), Identity.load(home), list[str]()
    trust = identity.trust()
    place = find(own, identity, product, node=node, coordinator_at=coordinator_at, warnings=warnings)
    with registrar.connect(identity, peer=place.name, address=place.address) as client:
        description = client.call(services.DESCRIBE, node_pb2.DescribeRequest())
        offer_of(description, product, suite=identity.suite)
        continuity = [documents.from_json(text) for text in description.continuity]
        with exclusive(own, "pins", timeout_s=PINS_TIMEOUT_S):
            pins = Pins(own.pins, trust=trust, suite=identity.suite)
            last = pins.last(place.name, product)
            since = documents.parse(last.document, Manifest).epoch if last is not None else 0
            request = node_pb2.ListManifestsRequest(product=product, since_epoch=since)
            found = [documents.from_json(text) for text in client.call(services.LIST_MANIFESTS, request).manifests]
            pins.accept(found, node=place.name, product=product, continuity=continuity)
    _log_comparison(own, identity, trust, coordinator_at, node=place.name, warnings=warnings)(found[-1])
    return found[-1], warnings


def split(text: str) -> tuple[str, str]:
    """Name and address of ``name@host:port``. Raises UsageError for anything else."""
    try:
        return split_party_address(text)
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def offer_of(description: node_pb2.Description, product: str, *, suite: str) -> node_pb2.Product:
    """What a node says of one of its products. Raises PolicyError ``product-unknown``, ``product-wrong-suite``."""
    for offer in description.products:
        if offer.name == product:
            if offer.suite != suite:
                raise PolicyError(
                    f"{product} of {description.name} is of suite {offer.suite[:40]!r}, this party's keys of {suite!r}",
                    code="product-wrong-suite",
                    remedy="Ask as a party of the product's suite: `unseen node init --suite` makes one.",
                )
            return offer
    names = ", ".join(offer.name for offer in description.products) or "none"
    raise PolicyError(
        f"{description.name} has no product {product[:63]!r}; it has: {names}",
        code="product-unknown",
        remedy="Use one of these names.",
    )


def scenario_for(offer: node_pb2.Product, node: str, wanted: str | None) -> str:
    """The scenario to ask under. The node decides in the end; this spares a round trip and says what there is."""
    names = [term.scenario for term in offer.terms]
    if wanted is not None:
        return wanted
    if len(names) == 1:
        return names[0]
    if not names:
        raise PolicyError(
            f"{node} allows this party no scenario for {offer.name}",
            code="policy-denied",
            remedy="Ask the node's operator for a rule.",
        )
    raise UsageError(f"several scenarios are allowed: {', '.join(names)}. Choose one with --scenario.")


def _log_comparison(
    home: Home,
    identity: Identity,
    trust: Trust,
    coordinator_at: str | None,
    *,
    node: str,
    warnings: list[str],
) -> Callable[[Signed], None]:
    """Compares manifests with the coordinator's log; raises CheatingDetected where the node signed two."""

    def compare(mine: Signed) -> None:
        if coordinator_at is None:
            return
        name, address = split(coordinator_at)
        try:
            with registrar.connect(identity, peer=name, address=address) as client:
                answer = client.call(services.SHOW_MANIFEST, services.manifest_to_wire(mine))
        except ChannelError as error:
            warnings.append(f"the manifest was not compared with the coordinator's log: {error}")
            return
        if answer.same:
            return
        # The coordinator's word is not enough to accuse the node: two signatures of the node are.
        pins = Pins(home.pins, trust=trust, suite=identity.suite)
        pins.compare(mine, services.manifest_from_wire(answer.first), node=node)
        raise PeerError(
            "its log says that the manifest differs, and shows none of the same epoch that does",
            party=name,
            protocol="unseen.manifest.v1",
            step="FirstManifest",
        )

    return compare
