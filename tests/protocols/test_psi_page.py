"""The code on the pages about private set intersection runs as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpc.session import Session
from mpc.testing import run_parties

DOCS = Path(__file__).resolve().parents[2] / "docs" / "protocols"


def code(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def party(text: str, **names: object) -> Callable[[Session], dict[str, Any]]:
    def run(s: Session) -> dict[str, Any]:
        found = {"session": s, **names}
        exec(text, found)
        return found

    return run


def test_the_way_in(capsys: pytest.CaptureFixture[str]) -> None:
    bank, insurer, columns, many = code("psi.md")
    results = run_parties({"bank": party(bank), "insurer": party(insurer)})
    assert sorted(capsys.readouterr().out.split("\n")) == ["", "138 0013 8000", "150 0000 1111"]
    matched = [results["bank"]["customers"][row][-4:] for row in results["bank"]["common"].rows]
    assert [number[-4:] for number in results["insurer"]["mine"].to_pylist()] == matched
    columns = "from protocols import psi\n" + columns
    given = {"ids": ["11010519491231002X"], "phones": ["13800138000"]}
    there = columns.replace('peer="insurer"', 'peer="bank"')
    results = run_parties({"bank": party(columns, **given), "insurer": party(there, **given)})
    assert results["bank"]["people"].rows.tolist() == [0]
    many = "from protocols import psi\n" + many
    there = many.replace('peer="insurer"', 'peer="bank"')
    results = run_parties({"bank": party(many, orders=[7, 8, 7]), "insurer": party(there, orders=[9, 7, 5])})
    assert results["bank"]["of_this_key"].tolist() == [0, 2]
    assert results["insurer"]["of_this_key"].tolist() == [1]


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_readme(page: str) -> None:
    _, bank = re.findall(r"```python\n(.*?)```", (DOCS.parents[1] / page).read_text(encoding="utf-8"), re.DOTALL)
    results = run_parties({"bank": party(bank), "insurer": party(bank.replace('peer="insurer"', 'peer="bank"'))})
    rows = [results[name]["common"].rows.tolist() for name in ("bank", "insurer")]
    assert rows[0] == rows[1]
    assert sorted(rows[0]) == [0, 1]


def test_sum(capsys: pytest.CaptureFixture[str]) -> None:
    bank, shop = code("psi-sum.md")
    numbers = [f"{13800138000 + i}" for i in range(40)]
    given = {"buyers": numbers[15:], "amounts": list(range(25))}
    run_parties({"bank": party(bank, customers=numbers[:36]), "shop": party(shop, **given)})
    assert capsys.readouterr().out == "21 210\n"


def test_cardinality(capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = code("psi-cardinality.md")
    there = text.replace('peer="insurer"', 'peer="bank"')
    one = ["13800138000", "13912345678"]
    run_parties({"bank": party(text, customers=one), "insurer": party(there, customers=[*one[:1], "15000001111"])})
    assert capsys.readouterr().out == "1 of 2\n" * 2


def test_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = code("psi-large.md")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "customers.csv").write_text("mobile,customer_no\n138 0013 8000,7\n13912345678,8\n", encoding="utf-8")
    (tmp_path / "policies.csv").write_text("mobile,policy_no\n13912345678,90\n", encoding="utf-8")
    there = text.replace('peer="insurer"', 'peer="bank"').replace("customer_no", "policy_no")
    there = there.replace("customers.csv", "policies.csv").replace("common.parquet", "theirs.parquet")
    there = there.replace('"work"', '"work there"')
    run_parties({"bank": party(text, storage=bytes(32)), "insurer": party(there, storage=bytes(32))})
    assert sorted(capsys.readouterr().out.splitlines()) == ["1 of 1 rows", "1 of 2 rows"]
    assert not (tmp_path / "work").exists()


def test_multi(capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = code("psi-multi.md")
    lists = {
        "bank": ["13800138000", "13912345678", "13700000001"],
        "court": ["13700000001", "13912345678"],
        "tax": ["15000001111", "13912345678", "13700000001"],
    }
    results = run_parties({name: party(text, customers=customers) for name, customers in lists.items()})
    assert capsys.readouterr().out == "2 of {'bank': 3, 'court': 2, 'tax': 3}\n" * 3
    orders = {tuple(result["in_common_order"]) for result in results.values()}
    assert len(orders) == 1
    assert set(orders.pop()) == {"13912345678", "13700000001"}


def test_payload() -> None:
    bank, source = code("psi-payload.md")
    known = {"tax": {"ann": 700, "bob": 2**63}, "fund": {"bob": 5, "cat": 9}}
    parties = {name: party(source, incomes=incomes) for name, incomes in known.items()}
    results = run_parties({"bank": party(bank, applicants=["bob", "ann", "dan"]), **parties})
    total = results["bank"]["shares"] + results["tax"]["shares"] + results["fund"]["shares"]
    words = {int(row): int(word) for row, word in zip(results["bank"]["table"].rows, total[0], strict=True)}
    assert words == {-1: 0, 0: 2**63 + 5, 1: 700, 2: 0}
