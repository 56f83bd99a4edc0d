"""The coordinator's registry: the first manifest stays the first, and another one is kept as evidence, once."""

from __future__ import annotations

import threading
from pathlib import Path

from unseen.coordinator.registry import Party, ProductState, Registry, open_registry
from unseen.governance.documents import Signed

STATE = ProductState("p", "lookup.table", 1, "intl", "resident-id", 3, serving=True, problem="")


def signed(text: str) -> Signed:
    return Signed(text.encode(), b"signature of " + text.encode(), "tax", b"certificate")


def show(registry: Registry, text: str, *, epoch: int = 1, by: str = "bank") -> Signed:
    return registry.show(signed(text), node="tax", product="p", epoch=epoch, shown_by=by)


def test_the_first_manifest_stays_the_first(tmp_path: Path) -> None:
    registry = open_registry(tmp_path / "c.db")
    assert show(registry, "one") == signed("one")
    assert show(registry, "one", by="insurer") == signed("one")
    assert registry.contradictions() == ()
    assert show(registry, "two") == signed("one")
    assert show(registry, "two", by="insurer") == signed("one")
    assert show(registry, "three", by="insurer") == signed("one")
    assert show(registry, "later", epoch=2) == signed("later")
    found = registry.contradictions()
    assert [(one.first, one.other, one.shown_by) for one in found] == [
        (signed("one"), signed("two"), "bank"),
        (signed("one"), signed("three"), "insurer"),
    ]
    registry.close()
    again = open_registry(tmp_path / "c.db")
    assert again.contradictions() == found
    again.close()


def test_many_at_once_agree_on_the_first(tmp_path: Path) -> None:
    registry = open_registry(tmp_path / "c.db")
    results: list[Signed] = []
    threads = [threading.Thread(target=lambda n=n: results.append(show(registry, f"manifest {n}"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len({result.document for result in results}) == 1
    assert len(registry.contradictions()) == 7
    registry.close()


def test_an_announcement_replaces_the_last_one(tmp_path: Path) -> None:
    registry = open_registry(tmp_path / "c.db")
    registry.announce(Party("tax", "tax:1", "0.1", 5, (STATE,)))
    registry.announce(Party("bank", "bank:1", "0.1", 6, ()))
    moved = Party(
        "tax", "tax:2", "0.2", 7, (ProductState("q", "lookup.table", 1, "intl", "text", 0, False, "building"),)
    )
    registry.announce(moved)
    assert registry.parties() == (Party("bank", "bank:1", "0.1", 6, ()), moved)
    registry.close()
