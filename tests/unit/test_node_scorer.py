"""A scoring product: its settings, the records that it keeps, and what its desk lets through and writes down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.errors import PolicyError, UsageError
from mpc.kernels.packing import pack
from protocols.learning import leaf_sums, scoring
from protocols.learning.boosted import BoostedPart
from protocols.learning.scoring import Request
from protocols.lookup.table import SignedDocument
from tests.governance.world import BANK, NODE, SCENARIO, World, make_world
from tests.learning.test_boosted import model_of, table_of
from tests.learning.test_boosted_scoring import shared_of
from tests.unit.test_models import JOB, LATER, MODEL_ID, part
from unseen.governance import ledger as ledgers
from unseen.governance.documents import utc_now
from unseen.governance.ledger import Ledger
from unseen.governance.receipt import Receipt, verify_receipt
from unseen.home import Home
from unseen.models import ModelStore
from unseen.node import desk as desks
from unseen.node import preflight, settings
from unseen.node import scorer as scorers
from unseen.node.desk import from_wire
from unseen.node.gate import Gate
from unseen.node.scorer import Records, ScoringDesk, ScoringWork, read
from unseen.node.settings import Scorer

PRODUCT = "repayment-score"
SETTINGS = f"""
listen = "127.0.0.1:0"
[[scorer]]
name = "{PRODUCT}"
model = "{MODEL_ID}"
release = "grade"
cuts = [-1.0, 0.5]
key_form = "text"
calls_per_subject = 2
[scorer.data]
name = "households"
source = "households.csv"
keys = ["id"]
features = ["age", "income", "spare"]
"""
POLICY = f"""
[[allow]]
scenario = "{SCENARIO}"
requester = "{BANK}"
operator = "learning.grade"
product = "{PRODUCT}"
data_set = "households"
columns = ["id", "age", "income", "spare"]
consent_issuers = []
calls_per_day = 4
valid_from = 2020-01-01T00:00:00Z
valid_until = 2100-01-01T00:00:00Z
"""
DATA = "id,age,income,spare,note\nann,20,1,x,-\nbob,40,2,y,-\ncy,60,4,,-\n"


@pytest.fixture(name="world", scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"), NODE, BANK)
    home = Home(world.home(NODE))
    for job, factor in ((JOB, 1.0), (LATER, 3.0)):
        made = replace(part("tax", factor=factor), party=NODE, parties=(BANK, NODE))
        ModelStore(home).add(made, job=job, operator="learning.logistic")
    home.policy_toml.write_text(POLICY)
    return world


def load(text: str, home: Home) -> Scorer:
    home.node_toml.write_text(text)
    (found,) = settings.load(home).scorer
    return found


@pytest.fixture(name="home")
def _home(world: World) -> Home:
    home = Home(world.home(NODE))
    (home.root / "households.csv").write_text(DATA)
    return home


@pytest.fixture(name="scorer")
def _scorer(home: Home) -> Scorer:
    return load(SETTINGS, home)


@pytest.fixture(name="ledger")
def _ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledgers.open_ledger(tmp_path / "ledger.db", node=NODE) as opened:
        yield opened


@pytest.fixture(name="desk")
def _desk(world: World, home: Home, scorer: Scorer, ledger: Ledger) -> ScoringDesk:
    records = read(home, scorer, number=1, now=utc_now())
    identity = world.identity(NODE)
    return ScoringDesk(scorer, lambda: identity, Gate(home), ledger, lambda: records, bytes(32))


def request(*keys: bytes, scenario: str = SCENARIO, peer: str = BANK) -> Request:
    return Request(peer, scenario, keys)


# Settings -------------------------------------------------------------------------------------------------------------


def test_a_scorer_is_a_product_of_the_node(home: Home, scorer: Scorer) -> None:
    values = settings.load(home)
    assert values.find_served(PRODUCT) == values.find_scorer(PRODUCT) == scorer
    assert values.find(PRODUCT) is None
    assert (scorer.operator, scorer.form, scorer.requires_consent) == ("learning.grade", "text", False)
    assert scorer.data.columns == ("id", "age", "income", "spare")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('release = "grade"', "", "release is missing"),
        ('release = "grade"', 'release = "both"', "release"),
        ("calls_per_subject = 2", "", "calls_per_subject is missing"),
        ("cuts = [-1.0, 0.5]", "", "1 to 16 increasing numbers"),
        ("cuts = [-1.0, 0.5]", "cuts = [0.5, 0.5]", "1 to 16 increasing numbers"),
        ("cuts = [-1.0, 0.5]", "cuts = [nan]", "which are small"),
        ('release = "grade"', 'release = "score"', "decide which one is meant"),
        (f'model = "{MODEL_ID}"', 'model = "../../x"', "model"),
        ('features = ["age",', 'features = ["id",', "is a key and a feature"),
        ("features = [", "columns = [", "unknown key scorer[1].data.columns"),
    ],
)
def test_settings_that_are_not_in_order(home: Home, old: str, new: str, words: str) -> None:
    with pytest.raises(UsageError) as wrong:
        load(SETTINGS.replace(old, new), home)
    assert words in str(wrong.value)


# Records --------------------------------------------------------------------------------------------------------------


def test_records_are_the_sums_of_the_newest_part(home: Home, scorer: Scorer) -> None:
    records = read(home, scorer, number=1, now=utc_now())
    assert (len(records), records.job, records.label_party) == (3, LATER, BANK)
    found, sums = records.find([b"bob", b"nobody", b"ann", b"bob", b""])
    assert found.tolist() == [True, False, True, True, False]
    wanted = part("tax", factor=3.0).score({"age": [40.0, 20.0], "income": [2.0, 1.0]})
    np.testing.assert_array_equal(sums[[0, 3, 2]], wanted[[0, 0, 1]])
    assert read(home, scorer.model_copy(update={"version": 1}), number=1, now=utc_now()).job == JOB


def test_keys_whose_digests_begin_alike_are_told_apart() -> None:
    salt = bytes(16)
    high, low = scorers._halves(salt, pack([b"a", b"b"]))
    same = np.array([high[0]] * 3)
    records = Records(
        1, MODEL_ID, JOB, BANK, utc_now(), (), 1, salt, same, np.array([low[0] ^ 1, low[1], low[0]]), np.arange(3.0)
    )
    found, sums = records.find([b"a", b"b"])
    assert found.tolist() == [True, False]
    assert sums[0] == 2.0


@pytest.mark.parametrize(
    ("data", "change", "words"),
    [
        ("id,age,income\n", {}, "no column 'spare'"),
        (DATA + "ann,1,1,x,-\n", {}, "have the same key"),
        (DATA.replace("40", "forty"), {}, "is no number"),
        (DATA.replace("40", "1e300"), {}, "not below"),
        (DATA, {"version": 7}, "has no version 7; it has: 1, 2"),
        (DATA, {"model": "1" * 16}, "there is no model"),
    ],
)
def test_what_cannot_be_read_says_so(
    home: Home, scorer: Scorer, data: str, change: dict[str, object], words: str
) -> None:
    (home.root / "households.csv").write_text(data)
    with pytest.raises(UsageError, match=words) as wrong:
        read(home, scorer.model_copy(update=change), number=1, now=utc_now())
    assert "forty" not in str(wrong.value)


def test_columns_that_the_owner_does_not_give_are_not_read(home: Home) -> None:
    narrow = load(SETTINGS.replace('"age", ', ""), home)
    with pytest.raises(UsageError, match="reads the column 'age', which scorer repayment-score does not name"):
        read(home, narrow, number=1, now=utc_now())


def test_no_rows(home: Home, scorer: Scorer) -> None:
    (home.root / "households.csv").write_text("id,age,income,spare\n")
    found, _ = read(home, scorer, number=1, now=utc_now()).find([b"ann"])
    assert not found.any()


def test_preflight_looks_at_model_and_data(home: Home, scorer: Scorer) -> None:
    def checks() -> dict[str, tuple[bool, str]]:
        return {check.name: (check.ok, check.found) for check in preflight.run(home)}

    found = checks()
    assert found[f"model of {PRODUCT}"] == (True, f"{MODEL_ID} from job {LATER} scores 3 rows of households.csv")
    assert found["policy.toml"][0]
    home.policy_toml.write_text(POLICY.replace("learning.grade", "learning.score"))
    (home.root / "households.csv").write_text("id,age\n")
    found = checks()
    home.policy_toml.write_text(POLICY)
    assert not found[f"model of {PRODUCT}"][0]
    assert "names the operator 'learning.score', which is 'learning.grade'" in found["policy.toml"][1]


# Boosted trees --------------------------------------------------------------------------------------------------------


TREES = "7ee5" * 4


def trees_of(**change: Any) -> BoostedPart:  # noqa: ANN401 - fields of a part
    """The node's part of boosted trees over its columns ``… first`` and ``… second``."""
    made = {"model": TREES, "classes": 1, **change}
    parts, _ = model_of(made.pop("names", (BANK, NODE)), classes=made.pop("classes"))
    return replace(parts[NODE], **made)


