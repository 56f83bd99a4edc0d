"""Writes the vectors of what is made of correlated transfers: ``python -m tests.reference.generate_transfers``.

Inputs are SHAKE-256 of ``"unseen vectors " ‖ label``; outputs stand as SHA-256 of their bytes, words little-endian.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.reference import transfers
from tests.reference.gf128 import xor

PATH = Path(__file__).resolve().parent.parent / "vectors" / "transfers.json"
GROUP = 64
LEAVES = 16


def uniform(label: str, size: int) -> bytes:
    """Reproducible bytes that look uniform."""
    return hashlib.shake_256(b"unseen vectors " + label.encode()).digest(size)


def words(label: str, n: int) -> list[int]:
    """N reproducible words."""
    data = uniform(label, 8 * n)
    return [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]


def blocks(label: str, n: int) -> list[bytes]:
    """N reproducible blocks."""
    data = uniform(label, 16 * n)
    return [data[i : i + 16] for i in range(0, len(data), 16)]


def digest(numbers: Iterable[int], width: int = 8) -> str:
    """SHA-256 of numbers of so many bytes."""
    return hashlib.sha256(b"".join(n.to_bytes(width, "little") for n in numbers)).hexdigest()


def received(k: Sequence[bytes], delta: bytes, choices: Sequence[int]) -> list[bytes]:
    """The receiver's messages."""
    return [xor(block, delta) if choice else block for block, choice in zip(k, choices, strict=True)]


def word(bits: Sequence[int]) -> int:
    """Bits as a word, the first lowest."""
    return sum(bit << i for i, bit in enumerate(bits))


def tables(label: str, n: int, tweak: int, *, left: bool) -> dict[str, object]:
    """Pieces of n values compared."""
    k, delta = blocks(label + "k", GROUP * n), uniform(label + "delta", 16)
    mine, theirs, choices = (words(label + name, n) for name in ("mine", "theirs", "choices"))
    shares = words(label + "shares", n // GROUP * 2 * LEAVES)
    messages, planes = [], [0] * len(shares)
    for v in range(n):
        flips = transfers.bits_of(theirs[v] ^ choices[v], GROUP)
        at = slice(GROUP * v, GROUP * (v + 1))
        pairs = transfers.masks(delta, k[at], flips, tweak + at.start)
        t = received(k[at], delta, transfers.bits_of(choices[v], GROUP))
        got = transfers.chosen(t, tweak + at.start)
        for leaf in range(LEAVES):
            a, b = (value >> (4 * leaf) & 15 for value in (mine[v], theirs[v]))
            where = [v // GROUP * 2 * LEAVES + kind * LEAVES + leaf for kind in (0, 1)]
            held = tuple(shares[i] >> v % GROUP & 1 for i in where)
            of = slice(4 * leaf, 4 * leaf + 4)
            messages.append(transfers.offer_table(pairs[of], a, (held[0], held[1]), left=left))
            opened = transfers.choose_table(got[of], b, messages[-1])
            if tuple(x ^ y for x, y in zip(held, opened, strict=True)) != (a < b if left else b < a, a == b):
                raise AssertionError("the reference's sides do not meet")
            for i, bit in zip(where, opened, strict=True):
                planes[i] |= bit << v % GROUP
    return {
        "label": label, "n": n, "tweak": tweak, "left": left,
        "messages": digest(messages, 4), "received": digest(planes),
    }  # fmt: skip


def bits(label: str, n: int, tweak: int) -> dict[str, object]:
    """Products of n choices with two bits each."""
    k, delta = blocks(label + "k", n), uniform(label + "delta", 16)
    choices = [bit for w in words(label + "choices", n // GROUP) for bit in transfers.bits_of(w, GROUP)]
    sent = [transfers.offer_bits(pair) for pair in transfers.masks(delta, k, [0] * n, tweak)]
    got = [transfers.choose_bits(mask) for mask in transfers.chosen(received(k, delta, choices), tweak)]
    for choice, mine, theirs in zip(choices, sent, got, strict=True):
        if any(mine[i] ^ theirs[i] != choice & mine[2 + i] for i in (0, 1)):
            raise AssertionError("the reference's sides do not meet")
    starts = range(0, n, GROUP)
    return {
        "label": label, "n": n, "tweak": tweak,
        "sent": digest(word([row[i] for row in sent[s : s + GROUP]]) for i in range(4) for s in starts),
        "received": digest(word([row[i] for row in got[s : s + GROUP]]) for i in range(2) for s in starts),
    }  # fmt: skip


def products(label: str, n: int, width: int, tweak: int, *, bitwise: bool) -> dict[str, object]:
    """Products with n numbers of so many bits."""
    k, delta = blocks(label + "k", width * n), uniform(label + "delta", 16)
    x, y, choices = (words(label + name, n) for name in ("x", "y", "choices"))
    shares, messages, got = [], b"", []
    for v in range(n):
        number = x[v] % (1 << width)
        at = slice(width * v, width * (v + 1))
        pairs = transfers.masks(delta, k[at], transfers.bits_of(number ^ choices[v], width), tweak + at.start)
        share, message = transfers.offer_product(pairs, y[v], bitwise=bitwise)
        t = received(k[at], delta, transfers.bits_of(choices[v], width))
        got.append(transfers.choose_product(transfers.chosen(t, tweak + at.start), number, message))
        if (share + got[-1]) % transfers.WORD != (number & y[v] if bitwise else number * y[v] % transfers.WORD):
            raise AssertionError("the reference's sides do not meet")
        shares.append(share)
        messages += message
    return {
        "label": label, "n": n, "bits": width, "tweak": tweak, "bitwise": bitwise,
        "sent": digest(shares), "messages": hashlib.sha256(messages).hexdigest(), "received": digest(got),
    }  # fmt: skip


def main() -> int:
    """Write the file."""
    shapes = [(1, 0, False), (7, 5, False), (8, 2**64 - 1000, False), (9, 1, True), (26, 0, False), (64, 3, False)]
    content = {
        "source": "tests/reference/generate_transfers.py",
        "tables": [tables("tables left ", 64, 0, left=True), tables("tables right ", 128, 2**40, left=False)],
        "bits": [bits("bits ", 192, 11)],
        "products": [
            products(f"products {width} ", 5, width, tweak, bitwise=bitwise) for width, tweak, bitwise in shapes
        ] + [products("products bitwise ", 5, 64, 2, bitwise=True)],
        "bad_products": [
            {"why": "a number of no bits", "bits": 0, "blocks": 0, "n": 4},
            {"why": "a number of 65 bits", "bits": 65, "blocks": 260, "n": 4},
            {"why": "a transfer too few", "bits": 8, "blocks": 31, "n": 4},
            {"why": "a transfer too many", "bits": 8, "blocks": 33, "n": 4},
        ],
    }  # fmt: skip
    PATH.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
