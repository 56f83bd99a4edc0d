"""The ledger on a real PostgreSQL.

Runs where UNSEEN_TEST_DATABASE_URL names a database whose user may make others, such as
``postgresql+pg8000://user@localhost/postgres``; each test makes a database of its own and drops it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, make_url, text

from mpc.errors import PolicyError, UsageError
from tests.governance.test_ledger import evaluation, statuses
from tests.governance.world import NODE, NOW, checked, nonce
from unseen.governance.ledger import Quota, Witness, entries, last_entry, open_ledger, verify

DATABASE = os.environ.get("UNSEEN_TEST_DATABASE_URL", "")

pytestmark = pytest.mark.skipif(
    not DATABASE, reason="set UNSEEN_TEST_DATABASE_URL to a PostgreSQL database to run this"
)


@pytest.fixture
def url() -> Iterator[str]:
    """URL of an empty database, on whose defaults the ledger must not rely."""
    name = f"unseen_test_{secrets.token_hex(6)}"
    engine = create_engine(DATABASE, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit TO off"))
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation TO serializable"))
        yield make_url(DATABASE).set(database=name).render_as_string(hide_password=False)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def changed(url: str, statement: str, **values: object) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


def test_one_use_for_one_element(url: str) -> None:
    moment = NOW
    first, pair = checked(), checked(nonces=(nonce(), nonce()))
    with open_ledger(url, node=NODE, clock=lambda: moment) as ledger:
        batch = [evaluation(first), evaluation(first), evaluation(pair), *(evaluation() for _ in range(1200))]
        assert statuses(ledger.commit(batch))[:4] == ["fresh", "repeat", "fresh", "fresh"]
    with open_ledger(url, node=NODE, clock=lambda: moment) as ledger:
        other = checked(nonces=(pair.nonces[1], nonce()))
        assert statuses(ledger.commit([evaluation(first), evaluation(other)])) == ["repeat", "reused"]
        moment += timedelta(days=1)
        assert ledger.purge() == 1203
        moment -= timedelta(days=1)
        assert statuses(ledger.commit([evaluation(first)])) == ["expired"]
    with pytest.raises(UsageError, match=f"belongs to {NODE}"):
        open_ledger(url, node="tax")
    found = verify(url)
    assert (found.node, found.last_entry, found.billed) == (NODE, 1206, 1202)
    assert last_entry(url) == 1206
    assert [entry["seq"] for entry in entries(url, first=1205)] == [1205, 1206]


def test_many_processes_extend_one_chain(url: str) -> None:
    """Ledgers of their own connections, as processes have them; the first calls race for making the tables."""
    raced = checked()
    quota = Quota(rule="/".join(["r" * 100] * 5), limit=40)

    def work(_: int) -> list[str]:
        with open_ledger(url, node=NODE) as ledger:
            seen = statuses(ledger.commit([evaluation(raced)]))
            for _ in range(10):
                seen += statuses(ledger.commit([evaluation(quota=quota), evaluation()]))
            return seen

    with ThreadPoolExecutor(6) as pool:
        seen = [status for statuses_ in pool.map(work, range(6)) for status in statuses_]
    assert seen.count("fresh") == 1 + 40 + 60
    assert (seen.count("repeat"), seen.count("over-quota")) == (5, 20)
    assert verify(url).last_entry == 6 + 120


def test_a_commit_is_on_disk_whatever_the_server_defaults_to(url: str) -> None:
    with open_ledger(url, node=NODE) as ledger, ledger._engine.connect() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
        assert connection.execute(text("SHOW transaction_isolation")).scalar() == "read committed"


def test_a_lost_connection_refuses_and_recovers(url: str) -> None:
    with open_ledger(url, node=NODE) as ledger:
        before = ledger.commit([evaluation()])[0]
        with ledger._engine.connect() as connection:
            process = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        changed(url, "SELECT pg_terminate_backend(:process)", process=process)
        with pytest.raises(PolicyError, match="ledger-unavailable"):
            ledger.commit([evaluation()])
        after = ledger.commit([evaluation()])[0]
    assert after.entry == before.entry + 1
    assert verify(url, witnesses=[Witness(before.entry, before.head), Witness(after.entry, after.head)]).witnesses == 2


def test_a_changed_entry_is_found(url: str) -> None:
    with open_ledger(url, node=NODE) as ledger:
        ledger.commit([evaluation() for _ in range(5)])
    changed(url, "UPDATE audit SET entry = replace(entry, 'bank', 'tank') WHERE seq = 3")
    with pytest.raises(PolicyError, match="entry 3 was changed"):
        verify(url)
    changed(url, "DELETE FROM audit WHERE seq = 2")
    with pytest.raises(PolicyError, match="entry 2 is missing"):
        verify(url)


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    place = make_url(DATABASE).set(password="secret-word", host="127.0.0.1", port=1, query={})
    with pytest.raises(PolicyError, match="ledger-unavailable") as refusal:
        open_ledger(place.render_as_string(hide_password=False), node=NODE)
    assert "secret-word" not in str(refusal.value)
