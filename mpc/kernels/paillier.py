"""Paillier's encryption [Paillier, EUROCRYPT 1999]: sums of plaintexts, and multiples, by computing on ciphertexts.

Keys and ciphertexts are those of python-paillier (``phe``): g = n + 1, c = (1 + m·n)·r^n mod n², and negative numbers
stand for n minus them. Plaintexts are (count, key.plain_bytes) uint8 and ciphertexts (count, key.cipher_bytes) uint8,
little endian. Slow: milliseconds a ciphertext.

What touches a prime, a plaintext, a weight or randomness takes a time that does not depend on it. But a key's primes
are Python numbers, which are not wiped, and nor is what the arithmetic underneath keeps of them: whoever can read this
process's memory has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric import rsa
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

MINIMUM_BITS = 2048
"""Of n, which is as hard to factor as 112 bits are to guess; one of 3072 bits as 128 [NIST SP 800-57]."""

EXTRA_BYTES = 16
"""Bytes of randomness of an encryption beyond those of a plaintext."""


@dataclass(frozen=True)
class PublicKey:
    """Encrypts, and computes on ciphertexts.

    Attributes:
        n: the modulus, of at least 2048 bits, a multiple of 128.
    """

    n: int

    def __post_init__(self) -> None:
        bits = self.n.bit_length()
        if bits < MINIMUM_BITS:
            raise UsageError(f"A Paillier key of {bits} bits can be factored; take {MINIMUM_BITS} or more.")
        if bits % 128 or self.n % 2 == 0:
            raise UsageError("n is odd and its length a multiple of 128 bits, as 2048, 3072 and 4096 are.")

    @property
    def plain_bytes(self) -> int:
        """Of a plaintext, below n."""
        return self.n.bit_length() // 8

    @property
    def cipher_bytes(self) -> int:
        """Of a ciphertext, below n²."""
        return 2 * self.plain_bytes

    @property
    def random_bytes(self) -> int:
        """Uniform bytes that one encryption takes."""
        return self.plain_bytes + EXTRA_BYTES

    @property
    def encoded(self) -> bytes:
        """The modulus, little endian."""
        return self.n.to_bytes(self.plain_bytes, "little")

    @property
    def largest(self) -> int:
        """The largest number, and minus the smallest, that ``encode`` and ``decode`` know."""
        return self.n // 3 - 1


@dataclass(frozen=True, eq=False)
class PrivateKey:
    """Decrypts, and encrypts in about a third of the time.

    Attributes:
        p: a prime.
        q: another of the same length.
    """

    p: int = field(repr=False)
    q: int = field(repr=False)
    public: PublicKey = field(init=False)

    def __post_init__(self) -> None:
        if self.p < 2 or self.q < 2 or self.p.bit_length() != self.q.bit_length():
            raise UsageError("p and q are primes of the same length.")
        object.__setattr__(self, "public", PublicKey(self.p * self.q))
        try:
            _native.paillier_check_key(*self.encoded)
        except ValueError as error:
            raise UsageError(f"This is no Paillier key: {error}.") from None

    @property
    def encoded(self) -> tuple[bytes, bytes]:
        """Both primes, little endian."""
        width = self.public.plain_bytes // 2
        return self.p.to_bytes(width, "little"), self.q.to_bytes(width, "little")


def generate(bits: int = MINIMUM_BITS) -> PrivateKey:
    """A new key of `bits` bits, its primes from OpenSSL and the operating system's randomness: a second or less."""
    if bits < MINIMUM_BITS or bits % 128:
        raise UsageError(f"A Paillier key has at least {MINIMUM_BITS} bits, a multiple of 128; not {bits}.")
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=bits).private_numbers()
    return PrivateKey(numbers.p, numbers.q)


def encode(key: PublicKey, numbers: Sequence[int]) -> NDArray[np.uint8]:
    """Plaintexts of whole numbers of both signs, up to ``key.largest``."""
    if any(abs(number) > key.largest for number in numbers):
        raise UsageError("A number is larger than a third of the modulus: take a longer key.")
    rows = b"".join((number % key.n).to_bytes(key.plain_bytes, "little") for number in numbers)
    return np.frombuffer(rows, dtype=np.uint8).reshape(len(numbers), key.plain_bytes).copy()


def decode(key: PublicKey, plaintexts: NDArray[np.uint8]) -> list[int]:
    """The numbers of plaintexts. UsageError where one lies between the largest and the smallest: a sum overflowed."""
    _check.rows(plaintexts, key.plain_bytes, "plaintexts")
    values = [int.from_bytes(row.tobytes(), "little") for row in plaintexts]
    if any(key.largest < value < key.n - key.largest for value in values):
        raise UsageError("A plaintext is beyond a third of the modulus: a sum overflowed, or another key encrypted it.")
    return [value if value <= key.largest else value - key.n for value in values]


def encrypt(
    key: PublicKey | PrivateKey, plaintexts: NDArray[np.uint8], randomness: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Ciphertexts of plaintexts below n. The private key gives the same ones as the public key, sooner.

    Args:
        key: the key.
        plaintexts: (count, plain_bytes).
        randomness: (count, random_bytes) uniform and never used again: r is what they are modulo n.
    """
    public = key if isinstance(key, PublicKey) else key.public
    count = _check.rows(plaintexts, public.plain_bytes, "plaintexts")
    _check.same_count(count, _check.rows(randomness, public.random_bytes, "randomness"), "randomness")
    try:
        if isinstance(key, PublicKey):
            return _native.paillier_encrypt(key.encoded, plaintexts, randomness)
        return _native.paillier_encrypt_with_key(*key.encoded, plaintexts, randomness)
    except ValueError as error:
        raise UsageError(f"These cannot be encrypted: {error}.") from None


def decrypt(key: PrivateKey, ciphertexts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The plaintexts, (count, plain_bytes). InvalidEncoding names a ciphertext as ``check`` does."""
    _check.rows(ciphertexts, key.public.cipher_bytes, "ciphertexts")
    return _native.paillier_decrypt(*key.encoded, ciphertexts)


def check(key: PublicKey, ciphertexts: NDArray[np.uint8]) -> None:
    """InvalidEncoding for a ciphertext that is not below n² or not coprime to n, with its number in ``index``."""
    _check.rows(ciphertexts, key.cipher_bytes, "ciphertexts")
    _native.paillier_check_vartime(key.encoded, ciphertexts)


def combine(
    key: PublicKey, ciphertexts: NDArray[np.uint8], weights: NDArray[np.uint64], addends: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Linear combinations: for row i an encryption of a_i + Σ_j w_ij·m_j modulo n.

    Args:
        key: the key of all ciphertexts.
        ciphertexts: (columns, cipher_bytes), of the m_j; checked.
        weights: (rows, columns), unsigned.
        addends: (rows, cipher_bytes), of the a_i. The result is as random as these are: whoever decrypts it may
            see the weights unless each is a new encryption, of a mask.
    """
    columns = _check.rows(ciphertexts, key.cipher_bytes, "ciphertexts")
    count = _check.rows(addends, key.cipher_bytes, "addends")
    if weights.dtype != np.uint64 or weights.shape != (count, columns) or not weights.flags.c_contiguous:
        raise UsageError(f"weights is a contiguous uint64 array of shape ({count}, {columns}).")
    return _native.paillier_combine(key.encoded, ciphertexts, weights, addends)
