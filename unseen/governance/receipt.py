"""Receipts: what the node signs with each reply. The unit of audit and of billing.

A receipt names the audit entries that the call made and the chain's head after them, so that a log from which these
entries are later cut or rewritten contradicts a statement that the node signed and the asker holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from mpc.errors import UsageError
from unseen.governance.documents import (
    STRICT,
    Count,
    Digest,
    Name,
    Signed,
    Signer,
    Time,
    format_time,
    sign,
    to_base64,
    utc_now,
    verify,
)
from unseen.governance.ledger import Outcome
from unseen.governance.trust import Trust


class Receipt(BaseModel):
    """What a node acknowledges: entries `first_entry` to `last_entry` of its audit chain, whose hash after the last is
    `head`.

    `count`: elements asked. `billed`: those of them that cost something (answered, and not repeats).
    """

    model_config = STRICT
    type: Literal["unseen.receipt.v1"] = "unseen.receipt.v1"
    suite: str
    node: Name
    requester: Name
    product: Name
    epoch: Count
    count: Count
    billed: Count
    first_entry: Count
    last_entry: Count
    head: Digest
    time: Time


def issue_receipt(
    signer: Signer,
    outcomes: Sequence[Outcome],
    *,
    requester: str,
    product: str,
    epoch: int,
    now: datetime | None = None,
) -> Signed:
    """Signs the receipt of one call, from what the ledger said about it. Raises UsageError if nothing was committed."""
    if not outcomes:
        raise UsageError("a receipt acknowledges at least one audit entry; commit to the ledger first.")
    return sign(
        Receipt(
            suite=signer.suite,
            node=signer.name,
            requester=requester,
            product=product,
            epoch=epoch,
            count=sum(outcome.count for outcome in outcomes),
            billed=sum(outcome.billed for outcome in outcomes),
            first_entry=outcomes[0].entry,
            last_entry=outcomes[-1].entry,
            head=to_base64(outcomes[-1].head),
            time=format_time(now or utc_now()),
        ),
        signer,
    )


def verify_receipt(signed: Signed, *, trust: Trust, node: str, suite: str, now: datetime | None = None) -> Receipt:
    """Checks a receipt of `node`. Raises PolicyError as `documents.verify` does, and ``document-wrong-signer``."""
    return verify(signed, Receipt, trust=trust, signer=node, signer_field="node", suite=suite, now=now)
