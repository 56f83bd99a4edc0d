"""The Hello of a lookup session, made in one place for both sides, so that they cannot differ by accident."""

from __future__ import annotations

import hashlib

from mpc.transport.grpc import Hello
from protocols.lookup import table as lookup
from unseen.governance.documents import canonical


def lookup_hello(*, session: str, product: str, scenario: str, suite: str) -> Hello:
    """What asker and source of a lookup product must agree on.

    Args:
        session: the asker's choice; unique between the two parties.
        product: the product asked.
        scenario: what for.
        suite: the suite of the product.
    """
    parameters = canonical({"operator": lookup.OPERATOR.name, "product": product, "suite": suite})
    return Hello(
        session=session,
        operator=lookup.OPERATOR.name,
        operator_version=lookup.OPERATOR.version,
        suite=suite,
        parameters=hashlib.sha256(parameters).digest(),
        product=product,
        scenario=scenario,
    )
