"""Alignment: the rows of several parties that belong to the same keys, in one order that is the same at all of them.

    aligned = align(session, my_ids, leader="bank", form="resident-id")
    mine = table.take(aligned.rows)      # line i here and line i at every other party are about the same key

What works with columns that several parties hold begins with this: two parties intersect by ``psi.intersect``, three
and more by ``psi.multi``. All of them learn which rows are common, since each has to bring its values of just these.

Security: of the protocol that runs: semi-honest parties, with three and more a leader that colludes with nobody.
Leaks:    to everybody which of its own keys all parties hold, and how many different keys each brought. Of three and
          more parties nobody learns what only some of them have in common.
Cost:     of the protocol that runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.session import Session
from mpc.suite import Suite
from protocols import psi
from protocols.psi import multi
from protocols.psi.items import Column


@dataclass(frozen=True)
class Aligned:
    """What one party has of an alignment.

    Attributes:
        rows: (n,) int64, rows of the caller's own input, from 0, one for each common key, in the common order, which
            tells nothing else.
        sizes: how many different keys each other party brought, by name.
        operator: name of the operator that ran.
    """

    rows: NDArray[np.int64] = field(repr=False)
    sizes: Mapping[str, int]
    operator: str

    @property
    def learned(self) -> tuple[str, ...]:
        """What this party learned by it, a sentence each."""
        whose = " and ".join(self.sizes)
        both = f"which of its own keys {whose} {'hold, all of them,' if len(self.sizes) > 1 else 'holds'} too"
        return (both, *(f"how many different keys {name} holds" for name in self.sizes))


def align(
    session: Session,
    items: Column | tuple[Column, ...],
    *,
    leader: str,
    suite: str | Suite = "intl",
    form: str = "text",
    duplicates: Literal["error", "first"] = "error",
) -> Aligned:
    """Find the rows whose keys all parties of the session hold. All call it, with the same options but `duplicates`.

    Args:
        session: this party's run, with one other party or more.
        items: the keys, one for each row of the input, as for ``psi.intersect``.
        leader: of three and more parties the one that finds the matches, which must collude with none of the others.
        suite: cipher suite or its name.
        form: canonical form of the keys (``mpc.data.identifiers``).
        duplicates: what a key in several rows means: "error", or "first" for its first row alone.

    Raises:
        InvalidIdentifier: a row whose key is not of the form.
        UsageError: nobody to align with, a leader who takes no part, a key in several rows.
        PeerError: another party runs something else (the text names it), or broke the protocol.
        ChannelError: a connection failed.
    """
    if duplicates not in ("error", "first"):
        raise UsageError(f"duplicates is 'error' or 'first', not {duplicates!r}: a key stands for one line.")
    if leader not in session.parties:
        raise UsageError(f"The leader {leader!r} takes no part; choose one of {', '.join(session.parties)}.")
    if len(session.channels) == 1:
        (peer,) = session.channels
        two = psi.intersect(session, items, peer=peer, suite=suite, form=form, duplicates=duplicates)
        rows, sizes, operator = two.rows, {peer: two.peer_size}, two.operator
    else:
        all_ = multi.intersect(session, items, leader=leader, suite=suite, form=form, duplicates=duplicates)
        rows, operator = all_.rows, all_.operator
        sizes = {name: size for name, size in all_.sizes.items() if name != session.me}
    if rows is None:
        raise UsageError("The rows in common are not known here: this is an error of the library, please report it.")
    return Aligned(rows, sizes, operator)
