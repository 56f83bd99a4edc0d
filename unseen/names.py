"""The grammar of names: parties, products, scenarios.

A name is a lower-case DNS label, because a party's name becomes the host name ``<name>.party.unseen`` in its TLS
certificate, and because a name that survives certificates, file names, TOML and logs unescaped cannot be confused in
any of them.
"""

from __future__ import annotations

import re

from mpc.errors import UsageError

LABEL = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
"""Regular expression of a name, without anchors: the label grammar of RFC 1035, lower case only."""

PARTY_DOMAIN = "party.unseen"
"""Parent of every party's host name. It is never looked up in DNS; it only names parties in certificates."""

_LABEL = re.compile(LABEL)
_GRAMMAR = (
    "1 to 63 characters: a lower-case letter first, then lower-case letters, digits or hyphens, "
    "no hyphen at the end; such as 'civil-affairs'"
)


def _check(kind: str, name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is not a {kind} name. A {kind} name is {_GRAMMAR}.")
    return name


def check_party_name(name: str) -> str:
    """Returns `name` if it is a party name, such as ``bank``. Raises UsageError that shows the grammar."""
    return _check("party", name)


def check_product_name(name: str) -> str:
    """Returns `name` if it is a product name, such as ``marriage-status``. Raises UsageError that shows the grammar."""
    return _check("product", name)


def check_scenario_name(name: str) -> str:
    """Returns `name` if it is a scenario name, such as ``mortgage-approval``. Raises UsageError that shows the
    grammar.
    """
    return _check("scenario", name)


def party_host(name: str) -> str:
    """The host name that stands for a party in its TLS certificate, such as ``bank.party.unseen``."""
    return f"{check_party_name(name)}.{PARTY_DOMAIN}"


def party_of_host(host: str) -> str:
    """Inverse of `party_host`. Raises UsageError if `host` is not a party's host name."""
    name, dot, domain = host.partition(".")
    if not dot or domain != PARTY_DOMAIN:
        raise UsageError(f"{host[:80]!r} is not a party's host name; it must end in .{PARTY_DOMAIN}.")
    return check_party_name(name)
