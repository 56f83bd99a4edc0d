"""The node's policy: what may run here. Nothing else does.

A TOML file of rules. Each rule names every word of what it allows: there are no wildcards, and an empty file allows
nothing.

    [[allow]]
    scenario = "mortgage-approval"
    requester = "bank"
    operator = "lookup.table"
    product = "marriage-status"
    data_set = "marriages"
    columns = ["married"]
    consent_issuers = ["identity-platform"]
    valid_from = 2026-01-01T00:00:00Z
    valid_until = 2026-12-31T23:59:59Z
    calls_per_day = 10000            # optional; counted durably in the ledger
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from mpc.errors import PolicyError, UsageError
from unseen.governance import files
from unseen.governance.documents import STRICT, Name, format_time, utc_now

Word = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Rule(BaseModel):
    """One thing that is allowed: this requester may run this operator on these columns of this data set, for this
    scenario.

    `consent_issuers`: platforms whose consents count. `calls_per_day`: most billed evaluations per UTC day; no limit if
    absent.
    """

    model_config = STRICT
    scenario: Name
    requester: Name
    operator: Word
    product: Name
    data_set: Word
    columns: Annotated[list[Word], Field(min_length=1)]
    consent_issuers: list[Name]
    valid_from: datetime
    valid_until: datetime
    calls_per_day: Annotated[int, Field(ge=1)] | None = None

    @property
    def key(self) -> str:
        """Name of the rule in the ledger's daily count."""
        return "/".join((self.scenario, self.requester, self.operator, self.product, self.data_set))


class _File(BaseModel):
    model_config = STRICT
    allow: list[Rule] = []


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as read. `sha256`: hash of the file, 32 bytes, for the audit log."""

    rules: tuple[Rule, ...]
    sha256: bytes


NOTHING = Policy(rules=(), sha256=hashlib.sha256(b"").digest())
"""The policy that allows nothing: what a node without a policy, or with a broken one, has."""


def read_policy(path: Path) -> Policy:
    """Reads a policy file. Raises UsageError naming the rule and the field, or the line, at fault."""
    data = files.read(path, what="a policy")
    try:
        content = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8. Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}.") from None
    try:
        rules = _File.model_validate(content).allow
    except ValidationError as error:
        found = [_fault(dict(problem)) for problem in error.errors(include_url=False, include_input=False)]
        raise UsageError(f"{path}: {'; '.join(found)}. A rule has the keys {', '.join(Rule.model_fields)}.") from None
    for number, rule in enumerate(rules, start=1):
        for field in ("valid_from", "valid_until"):
            if getattr(rule, field).tzinfo is None:
                raise UsageError(f"{path}: rule {number}: {field} has no time zone. End it with Z for UTC.")
        if rule.valid_until <= rule.valid_from:
            raise UsageError(f"{path}: rule {number}: valid_until is not after valid_from. Exchange or correct them.")
    return Policy(rules=tuple(rules), sha256=hashlib.sha256(data).digest())


def _fault(problem: Mapping[str, object]) -> str:
    place = problem["loc"]
    words = list(place) if isinstance(place, tuple) else [place]
    if len(words) > 1 and words[0] == "allow" and isinstance(words[1], int):
        where = f"rule {words[1] + 1}" + (f": {'.'.join(map(str, words[2:]))}" if len(words) > 2 else "")
    else:
        where = ".".join(map(str, words))
    return f"{where}: {'unknown key' if problem['type'] == 'extra_forbidden' else problem['msg']}"


def _unmatched(
    rule: Rule, wanted: Mapping[str, str | None], columns: Collection[str], now: datetime
) -> tuple[int, str, str]:
    """How many words of `rule` match before the first that does not, that word's name, and what the rule has there."""
    for place, (word, value) in enumerate(wanted.items()):
        if value is not None and getattr(rule, word) != value:
            return place, word, str(getattr(rule, word))
    if not set(columns) <= set(rule.columns):
        return len(wanted), "columns", ", ".join(rule.columns)
    if now < rule.valid_from:
        return len(wanted) + 1, "valid_from", format_time(rule.valid_from)
    if now > rule.valid_until:
        return len(wanted) + 1, "valid_until", format_time(rule.valid_until)
    return len(wanted) + 2, "", ""


def allowed(
    policy: Policy,
    *,
    requester: str,
    operator: str,
    product: str,
    data_set: str,
    columns: Collection[str],
    scenario: str | None = None,
    now: datetime | None = None,
) -> dict[str, Rule]:
    """The rules that allow this, by scenario; where several allow the same, the first in the file counts.

    Args:
        policy: the node's policy.
        requester: the party that asks, from its certificate.
        operator: what it wants to run, such as ``lookup.table``.
        product: the product asked.
        data_set: the data set behind the product.
        columns: the columns that the operator reads.
        scenario: the one scenario of interest; all of them if None.
        now: the time to decide at; the present by default.

    Raises PolicyError ``policy-denied`` if there is none. Its `reason` names the word that did not match, for the
    operator's own log; a peer is told the code and nothing else.
    """
    moment = now or utc_now()
    wanted = {
        "product": product,
        "operator": operator,
        "data_set": data_set,
        "requester": requester,
        "scenario": scenario,
    }
    results = [(rule, _unmatched(rule, wanted, columns, moment)) for rule in policy.rules]
    matching: dict[str, Rule] = {}
    for rule, (_, word, _) in results:
        if not word:
            matching.setdefault(rule.scenario, rule)
    if matching:
        return matching
    if not results:
        raise PolicyError(
            "the policy has no rules", code="policy-denied", remedy="Add an [[allow]] rule to policy.toml."
        )
    nearest = max(place for _, (place, _, _) in results)
    _, word, _ = next(result for _, result in results if result[0] == nearest)
    have = ", ".join(sorted({repr(value) for _, (place, other, value) in results if (place, other) == (nearest, word)}))
    asked = {**wanted, "columns": ", ".join(sorted(columns))}.get(word, format_time(moment))
    raise PolicyError(
        f"no rule allows it: {word} does not match: asked {asked!r}, the nearest rules have {have}",
        code="policy-denied",
        remedy="If it should be allowed, add an [[allow]] rule to policy.toml.",
    )


def decide(
    policy: Policy,
    *,
    requester: str,
    operator: str,
    product: str,
    data_set: str,
    columns: Collection[str],
    scenario: str | None = None,
    now: datetime | None = None,
) -> Rule:
    """The rule that allows this; see `allowed`. Without a scenario, the first rule of any scenario."""
    rules = allowed(
        policy,
        requester=requester,
        operator=operator,
        product=product,
        data_set=data_set,
        columns=columns,
        scenario=scenario,
        now=now,
    )
    return next(iter(rules.values()))
