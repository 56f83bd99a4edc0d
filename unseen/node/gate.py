"""Who may use what: the node's policy as it is at this moment, applied to one product. Whatever goes wrong here means
no.

The node's front door and each product's process apply the same function: the door so that nobody gets in without a
rule, the process since a rule can end while a session is open.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from mpc.errors import PolicyError, UsageError
from unseen.governance import policy
from unseen.governance.policy import NOTHING, Policy, Rule
from unseen.home import Home
from unseen.names import LABEL
from unseen.node.settings import Product
from unseen.watch import Watched

_NAME = re.compile(LABEL)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Read:
    policy: Policy
    problem: str


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

    def decide(self, product: Product, *, requester: str, scenario: str) -> Rule:
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

    def terms(self, product: Product, *, requester: str) -> dict[str, Rule]:
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

    def _read(self) -> _Read:
        try:
            found = policy.read_policy(self._home.policy_toml)
        except UsageError as error:
            _log.error("%s Until it is corrected, everything is refused.", error)
            return _Read(NOTHING, str(error))
        _log.info("policy read: %d rules, SHA-256 %s", len(found.rules), found.sha256.hex())
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
