"""A job's file: what it may say, and how a mistake in it is named."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from mpc.errors import UsageError
from mpc.wire.coordinator.v1 import coordinator_pb2 as wire
from unseen.cli import job as job_commands
from unseen.cli import tree
from unseen.governance import documents
from unseen.home import REPORT
from unseen.jobs import operators, psi, results, validate

GOOD = """
operator = "psi"
scenario = "joint-customers"
grant = "joint.grant"

[parameters]
reveal_to = ["bank"]

[[party]]
name = "bank"
data_set = "customers"
keys = ["id"]
columns = ["number"]

[[party]]
name = "insurer"
data_set = "policy-holders"
keys = ["id_card"]
"""


def load(tmp_path: Path, text: str) -> tuple[operators.Job, Path | None]:
    path = tmp_path / "psi.toml"
    path.write_text(text)
    return operators.load(path)


def test_a_job_is_the_same_as_file_and_in_canonical_form(tmp_path: Path) -> None:
    job, grant = load(tmp_path, GOOD)
    assert grant == tmp_path / "joint.grant"
    assert operators.parse(job.document) == job
    assert json.loads(job.document)["party"][0]["columns"] == ["number"]
    assert isinstance(job.parameters, psi.Parameters)
    assert (job.parameters.protocol, job.head.suite, job.head.output) == ("auto", "intl", "parquet")
    assert job.peers_of("bank") == ("insurer",)
    asked = job.asked_by("bank")
    assert [(one.party, one.data_set, one.columns) for one in asked.access] == [
        ("bank", "customers", ["id", "number"]),
        ("insurer", "policy-holders", ["id_card"]),
    ]


def test_what_two_parties_compare_depends_on_every_word(tmp_path: Path) -> None:
    job, _ = load(tmp_path, GOOD)
    for old, new in (('["bank"]', '["insurer"]'), ('"number"', '"other"'), ("joint-customers", "joint-customer")):
        other, _ = load(tmp_path, GOOD.replace(old, new, 1))
        assert other.hello("x").parameters != job.hello("x").parameters


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('operator = "psi"', 'operator = "psy"', "there is no operator 'psy' for jobs; did you mean 'psi'?"),
        ('operator = "psi"', "", "operator is missing; add it"),
        ('operator = "psi"', 'operator = "psi"\noperator_version = 9', "it is for psi 9, here is version 1"),
        ('scenario = "joint-customers"', 'scenario = "Joint"', "is not a scenario name"),
        ('grant = "joint.grant"', "grant = 7", "grant is the path"),
        ("[parameters]", "[parameters]\nprotokol = 1", "unknown key parameters.protokol; did you mean 'protocol'?"),
        ("[parameters]", '[parameters]\nprotocol = "kkrt"', "parameters.protocol: Input should be"),
        ('reveal_to = ["bank"]', "", "parameters.reveal_to is missing"),
        ('reveal_to = ["bank"]', 'reveal_to = ["tax"]', "parameters.reveal_to names tax, which takes no part"),
        ('keys = ["id"]', 'keys = ["id", "name"]', "the parties' keys are of different forms"),
        ('keys = ["id"]', 'keys = ["id"]\nform = "phone"', "the parties' keys are of different forms"),
        (
            'keys = ["id"]\ncolumns = ["number"]',
            'keys = "id"',
            'psi.toml: party[1].keys: write a list, such as keys = ["…"].',
        ),
        ('columns = ["number"]', 'columns = ["id"]', "a column is named twice"),
        ('columns = ["number"]', 'colums = ["number"]', "unknown key party[1].colums; did you mean 'columns'?"),
        ('name = "insurer"', 'name = "bank"', "a party is named twice"),
        ('grant = "joint.grant"', 'suite = "rot13"', "There is no cipher suite 'rot13'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, text: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ('["id"]\nform = "resident_id"', "There is no key form 'resident_id'; choose one of resident-id, "),
        ('["id", "phone"]', "the form text is of 1 column, keys names 2. Join the forms"),
        ('["id"]\nform = "pair:text"', "the form pair:text is of 2 columns, keys names 1."),
    ],
)
def test_a_form_that_fits_no_key_costs_no_use_of_a_grant(tmp_path: Path, keys: str, text: str) -> None:
    given = GOOD.replace('keys = ["id"]', f"keys = {keys}").replace('keys = ["id_card"]', f"keys = {keys}")
    with pytest.raises(UsageError) as caught:
        load(tmp_path, given)
    assert text in str(caught.value)
    load(tmp_path, given.replace(keys, '["id", "phone"]\nform = "resident-id+phone"'))


def test_jobs_of_another_release_are_listed_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = {"operator": "psi.old", "operator_version": 0, "scenario": "joint", "word": "of long ago"}
    said = wire.JobState(id="0" * 16, requester="bank", job=json.dumps(old), state="failed", reason="so\x1b[2J it is")
    said.parties.add(party="insurer")

    class Client:
        def call(self, _: object, __: object) -> wire.Jobs:
            return wire.Jobs(jobs=[said])

    monkeypatch.setattr(job_commands, "_coordinator", lambda *_: nullcontext(Client()))
    done = CliRunner().invoke(tree(), ["job", "list", "--home", str(tmp_path)], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "psi.old" in done.output
    assert "insurer" in done.output
    assert "\x1b[2J" not in done.output


def test_a_column_that_the_result_needs_for_itself(tmp_path: Path) -> None:
    many = GOOD.replace("[parameters]", '[parameters]\nduplicates = "many"').replace('"number"', '"match"')
    with pytest.raises(UsageError, match="'match'"):
        load(tmp_path, many)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b"\xff", b"{}" + b" " * (1 << 17), b"[" * 60_000, b'{"\\ud800":1}', b'{"a":NaN}']
)
def test_what_is_no_job_is_refused(raw: bytes) -> None:
    with pytest.raises(UsageError):
        operators.parse(raw)


def test_a_job_has_one_form(tmp_path: Path) -> None:
    job, _ = load(tmp_path, GOOD)
    raw = json.loads(job.document)
    with pytest.raises(UsageError, match="canonical"):
        operators.parse(json.dumps(raw).encode())
    del raw["suite"]  # a default that is left out would be two forms of one job
    with pytest.raises(UsageError, match="canonical"):
        operators.parse(documents.canonical(raw))


def test_who_learns_is_the_same_from_both_sides(tmp_path: Path) -> None:
    job, _ = load(tmp_path, GOOD)
    assert isinstance(job.parameters, psi.Parameters)
    assert [psi.reveal(job.parameters, me=me) for me in ("bank", "insurer")] == ["me", "peer"]
    both, _ = load(tmp_path, GOOD.replace('["bank"]', '["bank", "insurer"]'))
    assert isinstance(both.parameters, psi.Parameters)
    assert [psi.reveal(both.parameters, me=me) for me in ("bank", "insurer")] == ["both", "both"]


@pytest.mark.parametrize("output", ["parquet", "csv"])
@pytest.mark.parametrize("rows", [0, 3])
def test_result_and_report_are_there_together(tmp_path: Path, output: str, rows: int) -> None:
    table = pa.table({"id": [f"编号 {i}" for i in range(rows)], "n": pa.array(range(rows), pa.int64())})
    part, whole = tmp_path / "job.part", tmp_path / "job"
    assert output in ("parquet", "csv")
    kind = "parquet" if output == "parquet" else "csv"
    path, digest = results.write(part, table.to_batches(), schema=table.schema, output=kind)
    assert len(digest) == 32
    assert not whole.exists()
    results.publish(part, whole, {"state": "finished"})
    assert not part.exists()
    read = pyarrow.parquet.read_table if output == "parquet" else pyarrow.csv.read_csv
    assert read(whole / path.name).column_names == ["id", "n"]
    assert read(whole / path.name).num_rows == rows
    assert json.loads((whole / REPORT).read_text()) == {"state": "finished"}
    assert whole.stat().st_mode & 0o077 == 0
    results.write(part, table.to_batches(), schema=table.schema, output=kind)
    with pytest.raises(OSError, match="not empty"):  # a job has one result
        results.publish(part, whole, {})


def test_submitting_a_job_imports_no_more_than_it_needs() -> None:
    """A script may call the command often; Arrow, data bases and the protocols are for the workers."""
    heavy = ("pyarrow", "sqlalchemy", "protocols.psi")
    code = f"import sys, unseen.cli.job, unseen.cli.node; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


VALIDATE = """
operator = "validate.threshold.hidden"
scenario = "income-validation"

