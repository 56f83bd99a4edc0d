"""ristretto255 [RFC 9496] on plain integers. The names are the RFC's.

Slow and not constant-time: for tests only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

P = 2**255 - 19
"""Order of the field."""
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Order of the group."""

BYTE_ORDER: Literal["little"] = "little"
UNIFORM_ELEMENT_BYTES = 64
UNIFORM_SCALAR_BYTES = 64

# Section 4.1. The two square roots have a sign that only the RFC's choice fixes, so they are written out.
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = 19681161376707505956807079304988542015446066515923890162744021073123829784752
SQRT_AD_MINUS_ONE = 25063068953384623474111414158702152701244531502492656460079210482610430750235
INVSQRT_A_MINUS_D = 54469307008909316920995813868745141605393597292927456921205312896311721017578
ONE_MINUS_D_SQ = (1 - D * D) % P
D_MINUS_ONE_SQ = (D - 1) ** 2 % P


@dataclass(frozen=True, slots=True)
class Element:
    """A group element, as one of its representatives on the curve in extended coordinates. Compare encodings."""

    x: int
    y: int
    z: int
    t: int

    def __add__(self, other: Element) -> Element:
        """Unified addition for a = -1 [Hisil, Wong, Carter, Dawson 2008, section 3.1]."""
        a = (self.y - self.x) * (other.y - other.x) % P
        b = (self.y + self.x) * (other.y + other.x) % P
        c = 2 * D * self.t * other.t % P
        d = 2 * self.z * other.z % P
        e, f, g, h = b - a, d - c, d + c, b + a
        return Element(e * f % P, g * h % P, f * g % P, e * h % P)

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


IDENTITY = Element(0, 1, 1, 0)


def is_negative(e: int) -> bool:
    """A field element is negative where its least residue is odd."""
    return e % P % 2 == 1


def absolute(e: int) -> int:
    """CT_ABS."""
    return -e % P if is_negative(e) else e % P


def sqrt_ratio_m1(u: int, v: int) -> tuple[bool, int]:
    """Section 4.2: (whether u/v is a square, the non-negative root of u/v or of SQRT_M1 * u/v)."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    correct = check == u % P
    flipped = check == -u % P
    flipped_i = check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return correct or flipped, absolute(r)


def decode(encoding: bytes) -> Element:
    """Section 4.3.1. Raises ValueError where the encoding is not canonical. Lets the identity through."""
    s = int.from_bytes(encoding, "little")
    if len(encoding) != 32 or s >= P or is_negative(s):
        raise ValueError("not the canonical encoding of a non-negative field element")
    ss = s * s % P
    u1, u2 = (1 - ss) % P, (1 + ss) % P
    u2_sqr = u2 * u2 % P
    v = (-(D * u1 * u1) - u2_sqr) % P
    was_square, invsqrt = sqrt_ratio_m1(1, v * u2_sqr % P)
    den_x = invsqrt * u2 % P
    den_y = invsqrt * den_x * v % P
    x = absolute(2 * s * den_x)
    y = u1 * den_y % P
    t = x * y % P
    if not was_square or is_negative(t) or y == 0:
        raise ValueError("not an element of the group")
    return Element(x, y, 1, t)


def encode(element: Element) -> bytes:
    """Section 4.3.2."""
    x0, y0, z0, t0 = element.x, element.y, element.z, element.t
    u1 = (z0 + y0) * (z0 - y0) % P
    u2 = x0 * y0 % P
    _, invsqrt = sqrt_ratio_m1(1, u1 * u2 * u2 % P)
    den1, den2 = invsqrt * u1 % P, invsqrt * u2 % P
    z_inv = den1 * den2 * t0 % P
    if is_negative(t0 * z_inv):
        x, y, den_inv = y0 * SQRT_M1 % P, x0 * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    else:
        x, y, den_inv = x0, y0, den2
    if is_negative(x * z_inv):
        y = -y % P
    return absolute(den_inv * (z0 - y)).to_bytes(32, "little")


def map_to_element(t: int) -> Element:
    """MAP of section 4.3.4."""
    r = SQRT_M1 * t * t % P
    u = (r + 1) * ONE_MINUS_D_SQ % P
    v = (-1 - r * D) * (r + D) % P
    was_square, s = sqrt_ratio_m1(u, v)
    c = -1
    if not was_square:
        s, c = -absolute(s * t) % P, r
    n = (c * (r - 1) * D_MINUS_ONE_SQ - v) % P
    w0, w1, w2, w3 = 2 * s * v % P, n * SQRT_AD_MINUS_ONE % P, (1 - s * s) % P, (1 + s * s) % P
    return Element(w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P)


def derive(uniform: bytes) -> Element:
    """Section 4.3.4: an element of 64 uniform bytes."""
    halves = (int.from_bytes(half, "little") % 2**255 % P for half in (uniform[:32], uniform[32:]))
    first, second = map(map_to_element, halves)
    return first + second


def is_identity(element: Element) -> bool:
    """Whether every representative of the element stands for zero."""
    return encode(element) == bytes(32)


GENERATOR = decode(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))
