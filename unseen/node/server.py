"""The party node's own process: `unseen node serve`.

It authenticates, asks the policy, meters, and forwards opaque frames to the products' processes. It computes nothing
and holds no product's key, so that a product that crashes, or one that is slow, is that product's matter.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping

import grpc
from grpc_health.v1 import health

from mpc.errors import PolicyError
from mpc.transport import grpc as transport
from mpc.transport.grpc import Relay, Target, Usage, Words
from mpc.wire.coordinator.v1 import coordinator_pb2
from mpc.wire.node.v1 import node_pb2 as wire
from protocols.learning import release
from protocols.lookup import table as lookup
from unseen import __version__, process, rpc, server, services
from unseen.governance import ledger as ledgers
from unseen.governance.documents import Signed, format_time, to_json
from unseen.governance.enrolment import Identity
from unseen.governance.ledger import Ledger, Note
from unseen.home import Home, exclusive, prepare, sweep
from unseen.jobs.operators import OPERATORS
from unseen.node import epochs, sealing, settings
from unseen.node.epochs import EpochStore
from unseen.node.gate import Gate, for_peer, name_or_none
from unseen.node.jobs import Jobs
from unseen.node.pipes import Report
from unseen.node.registrar import Announced, Registrar
from unseen.node.settings import NodeSettings, Product, Scorer, Served
from unseen.node.supervisor import Supervisor
from unseen.rpc import Caller, bound
from unseen.watch import Watched, stamp_of

UNARY_THREADS = 16
"""Threads for calls other than sessions."""
WATCH_EVERY_S = 0.5
MANIFESTS_AT_ONCE = 1000

_MODULES: Mapping[type[Served], str] = {Product: "unseen.node.product", Scorer: "unseen.node.scorer"}
_VERSIONS = {one.name: one.version for one in (lookup.OPERATOR, *release.OPERATORS.values())}
"""Of the operators of products, by name."""

_log = logging.getLogger(__name__)


class Node:
    """One party node at work. Made and run by `serve`."""

    def __init__(self, home: Home, values: NodeSettings, identity: Watched[Identity], ledger: Ledger) -> None:
        self._home = home
        self._settings = values
        self._identity = identity
        self._trust = identity.get().trust()
        self._gate = Gate(home)
        self._ledger = ledger
        self._address = values.address
        # Of whoever was let in, to look at again when the revocation list changes. No more than the CA has issued.
        self._certificates: set[tuple[str, bytes]] = set()
        self._told: dict[str, tuple[int, bool, str]] = {}
        self._health: health.HealthServicer | None = None
        self._relay = Relay(self._admit, me=identity.get().name, ended=_meter)
        self._supervisors = {
            one.name: Supervisor(home, one.name, module=_MODULES[type(one)], changed=self._changed)
            for one in values.served
        }
        self._jobs = (
            None
            if values.coordinator is None
            else Jobs(
                home,
                values,
                identity=identity.get,
                trust=self._trust,
                gate=self._gate,
                ledger=ledger,
                coordinator=values.coordinator,
                gone=self._relay.forget,
            )
        )
        self._outward = Relay(self._dispatch, me=None, local=True, ended=_meter)
        self._registrar = (
            None
            if values.coordinator is None
            else Registrar(home, values.coordinator, identity=identity.get, announced=self._announced)
        )

    # What is served -------------------------------------------------------------------------------------------------

    def describe(self, _: wire.DescribeRequest, caller: Caller) -> wire.Description:
        """What this node offers, and on which terms to the caller."""
        return wire.Description(
            name=self._identity.get().name,
            time_ms=_now_ms(),
            version=__version__,
            products=[self._describe(product, caller.name) for product in self._settings.served],
            continuity=[to_json(statement) for statement in self._identity.get().continuity],
        )

    def list_manifests(self, request: wire.ListManifestsRequest, _: Caller) -> wire.Manifests:
        """The product's manifests up to the current one, at most `MANIFESTS_AT_ONCE` of them, the newest."""
        product = self._settings.find(request.product)
        if product is None:
            raise _unknown(request.product)
        epoch = self._supervisors[product.name].report.epoch
        if not epoch:
            raise epochs.not_ready()
        epochs.check_begun(request.since_epoch, epoch)
        first = max(request.since_epoch or epoch, epoch - MANIFESTS_AT_ONCE + 1)
        found = EpochStore(self._home, product.name).manifests(first, epoch)
        return wire.Manifests(manifests=[to_json(signed) for _, signed in found])

    def rotate(self, request: wire.RotateRequest, _: Caller) -> wire.RotateReply:
        """Ask a product's process for its next epoch."""
        supervisor = self._supervisors.get(request.product)
        if supervisor is None:
            raise settings.no_product(request.product)
        if not supervisor.rotate():
            raise PolicyError(
                f"the process of {request.product} is being restarted",
                code="product-restarting",
                remedy="Try again in a moment; `unseen node status` and the log say what is wrong.",
            )
        return wire.RotateReply(epoch=supervisor.report.building or supervisor.report.epoch + 1)

    def status(self, _: wire.StatusRequest, __: Caller) -> wire.NodeStatus:
        """How the node is."""
        products = []
        for product in self._settings.served:
            supervisor = self._supervisors[product.name]
            products.append(
                wire.ProductStatus(
                    product=self._describe(product, ""),
                    pid=supervisor.pid,
                    restarts=supervisor.restarts,
                    building=supervisor.report.building,
                    sessions=supervisor.report.sessions,
                )
            )
        return wire.NodeStatus(
            name=self._identity.get().name,
            time_ms=_now_ms(),
            version=__version__,
            address=self._address,
            products=products,
            coordinator=self._settings.coordinator or "",
            coordinator_problem="" if self._registrar is None else self._registrar.problem,
            policy_problem=self._gate.problem,
            jobs=self._jobs.status() if self._jobs is not None else [],
        )

    def _describe(self, product: Served, requester: str) -> wire.Product:
        report = self._supervisors[product.name].report
        answers = (product.data.codes or {}) if isinstance(product, Product) else {}
        codes = sorted((code, label) for label, code in answers.items())
        terms = self._gate.terms(product, requester=requester) if requester else {}
        return wire.Product(
            name=product.name,
            operator=product.operator,
            operator_version=_VERSIONS[product.operator],
            suite=product.suite,
            key_form=product.form,
            pair=product.pair,
            answer_bytes=product.answer_bytes if isinstance(product, Product) else 0,
            codes=[wire.AnswerCode(code=code, label=label) for code, label in codes],
            requires_consent=product.requires_consent,
            terms=[
                wire.Term(
                    scenario=scenario,
                    consent_issuers=sorted(set(rule.consent_issuers).intersection(product.consent_issuers)),
                    calls_per_day=rule.calls_per_day or 0,
                    valid_until=format_time(rule.valid_until),
                )
                for scenario, rule in terms.items()
            ],
            epoch=report.epoch,
            epoch_ends=report.epoch_ends,
            serving=report.serving,
            problem=report.problem,
        )

    # The gate -------------------------------------------------------------------------------------------------------

    def _admit(self, caller: transport.Caller, words: Words) -> Target:
        """Whether a session may be opened, and with which process. Every refusal is in the audit log."""
        try:
            if self._jobs is not None and not words.hello.product:
                target = self._jobs.admit(caller.name, words)
            else:
                target = self._admit_to_product(caller.name, words)
            if len(self._relay.usage()) >= self._settings.max_sessions:
                raise PolicyError(
                    f"{self._settings.max_sessions} sessions are open",
                    code="too-many-sessions",
                    remedy="Try again later.",
                )
        except PolicyError as error:
            _log.warning("session of %s refused: %s", caller.name, error)
            self._ledger.commit([_refusal(error.code, caller.name, words)])
            raise for_peer(error) from None
        if caller.certificate is not None:
            self._certificates.add((caller.name, caller.certificate))
        return target

    def _admit_to_product(self, requester: str, words: Words) -> Target:
        hello = words.hello
        product = self._settings.find_served(hello.product)
        if product is None:
            raise _unknown(hello.product)
        if hello.operator != product.operator:
            raise PolicyError(
                f"{product.name} is served by {product.operator}, asked was {hello.operator[:63]!r}",
                code="operator-unknown",
                remedy="Use the operator that the node's description names.",
            )
        self._gate.decide(product, requester=requester, scenario=hello.scenario)
        return Target(f"unix:{self._home.socket(product.name)}")

    def _dispatch(self, caller: transport.Caller, words: Words) -> Target:
        """Where a stream of an own worker goes: to the node of another party of its job."""
        if self._jobs is None:
            raise PolicyError("this node has no coordinator, so it has no jobs", code="job-unknown")
        try:
            return self._jobs.dispatch(caller, words)
        except PolicyError as error:
            _log.warning("stream of an own worker to %s refused: %s", words.receiver, error)
            self._ledger.commit([_refusal(error.code, self._identity.get().name, words)])
            raise

    # Watching -------------------------------------------------------------------------------------------------------

    def _changed(self, product: str, report: Report) -> None:
        if self._health is not None:
            server.set_health(self._health, product, serving=report.serving)
        news = report.epoch, report.serving, report.problem
        if self._registrar is not None and self._told.get(product) != news:
            self._told[product] = news  # a session that opens or closes is not worth an announcement
            self._registrar.soon()

    def _announced(self) -> Announced:
        states, manifests = [], []
        for product in self._settings.served:
            report = self._supervisors[product.name].report
            states.append(
                coordinator_pb2.ProductState(
                    name=product.name,
                    operator=product.operator,
                    operator_version=_VERSIONS[product.operator],
                    suite=product.suite,
                    key_form=product.form,
                    epoch=report.epoch,
                    serving=report.serving,
                    problem=report.problem,
                )
            )
            if report.epoch and isinstance(product, Product):
                manifests.append(self._manifest(product, report.epoch))
        return Announced(self._address, tuple(states), tuple(manifests))

    def _manifest(self, product: Product, epoch: int) -> Signed:
        return EpochStore(self._home, product.name).manifest(epoch)

    def _watch(self, stop: threading.Event) -> None:
        """Until told to stop: cut off whoever was revoked, and note a changed policy in the audit log."""
        crl, policy = stamp_of(self._home.crl), self._gate.policy.sha256
        while not stop.wait(WATCH_EVERY_S):
            if (stamp := stamp_of(self._home.crl)) != crl:
                crl = stamp
                self._cut_revoked()
            if (present := self._gate.policy.sha256) != policy:
                policy = present
                result = "unreadable" if self._gate.problem else "ok"
                self._try_note(Note(kind="policy", result=result, input=present))

    def _cut_revoked(self) -> None:
        """End the sessions of parties whose certificates are no longer good."""
        for peer, certificate in list(self._certificates):
            try:
                self._trust.tls_party(ssl.DER_cert_to_PEM_cert(certificate).encode())
            except PolicyError as error:
                count = self._relay.cut(peer, error) + self._outward.cut(peer, error)
                self._certificates.discard((peer, certificate))
                _log.warning("%s: %s; %d sessions were cut", peer, error, count)

    def _try_note(self, note: Note) -> None:
        try:
            self._ledger.commit([note])
        except PolicyError as error:
            _log.error("%s", error)

    # Life -----------------------------------------------------------------------------------------------------------

    def run(self, *, ready: Callable[[str, str], None]) -> None:
        """Serve until SIGTERM or SIGINT."""
        stop = process.until_told_to_stop()
        public = server.make_server(
            trust=self._trust,
            threads=self._settings.max_sessions + UNARY_THREADS,
            options=transport.server_options(),
        )
        self._relay.add_to(public)
        rpc.add_methods(
            public,
            [bound(services.DESCRIBE, self.describe), bound(services.LIST_MANIFESTS, self.list_manifests)],
            identify=rpc.by_certificate(lambda: self._trust),
        )
        self._health = server.add_health(public, [services.NODE, transport.SERVICE])
        port = server.bind(public, self._settings.listen, server.credentials(self._identity.get))
        if self._settings.advertise is None:
            self._address = f"{self._settings.listen.rpartition(':')[0]}:{port}"
        control = self._control()
        outward = self._serve_workers()
        self._try_note(Note(kind="start", result="ok"))
        for name, supervisor in self._supervisors.items():
            server.set_health(self._health, name, serving=False)
            supervisor.start()
        if self._jobs is not None:
            self._jobs.start()  # first, so that nobody hears that a job which goes on is unknown
        public.start()
        server.set_health(self._health, "", serving=True)
        server.set_health(self._health, services.NODE, serving=True)
        if self._registrar is not None:
            self._registrar.start()
        watcher = threading.Thread(target=self._watch, args=(stop,), name="watcher", daemon=True)
        watcher.start()
        _log.info("node %s listens on %s", self._identity.get().name, self._address)
        ready(self._identity.get().name, self._address)
        stop.wait()
        _log.info("stopping")
        self._health.enter_graceful_shutdown()
        if self._jobs is not None:
            self._jobs.stop()
        if self._registrar is not None:
            self._registrar.stop()
        for supervisor in self._supervisors.values():
            supervisor.ask_to_stop()
        stopped = public.stop(server.DRAIN_S)
        for supervisor in self._supervisors.values():
            supervisor.wait()
        stopped.wait()
        control.stop(None).wait()
        outward.stop(None).wait()
        self._relay.close()
        self._outward.close()
        watcher.join()

    def _serve_workers(self) -> grpc.Server:
        """The way out for the node's own workers: a Unix socket in the same directory."""
        path = self._home.socket(services.OUT_SOCKET)
        path.unlink(missing_ok=True)
        outward = transport.make_server(streams=self._settings.max_sessions)
        self._outward.add_to(outward)
        transport.bind(outward, f"unix:{path}", None)
        outward.start()
        return outward

    def _control(self) -> grpc.Server:
        """The owner's own door: a Unix socket in a directory that nobody else can enter."""
        path = self._home.socket(services.CONTROL_SOCKET)
        path.unlink(missing_ok=True)
        control = server.make_server(trust=None, threads=2)
        rpc.add_methods(
            control, [bound(services.ROTATE, self.rotate), bound(services.STATUS, self.status)], identify=rpc.owner
        )
        control.add_insecure_port(f"unix:{path}")
        control.start()
        return control


