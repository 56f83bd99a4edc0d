"""Z_2^64 and bit planes from their definitions: integers word by word and bit by bit, streams by OpenSSL's AES."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MODULUS = 1 << 64
BITS = 64
BLOCKS = 21
STEPS = 7
STEP_PLANES = BLOCKS * STEPS + 1
TILE = 32
"""Columns that lie together in what ``steps`` gives. Shares of it are made by several parties, so they must agree."""

Plane = list[int]
Matrix = Sequence[Sequence[int]]


def stream(key: bytes, block: int, n: int) -> list[int]:
    """N words of a key's stream, two to the block; behind block 2^128 - 1 comes block 0."""
    encryptor = Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(16, "big"))).encryptor()
    data = encryptor.update(bytes(8 * n))
    return [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]


def mask(words: Sequence[int], kind: str, key: bytes, block: int) -> list[int]:
    """The words with the stream added, subtracted, or added bit by bit."""
    pairs = list(zip(words, stream(key, block, len(words)), strict=True))
    if kind == "xor":
        return [word ^ m for word, m in pairs]
    sign = {"add": 1, "subtract": -1}[kind]
    return [(word + sign * m) % MODULUS for word, m in pairs]


def product(kind: str, x: Matrix, y: Matrix, plus: tuple[bytes, int], minus: tuple[bytes, int]) -> list[int]:
    """x0·y0 + x0·y1 + x1·y0 and one stream less the other; or of bits, with AND and XOR."""
    n, out = len(x[0]), []
    for x0, x1, y0, y1, p, m in zip(*x, *y, stream(*plus, n), stream(*minus, n), strict=True):
        if kind == "and":
            out.append(x0 & y0 ^ x0 & y1 ^ x1 & y0 ^ p ^ m)
        else:
            out.append((x0 * y0 + x0 * y1 + x1 * y0 + p - m) % MODULUS)
    return out


def matmul(a: Matrix, b: Matrix, sums: Matrix) -> list[list[int]]:
    """`sums` and the product of two matrices."""
    columns = [[row[j] for row in b] for j in range(len(sums[0]) if sums else 0)]
    pairs = zip(a, sums, strict=True)
    return [[(s + inner(row, column)) % MODULUS for s, column in zip(of, columns, strict=True)] for row, of in pairs]


def inner(a: Sequence[int], b: Sequence[int]) -> int:
    """The sum of the products, as large as it gets."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def width(n: int) -> int:
    """Words of a plane of n words."""
    return (n + BITS - 1) // BITS


def plane(bits: Sequence[int]) -> Plane:
    """Bits, 64 to the word, the first lowest."""
    return [sum(bit << i for i, bit in enumerate(bits[at : at + BITS])) for at in range(0, len(bits), BITS)]


def bit(plane: Sequence[int], i: int) -> int:
    """Bit i of a plane."""
    return plane[i // BITS] >> i % BITS & 1


def planes(words: Sequence[int]) -> list[Plane]:
    """Plane b has bit b of each word."""
    return [plane([word >> b & 1 for word in words]) for b in range(BITS)]


def words(planes: Sequence[Plane], n: int) -> list[int]:
    """The words that have these planes."""
    return [sum(bit(row, i) << b for b, row in enumerate(planes)) for i in range(n)]


def digit(word: int, block: int) -> int:
    """Three bits of a word."""
    return word >> 3 * block & 7


def step_planes(words: Sequence[int], blocks: int = BLOCKS) -> list[Plane]:
    """For each block and each v of 1 to 7, whether the block of each word is at least v; then the bit above them."""
    steps = [plane([int(digit(w, block) >= v) for w in words]) for block in range(blocks) for v in range(1, STEPS + 1)]
    return [*steps, plane([word >> 3 * blocks & 1 for word in words])]


def place(row: int, column: int, width: int, blocks: int = BLOCKS) -> int:
    """Where a word of the planes of steps stands: all planes of a tile's columns, then the next tile."""
    first = column // TILE * TILE
    return first * (blocks * STEPS + 1) + row * min(TILE, width - first) + column - first


def steps(words: Sequence[int], out: Sequence[int], blocks: int = BLOCKS) -> list[int]:
    """`out` and the steps, by XOR."""
    sums = list(out)
    for row, of in enumerate(step_planes(words, blocks)):
        for column, word in enumerate(of):
            sums[place(row, column, width(len(words)), blocks)] ^= word
    return sums


def carries(steps: Sequence[int], t: Sequence[int], *, one: bool, blocks: int = BLOCKS) -> list[Plane]:
    """Of a share of the steps of s: shares of the carries, of what passes them on, and of the sum of the bits above."""
    columns = width(len(t))
    rows = [
        [steps[place(row, column, columns, blocks)] for column in range(columns)] for row in range(blocks * STEPS + 1)
    ]
    whole = [*t, *[0] * (BITS * columns - len(t))]

    def at_least(block: int, v: int, i: int) -> int:
        """A share of whether the block of s is at least v, which all are of 0 and none of 8."""
        if v in (0, STEPS + 1):
            return int(one and v == 0)
        return bit(rows[block * STEPS + v - 1], i)

    carried, passed = [], []
    for block in range(blocks):
        sevens = [STEPS - digit(word, block) for word in whole]
        carry = [at_least(block, v + 1, i) for i, v in enumerate(sevens)]
        carried.append(plane(carry))
        passed.append(plane([c ^ at_least(block, v, i) for i, (v, c) in enumerate(zip(sevens, carry, strict=True))]))
    above = plane([bit(rows[-1], i) ^ (one and word >> 3 * blocks & 1) for i, word in enumerate(whole)])
    return [*carried, *passed[1:], above]


def carries_of_sums(s: Sequence[int], t: Sequence[int], blocks: int = BLOCKS) -> list[Plane]:
    """What the shares of ``carries`` add up to: of s + t block by block, without steps."""
    sums = [[digit(a, block) + digit(b, block) for a, b in zip(s, t, strict=True)] for block in range(blocks)]
    carried = [plane([int(total > STEPS) for total in row]) for row in sums]
    passed = [plane([int(total == STEPS) for total in row]) for row in sums[1:]]
    return [*carried, *passed, plane([(a ^ b) >> 3 * blocks & 1 for a, b in zip(s, t, strict=True)])]
