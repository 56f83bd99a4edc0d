"""Who may use what: the node's policy as it is at this moment, applied to one product or one job. Whatever goes wrong
here means no.

The node's front door and each product's process apply the same function: the door so that nobody gets in without a
rule, the process since a rule can end while a session is open.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from mpc.errors import PolicyError, UsageError
from unseen.governance import policy
from unseen.governance.grant import Grant
from unseen.governance.policy import NOTHING, Policy, Rule
from unseen.governance.trust import Trust
from unseen.home import Home
from unseen.jobs.papers import Papers, check_permitted
from unseen.names import LABEL
from unseen.node.settings import JobData, NodeSettings, Served
from unseen.watch import Watched

_NAME = re.compile(LABEL)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Read:
    policy: Policy
    problem: str


@dataclass(frozen=True)
class Allowed:
    """What a job may do at this node: under which grant, and with which data."""

    requester: str
    grant: Grant
    data: JobData
    columns: tuple[str, ...]


class Gate:
    """The policy of one node, read again when its file changes. A missing or broken file allows nothing."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._watched = Watched(home.policy_toml, self._read)

    @property
    def problem(self) -> str:
        """What is wrong with the policy file; empty when nothing is."""
        return self._watched.get().problem

    @property
    def policy(self) -> Policy:
        """The present policy."""
        return self._watched.get().policy

    def decide(self, product: Served, *, requester: str, scenario: str) -> Rule:
        """The rule that allows `requester` to use `product` for `scenario`.

        Raises:
            PolicyError: ``policy-denied``. Its text names the word that did not match: for the owner's log, not for
                the peer (`for_peer`).
        """
        return policy.decide(
            self.policy,
            requester=requester,
            operator=product.operator,
            product=product.name,
            data_set=product.data.name,
            columns=product.data.columns,
            scenario=scenario,
        )

    def terms(self, product: Served, *, requester: str) -> dict[str, Rule]:
        """All rules under which `requester` may use `product` now, by scenario."""
        try:
            return policy.allowed(
                self.policy,
                requester=requester,
                operator=product.operator,
                product=product.name,
                data_set=product.data.name,
                columns=product.data.columns,
            )
        except PolicyError:
            return {}

    def decide_job(
        self, papers: Papers, *, me: str, trust: Trust, settings: NodeSettings, begins: bool = False
    ) -> Allowed:
        """Whether this node takes part in a job: somebody must have asked for it, and the grant, the node's data sets
        and its policy must all name it.

        Asked when the job comes, before a stream to or from another party is forwarded, and by the worker before it
        opens the data.

        Args:
            papers: what is to be run, with its grant and its request.
            me: this node's party.
            trust: checks the signers of both.
            settings: the node's settings, whose data sets these are.
            begins: whether the job is about to begin; see `request.check`.

        Raises:
            PolicyError: ``request-…``, ``grant-…`` and what `documents.verify` raises; ``data-set-unknown``,
                ``column-unknown``; ``policy-denied``, whose text is for the owner's log, not for others (`for_peer`).
        """
        permitted = check_permitted(papers, trust=trust, begins=begins)
        head, mine = papers.job.head, papers.job.part_of(me)
        data = settings.find_data_set(mine.data_set)
        if data is None:
            raise PolicyError(
                f"{me} has no data set {mine.data_set} for jobs",
                code="data-set-unknown",
                remedy="Its owner names those that there are, as [[data_set]] in node.toml.",
            )
        if missing := sorted(set(mine.all_columns) - set(data.columns)):
            raise PolicyError(
                f"{me}'s data set {data.name} gives jobs no column {missing[0][:80]!r}",
                code="column-unknown",
                remedy="Its owner names those that it gives, as columns of the [[data_set]] in node.toml.",
            )
        policy.decide_job(
            self.policy,
            requester=permitted.requester,
            operator=head.operator,
            data_set=data.name,
            columns=mine.all_columns,
            scenario=head.scenario,
            authority=permitted.grant.issuer,
        )
        return Allowed(permitted.requester, permitted.grant, data, mine.all_columns)

    def _read(self) -> _Read:
        try:
            found = policy.read_policy(self._home.policy_toml)
        except UsageError as error:
            _log.error("%s Until it is corrected, everything is refused.", error)
            return _Read(NOTHING, str(error))
        count = len(found.rules) + len(found.job_rules)
        _log.info("policy read: %d rules, SHA-256 %s", count, found.sha256.hex())
        return _Read(found, "")


def name_or_none(word: str) -> str | None:
    """A word from a peer for the audit log: left out where it is no name, since a peer can send anything."""
    return word if _NAME.fullmatch(word) else None


def for_peer(error: PolicyError) -> PolicyError:
    """What a peer is told of a policy's refusal: that it was refused, and whom to ask."""
    if error.code != "policy-denied":
        return error
    return PolicyError(
        "the node's policy does not allow this", code="policy-denied", remedy="Ask the node's operator for a rule."
    )
