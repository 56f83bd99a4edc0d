"""Gathers the licences of the crates that are compiled into the native core, as their terms ask of a binary.

    python native/third_party.py            writes native/THIRD-PARTY-LICENSES.txt
    python native/third_party.py --check    writes nothing; exits 1 if Cargo.lock says something else, or a licence is
                                            not permissive

Of a crate under MIT or another licence MIT is taken. Crates that only run at build time are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OUT = HERE / "THIRD-PARTY-LICENSES.txt"
PERMISSIVE = {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "Zlib", "Unlicense"}


def linked_packages() -> list[dict[str, Any]]:
    """Metadata of every crate that ends up in the library, sorted by name."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--manifest-path", str(HERE / "Cargo.toml")]
    cargo = os.environ.get("CARGO", "cargo")
    metadata = json.loads(subprocess.run([cargo, *command[1:]], check=True, capture_output=True).stdout)
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    seen: set[str] = set()
    waiting = [metadata["resolve"]["root"]]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for dependency in nodes[current]["deps"]:
            normal = any(kind["kind"] is None and not _foreign(kind["target"]) for kind in dependency["dep_kinds"])
            macro = any("proc-macro" in target["kind"] for target in packages[dependency["pkg"]]["targets"])
            if normal and not macro:
                waiting.append(dependency["pkg"])
    seen.discard(metadata["resolve"]["root"])
    return sorted((packages[i] for i in seen), key=lambda package: (package["name"], package["version"]))


def _foreign(target: str | None) -> bool:
    """Whether a dependency is for platforms that no wheel of ours is built for."""
    return target is not None and any(word in target for word in ("windows", "wasm", "fiat"))


def licence_files(package: dict[str, Any]) -> Iterator[Path]:
    """The licence texts that a crate ships; of a choice that has MIT in it, MIT, because it is the shortest."""
    root = Path(package["manifest_path"]).parent
    words = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE")
    found = [path for path in sorted(root.iterdir()) if path.is_file() and path.name.upper().startswith(words)]
    mit = any("MIT" in path.name.upper() for path in found)
    for path in found:
        if not (mit and "APACHE" in path.name.upper()):
            yield path


def notices() -> str:
    """The whole file. Raises SystemExit for a crate without a permissive licence or without a text."""
    parts = ["Third-party crates compiled into mpc._native, and their licences.\n"]
    for package in linked_packages():
        licence = package["license"] or ""
        options = {word.strip(" ()") for word in licence.replace("/", " OR ").split(" OR ")}
        if not options & PERMISSIVE:
            raise SystemExit(f"{package['name']}: licence {licence!r} is not a permissive one")
        texts = [path.read_text(encoding="utf-8", errors="replace").strip() for path in licence_files(package)]
        if not texts:
            texts = [f"(The crate ships no text; its declared licence is {licence}.)"]
        parts.append(f"{'=' * 100}\n{package['name']} {package['version']} ({licence})\n{'=' * 100}\n")
        parts += [text + "\n" for text in texts]
    return "\n".join(parts)


def main() -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    wanted = notices()
    if not parser.parse_args().check:
        OUT.write_text(wanted, encoding="utf-8")
        return 0
    if OUT.is_file() and OUT.read_text(encoding="utf-8") == wanted:
        return 0
    print("native/THIRD-PARTY-LICENSES.txt is not what Cargo.lock says; run native/third_party.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
