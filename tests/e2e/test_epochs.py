"""Epochs on real processes: what serves afterwards is the old one or the new one, wherever the change is cut off."""

from __future__ import annotations

import itertools
import random
import shutil
import time
from pathlib import Path

import psutil
import pytest

from mpc.errors import PolicyError
from mpc.wire.node.v1 import node_pb2
from tests.e2e.town import (
    BANK,
    NODE,
    PRODUCT,
    Town,
    kill,
    married,
    product_toml,
    resident_id,
    rule_toml,
    until,
)
from unseen import services
from unseen.governance import documents, ledger
from unseen.governance.documents import to_base64
from unseen.governance.ledger import LEDGER_FILE, Witness
from unseen.governance.manifest import Manifest, check_link
from unseen.governance.receipt import Receipt
from unseen.rpc import Client

pytestmark = pytest.mark.e2e


def ask_to_rotate(town: Town) -> None:
    with Client.unix(town.home(NODE).socket(services.CONTROL_SOCKET)) as client:
        client.call(services.ROTATE, node_pb2.RotateRequest(product=PRODUCT))


@pytest.mark.timeout(180)
def test_killed_at_any_moment_of_a_change_the_old_or_the_new_epoch_serves(town: Town) -> None:
    rng = random.Random(20240607)
    node = town.start_node()
    served = [1]
    for turn in range(4):
        with town.connect(node) as connected:
            (consent,) = town.consents([3 * turn])
            assert connected.verify([consent])[0].label == "married"
            ask_to_rotate(town)
            time.sleep(rng.uniform(0.0, 3.0))
            if turn % 2:
                node.kill()  # everything at once
            else:
                product = psutil.Process(town.product_status().pid)
                victims = [child.pid for child in product.children()]
                kill(rng.choice([product.pid, *victims]))
        if turn % 2:
            node = town.start_node()
        until(lambda: town.product_status().product.serving and not town.product_status().building)
        epoch = town.product_status().product.epoch
        assert served[-1] <= epoch <= served[-1] + 1
        served.append(epoch)
        with town.connect(node) as connected:  # the pins notice any break in the chain
            assert connected.verify(town.consents([3]))[0].label == "married"
            verdict = connected.verify([consent])[0]  # asked before the change: the grace of its epoch is not over
            assert verdict.label == "married"
        verified = town.verify_log()
        assert verified.billed == 2 * (turn + 1)
    directory = town.home(NODE).product(PRODUCT)
    chain = [town.manifest(number) for number in range(1, served[-1] + 1)]
    for before, after in itertools.pairwise(chain):
        check_link(before, after, node=NODE)
    assert not list(directory.glob("building-*"))
    receipts = (town.home(BANK).receipts / f"{NODE}.{PRODUCT}.jsonl").read_text().splitlines()
    parsed = [documents.parse(documents.from_json(line).document, Receipt) for line in receipts]
    witnesses = [Witness(receipt.last_entry, documents.from_base64(receipt.head)) for receipt in parsed]
    assert ledger.verify(town.root / NODE / LEDGER_FILE, witnesses=witnesses).witnesses == len(receipts)


def test_an_epoch_ends_by_itself_and_its_key_is_erased_after_the_grace(town: Town) -> None:
    town.write_node(products=product_toml(epoch="10s", grace="10s"))
    node = town.start_node()
    directory = town.home(NODE).product(PRODUCT) / "epochs"
    first = town.manifest(1)
    table = (directory / "1" / "table.bin").read_bytes()
    with town.connect(node) as connected:
        (early, late) = town.consents([3, 6], manifest=first)
        assert connected.verify([early])[0].label == "married"
        until(lambda: town.product_status().product.epoch == 2)
        assert (directory / "1" / "key.sealed").exists()
        assert connected.verify([late])[0].label == "married"  # in the grace
        assert connected.verify(town.consents([9], manifest=town.manifest(2)))[0].label == "married"
        until(lambda: not (directory / "1").exists())
        verdict = connected.verify([early])[0]
        assert verdict.refusal is not None
        assert verdict.refusal.code in ("epoch-not-served", "consent-wrong-epoch")
    assert (directory / "2" / "table.bin").read_bytes() != table
    second = documents.parse(town.manifest(2).document, Manifest)
    assert second.previous == to_base64(documents.digest(first, suite="intl"))
    assert [entry["epoch"] for entry in town.entries() if entry["kind"] == "epoch"][:2] == [1, 2]


