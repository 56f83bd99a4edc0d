"""Binning between parties: against numpy, who sees what, bins that are too small, hostile peers, bad input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from numpy.typing import ArrayLike, NDArray

from mpc.channel import Channel, Traffic
from mpc.errors import ChannelClosed, PeerError, PolicyError, UsageError
from mpc.kernels import rlwe as kernels
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.learning.v1 import binning_pb2 as wire
from protocols import matvec
from protocols.arithmetic import ideal
from protocols.arithmetic.engine import Engine
from protocols.arithmetic.ideal import Rounding
from protocols.arithmetic.two import TwoParty
from protocols.learning import binning, bins
from protocols.learning.binning import Binned, FeatureBinning, LabelBinning, Merging, Mode
from protocols.matvec import counts, rlwe

N = 2500
RNG = np.random.default_rng(5)
LABELS = (RNG.random(N) < 0.2).astype(np.int64)


def _features() -> dict[str, Binned]:
    income = RNG.normal(size=N) + LABELS
    income[:400] = np.nan
    job = np.array(["clerk", "nurse", "smith"])[RNG.integers(0, 3, N)]
    job[400:403] = "queen"
    columns: dict[str, tuple[bins.Bins, Any]] = {
        "income": (bins.equal_frequency(income, 8, feature="income"), income),
        "job": (bins.by_category(job, feature="job", rare=0), job),
        "constant": (bins.equal_frequency(np.ones(N), feature="constant"), np.ones(N)),
        "nothing": (bins.equal_frequency(np.full(N, np.nan), feature="nothing"), np.full(N, np.nan)),
        "wide": (bins.from_edges([-1e9, 0, 1e9], feature="wide"), income * 1e9),
    }
    return {name: Binned.of(made, values) for name, (made, values) in columns.items()}


FEATURES = _features()


def run(
    features: Mapping[str, Binned] = FEATURES,
    labels: ArrayLike = LABELS,
    *,
    mode: Mode = "open",
    cell: int = 10,
    merging: Merging = "none",
    names: bool = True,
    tell_iv: bool = True,
) -> tuple[LabelBinning, FeatureBinning]:
    def bank(session: Session) -> LabelBinning:
        return binning.answer(session, labels, feature_parties=("shop",), mode=mode, minimum_cell=cell, tell_iv=tell_iv)

    def shop(session: Session) -> FeatureBinning:
        return binning.offer(
            session,
            features,
            label_party="bank",
            mode=mode,
            minimum_cell=cell,
            merging=merging,
            names=names,
            tell_iv=tell_iv,
        )

    results = run_parties({"bank": bank, "shop": shop}, seed=b"binning")
    return results["bank"], results["shop"]


def thousandths(found: FeatureBinning) -> dict[str, float]:
    return {name: float(np.round(iv, 3)) for name, iv in found.ivs.items()}


# Counts under encryption ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "sizes"), [(1, (1,)), (700, (3, 0, 9, 1)), (9000, (7, 2)), (40, ())])
def test_packed_counts_are_numpys(n: int, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(n)
    codes = [rng.integers(0, size + 2, n).astype(np.uint16) for size in sizes]
    ones = rng.random(n) < 0.4
    shares = run_parties(
        {
            "bins": lambda s: counts.holder(s.channel("ones"), codes, n, sizes, rng=s.rng),
            "ones": lambda s: counts.vector(s.channel("bins"), ones, sizes, key=matvec.key(s.rng), rng=s.rng),
        }
    )
    layout = counts.Layout.of(n, sum(sizes))
    packed = shares["bins"] + shares["ones"]
    assert packed.shape == (layout.rows,)
    shifts = np.arange(layout.slots, dtype=np.uint64) * np.uint64(layout.width)
    apart = ((packed[:, None] >> shifts) & np.uint64((1 << layout.width) - 1)).reshape(-1)[: layout.bins]
    expected = [((row == b) & ones).sum() for row, size in zip(codes, sizes, strict=True) for b in range(size)]
    assert apart.tolist() == expected


@pytest.mark.parametrize("n", [1, 2, 1000, 1023, 1024, 30_000, 1_000_000, 1 << 20, (1 << 24) - 1, 1 << 24])
def test_a_layout_has_room_for_every_count(n: int) -> None:
    layout = counts.Layout.of(n, 100)
    assert n < 1 << layout.width
    assert layout.slots * layout.width <= 64
    assert sum(1 << (slot * layout.width) for slot in range(layout.slots)) < 1 << (layout.bits - 1)
    assert 2 <= layout.bits <= 53


def test_counts_cost_what_the_product_costs() -> None:
    n, sizes = 20_000, (9, 9, 4)
    codes = [np.zeros(n, dtype=np.uint16)] * 3

    def owner(session: Session) -> Traffic:
        channel = session.channel("bins")
        counts.vector(channel, np.ones(n, dtype=np.bool_), sizes, key=matvec.key(session.rng), rng=session.rng)
        return channel.traffic

    seen = run_parties({"bins": lambda s: counts.holder(s.channel("ones"), codes, n, sizes, rng=s.rng), "ones": owner})[
        "ones"
    ]
    layout = counts.Layout.of(n, sum(sizes))
    plan = rlwe.plan(layout.rows, n, 1, bits=layout.bits)
    assert layout.rows == 6
    up, down = (1 + plan.terms) * 3 * 65536, plan.row_blocks * (kernels.N + kernels.N // plan.length) * 10
    assert up < seen.bytes_sent < up + 300
    assert down < seen.bytes_received < down + 120 * -(-plan.row_blocks // 8)
    assert seen.rounds == 1


def test_a_million_rows_take_three_bins_a_word() -> None:
    assert counts.Layout.of(1_000_000, 270).rows == 90


def test_rows_beyond_the_limit_are_refused() -> None:
    with pytest.raises(UsageError, match="rows"):
        counts.Layout.of((1 << 24) + 1, 1)


def test_shares_of_counts_are_uniform() -> None:
    """The same product again and again: bits of each party's share by itself are fair coins."""
    codes, ones = np.arange(512, dtype=np.uint16)[None] % 256, np.ones(512, dtype=np.bool_)

    def holder(session: Session) -> NDArray[np.uint64]:
        return np.concatenate(
            [counts.holder(session.channel("b"), codes, 512, (256,), rng=session.rng) for _ in range(6)]
        )

    def owner(session: Session) -> NDArray[np.uint64]:
        key = matvec.key(session.rng)
        return np.concatenate(
            [counts.vector(session.channel("a"), ones, (256,), key=key, rng=session.rng) for _ in range(6)]
        )

    for share in run_parties({"a": holder, "b": owner}, seed=b"uniform").values():
        bits = np.unpackbits(share.view(np.uint8)).reshape(-1, 64)
        deviation = (bits.mean(axis=0) - 0.5) * 2 * np.sqrt(len(bits))
        assert np.abs(deviation).max() < 5


