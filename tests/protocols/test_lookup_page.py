"""The code on the protocol's page runs as it stands there."""

from __future__ import annotations

import re
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mpc import suite
from mpc.data import identifiers
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import run_parties
from protocols.lookup import table as lookup

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocols" / "lookup.md"


def permit_everything(built: lookup.Built) -> SimpleNamespace:
    """A service that writes nothing down."""
    admission = SimpleNamespace(refusals={}, record=lambda *_: lookup.Recorded())
    epoch = lookup.Epoch(built.table, built.private_key)
    return SimpleNamespace(manifests=lambda _: [], epoch=lambda _: epoch, admit=lambda _: admission)


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imports, asker = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("register.csv").write_text("id,status\n11010519491231002X,married\n440524188001010014,single\n")
    built: Future[lookup.Built] = Future()

    def service(made: lookup.Built) -> SimpleNamespace:
        built.set_result(made)
        return permit_everything(made)

    def source(s: Session) -> None:
        exec(imports, {"__name__": "page", "channel": s.channel("bank"), "service": service, "rng": s.rng})

    def ask(s: Session) -> lookup.Answers:
        table = built.result(30).table
        intl, rng = suite.get("intl"), Rng()
        keys = identifiers.canonical_columns("resident-id", ["11010519491231002X"])
        inputs = lookup.query_inputs(keys, product="marriage-status", key_form="resident-id")
        names: dict[str, Any] = {
            "channel": s.channel("civil-affairs"),
            "spec": table.spec,
            "table_hash": table.hash,
            "blinds": lookup.blind(inputs, suite=intl, rng=rng)[0],
            "permits": [[lookup.SignedDocument(b"token", b"signature")]],
            "rng": rng,
        }
        exec("from mpc.data import identifiers\nfrom protocols.lookup import table as lookup\n" + asker, names)
        s.channel("civil-affairs").close()
        answers: lookup.Answers = names["answers"]
        return answers

    answers = run_parties({"bank": ask, "civil-affairs": source})["bank"]
    assert (answers.found.tolist(), answers.answers.tolist()) == ([True], [[1]])
