"""Writes tests/vectors/rlwe.json, encrypted products: ``python -m tests.reference.generate_rlwe``. It takes a minute.

Good vectors say what comes out, long answers by their SHA-256. Those under ``bad_`` must be refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.reference import rlwe

PATH = Path(__file__).resolve().parent.parent / "vectors" / "rlwe.json"


def uniform(label: str, size: int) -> bytes:
    """Reproducible bytes that look uniform."""
    return hashlib.shake_256(b"unseen vectors " + label.encode()).digest(size)


def words(label: str, n: int = rlwe.N) -> list[int]:
    """Reproducible words."""
    data = uniform(label, 8 * n)
    return [int.from_bytes(data[i : i + 8], "little") for i in range(0, 8 * n, 8)]


def signed(values: Sequence[int], bits: int) -> list[int]:
    """Words as signed numbers of so many bits."""
    return [(value >> 64 - bits) - (value >> 63 << bits) for value in values]


def digest(rows: Sequence[Sequence[int]]) -> str:
    """The SHA-256 of numbers as little-endian words."""
    return hashlib.sha256(b"".join(x.to_bytes(8, "little") for row in rows for x in row)).hexdigest()


def products() -> list[dict[str, object]]:
    """A product of one term, through all its steps."""
    out: list[dict[str, object]] = []
    for primes, plain, bits, stride in (("narrow", 3, 40, 64), ("wide", 3, 64, 8192), ("narrow", 1, 60, 1)):
        label = f"product {primes} {plain}"
        key, seed, fresh = (uniform(f"{label} {part}", 32) for part in ("key", "seed", "reply"))
        public = uniform(f"{label} public", 16)
        t = rlwe.MODULI[plain]
        message = [x % t for x in words(f"{label} message")]
        multiplier = signed(words(f"{label} multiplier"), bits)
        if plain < 3:
            multiplier = [x % t for x in multiplier]
        centred = [x - t if plain < 3 and 2 * x > t else x for x in multiplier]
        sealed = [rlwe.encrypt(primes, plain, key, seed, public, i, m) for i, m in enumerate(([0] * rlwe.N, message))]
        a = [rlwe.expand(primes, public, i) for i in (0, 1)]
        answer = rlwe.reply(primes, plain, fresh, 0, [centred], [(sealed[1], a[1])], (sealed[0], a[0]), stride)
        opened, noise = rlwe.decrypt(plain, key, answer, stride)
        if max(noise) > 0.9:
            raise SystemExit("a reply's noise is beyond what its parameters say")
        out.append(
            {
                "primes": primes,
                "plain": plain,
                "label": label,
                "bits": bits,
                "stride": stride,
                "key": key.hex(),
                "seed": seed.hex(),
                "public": public.hex(),
                "reply_seed": fresh.hex(),
                "sealed": [digest(b) for b in sealed],
                "sealed_begins": [f"{b[0][0]:x}" for b in sealed],
                "a": [digest(side) for side in a],
                "lifted": digest([rlwe.forward(centred, p) for p in rlwe.PRIMES[primes]]),
                "reply": hashlib.sha256(answer).hexdigest(),
                "masks": digest([rlwe.masks(plain, fresh, 0, stride)]),
                "opened": digest([opened]),
            }
        )
    return out


def slots() -> list[dict[str, object]]:
    """Slots of each plaintext prime as coefficients, and numbers of all three."""
    values = signed(words("slots"), 64)
    coefficients = [rlwe.inverse([x % t for x in values], t) for t in rlwe.PLAIN]
    residues = [words(f"residues {i}") for i in range(3)]
    residues = [[x % t for x in row] for row, t in zip(residues, rlwe.PLAIN, strict=True)]
    whole = rlwe.joined([rlwe.forward(row, t) for row, t in zip(residues, rlwe.PLAIN, strict=True)], rlwe.PLAIN)
    return [
        {
            "slots": "slots",
            "coefficients": [digest([row]) for row in coefficients],
            "residues": [f"residues {i}" for i in range(3)],
            "decoded": digest([[x % (1 << 64) for x in whole]]),
        }
    ]


BAD_RESIDUES = [
    {"why": "the prime itself", "primes": "narrow", "place": [0, 0], "value": "3fffffffffff0001"},
    {"why": "above a prime in its last place", "primes": "wide", "place": [3, 8191], "value": "1fffffffff38002"},
    {"why": "the largest word", "primes": "narrow", "place": [2, 4000], "value": "ffffffffffffffff"},
    {"why": "a residue of another prime", "primes": "wide", "place": [3, 17], "value": "1fffffffff9c000"},
]

if __name__ == "__main__":
    content = {
        "source": "tests/reference/generate_rlwe.py. Values are hexadecimal; labels name SHAKE-256 streams.",
        "products": products(),
        "slots": slots(),
        "bad_residues": BAD_RESIDUES,
    }
    PATH.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.stderr.write(f"wrote {PATH.name}\n")
