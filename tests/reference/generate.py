"""Writes the vectors of the slow references to tests/vectors/: ``python -m tests.reference.generate``.

Good vectors say what comes out. Vectors under a name that begins with ``bad_`` must be refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.reference import ristretto255, sm2, sm3
from tests.reference.oprf import GM, INTL, Oprf

VECTORS = Path(__file__).resolve().parent.parent / "vectors"

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


def scalar(suite: Oprf, label: str) -> int:
    """A reproducible scalar."""
    return int.from_bytes(uniform(label, 64), "little") % suite.group.ORDER


def flip(data: bytes, bit: int) -> bytes:
    """`data` with one bit changed."""
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def hex_all(values: Sequence[bytes]) -> list[str]:
    """Every value in hexadecimal."""
    return [value.hex() for value in values]


def hashes(suite: Oprf) -> list[dict[str, str]]:
    """The hash to the group over inputs and tags, short and long."""
    tags = [b"x", b"unseen-tests", b"t" * 255, b"t" * 256, b"t" * 1000]
    return [
        {"message": m.hex(), "dst": dst.hex(), "element": suite.group.encode(suite.hash_to_group(m, dst)).hex()}
        for dst in tags
        for m in INPUTS[:4]
    ]


def scalars(suite: Oprf) -> list[dict[str, str]]:
    """Wide reduction and inverses."""
    width, order = suite.group.UNIFORM_SCALAR_BYTES, suite.group.ORDER
    wide = [
        uniform("one", width),
        uniform("two", width),
        b"\xff" * width,
        b"\1" + bytes(width - 1),
        (order + 5).to_bytes(width, suite.group.BYTE_ORDER),
    ]
    reduced = [suite.scalar_of(value) % order for value in wide]
    return [
        {
            "uniform": value.hex(),
            "scalar": suite.scalar_bytes(s).hex(),
            "inverse": suite.scalar_bytes(pow(s, -1, order)).hex(),
            "base_multiple": suite.group.encode(s * suite.group.GENERATOR).hex(),
        }
        for value, s in zip(wide, reduced, strict=True)
    ]


def runs(suite: Oprf) -> list[dict[str, object]]:
    """Whole runs in both modes, batches of one and of several."""
    out: list[dict[str, object]] = []
    for mode in (0, 1):
        for name, inputs in (("one", INPUTS[2:3]), ("all", INPUTS)):
            label = f"run {mode} {name}"
            seed, info = uniform(f"{label} seed", 32), label.encode()
            k = suite.derive_key(mode, seed, info)
            blinds = [scalar(suite, f"{label} blind {i}") for i in range(len(inputs))]
            blinded = [suite.blind(mode, x, r) for x, r in zip(inputs, blinds, strict=True)]
            evaluated = [suite.blind_evaluate(k, b) for b in blinded]
            outputs = [suite.finalize(x, r, e) for x, r, e in zip(inputs, blinds, evaluated, strict=True)]
            if outputs != [suite.evaluate(mode, k, x) for x in inputs]:
                raise AssertionError("the reference contradicts itself")
            nonce, entropy = scalar(suite, f"{label} nonce"), uniform(f"{label} entropy", 32)
            hedged = suite.hedged_nonce(mode, k, blinded, evaluated, entropy)
            out.append(
                {
                    "mode": mode,
                    "seed": seed.hex(),
                    "info": info.hex(),
                    "private": suite.scalar_bytes(k).hex(),
                    "public": suite.group.encode(k * suite.group.GENERATOR).hex(),
                    "inputs": hex_all(inputs),
                    "blinds": [suite.scalar_bytes(r).hex() for r in blinds],
                    "blinded": hex_all(blinded),
                    "evaluated": hex_all(evaluated),
                    "nonce": suite.scalar_bytes(nonce).hex(),
                    "proof": suite.generate_proof(mode, k, blinded, evaluated, nonce).hex(),
                    "entropy": entropy.hex(),
                    "hedged_proof": suite.generate_proof(mode, k, blinded, evaluated, hedged).hex(),
                    "outputs": hex_all(outputs),
                }
            )
    return out


def bad_elements_of_ristretto255() -> dict[str, bytes]:
    """Encodings near a good one that no element has, and the identity."""
    group = ristretto255
    good = group.encode(scalar(INTL, "element") * group.GENERATOR)
    s = int.from_bytes(good, "little")
    off_curve = next(e for i in range(100) if (e := uniform(f"off {i}", 32)) and not _decodes(INTL, e))
    return {
        "identity": bytes(32),
        "identity plus the field's order": group.P.to_bytes(32, "little"),
        "the other root": (group.P - s).to_bytes(32, "little"),
        "high bit set": flip(good, 255),
        "all ones": b"\xff" * 32,
        "no element": off_curve,
        "coordinates of the Edwards base point": ((4 * pow(5, -1, group.P)) % group.P).to_bytes(32, "little"),
    }


def bad_elements_of_sm2() -> dict[str, bytes]:
    """Encodings near a good one that no point has, and forms that are not ours."""
    x = sm2.encode(scalar(GM, "element") * sm2.GENERATOR)[1:]
    off_curve = next(e for i in range(100) if not _decodes(GM, e := b"\2" + uniform(f"off {i}", 32)))
    small = next(x for x in range(1, 100) if sm2.is_square(sm2.g(x)))
    beyond = next(x for x in range(sm2.P, 2**256) if sm2.is_square(sm2.g(x - sm2.P)))
    return {
        "the identity of SEC 1, padded": bytes(33),
        "first byte 0": b"\0" + x,
        "first byte 1": b"\1" + x,
        "first byte 4, of the uncompressed form": b"\4" + x,
        "first byte 6, of the hybrid form": b"\6" + x,
        "first byte 130": b"\x82" + x,
        "no point has this x": off_curve,
        "no point has the x after a good one's": next(
            e
            for i in range(1, 100)
            if not _decodes(GM, e := b"\3" + (int.from_bytes(x, "big") + i).to_bytes(32, "big"))
        ),
        "x is the field's order": b"\2" + sm2.P.to_bytes(32, "big"),
        "x is not reduced": b"\2" + beyond.to_bytes(32, "big"),
        "a small x, shifted": b"\2" + small.to_bytes(32, "little"),
        "all ones": b"\xff" * 33,
        "x is all ones": b"\2" + b"\xff" * 32,
    }


def bad_elements(suite: Oprf, cases: dict[str, bytes]) -> list[dict[str, str]]:
    """The cases, after the reference has refused them too."""
    for why, encoding in cases.items():
        if why != "identity" and _decodes(suite, encoding):
            raise AssertionError(f"{why}: the reference takes it")
    return [{"why": why, "encoding": encoding.hex()} for why, encoding in cases.items()]


def _decodes(suite: Oprf, encoding: bytes) -> bool:
    try:
        suite.group.decode(encoding)
    except ValueError:
        return False
    return True


def bad_scalars(suite: Oprf) -> list[dict[str, str]]:
    """Zero, and scalars that are not reduced."""
    cases = {
        "zero": 0,
        "the order": suite.group.ORDER,
        "one more": suite.group.ORDER + 1,
        **({"twice the order": 2 * suite.group.ORDER} if 2 * suite.group.ORDER < 2**256 else {}),
        **({"2^255": 2**255} if suite.group.ORDER < 2**255 else {}),
        "all ones": 2**256 - 1,
    }
    return [{"why": why, "scalar": suite.scalar_bytes(value).hex()} for why, value in cases.items()]


def bad_proofs(suite: Oprf) -> list[dict[str, object]]:
    """Changes of a good proof or of its statement, one at a time."""
    mode, k, other = 1, scalar(suite, "proof key"), scalar(suite, "another key")
    public, other_public = (suite.group.encode(x * suite.group.GENERATOR) for x in (k, other))
    blinded = [suite.blind(mode, x, scalar(suite, f"proof blind {i}")) for i, x in enumerate(INPUTS[:3])]
    evaluated = [suite.blind_evaluate(k, b) for b in blinded]
    foreign = [suite.blind_evaluate(other, b) for b in blinded]
    proof = suite.generate_proof(mode, k, blinded, evaluated, scalar(suite, "proof nonce"))
    c, s = (suite.scalar_of(half) for half in (proof[:32], proof[32:]))
    swapped = [evaluated[1], evaluated[0], evaluated[2]]

    def unreduced(value: int) -> bytes:
        # SM2's order is so near 2^256 that few scalars have a second form of 32 bytes.
        return suite.scalar_bytes(min(value + suite.group.ORDER, 2**256 - 1))

    statements: list[tuple[str, int, bytes, Sequence[bytes], Sequence[bytes], bytes]] = [
        ("one bit of the challenge", mode, public, blinded, evaluated, flip(proof, 3)),
        ("one bit of the response", mode, public, blinded, evaluated, flip(proof, 256 + 70)),
        ("halves exchanged", mode, public, blinded, evaluated, proof[32:] + proof[:32]),
        ("zeros", mode, public, blinded, evaluated, bytes(64)),
        ("challenge not reduced", mode, public, blinded, evaluated, unreduced(c) + proof[32:]),
        ("response not reduced", mode, public, blinded, evaluated, proof[:32] + unreduced(s)),
        ("another public key", mode, other_public, blinded, evaluated, proof),
        ("another key in one element", mode, public, blinded, [foreign[0], *evaluated[1:]], proof),
        ("another key in all elements", mode, public, blinded, foreign, proof),
        ("elements exchanged", mode, public, blinded, swapped, proof),
        ("an element left out", mode, public, blinded[:2], evaluated[:2], proof),
        ("an element repeated", mode, public, [*blinded, blinded[0]], [*evaluated, evaluated[0]], proof),
        ("the other mode", 0, public, blinded, evaluated, proof),
    ]
    if not suite.verify_proof(mode, public, blinded, evaluated, proof):
        raise AssertionError("the reference refuses its own proof")
    for why, *statement in statements:
        if suite.verify_proof(*statement):
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


def rehashes() -> list[dict[str, str]]:
    """Other libraries' map to the curve SM2, under both hashes."""
    hashers: dict[str, Callable[[bytes], bytes]] = {"sm3": sm3.digest, "sha256": lambda m: hashlib.sha256(m).digest()}
    return [
        {"hash": name, "message": m.hex(), "element": sm2.encode(sm2.try_and_rehash(m, hasher)).hex()}
        for name, hasher in hashers.items()
        for m in INPUTS
    ]