def served(home: Home, part: BoostedPart, *, release: str = "score", rows: int = 3) -> Scorer:
    names = ", ".join(f'"{NODE} {which}"' for which in ("first", "second"))
    words = SETTINGS.replace(MODEL_ID, part.model).replace('["age", "income", "spare"]', f"[{names}]")
    if release == "score":
        words = words.replace('release = "grade"\ncuts = [-1.0, 0.5]', 'release = "score"')
    columns = list(zip(*(values.tolist() for values in table_of(NODE, 3).values()), strict=True))
    lines = [f"{key},{'' if a != a else a},{b}" for key, (a, b) in zip(("ann", "bob", "cy"), columns, strict=True)]
    (home.root / "households.csv").write_text("\n".join([f"id,{NODE} first,{NODE} second", *lines[:rows]]) + "\n")
    if not any(one.there for one in ModelStore(home).versions(part.model)):
        ModelStore(home).add(part, job=JOB, operator="learning.boosting")
    return load(words, home)


def test_of_boosted_trees_a_bit_is_kept_for_each_node(world: World, home: Home, ledger: Ledger) -> None:
    part = trees_of()
    scorer = served(home, part)
    records = read(home, scorer, number=1, now=utc_now())
    assert records.nodes == tuple(part.nodes.tolist())
    home.policy_toml.write_text(
        POLICY.replace("learning.grade", "learning.score").replace(
            '["id", "age", "income", "spare"]', f'["id", "{NODE} first", "{NODE} second"]'
        )
    )
    identity = world.identity(NODE)
    desk = ScoringDesk(scorer, lambda: identity, Gate(home), ledger, lambda: records, bytes(32))
    reply = desk.score(request(b"cy", b"nobody", b"ann"), desk.current())
    home.policy_toml.write_text(POLICY)
    assert reply.status.tolist() == [scoring.FOUND, scoring.ABSENT, scoring.FOUND]
    bits = leaf_sums.bits_of(part, part.coded(table_of(NODE, 3)))
    np.testing.assert_array_equal(reply.partial, bits[:, [2, 0]])
    terms = desk.session().terms()
    assert (terms.nodes, terms.classes, terms.release) == (records.nodes, 1, "score")


