"""Masks over Z_2^64 word by word, by OpenSSL's AES: what native/src/mask.rs is held against."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def apply(keys: Sequence[bytes], negative: Sequence[bool], words: Sequence[int], first: int) -> list[int]:
    """`words` with word `first` and following of each key's stream added, or subtracted."""
    out = list(words)
    for key, minus in zip(keys, negative, strict=True):
        counter = modes.CTR((first // 2).to_bytes(16, "big"))
        stream = Cipher(algorithms.AES(key), counter).encryptor().update(bytes(8 * len(out)))
        for i in range(len(out)):
            mask = int.from_bytes(stream[8 * i : 8 * i + 8], "little")
            out[i] = (out[i] + (-mask if minus else mask)) % 2**64
    return out
