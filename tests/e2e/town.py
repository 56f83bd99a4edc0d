"""A small town for the tests: a CA, a civil-affairs node with a registry, a bank, a platform, all in real processes."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mpc.errors import MpcError
from mpc.wire.node.v1 import node_pb2
from tests.governance.world import World
from unseen import asker, services
from unseen.asker import Asker
from unseen.governance import ca, documents, enrolment, files, issuing, ledger
from unseen.governance.consent import Issued
from unseen.governance.documents import Signed, utc_now
from unseen.governance.ledger import LEDGER_FILE
from unseen.governance.manifest import Manifest
from unseen.home import Home
from unseen.rpc import Client

NODE, BANK, PLATFORM, COORDINATOR = "civil-affairs", "bank", "id-platform", "coordinator"
PRODUCT, SCENARIO = "marriage-status", "mortgage-approval"
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def resident_id(number: int) -> str:
    """A valid resident ID of nobody: the area code 999999 is not in use."""
    body = f"999999{1950 + number % 50:04d}{1 + number % 12:02d}{1 + number % 28:02d}{number % 1000:03d}"
    rest = sum(int(digit) * weight for digit, weight in zip(body, WEIGHTS, strict=True)) % 11
    return body + "10X98765432"[rest]


def married(number: int) -> bool:
    """What the registry says of person `number`."""
    return number % 3 == 0


def write_registry(path: Path, people: int = 300) -> None:
    """A registry whose rows are persons 0 … people - 1."""
    lines = [f"{resident_id(n)},{'married' if married(n) else 'unmarried'},secret" for n in range(people)]
    path.write_text("id,status,note\n" + "\n".join(lines) + "\n", encoding="utf-8")


PRODUCT_TOML = """
[[product]]
name = "{name}"
suite = "{suite}"
key_form = "resident-id"
requires_consent = {consent}
{issuers}
epoch = "{epoch}"
grace = "{grace}"

[product.data]
name = "registry"
source = "{source}"
keys = ["id"]
answer = "status"
codes = {{ unmarried = 0, married = 1 }}
"""


def product_toml(
    name: str = PRODUCT,
    *,
    consent: bool = True,
    epoch: str = "1h",
    grace: str = "10m",
    source: str = "registry.csv",
    suite: str = "intl",
) -> str:
    """A ``[[product]]`` of node.toml."""
    issuers = f'consent_issuers = ["{PLATFORM}"]' if consent else ""
    return PRODUCT_TOML.format(
        name=name,
        suite=suite,
        consent="true" if consent else "false",
        issuers=issuers,
        epoch=epoch,
        grace=grace,
        source=source,
    )


def rule_toml(product: str = PRODUCT, *, requester: str = BANK, scenario: str = SCENARIO, more: str = "") -> str:
    """An ``[[allow]]`` of policy.toml."""
    return f"""