# Results --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merging", ["none", "chi_merge", "monotone"])
def test_open_binning_is_what_one_party_would_compute(merging: Merging) -> None:
    bank, shop = run(merging=merging)
    expected = binning.local(FEATURES, LABELS, merging=merging)
    assert shop.bins == expected.bins
    assert shop.ivs == expected.ivs
    assert bank.ivs["shop"] == thousandths(shop)
    assert shop.ivs["income"] > 0.3
    assert shop.ivs["constant"] == shop.ivs["nothing"] == 0


def test_small_bins_are_merged_until_all_are_large_enough() -> None:
    _, shop = run(cell=60)
    for feature in shop.bins.values():
        assert feature.counts is not None
        assert feature.events is not None
        others = np.array(feature.counts) - feature.events
        assert min(*feature.events, *others) >= 60
        assert sum(feature.counts) == N
        assert sum(feature.events) == LABELS.sum()
    assert shop.bins["job"].number == 3
    assert shop.bins["income"].number < 9


def test_a_single_bin_that_is_too_small_goes_with_missing_values() -> None:
    value = np.full(N, np.nan)
    value[:15] = 1
    for column in (value, np.where(np.isnan(value), None, "known")):
        made = bins.by_category(column, rare=0) if column.dtype == object else bins.equal_frequency(column)
        feature = {"x": Binned.of(made, column)}
        _, shop = run(feature)
        assert shop.bins["x"].counts == (N,)
        assert shop.bins == binning.local(feature, LABELS).bins


