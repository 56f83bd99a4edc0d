"""scripts/setup names everything that a machine lacks, each with its remedy, before it touches anything."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[2] / "scripts" / "setup"
# What the script itself runs besides the tools that it looks for.
SHELL_TOOLS = (
    *("sh", "env", "dirname", "ls", "mkdir", "rm", "cat", "tail"),
    *("tr", "find", "sort", "xargs", "cksum", "date", "flock"),
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout with the script alone, and `bin/`, which is all of PATH: a shell's tools and nothing to build with."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SETUP, tmp_path / "scripts" / "setup")
    (tmp_path / "bin").mkdir()
    for tool in SHELL_TOOLS:
        found = shutil.which(tool)
        if found is not None:
            (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def install(machine: Path, name: str, script: str) -> None:
    """Puts a stand-in for a tool on the machine's PATH."""
    path = machine / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def install_all(machine: Path) -> None:
    install(machine, "python3", "exit 0")
    install(machine, "cc", 'while [ "$1" != -o ]; do shift; done; : >"$2"')
    install(machine, "cargo", 'case "$1" in --version) echo "cargo 1.89.0 (abc 2025-01-01)" ;; esac')


def run(machine: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [machine / "scripts" / "setup", *arguments],
        env={"PATH": str(machine / "bin"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


def test_bare_machine_is_told_everything_at_once(machine: Path) -> None:
    code, said = run(machine)
    assert code == 1
    assert [line for line in said.splitlines() if line.startswith("missing: ")] == [
        "missing: Python 3.11 or newer",
        "missing: a C compiler that links (cc), which Rust uses as its linker",
        "missing: Rust 1.89 or newer (cargo)",
    ]
    assert "apt install python3 python3-venv" in said
    assert "apt install build-essential" in said
    assert "rustup default stable" in said
    assert not (machine / ".venv").exists()


@pytest.mark.parametrize(
    ("tool", "script", "missing", "remedy"),
    [
        ("python3", 'case "$2" in *3,\\ 11*) exit 1 ;; esac', "Python 3.11 or newer", "apt install python3"),
        (
            "python3",
            'case "$2" in *ensurepip*) exit 1 ;; esac',
            "the modules venv and ensurepip of python3",
            "python3-venv",
        ),
        ("cc", "exit 1", "a C compiler that links (cc)", "build-essential"),
        (
            "cargo",
            'echo "cargo 1.88.0 (abc 2025-01-01)"',
            "Rust 1.89 or newer (found: cargo 1.88.0",
            "rustup update stable",
        ),
        ("cargo", "exit 1", "Rust 1.89 or newer (cargo)", "rustup default stable"),
        (
            "cargo",
            '[ "$1" = --version ] && echo "cargo 1.95.0" || exit 1',
            "cargo clippy",
            "rustup component add clippy",
        ),
        ("cargo", '[ "$1" != fmt ] && echo "cargo 2.0.0" || exit 1', "cargo fmt", "rustup component add rustfmt"),
    ],
)
def test_each_thing_missing_is_named_alone(machine: Path, tool: str, script: str, missing: str, remedy: str) -> None:
    install_all(machine)
    install(machine, tool, script)
    code, said = run(machine, "clippy", "fmt")
    assert code == 1
    first, second = said.splitlines()[:2]
    assert first.startswith(f"missing: {missing}")
    assert remedy in second


def test_python_that_the_user_names_is_not_replaced_by_another(machine: Path) -> None:
    install_all(machine)
    code, said = run(machine, PYTHON="/nowhere/python")
    assert code == 1
    assert said.startswith("missing: PYTHON=/nowhere/python is not a Python 3.11 or newer")


def test_failing_step_shows_the_end_of_its_log(machine: Path) -> None:
    install_all(machine)
    install(machine, "python3", 'case "$*" in *-m\\ venv*) echo no space left >&2; exit 1 ;; esac')
    (machine / "requirements-dev.lock").write_text("")
    code, said = run(machine)
    assert code == 1
    assert "making .venv" in said
    assert "no space left" in said
    assert os.linesep + "$ python3 -m venv" in (machine / "build" / "setup.log").read_text()
