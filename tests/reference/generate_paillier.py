"""Writes tests/vectors/paillier.json from the slow reference: ``python -m tests.reference.generate_paillier``."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from tests.reference import paillier

PATH = Path(__file__).resolve().parent.parent / "vectors" / "paillier.json"

# Two primes of 1024 bits that anybody may know.
P = int(
    "e6df8cdc6b891e07b221d0f58ecf386d76d34360afff9b70bc367b1bc789440e006e693b24f290f67c26ec64fd4b11ca"
    "061f3eeb39634ad7dd45ef73079bffdc95fdc44364bc4497f388be6afa8f28bd631cdd21696b8bb291edf685da2cdd56"
    "4901dcffad62627d36975b355f17ff4b17324c81f1fc4275ea3efeb582c64091",
    16,
)
Q = int(
    "ce6e3d990ef85a29d0617c89c67ba88f18a2671c4606c1b8a45dbea5fb682cf815d645481066f760ffc3edf36fc489e5"
    "43dbabc384219930a5f0dcc3adcdff8ffc9a71d24f6ca7826e457bb4b6315961c5a161ed58cc208525b2150903afb5ad"
    "129c7a9fdebf86ab5224b398189c9701f12af20680f2e2ce454ff7cd0901fd01",
    16,
)
N = P * Q


def number(label: str, below: int) -> int:
    """A number that the label determines."""
    return int.from_bytes(hashlib.shake_256(label.encode()).digest(300), "little") % below


def encryptions() -> list[dict[str, str]]:
    """Plaintexts at the edges and in between."""
    plain = {"zero": 0, "one": 1, "a word": 2**64 - 1, "minus one": N - 1, "largest": N // 3 - 1, "any": number("m", N)}
    return [
        {"why": why, "m": f"{m:x}", "r": f"{number(why, N):x}", "c": f"{paillier.encrypt(N, m, number(why, N)):x}"}
        for why, m in plain.items()
    ]


def combinations() -> list[dict[str, object]]:
    """Two columns, with weights at the edges."""
    c = [paillier.encrypt(N, number(f"m{i}", 2**64), number(f"r{i}", N)) for i in range(3)]
    return [
        {
            "weights": [f"{w:x}" for w in weights],
            "ciphertexts": [f"{x:x}" for x in c[:2]],
            "addend": f"{c[2]:x}",
            "result": f"{paillier.combine(N, c[:2], weights, c[2]):x}",
        }
        for weights in ((0, 0), (1, 2**64 - 1), (0x0123456789ABCDEF, 1 << 63))
    ]


def bad_ciphertexts() -> list[dict[str, str]]:
    """What has no plaintext."""
    cases = {"zero": 0, "p": P, "n": N, "a multiple of q": Q * 12345, "n squared": N * N, "above it": 2**4096 - 1}
    for why, c in cases.items():
        try:
            paillier.decrypt(P, Q, c)
        except paillier.InvalidCiphertext:
            continue
        raise AssertionError(f"{why}: the reference takes it")
    return [{"why": why, "c": f"{c:x}"} for why, c in cases.items()]


def document() -> str:
    """The file's text."""
    content = {
        "source": "tests/reference/generate_paillier.py. Values are hexadecimal numbers.",
        "p": f"{P:x}",
        "q": f"{Q:x}",
        "encryptions": encryptions(),
        "combinations": combinations(),
        "bad_ciphertexts": bad_ciphertexts(),
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH.name}\n")