[parameters]
asker = "bank"
claim = "claimed"

[[party]]
name = "bank"
data_set = "applications"
keys = ["id"]
columns = ["claimed", "number"]

[[party]]
name = "tax"
data_set = "incomes"
keys = ["id_card"]
columns = ["income"]

[[party]]
name = "fund"
data_set = "deposits"
keys = ["id"]
columns = ["deposit"]
"""


def test_a_job_of_validation_gives_its_asker_a_result(tmp_path: Path) -> None:
    job, _ = load(tmp_path, VALIDATE)
    assert operators.parse(job.document) == job
    assert job.recipients == ("bank",)
    assert isinstance(job.parameters, validate.Parameters)
    assert (job.parameters.tolerance_bp, job.parameters.limit_bp, job.parameters.decimals) == (0, 2000, 2)
    assert validate.sources_of(job, job.parameters) == ("tax", "fund")
    assert not operators.resumable(job.head.operator)
    other, _ = load(tmp_path, VALIDATE.replace("hidden", "consented"))
    assert other.asked_by("bank").operator != job.asked_by("bank").operator


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('asker = "bank"', 'asker = "court"', "parameters.asker is court, which takes no part"),
        ('claim = "claimed"', 'claim = "id"', "parameters.claim is 'id'; name it in the columns of bank, too"),
        ('claim = "claimed"', 'claim = "claimed"\nlimit_bp = 10\ntolerance_bp = 20', "limit_bp is below tolerance_bp"),
        ('claim = "claimed"', 'claim = "claimed"\nlimit_bp = 100001', "parameters.limit_bp: Input should be less"),
        ('claim = "claimed"', 'claim = "claimed"\nalignment = "consented"', "unknown key parameters.alignment"),
        ('"number"]', '"grade"]', "a column is called 'grade', which the result uses"),
        ('columns = ["income"]', 'columns = ["income", "name"]', "tax names 2 columns besides its keys; name one"),
        ('columns = ["income"]', "", "tax names 0 columns besides its keys; name one"),
        ('keys = ["id_card"]', 'keys = ["id_card"]\nform = "phone"', "the parties' keys are of different forms"),
        (
            'claim = "claimed"',
            'claim = "claimed"\ncompute = ["tax", "bank"]',
            "names two or three of the sources tax, fund",
        ),
        ('claim = "claimed"', 'claim = "claimed"\ncompute = ["tax", "tax"]', "parameters.compute names a source twice"),
        ('claim = "claimed"', 'claim = "claimed"\ncompute = ["tax"]', "parameters.compute"),
        ('.hidden"', '.open"', "there is no operator 'validate.threshold.open' for jobs; did you mean"),
        (
            '[[party]]\nname = "fund"\ndata_set = "deposits"\nkeys = ["id"]\ncolumns = ["deposit"]\n',
            "",
            "is for an asker and two sources or more; the job has 2",
        ),
    ],
)
def test_what_is_wrong_with_a_validation_is_named(tmp_path: Path, old: str, new: str, text: str) -> None:
    assert old in VALIDATE
    with pytest.raises(UsageError) as caught:
        load(tmp_path, VALIDATE.replace(old, new, 1))
    assert text in str(caught.value)


def test_further_files_of_a_result_are_its_own(tmp_path: Path) -> None:
    place = tmp_path / "0" / "results.part"
    place.parent.mkdir()
    hashes = results.write_files(place, {"model.json": b"{}", "report.html": "报告".encode()})
    heads = {name: one.hex()[:8] for name, one in hashes.items()}
    assert heads == {"model.json": "44136fa3", "report.html": "1e8ddd10"}
    assert {path.stat().st_mode & 0o077 for path in (place, *place.iterdir())} == {0}
    results.publish(place, tmp_path / "0" / "results", {"state": "finished"})
    assert {path.name for path in (tmp_path / "0" / "results").iterdir()} == {"model.json", "report.html", REPORT}
    for name in ("../model.json", "result.csv", REPORT, "Model.json", "model"):
        with pytest.raises(UsageError, match="cannot be a file beside a result"):
            results.write_files(place, {name: b""})
