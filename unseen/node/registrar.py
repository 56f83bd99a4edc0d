"""What a node does with its coordinator, in one thread: announce itself, fetch the revocation list, show its manifests.

The products serve whether there is a coordinator or not; what is wrong between the two is said in the log and in the
status.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mpc.errors import MpcError
from mpc.wire.coordinator.v1 import coordinator_pb2 as wire
from unseen import __version__, services
from unseen.governance import enrolment
from unseen.governance.documents import Signed
from unseen.governance.enrolment import Identity
from unseen.home import Home
from unseen.rpc import Client
from unseen.settings import split_party_address

FIRST_HEARTBEAT_S = 2.0
"""How soon to try again while the coordinator has not said how often it wants to hear, seconds."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Announced:
    """What a node tells at one moment: where it is, what it offers, and its current manifests by product."""

    address: str
    products: tuple[wire.ProductState, ...]
    manifests: tuple[Signed, ...] = field(repr=False)


class Registrar:
    """A node's side of the coordinator. `start` it once; `stop` it once."""

    def __init__(
        self,
        home: Home,
        coordinator_address: str,
        *,
        identity: Callable[[], Identity],
        announced: Callable[[], Announced],
    ) -> None:
        """
        Args:
            home: the node's home; its revocation list is replaced by newer ones.
            coordinator_address: ``name@host:port``.
            identity: the node's present identity.
            announced: what there is to tell at this moment.
        """
        self._home = home
        self._peer, self._address = split_party_address(coordinator_address)
        self._identity = identity
        self._announced = announced
        self._shown: set[bytes] = set()
        self._contradicted: tuple[str, ...] = ()
        self._stop = threading.Event()
        self._soon = threading.Event()
        self.problem = "not announced yet"
        """What is wrong, for people; empty when nothing is."""
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)

    def start(self) -> None:
        """Begin to announce."""
        self._thread.start()

    def soon(self) -> None:
        """Something changed: announce at once."""
        self._soon.set()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._soon.set()
        self._thread.join()

    def _run(self) -> None:
        used: Identity | None = None
        client: Client | None = None
        while not self._stop.is_set():
            pause = FIRST_HEARTBEAT_S
            if used is not self._identity() or client is None:  # a renewed certificate needs a new connection
                used = self._identity()
                if client is not None:
                    client.close()
                client = connect(used, peer=self._peer, address=self._address)
            try:
                pause = float(self._once(client))
            except MpcError as error:
                self._say(str(error))
            except OSError as error:
                self._say(f"the revocation list cannot be written: {error.strerror}")
            self._soon.wait(pause)
            self._soon.clear()
        if client is not None:
            client.close()

    def _once(self, client: Client) -> int:
        now = self._announced()
        request = wire.Announcement(address=now.address, version=__version__, products=now.products)
        answer = client.call(services.ANNOUNCE, request)
        update_crl(self._home, client, offered=answer.crl_number)
        for manifest in now.manifests:
            self._show(client, manifest)
        self._say("; ".join(self._contradicted))
        return max(1, answer.heartbeat_s)

    def _show(self, client: Client, manifest: Signed) -> None:
        if manifest.document in self._shown:
            return
        first = client.call(services.SHOW_MANIFEST, services.manifest_to_wire(manifest))
        self._shown.add(manifest.document)
        if not first.same:
            # Either this state directory was restored from an old backup, or somebody else signs with this node's key.
            problem = "the coordinator has another manifest, signed by this node, for an epoch that this node serves"
            self._contradicted = (*self._contradicted, problem)
            _log.error("%s", problem)

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            if problem:
                _log.warning("coordinator %s: %s", self._peer, problem)
            else:
                _log.info("announced to coordinator %s", self._peer)
            self.problem = problem


def connect(identity: Identity, *, peer: str, address: str) -> Client:
    """A client of the coordinator, or of another party's node."""
    return Client(
        address, peer=peer, key_pem=identity.tls_key, cert_pem=identity.tls_certificate, root_pem=identity.root
    )


def update_crl(home: Home, client: Client, *, offered: int | None = None) -> bool:
    """Install the coordinator's revocation list if it is newer than one's own. Returns whether it was.

    It is not fetched where `offered`, the number that the coordinator states, says that it is not newer.

    Raises:
        PolicyError: ``crl-untrusted``: the list is not signed by the CA's root.
        ChannelError: the coordinator was not reached.
        OSError: the list cannot be written.
    """
    if offered is not None and offered <= enrolment.crl_number(home.root):
        return False
    newer = enrolment.update_crl(home.root, client.call(services.GET_CRL, wire.GetCrlRequest()).pem)
    if newer:
        _log.info("revocation list %d installed", enrolment.crl_number(home.root))
    return newer
