"""The operators of validation: names, versions, and what each role learns. Apart, so that naming one imports little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from protocols.operator import Operator

Alignment = Literal["consented", "hidden"]
Role = Literal["asker", "source"]

_GRADE = "of each applicant the grade: consistent, above, far above or no data; no amount, and no source's part in it"
_APPLICANTS = "how many applicants {peer} asks about; no claim, no grade, nothing of the other sources"

OPERATORS: Mapping[Alignment, Operator] = {
    "consented": Operator(
        name="validate.threshold.consented",
        version=1,
        title="Claimed amounts against the sum of several sources', which see whom they are asked about",
        learns={
            "asker": (_GRADE,),
            "source": (
                _APPLICANTS,
                "who the applicants are of whom it has a record itself; {peer} declares that each of them consents",
            ),
        },
    ),
    "hidden": Operator(
        name="validate.threshold.hidden",
        version=1,
        title="Claimed amounts against the sum of several sources', which do not see whom they are asked about",
        learns={
            "asker": (_GRADE, "of how many different people each source has a record"),
            "source": (_APPLICANTS,),
        },
    ),
}
"""By alignment. They are two operators since they leak differently: grants and policies name the one that may run."""


def learned(alignment: Alignment, role: Role, *, asker: str) -> tuple[str, ...]:
    """What a party of that role learns, in words."""
    return tuple(line.format(peer=asker) for line in OPERATORS[alignment].learns[role])
