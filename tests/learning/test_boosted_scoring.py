"""Predictions by parts of boosted trees: equal to walks down the joined trees; what is sent; parts that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc import fixed, suite
from mpc.channel import Lane, Traffic
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.transport import local
from mpc.wire.learning.v1 import boosted_pb2 as wire
from protocols.learning import boosted_scoring, leaf_sums
from protocols.learning.boosted import BoostedPart
from protocols.learning.leaf_sums import Words
from protocols.learning.trees import LEAF_FRACTION, Inner, Leaf, OwnNode, PartTree, Shape
from tests.learning.test_boosted import MODEL, PARTIES, TRAINING, in_the_clear, model_of, table_of
from tests.learning.test_boosting import Gone, Leaving

CUTS = (-1.5, 0.0, 0.75)
EXACT = 2.0**-25


def tables_of(parties: tuple[str, ...], n: int) -> dict[str, dict[str, NDArray[np.float64]]]:
    return {name: {column: values[:n] for column, values in table_of(name).items()} for name in parties}


def shared_of(parts: Mapping[str, BoostedPart]) -> dict[str, BoostedPart]:
    """The same model with the leaves' weights in shares of the first two parties."""
    rng, first, second = Rng.from_seed(bytes(32)), *list(parts)[:2]
    pairs = []
    for tree in parts[first].trees:
        shape = leaf_sums.shape_of(tree)
        mask = rng.uint64(len(shape.leaves))
        rest = leaf_sums.weights_of(shape) - mask
        pairs.append(
            [
                Shape(
                    shape.inner, tuple(Leaf(leaf.node, share=int(w)) for leaf, w in zip(shape.leaves, one, strict=True))
                )
                for one in (mask, rest)
            ]
        )
    made = dict(parts)
    for i, name in enumerate((first, second)):
        own = tuple(PartTree(tree.own, pair[i]) for tree, pair in zip(parts[name].trees, pairs, strict=True))
        made[name] = replace(parts[name], trees=own)
    return made


def predict(
    parts: Mapping[str, BoostedPart],
    tables: Mapping[str, Mapping[str, NDArray[np.float64]]],
    *,
    tamper: Mapping[tuple[str, str], Tamper] | None = None,
    cuts: Mapping[str, tuple[float, ...]] | None = None,
) -> dict[str, Any]:
    def party(name: str) -> Callable[[Session], Any]:
        if cuts is None:
            return lambda s: boosted_scoring.scores(s, parts[name], tables[name])
        return lambda s: boosted_scoring.grades(s, parts[name], tables[name], cuts=cuts[name])

    return run_parties({name: party(name) for name in parts}, tamper=tamper)


@pytest.mark.parametrize(
    ("parties", "classes", "shared"),
    [(2, 1, False), (2, 3, True), (3, 3, False), (3, 1, True)],
)
def test_margins_are_those_of_the_joined_trees(parties: int, classes: int, *, shared: bool) -> None:
    names = (*PARTIES, "court")[:parties]
    parts, grown = model_of(names, classes=classes, seed=parties)
    tables = tables_of(names, 40)
    got = predict(shared_of(parts) if shared else parts, tables)
    wanted = in_the_clear(parts, grown, tables)
    assert np.abs(got["bank"] - wanted).max() < EXACT
    assert got["bank"].shape == wanted.shape
    assert all(got[name] is None for name in names[1:])


@pytest.mark.parametrize(("parties", "shared"), [(2, False), (3, True), (4, False)])
def test_grades_are_those_of_the_margins(parties: int, *, shared: bool) -> None:
    names = (*PARTIES, "court")[:parties]
    parts, grown = model_of(names, rounds=2)
    tables = tables_of(names, 30)
    got = predict(shared_of(parts) if shared else parts, tables, cuts=dict.fromkeys(names, CUTS))
    assert got["bank"].tolist() == np.searchsorted(CUTS, in_the_clear(parts, grown, tables), side="right").tolist()
    assert all(got[name] is None for name in names[1:])


def test_blocks_of_rows_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaf_sums, "BLOCK", 256)
    for names in (PARTIES[:2], PARTIES):
        parts, grown = model_of(names, rounds=2)
        tables = tables_of(names, 60)
        assert np.abs(predict(parts, tables)["bank"] - in_the_clear(parts, grown, tables)).max() < EXACT


