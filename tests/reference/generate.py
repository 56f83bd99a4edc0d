"""Writes the vectors of the slow reference to tests/vectors/: ``python -m tests.reference.generate``.

Good vectors say what comes out. Vectors under a name that begins with ``bad_`` must be refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.reference import oprf
from tests.reference import ristretto255 as group

PATH = Path(__file__).resolve().parent.parent / "vectors" / "reference_ristretto255_oprf.json"

INPUTS = [
    b"",
    b"\0",
    b"11010519491231002X",
    "身份证号".encode(),
    b"a" * 111,  # the last lengths at which SHA-512's padding still fits, and those at which it takes another block
    b"a" * 112,
    bytes(range(256)) * 3,
]


def uniform(label: str, size: int) -> bytes:
    """Reproducible bytes that look uniform."""
    return hashlib.shake_256(b"unseen vectors " + label.encode()).digest(size)


def scalar(label: str) -> int:
    """A reproducible scalar."""
    return int.from_bytes(uniform(label, 64), "little") % group.L


def flip(data: bytes, bit: int) -> bytes:
    """`data` with one bit changed."""
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def hex_all(values: Sequence[bytes]) -> list[str]:
    """Every value in hexadecimal."""
    return [value.hex() for value in values]


def hashes() -> list[dict[str, str]]:
    """hash_to_ristretto255 over inputs and tags, short and long."""
    tags = [b"x", b"unseen-tests", b"t" * 255, b"t" * 256, b"t" * 1000]
    return [
        {"message": m.hex(), "dst": dst.hex(), "element": group.encode(oprf.hash_to_group(m, dst)).hex()}
        for dst in tags
        for m in INPUTS[:4]
    ]


def scalars() -> list[dict[str, str]]:
    """Wide reduction and inverses."""
    wide = [
        uniform("one", 64),
        uniform("two", 64),
        b"\xff" * 64,
        b"\1" + bytes(63),
        (group.L + 5).to_bytes(64, "little"),
    ]
    reduced = [int.from_bytes(value, "little") % group.L for value in wide]
    return [
        {
            "uniform": value.hex(),
            "scalar": oprf.scalar_bytes(s).hex(),
            "inverse": oprf.scalar_bytes(pow(s, -1, group.L)).hex(),
            "base_multiple": group.encode(s * group.GENERATOR).hex(),
        }
        for value, s in zip(wide, reduced, strict=True)
    ]


def runs() -> list[dict[str, object]]:
    """Whole runs in both modes, batches of one and of several."""
    out: list[dict[str, object]] = []
    for mode in (0, 1):
        for name, inputs in (("one", INPUTS[2:3]), ("all", INPUTS)):
            label = f"run {mode} {name}"
            seed, info = uniform(f"{label} seed", 32), label.encode()
            k = oprf.derive_key(mode, seed, info)
            blinds = [scalar(f"{label} blind {i}") for i in range(len(inputs))]
            blinded = [oprf.blind(mode, x, r) for x, r in zip(inputs, blinds, strict=True)]
            evaluated = [oprf.blind_evaluate(k, b) for b in blinded]
            outputs = [oprf.finalize(x, r, e) for x, r, e in zip(inputs, blinds, evaluated, strict=True)]
            if outputs != [oprf.evaluate(mode, k, x) for x in inputs]:
                raise AssertionError("the reference contradicts itself")
            nonce, entropy = scalar(f"{label} nonce"), uniform(f"{label} entropy", 32)
            hedged = oprf.hedged_nonce(mode, k, blinded, evaluated, entropy)
            out.append(
                {
                    "mode": mode,
                    "seed": seed.hex(),
                    "info": info.hex(),
                    "private": oprf.scalar_bytes(k).hex(),
                    "public": group.encode(k * group.GENERATOR).hex(),
                    "inputs": hex_all(inputs),
                    "blinds": [oprf.scalar_bytes(r).hex() for r in blinds],
                    "blinded": hex_all(blinded),
                    "evaluated": hex_all(evaluated),
                    "nonce": oprf.scalar_bytes(nonce).hex(),
                    "proof": oprf.generate_proof(mode, k, blinded, evaluated, nonce).hex(),
                    "entropy": entropy.hex(),
                    "hedged_proof": oprf.generate_proof(mode, k, blinded, evaluated, hedged).hex(),
                    "outputs": hex_all(outputs),
                }
            )
    return out


def bad_elements() -> list[dict[str, str]]:
    """Encodings near a good one that no element has, and the identity."""
    good = group.encode(scalar("element") * group.GENERATOR)
    s = int.from_bytes(good, "little")
    off_curve = next(e for i in range(100) if (e := uniform(f"off {i}", 32)) and not _decodes(e))
    cases = {
        "identity": bytes(32),
        "identity plus the field's order": group.P.to_bytes(32, "little"),
        "the other root": (group.P - s).to_bytes(32, "little"),
        "high bit set": flip(good, 255),
        "all ones": b"\xff" * 32,
        "no element": off_curve,
        "coordinates of the Edwards base point": ((4 * pow(5, -1, group.P)) % group.P).to_bytes(32, "little"),
    }
    for why, encoding in cases.items():
        if why != "identity" and _decodes(encoding):
            raise AssertionError(f"{why}: the reference takes it")
    return [{"why": why, "encoding": encoding.hex()} for why, encoding in cases.items()]


def _decodes(encoding: bytes) -> bool:
    try:
        group.decode(encoding)
    except ValueError:
        return False
    return True


def bad_scalars() -> list[dict[str, str]]:
    """Zero, and scalars that are not reduced."""
    cases = {
        "zero": 0,
        "the order": group.L,
        "one more": group.L + 1,
        "twice the order": 2 * group.L,
        "2^255": 2**255,
        "all ones": 2**256 - 1,
    }
    return [{"why": why, "scalar": value.to_bytes(32, "little").hex()} for why, value in cases.items()]


def bad_proofs() -> list[dict[str, object]]:
    """Changes of a good proof or of its statement, one at a time."""
    mode, k, other = 1, scalar("proof key"), scalar("another key")
    public, other_public = (group.encode(x * group.GENERATOR) for x in (k, other))
    blinded = [oprf.blind(mode, x, scalar(f"proof blind {i}")) for i, x in enumerate(INPUTS[:3])]
    evaluated = [oprf.blind_evaluate(k, b) for b in blinded]
    foreign = [oprf.blind_evaluate(other, b) for b in blinded]
    proof = oprf.generate_proof(mode, k, blinded, evaluated, scalar("proof nonce"))
    c, s = (int.from_bytes(half, "little") for half in (proof[:32], proof[32:]))
    swapped = [evaluated[1], evaluated[0], evaluated[2]]
    statements: list[tuple[str, int, bytes, Sequence[bytes], Sequence[bytes], bytes]] = [
        ("one bit of the challenge", mode, public, blinded, evaluated, flip(proof, 3)),
        ("one bit of the response", mode, public, blinded, evaluated, flip(proof, 256 + 70)),
        ("halves exchanged", mode, public, blinded, evaluated, proof[32:] + proof[:32]),
        ("zeros", mode, public, blinded, evaluated, bytes(64)),
        ("challenge not reduced", mode, public, blinded, evaluated, (c + group.L).to_bytes(32, "little") + proof[32:]),
        ("response not reduced", mode, public, blinded, evaluated, proof[:32] + (s + group.L).to_bytes(32, "little")),
        ("another public key", mode, other_public, blinded, evaluated, proof),
        ("another key in one element", mode, public, blinded, [foreign[0], *evaluated[1:]], proof),
        ("another key in all elements", mode, public, blinded, foreign, proof),
        ("elements exchanged", mode, public, blinded, swapped, proof),
        ("an element left out", mode, public, blinded[:2], evaluated[:2], proof),
        ("an element repeated", mode, public, [*blinded, blinded[0]], [*evaluated, evaluated[0]], proof),
        ("the other mode", 0, public, blinded, evaluated, proof),
    ]
    if not oprf.verify_proof(mode, public, blinded, evaluated, proof):
        raise AssertionError("the reference refuses its own proof")
    for why, *statement in statements:
        if oprf.verify_proof(*statement):
            raise AssertionError(f"{why}: the reference takes it")
    return [
        {
            "why": why,
            "mode": m,
            "public": p.hex(),
            "blinded": hex_all(b),
            "evaluated": hex_all(e),
            "proof": pr.hex(),
        }
        for why, m, p, b, e, pr in statements
    ]


def document() -> str:
    """The file's text."""
    content = {
        "source": "tests/reference/generate.py. Values are hexadecimal.",
        "hash_to_group": hashes(),
        "scalars": scalars(),
        "runs": runs(),
        "bad_elements": bad_elements(),
        "bad_scalars": bad_scalars(),
        "bad_proofs": bad_proofs(),
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH.name}\n")
