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

    [[allow_job]]
    scenario = "joint-customers"
    requester = "bank"
    operator = "psi"
    data_set = "policy-holders"
    columns = ["resident_id"]
    authorities = ["data-bureau"]    # whose grants count; a job needs one that names all of this as well
    valid_from = 2026-01-01T00:00:00Z
    valid_until = 2026-12-31T23:59:59Z
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

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


class JobRule(BaseModel):
    """One kind of job that is allowed: for this scenario this requester may have this operator run on these columns of
    this data set, under a grant of one of these authorities.
    """

    model_config = STRICT
    scenario: Name
    requester: Name
    operator: Word
    data_set: Word
    columns: Annotated[list[Word], Field(min_length=1)]
    authorities: Annotated[list[Name], Field(min_length=1)]
    valid_from: datetime
    valid_until: datetime


class _File(BaseModel):
    model_config = STRICT
    allow: list[Rule] = []
    allow_job: list[JobRule] = []


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as read. `sha256`: hash of the file, 32 bytes, for the audit log."""

    rules: tuple[Rule, ...]
    job_rules: tuple[JobRule, ...]
    sha256: bytes


NOTHING = Policy(rules=(), job_rules=(), sha256=hashlib.sha256(b"").digest())
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
        file = _File.model_validate(content)
    except ValidationError as error:
        problems = [dict(problem) for problem in error.errors(include_url=False, include_input=False)]
        model = JobRule if all(_place(problem)[0] == "allow_job" for problem in problems) else Rule
        found = "; ".join(map(_fault, problems))
        raise UsageError(f"{path}: {found}. A rule has the keys {', '.join(model.model_fields)}.") from None
    _check_times(path, "rule", file.allow)
    _check_times(path, "job rule", file.allow_job)
    return Policy(rules=tuple(file.allow), job_rules=tuple(file.allow_job), sha256=hashlib.sha256(data).digest())


def _check_times(path: Path, kind: str, rules: Sequence[Rule | JobRule]) -> None:
    for number, rule in enumerate(rules, start=1):
        for field in ("valid_from", "valid_until"):
            if getattr(rule, field).tzinfo is None:
                raise UsageError(f"{path}: {kind} {number}: {field} has no time zone. End it with Z for UTC.")
        if rule.valid_until <= rule.valid_from:
            raise UsageError(f"{path}: {kind} {number}: valid_until is not after valid_from. Exchange or correct them.")


def _place(problem: Mapping[str, object]) -> list[object]:
    place = problem["loc"]
    return list(place) if isinstance(place, tuple) and place else [place]


def _fault(problem: Mapping[str, object]) -> str:
    words = _place(problem)
    kind = {"allow": "rule", "allow_job": "job rule"}.get(str(words[0]))
    if len(words) > 1 and kind is not None and isinstance(words[1], int):
        where = f"{kind} {words[1] + 1}" + (f": {'.'.join(map(str, words[2:]))}" if len(words) > 2 else "")
    else:
        where = ".".join(map(str, words))
    return f"{where}: {'unknown key' if problem['type'] == 'extra_forbidden' else problem['msg']}"


def _unmatched(
    rule: Rule | JobRule, wanted: Mapping[str, str | None], columns: Collection[str], now: datetime
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
    matching: dict[str, Rule] = {}
    for rule in _matching(policy.rules, wanted, columns, moment, kind="allow"):
        matching.setdefault(rule.scenario, rule)
    return matching


AnyRule = TypeVar("AnyRule", Rule, JobRule)


def _matching(
    rules: Sequence[AnyRule], wanted: Mapping[str, str | None], columns: Collection[str], now: datetime, *, kind: str
) -> list[AnyRule]:
    """The rules that match in every word; PolicyError that names the word at which the nearest ones do not."""
    results = [(rule, _unmatched(rule, wanted, columns, now)) for rule in rules]
    if matching := [rule for rule, (_, word, _) in results if not word]:
        return matching
    if not results:
        raise PolicyError(
            f"the policy has no {'rules' if kind == 'allow' else 'rules for jobs'}",
            code="policy-denied",
            remedy=f"Add an [[{kind}]] rule to policy.toml.",
        )
    nearest = max(place for _, (place, _, _) in results)
    _, word, _ = next(result for _, result in results if result[0] == nearest)
    have = ", ".join(sorted({repr(value) for _, (place, other, value) in results if (place, other) == (nearest, word)}))
    asked = {**wanted, "columns": ", ".join(sorted(columns))}.get(word, format_time(now))
    raise PolicyError(
        f"no rule allows it: {word} does not match: asked {asked!r}, the nearest rules have {have}",
        code="policy-denied",
        remedy=f"If it should be allowed, add an [[{kind}]] rule to policy.toml.",
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


def decide_job(
    policy: Policy,
    *,
    requester: str,
    operator: str,
    data_set: str,
    columns: Collection[str],
    scenario: str,
    authority: str,
    now: datetime | None = None,
) -> JobRule:
    """The rule that allows a job on one data set of this node.

    Args:
        policy: the node's policy.
        requester: the party that asked for the job.
        operator: what it runs, such as ``psi``.
        data_set: the data set that it reads here.
        columns: the columns that it reads.
        scenario: what for.
        authority: who signed the grant.
        now: the time to decide at; the present by default.

    Raises PolicyError ``policy-denied``, as `allowed` does, and ``grant-wrong-authority`` where a rule would allow it
    under another authority's grant.
    """
    wanted: dict[str, str | None] = {
        "operator": operator,
        "data_set": data_set,
        "requester": requester,
        "scenario": scenario,
    }
    matching = _matching(policy.job_rules, wanted, columns, now or utc_now(), kind="allow_job")
    for rule in matching:
        if authority in rule.authorities:
            return rule
    raise PolicyError(
        f"the grant is of {authority}, which no rule for this scenario accepts",
        code="grant-wrong-authority",
        remedy="Ask the authority that the data's owner accepts for a grant.",
    )