def test_boosted_trees_without_rows(home: Home) -> None:
    records = read(home, served(home, trees_of(), rows=0), number=1, now=utc_now())
    found, values = records.find([b"ann"])
    assert not found.any()
    assert records.partial(values[found]).shape == (sum(records.nodes), 0)


@pytest.mark.parametrize(
    ("part", "release", "words"),
    [
        (trees_of(model="3" * 16, names=(BANK, NODE, "fund")), "score", "online, trees are between two"),
        (trees_of(model="4" * 16, classes=3), "grade", "Grades are of one margin"),
    ],
)
def test_trees_that_are_not_served_online(home: Home, part: BoostedPart, release: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(home, served(home, part, release=release), number=1, now=utc_now())


def test_trees_whose_leaves_nobody_knows_are_not_served_online(scorer: Scorer) -> None:
    parts, _ = model_of((BANK, NODE), shapes=True)
    with pytest.raises(UsageError, match="nobody knows the leaves' weights"):
        scorers.require_online(scorer, shared_of(parts)[NODE])


# The desk -------------------------------------------------------------------------------------------------------------


def test_what_is_scored_is_written_down_first_and_names_nobody(desk: ScoringDesk, world: World, tmp_path: Path) -> None:
    reply = desk.score(request(b"bob", b"nobody"), desk.current())
    assert reply.status.tolist() == [scoring.FOUND, scoring.ABSENT]
    assert len(reply.partial) == 1
    entries = list(ledgers.entries(tmp_path / "ledger.db"))[1:]
    assert [(one["kind"], one["billed"], one["operator"]) for one in entries] == [
        ("evaluation", True, "learning.grade")
    ] * 2
    assert not any(word in json.dumps(entries) for word in ("bob", "nobody"))
    # The same key and sum look alike in the log only under the same node's key.
    other = replace(desk, secret=bytes([1] * 32))
    other.score(request(b"bob"), other.current())
    assert list(ledgers.entries(tmp_path / "ledger.db"))[-1]["input"] != entries[0]["input"]
    receipt = receipt_of(reply.receipt, world)
    assert (receipt.first_entry, receipt.last_entry, receipt.billed) == (1, 2, 2)


def receipt_of(document: SignedDocument | None, world: World) -> Receipt:
    assert document is not None
    signed = from_wire(document, signer=NODE)
    return verify_receipt(signed, trust=world.identity(BANK).trust(), node=NODE, suite="intl")


def test_one_person_is_scored_so_often_a_day_and_a_rule_allows_so_many(desk: ScoringDesk) -> None:
    for _ in range(2):
        assert desk.score(request(b"ann"), desk.current()).status.tolist() == [scoring.FOUND]
    reply = desk.score(request(b"ann", b"bob", b"bob", b"cy"), desk.current())
    # Ann's two are spent; then the rule's four are, at cy.
    assert reply.status.tolist() == [scoring.OVER_QUOTA, scoring.FOUND, scoring.FOUND, scoring.OVER_QUOTA]
    assert len(reply.partial) == 2


def test_what_no_rule_allows_is_refused_and_noted(desk: ScoringDesk, tmp_path: Path) -> None:
    for wrong in (request(b"ann", b"bob", scenario="marketing"), request(b"ann", peer="insurer")):
        with pytest.raises(PolicyError) as refused:
            desk.score(wrong, desk.current())
        assert refused.value.code == "policy-denied"
        assert "marketing" not in refused.value.reason
    first, second = list(ledgers.entries(tmp_path / "ledger.db"))[1:]
    assert (first["kind"], first["count"], first["scenario"]) == ("refusal", 2, "marketing")
    assert second["requester"] == "insurer"


def test_who_had_no_labels_has_nobody_scored_whatever_a_rule_says(desk: ScoringDesk, tmp_path: Path) -> None:
    """A partner's bare sum is for the party that may put the model together."""
    records = replace(desk.current(), label_party="another")
    with pytest.raises(PolicyError, match="labels of this model were not those of") as refused:
        desk.score(request(b"ann", b"bob"), records)
    assert refused.value.code == "not-the-label-party"
    (entry,) = list(ledgers.entries(tmp_path / "ledger.db"))[1:]
    assert (entry["kind"], entry["result"], entry["count"]) == ("refusal", "not-the-label-party", 2)


def test_a_part_that_was_removed_is_not_served_when_the_data_are_next_read(world: World, home: Home) -> None:
    """Data that cannot be read leave the old ones in use; a part that its owner has withdrawn does not."""
    model = "ab" * 8
    made = replace(part("tax"), model=model, party=NODE, parties=(BANK, NODE))
    ModelStore(home).add(made, job=JOB, operator="learning.logistic")
    work = ScoringWork(home, load(SETTINGS.replace(MODEL_ID, model), home))
    work._read()
    assert work.records is not None
    (home.root / "households.csv").write_text("id\n")
    work._read()
    assert work.records is not None
    assert "no column" in work.report().problem
    ModelStore(home).remove(model, 1)
    work._read()
    assert work.records is None
    assert not work.report().serving
    assert "there is no model" in work.report().problem


def test_a_flood_of_refusals_is_cut_off(desk: ScoringDesk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(desks, "REFUSALS_PER_MINUTE", 2)
    codes = []
    for _ in range(5):
        with pytest.raises(PolicyError) as refused:
            desk.score(request(b"ann", b"bob", scenario="marketing"), desk.current())
        codes.append(refused.value.code)
    assert codes == ["policy-denied"] * 2 + ["too-many-refusals"] * 3
    assert len(list(ledgers.entries(tmp_path / "ledger.db"))) == 1 + 3


def test_a_session_keeps_to_the_training_that_it_began_with(desk: ScoringDesk) -> None:
    at_work: list[Records | None] = [None]
    waiting = replace(desk, records=lambda: at_work[0])
    with pytest.raises(PolicyError, match="not read yet"):
        waiting.session().terms()
    at_work[0] = desk.current()
    session = waiting.session()
    assert session.terms().job == LATER
    assert session.terms().cuts == (-1.0, 0.5)
    at_work[0] = replace(desk.current(), number=2, until=utc_now() + timedelta(days=1))
    assert session.score(request(b"ann")).status.tolist() == [scoring.FOUND]
    at_work[0] = replace(desk.current(), job=JOB)
    with pytest.raises(PolicyError, match="another version"):
        session.score(request(b"ann"))