def test_values_told_do_not_tell_the_counts_of_two_bins() -> None:
    value = np.random.default_rng(3).random(N) + LABELS / 4
    feature = {"x": Binned.of(bins.from_edges([0.6], missing=False, feature="x"), value)}
    bank, shop = run(feature)
    events, rows = (np.array(part) for part in (shop.bins["x"].events, shop.bins["x"].counts))
    total, other = LABELS.sum(), N - LABELS.sum()
    b, g = np.arange(1, total)[:, None] / total, np.arange(1, other)[None] / other
    possible = (b - g) * np.log(b / g) + (g - b) * np.log((1 - b) / (1 - g))
    assert (np.abs(possible - shop.ivs["x"]) < 1e-12).sum() == 2  # the bins, and the same in the other order
    assert (np.abs(possible - bank.ivs["shop"]["x"]) <= 5e-4).sum() > 500
    assert (events < rows).all()


def test_bins_that_are_not_those_of_the_rows_are_refused() -> None:
    made = bins.from_edges([0.5], missing=False, feature="x")
    codes = np.array([0, 1, 1], dtype=np.uint16)
    for broken in (made, bins.from_edges([0.5], feature="x").counted([0, 0, 1])):
        with pytest.raises(UsageError, match="use Binned.of"):
            Binned(broken, codes)
    with pytest.raises(UsageError, match="use Binned.of"):
        Binned(made.counted([0, 1, 1]), codes.astype(np.int64))  # type: ignore[arg-type]


def test_two_parties_are_answered_at_once() -> None:
    some = {"income": FEATURES["income"]}
    results = run_parties(
        {
            "bank": lambda s: binning.answer(s, LABELS, feature_parties=("shop", "bureau")),
            "shop": lambda s: binning.offer(s, some, label_party="bank"),
            "bureau": lambda s: binning.offer(s, {"job": FEATURES["job"]}, label_party="bank", names=False),
        }
    )
    assert list(results["bank"].ivs) == ["shop", "bureau"]
    assert list(results["bank"].ivs["bureau"]) == ["feature 1"]
    assert results["bank"].ivs["shop"] == thousandths(results["shop"])
    assert any(text.startswith("bureau:") for text in results["bank"].learned)


def test_shared_binning_gives_shares_of_the_woe() -> None:
    bank, shop = run(mode="shared")
    for name, feature in shop.bins.items():
        assert feature.woe is None
        assert feature.events is None
        words = bank.shares["shop"][name] + shop.shares[name]
        events = np.bincount(binning._without_empty(FEATURES[name]).codes[LABELS == 1], minlength=feature.number)
        woe, iv = bins.evidence(events, np.array(feature.counts) - events)
        assert words.view(np.int64) / 2**binning.FRACTION == pytest.approx(woe, abs=1e-5)
        assert bank.ivs["shop"][name] == pytest.approx(iv, abs=1.1e-3)
        assert (bank.ivs["shop"][name] * 1024).is_integer()


