"""The commands ``unseen ca``, ``unseen consent`` and ``unseen audit``, and how the command line speaks."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import typer
from click.testing import Result
from rich.table import Table
from typer.testing import CliRunner

from mpc.errors import (
    ChannelClosed,
    ChannelError,
    ChannelTimeout,
    CheatingDetected,
    MpcError,
    PeerError,
    PolicyError,
    UsageError,
)
from tests.governance.test_ledger import evaluation
from tests.governance.world import BANK, NODE, NOW, PLATFORM, PRODUCT, World, manifest
from unseen.cli import audit, ca, consent, node, output
from unseen.governance import ca as authority
from unseen.governance import documents, enrolment
from unseen.governance.consent import read_handover
from unseen.governance.enrolment import Identity
from unseen.governance.ledger import LEDGER_FILE, open_ledger
from unseen.governance.manifest import Pins
from unseen.governance.receipt import issue_receipt

ID_A, ID_B = "11010519491231002X", "440524188001010014"


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSEEN_LANG", "en")
    monkeypatch.setenv("COLUMNS", "300")


def run(app: typer.Typer, *words: str | Path, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], input=answer)


def result(app: typer.Typer, *words: str | Path) -> dict[str, object]:
    """The one JSON object of a command."""
    ran = run(app, *words, "--json")
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert isinstance(found, dict)
    return found


# Output -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("wrong. Do this."), 2),
        (PolicyError("no", code="policy-denied", remedy="Ask."), 3),
        (PeerError("bad", party="bank", protocol="p", step="s"), 4),
        (CheatingDetected("bad", party="bank", protocol="p", step="s"), 4),
        (ChannelError("gone"), 5),
        (ChannelClosed("gone"), 5),
        (ChannelTimeout("slow"), 5),
        (MpcError("other"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: MpcError, code: int) -> None:
    app = typer.Typer()

    @app.command()
    @output.handled
    def fail() -> None:
        """Fails."""
        raise error

    ran = run(app)
    assert ran.exit_code == code
    assert ran.stdout == ""
    assert ran.stderr.startswith("error: ")
    if isinstance(error, PolicyError):
        assert ran.stderr == "error: no [policy-denied]\n  Ask.\n"


def test_a_fingerprint_is_shown_byte_by_byte(capsys: pytest.CaptureFixture[str]) -> None:
    fingerprint = ":".join(f"{byte:02X}" for byte in range(0xA0, 0xF0))
    output.show(fingerprint)
    output.note(fingerprint)
    output.print_error(UsageError(fingerprint))
    output.print_error(PolicyError(fingerprint, code="c", remedy=fingerprint))
    table = Table("fingerprint")
    table.add_row(fingerprint)
    output.console().print(table)
    out, err = capsys.readouterr()
    assert out.count(fingerprint) == 2
    assert err.count(fingerprint) == 4


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError(28, "No space left on device", "/x/y"), "No space left on device at /x/y. Free space on its disk"),
        (PermissionError(13, "Permission denied", "/x"), "Permission denied at /x. Run as the user who owns it"),
        (OSError("odd"), "OSError. Check the disk"),
    ],
)
def test_the_disks_errors_have_remedies(error: OSError, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    @output.handled
    def fail() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        fail()
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err.startswith(f"error: {shown}")


def test_a_place_that_cannot_be_written_is_named(world: World, terms: Path, tmp_path: Path) -> None:
    ran = issue(world, terms, tmp_path / "no" / "where", "--key", ID_A)
    assert ran.exit_code == 2, ran
    assert f"No such file or directory at {tmp_path / 'no'}" in ran.stderr
    assert "make its directory first" in ran.stderr


def test_text_with_brackets_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error(UsageError("[bold]x[/bold] and [[allow]]"))
    assert "[bold]x[/bold] and [[allow]]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"UNSEEN_LANG": "zh"}, "zh"),
        ({"UNSEEN_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_is_the_users(environment: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("UNSEEN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert output.language() == language


def test_both_languages_have_the_same_fields() -> None:
    messages = [
        message
        for module in (ca, consent, audit, output)
        for message in vars(module).values()
        if isinstance(message, output.Message)
    ]
    assert len(messages) > 8
    for message in messages:
        english, chinese = (
            sorted(part.split("}")[0] for part in text.split("{")[1:]) for text in (message.en, message.zh)
        )
        assert english == chinese


@pytest.mark.parametrize("app", [ca.app, consent.app, audit.app])
def test_every_command_teaches_by_example(app: typer.Typer) -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        ran = run(app, name, "--help")
        assert ran.exit_code == 0
        assert "Example" in ran.stdout
        assert "--json" in ran.stdout


# unseen ca ------------------------------------------------------------------------------------------------------------


def test_a_party_enrols_by_the_commands(tmp_path: Path) -> None:
    home = tmp_path / "ca"
    made = result(ca.app, "init", "--home", home)
    request = enrolment.init_party(tmp_path / "bank", "bank")
    bundle = tmp_path / "bundle.json"
    refused = run(ca.app, "sign", request.path, "--home", home, "--out", bundle, "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    refused = run(ca.app, "sign", request.path, "--home", home, "--out", bundle, answer="n\n")
    assert refused.exit_code == 2
    assert request.fingerprint in refused.stdout
    refused = run(ca.app, "sign", request.path, "--home", home, "--out", bundle, "--fingerprint", "00:11")
    assert refused.exit_code == 2
    nowhere = tmp_path / "no" / "bundle.json"
    refused = run(ca.app, "sign", request.path, "--home", home, "--out", nowhere, "--fingerprint", request.fingerprint)
    assert (refused.exit_code, "cannot be written to" in refused.stderr) == (2, True)
    assert not bundle.exists()
    assert result(ca.app, "list", "--home", home)["certificates"] == []  # so that it can be signed in another place
    signed = result(
        ca.app, "sign", request.path, "--home", home, "--out", bundle, "--fingerprint", request.fingerprint.lower()
    )
    assert (signed["name"], signed["root_fingerprint"]) == ("bank", made["root_fingerprint"])
    enrolment.install_bundle(tmp_path / "bank", bundle.read_bytes())
    assert Identity.load(tmp_path / "bank").name == "bank"
    listed = result(ca.app, "list", "--home", home)["certificates"]
    assert isinstance(listed, list)
    assert [one["kind"] for one in listed] == ["tls", "signing"]
    assert run(ca.app, "list", "--home", home).stdout.count("bank") == 2
    revoked = result(ca.app, "revoke", "--home", home, "--name", "bank")["revoked"]
    assert isinstance(revoked, list)
    assert len(revoked) == 2
    assert run(ca.app, "revoke", "--home", home, "--name", "bank").exit_code == 2
    result(ca.app, "crl", "--home", home, "--out", tmp_path / "crl.pem")
    assert enrolment.update_crl(tmp_path / "bank", (tmp_path / "crl.pem").read_bytes())


def test_an_operator_accepts_a_nodes_signing_key(world: World, tmp_path: Path) -> None:
    home = tmp_path / "bank"
    shutil.copytree(world.home(BANK), home, symlinks=True)
    key = world.identity(NODE).signing_key
    typed = key.replace(":", "").lower()
    words = ("pin", NODE, "--home", home, "--fingerprint")
    assert result(node.app, *words, typed) == {"node": NODE, "signing_key": key, "former": None}
    pins = Pins(home / "pins", trust=world.identity(BANK).trust(), suite="intl")
    assert pins.pinned_key(NODE) == key
    pins.accept([documents.sign(manifest(epoch=1), world.identity(NODE).signer)], node=NODE, product=PRODUCT)
    for wrong in (key[:-3], "", "zz" * 32, key + ":00"):
        ran = run(node.app, *words, wrong)
        assert ran.exit_code == 2
        assert "not a SHA-256 fingerprint" in ran.stderr
        assert pins.pinned_key(NODE) == key
    other = world.identity(PLATFORM).signing_key
    ran = run(node.app, *words, other)
    assert ran.stdout.splitlines() == [
        f"{NODE} is known by the signing key {other} from now on.",
        f"Before, it was {key}.",
    ]
    assert pins.pinned_key(NODE) == other


def test_a_revocation_list_is_installed_by_hand(own_world: World, tmp_path: Path) -> None:
    home, old, new = own_world.home(BANK), tmp_path / "old.pem", tmp_path / "new.pem"
    shutil.copy(own_world.ca / "crl.pem", old)
    enrolment.update_crl(home, old.read_bytes())
    number = enrolment.crl_number(home)
    new.write_bytes(authority.refresh_crl(own_world.ca))
    (home / "crl.pem").write_text("noise")
    assert enrolment.crl_number(home) == -1
    assert result(node.app, "crl", new, "--home", home) == {"installed": True, "number": number + 1}
    own_world.identity(BANK).trust()
    assert result(node.app, "crl", old, "--home", home) == {"installed": False, "number": number + 1}
    assert (home / "crl.pem").read_bytes() == new.read_bytes()
    foreign = run(node.app, "crl", home / "root.crt", "--home", home)
    assert foreign.exit_code == 3
    assert "crl-untrusted" in foreign.stderr


def test_the_ca_speaks_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSEEN_LANG", "zh_CN")
    made = run(ca.app, "init", "--home", tmp_path / "ca")
    assert "根证书指纹" in made.stdout
    again = run(ca.app, "init", "--home", tmp_path / "ca")
    assert again.exit_code == 2
    assert again.stderr.startswith("错误（用法有误）: ")


# unseen consent -------------------------------------------------------------------------------------------------------


@pytest.fixture
def terms(world: World, tmp_path: Path) -> Path:
    """The manifest's file."""
    path = tmp_path / "manifest.json"
    path.write_text(documents.to_json(documents.sign(manifest(epoch=7), world.identity(NODE).signer)))
    return path


