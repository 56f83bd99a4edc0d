"""What is made of correlated transfers, from its definition: one transfer after the other, bits as integers 0 or 1."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference.gf128 import hash_block, xor

WORD = 1 << 64


def masks(delta: bytes, k: Sequence[bytes], flips: Sequence[int], tweak: int) -> list[tuple[bytes, bytes]]:
    """The sender's two masks of each transfer, in the other order where the choice is flipped."""
    out = []
    for i, (block, flip) in enumerate(zip(k, flips, strict=True)):
        pair = hash_block(block, tweak + i), hash_block(xor(block, delta), tweak + i)
        out.append((pair[flip], pair[1 - flip]))
    return out


def chosen(t: Sequence[bytes], tweak: int) -> list[bytes]:
    """The receiver's mask of each transfer."""
    return [hash_block(block, tweak + i) for i, block in enumerate(t)]


def bits_of(value: int, n: int) -> list[int]:
    """Its n lowest bits, the lowest first."""
    return [value >> i & 1 for i in range(n)]


def two_bits(mask: bytes, entry: int) -> int:
    """The bits of a mask that belong to an entry of a table of sixteen."""
    return int.from_bytes(mask[:4], "little") >> (2 * entry) & 3


def offer_table(pairs: Sequence[tuple[bytes, bytes]], leaf: int, shares: tuple[int, int], *, left: bool) -> int:
    """The message for one piece of four bits: sixteen entries of two bits, the first lowest."""
    message = 0
    for entry in range(16):
        less = leaf < entry if left else entry < leaf
        value = less ^ shares[0] | ((leaf == entry) ^ shares[1]) << 1
        for pair, bit in zip(pairs, bits_of(entry, 4), strict=True):
            value ^= two_bits(pair[bit], entry)
        message |= value << (2 * entry)
    return message


def choose_table(mine: Sequence[bytes], leaf: int, message: int) -> tuple[int, int]:
    """The receiver's shares of "less" and "equal"."""
    value = message >> (2 * leaf) & 3
    for mask in mine:
        value ^= two_bits(mask, leaf)
    return value & 1, value >> 1


def offer_bits(pair: tuple[bytes, bytes]) -> tuple[int, int, int, int]:
    """The sender's two shares and its two factors."""
    zero, one = (mask[0] & 3 for mask in pair)
    return zero & 1, zero >> 1, (zero ^ one) & 1, (zero ^ one) >> 1


def choose_bits(mask: bytes) -> tuple[int, int]:
    """The receiver's two shares."""
    return mask[0] & 1, mask[0] >> 1 & 1


def number(mask: bytes) -> int:
    """A mask as a word."""
    return int.from_bytes(mask[:8], "little")


def offer_product(pairs: Sequence[tuple[bytes, bytes]], y: int, *, bitwise: bool) -> tuple[int, bytes]:
    """The sender's share and its message."""
    share, message = 0, b""
    for i, (zero, one) in enumerate(pairs):
        factor = y >> i & 1 if bitwise else y
        share -= number(zero) << i
        width = 8 - i // 8  # bytes in which the lowest 64 - i bits fit
        message += ((number(zero) - number(one) + factor) % (1 << 8 * width)).to_bytes(width, "little")
    return share % WORD, message


def choose_product(mine: Sequence[bytes], x: int, message: bytes) -> int:
    """The receiver's share."""
    share, at = 0, 0
    for i, mask in enumerate(mine):
        width = 8 - i // 8
        offset = int.from_bytes(message[at : at + width], "little")
        share += (number(mask) + (x >> i & 1) * offset) << i
        at += width
    return share % WORD