@pytest.mark.parametrize("rounding", ["down", "up", "random"])
def test_shared_woe_of_many_rows_is_exact_enough(rounding: Rounding) -> None:
    """Sixteen million rows, and bins of every size, with an engine that rounds as badly as one may."""
    events = np.array([0, 1, 7, 90_000, 3_000_000, 0, 1_000_000, 2_090_008])
    rows = np.array([3, 1, 9, 100_000, 7_000_000, 5, 2_000_000, 7_000_000])
    sizes = np.array([5, 3], dtype=np.uint16)  # of two features, of other rows each: totals are of the first
    totals = int(events[:5].sum()), int((rows - events)[:5].sum())
    sums = binning._Sums(ideal.alone(rounding=rounding), *(x.astype(np.uint64)[None] for x in (events, rows)))
    woe, ivs = binning._weigh_shared(sums, sizes, "alone", totals, tell_iv=True)
    expected, iv = bins.evidence(events[:5], (rows - events)[:5])
    assert woe[:5].view(np.int64) / 2**binning.FRACTION == pytest.approx(expected, abs=1e-5)
    assert ivs is not None
    assert ivs[0] == pytest.approx(iv, abs=1 / 1024 + 1e-5)


def test_bins_of_real_clients(credit_card_csv: Path) -> None:
    header, *lines = credit_card_csv.read_text(encoding="utf-8").splitlines()
    table = np.array([line.split(",") for line in lines], dtype=np.float64)
    place = {name.strip('"'): i for i, name in enumerate(header.split(","))}
    labels = table[:, place["default.payment.next.month"]]
    columns = {name: table[:, place[name]] for name in ("PAY_0", "BILL_AMT1", "PAY_AMT1")}
    features = {name: Binned.of(bins.equal_frequency(v, 10, feature=name), v) for name, v in columns.items()}
    bank, shop = run(features, labels, merging="monotone")
    assert bank.ivs["shop"] == thousandths(binning.local(features, labels, merging="monotone"))
    assert 0.8 < bank.ivs["shop"]["PAY_0"] < 0.9  # known for this data: the strongest single feature
    assert shop.rows == 30_000


# Who sees what --------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """What opens in a run: to whom, of which kind, how many values."""
    seen: list[tuple[str, str, int]] = []
    real: Callable[..., Any] = TwoParty.open

    def recording(self: TwoParty, a: NDArray[np.uint64], to: tuple[str, ...] | None = None) -> object:
        value = real(self, a, to)
        if value is not None:
            seen.append((self.me, str(value.dtype), value.size))
        return value

    monkeypatch.setattr(TwoParty, "open", recording)
    return seen


def test_open_binning_opens_flags_to_both_and_counts_to_the_feature_party_alone(
    opened: list[tuple[str, str, int]],
) -> None:
    _, shop = run(cell=60)
    assert {kind for me, kind, _ in opened if me == "bank"} == {"bool"}
    words = [size for me, kind, size in opened if me == "shop" and kind != "bool"]
    assert words == [sum(feature.number for feature in shop.bins.values())]  # those that are left, and no fine ones
    flags = [size for me, kind, size in opened if me == "shop" and kind == "bool"]
    assert flags == [size for me, _, size in opened if me == "bank"]
    assert flags == sorted(flags, reverse=True)


def test_shared_binning_opens_values_to_the_label_party_or_to_nobody(opened: list[tuple[str, str, int]]) -> None:
    run(mode="shared")
    assert opened == [("bank", "uint64", len(FEATURES))]
    opened.clear()
    bank, _ = run(mode="shared", tell_iv=False)
    assert opened == []
    assert bank.ivs == {}


def test_the_label_party_is_sent_nothing_but_what_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: set[str] = set()
    real = Channel.send

    def recording(self: Channel, header: Message, *arrays: NDArray[np.generic]) -> None:
        if self.me == "shop":
            sent.add(header.DESCRIPTOR.name)
        real(self, header, *arrays)

    monkeypatch.setattr(Channel, "send", recording)
    bank, _ = run(names=False, tell_iv=False)
    assert bank.ivs == {}
    assert {name for name in sent if name.startswith("Binning")} <= {
        "BinningTerms",
        "BinningFeatures",
        "BinningGroups",
    }


def test_what_each_learned_is_said() -> None:
    bank, shop = run({"job": FEATURES["job"]})
    assert any("information value" in text for text in bank.learned)
    assert any("bank's label is 1" in text for text in shop.learned)
    assert set(binning.OPERATORS["shared"].learns) == {"label_party", "feature_party"}


