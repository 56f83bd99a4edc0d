"""How correlated transfers can be made, and against whom: the options that every function here shares."""

from typing import Literal

Method = Literal["softspoken", "silent"]
"""``softspoken``: a few bytes a transfer, fastest where bytes are cheap. ``silent``: next to none, for slow lines."""

FieldBits = Literal[1, 2, 4, 8]
"""k of SoftSpoken: a transfer costs 16 / k bytes and 2^k / k · 16 bytes of AES on each side."""

Security = Literal["semi-honest", "malicious"]
"""Against a peer that follows the protocol, or against one that may not."""
