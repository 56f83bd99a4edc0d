"""The states of a job and of each party's part in it, and how one follows from the other.

a party:  invited → accepted → running → finished
             ↓         ↓          ↓
          refused, failed or cancelled
the job:  submitted → running (all have accepted) → finished (all have finished)
              ↓          ↓
            failed (a party refused or failed) or cancelled
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, cast, get_args

PartyState: TypeAlias = Literal["invited", "accepted", "running", "finished", "failed", "refused", "cancelled"]
JobState: TypeAlias = Literal["submitted", "running", "finished", "failed", "cancelled"]
Wanted: TypeAlias = Literal["consider", "run", "stop", "wait", "settled"]

ENDED = frozenset({"finished", "failed", "refused", "cancelled"})
"""States that nothing follows, of a job and of a party."""

RANK: Mapping[PartyState, int] = {
    "invited": 0,
    "accepted": 1,
    "running": 2,
    **dict.fromkeys(cast("frozenset[PartyState]", ENDED), 3),
}
"""A party's state never goes back to one of a lower rank."""

CONSEQUENCES = frozenset({"channel", "job-ended"})
"""Codes with which one party ends because another one has: never the reason that a job's state gives, if there is
another one.
"""


def party_state(word: str) -> PartyState | None:
    """`word` if it is the state of a party, None otherwise."""
    return cast("PartyState", word) if word in get_args(PartyState) else None
