"""How correlated transfers can be made, and against whom: the options that every function here shares."""

from typing import Literal

Method = Literal["softspoken", "silent"]
"""``softspoken``: a few bytes a transfer, fastest where bytes are cheap. ``silent``: next to none, for slow lines."""

Security = Literal["semi-honest", "malicious"]
"""Against a peer that follows the protocol, or against one that may not."""
