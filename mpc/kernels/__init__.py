"""Kernels: batches in, batches out, typed and documented. One file per family, over the native core.

Misuse, such as a wrong shape, raises `mpc.errors.UsageError`. What may come from a peer raises one of the errors
below, so that a protocol can turn them into a `PeerError` that names the peer and the step.
"""

from mpc._native import EncodingFailed, InvalidEncoding, InvalidProof, InvalidTag, TooManyPairs, threads, wipe

__all__ = ["EncodingFailed", "InvalidEncoding", "InvalidProof", "InvalidTag", "TooManyPairs", "threads", "wipe"]