def test_the_next_epoch_is_of_the_data_as_they_are_then(town: Town) -> None:
    town.write_node(products=product_toml(consent=False))
    node = town.start_node()
    path = town.root / NODE / "registry.csv"
    with town.connect(node) as connected:
        assert connected.verify_keys([(resident_id(1),)])[0].label == "unmarried"
        path.write_text(path.read_text().replace(f"{resident_id(1)},unmarried", f"{resident_id(1)},married"))
        assert connected.verify_keys([(resident_id(1),)])[0].label == "unmarried"
        town.rotate()
        # Both epochs are served; the asker goes over when the old one is refused, or at its next start.
        with town.connect(node) as another:
            assert another.manifest.epoch == 2
            assert another.verify_keys([(resident_id(1),)])[0].label == "married"
            others = another.verify_keys([(resident_id(n),) for n in range(2, 50)])
            assert [v.label for v in others] == ["married" if married(n) else "unmarried" for n in range(2, 50)]


def test_a_changed_setting_begins_a_new_epoch(town: Town) -> None:
    node = town.start_node()
    assert node.terminate() == 0
    town.write_node(products=product_toml().replace("codes", 'duplicates = "first"\ncodes'))
    node = town.start_node()
    assert town.product_status().product.epoch == 1  # the same table would come out
    assert node.terminate() == 0
    wider = product_toml().replace("requires_consent", "answer_bytes = 2\nrequires_consent")
    town.write_node(products=wider)
    node = town.start_node()
    until(lambda: town.product_status().product.epoch == 2)
    with town.connect(node) as connected:
        assert connected.manifest.answer_bytes == 2
        assert connected.verify(town.consents([3]))[0].label == "married"


def test_a_damaged_table_is_not_served(town: Town) -> None:
    node = town.start_node()
    assert node.terminate() == 0
    path = town.home(NODE).product(PRODUCT) / "epochs" / "1" / "table.bin"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    node = town.start_node()
    assert town.product_status().product.epoch == 2  # what cannot be served is followed by what can
    assert "epoch 1 cannot be served" in node.log_text()
    with town.connect(node) as connected:
        assert connected.verify(town.consents([3]))[0].label == "married"


def test_a_table_that_was_changed_in_the_asker_s_cache_is_fetched_again(town: Town) -> None:
    node = town.start_node()
    with town.connect(node) as connected:
        assert connected.verify(town.consents([3]))[0].label == "married"
    (path,) = town.home(BANK).tables.glob("*.table")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with town.connect(node) as connected:
        assert connected.verify(town.consents([6]))[0].label == "married"
        assert connected.traffic.bytes_received > len(content)
    assert path.read_bytes() == content
    with town.connect(node) as connected:
        assert connected.verify(town.consents([9]))[0].label == "married"
        assert connected.traffic.bytes_received < len(content)


def test_after_a_loss_of_state_nobody_is_told_two_things(town: Town) -> None:
    node = town.start_node()
    with town.connect(node) as connected:
        assert connected.manifest.epoch == 1
    assert node.terminate() == 0
    old = town.root / "backup"
    shutil.copytree(town.home(NODE).product(PRODUCT), old)
    node = town.start_node()
    assert town.rotate() == 2
    assert node.terminate() == 0
    # The products' directory comes from a backup of the first epoch; what has been signed since is in manifests/.
    shutil.rmtree(town.home(NODE).product(PRODUCT))
    shutil.copytree(old, town.home(NODE).product(PRODUCT))
    node = town.start_node()
    assert town.product_status().product.epoch == 3
    with town.connect(node) as connected:
        assert connected.manifest.epoch == 3
        assert connected.verify(town.consents([3]))[0].label == "married"


def test_another_storage_key_opens_nothing(town: Town, tmp_path: Path) -> None:
    node = town.start_node()
    assert node.terminate() == 0
    town.home(NODE).storage_key.unlink()
    town.home(NODE).policy_toml.write_text(rule_toml())
    node = town.start_node()
    assert "does not open" in node.log_text()
    assert town.product_status().product.epoch == 2
    with pytest.raises(PolicyError), town.connect(node, scenario="unknown"):
        pass