def issue(world: World, terms: Path, out: Path, *words: str | Path) -> Result:
    fixed = ("--manifest", terms, "--scenario", "mortgage-approval", "--requester", BANK, "--out", out)
    return run(consent.app, "issue", "--home", world.home(PLATFORM), *fixed, *words)


def test_consents_are_issued_and_inspected(world: World, terms: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.csv"
    keys.write_text(f"name,id\na,{ID_A}\nb,{ID_B}\n", encoding="utf-8-sig")
    out = tmp_path / "consents.jsonl"
    ran = issue(world, terms, out, "--keys-file", keys, "--product", PRODUCT, "--json")
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["consents"] == 2
    assert [row.key for row in read_handover(out)] == [(ID_A,), (ID_B,)]
    seen = result(consent.app, "inspect", out, "--home", world.home(BANK))
    assert (seen["rows"], seen["verified"]) == (2, True)
    for shown in (json.dumps(seen), run(consent.app, "inspect", out, "--limit", "1").stdout):
        assert BANK in shown
        assert ID_A not in shown
    assert issue(world, terms, out, "--key", ID_A).exit_code == 2  # is not overwritten
    one = tmp_path / "one.jsonl"
    said = issue(world, terms, one, "--key", ID_A)
    assert (said.exit_code, ID_A in said.stdout) == (0, False)
    assert "to nobody else" in said.stdout


def test_consents_that_cannot_be_issued(world: World, terms: Path, tmp_path: Path) -> None:
    out = tmp_path / "consents.jsonl"
    empty = tmp_path / "empty.csv"
    empty.write_text("id\n")
    for words, code in (
        ((), 2),
        (("--key", ID_A, "--keys-file", empty), 2),
        (("--keys-file", empty), 2),
        (("--key", "110105194912310021"), 2),
        (("--key", ID_A, "--key", ID_B), 2),
        (("--key", ID_A, "--product", "income"), 2),
        (("--key", ID_A, "--minutes", "0"), 2),
    ):
        ran = issue(world, terms, out, *words)
        assert ran.exit_code == code, ran.output
        assert ran.stderr.startswith("error: ")
        assert "110105194912310021" not in ran.output
    terms.write_text(terms.read_text().replace('\\"epoch\\":7', '\\"epoch\\":8'))
    forged = issue(world, terms, out, "--key", ID_A)
    assert forged.exit_code == 3
    assert "document-bad-signature" in forged.stderr
    assert not out.exists()


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "1e300"])
def test_a_lifetime_is_a_number_of_minutes(world: World, terms: Path, tmp_path: Path, minutes: str) -> None:
    ran = issue(world, terms, tmp_path / "out", "--key", ID_A, "--minutes", minutes)
    assert ran.exit_code == 2, ran
    assert "--minutes" in ran.stderr
    assert not (tmp_path / "out").exists()