def test_no_rows_no_nodes_and_a_party_without_columns() -> None:
    parts, _ = model_of()
    none = tables_of(PARTIES[:2], 0)
    assert predict(parts, none)["bank"].shape == (0,)
    alone = {name: replace(part, trees=(_stump(name, "bank"),)) for name, part in parts.items()}
    tables = tables_of(PARTIES[:2], 20)
    first = np.nan_to_num(tables["bank"]["bank first"], nan=np.inf)
    left = first <= _edge(parts["bank"])
    np.testing.assert_allclose(predict(alone, tables)["bank"], np.where(left, 0.625, -0.875) - 0.375, atol=EXACT)
    theirs = {name: replace(part, trees=(_stump(name, "tax"),)) for name, part in parts.items()}
    first = np.nan_to_num(tables["tax"]["tax first"], nan=np.inf)
    left = first <= _edge(parts["tax"])
    np.testing.assert_allclose(predict(theirs, tables)["bank"], np.where(left, 0.625, -0.875) - 0.375, atol=EXACT)


def _edge(part: BoostedPart) -> float:
    return float(part.binning.edge(0, 2))


def _stump(party: str, owner: str) -> PartTree:
    """One tree of one split, of the owner's first column."""
    own = (OwnNode(-1, False, 0, 2, False),) if party == owner else ()
    shape = Shape((Inner(0, owner, 0),), (Leaf(1, 0.625), Leaf(2, -0.875))) if party == "bank" else None
    return PartTree(own, shape)


# What is sent ---------------------------------------------------------------------------------------------------------


def traffic(parts: Mapping[str, BoostedPart], n: int) -> Traffic:
    """What the label party sent and received in a batch of two."""
    tables = tables_of(PARTIES[:2], n)

    def bank(s: Session) -> Traffic:
        boosted_scoring.scores(s, parts["bank"], tables["bank"])
        return s.channel("tax").traffic

    got = run_parties({"bank": bank, "tax": lambda s: boosted_scoring.scores(s, parts["tax"], tables["tax"])})
    told: Traffic = got["bank"]
    return told


def test_transfers_are_as_many_as_the_partners_own_nodes_make() -> None:
    """Whatever the label party's nodes and leaves are: the partner sees of them nothing, not even their number."""
    one, _ = model_of(seed=1, depth=5)
    known = traffic(one, 128)
    nodes = int(one["tax"].nodes.sum())
    # Trees of as many nodes of the partner's, and none of the label party's.
    trees = tuple(_bare(len(tree.own)) for tree in one["tax"].trees)
    bare = {
        "bank": replace(one["bank"], trees=tuple(PartTree((), shape) for _, shape in trees)),
        "tax": replace(one["tax"], trees=tuple(PartTree(own) for own, _ in trees)),
    }
    assert traffic(bare, 128) == known
    # The docstring's cost: 8 and 4 bytes a transfer; the set-up and the agreement do not depend on the rows.
    none = traffic(one, 0)
    assert 0 <= known.bytes_sent - none.bytes_sent - 8 * 128 * nodes <= 256
    assert 0 <= known.bytes_received - none.bytes_received - (4 * 128 * nodes + 8 * 128) <= 256


