"""The operators of scoring: names, versions, and what each role learns. Apart, so that naming one imports little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from protocols.operator import Operator

Release = Literal["score", "grade"]
Role = Literal["asker", "partner"]

_BAND = (
    "of each row in which of the few public bands the score lies, and so, knowing its own part, in which interval the "
    "partners' sum lies"
)
_SCORE = (
    "of each row the score; and so, by taking its own part away, what each partner's features add to it, or, of few "
    "boosted trees, in which of their leaves the row is"
)
_TREES = "of boosted trees: their number; of three parties and more also under which of its own nodes each leaf lies"
_WHOM = "whom {asker} asks about, and of whom it has a record itself; {asker} declares that it may ask"

OPERATORS: Mapping[Release, Operator] = {
    "score": Operator(
        name="learning.score",
        version=1,
        title="Scores of a joint model, put together by the party that had the labels",
        learns={
            "asker": (
                _SCORE,
                "whether each partner has a record of the row's key",
            ),
            "partner": (_WHOM, "nothing of {asker}'s part, of scores or of grades", _TREES),
        },
    ),
    "grade": Operator(
        name="learning.grade",
        version=1,
        title="Grades of a joint model's scores, of which nothing else opens",
        learns={
            "asker": (
                _BAND,
                "whether each partner has a record of the row's key",
            ),
            "partner": (_WHOM, "nothing of {asker}'s part, of scores or of grades", _TREES),
        },
    ),
}
"""By what is released. They are two operators since they leak differently: policies name the one that may run."""


def learned(release: Release, role: Role, *, asker: str) -> tuple[str, ...]:
    """What a party of that role learns, in words."""
    return tuple(line.format(asker=asker) for line in OPERATORS[release].learns[role])