# unseen audit ---------------------------------------------------------------------------------------------------------


def test_the_log_is_verified_with_receipts(own_world: World, tmp_path: Path) -> None:
    home = own_world.home(NODE)
    (home / "state").mkdir()
    signer = own_world.identity(NODE).signer
    receipts = tmp_path / "receipts.jsonl"
    with open_ledger(home / LEDGER_FILE, node=NODE) as ledger, receipts.open("w") as file:
        for _ in range(3):
            outcomes = ledger.commit([evaluation(), evaluation()])
            signed = issue_receipt(signer, outcomes, requester=BANK, product=PRODUCT, epoch=7)
            file.write(documents.to_json(signed) + "\n")
    seen = result(audit.app, "verify", "--home", home, "--receipts", receipts)
    assert (seen["node"], seen["last_entry"], seen["billed"], seen["receipts"]) == (NODE, 6, 6, 3)
    alone = run(audit.app, "verify", "--home", home)
    assert "the log is in order, entries 0 to 6" in alone.stdout
    assert "give --receipts" in alone.stderr
    assert not run(audit.app, "verify", "--home", home, "--receipts", receipts).stderr
    shown = result(audit.app, "show", "--home", home, "--last", "2")["entries"]
    assert isinstance(shown, list)
    assert [entry["seq"] for entry in shown] == [5, 6]
    assert run(audit.app, "show", "--home", home, "--last", "100").stdout.count("evaluation") == 6
    # Cut off at the end: only the receipts know.
    with sqlite3.connect(home / LEDGER_FILE) as connection:
        connection.execute("DELETE FROM audit WHERE seq > 4")
    connection.close()
    assert run(audit.app, "verify", "--home", home).exit_code == 0
    cut = run(audit.app, "verify", "--home", home, "--receipts", receipts)
    assert cut.exit_code == 3
    assert "entry 5 to 6 are missing at the end" in cut.stderr
    # A receipt that the node did not sign is evidence of nothing.
    forged = issue_receipt(own_world.identity(BANK).signer, outcomes, requester=BANK, product=PRODUCT, epoch=7, now=NOW)
    receipts.write_text("\n" + documents.to_json(forged) + "\n")
    ran = run(audit.app, "verify", "--home", home, "--receipts", receipts)
    assert ran.exit_code == 3
    assert "line 2: " in ran.stderr
    assert run(audit.app, "verify", "--home", home, "--receipts", tmp_path / "nothing").exit_code == 2
    assert run(audit.app, "verify", "--home", tmp_path).exit_code == 2


