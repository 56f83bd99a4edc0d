"""Sums and weighted means of arrays over many parties, of which nobody sees another's array.

    aggregation.contribute(session, values, aggregator="hub")     # at every party
    total = aggregation.collect(session)                          # at the aggregator
    total.values, total.mean, total.survivors, total.dropped

Through one aggregator (``masked``), where some of the parties may drop out at any moment; or, where there are two
servers that do not collude, at a fraction of the work (``two_servers``).
"""

from protocols.aggregation.keys import Identity, ed25519_identity
from protocols.aggregation.masked import collect, contribute
from protocols.aggregation.rules import Rules
from protocols.aggregation.vector import Aggregate

__all__ = ["Aggregate", "Identity", "Rules", "collect", "contribute", "ed25519_identity"]
