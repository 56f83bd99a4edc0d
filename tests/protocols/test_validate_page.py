"""The code on the page about validation runs as it stands there."""

from __future__ import annotations

import pytest

from mpc.testing import run_parties
from tests.protocols.test_psi_page import code, party


def test_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    bank, source = code("validate.md")
    held = {
        "tax": {"ids": ["11010519491231002X"], "incomes": [500_000]},
        "social-security": {"ids": [], "incomes": []},
        "housing-fund": {"ids": ["11010519491231002X"], "incomes": [204_167]},
    }
    run_parties({"bank": party(bank), **{name: party(source, **given) for name, given in held.items()}})
    assert capsys.readouterr().out == "[1 3]\n"
