"""The asker's side of scoring: parts of several partners, of one training, and the errors for what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.errors import UsageError
from mpc.session import Session
from mpc.testing import run_parties
from mpc.wire.node.v1 import node_pb2
from protocols.learning import leaf_sums
from protocols.learning import scoring as protocol
from protocols.learning.boosted import BoostedPart
from protocols.learning.scoring import ABSENT, FOUND, OVER_QUOTA, Reply, Request, Terms
from tests.governance.world import World, make_world
from tests.unit.test_jobs_scoring import BANK, COLUMNS, FUND, JOB, LATER, MODEL, ROWS, TAX, part, total, trees_of
from unseen import scoring
from unseen.governance.enrolment import Identity
from unseen.home import Home
from unseen.models import ModelStore
from unseen.scoring import Scorer

ALL = (BANK, FUND, TAX)


class Desk:
    """A partner's service over its rows; the person ``b`` has spent the day's calls at the fund."""

    def __init__(self, party: str, terms: Terms) -> None:
        self._party, self._terms = party, terms

    def terms(self) -> Terms:
        return self._terms

    def score(self, request: Request) -> Reply:
        ids = [one.encode() for one in ROWS[self._party]["id"]]
        status = np.array([FOUND if key in ids else ABSENT for key in request.keys], np.uint8)
        if self._party == FUND:
            status[[key == b"b" for key in request.keys]] = OVER_QUOTA
        rows = [ids.index(key) for key, one in zip(request.keys, status, strict=True) if one == FOUND]
        column = COLUMNS[self._party]
        values = {column: np.array([ROWS[self._party][column][row] for row in rows], np.float64)}
        return Reply(status, part(self._party, ALL).score(values))


@pytest.fixture(name="world", scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"), BANK)
    ModelStore(Home(world.home(BANK))).add(part(BANK, ALL), job=JOB, operator="learning.logistic")
    return world


def terms(**change: object) -> Terms:
    known: dict[str, Any] = {
        "model": MODEL,
        "job": JOB,
        "label_party": BANK,
        "release": "score",
        "cuts": (),
        "key_form": "text",
    }
    return Terms(**(known | change))


def with_partners(
    world: World,
    told: Mapping[str, Terms],
    work: Callable[[Scorer], object],
    *,
    version: int | None = None,
    desk: Callable[[str], Desk] | None = None,
) -> object:
    home = world.home(BANK)

    def bank(s: Session) -> object:
        try:
            with ExitStack() as stack:
                partners = [
                    scoring._Partner(
                        stack.enter_context(protocol.asking(s, name)), node_pb2.Product(name="score"), "credit"
                    )
                    for name in told
                ]
                store = ModelStore(Home(home))
                stored = scoring._own_part(store, partners, me=BANK, model=None, version=version)
                scorer = Scorer(Home(home), Identity.load(home), stored, partners, stack=stack.pop_all())
                return work(scorer)
        finally:
            s.close()

    def partner(name: str) -> Callable[[Session], int]:
        service = Desk(name, told[name]) if desk is None else desk(name)
        return lambda s: protocol.serve(s, service, asker=BANK)

    return run_parties({BANK: bank, **{name: partner(name) for name in told}})[BANK]


def test_the_parts_of_all_partners_are_summed(world: World) -> None:
    def work(scorer: Scorer) -> None:
        assert (scorer.nodes, scorer.columns, scorer.release) == ((FUND, TAX), ("age",), "score")
        scores = scorer.score([(key,) for key in "abcde"], {"age": ROWS[BANK]["age"]}, batch=2)
        assert [one.found for one in scores] == [True, False, False, False, True]
        for key in ("a", "e"):
            one = scores["abcde".index(key)]
            assert one.total == pytest.approx(total(ALL, key))
            assert one.probability == pytest.approx(1 / (1 + np.exp(-total(ALL, key))))
        assert [None if one.refusal is None else one.refusal.code for one in scores] == [
            None,
            "quota-exceeded",
            None,
            None,
            None,
        ]
        assert scores[1].total is scores[1].grade is None
        with pytest.raises(UsageError, match="1 keys and 2 rows"):
            scorer.score([("a",)], {"age": [1, 2]})
        with pytest.raises(UsageError, match="no column 'age'"):
            scorer.score([("a",)], {"income": [1]})
        with pytest.raises(UsageError, match="batch is 1 to 1000"):
            scorer.score([("a",)], {"age": [1]}, batch=0)
        assert scorer.score([], {"age": []}) == []

    with_partners(world, {FUND: terms(), TAX: terms()}, work)


@pytest.mark.parametrize(
    ("told", "version", "words"),
    [
        ({TAX: terms()}, None, "name a product of each of them but bank"),
        ({FUND: terms(), TAX: terms(job=LATER)}, None, "parts of one training"),
        ({FUND: terms(job=LATER), TAX: terms(job=LATER)}, None, "import that job"),
        ({FUND: terms(job=LATER), TAX: terms(job=LATER)}, 1, "leave the version out"),
        ({FUND: terms(), TAX: terms(key_form="resident-id")}, None, "keys of another form"),
        ({FUND: terms(model="1" * 16), TAX: terms(model="1" * 16)}, None, "there is no model"),
        ({FUND: terms(label_party=TAX), TAX: terms(label_party=TAX)}, None, "that party has people scored"),
        ({FUND: terms(), TAX: terms(release="grade", cuts=(0.0,))}, None, "grades are between two"),
    ],
)
def test_what_does_not_fit(world: World, told: Mapping[str, Terms], version: int | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        with_partners(world, told, lambda _: None, version=version)


class TreesDesk(Desk):
    """A partner's service over its rows, of boosted trees."""

    def __init__(self, trees: BoostedPart, terms: Terms) -> None:
        super().__init__(TAX, terms)
        self._trees = trees

    def score(self, request: Request) -> Reply:
        ids = [one.encode() for one in ROWS[TAX]["id"]]
        status = np.array([FOUND if key in ids else ABSENT for key in request.keys], np.uint8)
        column = COLUMNS[TAX]
        rows = [ids.index(key) for key in request.keys if key in ids]
        coded = self._trees.coded({column: np.array([ROWS[TAX][column][row] for row in rows], np.float64)})
        return Reply(status, leaf_sums.bits_of(self._trees, coded))