def multiples() -> list[dict[str, str]]:
    """Products by scalars at the edges: small ones, their opposites, and all bits one, of G and of another point."""
    n = sm2.ORDER
    edges = [1, 2, 3, 4, 15, 16, 17, 31, 32, 33, 62, 64, 66, 2**32, 2**64 - 1, 2**128, 2**255, 2**255 - 1, n // 2]
    point = sm2.derive(uniform("point", 96))
    return [
        {
            "scalar": (k % n).to_bytes(32, "big").hex(),
            "base_multiple": sm2.encode(k * sm2.GENERATOR).hex(),
            "point": sm2.encode(point).hex(),
            "multiple": sm2.encode(k * point).hex(),
        }
        for edge in edges
        for k in (edge, n - edge)
    ]


def signatures() -> list[dict[str, str]]:
    """Signatures under several IDs, among them none and the longest one."""
    out = []
    for i, signer_id in enumerate((sm2.DEFAULT_ID, b"", "税务局".encode(), b"i" * 8191)):
        d, k, message = scalar(GM, f"signing key {i}"), scalar(GM, f"signing nonce {i}"), INPUTS[2 * i]
        signature = sm2.sign(d, message, k, signer_id)
        if not sm2.verify(d * sm2.GENERATOR, message, signature, signer_id):
            raise AssertionError("the reference refuses its own signature")
        out.append(
            {
                "private": d.to_bytes(32, "big").hex(),
                "public": sm2.encode(d * sm2.GENERATOR).hex(),
                "id": signer_id.hex(),
                "message": message.hex(),
                "nonce": k.to_bytes(32, "big").hex(),
                "signature": signature.hex(),
            }
        )
    return out


def bad_signatures() -> list[dict[str, str]]:
    """Changes of a good signature or of what it is about, one at a time."""
    d, k, message, n = scalar(GM, "signing key"), scalar(GM, "signing nonce"), b"message", sm2.ORDER
    public, signature = d * sm2.GENERATOR, sm2.sign(d, message, k)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")

    def pair(r: int, s: int) -> bytes:
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    cases: list[tuple[str, sm2.Element, bytes, bytes]] = [
        ("one bit of r", public, message, flip(signature, 5)),
        ("one bit of s", public, message, flip(signature, 300)),
        ("r and s exchanged", public, message, pair(s, r)),
        ("zeros", public, message, bytes(64)),
        ("r is zero", public, message, pair(0, s)),
        ("s is zero", public, message, pair(r, 0)),
        ("s is the opposite", public, message, pair(r, n - s)),
        ("r + s is the order", public, message, pair(r, n - r)),
        ("r is the order", public, message, pair(n, s)),
        ("s is the order", public, message, pair(r, n)),
        ("all ones", public, message, b"\xff" * 64),
        ("another message", public, b"massage", signature),
        ("another key", scalar(GM, "another key") * sm2.GENERATOR, message, signature),
        ("the opposite key", (n - d) * sm2.GENERATOR, message, signature),
    ]
    for why, key, text, wrong in cases:
        if sm2.verify(key, text, wrong):
            raise AssertionError(f"{why}: the reference takes it")
    return [
        {"why": why, "public": sm2.encode(key).hex(), "message": text.hex(), "signature": wrong.hex()}
        for why, key, text, wrong in cases
    ]


def common(suite: Oprf, elements: dict[str, bytes]) -> dict[str, object]:
    """What every suite has."""
    return {
        "source": "tests/reference/generate.py. Values are hexadecimal.",
        "hash_to_group": hashes(suite),
        "scalars": scalars(suite),
        "runs": runs(suite),
        "bad_elements": bad_elements(suite, elements),
        "bad_scalars": bad_scalars(suite),
        "bad_proofs": bad_proofs(suite),
    }


def documents() -> dict[str, str]:
    """The files' names and texts."""
    contents: dict[str, dict[str, object]] = {
        "reference_ristretto255_oprf": common(INTL, bad_elements_of_ristretto255()),
        "reference_sm2_oprf": common(GM, bad_elements_of_sm2()),
        "reference_sm2": {
            "source": "tests/reference/generate.py. Values are hexadecimal.",
            "multiples": multiples(),
            "try_and_rehash": rehashes(),
            "signatures": signatures(),
            "bad_signatures": bad_signatures(),
        },
    }
    return {name: json.dumps(content, indent=1) + "\n" for name, content in contents.items()}


if __name__ == "__main__":
    for name, text in documents().items():
        (VECTORS / f"{name}.json").write_text(text, encoding="utf-8")
        sys.stderr.write(f"wrote {name}\n")
