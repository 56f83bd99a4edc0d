"""Writes the vectors of SM3 and SM4 to tests/vectors/: ``python -m tests.reference.generate_symmetric``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.reference import sm3, sm4
from tests.reference.generate import flip, uniform

PATH = Path(__file__).resolve().parent.parent / "vectors" / "reference_symmetric.json"

LENGTHS = (0, 1, 15, 16, 17, 63, 64, 255)


def digests() -> list[dict[str, str]]:
    """SM3 at the lengths around which its padding takes another block."""
    messages = [uniform(f"sm3 {n}", n) for n in (0, 1, 18, 54, 55, 56, 63, 64, 65, 119, 120, 128, 1000)]
    return [{"message": message.hex(), "digest": sm3.digest(message).hex()} for message in messages]


def streams() -> list[dict[str, str]]:
    """Counter mode: all lengths, and counters that carry."""
    counters = [0, 5, 2**32 - 3, 2**64 - 2, 2**128 - 1]
    out = []
    for i, n in enumerate((*LENGTHS, 600)):
        key, data = uniform(f"ctr key {i}", 16), uniform(f"ctr data {i}", n)
        counter = counters[i % len(counters)].to_bytes(16, "big")
        ciphertext = sm4.ctr(key, counter, data).hex()
        out.append({"key": key.hex(), "counter": counter.hex(), "plain": data.hex(), "cipher": ciphertext})
    return out


def sealed() -> list[dict[str, str]]:
    """GCM: all lengths of the text and of what is not encrypted."""
    out = []
    for i, n in enumerate(LENGTHS):
        key, nonce = uniform(f"gcm key {i}", 16), uniform(f"gcm nonce {i}", 12)
        plain, aad = uniform(f"gcm plain {i}", n), uniform(f"gcm aad {i}", LENGTHS[-1 - i])
        text = sm4.gcm_seal(key, nonce, plain, aad)
        out.append(
            {"key": key.hex(), "nonce": nonce.hex(), "aad": aad.hex(), "plain": plain.hex(), "sealed": text.hex()}
        )
    return out


def bad_sealed() -> list[dict[str, str]]:
    """Changes of one sealed text, one at a time."""
    key, nonce, plain, aad = (uniform(f"bad {name}", n) for name, n in (("k", 16), ("n", 12), ("p", 40), ("a", 20)))
    text = sm4.gcm_seal(key, nonce, plain, aad)
    cases = {
        "one bit of the text": (key, nonce, flip(text, 9), aad),
        "one bit of the tag": (key, nonce, flip(text, 8 * 40 + 127), aad),
        "one bit of the nonce": (key, flip(nonce, 3), text, aad),
        "one bit of the key": (flip(key, 100), nonce, text, aad),
        "one bit of the additional data": (key, nonce, text, flip(aad, 0)),
        "additional data left out": (key, nonce, text, b""),
        "a zero appended to the additional data": (key, nonce, text, aad + b"\0"),
        "the last byte left out": (key, nonce, text[:-1], aad),
        "the first byte left out": (key, nonce, text[1:], aad),
        "text and additional data exchanged": (key, nonce, aad + text[-16:], text[:-16]),
        "the tag alone": (key, nonce, text[-16:], aad),
        "shorter than a tag": (key, nonce, text[-15:], aad),
        "nothing": (key, nonce, b"", aad),
    }
    for why, case in cases.items():
        try:
            sm4.gcm_open(*case)
        except sm4.InvalidTag:
            continue
        raise AssertionError(f"{why}: the reference takes it")
    return [
        {"why": why, "key": k.hex(), "nonce": n.hex(), "sealed": t.hex(), "aad": a.hex()}
        for why, (k, n, t, a) in cases.items()
    ]


def document() -> str:
    """The file's text."""
    content = {
        "source": "tests/reference/generate_symmetric.py. Values are hexadecimal.",
        "sm3": digests(),
        "sm4_ctr": streams(),
        "sm4_gcm": sealed(),
        "bad_sm4_gcm": bad_sealed(),
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH.name}\n")
