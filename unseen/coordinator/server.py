"""The coordinator's process: `unseen coordinator serve`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from mpc.errors import UsageError
from mpc.wire.coordinator.v1 import coordinator_pb2 as wire
from unseen import process, rpc, server, services
from unseen.coordinator import settings
from unseen.coordinator.jobs import Board
from unseen.coordinator.registry import Contradiction, Party, ProductState, Registry, now_ms, open_registry
from unseen.coordinator.settings import CoordinatorSettings
from unseen.governance import documents, files
from unseen.governance.documents import Signed
from unseen.governance.manifest import Manifest
from unseen.governance.trust import Trust, load_root, parse_crl
from unseen.home import Home, exclusive, prepare
from unseen.jobs import papers
from unseen.jobs.papers import check_permitted
from unseen.rpc import Caller, bound
from unseen.settings import check_address

THREADS = 16
MOST_PRODUCTS = 1000
MISSED_HEARTBEATS = 3

_log = logging.getLogger(__name__)


class Coordinator:
    """The methods of the service, over a registry and a board of jobs."""

    def __init__(
        self, registry: Registry, board: Board, *, trust: Trust, root: bytes, crl: Path, heartbeat_s: int
    ) -> None:
        """
        Args:
            registry: what is known.
            board: the jobs.
            trust: checks the signers of manifests.
            root: the CA's root, PEM.
            crl: path of the CA's revocation list.
            heartbeat_s: how often nodes shall announce themselves, seconds.
        """
        self._registry = registry
        self._board = board
        self._trust = trust
        self._root = load_root(root)
        self._crl = crl
        self._heartbeat_s = heartbeat_s

    def announce(self, request: wire.Announcement, caller: Caller) -> wire.Announced:
        """Take in what a node says of itself. Its name is the certificate's."""
        try:
            check_address(request.address)
        except ValueError as error:
            raise UsageError(f"{error}. Set `advertise` in node.toml.") from None
        if len(request.products) > MOST_PRODUCTS or len(request.version) > 40:
            raise UsageError(f"an announcement holds at most {MOST_PRODUCTS} products and a short version.")
        self._registry.announce(
            Party(
                name=caller.name,
                address=request.address,
                version=request.version,
                seen_ms=now_ms(),
                products=tuple(_product(product) for product in request.products),
            )
        )
        _, number = self._read_crl()
        return wire.Announced(time_ms=now_ms(), heartbeat_s=self._heartbeat_s, crl_number=number)

    def list(self, _: wire.ListRequest, __: Caller) -> wire.Directory:
        """Everybody who is known."""
        now = now_ms()
        latest = MISSED_HEARTBEATS * self._heartbeat_s * 1000
        return wire.Directory(
            time_ms=now,
            parties=[
                wire.Party(
                    name=party.name,
                    address=party.address,
                    version=party.version,
                    products=[wire.ProductState(**vars(product)) for product in party.products],
                    seen_ms=party.seen_ms,
                    alive=now - party.seen_ms <= latest,
                )
                for party in self._registry.parties()
            ],
        )

    def get_crl(self, _: wire.GetCrlRequest, __: Caller) -> wire.Crl:
        """The revocation list."""
        return wire.Crl(pem=self._read_crl()[0])

    def show_manifest(self, request: wire.Manifest, caller: Caller) -> wire.FirstManifest:
        """Compare a manifest with the first one shown for its epoch."""
        signed = Signed(request.document, request.signature, request.signer, request.certificate)
        claimed = documents.parse(signed.document, Manifest)
        manifest = documents.verify(
            signed, Manifest, trust=self._trust, signer=claimed.node, signer_field="node", suite=claimed.suite
        )
        first = self._registry.show(
            signed, node=manifest.node, product=manifest.product, epoch=manifest.epoch, shown_by=caller.name
        )
        same = first.document == signed.document
        if not same:
            _log.error(
                "CHEATING: %s signed two manifests for epoch %d of %s; %s showed the second. Both are kept.",
                *(manifest.node, manifest.epoch, manifest.product, caller.name),
            )
        return wire.FirstManifest(same=same, first=services.manifest_to_wire(first))

    def list_evidence(self, _: wire.ListEvidenceRequest, __: Caller) -> wire.Evidence:
        """Everything that was kept as evidence. Anybody may see it: it convinces by its signatures."""
        return wire.Evidence(contradictions=[_contradiction(found) for found in self._registry.contradictions()])

    # Jobs -----------------------------------------------------------------------------------------------------------

    def submit_job(self, request: wire.JobSubmission, caller: Caller) -> wire.JobState:
        """Put a job on the board, if the grant is genuine and for this. Whether it runs, the parties' nodes decide."""
        text = papers.from_wire(request.papers)
        found = papers.read(text)
        job = found.job
        check_permitted(found, trust=self._trust, begins=True, requester=caller.name)
        known = {party.name for party in self._registry.parties()}
        if absent := sorted(set(job.head.parties) - known):
            raise UsageError(f"{absent[0]} has no node that announced itself here. Start it, with this coordinator.")
        made = self._board.submit(found.id, text, requester=caller.name, parties=job.head.parties)
        _log.info("job %s: %s for %s by %s", made.id, job.head.operator, job.head.scenario, caller.name)
        return made

    def get_job(self, request: wire.JobRequest, caller: Caller) -> wire.JobState:
        """How a job is."""
        return self._board.get(request.id, who=caller.name)

    def cancel_job(self, request: wire.JobRequest, caller: Caller) -> wire.JobState:
        """End a job."""
        return self._board.cancel(request.id, who=caller.name)

    def list_jobs(self, request: wire.ListJobsRequest, caller: Caller) -> wire.Jobs:
        """The caller's jobs."""
        return wire.Jobs(jobs=self._board.list(who=caller.name, limit=request.limit))

    def sync_jobs(self, request: wire.JobNews, caller: Caller) -> wire.JobOrders:
        """A node's jobs: how they are, and what is wanted."""
        return self._board.sync(request.jobs, party=caller.name, address=self._address)

    def _address(self, name: str) -> str:
        return next((party.address for party in self._registry.parties() if party.name == name), "")

    def _read_crl(self) -> tuple[bytes, int]:
        pem = files.read(self._crl, what="the CA's revocation list")
        return pem, parse_crl(pem, root=self._root).number