# Bad input and bad peers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels", [np.full(N, 2), np.where(LABELS, 1, np.nan), np.where(LABELS, 1, -1), np.array(["1"] * N), [[0, 1]], []]
)
def test_labels_are_zeros_and_ones(labels: ArrayLike) -> None:
    with pytest.raises(UsageError, match="Labels are"):
        run(labels=labels)


def test_too_few_rows_of_a_label_open_nothing() -> None:
    few = np.zeros(N)
    few[:5] = 1
    with pytest.raises(PolicyError, match="cell-too-small"):
        run(labels=few)
    with pytest.raises(PolicyError, match="label 1"):
        run(labels=np.zeros(N), mode="shared")


def test_more_counts_than_rows_allow_are_refused_at_both() -> None:
    ids = np.array([f"client {i // 3}" for i in range(N)])
    many = {"id": Binned.of(bins.by_category(ids, feature="id", rare=0, most=700), ids)}
    with pytest.raises(PolicyError, match="too-many-bins"):
        run(many)
    with pytest.raises(PolicyError, match="too-many-bins"):
        _hostile(lambda _, c: c.send(wire.BinningFeatures(), np.array([700], dtype=np.uint16)))
    assert len(run(many, mode="shared", tell_iv=False)[1].shares["id"]) == 700


def test_rows_that_differ_are_found_at_once() -> None:
    with pytest.raises(PeerError, match="as many rows at both parties"):
        run(labels=LABELS[:-1])


@pytest.mark.parametrize("offers", [{"minimum_cell": 9}, {"mode": "shared"}, {"tell_iv": False}, {"suite": "gm"}])
def test_parties_that_differ_are_told_in_what(offers: dict[str, Any]) -> None:
    with pytest.raises(PeerError, match=f"the same {next(iter(offers))} at both"):
        run_parties(
            {
                "bank": lambda s: binning.answer(s, LABELS, feature_parties=("shop",)),
                "shop": lambda s: binning.offer(s, FEATURES, label_party="bank", **offers),
            }
        )


def test_options_that_there_are_not_are_refused() -> None:
    session = Session("shop", {})
    job = {"job": FEATURES["job"]}
    for options, said in (
        ({"mode": "closed"}, "mode is"),
        ({"minimum_cell": 0}, "at least 1"),
        ({"merging": "best"}, "merging is"),
        ({"merging": "chi_merge", "mode": "shared"}, "needs counts"),
    ):
        with pytest.raises(UsageError, match=said):
            binning.offer(session, job, label_party="bank", **options)  # type: ignore[arg-type]
    short = Binned.of(bins.from_edges([0.5]), np.zeros(N - 1))
    for features, said in (({}, "1 to 4096"), ({**job, "short": short}, "aligned rows")):
        with pytest.raises(UsageError, match=said):
            binning.offer(session, features, label_party="bank")
    with pytest.raises(UsageError, match="each other party"):
        binning.answer(session, LABELS, feature_parties=())
    with pytest.raises(UsageError, match="into no bin"):
        Binned.of(bins.from_edges([1], missing=False), [0.5, np.nan])
    with pytest.raises(UsageError, match="one for each row"):
        binning.local(job, LABELS[:-1])


def _hostile(then: Callable[[Session, Channel], object]) -> None:
    """A feature party that agrees on everything and then does as it likes."""

    def shop(session: Session) -> None:
        channel = session.channel("bank")
        channel.exchange(binning._terms("open", 10, "intl", tell_iv=True).message(N))
        then(session, channel)

    run_parties({"bank": lambda s: binning.answer(s, LABELS, feature_parties=("shop",)), "shop": shop})


