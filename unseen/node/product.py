"""The resident process of one lookup product: its epochs, and its askers' sessions (see `unseen.node.resident`)."""

from __future__ import annotations

import sys

from mpc.channel import Channel
from mpc.rng import Rng
from mpc.transport.grpc import Accepted, Hello
from protocols.lookup import table as lookup
from unseen import server
from unseen.governance import ledger as ledgers
from unseen.governance.ledger import Note
from unseen.hello import lookup_hello
from unseen.home import Home
from unseen.node import resident, settings
from unseen.node.desk import Desk
from unseen.node.gate import Gate
from unseen.node.pipes import Report
from unseen.node.rotation import Rotation


class LookupWork:
    """What a lookup product does; see ``resident.Work``."""

    def __init__(self, desk: Desk, rotation: Rotation) -> None:
        self._desk = desk
        self._rotation = rotation
        self.name = desk.product.name
        self.rotate = rotation.request
        self.tick = rotation.tick
        self.refusal = desk.refusal

    def hello(self, theirs: Hello) -> Hello:
        """See ``resident.Work``."""
        product = self._desk.product
        return lookup_hello(session=theirs.session, product=product.name, scenario=theirs.scenario, suite=product.suite)

    def talk(self, accepted: Accepted, rng: Rng) -> int:
        """See ``resident.Work``."""
        channel = Channel(accepted.lane, protocol=lookup.OPERATOR.name, timeout_s=resident.IDLE_S)
        return lookup.send(channel, service=self._desk, rng=rng)

    def report(self) -> Report:
        """See ``resident.Work``."""
        current = self._rotation.current
        return Report(
            epoch=current.number if current is not None else 0,
            epoch_ends=current.manifest.not_after if current is not None else "",
            serving=current is not None,
            building=self._rotation.building,
            problem=self._rotation.problem,
        )


def serve(home: Home, name: str) -> None:
    """Run the product's process until the node ends. Raises UsageError when settings or state are not in order."""
    product = settings.load(home).find(name)
    if product is None:
        raise settings.no_product(name)
    identity = server.watched_identity(home.root)
    settings.check_suite(product, identity.get().suite)
    trust = identity.get().trust()
    ledger = ledgers.open_ledger(home.ledger, node=identity.get().name, suite=identity.get().suite)
    rotation = Rotation(home, product, signer=lambda: identity.get().signer, ledger=ledger)
    desk = Desk(product, identity.get, lambda: trust, Gate(home), ledger, rotation)
    rotation.open()
    ledger.commit([Note(kind="start", result="ok", product=name, operator=product.operator, suite=product.suite)])
    try:
        resident.live(home, LookupWork(desk, rotation), ledger, me=identity.get().name)
    finally:
        rotation.close()
        ledger.close()


if __name__ == "__main__":
    sys.exit(resident.main(serve))
