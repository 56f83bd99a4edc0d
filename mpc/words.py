"""Words that come from elsewhere, such as the reason of a peer, before they go into a terminal, a log or an error."""

from __future__ import annotations

import re

_CODE = re.compile(r"[a-z0-9](-?[a-z0-9]){0,63}")


def plain(text: str, limit: int = 1000) -> str:
    """`text` without control characters and the like, each a blank instead, and no longer than `limit` characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:limit])


def code_or(otherwise: str, text: str) -> str:
    """`text` if it is a code as those of ``PolicyError``, in kebab case and at most 127 characters; or `otherwise`."""
    return text if _CODE.fullmatch(text) else otherwise