def _bare(nodes: int) -> tuple[tuple[OwnNode, ...], Shape]:
    """So many of the tax party's nodes, and no others, level by level."""
    own = tuple(OwnNode((i - 1) // 2 if i else -1, i % 2 == 1, 0, 1, False) for i in range(nodes))
    return own, Shape(
        tuple(Inner(i, "tax", i) for i in range(nodes)),
        tuple(Leaf(i, 0.25) for i in range(nodes, 2 * nodes + 1)),
    )


@pytest.mark.parametrize("names", [PARTIES[:2], PARTIES])
def test_how_many_nodes_a_party_has_is_told_to_the_label_party_alone(names: tuple[str, ...]) -> None:
    parts, _ = model_of(names)
    tables = tables_of(names, 3)
    told: dict[tuple[str, str], list[int]] = {}

    def listens(name: str) -> Callable[[Session], None]:
        def party(s: Session) -> None:
            mine = wire.BoostedBatch(
                version=1, rows=3, parties=names, label_party="bank", model=MODEL, training=TRAINING, trees=3, classes=1
            )
            for peer in s.channels:
                s.channel(peer).send(mine, parts[name].nodes[: 3 * (peer == "bank")].astype(np.uint32))
            for peer in s.channels:
                _, counts = s.channel(peer).recv(wire.BoostedBatch)
                told[peer, name] = counts.tolist()
            s.close("that was all")

        return party

    with pytest.raises(ChannelClosed, match="that was all"):
        run_parties(
            {"bank": lambda s: boosted_scoring.scores(s, parts["bank"], tables["bank"])}
            | {name: listens(name) for name in names[1:]}
        )
    assert set(told) == {(one, other) for one in names for other in names[1:] if one != other}
    assert all(counts == [] for counts in told.values())


def test_shares_are_uniform_and_only_their_sum_says_something() -> None:
    parts, _ = model_of()
    coded = {name: parts[name].coded(table) for name, table in tables_of(PARTIES[:2], 64).items()}

    def bank(s: Session) -> tuple[Words, Words]:
        plan = leaf_sums.plan(parts["bank"], "tax")
        mine = leaf_sums.offers(plan, coded["bank"])
        give = leaf_sums.start_giver(s.channel("tax"), suite=suite.get("intl"), rng=s.rng)
        return mine.steps, give.give(mine.steps)

    def tax(s: Session) -> tuple[NDArray[np.bool_], Words]:
        bits = leaf_sums.bits_of(parts["tax"], coded["tax"])
        choose = leaf_sums.start_chooser(s.channel("bank"), suite=suite.get("intl"), rng=s.rng)
        return bits, choose.choose(bits)

    got = run_parties({"bank": bank, "tax": tax})
    (steps, given), (bits, taken) = got["bank"], got["tax"]
    np.testing.assert_array_equal(given + taken, steps * bits)
    for words in (given, taken):
        # 64 bits each: of so many a mean of the high bit beyond five deviations from a half has odds below 10^-6.
        high = words.reshape(-1) >> np.uint64(63)
        assert abs(high.mean() - 0.5) < 2.5 / np.sqrt(len(high))


# What does not fit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [({"training": "0" * 16}, "differ in training"), ({"model": "0" * 16}, "differ in model")],
)
def test_parts_of_two_trainings(change: dict[str, Any], says: str) -> None:
    parts, _ = model_of()
    parts["tax"] = replace(parts["tax"], **change)
    with pytest.raises(PeerError, match=says):
        predict(parts, tables_of(PARTIES[:2], 3))


@pytest.mark.parametrize(
    ("leaver", "after"), [("bank", 0), ("tax", 0), ("tax", 1), ("bank", 2), ("tax", 3), ("tax", 4)]
)
def test_a_party_that_leaves_ends_it_for_the_other(leaver: str, after: int) -> None:
    parts, _ = model_of()
    tables = tables_of(PARTIES[:2], 3)
    ended: list[str] = []

    def connect(names: Sequence[str]) -> dict[tuple[str, str], Lane]:
        lanes: dict[tuple[str, str], Lane] = dict(local.mesh(names))
        other = "tax" if leaver == "bank" else "bank"
        lanes[leaver, other] = Leaving(lanes[leaver, other], after)
        return lanes

    def party(name: str) -> Callable[[Session], Any]:
        def run(s: Session) -> None:
            if name == leaver:
                boosted_scoring.scores(s, parts[name], tables[name])
            with pytest.raises(ChannelClosed):
                boosted_scoring.scores(s, parts[name], tables[name])
            ended.append(name)

        return run

    with pytest.raises(Gone):
        run_parties({name: party(name) for name in parts}, connect=connect)
    assert ended == [name for name in parts if name != leaver]


def test_trees_of_another_training_under_the_same_name() -> None:
    parts, _ = model_of(seed=1)
    others, _ = model_of(seed=2)
    with pytest.raises(PeerError, match="is its part of the same training"):
        predict({"bank": parts["bank"], "tax": others["tax"]}, tables_of(PARTIES[:2], 3))
    with pytest.raises(PeerError, match="differ in trees"):
        predict({"bank": parts["bank"], "tax": model_of(rounds=4)[0]["tax"]}, tables_of(PARTIES[:2], 3))


def test_other_rows_cuts_and_versions() -> None:
    parts, _ = model_of()
    with pytest.raises(PeerError, match="differ in rows"):
        predict(parts, {"bank": tables_of(PARTIES[:2], 3)["bank"], "tax": tables_of(PARTIES[:2], 4)["tax"]})
    with pytest.raises(PeerError, match="differ in cuts"):
        predict(parts, tables_of(PARTIES[:2], 3), cuts={"bank": (0.0,), "tax": (0.5,)})
    tables = tables_of(PARTIES[:2], 3)

    def older(s: Session) -> None:
        said = wire.BoostedBatch(
            version=0,
            rows=3,
            parties=PARTIES[:2],
            label_party="bank",
            model=MODEL,
            training=TRAINING,
            trees=3,
            classes=1,
        )
        s.channel("bank").send(said, parts["tax"].nodes.astype(np.uint32))
        s.channel("bank").recv(wire.BoostedBatch)

    with pytest.raises(PeerError, match=r"differ in version \(here '1', there '0'\)"):
        run_parties({"bank": lambda s: boosted_scoring.scores(s, parts["bank"], tables["bank"]), "tax": older})


def test_a_part_of_shares_beside_one_without() -> None:
    parts, _ = model_of()
    with pytest.raises(UsageError, match="bank has shares"):
        predict({"bank": shared_of(parts)["bank"], "tax": parts["tax"]}, tables_of(PARTIES[:2], 3))


def test_misuse_says_what_to_do() -> None:
    parts, _ = model_of(classes=3)
    tables = tables_of(PARTIES[:2], 3)
    with pytest.raises(UsageError, match="release scores"):
        predict(parts, tables, cuts=dict.fromkeys(PARTIES[:2], CUTS))
    with pytest.raises(UsageError, match="This is the part of tax"):
        predict({"bank": parts["tax"], "tax": parts["bank"]}, {"bank": tables["tax"], "tax": tables["bank"]})
    with pytest.raises(UsageError, match="no column 'tax second'"):
        predict(parts, tables | {"tax": {"tax first": np.zeros(3)}})
    with pytest.raises(UsageError, match="names all of the model's parties"):
        predict({"bank": parts["bank"]}, tables)


# Bits that flip on the way, and sizes that do not fit -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "tamper"),
    [
        (("tax", "bank"), Tamper(message=0)),  # the number of its nodes in a tree
        (("bank", "tax"), Tamper(message=0, byte=12)),  # the agreement's words
    ],
)
def test_a_flipped_bit_of_the_agreement_is_noticed(pair: tuple[str, str], tamper: Tamper) -> None:
    parts, _ = model_of()
    with pytest.raises(PeerError):
        predict(parts, tables_of(PARTIES[:2], 5), tamper={pair: tamper})