def _refusal(code: str, requester: str, words: Words) -> Note:
    """An audit entry for a session that was not opened. Words that are no names are left out: anybody can send them."""
    hello = words.hello
    return Note(
        kind="refusal",
        result=code,
        requester=requester,
        scenario=name_or_none(hello.scenario),
        product=name_or_none(hello.product),
        operator=hello.operator if hello.operator in (*_VERSIONS, *OPERATORS) else None,
        operator_version=hello.operator_version,
    )


def _unknown(product: str) -> PolicyError:
    return PolicyError(
        f"there is no product {product[:63]!r} here",
        code="product-unknown",
        remedy="`unseen products` lists what there is.",
    )


def _meter(usage: Usage) -> None:
    hello = usage.words.hello
    _log.info(
        "session of %s with %s over: %.1f s, %d bytes in, %d bytes out%s",
        usage.words.sender,
        hello.product or f"job {hello.session}",
        usage.seconds,
        usage.bytes_forth,
        usage.bytes_back,
        f" ({usage.error})" if usage.error else "",
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def serve(home: Home, *, ready: Callable[[str, str], None]) -> None:
    """Run the node of `home` until SIGTERM or SIGINT.

    Args:
        home: its home directory, with an identity, node.toml and policy.toml.
        ready: called once it listens, with the party's name and the address. Products may still be building.

    Raises:
        UsageError: settings, identity or address are not in order.
        PolicyError: ``ledger-unavailable``.
    """
    values = settings.load(home)
    prepare(home)
    with exclusive(home, "node"):
        if left := sweep(home):
            _log.info("removed %d temporary files that an earlier process had left", left)
        identity = server.watched_identity(home.root)
        for product in values.served:
            settings.check_suite(product, identity.get().suite)
        sealing.storage_key(home.storage_key)
        with ledgers.open_ledger(home.ledger, node=identity.get().name, suite=identity.get().suite) as ledger:
            Node(home, values, identity, ledger).run(ready=ready)