[[allow]]
scenario = "{scenario}"
requester = "{requester}"
operator = "lookup.table"
product = "{product}"
data_set = "registry"
columns = ["id", "status"]
consent_issuers = ["{PLATFORM}"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2099-01-01T00:00:00Z
{more}
"""


@dataclass
class Process:
    """A process of this project, started by its command line."""

    popen: subprocess.Popen[str]
    log: Path
    address: str = ""

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.popen.terminate()
        return self.popen.wait(20)

    def kill(self) -> None:
        """SIGKILL."""
        self.popen.kill()
        self.popen.wait(20)

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8")


@dataclass
class Town:
    """Homes and processes. Made by the fixture `town`."""

    root: Path
    world: World
    processes: list[Process] = field(default_factory=list)

    def home(self, name: str) -> Home:
        return Home(self.root / name)

    # Processes ------------------------------------------------------------------------------------------------------

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
        """Start ``unseen …`` and wait for the line that says where it listens."""
        log = self.root / f"log-{len(self.processes)}.txt"
        with log.open("w") as errors:
            popen = subprocess.Popen(
                [sys.executable, "-m", "unseen", *arguments, "--json"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **(env or {})},
            )
        process = Process(popen, log)
        self.processes.append(process)
        assert popen.stdout is not None
        ready, _, _ = select.select([popen.stdout], [], [], 30)
        line = popen.stdout.readline() if ready else ""
        if not line:
            popen.kill()
            raise AssertionError(f"did not start:\n{process.log_text()}")
        process.address = json.loads(line)["address"]
        return process

    def start_node(
        self, name: str = NODE, *, wait_for: Sequence[str] = (PRODUCT,), env: Mapping[str, str] | None = None
    ) -> Process:
        """Start a node and wait until it serves these products."""
        process = self.start("node", "serve", "--home", str(self.root / name), env=env)
        for product in wait_for:
            until(lambda p=product: self.product_status(p, name).product.serving)
        return process

    def start_coordinator(self) -> Process:
        return self.start("coordinator", "serve", "--home", str(self.root / COORDINATOR))

    def stop_all(self) -> None:
        for process in self.processes:
            if process.popen.poll() is None:
                process.popen.terminate()
        for process in self.processes:
            try:
                process.popen.wait(20)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
            if process.popen.stdout is not None:
                process.popen.stdout.close()

    # Set-up ---------------------------------------------------------------------------------------------------------

    def write_node(
        self,
        name: str = NODE,
        *,
        products: str | None = None,
        policy: str | None = None,
        coordinator: str | None = None,
        listen: str = "127.0.0.1:0",
    ) -> None:
        """Write node.toml and policy.toml."""
        at = f'coordinator = "{COORDINATOR}@{coordinator}"\n' if coordinator else ""
        home = self.home(name)
        home.node_toml.write_text(f'listen = "{listen}"\n{at}{products or product_toml()}')
        home.policy_toml.write_text(rule_toml() if policy is None else policy)

    def status(self, name: str = NODE) -> node_pb2.NodeStatus:
        with Client.unix(self.home(name).socket(services.CONTROL_SOCKET)) as client:
            return client.call(services.STATUS, node_pb2.StatusRequest())

    def product_status(self, product: str = PRODUCT, name: str = NODE) -> node_pb2.ProductStatus:
        return next(one for one in self.status(name).products if one.product.name == product)

    def rotate(self, product: str = PRODUCT, name: str = NODE) -> int:
        """Begin the next epoch and wait for it."""
        before = self.product_status(product, name).product.epoch
        with Client.unix(self.home(name).socket(services.CONTROL_SOCKET)) as client:
            client.call(services.ROTATE, node_pb2.RotateRequest(product=product))
        until(lambda: self.product_status(product, name).product.epoch > before)
        return self.product_status(product, name).product.epoch

    # Asking ---------------------------------------------------------------------------------------------------------

    def connect(
        self,
        process: Process,
        product: str = PRODUCT,
        *,
        who: str = BANK,
        scenario: str | None = None,
        coordinator: Process | None = None,
    ) -> Asker:
        at = None if coordinator is None else f"{COORDINATOR}@{coordinator.address}"
        return asker.connect(
            self.root / who, product, node=f"{NODE}@{process.address}", coordinator_at=at, scenario=scenario
        )

    def manifest(self, number: int | None = None, product: str = PRODUCT, name: str = NODE) -> Signed:
        """A manifest from the node's own disk."""
        home = self.home(name)
        wanted = number or int((home.product(product) / "current").read_text())
        return documents.from_json(files.read(home.manifests(product) / f"{wanted}.json", what="a manifest"))

    def consents(
        self,
        people: Sequence[int] | Sequence[tuple[int, int]],
        *,
        requester: str = BANK,
        scenario: str = SCENARIO,
        issuer: str = PLATFORM,
        manifest: Signed | None = None,
        lifetime: timedelta = issuing.LIFETIME,
        now: datetime | None = None,
    ) -> list[Issued]:
        """Consents as the identity platform gives them."""
        signed = manifest or self.manifest()
        keys = [tuple(map(resident_id, one if isinstance(one, tuple) else (one,))) for one in people]
        return issuing.consent_for(
            self.world.identity(issuer).signer,
            documents.parse(signed.document, Manifest),
            keys=keys,
            scenario=scenario,
            requester=requester,
            lifetime=lifetime,
            now=now,
        )

    # The log --------------------------------------------------------------------------------------------------------

    def entries(self, name: str = NODE) -> list[dict[str, Any]]:
        return list(ledger.entries(self.root / name / LEDGER_FILE))

    def verify_log(self, name: str = NODE) -> ledger.Verified:
        return ledger.verify(self.root / name / LEDGER_FILE)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``unseen …`` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "unseen", *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"unseen {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done


def enrol(world: World, name: str, *, suite: str = "intl") -> None:
    """Enrol a party, as of yesterday: its certificates are valid on a machine whose clock is somewhat behind, too."""
    yesterday = utc_now() - timedelta(days=1)
    request = enrolment.init_party(world.home(name), name, suite=suite, now=yesterday)
    signed = ca.sign_request(world.ca, request.path.read_bytes(), now=yesterday)
    enrolment.install_bundle(world.home(name), signed.bundle)


@contextmanager
def town(root: Path, *, people: int = 300, suite: str = "intl") -> Iterator[Town]:
    """A town with enrolled parties, a registry, and nothing running."""
    made = Town(root, World(root))
    ca.init_ca(made.world.ca, now=utc_now() - timedelta(days=1))
    for name in (NODE, BANK, PLATFORM):
        enrol(made.world, name, suite=suite)
    write_registry(root / NODE / "registry.csv", people)
    made.write_node(products=product_toml(suite=suite))
    try:
        yield made
    finally:
        made.stop_all()


def add_coordinator(made: Town) -> Process:
    """Enrol and start a coordinator; it takes the revocation list from the CA's own directory."""
    if not (made.root / COORDINATOR).exists():
        enrol(made.world, COORDINATOR)
    crl = made.world.ca / "crl.pem"
    made.home(COORDINATOR).coordinator_toml.write_text(f'listen = "127.0.0.1:0"\ncrl = "{crl}"\nheartbeat = "1s"\n')
    return made.start_coordinator()


def until(done: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Wait until `done()`. What is not reachable yet is not done."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if done():
                return
        except (MpcError, OSError, StopIteration):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not done within {timeout_s:g} s")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
