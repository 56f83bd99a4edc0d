"""Oblivious transfer and vector oblivious linear evaluation: the correlated randomness under other protocols.

    base        a hundred transfers from public-key operations; everything else grows from these
    cot         correlated transfers by the million, from SoftSpoken ("softspoken") or silent ("silent") extension;
                also additive shares of products of a bit with an element of Z_2^64
    random_ot   transfers of random messages
    chosen      transfers of messages that the sender chooses
    vole        oblivious linear evaluations over GF(2^128)
    ideal       the same functions by a trusted dealer, for tests of what stands on them; protects nothing

In each module `send` faces `receive`. docs/protocols/ot.md has models, leakage and figures.
"""

from protocols.ot.correlations import CotReceiver, CotSender, VoleReceiver, VoleSender

__all__ = ["CotReceiver", "CotSender", "VoleReceiver", "VoleSender"]
