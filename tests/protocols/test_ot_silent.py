"""Silent transfers: the bit that carries the choices, what they cost, and that a sender who deviates is caught.

That they give what correlated transfers are to give is tested in test_ot_cot.py, with those of SoftSpoken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpc import suite as suites
from mpc.errors import CheatingDetected, PeerError, UsageError
from mpc.kernels import pprf
from mpc.testing import Tamper, run_parties
from protocols.ot import CotReceiver, CotSender, noise, silent
from protocols.ot.choices import Choices
from protocols.ot.method import Security

SUITE = suites.get("intl")
N = silent.DIRECT + 1
TREES = 2  # which message of the sender's has the trees: two of the extension's come before


def run(
    n: int,
    choices: Choices | int,
    *,
    security: Security = "semi-honest",
    delta: np.ndarray | None = None,
    tamper: dict[tuple[str, str], Tamper] | None = None,
) -> dict[str, Any]:
    options: dict[str, Any] = {"suite": SUITE, "security": security}
    return run_parties(
        {
            "sender": lambda s: (silent.send(s.channel("receiver"), n, rng=s.rng, delta=delta, **options), s),
            "receiver": lambda s: (silent.receive(s.channel("sender"), choices, rng=s.rng, **options), s),
        },
        tamper=tamper,
    )


def check(sent: CotSender, got: CotReceiver) -> None:
    assert np.array_equal(got.t, sent.k ^ got.choices[:, None] * sent.delta)


def test_random_choices_are_the_lowest_bit_of_the_messages() -> None:
    n = 200_000
    results = run(n, n)
    sent, got = results["sender"][0], results["receiver"][0]
    check(sent, got)
    assert sent.delta[0] & 1
    assert not np.any(sent.k[:, 0] & 1)
    assert np.array_equal(got.t[:, 0] & 1, got.choices)
    assert abs(int(got.choices.sum()) - n / 2) < 6 * np.sqrt(n / 4)
    ones = np.unpackbits(sent.k, axis=1, bitorder="little")[:, 1:].sum(axis=0)
    assert np.all(np.abs(ones - n / 2) < 6 * np.sqrt(n / 4))


def test_a_million_bits_cost_little_more_than_their_points() -> None:
    n = 1 << 19
    results = run(n, n)
    check(results["sender"][0], results["receiver"][0])
    traffic = results["sender"][1].channel("receiver").traffic
    shape = noise.shape_for(n, "semi-honest")
    assert traffic.bytes_sent + traffic.bytes_received < shape.trees * (36 * shape.levels + 16) + 24_000


@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
def test_choices_of_ones_own(security: Security) -> None:
    wanted = np.arange(N) % 3 == 0
    results = run(N, wanted, security=security)
    check(results["sender"][0], results["receiver"][0])
    assert np.array_equal(results["receiver"][0].choices, wanted)


def test_an_offset_without_its_lowest_bit_is_refused() -> None:
    delta = np.full(16, 2, np.uint8)
    with pytest.raises(UsageError, match=r"delta\[0\] \|= 1"):
        run(N, N, delta=delta)


def test_parties_that_want_different_numbers_do_not_begin() -> None:
    with pytest.raises(PeerError, match="4098 transfers") as raised:
        run(N + 1, N)
    assert raised.value.step == "SilentRequest"


@pytest.mark.parametrize("row", [0, 255, 102_399])
def test_a_changed_leaf_is_caught(monkeypatch: pytest.MonkeyPatch, row: int) -> None:
    expand = pprf.expand

    def wrong(seeds: np.ndarray, *, leaves: int, salt: bytes) -> tuple[np.ndarray, np.ndarray]:
        nodes, sums = expand(seeds, leaves=leaves, salt=salt)
        nodes[row, 5] ^= 4
        return nodes, sums

    monkeypatch.setattr(pprf, "expand", wrong)
    with pytest.raises(CheatingDetected, match="SilentAnswer"):
        run(N, N, security="malicious")


def test_a_flipped_bit_in_the_trees_is_caught() -> None:
    # Their last byte is one of the finals', each of which the receiver uses.
    with pytest.raises(CheatingDetected, match="SilentAnswer"):
        run(N, N, security="malicious", tamper={("sender", "receiver"): Tamper(TREES)})
