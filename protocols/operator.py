"""Operator: what the rest of the house may know of a protocol without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Operator:
    """A protocol's name, version and leakage statement, as data.

    Grants, policies and audit entries name the operator; a job's report prints, per party, what that party learned.

    Attributes:
        name: dotted lower case, such as ``lookup.table``.
        version: raised whenever two sides of different versions would not understand each other, or leak differently.
        title: one line for people.
        learns: by role, everything that the role learns beyond its own input; one sentence each.
    """

    name: str
    version: int
    title: str
    learns: Mapping[str, tuple[str, ...]]
