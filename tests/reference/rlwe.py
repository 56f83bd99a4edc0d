"""Slow reference of encrypted products: mpc/kernels/rlwe.py and native/src/{ntt,rlwe}.rs say what they are.

Polynomials are lists of N numbers; ciphertexts are kept modulo q as a whole, and go to residues of primes and to values
at the odd powers of ψ only where they are told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

N = 8192
PRIMES = {
    "narrow": (0x3FFFFFFFFFFF0001, 0x3FFFFFFFFFFE8001, 0x3FFFFFFFFFF1C001),
    "wide": (0x1FFFFFFFFB4001, 0x1FFFFFFFFA4001, 0x1FFFFFFFF9C001, 0x1FFFFFFFF38001),
}
PLAIN = (0xFFFFFFFFFFFC001, 0xFFFFFFFFFFE8001, 0xFFFFFFFFFFD8001)
SINGLE = 0x7FFFFFFFFFCC001
MODULI = (*PLAIN, 1 << 64, SINGLE)
"""Of plaintexts, by number."""
SECRET, ERROR, TERNARY, REPLY_ERROR, MASK, FLOOD = range(1, 7)

Polynomial = list[int]


def stream(key: bytes, block: int, size: int) -> bytes:
    """AES in counter mode: `size` bytes from the given block on."""
    encryptor = Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(16, "big"))).encryptor()
    return encryptor.update(bytes(size))


def _numbers(data: bytes, width: int) -> list[int]:
    return [int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)]


def drawn(seed: bytes, purpose: int, index: int, width: int, count: int = N) -> list[int]:
    """Numbers of `width` bytes of a secret seed."""
    return _numbers(stream(seed, purpose << 120 | index << 64, width * count), width)


def ternary(seed: bytes, purpose: int, index: int) -> Polynomial:
    """Coefficients -1, 0, 1."""
    return [(3 * word >> 64) - 1 for word in drawn(seed, purpose, index, 8)]


def errors(seed: bytes, purpose: int, index: int) -> Polynomial:
    """Centred binomial coefficients."""
    low = (1 << 21) - 1
    return [(word & low).bit_count() - (word >> 21 & low).bit_count() for word in drawn(seed, purpose, index, 8)]


def psi(p: int) -> int:
    """The root of order 2N that transforms use."""
    return next(r for g in range(2, p) if pow(r := pow(g, (p - 1) // (2 * N), p), N, p) == p - 1)


def _reversed(i: int) -> int:
    return int(f"{i:013b}"[::-1], 2)


def forward(x: Sequence[int], p: int) -> list[int]:
    """Coefficients to values: place k has that at ψ^(2·reversed(k) + 1). By even and odd parts."""
    root = psi(p)
    powers = [1]
    for _ in range(2 * N - 1):
        powers.append(powers[-1] * root % p)

    def at_odd_powers(part: Sequence[int], step: int) -> list[int]:
        # Values at the powers step, 3·step, 5·step, … of ψ, as many as there are coefficients.
        n = len(part)
        if n == 1:
            return list(part)
        even, odd = at_odd_powers(part[::2], 2 * step), at_odd_powers(part[1::2], 2 * step)
        turned = [powers[(2 * i + 1) * step % (2 * N)] * odd[i % (n // 2)] for i in range(n)]
        return [(even[i % (n // 2)] + turned[i]) % p for i in range(n)]

    values = at_odd_powers([c % p for c in x], 1)
    return [values[_reversed(k)] for k in range(N)]


def inverse(values: Sequence[int], p: int) -> list[int]:
    """Values to coefficients: a transform at the inverse root, where value k stands for a coefficient."""
    root = pow(psi(p), -1, p)
    powers = [1]
    for _ in range(2 * N - 1):
        powers.append(powers[-1] * root % p)
    ordered = [values[_reversed(k)] for k in range(N)]

    def sums(part: Sequence[int], step: int) -> list[int]:
        # Σ_k part[k]·root^(2·k·i·step) for i below len(part).
        n = len(part)
        if n == 1:
            return list(part)
        even, odd = sums(part[::2], 2 * step), sums(part[1::2], 2 * step)
        return [(even[i % (n // 2)] + powers[2 * i * step % (2 * N)] * odd[i % (n // 2)]) % p for i in range(n)]

    scale = pow(N, -1, p)
    return [s * powers[i] * scale % p for i, s in enumerate(sums(ordered, 1))]


def q_of(primes: str) -> int:
    """The modulus of ciphertexts."""
    return math.prod(PRIMES[primes])


def joined(residues: Sequence[Sequence[int]], moduli: Sequence[int]) -> Polynomial:
    """The numbers below the product of the moduli that the residues stand for."""
    product = math.prod(moduli)
    weights = [product // p * pow(product // p, -1, p) for p in moduli]
    return [sum(w * r for w, r in zip(weights, row, strict=True)) % product for row in zip(*residues, strict=True)]


def expand(primes: str, public: bytes, index: int) -> list[list[int]]:
    """The a side of a ciphertext, as values modulo each prime."""
    return [
        [number % p for number in _numbers(stream(public, index << 64 | i << 32, 16 * N), 16)]
        for i, p in enumerate(PRIMES[primes])
    ]


def scaled(message: Polynomial, primes: str, plain: int) -> Polynomial:
    """round(q·m / t)."""
    q, t = q_of(primes), MODULI[plain]
    return [(2 * q * m + t) // (2 * t) for m in message]


def encrypt(
    primes: str, plain: int, key: bytes, seed: bytes, public: bytes, index: int, m: Polynomial
) -> list[list[int]]:
    """The b side of ciphertext number `index`, as values modulo each prime."""
    s, e = ternary(key, SECRET, 0), errors(seed, ERROR, index)
    whole = [x + y for x, y in zip(scaled(m, primes, plain), e, strict=True)]
    out = []
    for p, a in zip(PRIMES[primes], expand(primes, public, index), strict=True):
        b, s_values = forward(whole, p), forward(s, p)
        out.append([(x - y * z) % p for x, y, z in zip(b, a, s_values, strict=True)])
    return out


def reply(
    primes: str,
    plain: int,
    seed: bytes,
    index: int,
    polynomials: Sequence[Polynomial],
    sides: Sequence[tuple[list[list[int]], list[list[int]]]],
    zero: tuple[list[list[int]], list[list[int]]],
    stride: int,
) -> bytes:
    """Reply number `index`: polynomials of signed coefficients, ciphertexts (b, a) and an encryption of zero."""
    u = ternary(seed, TERNARY, index)
    sums: list[Polynomial] = []
    for side in (0, 1):
        residues = []
        for i, p in enumerate(PRIMES[primes]):
            fresh = forward(u, p)
            total = [x * y for x, y in zip(fresh, zero[side][i], strict=True)]
            for polynomial, both in zip(polynomials, sides, strict=True):
                values = forward(polynomial, p)
                total = [t + x * y for t, x, y in zip(total, values, both[side][i], strict=True)]
            residues.append(inverse([t % p for t in total], p))
        sums.append(joined(residues, PRIMES[primes]))
    q, t = q_of(primes), MODULI[plain]
    a = [(x + e) % q for x, e in zip(sums[1], errors(seed, REPLY_ERROR, index), strict=True)]
    out = [_rounded(x * (1 << 128) // q) for x in a]
    half = 1 << 126 - (64 if plain == 3 else 60)
    floods = [(x & 2 * half - 1) - half for x in drawn(seed, FLOOD, index, 16, N // stride)]
    for k, (mask, flood) in enumerate(zip(masks(plain, seed, index, stride), floods, strict=True)):
        product = sums[0][(k + 1) * stride - 1] * (1 << 128) // q
        out.append(_rounded(product + mask * (1 << 128) // t + flood))
    return b"".join(out)


def masks(plain: int, seed: bytes, index: int, stride: int) -> Polynomial:
    """What reply number `index` adds."""
    return [x % MODULI[plain] for x in drawn(seed, MASK, index, 16, N // stride)]


def _rounded(fraction: int) -> bytes:
    return ((fraction + (1 << 47) >> 48) % (1 << 80)).to_bytes(10, "little")


def decrypt(plain: int, key: bytes, data: bytes, stride: int) -> tuple[Polynomial, list[float]]:
    """What a reply holds, and the noise of each coefficient as a part of what would make it another number."""
    numbers = _numbers(data, 10)
    a, b = numbers[:N], numbers[N:]
    s = ternary(key, SECRET, 0)
    p = PRIMES["narrow"][:2]
    product = joined([inverse([x * y % r for x, y in zip(forward(a, r), forward(s, r), strict=True)], r) for r in p], p)
    size, t = math.prod(p), MODULI[plain]
    out, noise = [], []
    for k, told in enumerate(b):
        whole = product[(k + 1) * stride - 1]
        phase = (told + (whole if 2 * whole < size else whole - size)) % (1 << 80)
        m = (2 * t * phase + (1 << 80)) >> 81
        out.append(m % t)
        noise.append(abs(t * phase - (m << 80)) / (1 << 79))
    return out, noise
