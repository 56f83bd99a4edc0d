"""Private set intersection: two parties learn which of their keys both hold, and nothing of the others.

    mine = psi.intersect(session, ["13800138000", "13912345678"], peer="insurer", form="phone")
    mine.rows        # of one's own input, in an order that is the insurer's too

``intersect`` is the way in; ``intersect_tables`` the one for sets in files, larger than memory if need be: by buckets,
and gone on with after an interruption. The protocols behind them, a file each: ``rr22`` (fast), ``ecdh`` (little
traffic for small sets). Beside them, with entries of their own: ``cardinality`` (only how many), ``sum`` (how many,
and a column's sum).
"""

from __future__ import annotations

from mpc import suite as suites
from mpc.session import Session
from protocols.psi import choice
from protocols.psi.agreement import Reveal, Security, Terms, agree
from protocols.psi.choice import Protocol
from protocols.psi.items import Column, Duplicates, collect
from protocols.psi.large import TablesResult, intersect_tables
from protocols.psi.result import PsiResult

__all__ = ["PsiResult", "TablesResult", "intersect", "intersect_tables"]


def intersect(
    session: Session,
    items: Column | tuple[Column, ...],
    *,
    peer: str,
    protocol: Protocol = "auto",
    reveal_to: Reveal = "both",
    security: Security = "semi-honest",
    suite: str | suites.Suite = "intl",
    form: str = "text",
    duplicates: Duplicates = "error",
) -> PsiResult:
    """Find the keys that this party and `peer` both hold. Both call it, with the same options but for `duplicates`.

    Whatever goes wrong ends the conversation with the peer, so that it fails too and does not wait.

    Args:
        session: this party's run.
        items: the keys, one for each row of the input: a column of str, bytes or int, an Arrow column, a ``Packed`` of
            canonical keys; a tuple of columns for a form with several.
        peer: name of the other party.
        protocol: "auto" takes rr22 where either set has 1024 keys or more or the peer may be malicious, and ecdh for
            smaller ones.
        reveal_to: who learns which keys match: "both", "me" or "peer"; what "me" is here is "peer" there.
        security: "malicious" holds against a peer that deviates from the protocol (docs/protocols/psi-rr22.md says how
            far), with rr22 and one learner only.
        suite: cipher suite or its name.
        form: canonical form of the keys (``mpc.data.identifiers``): both parties have to mean the same by a key.
        duplicates: what a key in several rows means: "error", or "first" for its first row alone, or "many" for all.

    Raises:
        InvalidIdentifier: a row whose key is not of the form.
        UsageError: options that don't go together, a key in several rows, more than 2^32 keys.
        PeerError: the peer runs something else (the text names it), or broke the protocol.
        ChannelError: the connection failed.
    """
    channel = session.channel(peer)
    try:
        chosen = suites.get(suite) if isinstance(suite, str) else suite
        candidates = choice.candidates(protocol, security, reveal_to)
        mine = collect(items, form=form, duplicates=duplicates, rng=session.rng)
        operators = [choice.OPERATORS[name] for name in candidates]
        terms = Terms(operators, chosen, security, form, reveal_to, len(mine.keys))
        agreed = agree(channel, terms, rng=session.rng)
        name = choice.pick(candidates, len(mine.keys), agreed.peer_size)
        run = choice.RUNS[name][0 if agreed.receiver else 1]
        matched = run(channel, mine.keys, agreed, suite=chosen, rng=session.rng, progress=session.progress)
        return mine.result(matched, peer_size=agreed.peer_size, operator=choice.OPERATORS[name].name)
    except BaseException as error:
        channel.close(f"an intersection broke off ({type(error).__name__})")
        raise
