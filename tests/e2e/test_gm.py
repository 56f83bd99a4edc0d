"""The suite ``gm`` on real processes: a node, a coordinator, a platform and a bank; and a bank of the other suite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mpc.errors import PolicyError
from tests.e2e.town import BANK, NODE, PRODUCT, add_coordinator, enrol, married, product_toml, town
from unseen.governance.documents import from_base64, parse
from unseen.governance.manifest import Manifest
from unseen.governance.receipt import Receipt

pytestmark = pytest.mark.e2e

PEOPLE = [0, 1, 2, 3, 299, 300, 301]  # the registry ends with person 299


def expected(number: int) -> str | None:
    return None if number >= 300 else "married" if married(number) else "unmarried"


@pytest.mark.timeout(90)
def test_a_node_of_gm_answers_and_its_log_verifies(tmp_path: Path) -> None:
    with town(tmp_path, suite="gm") as made:
        coordinator = add_coordinator(made)
        made.write_node(products=product_toml(suite="gm"), coordinator=coordinator.address)
        node = made.start_node()
        manifest = parse(made.manifest().document, Manifest)
        assert (manifest.suite, len(from_base64(manifest.public_key))) == ("gm", 33)
        with made.connect(node, coordinator=coordinator) as bank:
            consents = made.consents(PEOPLE)
            assert [verdict.label for verdict in bank.verify(consents)] == [expected(number) for number in PEOPLE]
            assert bank.verify(consents[:1])[0].label == expected(PEOPLE[0])  # the same again costs nothing
            forged = replace(consents[1].tokens[0], signature=consents[2].tokens[0].signature)
            [refused] = bank.verify([replace(consents[1], tokens=(forged,))])
            assert refused.refusal is not None
            assert refused.refusal.code == "consent-bad-signature"
            made.rotate()
            [verdict] = bank.verify(made.consents([3]))
            assert verdict.label == "married"
        found = made.verify_log()
        assert (found.billed, found.refusals) == (len(PEOPLE) + 1, 1)
        receipts = tmp_path / "receipts.jsonl"
        files = sorted((made.home(BANK).root / "receipts").glob("*.jsonl"))
        receipts.write_text("".join(file.read_text() for file in files))
        assert receipts.read_text().count(Receipt.model_fields["type"].default) == 4
        audit = made.run("audit", "verify", "--home", str(made.home(NODE).root), "--receipts", str(receipts))
        assert audit.returncode == 0

        # Another suite is refused by name.
        enrol(made.world, "foreign-bank")
        with pytest.raises(PolicyError, match=f"{PRODUCT} of {NODE} is of suite 'gm', this party's keys of 'intl'"):
            made.connect(node, who="foreign-bank")
        assert node.terminate() == 0
        made.write_node(products=product_toml())
        started = made.run("node", "serve", "--home", str(made.home(NODE).root), check=False)
        assert started.returncode == 2
        assert f"product {PRODUCT} is of suite 'intl', the node's identity of 'gm'" in started.stderr.replace("\n", " ")
