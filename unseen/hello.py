"""The Hello of a session with a product, made in one place for both sides, so that they cannot differ by accident."""

from __future__ import annotations

import hashlib

from mpc.transport.grpc import Hello
from protocols.learning.release import OPERATORS, Release
from protocols.lookup import table as lookup
from protocols.operator import Operator
from unseen.governance.documents import canonical


def lookup_hello(*, session: str, product: str, scenario: str, suite: str) -> Hello:
    """What asker and source of a lookup product must agree on.

    Args:
        session: the asker's choice; unique between the two parties.
        product: the product asked.
        scenario: what for.
        suite: the suite of the product.
    """
    return _hello(lookup.OPERATOR, session=session, product=product, scenario=scenario, suite=suite)


def scoring_hello(release: Release, *, session: str, product: str, scenario: str, suite: str) -> Hello:
    """The same of a product that scores, and of what it releases."""
    return _hello(OPERATORS[release], session=session, product=product, scenario=scenario, suite=suite)


def _hello(operator: Operator, *, session: str, product: str, scenario: str, suite: str) -> Hello:
    parameters = canonical({"operator": operator.name, "product": product, "suite": suite})
    return Hello(
        session=session,
        operator=operator.name,
        operator_version=operator.version,
        suite=suite,
        parameters=hashlib.sha256(parameters).digest(),
        product=product,
        scenario=scenario,
    )
