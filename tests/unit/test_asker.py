"""The asker's small parts, without a node."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from mpc.errors import CheatingDetected, PeerError, PolicyError
from mpc.kernels import ristretto255
from mpc.wire.coordinator.v1 import coordinator_pb2
from tests.governance.world import BANK, NODE, PLATFORM, PRODUCT, make_world, manifest
from unseen import asker, services
from unseen.governance import documents
from unseen.governance.documents import Signed
from unseen.governance.manifest import Pins
from unseen.home import Home
from unseen.node import registrar


def test_a_sources_words_cannot_command_the_askers_terminal() -> None:
    assert asker.printable("married 已婚 é") == "married 已婚 é"
    assert asker.printable("\x1b[2Jmarried\r\nabsent\u202e") == "\ufffd[2Jmarried\ufffd\ufffdabsent\ufffd"


class Coordinator:
    """Shows one manifest, whatever it is asked about."""

    def __init__(self, first: Signed) -> None:
        self.first = first

    def call(self, _: object, __: object) -> coordinator_pb2.FirstManifest:
        return coordinator_pb2.FirstManifest(same=False, first=services.manifest_to_wire(self.first))


def test_the_log_convicts_a_node_of_an_epoch_before_first_contact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path, NODE, BANK, PLATFORM)
    signer, bank, home = world.identity(NODE).signer, world.identity(BANK), Home(world.home(BANK))
    former = documents.sign(manifest(epoch=6), signer)
    other = documents.sign(manifest(epoch=6), signer)
    current = documents.sign(manifest(epoch=7), signer)
    pins = Pins(home.pins, trust=bank.trust(), suite="intl")
    pins.accept([current], node=NODE, product=PRODUCT)
    compare = asker._log_comparison(home, bank, bank.trust(), "coordinator@127.0.0.1:1", node=NODE, warnings=[])

    def shows(first: Signed) -> None:
        monkeypatch.setattr(registrar, "connect", lambda *_, **__: nullcontext(Coordinator(first)))
        compare(former)

    shows_nothing_else = former, current, documents.sign(manifest(epoch=6, product="another"), signer)
    for first in shows_nothing_else:  # it accuses without proof
        with pytest.raises(PeerError, match="shows none of the same epoch") as blamed:
            shows(first)
        assert blamed.value.party == "coordinator"
    with pytest.raises(PolicyError):
        shows(documents.sign(manifest(epoch=6), world.identity(PLATFORM).signer))
    assert pins.evidence() == []
    with pytest.raises(CheatingDetected, match="two different manifests for epoch 6") as caught:
        shows(other)
    assert caught.value.party == NODE
    (kept,) = pins.evidence()
    for signed in (former, other):
        assert documents.to_base64(signed.signature) in kept.read_text()


def test_a_public_key_that_is_none_is_found_before_the_first_query() -> None:
    honest = manifest(epoch=1)
    generator = ristretto255.mul_base(np.array([[1] + [0] * 31], dtype=np.uint8))[0].tobytes()
    asker.check_public_key(honest.model_copy(update={"public_key": documents.to_base64(generator)}))
    for bad in (bytes(32), b"\xff" * 32):  # the identity, and no canonical encoding
        with pytest.raises(PeerError, match="no element of the group") as caught:
            asker.check_public_key(honest.model_copy(update={"public_key": documents.to_base64(bad)}))
        assert caught.value.party == NODE
