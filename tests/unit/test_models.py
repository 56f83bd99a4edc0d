"""The store of a party's models: what goes in comes out; what was changed, moved or is another's does not."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mpc.errors import PolicyError, UsageError
from protocols.learning.boosted import BoostedPart
from protocols.learning.logistic import Shares
from protocols.learning.model import ModelPart
from protocols.learning.preparation import Numeric, Preparation
from tests.governance.world import World, enrol, make_world, renew
from tests.learning.test_boosted import model_of
from unseen.cli import tree
from unseen.governance import ca
from unseen.governance.documents import to_base64
from unseen.home import MODEL, REPORT, Home
from unseen.models import PART, STATEMENT, ModelStore

MODEL_ID, JOB, LATER = "00c0ffee00c0ffee", "0123456789abcdef", "fedcba9876543210"
TABLE = {"age": [20.0, 40.0, 60.0], "income": [1.0, 2.0, 4.0]}


def part(party: str = "bank", *, model: str = MODEL_ID, factor: float = 1.0) -> ModelPart:
    """A part of a small model, whose label party is the bank."""
    return ModelPart(
        model=model,
        family="logistic",
        party=party,
        label_party="bank",
        parties=("bank", "tax"),
        preparation=Preparation.fit(TABLE, [Numeric("age"), Numeric("income", standardise=False)]),
        coefficients=np.array([0.1, 1 / 3]) * factor,
        intercept=-0.25 if party == "bank" else None,
        shares=None,
        rows=3,
        iterations=7,
        converged=True,
        trained="2030-01-31T12:00:00Z",
    )


def leave_result(home: Path, job: str, made: ModelPart | BoostedPart, **report: object) -> Path:
    """What a finished job leaves behind."""
    directory = Home(home).result(job)
    directory.mkdir(parents=True)
    data = json.dumps(made.to_json()).encode()
    (directory / MODEL).write_bytes(data)
    known = {
        "id": job,
        "state": "finished",
        "operator": "learning.logistic",
        "files": {MODEL: to_base64(hashlib.sha256(data).digest())},
    }
    (directory / REPORT).write_text(json.dumps(known | report))
    return directory


@pytest.fixture(name="world", scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), "bank", "tax")


@pytest.fixture(name="store")
def _store(world: World, tmp_path: Path) -> ModelStore:
    shutil.copytree(world.home("bank"), tmp_path / "bank", symlinks=True)
    return ModelStore(Home(tmp_path / "bank"))


@pytest.fixture(name="home")
def _home(tmp_path: Path, store: ModelStore) -> Path:
    return tmp_path / "bank"


def test_what_a_job_left_is_found_again(store: ModelStore, home: Path) -> None:
    leave_result(home, JOB, part())
    said = store.import_job(JOB)
    assert (said.model, said.version, said.job, said.operator) == (MODEL_ID, 1, JOB, "learning.logistic")
    assert store.import_job(JOB) == said
    found = store.load(MODEL_ID)
    assert found.statement == said
    np.testing.assert_array_equal(found.part.score(TABLE), part().score(TABLE))
    assert store.models() == [MODEL_ID]


def test_coefficients_are_not_readable_on_the_disk(store: ModelStore, home: Path) -> None:
    store.add(part(), job=JOB, operator="learning.logistic")
    stored = home / "models" / MODEL_ID / "v1" / PART
    assert b"coefficients" not in stored.read_bytes()
    assert stored.stat().st_mode & 0o077 == 0


def test_another_training_is_another_version(store: ModelStore) -> None:
    store.add(part(), job=JOB, operator="learning.logistic")
    assert store.add(part(factor=2), job=LATER, operator="learning.logistic").version == 2
    assert store.load(MODEL_ID).statement.job == LATER
    assert store.load(MODEL_ID, version=1).statement.job == JOB
    with pytest.raises(UsageError, match="no version 3; it has: 1, 2"):
        store.load(MODEL_ID, version=3)


def test_a_number_is_not_used_again(store: ModelStore) -> None:
    store.add(part(), job=JOB, operator="learning.logistic")
    store.remove(MODEL_ID, 1)
    with pytest.raises(UsageError, match="there is no model"):
        store.load(MODEL_ID)
    with pytest.raises(UsageError, match="no version 1"):
        store.remove(MODEL_ID, 1)
    assert store.add(part(), job=JOB, operator="learning.logistic").version == 2
    assert [(one.statement.version, one.there) for one in store.versions(MODEL_ID)] == [(1, False), (2, True)]


def test_one_job_has_one_result(store: ModelStore) -> None:
    store.add(part(), job=JOB, operator="learning.logistic")
    with pytest.raises(UsageError, match="other content"):
        store.add(part(factor=2), job=JOB, operator="learning.logistic")


def test_another_partys_part_is_refused(store: ModelStore) -> None:
    with pytest.raises(UsageError, match="the part of tax, and the home that of bank"):
        store.add(part("tax"), job=JOB, operator="learning.logistic")


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"state": "failed"}, "did not finish"),
        ({"id": LATER}, "did not finish"),
        ({"files": {MODEL: to_base64(bytes(32))}}, "changed since"),
    ],
)
def test_a_result_that_is_not_the_jobs_own_is_refused(
    store: ModelStore, home: Path, report: dict[str, object], words: str
) -> None:
    leave_result(home, JOB, part(), **report)
    with pytest.raises(UsageError, match=words):
        store.import_job(JOB)


def test_a_job_without_a_model(store: ModelStore, home: Path) -> None:
    (leave_result(home, JOB, part()) / MODEL).unlink()
    with pytest.raises(UsageError, match="a model of the job"):
        store.import_job(JOB)
    for name in (LATER, "../..", "no"):
        with pytest.raises(UsageError, match="cannot read|is no job"):
            store.import_job(name)


def test_a_flipped_bit_of_a_part_is_found(store: ModelStore, home: Path) -> None:
    store.add(part(), job=JOB, operator="learning.logistic")
    path = home / "models" / MODEL_ID / "v1" / PART
    whole = path.read_bytes()
    for place in (0, 20, len(whole) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(UsageError, match="does not open"):
            store.load(MODEL_ID)


@pytest.mark.parametrize("field", ["document", "signature", "signer"])
def test_a_changed_statement_is_refused(store: ModelStore, home: Path, field: str) -> None:
    store.add(part(), job=JOB, operator="learning.logistic")
    path = home / "models" / MODEL_ID / "v1" / STATEMENT
    told = json.loads(path.read_text())
    first = told["signature"][0]
    changes = {"document": (JOB, LATER), "signature": (first, "A" if first != "A" else "B"), "signer": ("bank", "tax")}
    told[field] = told[field].replace(*changes[field])
    path.write_text(json.dumps(told))
    with pytest.raises(PolicyError) as refused:
        store.load(MODEL_ID)
    assert refused.value.code == "model-statement-invalid"


def test_a_version_in_anothers_place_is_refused(store: ModelStore, home: Path) -> None:
    for number, job in enumerate((JOB, LATER), start=1):
        store.add(part(factor=number), job=job, operator="learning.logistic")
    directory = home / "models" / MODEL_ID
    shutil.copy(directory / "v1" / PART, directory / "v2" / PART)
    with pytest.raises(UsageError, match="does not open"):
        store.load(MODEL_ID)
    shutil.copy(directory / "v1" / STATEMENT, directory / "v2" / STATEMENT)
    with pytest.raises(PolicyError, match="is about version 1"):
        store.load(MODEL_ID)
    shutil.copytree(directory, home / "models" / ("1" * 16))
    with pytest.raises(PolicyError, match=f"of {MODEL_ID}"):
        store.load("1" * 16)


def test_anothers_statement_is_refused(world: World, store: ModelStore, home: Path) -> None:
    tax = ModelStore(Home(world.home("tax")))
    tax.add(part("tax"), job=JOB, operator="learning.logistic")
    shutil.copytree(world.home("tax") / "models", home / "models")
    with pytest.raises(PolicyError, match="signed by 'tax'"):
        store.load(MODEL_ID)


def test_a_certificate_may_be_renewed(tmp_path: Path) -> None:
    world = make_world(tmp_path, "tax")
    enrol(world, "bank", lifetime=timedelta(days=1))
    store = ModelStore(Home(world.home("bank")))
    store.add(part(), job=JOB, operator="learning.logistic")
    renew(world, "bank")
    assert store.load(MODEL_ID).statement.job == JOB
    # A signature counts as of the day it was made: only a key that was revoked spoils it.
    ca.revoke(world.ca, name="bank")
    (world.home("bank") / "crl.pem").write_bytes((world.ca / "crl.pem").read_bytes())
    with pytest.raises(PolicyError, match="revoked"):
        store.load(MODEL_ID)


def test_a_shared_model_is_kept_and_cannot_score_alone(store: ModelStore) -> None:
    shares = Shares(
        components=np.array([[1, 2**63, 2**64 - 1, 7]], dtype=np.uint64),
        fraction=24,
        compute=("bank", "tax"),
        owners=(("bank", 3), ("tax", 1)),
        unit=1.0,
        kept=np.array([True, True]),
        centre=np.zeros(2),
        scale=np.ones(2),
    )
    shared = replace(part(), coefficients=None, intercept=None, shares=shares)
    store.add(shared, job=JOB, operator="learning.logistic")
    found = store.load(MODEL_ID).part
    assert found.shares is not None
    np.testing.assert_array_equal(found.shares.components, shares.components)
    with pytest.raises(UsageError, match="shared"):
        found.score(TABLE)


def test_boosted_trees_are_kept_as_any_other_part(store: ModelStore, home: Path) -> None:
    trees = model_of()[0]["bank"]
    directory = leave_result(home, JOB, trees)
    assert store.import_job(JOB).version == 1
    found = store.load(MODEL_ID).part
    assert isinstance(found, BoostedPart)
    assert found.trees == trees.trees
    assert b"bank first" not in (home / "models" / MODEL_ID / "v1" / PART).read_bytes()
    told = CliRunner().invoke(tree("model"), ["model", "show", MODEL_ID, "--home", str(home), "--json"])
    shown = json.loads(told.stdout)
    assert (shown["objective"], shown["trees"], shown["leaves"]) == ("binary:logistic", 3, "label_party")
    assert shown["columns"] == ["bank first", "bank second"]
    with pytest.raises(UsageError, match="the part of tax, and the home that of bank"):
        store.add(model_of()[0]["tax"], job=JOB, operator="learning.boosting")
    # Of a later version of this library, which says more than this one reads.
    (directory / MODEL).write_text(json.dumps(trees.to_json() | {"version": 2}))
    (directory / REPORT).write_text(json.dumps({"id": JOB, "state": "finished", "operator": "learning.boosting"}))
    with pytest.raises(UsageError, match="unseen boosted part of version 1: read it by the version"):
        store.import_job(JOB)


def test_commands(home: Path) -> None:
    leave_result(home, JOB, part())

    def run(*words: str, code: int = 0) -> dict[str, object]:
        done = CliRunner().invoke(tree("model"), ["model", *words, "--home", str(home), "--json"])
        assert done.exit_code == code, done.stderr
        return dict(json.loads(done.stdout)) if code == 0 else {}

    assert run("import", JOB)["version"] == 1
    assert run("show", MODEL_ID)["features"] == ["age", "income"]
    (only,) = run("list")["models"]  # type: ignore[misc]  # a list of one
    assert (only["job"], only["there"]) == (JOB, True)
    run("remove", MODEL_ID, "1")
    run("show", MODEL_ID, code=2)
    for words in (["list"], ["show", MODEL_ID]):
        CliRunner().invoke(tree("model"), ["model", *words, "--home", str(home)])