def test_a_high_bit_of_a_share_is_noticed() -> None:
    parts, _ = model_of()
    last = traffic(parts, 5).messages_received - 1
    with pytest.raises(PeerError, match="shares of margins below 1048576") as broken:
        predict(parts, tables_of(PARTIES[:2], 5), tamper={("tax", "bank"): Tamper(message=last, bit=6)})
    assert (broken.value.party, broken.value.step) == ("tax", "BoostedShares")


@pytest.mark.parametrize("change", [-1, 1])
def test_more_or_fewer_words_than_rows(change: int) -> None:
    parts, _ = model_of()
    tables = tables_of(PARTIES[:2], 8)

    def tax(s: Session) -> None:
        run = boosted_scoring._start(s, parts["tax"], tables["tax"], None, (), "intl")
        share = boosted_scoring._shares(run)
        s.channel("bank").send(wire.BoostedShares(), np.zeros((share.shape[1] + change, 1), np.uint64))

    with pytest.raises(PeerError):
        run_parties({"bank": lambda s: boosted_scoring.scores(s, parts["bank"], tables["bank"]), "tax": tax})


@pytest.mark.parametrize(
    ("numbers", "ends"),
    [([9, 9], []), ([300, 1, 1], [0] * 302), ([2, 2, 2], [0] * 5), ([1, 1, 1], [0, 0, 999])],
)
def test_leaves_that_no_tree_has(numbers: list[int], ends: list[int]) -> None:
    parts, _ = model_of(PARTIES)
    tables = tables_of(PARTIES, 4)

    def bank(s: Session) -> None:
        boosted_scoring._start(s, parts["bank"], tables["bank"], None, (), "intl")
        for peer in PARTIES[1:]:
            s.channel(peer).send(wire.BoostedLeaves(), np.array(numbers, np.uint16), np.array(ends, np.uint16))
        for peer in PARTIES[1:]:
            s.channel(peer).recv(wire.BoostedShares)

    def other(name: str) -> Callable[[Session], Any]:
        return lambda s: boosted_scoring.scores(s, parts[name], tables[name])

    with pytest.raises(PeerError, match="leaves of each|ends that"):
        run_parties({"bank": bank, "tax": other("tax"), "telecom": other("telecom")})


def test_words_are_rounded_once() -> None:
    part = model_of()[0]["bank"]
    shape = leaf_sums.shape_of(part.trees[0])
    words = fixed.decode(leaf_sums.weights_of(shape), LEAF_FRACTION)
    assert np.abs(words - [leaf.weight for leaf in shape.leaves]).max() <= 2.0**-31