@pytest.mark.parametrize(
    ("names", "sizes", "said"),
    [
        ([], [], "1 to 4096 features"),
        ([], [3, 0], "1 to 1024 bins"),
        ([], [2000], "1 to 1024 bins"),
        (["a"], [3, 3], "name of its own"),
        (["a" * 201], [3], "a short name"),
        (["a", "a"], [3, 3], "name of its own"),
    ],
)
def test_features_that_cannot_be(names: list[str], sizes: list[int], said: str) -> None:
    with pytest.raises(PeerError, match=said):
        _hostile(lambda _, c: c.send(wire.BinningFeatures(names=names), np.array(sizes, dtype=np.uint16)))


@pytest.mark.parametrize("into", [[0, 1, 2], [0, 0], [0, 2, 2], [0, 0, 0, 0]])
def test_bins_that_are_too_small_have_to_go_together(into: list[int]) -> None:
    codes = np.zeros((1, N), dtype=np.uint16)
    codes[0, :4], codes[0, 1000:] = 1, 2

    def shop(session: Session, channel: Channel) -> None:
        channel.send(wire.BinningFeatures(), np.array([3], dtype=np.uint16))
        packed = counts.holder(channel, codes, N, (2,), rng=session.rng)
        engine = TwoParty.over(channel, first=False, rng=session.rng)
        rows = np.bincount(codes[0]).astype(np.uint64)[None]
        sums = binning._Sums(engine, binning._single(engine, packed, np.array([3], np.uint16), N, total=0), rows)
        assert sums.large(10).tolist() == [True, False, True]
        channel.send(wire.BinningGroups(), np.array(into, dtype=np.uint16))
        sums.grouped([np.array([0, 0, 1], dtype=np.uint16)]).large(10)

    with pytest.raises(PeerError, match="a place for each bin|fewer bins"):
        _hostile(shop)


@pytest.mark.parametrize("values", [[np.nan], [-0.1], [np.inf], [0.1, 0.2], []])
def test_information_values_that_are_none(values: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    real = Channel.send

    def lying(self: Channel, header: Message, *arrays: NDArray[np.generic]) -> None:
        real(self, header, *((np.array(values, dtype=np.float64),) if type(header) is wire.BinningValues else arrays))

    monkeypatch.setattr(Channel, "send", lying)
    with pytest.raises(PeerError, match="an information value for each feature"):
        run({"job": FEATURES["job"]})


def test_a_label_party_whose_counts_do_not_fit_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = binning._single

    def lying(
        engine: Engine, packed: NDArray[np.uint64], sizes: NDArray[np.uint16], n: int, *, total: int
    ) -> NDArray[np.uint64]:
        events = real(engine, packed, sizes, n, total=total)
        events[0, 0] += np.uint64(total > 0)
        return events

    monkeypatch.setattr(binning, "_single", lying)
    with pytest.raises(PeerError, match="as many events"):
        run()


@pytest.mark.parametrize(
    ("sender", "message", "byte"), [("shop", 0, -1), ("shop", 1, 3), ("shop", 1, -1), ("bank", 0, -1), ("bank", 1, 40)]
)
def test_one_flipped_bit_ends_the_run(sender: str, message: int, byte: int) -> None:
    receiver = "bank" if sender == "shop" else "shop"
    with pytest.raises(PeerError):
        run_parties(
            {
                "bank": lambda s: binning.answer(s, LABELS, feature_parties=("shop",)),
                "shop": lambda s: binning.offer(s, {"job": FEATURES["job"]}, label_party="bank"),
            },
            tamper={(sender, receiver): Tamper(message=message, byte=byte, bit=6)},
        )


def test_a_party_that_leaves_ends_the_run() -> None:
    with pytest.raises(ChannelClosed):
        _hostile(lambda session, _: session.close("gone"))


def test_random_streams_of_the_parties_differ() -> None:
    """The same run twice gives other shares: nothing of a run is fixed by its inputs."""
    first, second = (
        run_parties(
            {
                "bank": lambda s: binning.answer(s, LABELS, feature_parties=("shop",), mode="shared"),
                "shop": lambda s: binning.offer(s, {"job": FEATURES["job"]}, label_party="bank", mode="shared"),
            }
        )["shop"].shares["job"]
        for _ in range(2)
    )
    assert not np.array_equal(first, second)
