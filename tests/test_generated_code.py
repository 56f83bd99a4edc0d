"""mpc/wire/ is exactly what the .proto files say, and the runtime that we require can load it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """proto/generate.py as a module; proto/ is no package, so that nothing can shadow it."""
    spec = importlib.util.spec_from_file_location("unseen_proto_generate", ROOT / "proto" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_code_is_what_the_proto_files_say(generator: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    assert generator.main(["--check"]) == 0, capfd.readouterr().err


def test_check_names_each_file_that_differs(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wire = tmp_path / "wire"
    shutil.copytree(ROOT / "mpc" / "wire", wire)
    monkeypatch.setattr(generator, "WIRE_DIR", wire)
    changed, missing = Path("wire/v1/message_pb2.py"), Path("wire/v1/message_pb2.pyi")
    (wire / changed).write_text((wire / changed).read_text() + "# by hand\n")
    (wire / missing).unlink()
    (wire / "wire/v1/left_over_pb2.py").write_text("")

    assert generator.main(["--check"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        "mpc/wire/wire/v1/left_over_pb2.py: no .proto file explains it",
        "mpc/wire/wire/v1/message_pb2.py: differs",
        "mpc/wire/wire/v1/message_pb2.pyi: missing",
        "run `make proto` and commit the result",
    ]
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("distribution", "pattern", "stated_in"),
    [
        ("protobuf", r"Protobuf Python Version: ([\d.]+)", "*_pb2.py"),
        ("grpcio", r"GRPC_GENERATED_VERSION = '([\d.]+)'", "*_pb2_grpc.py"),
    ],
)
def test_required_runtime_can_load_the_generated_code(distribution: str, pattern: str, stated_in: str) -> None:
    """Generated code refuses a runtime older than its generator, so the floor in pyproject.toml must not be lower."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [floor] = [
        match[1]
        for text in project["dependencies"]
        if (match := re.match(rf"{distribution}>=([\d.]+)", text)) is not None
    ]
    paths = sorted((ROOT / "mpc" / "wire").rglob(stated_in))
    if not paths:
        pytest.skip(f"no .proto file makes a {stated_in}")
    for path in paths:
        found = re.search(pattern, path.read_text(encoding="utf-8"))
        assert found is not None, path
        assert version(found[1]) <= version(floor), path


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
