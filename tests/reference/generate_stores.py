"""Writes the vectors of blocks, GF(2^128), key-value stores and cuckoo tables.

Run it as ``python -m tests.reference.generate_stores``.

Good vectors say what comes out. Vectors under a name that begins with ``bad_`` must be refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from tests.reference import cuckoo, gf128, okvs

FOLDER = Path(__file__).resolve().parent.parent / "vectors"


def uniform(label: str, size: int) -> bytes:
    """Reproducible bytes that look uniform."""
    return hashlib.shake_256(b"unseen vectors " + label.encode()).digest(size)


def reversed_bits(data: bytes) -> bytes:
    """Every byte with its bits the other way round: GCM's order of coefficients becomes ours."""
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)


def product(name: str, a: bytes, b: bytes) -> dict[str, str]:
    """One product by the reference."""
    out = gf128.multiply(int.from_bytes(a, "little"), int.from_bytes(b, "little")).to_bytes(16, "little")
    return {"from": name, "a": a.hex(), "b": b.hex(), "product": out.hex()}


def products() -> list[dict[str, str]]:
    """A published product, the edges, and some others."""
    h = reversed_bits(bytes.fromhex("66e94bd4ef8a2c3b884cfa59ca342b2e"))
    x1 = reversed_bits(bytes.fromhex("0388dace60b6a392f328c2b971b2fe78"))
    published = product("GCM specification, test case 2, with the bits of each byte reversed", h, x1)
    if bytes.fromhex(published["product"]) != reversed_bits(bytes.fromhex("5e2ec746917062882c85b0685353deb7")):
        raise AssertionError("the reference contradicts the GCM specification")
    edges = [1 << 127, 1 << 64, (1 << 128) - 1, 0]
    others = [product(f"reference, edge {i}", e.to_bytes(16, "little"), b"\xff" * 16) for i, e in enumerate(edges)]
    return [published, *others, *(product(f"reference, {i}", *halves(f"product {i}")) for i in range(8))]


def halves(label: str) -> tuple[bytes, bytes]:
    """Two uniform blocks."""
    both = uniform(label, 32)
    return both[:16], both[16:]


def hashes() -> list[dict[str, str]]:
    """The permutation and the hash, for batches that end within, at and after a register's."""
    out = []
    for n, tweak in ((1, 0), (2, 1), (16, 2**32), (17, 2**63), (33, 2**64 - 34)):
        x = uniform(f"blocks {n}", 16 * n)
        rows = [x[i : i + 16] for i in range(0, 16 * n, 16)]
        hashed = b"".join(gf128.hash_block(row, tweak + i) for i, row in enumerate(rows))
        out.append(
            {
                "from": f"reference, {n} rows",
                "x": x.hex(),
                "tweak": str(tweak),
                "permuted": gf128.fixed(x).hex(),
                "hashed": hashed.hex(),
            }
        )
    return out


def shapes() -> list[dict[str, object]]:
    """Layouts, for numbers around which something changes and for powers of two."""
    numbers = [*range(20), 50, 100, 500, 1000, 24_575, 24_576, 100_000, 10**6, 10**7, *(1 << i for i in range(5, 25))]
    out: list[dict[str, object]] = []
    for n in sorted(set(numbers)):
        of = okvs.shape(n)
        out.append({"n": n, "shape": [of.bins, of.capacity, of.sparse, of.dense]})
    return out


def tables() -> list[dict[str, object]]:
    """Whole tables with the pairs in them."""
    out: list[dict[str, object]] = []
    for n in (0, 1, 2, 5, 17):
        keys = [uniform(f"okvs key {n} {i}", 16) for i in range(n)]
        values = [int.from_bytes(uniform(f"okvs value {n} {i}", 16), "little") for i in range(n)]
        rows = okvs.shape(n).rows
        free = [int.from_bytes(uniform(f"okvs free {n} {i}", 16), "little") for i in range(rows)]
        seed = uniform(f"okvs seed {n}", 16)
        table = okvs.encode(keys, values, seed=seed, free=free)
        if values != [okvs.decode(table, key, n=n, seed=seed) for key in keys]:
            raise AssertionError("the reference contradicts itself")
        out.append(
            {
                "n": n,
                "seed": seed.hex(),
                "keys": b"".join(keys).hex(),
                "values": b"".join(v.to_bytes(16, "little") for v in values).hex(),
                "table": b"".join(v.to_bytes(16, "little") for v in table).hex(),
            }
        )
    return out


def bad_pairs() -> list[dict[str, str]]:
    """A key that comes twice, with equal values and with different ones."""
    keys = [uniform(f"okvs bad key {i}", 16) for i in range(6)]
    values = [uniform(f"okvs bad value {i}", 16) for i in range(6)]
    cases = {
        "first and last are equal": ([*keys, keys[0]], [*values, uniform("okvs other", 16)]),
        "also in value": ([*keys, keys[0]], [*values, values[0]]),
        "two alone": ([keys[0], keys[0]], values[:2]),
        "all equal": ([keys[0]] * 40, [values[0]] * 40),
    }
    return [{"why": why, "keys": b"".join(k).hex(), "values": b"".join(v).hex()} for why, (k, v) in cases.items()]


def cuckoo_tables() -> list[dict[str, object]]:
    """Places of some keys and who gets which, in tables with room and in full ones."""
    out: list[dict[str, object]] = []
    for n, bins in ((0, 3), (1, 3), (3, 3), (5, 6), (20, 154), (40, 44), (60, 67)):
        keys = [uniform(f"cuckoo key {n} {i}", 16) for i in range(n)]
        places = [cuckoo.places(key, bins) for key in keys]
        rows = cuckoo.assign(places, bins)
        if rows is None:
            raise AssertionError("these keys have no assignment; take others")
        out.append({"bins": bins, "keys": b"".join(keys).hex(), "places": places, "rows": rows})
    return out


def bad_places() -> list[dict[str, object]]:
    """Items with fewer places than they are."""
    cases = {
        "four at three bins": ([[0, 1, 2]] * 4, 100),
        "more items than bins": ([[0, 1, 2], [1, 2, 3], [2, 3, 0], [3, 0, 1], [0, 1, 2]], 4),
        "five at four bins, beside one that has room": (
            [[7, 8, 9], [0, 1, 2], [1, 2, 3], [2, 3, 0], [3, 0, 1], [0, 2, 3]],
            10,
        ),
    }
    if any(cuckoo.assign(places, bins) is not None for places, bins in cases.values()):
        raise AssertionError("the reference contradicts Hall")
    return [{"why": why, "places": places, "bins": bins} for why, (places, bins) in cases.items()]


def write(name: str, content: dict[str, object]) -> None:
    """One file of vectors."""
    content = {"source": "tests/reference/generate_stores.py. Values are hexadecimal.", **content}
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.stderr.write(f"wrote {name}.json\n")


if __name__ == "__main__":
    write("gf128", {"products": products(), "hashes": hashes()})
    write("okvs", {"shapes": shapes(), "tables": tables(), "bad_pairs": bad_pairs()})
    write("cuckoo", {"tables": cuckoo_tables(), "bad_places": bad_places()})