def with_trees(
    world: World,
    work: Callable[[Scorer], object],
    *,
    classes: int = 1,
    parties: tuple[str, ...] = (BANK, TAX),
    **change: object,
) -> object:
    trees, _ = trees_of(parties, classes)
    store = ModelStore(Home(world.home(BANK)))
    model = f"{len(parties)}{classes}" * 8
    mine = replace(trees[BANK], model=model)
    if model not in store.models():
        store.add(mine, job=JOB, operator="learning.boosting")
    told = {TAX: terms(**{"model": model, "nodes": tuple(trees[TAX].nodes.tolist()), "classes": classes, **change})}
    return with_partners(world, told, work, desk=lambda _: TreesDesk(trees[TAX], told[TAX]))


@pytest.mark.parametrize("classes", [1, 3])
def test_boosted_trees_are_scored_between_two(world: World, classes: int) -> None:
    _, wanted = trees_of((BANK, TAX), classes)

    def work(scorer: Scorer) -> None:
        assert (scorer.nodes, scorer.columns) == ((TAX,), ("age",))
        scores = scorer.score([(key,) for key in "abcde"], {"age": ROWS[BANK]["age"]}, batch=2)
        assert [one.found for one in scores] == [key in wanted for key in "abcde"]
        for key, margins in wanted.items():
            one = scores["abcde".index(key)]
            if classes == 1:
                assert one.total == pytest.approx(margins[0], abs=2.0**-25)
                assert one.probability == pytest.approx(1 / (1 + np.exp(-margins[0])))
                assert one.totals is None
            else:
                assert one.totals == pytest.approx(margins, abs=2.0**-25)
                assert sum(one.probabilities or ()) == pytest.approx(1.0)
                assert one.total is one.probability is None
        assert scores[2].total is scores[2].totals is None
        with pytest.raises(UsageError, match="1 keys and 2 rows"):
            scorer.score([("a",)], {"age": [1, 2]})

    with_trees(world, work, classes=classes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nodes": (1, 2)}, "has other trees of model"),
        ({"nodes": (), "classes": 1}, "has other trees of model"),
        ({"parties": (BANK, FUND, TAX)}, "name a product of each|online, trees are between two"),
    ],
)
def test_trees_that_do_not_fit(world: World, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        with_trees(world, lambda _: None, **change)


def test_as_many_nodes_as_products(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 products and 1 nodes"):
        scoring.connect(tmp_path, ["a", "b"], node="tax@127.0.0.1:1")
