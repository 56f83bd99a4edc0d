"""The grammar of names."""

from __future__ import annotations

import pytest

from mpc.errors import UsageError
from unseen import names


@pytest.mark.parametrize("name", ["a", "bank", "civil-affairs", "a1", "x" * 63, "a--b"])
def test_names_that_are_names(name: str) -> None:
    assert names.check_party_name(name) == name
    assert names.check_product_name(name) == name
    assert names.check_scenario_name(name) == name
    assert names.party_of_host(names.party_host(name)) == name


@pytest.mark.parametrize(
    "name",
    ["", "Bank", "1bank", "-bank", "bank-", "ba_nk", "ba.nk", "bank\n", " bank", "x" * 64, "银行", "bаnk", "../x"],
)
def test_names_that_are_none_show_the_grammar(name: str) -> None:
    for check in (names.check_party_name, names.check_product_name, names.check_scenario_name):
        with pytest.raises(UsageError, match="1 to 63 characters: a lower-case letter first"):
            check(name)


@pytest.mark.parametrize("host", ["bank", "bank.party.unseen.com", "a.b.party.unseen", ".party.unseen", "bank.example"])
def test_other_hosts_name_no_party(host: str) -> None:
    with pytest.raises(UsageError):
        names.party_of_host(host)
