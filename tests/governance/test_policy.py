"""The policy: what is not written is not allowed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mpc.errors import PolicyError, UsageError
from unseen.governance.policy import NOTHING, Policy, Rule, allowed, decide, read_policy

RULE = """
[[allow]]
scenario = "mortgage-approval"
requester = "bank"
operator = "lookup.table"
product = "marriage-status"
data_set = "marriages"
columns = ["married", "since"]
consent_issuers = ["platform"]
valid_from = 2026-01-01T00:00:00Z
valid_until = 2026-12-31T23:59:59Z
"""
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def policy_of(text: str, tmp_path: Path) -> Policy:
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return read_policy(path)


def ask(
    policy: Policy,
    *,
    requester: str = "bank",
    scenario: str | None = "mortgage-approval",
    operator: str = "lookup.table",
    product: str = "marriage-status",
    data_set: str = "marriages",
    columns: tuple[str, ...] = ("married",),
    now: datetime = NOW,
) -> Rule:
    return decide(
        policy,
        requester=requester,
        scenario=scenario,
        operator=operator,
        product=product,
        data_set=data_set,
        columns=columns,
        now=now,
    )


def test_what_is_written_is_allowed(tmp_path: Path) -> None:
    policy = policy_of("\ufeff" + RULE, tmp_path)  # a byte order mark does no harm
    rule = ask(policy)
    assert (rule.consent_issuers, rule.calls_per_day) == (["platform"], None)
    assert rule.key == "mortgage-approval/bank/lookup.table/marriage-status/marriages"
    assert ask(policy, scenario=None) == rule
    assert policy.sha256 == hashlib.sha256(("\ufeff" + RULE).encode()).digest()


@pytest.mark.parametrize(
    ("word", "value", "has"),
    [
        ("requester", "insurer", "bank"),
        ("scenario", "hiring", "mortgage-approval"),
        ("operator", "psi.rr22", "lookup.table"),
        ("product", "income", "marriage-status"),
        ("data_set", "taxes", "marriages"),
        ("columns", ("married", "name"), "married, since"),
        ("now", datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        ("now", datetime(2027, 1, 1, tzinfo=UTC), "2026-12-31T23:59:59Z"),
    ],
)
def test_every_word_counts_and_the_operator_is_told_which(word: str, value: object, has: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as refusal:
        ask(policy_of(RULE, tmp_path), **{word: value})  # type: ignore[arg-type]  # the table has the right types
    assert refusal.value.code == "policy-denied"
    assert has in refusal.value.reason
    named = {"now": "valid_"}.get(word, word)
    assert named in refusal.value.reason


@pytest.mark.parametrize("text", ["", "# nothing\n", "allow = []\n"])
def test_an_empty_policy_allows_nothing(text: str, tmp_path: Path) -> None:
    for policy in (policy_of(text, tmp_path), NOTHING):
        with pytest.raises(PolicyError, match="no rules"):
            ask(policy)


def test_the_nearest_rule_explains_the_refusal(tmp_path: Path) -> None:
    other = RULE.replace('"bank"', '"insurer"').replace("mortgage-approval", "claims")
    policy = policy_of(RULE + other, tmp_path)
    with pytest.raises(PolicyError, match="requester does not match: asked 'tank', .* 'bank', 'insurer'"):
        ask(policy, requester="tank")
    with pytest.raises(PolicyError, match="scenario does not match: asked 'claims', .* 'mortgage-approval'"):
        ask(policy, scenario="claims")


def test_all_scenarios_of_a_requester_and_the_first_rule_of_each(tmp_path: Path) -> None:
    second = RULE.replace("mortgage-approval", "review")
    limited = RULE + "calls_per_day = 5\n"
    found = allowed(
        policy_of(limited + second + RULE, tmp_path),
        requester="bank",
        operator="lookup.table",
        product="marriage-status",
        data_set="marriages",
        columns=["married"],
        now=NOW,
    )
    assert list(found) == ["mortgage-approval", "review"]
    assert found["mortgage-approval"].calls_per_day == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("operator", "operater"), "rule 1: operater: unknown key"),
        (("[[allow]]", "[[allowed]]"), "allowed: unknown key"),
        (('"bank"', '"*"'), "rule 1: requester"),
        (('"bank"', "7"), "rule 1: requester"),
        (('["married", "since"]', "[]"), "rule 1: columns"),
        (("2026-01-01T00:00:00Z", "2026-01-01T00:00:00"), "rule 1: valid_from has no time zone"),
        (("2026-01-01T00:00:00Z", "2026-01-01"), "rule 1: valid_from"),
        (("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), "rule 1: valid_until is not after"),
        (('scenario = "mortgage-approval"\n', ""), "rule 1: scenario"),
        (('scenario = "', "scenario = "), "is not TOML: .*line 3"),
        (('requester = "bank"', 'requester = "bank"\ncalls_per_day = 0'), "rule 1: calls_per_day"),
    ],
)
def test_a_wrong_file_is_refused_and_the_place_is_named(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    assert change[0] in RULE
    with pytest.raises(UsageError, match=message):
        policy_of(RULE.replace(*change), tmp_path)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read a policy"):
        read_policy(tmp_path / "nothing.toml")
    (tmp_path / "policy.toml").write_bytes("# 政策\n".encode("gb18030"))
    with pytest.raises(UsageError, match="not UTF-8"):
        read_policy(tmp_path / "policy.toml")
