"""The whole way by the command line alone, as an operator goes it: enrol, check, serve, consent, ask, audit."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.e2e.town import (
    BANK,
    NODE,
    PLATFORM,
    PRODUCT,
    SCENARIO,
    Town,
    married,
    product_toml,
    resident_id,
    rule_toml,
    until,
    write_registry,
)
from tests.governance.world import World
from unseen.cli import tree

pytestmark = pytest.mark.e2e


def invoke(*arguments: str) -> Result:
    """A command in this process. That it does the same as one of its own is tested where it costs a second, once."""
    return CliRunner().invoke(tree(arguments[0]), arguments)


def run(*arguments: str) -> dict[str, Any]:
    """Run a command with ``--json``: standard output is one JSON object and nothing else."""
    done = invoke(*arguments, "--json")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    result: dict[str, Any] = json.loads(lines[0])
    return result


@pytest.mark.timeout(120)
def test_from_nothing_to_an_audited_answer(tmp_path: Path) -> None:
    town = Town(tmp_path, World(tmp_path))
    try:
        _whole_way(town)
    finally:
        town.stop_all()


def _whole_way(town: Town) -> None:
    root = town.root
    ca, node, bank, platform = (str(root / name) for name in ("ca", NODE, BANK, PLATFORM))
    fingerprint = run("ca", "init", "--home", ca)["root_fingerprint"]
    for name, home in ((NODE, node), (BANK, bank), (PLATFORM, platform)):
        request = run("node", "init", name, "--home", home)
        bundle = str(root / f"{name}.bundle.json")
        sign = ("ca", "sign", request["request"], "--home", ca, "--out", bundle)
        assert invoke(*sign, "--fingerprint", "00:11").exit_code != 0
        run(*sign, "--fingerprint", request["fingerprint"])
        assert run("node", "enrol", bundle, "--home", home, "--root-fingerprint", fingerprint)["name"] == name

    # Nothing is configured yet: the checks say what is missing, and the exit code says that something is.
    done = town.run("node", "preflight", "--home", node, check=False)
    assert done.returncode == 2
    assert "✗ node.toml" in done.stdout
    write_registry(root / NODE / "registry.csv")
    town.write_node(products=product_toml(), policy=rule_toml("no-such-product"))
    checks = json.loads(invoke("node", "preflight", "--home", node, "--json").stdout)
    assert [check["name"] for check in checks["checks"] if not check["ok"]] == ["policy.toml"]
    town.write_node()
    checks = run("node", "preflight", "--home", node)
    assert checks["ok"]
    assert any("300 rows" in check["found"] for check in checks["checks"])

    process = town.start_node()
    place = ("--node", f"{NODE}@{process.address}")
    (offer,) = run("products", "--home", bank, *place)["products"]
    assert (offer["name"], offer["scenarios"], offer["answers"]) == (
        PRODUCT,
        [SCENARIO],
        {"married": 1, "unmarried": 0},
    )

    manifest, consents = str(root / "manifest.json"), str(root / "consents.jsonl")
    assert run("manifest", PRODUCT, "--home", platform, *place, "--out", manifest)["epoch"] == 1
    people = list(range(40))
    (root / "people.csv").write_text("id\n" + "".join(f"{resident_id(n)}\n" for n in people))
    issue = ("consent", "issue", "--home", platform, "--manifest", manifest, "--scenario", SCENARIO)
    run(*issue, "--requester", BANK, "--keys-file", str(root / "people.csv"), "--out", consents)

    ask = ("query", PRODUCT, "--home", bank, *place, "--consent", consents)
    one = run(*ask, "--key", resident_id(3))
    assert (one["answered"], one["found"], one["answer"]) == (True, True, "married")
    assert invoke(*ask, "--key", resident_id(4)).stdout == f"{PRODUCT}: unmarried\n"
    out = str(root / "answers.csv")
    batch = invoke(*ask, "--keys-file", str(root / "people.csv"), "--out", out)
    assert "40 of 40 answered" in batch.stdout
    with Path(out).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["key"], row["answer"]) for row in rows] == [
        (resident_id(n), "married" if married(n) else "unmarried") for n in people
    ]
    assert Path(out).stat().st_mode & 0o077 == 0

    for wrong, exit_code, text in (
        (("--key", "110105194912310021"), 2, "resident id"),
        (("--key", resident_id(250)), 2, "no consent for the key in row 1"),
        (("--key", resident_id(3), "--scenario", "poll"), 3, "policy-denied"),
    ):
        done = invoke(*ask, *wrong)
        assert done.exit_code == exit_code
        assert text in done.stderr
        assert wrong[1] not in done.stderr
    done = town.run("query", PRODUCT, "--home", bank, "--node", f"{NODE}@127.0.0.1:1", "--key", "1", check=False)
    assert done.returncode == 5

    assert run("node", "rotate", PRODUCT, "--home", node)["epoch"] == 2
    until(lambda: run("node", "status", "--home", node)["products"][0]["epoch"] == 2)
    receipts = str(root / BANK / "receipts" / f"{NODE}.{PRODUCT}.jsonl")
    audit = run("audit", "verify", "--home", node, "--receipts", receipts)
    assert audit["billed"] == 40
    assert audit["receipts"] == 3


def test_main_lines_come_in_chinese(town: Town) -> None:
    node = town.start_node()
    environment = {**os.environ, "UNSEEN_LANG": "zh_CN.UTF-8"}

    def chinese(*arguments: str) -> str:
        command = [sys.executable, "-m", "unseen", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
        return done.stdout + done.stderr

    place = ("--home", str(town.root / BANK), "--node", f"{NODE}@{node.address}")
    assert "错误" in chinese("query", "nothing", *place, "--key", resident_id(1))
    assert "检查全部通过" in chinese("node", "preflight", "--home", str(town.root / NODE))
    assert "启用" in chinese("node", "rotate", PRODUCT, "--home", str(town.root / NODE))


def test_preflight_names_each_thing_with_its_remedy(town: Town) -> None:
    home = town.home(NODE)
    town.write_node(coordinator="127.0.0.1:1")
    (home.root / "registry.csv").write_text("id,state\n1,2\n")
    (home.root / "identity" / "0001" / "tls.key").chmod(0o644)
    home.policy_toml.write_text(rule_toml().replace('columns = ["id", "status"]', 'columns = ["id"]'))
    done = town.run("node", "preflight", "--home", str(home.root), "--json", check=False)
    assert done.returncode == 2
    failed = {check["name"]: check for check in json.loads(done.stdout)["checks"] if not check["ok"]}
    assert set(failed) == {"file modes", "policy.toml", f"data of {PRODUCT}", "coordinator"}
    assert failed["file modes"]["remedy"].startswith("Run: chmod 600")
    assert "does not name the columns status" in failed["policy.toml"]["found"]
    assert "no column 'status'" in failed[f"data of {PRODUCT}"]["found"]
    assert "Products serve without it" in failed["coordinator"]["remedy"]
