"""Generates mpc/wire/ from the .proto files beside this script.

    python proto/generate.py            writes the code
    python proto/generate.py --check    writes nothing; exits 1 and names each file that differs from the .proto files

`proto/unseen/<area>/v1/<name>.proto` becomes `mpc/wire/<area>/v1/<name>_pb2.py` with its `.pyi`, and where the file
defines a service also `<name>_pb2_grpc.py`. On the wire and in reflection the names stay `unseen.<area>.v1.…`.
In Python the package is `mpc.wire.<area>.v1`, since the engine may not import the application; imports are rewritten.
The compiler is the one inside the locked grpcio-tools, so that the same input gives the same bytes everywhere.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PROTO_DIR = Path(__file__).resolve().parent
WIRE_DIR = PROTO_DIR.parent / "mpc" / "wire"

# A service at the start of a line; protoc itself rejects whatever else could look like one there.
SERVICE = re.compile(r"^service\s+\w+", re.MULTILINE)
# What protoc and its gRPC plugin write for an import of another file of ours.
IMPORT = re.compile(r"^from unseen\.(?=\w+\.v\d+)", re.MULTILINE)
ROOT_DOC = '"""Generated from the .proto files. Do not edit: `make proto` writes it, and a test compares."""\n'
AREA_DOC = '"""Generated from proto/unseen/{area} by proto/generate.py."""\n'


def sources() -> list[Path]:
    """Paths of all .proto files relative to `proto/`, sorted."""
    return sorted(path.relative_to(PROTO_DIR) for path in PROTO_DIR.glob("unseen/*/v*/*.proto"))


def compile_into(out: Path, protos: Sequence[Path]) -> None:
    """Runs protoc into the existing directory `out`; SystemExit when it refuses a file, and it has printed why."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    options = [f"--proto_path={PROTO_DIR}", f"--proto_path={well_known}", f"--python_out={out}", f"--pyi_out={out}"]
    with_service = [path for path in protos if SERVICE.search((PROTO_DIR / path).read_text(encoding="utf-8"))]
    runs = [(options, protos)]
    if with_service:
        runs.append(([*options[:2], f"--grpc_python_out={out}"], with_service))
    for flags, files in runs:
        if protoc.main(["protoc", *flags, *(path.as_posix() for path in files)]) != 0:
            raise SystemExit("proto/generate.py: protoc refused the .proto files; see its message above")


def generate() -> dict[Path, str]:
    """The whole content of `mpc/wire/`: file text by path relative to it."""
    protos = sources()
    if not protos:
        raise SystemExit(f"proto/generate.py: no .proto file under {PROTO_DIR / 'unseen'}")
    files = {Path("__init__.py"): ROOT_DOC}
    for proto in protos:
        _, area, version, _ = proto.parts
        files[Path(area, "__init__.py")] = AREA_DOC.format(area=area)
        files[Path(area, version, "__init__.py")] = AREA_DOC.format(area=f"{area}/{version}")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        compile_into(out, protos)
        for path in sorted(out.glob("unseen/**/*.py*")):
            text = path.read_text(encoding="utf-8")
            files[path.relative_to(out / "unseen")] = IMPORT.sub("from mpc.wire.", text)
    return files


def differences(files: dict[Path, str]) -> list[str]:
    """One line for each file of `mpc/wire/` that is missing, differs, or that no .proto file explains."""
    found = {path.relative_to(WIRE_DIR) for path in WIRE_DIR.glob("**/*.py*") if path.suffix in {".py", ".pyi"}}
    lines = [f"{path}: no .proto file explains it" for path in found - set(files)]
    for path, text in files.items():
        if path not in found:
            lines.append(f"{path}: missing")
        elif (WIRE_DIR / path).read_text(encoding="utf-8") != text:
            lines.append(f"{path}: differs")
    return sorted(lines)


def write(files: dict[Path, str]) -> None:
    """Makes `mpc/wire/` hold exactly `files`. Unchanged files keep their time stamp."""
    for line in differences(files):
        name = Path(line.partition(": ")[0])
        target = WIRE_DIR / name
        if name in files:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(files[name], encoding="utf-8")
        else:
            target.unlink()
        print(f"mpc/wire/{line}, {'written' if name in files else 'deleted'}")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Generate mpc/wire/ from the .proto files.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 and name what differs")
    arguments = parser.parse_args(argv)
    files = generate()
    if not arguments.check:
        write(files)
        return 0
    lines = differences(files)
    for line in lines:
        print(f"mpc/wire/{line}", file=sys.stderr)
    if lines:
        print("run `make proto` and commit the result", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
