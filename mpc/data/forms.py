"""The names of the forms of keys, for who only has to know whether there is one: what they mean is in
``mpc.data.identifiers``, which takes Arrow along.
"""

from __future__ import annotations

from mpc.errors import UsageError

PAIR = "pair:"
ONE_COLUMN = ("resident-id", "credit-code", "vin", "phone", "integer", "text", "bytes")
FORMS = (*ONE_COLUMN, *(PAIR + name for name in ONE_COLUMN))
"""All forms of one column and of pairs. Those of one column, joined by +, are forms of several."""


def parts_of(form: str) -> list[str]:
    """The form of each column of a key: one, or two for a pair, or one per part. UsageError for an unknown form."""
    parts = [form.removeprefix(PAIR)] * 2 if form.startswith(PAIR) else form.split("+")
    if not all(part in ONE_COLUMN for part in parts):
        raise UsageError(
            f"There is no key form {form[:80]!r}; choose one of {', '.join(FORMS)}, or join those of several "
            "columns as in resident-id+phone."
        )
    return parts
