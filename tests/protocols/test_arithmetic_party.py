"""Who takes part in shared arithmetic: what they agree on, what they bring and take, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

from mpc import fixed
from mpc.channel import Traffic
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.arithmetic.v1 import agreement_pb2, input_pb2
from protocols import arithmetic
from protocols.arithmetic import party, pieces
from protocols.arithmetic.party import Computation, InputParty

COMPUTE = ("tax", "fund", "social")
Compute = Callable[[Computation], Any]
Bring = Callable[[InputParty], Any]


def play(compute: Compute, bank: Bring | None = None, **banks: Bring) -> dict[str, Any]:
    """What each party's program returns."""

    def computes(s: Session) -> object:
        with arithmetic.ideal_party(s, compute=COMPUTE) as mpc:
            return compute(mpc)

    def brings(program: Bring) -> Callable[[Session], Any]:
        def run(s: Session) -> object:
            with arithmetic.input_party(s, compute=COMPUTE, ideal=True) as mpc:
                return program(mpc)

        return run

    others = banks | ({} if bank is None else {"bank": bank})
    return run_parties(dict.fromkeys(COMPUTE, computes) | {name: brings(program) for name, program in others.items()})


@pytest.mark.parametrize(
    "values",
    [
        np.arange(-3, 3).reshape(2, 3),
        np.array([0.5, -1.25]),
        np.array([True, False, True]),
        np.zeros((0, 4)),
        np.array(7),
        np.arange(2 * pieces.PIECE + 5) % 7 == 0,
    ],
    ids=["int", "fixed", "bool", "empty", "one", "pieces"],
)
def test_values_come_and_go_with_kind_and_shape(values: np.ndarray[Any, Any]) -> None:
    def compute(mpc: Computation) -> object:
        received = mpc.receive(from_="bank")
        mine = values if mpc.me == "fund" else None
        owned = mpc.share(mine, owner="fund")
        given = mpc.share(values)["social"]
        assert received.shape == owned.shape == given.shape == values.shape
        mpc.reveal(received, to="bank")
        return [mpc.reveal(v) for v in (received, owned, given, mpc.constant(values))]

    def bank(mpc: InputParty) -> object:
        mpc.send(values)
        return mpc.obtain()

    results = play(compute, bank)
    for name in COMPUTE:
        for got in results[name]:
            np.testing.assert_array_equal(got, values, strict=True)
    np.testing.assert_array_equal(results["bank"], values, strict=True)


def test_who_learns() -> None:
    def compute(mpc: Computation) -> object:
        x = mpc.share([1, 2])["tax"]
        forms = [None, "tax", ("tax", "social"), ["fund", "bank"], "bank"]
        return [mpc.reveal(x + i, to=to) is not None for i, to in enumerate(forms)]

    results = play(compute, lambda mpc: [mpc.obtain().tolist() for _ in range(2)])
    assert results == {
        "tax": [True, True, True, False, False],
        "fund": [True, False, False, True, False],
        "social": [True, False, True, False, False],
        "bank": [[4, 5], [5, 6]],
    }


def test_several_parties_bring_values() -> None:
    def compute(mpc: Computation) -> object:
        total = sum(mpc.receive(from_=name) for name in ("bank", "insurer", "shop"))
        mpc.reveal(total, to="shop")

    def bring(amount: float) -> Bring:
        return lambda mpc: mpc.send([amount, 1])

    def shop(mpc: InputParty) -> object:
        mpc.send([2.0, 1.0], fraction=20)
        return mpc.obtain().tolist()

    assert play(compute, bank=bring(0.5), insurer=bring(7.25), shop=shop)["shop"] == [9.75, 3.0]


def test_sums_over_parties() -> None:
    def compute(mpc: Computation) -> object:
        i = COMPUTE.index(mpc.me)
        whole = mpc.share(np.arange(3) + i).sum_over_parties()
        real = mpc.share(np.arange(3) / 4 + i).sum_over_parties()
        bits = mpc.share([i == 0, i < 2, True]).sum_over_parties()
        assert (whole.kind, real.kind, bits.kind) == ("int", "fixed", "int")
        return [mpc.reveal(v).tolist() for v in (whole, real, bits)]  # type: ignore[union-attr]

    assert play(compute)["tax"] == [[3, 6, 9], [3, 3.75, 4.5], [1, 2, 3]]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1, 2, 3], "differ in shape"),
        ([1.5, 2.5], "differ in kind .* and in fraction"),
        ([True, False], "differ in kind"),
    ],
)
def test_sums_of_what_does_not_go_together(values: list[Any], says: str) -> None:
    def compute(mpc: Computation) -> None:
        mpc.share(values if mpc.me == "social" else [1, 2]).sum_over_parties()

    with pytest.raises(PeerError, match=says):
        play(compute)


