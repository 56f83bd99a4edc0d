"""SM4 [GM/T 0002-2012] with counter mode [NIST SP 800-38A] and GCM [NIST SP 800-38D, RFC 8998], slowly.

The S-box is not copied from a table but made of its algebra: an affine map, the inverse in a field, the map again. Its
256 values are the standard's table if one of the standard's examples comes out right.
"""

from __future__ import annotations

MASK = 0xFFFFFFFF
FIELD = 0x1F5  # x^8 + x^7 + x^6 + x^5 + x^4 + x^2 + 1
FK = (0xA3B1BAC6, 0x56AA3350, 0x677D9197, 0xB27022DC)
CK = tuple(int.from_bytes(bytes((4 * i + j) * 7 % 256 for j in range(4)), "big") for i in range(32))


class InvalidTag(ValueError):
    """The tag does not fit key, nonce, text and additional data."""


def multiply(a: int, b: int, modulus: int = FIELD) -> int:
    """The product in GF(2)[x] modulo a polynomial of degree 8."""
    product = 0
    for i in range(8):
        if b >> i & 1:
            product ^= a << i
    for i in range(15, 7, -1):
        if product >> i & 1:
            product ^= modulus << (i - 8)
    return product


def invert(a: int, modulus: int = FIELD) -> int:
    """a^254: the inverse, and 0 for 0."""
    result = 1
    for _ in range(254):
        result = multiply(result, a, modulus)
    return result


def affine(x: int) -> int:
    """The S-box's affine map: every bit of the result is the sum of five, and 0xd3 is added."""
    rows = (0xA7 << i | 0xA7 >> (8 - i) for i in range(8))
    return sum((bin(row & x & 0xFF).count("1") & 1) << i for i, row in enumerate(rows)) ^ 0xD3


S_BOX = tuple(affine(invert(affine(x))) for x in range(256))


def _rotate(x: int, k: int) -> int:
    return ((x << k) | (x >> (32 - k))) & MASK


def _tau(x: int) -> int:
    return int.from_bytes(bytes(S_BOX[byte] for byte in x.to_bytes(4, "big")), "big")


def round_keys(key: bytes) -> list[int]:
    """The 32 round keys of a key of 16 bytes."""
    k = [int.from_bytes(key[4 * i : 4 * i + 4], "big") ^ FK[i] for i in range(4)]
    for i in range(32):
        b = _tau(k[i + 1] ^ k[i + 2] ^ k[i + 3] ^ CK[i])
        k.append(k[i] ^ b ^ _rotate(b, 13) ^ _rotate(b, 23))
    return k[4:]


def encrypt_block(key: bytes, block: bytes) -> bytes:
    """One block of 16 bytes."""
    x = [int.from_bytes(block[i : i + 4], "big") for i in range(0, 16, 4)]
    for i, key_word in enumerate(round_keys(key)):
        b = _tau(x[i + 1] ^ x[i + 2] ^ x[i + 3] ^ key_word)
        x.append(x[i] ^ b ^ _rotate(b, 2) ^ _rotate(b, 10) ^ _rotate(b, 18) ^ _rotate(b, 24))
    return b"".join(word.to_bytes(4, "big") for word in reversed(x[-4:]))


def ctr(key: bytes, counter: bytes, data: bytes) -> bytes:
    """Counter mode; the whole counter block counts, big-endian, modulo 2^128."""
    start = int.from_bytes(counter, "big")
    blocks = range(-(-len(data) // 16))
    stream = b"".join(encrypt_block(key, ((start + i) % (1 << 128)).to_bytes(16, "big")) for i in blocks)
    return bytes(x ^ y for x, y in zip(data, stream, strict=False))


def _gf128(x: int, y: int) -> int:
    """The product of SP 800-38D, section 6.3: the first bit of a block is the coefficient of 1."""
    z = 0
    for i in range(127, -1, -1):
        if x >> i & 1:
            z ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return z


def _tag(key: bytes, nonce: bytes, text: bytes, aad: bytes) -> bytes:
    h = int.from_bytes(encrypt_block(key, bytes(16)), "big")
    lengths = (8 * len(aad)).to_bytes(8, "big") + (8 * len(text)).to_bytes(8, "big")
    hashed = aad + bytes(-len(aad) % 16) + text + bytes(-len(text) % 16) + lengths
    y = 0
    for i in range(0, len(hashed), 16):
        y = _gf128(y ^ int.from_bytes(hashed[i : i + 16], "big"), h)
    return ctr(key, nonce + b"\0\0\0\1", y.to_bytes(16, "big"))


def gcm_seal(key: bytes, nonce: bytes, plain: bytes, aad: bytes) -> bytes:
    """The text under a nonce of 12 bytes, followed by the tag of 16."""
    text = ctr(key, nonce + b"\0\0\0\2", plain)
    return text + _tag(key, nonce, text, aad)


def gcm_open(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    """What was sealed; InvalidTag where something was changed."""
    text, tag = sealed[:-16], sealed[-16:]
    if len(sealed) < 16 or _tag(key, nonce, text, aad) != tag:
        raise InvalidTag
    return ctr(key, nonce + b"\0\0\0\2", text)
