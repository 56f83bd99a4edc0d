"""The asker's small parts, without a node."""

from __future__ import annotations

from unseen import asker


def test_a_sources_words_cannot_command_the_askers_terminal() -> None:
    assert asker.printable("married 已婚 é") == "married 已婚 é"
    assert asker.printable("\x1b[2Jmarried\r\nabsent\u202e") == "\ufffd[2Jmarried\ufffd\ufffdabsent\ufffd"