def test_each_brings_its_own_shape() -> None:
    def compute(mpc: Computation) -> object:
        given = mpc.share(np.full(2 + COMPUTE.index(mpc.me), COMPUTE.index(mpc.me)))
        return [given[name].shape[0] for name in COMPUTE]

    assert play(compute)["fund"] == [2, 3, 4]


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "fraction": ({"fraction": 20}, r"differ in fraction \(here '\d+', there '\d+'\)"),
    "suite": ({"suite": "gm"}, r"differ in suite \(here '(gm|intl)', there '(gm|intl)'\)"),
    "method": ({"method": "silent"}, "differ in method"),
    "truncation": ({"truncation": "local"}, "differ in truncation"),
    "compute": ({"compute": ("fund", "tax")}, "differ in compute"),
    "inputs": ({"inputs": ("bank",)}, "differ in inputs"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_parties_that_are_about_to_do_something_else(name: str) -> None:
    options, says = DIFFERENT[name]

    def run(s: Session, **own: object) -> None:
        with arithmetic.two_party(s, **{"compute": ("tax", "fund"), "inputs": (), **own}):
            pass

    parties = {"tax": run, "fund": lambda s: run(s, **options), "bank": lambda s: s.channel("fund").recv()}
    with pytest.raises(PeerError, match=says):
        run_parties(parties)


@pytest.mark.parametrize(("field", "says"), [("version", "version"), ("ring_bits", "ring bits")])
@pytest.mark.parametrize("other", ["fund", "bank"])
def test_another_version_or_ring(field: str, says: str, other: str) -> None:
    said = {"version": party.VERSION, "ring_bits": party.RING_BITS, "scheme": "two-party", "compute": ("tax", "fund")}
    said |= {"suite": "intl", "method": "softspoken", "fraction": 18, "truncation": "faithful", field: 32}

    def compute(s: Session) -> None:
        with arithmetic.two_party(s, compute=("tax", "fund"), inputs=("bank",) if other == "bank" else ()):
            pass

    def differs(s: Session) -> None:
        s.channel("tax").send(agreement_pb2.Agreement(**said))  # type: ignore[arg-type]
        s.channel("tax").recv(agreement_pb2.Agreement)
        s.channel("tax").recv(agreement_pb2.Agreement)

    def waits(s: Session) -> None:
        if other == "bank":
            s.channel("tax").send(
                agreement_pb2.Agreement(**said | {"inputs": ("bank",), field: getattr(party, field.upper())})
            )  # type: ignore[arg-type]
            s.channel("tax").recv(agreement_pb2.Agreement)

    parties = {"tax": compute, "fund": waits, "bank": lambda _: None} | {other: differs}
    with pytest.raises(PeerError, match=rf"{other} broke .* differ in {says} \(here '\d+', there '32'\)"):
        run_parties(parties)


def test_the_bank_uses_other_fractions() -> None:
    def bank(s: Session) -> None:
        with arithmetic.input_party(s, compute=("tax", "fund"), fraction=16):
            pass

    def compute(s: Session) -> None:
        with arithmetic.two_party(s, compute=("tax", "fund")):
            pass

    with pytest.raises(PeerError, match="differ in fraction"):
        run_parties({"tax": compute, "fund": compute, "bank": bank})


PROGRAM = ["share", "owned", "receive", "multiply", "to all", "to bank"]


def program(mpc: Computation, stop: str = "") -> np.ndarray[Any, Any]:
    """A bit of everything; this party leaves before `stop`."""

    def reached(step: str) -> None:
        if step == stop:
            raise KeyboardInterrupt

    reached("share")
    total = mpc.share([1, 2]).sum_over_parties()
    reached("owned")
    factor = mpc.share([3, 4] if mpc.me == "fund" else None, owner="fund")
    reached("receive")
    claims = mpc.receive(from_="bank")
    reached("multiply")
    product = total * factor < claims
    reached("to all")
    opened = mpc.reveal(product)
    reached("to bank")
    mpc.reveal(total * factor, to="bank")
    return opened


@pytest.mark.parametrize("stop", PROGRAM)
@pytest.mark.parametrize("way", [arithmetic.ideal_party, arithmetic.two_party, arithmetic.three_party])
def test_a_party_that_leaves_ends_the_others(way: Callable[..., Any], stop: str) -> None:
    """At whatever step: the others raise at once, and do not wait for a timeout."""
    names = ("tax", "fund", "social") if way is arithmetic.three_party else ("tax", "fund")
    ends: dict[str, BaseException] = {}

    def compute(s: Session) -> None:
        try:
            with way(s, compute=names) as mpc:
                program(mpc, stop if s.me == "fund" else "")
        except BaseException as error:
            ends[s.me] = error

    def bank(s: Session) -> None:
        try:
            with arithmetic.input_party(s, compute=names, ideal=way is arithmetic.ideal_party) as mpc:
                mpc.send([50, 5])
                mpc.obtain()
        except BaseException as error:
            ends[s.me] = error

    run_parties(dict.fromkeys(names, compute) | {"bank": bank}, timeout_s=20)
    assert isinstance(ends["fund"], KeyboardInterrupt)
    others = [ends[name] for name in (*names, "bank") if name != "fund"]
    assert all(isinstance(end, ChannelClosed) for end in others)
    assert any("KeyboardInterrupt" in str(end) for end in others)


LINKS = {("tax", "fund"): 6, ("bank", "tax"): 3, ("tax", "bank"): 3}
VALUES = 2  # the message with values on each of these links; the others describe


@pytest.mark.parametrize(("link", "message"), [(link, i) for link, count in LINKS.items() for i in range(count)])
def test_one_flipped_bit(link: tuple[str, str], message: int) -> None:
    """In what describes an array: PeerError. In its values: another value, which only copies that differ give away."""

    def compute(s: Session) -> object:
        with arithmetic.ideal_party(s, compute=("tax", "fund")) as mpc:
            return program(mpc).tolist()

    def bank(s: Session) -> object:
        with arithmetic.input_party(s, compute=("tax", "fund"), ideal=True) as mpc:
            mpc.send([50, 5])
            return mpc.obtain().tolist()

    parties = {"tax": compute, "fund": compute, "bank": bank}
    if (link, message) == (("bank", "tax"), VALUES):
        results = run_parties(parties, tamper={link: Tamper(message)})
        assert results == {"tax": [True, True], "fund": [True, False], "bank": [6, 16]}
    else:
        with pytest.raises(PeerError, match="copies of a value differ" if message == VALUES else "broke"):
            run_parties(parties, tamper={link: Tamper(message)})


@pytest.mark.parametrize(
    ("message", "kind", "says"),
    [
        (lambda: (input_pb2.Words(), np.zeros((1, 12), np.uint64)), "words", "2 x 12 words"),
        (lambda: (input_pb2.Words(), np.zeros((2, 11), np.uint64)), "words", "2 x 12 words"),
        (lambda: (input_pb2.Words(), np.zeros((2, pieces.PIECE + 1), np.uint64)), "words", "where at most"),
        (lambda: (input_pb2.Words(), np.zeros((2, 2), np.uint64)), "bits", "got a .*Words"),
        (lambda: (input_pb2.Bits(), np.zeros((2, 2), np.uint8)), "words", "got a .*Bits"),
        (lambda: (input_pb2.Bits(), np.zeros((2, 3), np.uint8)), "bits", "2 x 12 bits"),
        (lambda: (input_pb2.Bits(), np.array([[0, 0], [0, 16]], np.uint8)), "bits", "zeros behind the last bit"),
    ],
)
def test_pieces_that_there_cannot_be(message: Callable[[], tuple[Any, ...]], kind: str, says: str) -> None:
    def receives(s: Session) -> None:
        pieces.receive(s.channel("bank"), 2, (3, 4), bits=kind == "bits")

    with pytest.raises(PeerError, match=says):
        run_parties({"tax": receives, "bank": lambda s: s.channel("tax").send(*message())})


def test_what_it_costs() -> None:
    """Bytes and rounds as the module's docstring and the page state them."""
    n = 4096
    spent: dict[str, list[Traffic]] = {}

    def compute(s: Session) -> None:
        with arithmetic.two_party(s, compute=("tax", "fund")) as mpc:
            channel = s.channel("bank")
            marks = [channel.traffic]
            whole, bits = mpc.receive(from_="bank"), mpc.receive(from_="bank")
            marks.append(channel.traffic)
            mpc.reveal(whole, to="bank")
            mpc.reveal(bits, to="bank")
            marks.append(channel.traffic)
            spent[s.me] = marks

    def bank(s: Session) -> None:
        with arithmetic.input_party(s, compute=("tax", "fund")) as mpc:
            mpc.send(np.arange(n))
            mpc.send(np.arange(n) % 2 == 0)
            mpc.obtain()
            mpc.obtain()

    run_parties({"tax": compute, "fund": compute, "bank": bank})
    for start, received, sent in spent.values():
        for size in (received.bytes_received - start.bytes_received, sent.bytes_sent - received.bytes_sent):
            assert 8 * n + n // 8 < size < 8 * n + n // 8 + 4 * 150
        assert received.messages_received - start.messages_received == 4
        assert sent.rounds - received.rounds == 0


def test_misuse() -> None:
    def compute(mpc: Computation) -> None:
        with pytest.raises(UsageError, match="'bank' does not compute: bank calls send"):
            mpc.share([1], owner="bank")
        with pytest.raises(UsageError, match="Each computing party brings values"):
            mpc.share(None)  # type: ignore[call-overload]
        with pytest.raises(UsageError, match="Only tax gives values" if mpc.me != "tax" else "Only fund"):
            mpc.share([1], owner="tax" if mpc.me != "tax" else "fund")
        with pytest.raises(UsageError, match="none of the parties that bring values"):
            mpc.receive(from_="tax")
        x = mpc.constant([1, 2])
        for to in ("nobody", (), ("tax", "nobody")):
            with pytest.raises(UsageError, match="to names parties that take part"):
                mpc.reveal(x, to=to)
        with pytest.raises(UsageError, match=r"index 1 is not a number \(NaN\)"):
            mpc.share([1.0, np.nan])
        with pytest.raises(UsageError, match="from 0 to 40"):
            mpc.share([1.0], fraction=50)
        with pytest.raises(UsageError, match="'nobody' is none of the computing parties"):
            mpc.share([1])["nobody"]

    def bank(mpc: InputParty) -> None:
        with pytest.raises(UsageError, match="infinite"):
            mpc.send([np.inf])

    play(compute, bank)


def test_misuse_of_the_ways_in() -> None:
    def run(s: Session) -> None:
        for names, says in (
            (("tax",), "2 parties compute, tax one of them"),
            (("fund", "bank"), "2 parties compute, tax one of them"),
            (("tax", "tax"), "compute names different parties"),
            ("tax", "compute names different parties"),
        ):
            with pytest.raises(UsageError, match=says), arithmetic.two_party(s, compute=names):
                pass
        with (
            pytest.raises(UsageError, match="'tax'.* is in both"),
            arithmetic.two_party(s, compute=("tax", "fund"), inputs=("tax",)),
        ):
            pass
        with (
            pytest.raises(UsageError, match="no cipher suite"),
            arithmetic.two_party(s, compute=("tax", "fund"), suite="none"),
        ):
            pass
        with (
            pytest.raises(UsageError, match="tax computes: call three_party or two_party"),
            arithmetic.input_party(s, compute=("tax", "fund")),
        ):
            pass
        with (
            pytest.raises(UsageError, match="fraction is a number of bits"),
            arithmetic.input_party(s, compute=("bank", "fund"), fraction=99),
        ):
            pass

    run_parties({"tax": run, "fund": lambda _: None, "bank": lambda _: None})


OPENED = [
    (("ann",), arithmetic.ideal_party),
    (("ann", "bob", "cat"), arithmetic.ideal_party),
    (("bob", "ann"), arithmetic.two_party),
    (("cat", "ann", "bob"), arithmetic.three_party),
]


@pytest.mark.parametrize(("compute", "opened"), OPENED, ids=["alone", "ideal", "two", "three"])
def test_pieces_go_out_and_come_back(
    compute: tuple[str, ...], opened: Callable[..., AbstractContextManager[Computation]]
) -> None:
    values = np.array([[1.5, -2.25], [0.0, 2.0**30]]) * len(compute)

    def party(s: Session) -> object:
        with opened(s, compute=compute, inputs=()) as mpc:
            x = mpc.share(values / len(compute)).sum_over_parties()
            got = {}
            for to in (*compute, "elsewhere"):
                piece = mpc.piece(x, to=to)
                assert (piece is not None) == (mpc.me in mpc.givers(to))
                given = np.zeros(x.shape, np.uint64) if piece is None else piece
                back = mpc.from_pieces(given, fraction=x.fraction)
                got[to] = (mpc.givers(to), piece, mpc.reveal(back))
            with pytest.raises(UsageError, match="as_int"):
                mpc.piece(x > 0, to="ann")
            with pytest.raises(UsageError, match="uint64"):
                mpc.from_pieces(given.view(np.int64))  # type: ignore[arg-type]
            return got

    results = run_parties(dict.fromkeys(compute, party))
    for to in (*compute, "elsewhere"):
        givers = results[compute[0]][to][0]
        assert to not in compute or givers[0] == to
        total = sum(results[name][to][1] for name in givers)
        np.testing.assert_array_equal(total, fixed.encode(values))
        if len(givers) > 1:
            # One piece alone is no encoding of the values.
            assert all((results[name][to][1] != fixed.encode(values)).any() for name in givers)
        for name in compute:
            np.testing.assert_array_equal(results[name][to][2], values)
