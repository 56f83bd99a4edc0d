"""What a node takes from its coordinator: a newer revocation list, also where its own is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from mpc.errors import PolicyError
from mpc.wire.coordinator.v1 import coordinator_pb2 as wire
from tests.governance.world import BANK, make_world
from unseen.governance import ca, enrolment
from unseen.home import Home
from unseen.node import registrar
from unseen.rpc import Client


class Coordinator:
    """Answers with one list, and counts how often it was asked."""

    def __init__(self, pem: bytes) -> None:
        self.pem = pem
        self.asked = 0

    def call(self, _: object, __: object) -> wire.Crl:
        self.asked += 1
        return wire.Crl(pem=self.pem)


def test_a_newer_list_is_fetched_and_a_damaged_one_is_mended(tmp_path: Path) -> None:
    world = make_world(tmp_path, BANK)
    home = Home(world.home(BANK))
    old, number = home.crl.read_bytes(), enrolment.crl_number(home.root)
    coordinator = Coordinator(ca.refresh_crl(world.ca))
    client = cast(Client, coordinator)
    assert not registrar.update_crl(home, client, offered=number)
    assert coordinator.asked == 0
    assert registrar.update_crl(home, client, offered=number + 1)
    assert home.crl.read_bytes() == coordinator.pem
    assert not registrar.update_crl(home, client)
    home.crl.write_text("noise")
    assert registrar.update_crl(home, client, offered=number + 1)
    assert home.crl.read_bytes() == coordinator.pem
    coordinator.pem = old
    assert not registrar.update_crl(home, client)
    coordinator.pem = b"noise"
    with pytest.raises(PolicyError, match="crl-untrusted"):
        registrar.update_crl(home, client)
