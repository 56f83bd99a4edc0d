"""The desk of one product: decides, per element, whether it may be evaluated, and writes down what was, before it is
answered.

The protocol (`protocols.lookup.table`) calls the desk; the desk knows policy, consents, ledger and receipts, and no
cryptography of the lookup.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PolicyError
from protocols.lookup import table as lookup
from unseen.governance import consent, documents
from unseen.governance.consent import CheckedConsent
from unseen.governance.documents import Signed, hash_of
from unseen.governance.enrolment import Identity
from unseen.governance.ledger import Evaluation, Ledger, Note, Outcome, Quota
from unseen.governance.policy import Rule
from unseen.governance.receipt import issue_receipt
from unseen.governance.trust import Trust
from unseen.node.gate import Gate, for_peer, name_or_none
from unseen.node.rotation import Rotation
from unseen.node.settings import Product

MANIFESTS_READ = 256
"""How many manifests are read from the disk for one request: more than the protocol sends at once, since the asker is
told to go on if there is one more.
"""
REFUSALS_PER_MINUTE = 10_000
"""How many elements of one requester may be refused, or answered a second time for nothing, in a minute.

Each costs a check and up to an entry of about 600 bytes in a log that is never cut, and costs the requester nothing:
this bounds what a party that has gone mad can write to 6 MB a minute. A batch that is repeated after a lost connection
stays below it.
"""

_log = logging.getLogger(__name__)


class Unpaid:
    """Counts, for each requester, the elements of the present minute that it did not pay for. Safe to use from many
    threads.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, never going back."""
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._told: set[str] = set()

    def add(self, requester: str, elements: int) -> None:
        """Count what has just been refused or repeated."""
        with self._lock:
            self._begin()
            self._counts[requester] = self._counts.get(requester, 0) + elements

    def too_many(self, requester: str) -> tuple[bool, bool]:
        """Whether the requester has to wait for the next minute, and whether it is told so for the first time in this
        one.
        """
        with self._lock:
            self._begin()
            if self._counts.get(requester, 0) <= REFUSALS_PER_MINUTE:
                return False, False
            first = requester not in self._told
            self._told.add(requester)
            return True, first

    def check(self, requester: str, *, product: str, note: Callable[[str], object]) -> None:
        """Raises PolicyError ``too-many-refusals`` where the requester has to wait; the first one of a minute is noted.

        Args:
            requester: who asks.
            product: what is asked, for the log.
            note: writes a refusal with a code into the audit log.
        """
        refused, first = self.too_many(requester)
        if not refused:
            return
        code = "too-many-refusals"
        if first:
            _log.warning("product %s: %s has to wait: too many refusals", product, requester)
            note(code)
        raise PolicyError(
            f"more than {REFUSALS_PER_MINUTE} elements were refused or repeated within a minute",
            code=code,
            remedy="Look at the earlier refusals, mend what they name, and go on in a minute.",
        )

    def _begin(self) -> None:
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute, self._counts, self._told = minute, {}, set()


@dataclass(frozen=True)
class Desk:
    """What all sessions of one product share."""

    product: Product
    identity: Callable[[], Identity]
    trust: Callable[[], Trust]
    gate: Gate
    ledger: Ledger
    rotation: Rotation
    clock: Callable[[], datetime] = documents.utc_now
    unpaid: Unpaid = field(default_factory=Unpaid)

    def manifests(self, since_epoch: int) -> Sequence[lookup.Manifest]:
        """See ``lookup.Service``."""
        found = self.rotation.manifests(since_epoch, limit=MANIFESTS_READ)
        return [lookup.Manifest(number, to_wire(signed)) for number, signed in found]

    def epoch(self, number: int) -> lookup.Epoch:
        """See ``lookup.Service``."""
        served = self.rotation.served
        if number not in served:
            raise PolicyError(
                f"epoch {number} is not served; served: {', '.join(map(str, sorted(served))) or 'none'}",
                code="epoch-not-served",
                remedy="Fetch the current manifest; consents for an epoch that is over have to be given anew.",
            )
        return served[number].secrets

    def admit(self, request: lookup.Request) -> lookup.Admission:
        """See ``lookup.Service``: policy for the whole request, consent for each element."""
        self.unpaid.check(
            request.peer,
            product=self.product.name,
            note=lambda code: self.ledger.commit(
                [self.refusal(code, requester=request.peer, scenario=request.scenario)]
            ),
        )
        try:
            rule = self.gate.decide(self.product, requester=request.peer, scenario=request.scenario)
        except PolicyError as error:
            _log.warning("product %s: %s refused: %s", self.product.name, request.peer, error)
            self.unpaid.add(request.peer, len(request.blinded))
            self.ledger.commit([self.refusal(error.code, requester=request.peer, scenario=request.scenario)])
            raise for_peer(error) from None
        checked: dict[int, CheckedConsent] = {}
        refusals: dict[int, PolicyError] = {}
        issuers, now = frozenset(rule.consent_issuers).intersection(self.product.consent_issuers), self.clock()
        for index in range(len(request.blinded)):
            try:
                checked[index] = self._check(request, index, issuers, now)
            except PolicyError as error:
                refusals[index] = error
        return _Admission(self, request, rule, checked, refusals)

    def refusal(self, code: str, *, requester: str, scenario: str | None = None, epoch: int | None = None) -> Note:
        """An audit entry for something that was refused as a whole."""
        return Note(
            kind="refusal",
            result=code,
            requester=requester,
            scenario=None if scenario is None else name_or_none(scenario),
            product=self.product.name,
            operator=self.product.operator,
            operator_version=lookup.OPERATOR.version,
            suite=self.product.suite,
            epoch=epoch,
        )

    def _check(self, request: lookup.Request, index: int, issuers: frozenset[str], now: datetime) -> CheckedConsent:
        blinded = request.blinded[index].tobytes()
        if not self.product.requires_consent:
            return CheckedConsent(
                node=self.identity().name,
                product=self.product.name,
                scenario=request.scenario,
                requester=request.peer,
                epoch=request.spec.epoch,
                suite=request.spec.suite,
                blinded=blinded,
                nonces=(),
                issuers=(),
                digests=(),
                expires=datetime.max.replace(tzinfo=UTC) - timedelta(days=1),
            )
        found = consent.check(
            [_token(token, self.trust()) for token in request.permits[index]] if request.permits else (),
            blinded=blinded,
            node=self.identity().name,
            product=self.product.name,
            requester=request.peer,
            scenarios=(request.scenario,),
            epochs=(request.spec.epoch,),
            issuers=issuers,
            suite=request.spec.suite,
            trust=self.trust(),
            now=now,
        )
        if len(found.nonces) != len(self.product.data.keys):
            raise PolicyError(
                f"{len(found.nonces)} subjects consented, the product's key concerns {len(self.product.data.keys)}",
                code="consent-parts-incomplete",
                remedy="Send the consent of every person that the key names.",
            )
        return found


@dataclass(frozen=True)
class _Admission:
    """What was decided about one request. See ``lookup.Admission``."""

    desk: Desk
    request: lookup.Request
    rule: Rule
    checked: Mapping[int, CheckedConsent] = field(repr=False)
    refusals: Mapping[int, PolicyError]

    def record(self, accepted: NDArray[np.int64], evaluated: NDArray[np.uint8]) -> lookup.Recorded:
        """One audit entry per element evaluated and one per reason for refusal, in the request's order, together with
        the burnt nonces in one transaction.
        """
        desk, request, rule = self.desk, self.request, self.rule
        quotas = () if rule.calls_per_day is None else (Quota(rule=rule.key, limit=rule.calls_per_day),)
        items: dict[int, Evaluation | Note] = {
            int(index): Evaluation(
                consent=self.checked[int(index)],
                evaluated=element.tobytes(),
                operator=desk.product.operator,
                operator_version=lookup.OPERATOR.version,
                quotas=quotas,
            )
            for index, element in zip(accepted, evaluated, strict=True)
        }
        by_code: dict[str, list[int]] = {}
        for index, error in sorted(self.refusals.items()):
            by_code.setdefault(error.code, []).append(index)
        items |= {indices[0]: self._refused(code, indices) for code, indices in by_code.items()}
        order = sorted(items)
        outcomes = desk.ledger.commit([items[index] for index in order])
        unpaid = sum(outcome.count for outcome in outcomes if not outcome.billed)
        if unpaid:
            desk.unpaid.add(request.peer, unpaid)
        receipt = issue_receipt(
            desk.identity().signer,
            outcomes,
            requester=request.peer,
            product=desk.product.name,
            epoch=request.spec.epoch,
        )
        late = {
            index: _unanswered(outcome)
            for index, outcome in zip(order, outcomes, strict=True)
            if not outcome.answered and index not in self.refusals
        }
        return lookup.Recorded(receipt=to_wire(receipt), refusals=late)

    def _refused(self, code: str, indices: Sequence[int]) -> Note:
        """One entry for all elements refused for one reason: a small message may hold a thousand of them."""
        suite = self.request.spec.suite
        tokens = self.request.permits[indices[0]] if self.request.permits and len(indices) == 1 else ()
        return Note(
            kind="refusal",
            result=code,
            requester=self.request.peer,
            scenario=name_or_none(self.request.scenario),
            product=self.desk.product.name,
            operator=self.desk.product.operator,
            operator_version=lookup.OPERATOR.version,
            suite=suite,
            epoch=self.request.spec.epoch,
            consents=tuple(hash_of(token.document, suite=suite) for token in tokens),
            input=hash_of(self.request.blinded[list(indices)].tobytes(), suite=suite),
            count=len(indices),
        )


def _unanswered(outcome: Outcome) -> PolicyError:
    if outcome.status == "over-quota":
        return PolicyError(
            "the day's calls under this rule are spent",
            code="quota-exceeded",
            remedy="Try again tomorrow (UTC), or ask the node's operator for a higher calls_per_day.",
        )
    if outcome.status == "expired":
        return PolicyError(
            "the consent expired, and whether consents of its age were used is no longer known",
            code="consent-expired",
            remedy="Ask the platform for a new consent; compare the clocks (NTP) if it was given just now.",
        )
    return PolicyError(
        "the consent was used before, for another element",
        code="consent-reused",
        remedy="One consent permits one query; ask the platform for a new one.",
    )


def to_wire(signed: Signed) -> lookup.SignedDocument:
    """A signed document as the lookup protocol carries it."""
    return lookup.SignedDocument(signed.document, signed.signature, signed.certificate)


def from_wire(signed: lookup.SignedDocument, *, signer: str) -> Signed:
    """Inverse of `to_wire`, for a document that `signer` must have signed."""
    return Signed(document=signed.document, signature=signed.signature, signer=signer, certificate=signed.certificate)


def _token(token: lookup.SignedDocument, trust: Trust) -> Signed:
    """A consent, signed by whom its certificate names. Whether it says so itself, and the rest, is checked later.

    Raises PolicyError ``certificate-…``.
    """
    if not token.certificate:
        raise PolicyError(
            "a consent without its issuer's certificate",
            code="certificate-missing",
            remedy="Pass consents on as the identity platform handed them over.",
        )
    return from_wire(token, signer=trust.know(token.certificate))
