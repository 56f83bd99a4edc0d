"""What long-lived processes have in common."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from unseen import process


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def test_what_others_say_begins_no_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    process.log_to_stderr("node")
    logging.getLogger("a").warning("refused: %s", "no\n2026-01-01 ERROR forged\r\x1b[2J" + "x" * 20_000)
    try:
        raise RuntimeError
    except RuntimeError:
        logging.getLogger("a").exception("failed")
    first, second, *trace = capsys.readouterr().err.splitlines()
    assert "WARNING node: refused: no 2026-01-01 ERROR forged" in first
    assert first.isprintable()
    assert len(first) == 10_000
    assert "ERROR   node: failed" in second
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "RuntimeError"


def test_a_place_is_logged_without_what_the_error_says(caplog: pytest.LogCaptureFixture) -> None:
    identifier = str(110101199003070000 + 11)
    try:
        int(f"{identifier} of a data set")
    except ValueError as error:
        process.log_place(logging.getLogger("a"), "building failed", error)
    assert identifier not in caplog.text
    assert "building failed" in caplog.text
    assert "test_process.py" in caplog.text
    assert "ValueError" in caplog.text
