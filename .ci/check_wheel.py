"""Checks an installed wheel from the inside: `python -I check_wheel.py unseen-*.whl`, in the environment that holds it.

What has to be in the wheel is there, nothing of tests or tools is, every module imports, and the native core computes.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import sys
import zipfile
from pathlib import Path

PACKAGES = ("mpc", "protocols", "unseen")
REQUIRED = (
    "mpc/py.typed",
    "protocols/py.typed",
    "unseen/py.typed",
    "mpc/_native.pyi",
    "mpc/wire/wire/v1/message_pb2.py",
    "mpc/wire/wire/v1/message_pb2.pyi",
    "protocols/learning/templates/report.html",
    "protocols/learning/templates/report.words.json",
)
# Modules that stand on an extra: without it they have to say which one to install.
NEEDS_EXTRA = {
    "protocols.learning.boosting_estimators": "unseen[learning]",
    "protocols.learning.estimators": "unseen[learning]",
    "protocols.learning.horizontal_boosting_estimators": "unseen[learning]",
}


def check_content(wheel: Path) -> int:
    """Compares the archive with what belongs in it; returns the number of files."""
    names = zipfile.ZipFile(wheel).namelist()
    for name in REQUIRED:
        assert name in names, f"{name} is not in {wheel.name}"
    cores = [name for name in names if name.startswith("mpc/_native") and name.endswith(".so")]
    assert len(cores) == 1, f"not exactly one native core: {cores}"
    info = f"{wheel.name.split('-')[0]}-{wheel.name.split('-')[1]}.dist-info"
    strangers = [name for name in names if name.split("/")[0] not in (*PACKAGES, info)]
    assert not strangers, f"does not belong in a wheel: {strangers}"
    leftovers = [name for name in names if name.endswith((".pyc", ".proto", ".rs", ".sqlite", ".key", ".pem"))]
    assert not leftovers, f"does not belong in a wheel: {leftovers}"
    core = zipfile.ZipFile(wheel).read(cores[0])
    assert str(Path.home()).encode() + b"/" not in core, "the native core names folders of its builder"
    assert any(name.startswith(f"{info}/licenses/") and name.endswith("LICENSE") for name in names), "no licence"
    assert "abi3" in wheel.name, "the native core is bound to one Python"
    return len(names)


def import_error(name: str) -> str:
    """What a module says that does not import; nothing where it does."""
    try:
        importlib.import_module(name)
    except importlib.import_module("mpc.errors").UsageError as error:
        return str(error)
    return ""


def import_everything() -> int:
    """Imports each module of the three packages and makes sure that it is the installed one; returns their number."""
    here = Path(sys.prefix).resolve()
    count = 0
    for package in PACKAGES:
        top = importlib.import_module(package)
        for module in pkgutil.walk_packages(top.__path__, f"{package}."):
            if module.name.rpartition(".")[2] == "__main__":
                continue
            if module.name in NEEDS_EXTRA:
                refusal = import_error(module.name)
                assert NEEDS_EXTRA[module.name] in refusal, f"{module.name} does not name its extra: {refusal!r}"
                continue
            path = Path(str(importlib.import_module(module.name).__file__)).resolve()
            assert path.is_relative_to(here), f"{module.name} comes from {path}"
            count += 1
    return count


def compute() -> None:
    """One blinded evaluation: the native core gives what it gives without blinding."""
    np = importlib.import_module("numpy")
    native = importlib.import_module("mpc._native")
    data, offsets = np.frombuffer(b"one item", dtype=np.uint8), np.array([0, 8], dtype=np.int64)
    key = native.oprf_derive_key("intl", 0, np.zeros(32, dtype=np.uint8), b"wheel")
    blind = native.ristretto255_scalar_from_uniform(np.arange(64, dtype=np.uint8).reshape(1, 64))
    evaluated = native.oprf_blind_evaluate("intl", key, native.oprf_blind("intl", 0, data, offsets, blind))
    blinded = native.oprf_finalize("intl", 0, data, offsets, blind, evaluated)
    direct = native.oprf_evaluate("intl", 0, key, data, offsets)
    assert blinded.tobytes() == direct.tobytes(), "the OPRF disagrees with itself"


def main() -> None:
    """Command line; an assertion that fails is the report."""
    wheel = Path(sys.argv[1])
    files = check_content(wheel)
    modules = import_everything()
    compute()
    size_mb = wheel.stat().st_size / 1e6
    version = importlib.metadata.version("unseen")
    print(f"{wheel.name}: {files} files, {size_mb:.1f} MB, {modules} modules import, version {version}")


if __name__ == "__main__":
    main()