def _product(product: wire.ProductState) -> ProductState:
    words = (product.name, product.operator, product.suite, product.key_form)
    if any(len(word) > 80 or not word.isprintable() for word in words):
        raise UsageError("names in an announcement are short and printable.")
    return ProductState(
        name=product.name,
        operator=product.operator,
        operator_version=product.operator_version,
        suite=product.suite,
        key_form=product.key_form,
        epoch=min(product.epoch, 2**63 - 1),
        serving=product.serving,
        problem="".join(letter for letter in product.problem[:1000] if letter.isprintable()),
    )


def _contradiction(found: Contradiction) -> wire.Contradiction:
    return wire.Contradiction(
        node=found.node,
        product=found.product,
        epoch=found.epoch,
        first=services.manifest_to_wire(found.first),
        other=services.manifest_to_wire(found.other),
        shown_by=found.shown_by,
        shown_ms=found.shown_ms,
    )


def serve(home: Home, *, ready: Callable[[str, str], None]) -> None:
    """Run the coordinator of `home` until SIGTERM or SIGINT.

    Args:
        home: its home directory, with an identity and coordinator.toml.
        ready: called once it listens, with the party's name and the address.

    Raises:
        UsageError: settings, identity or address are not in order.
    """
    values: CoordinatorSettings = settings.load(home)
    prepare(home)
    with exclusive(home, "coordinator"):
        identity = server.watched_identity(home.root)
        crl = settings.crl_path(home, values)
        trust = Trust(identity.get().root, crl)
        registry = open_registry(home.state / "coordinator.db")
        board = Board(home.state / "jobs.db", lost_after_ms=MISSED_HEARTBEATS * 1000 * values.heartbeat)
        service = Coordinator(
            registry,
            board,
            trust=trust,
            root=identity.get().root,
            crl=crl,
            heartbeat_s=values.heartbeat,
        )
        grpc_server = server.make_server(trust=trust, threads=THREADS)
        rpc.add_methods(
            grpc_server,
            [
                bound(services.ANNOUNCE, service.announce),
                bound(services.LIST, service.list),
                bound(services.GET_CRL, service.get_crl),
                bound(services.SHOW_MANIFEST, service.show_manifest),
                bound(services.LIST_EVIDENCE, service.list_evidence),
                bound(services.SUBMIT_JOB, service.submit_job),
                bound(services.GET_JOB, service.get_job),
                bound(services.CANCEL_JOB, service.cancel_job),
                bound(services.LIST_JOBS, service.list_jobs),
                bound(services.SYNC_JOBS, service.sync_jobs),
            ],
            identify=rpc.by_certificate(lambda: trust),
        )
        states = server.add_health(grpc_server, [services.COORDINATOR])
        port = server.bind(grpc_server, values.listen, server.credentials(identity.get))
        stop = process.until_told_to_stop()
        grpc_server.start()
        server.set_health(states, "", serving=True)
        server.set_health(states, services.COORDINATOR, serving=True)
        address = f"{values.listen.rpartition(':')[0]}:{port}"
        _log.info("coordinator %s listens on %s", identity.get().name, address)
        ready(identity.get().name, address)
        stop.wait()
        states.enter_graceful_shutdown()
        grpc_server.stop(server.DRAIN_S).wait()
        registry.close()
        board.close()