def test_the_log_of_another_node_is_not_taken_for_this_ones(own_world: World) -> None:
    for name in (NODE, BANK):
        (own_world.home(name) / "state").mkdir()
        with open_ledger(own_world.home(name) / LEDGER_FILE, node=name) as ledger:
            ledger.commit([evaluation()])
    shutil.copy(own_world.home(BANK) / LEDGER_FILE, own_world.home(NODE) / LEDGER_FILE)
    ran = run(audit.app, "verify", "--home", own_world.home(NODE))
    assert ran.exit_code == 3
    assert f"the log is that of {BANK}, this is the home of {NODE} [audit-foreign]" in ran.stderr
    # A copy of the log alone, at an auditor's, says itself whose it is.
    shutil.rmtree(own_world.home(NODE) / "identity")
    assert result(audit.app, "verify", "--home", own_world.home(NODE))["node"] == BANK


def test_what_somebody_put_into_the_log_is_shown_as_text(own_world: World) -> None:
    home = own_world.home(NODE)
    (home / "state").mkdir()
    with open_ledger(home / LEDGER_FILE, node=NODE) as ledger:
        ledger.commit([evaluation()])
    with sqlite3.connect(home / LEDGER_FILE) as connection:
        entry = json.dumps({"seq": 1, "kind": "[red]x[/red]", "result": "\x1b[2J\rok", "time": [1]})
        connection.execute("UPDATE audit SET entry = ? WHERE seq = 1", (entry,))
    connection.close()
    ran = run(audit.app, "show", "--home", home)
    assert "[red]x[/red]" in ran.stdout
    assert "\x1b" not in ran.stdout


def test_a_changed_entry_is_named(own_world: World) -> None:
    home = own_world.home(NODE)
    (home / "state").mkdir()
    with open_ledger(home / LEDGER_FILE, node=NODE) as ledger:
        ledger.commit([evaluation() for _ in range(5)])
    with sqlite3.connect(home / LEDGER_FILE) as connection:
        connection.execute("UPDATE audit SET entry = replace(entry, 'bank', 'tank') WHERE seq = 3")
    connection.close()
    ran = run(audit.app, "verify", "--home", home, "--json")
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert ran.stderr.startswith("error: entry 3 was changed")
    assert os.linesep in ran.stderr
