"""The curve SM2 [GM/T 0003.5-2012], RFC 9380's map to it, and SM2 signatures [GM/T 0003.2-2012], on plain integers.

Slow and not constant-time: for tests only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.reference import sm3

P = 2**256 - 2**224 - 2**96 + 2**64 - 1
"""Order of the field."""
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
ORDER = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
"""Order of the group, a prime."""
Z = -9 % P
"""Parameter of the simplified SWU map; `find_z` says where it comes from."""
DEFAULT_ID = b"1234567812345678"

BYTE_ORDER: Literal["big"] = "big"
UNIFORM_ELEMENT_BYTES = 96
UNIFORM_SCALAR_BYTES = 48


@dataclass(frozen=True, slots=True)
class Element:
    """A point by its coordinates; the identity has none."""

    x: int | None
    y: int | None

    def __add__(self, other: Element) -> Element:
        """The group law by chords and tangents."""
        if self.x is None or self.y is None:
            return other
        if other.x is None or other.y is None:
            return self
        if self.x == other.x:
            if (self.y + other.y) % P == 0:
                return IDENTITY
            slope = (3 * self.x * self.x + A) * pow(2 * self.y, -1, P)
        else:
            slope = (other.y - self.y) * pow(other.x - self.x, -1, P)
        x = (slope * slope - self.x - other.x) % P
        return Element(x, (slope * (self.x - x) - self.y) % P)

    def __rmul__(self, scalar: int) -> Element:
        """Double and add, from the lowest bit."""
        total, power = IDENTITY, self
        scalar %= ORDER
        while scalar:
            if scalar & 1:
                total += power
            power += power
            scalar >>= 1
        return total


IDENTITY = Element(None, None)
GENERATOR = Element(
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)


def is_identity(element: Element) -> bool:
    """Whether this is the point that has no coordinates."""
    return element == IDENTITY


def g(x: int) -> int:
    """The curve's right-hand side."""
    return (x**3 + A * x + B) % P


def is_square(x: int) -> bool:
    """Whether x has a root modulo P; zero has one."""
    return pow(x, (P - 1) // 2, P) in (0, 1)


def sqrt(x: int) -> int:
    """A root of a square: P is 3 modulo 4."""
    return pow(x, (P + 1) // 4, P)


def encode(element: Element) -> bytes:
    """A compressed point [SEC 1, 2.3.3]. The identity becomes zeros, which `decode` refuses."""
    if element.x is None or element.y is None:
        return bytes(33)
    return bytes([2 + element.y % 2]) + element.x.to_bytes(32, "big")


def decode(encoding: bytes) -> Element:
    """The point of a compressed encoding. Raises ValueError where there is none."""
    x = int.from_bytes(encoding[1:], "big")
    if len(encoding) != 33 or encoding[0] not in (2, 3) or x >= P or not is_square(g(x)):
        raise ValueError("not a compressed point of the curve")
    y = sqrt(g(x))
    return Element(x, y if y % 2 == encoding[0] % 2 else P - y)


def map_to_curve(u: int) -> Element:
    """map_to_curve_simple_swu: RFC 9380, section 6.6.2."""
    denominator = (Z * Z * pow(u, 4, P) + Z * u * u) % P
    x = -B * pow(A, -1, P) * (1 + pow(denominator, -1, P)) if denominator else B * pow(Z * A, -1, P)
    if not is_square(g(x)):
        x *= Z * u * u
    x %= P
    y = sqrt(g(x))
    return Element(x, y if y % 2 == u % P % 2 else P - y)


def derive(uniform: bytes) -> Element:
    """The element of 96 uniform bytes: hash_to_field's two residues, mapped and added. The cofactor is 1."""
    first, second = (int.from_bytes(half, "big") % P for half in (uniform[:48], uniform[48:]))
    return map_to_curve(first) + map_to_curve(second)


def find_z() -> int:
    """Z of the map: RFC 9380, appendix H.2."""
    candidates = (sign * magnitude for magnitude in range(1, 100) for sign in (1, -1))
    return next(z for z in candidates if _fits(z))


def _fits(z: int) -> bool:
    reducible = _has_root(B - z)
    return not is_square(z % P) and z != -1 and not reducible and is_square(g(B * pow(z * A, -1, P)))


def _has_root(constant: int) -> bool:
    """Whether x^3 + A x + constant has a root, that is a divisor in common with x^P - x."""
    f = [constant % P, A, 0]

    def times(u: list[int], v: list[int]) -> list[int]:
        product = [0] * 5
        for i, a in enumerate(u):
            for j, b in enumerate(v):
                product[i + j] += a * b
        for top in (4, 3):
            for i in range(3):
                product[top - 3 + i] -= product[top] * f[i]
        return [c % P for c in product[:3]]

    power = [1, 0, 0]
    for bit in bin(P)[2:]:
        power = times(power, power)
        if bit == "1":
            power = times(power, [0, 1, 0])
    a, b = [*f, 1], [power[0], (power[1] - 1) % P, power[2]]
    while any(b):
        while b[-1] == 0:
            b.pop()
        while len(a) >= len(b):
            factor = a[-1] * pow(b[-1], -1, P)
            for i, c in enumerate(b):
                a[len(a) - len(b) + i] = (a[len(a) - len(b) + i] - factor * c) % P
            a.pop()
        a, b = b, a
    return len(a) > 1


def try_and_rehash(message: bytes, hasher: Callable[[bytes], bytes]) -> Element:
    """The map of other libraries: the first of H(m), H(H(m)), … that is an x, modulo P, and its even y."""
    digest = hasher(message)
    while not is_square(g(x := int.from_bytes(digest, "big") % P)):
        digest = hasher(digest)
    return decode(b"\2" + x.to_bytes(32, "big"))


def digest_of(public: Element, message: bytes, signer_id: bytes) -> bytes:
    """e: SM3(ZA || M), GM/T 0003.2, sections 5.5 and 6.1."""
    if public.x is None or public.y is None or GENERATOR.x is None or GENERATOR.y is None:
        raise ValueError("the identity is no key")
    coordinates = (A, B, GENERATOR.x, GENERATOR.y, public.x, public.y)
    za = (8 * len(signer_id)).to_bytes(2, "big") + signer_id + b"".join(c.to_bytes(32, "big") for c in coordinates)
    return sm3.digest(sm3.digest(za) + message)


def sign(d: int, message: bytes, k: int, signer_id: bytes = DEFAULT_ID) -> bytes:
    """Section 6.1, with the nonce as an argument: r and s, 32 bytes each."""
    e = int.from_bytes(digest_of(d * GENERATOR, message, signer_id), "big")
    x = (k * GENERATOR).x
    if x is None:
        raise ValueError("the nonce is zero")
    r = (e + x) % ORDER
    s = pow(1 + d, -1, ORDER) * (k - r * d) % ORDER
    if r == 0 or r + k == ORDER or s == 0:
        raise ValueError("another nonce is needed")
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify(public: Element, message: bytes, signature: bytes, signer_id: bytes = DEFAULT_ID) -> bool:
    """Section 7.1."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if len(signature) != 64 or not (0 < r < ORDER and 0 < s < ORDER) or (r + s) % ORDER == 0:
        return False
    x = (s * GENERATOR + (r + s) * public).x
    e = int.from_bytes(digest_of(public, message, signer_id), "big")
    return x is not None and (e + x) % ORDER == r
