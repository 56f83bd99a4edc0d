"""Oblivious pseudorandom functions, plain and verifiable [RFC 9497, modes 0 and 1].

    client                          server (private key k, public key K)
    blinded = blind(x, r)      ->
                               <-   evaluated = blind_evaluate(k, blinded)
                                    proof = prove(k, K, blinded, evaluated, entropy)    mode 1 only
    verify(K, blinded, evaluated, proof)
    y = finalize(x, r, evaluated)   ==   evaluate(k, x), which the server makes alone

`suite` is a name of `mpc.suite`, first in every call; `mode` is a `Mode`. ``intl`` is ristretto255-SHA512: scalars and
elements are 32 bytes, outputs and proofs 64. Ask `sizes` for another suite's. Inputs are at most 65,535 bytes each.
Scalars for blinds come from the suite's group: ``suite.group.scalar_from_uniform(rng.uint8(n, 64))``.

What comes from the other side raises InvalidEncoding (with the index of the first bad row) or InvalidProof.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

if TYPE_CHECKING:
    from mpc.kernels.packing import Packed

MAX_BATCH = 65_535
"""The most elements that one proof can speak of."""
MAX_INPUT_BYTES = 65_535
SEED_BYTES = 32
ENTROPY_BYTES = 32
"""Fresh randomness that one proof takes, in every suite."""


class Mode(IntEnum):
    """Which protocol of RFC 9497. The two give unrelated outputs for the same key and input."""

    OPRF = 0
    VOPRF = 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths of one suite's encodings, in bytes."""

    scalar: int
    element: int
    output: int
    proof: int


@cache
def sizes(suite: str) -> Sizes:
    """The lengths of a suite's encodings. Raises UsageError where there is no such suite."""
    try:
        return Sizes(*_native.oprf_sizes(suite))
    except ValueError as error:
        raise UsageError(f"There is no suite {suite!r} here: {error}.") from None


def derive_key(suite: str, mode: int, seed: NDArray[np.uint8] | bytes, info: bytes) -> NDArray[np.uint8]:
    """DeriveKeyPair [RFC 9497, 3.2.1]: the private key, (scalar,), of a secret uniform 32-byte seed.

    `info` is public, at most 65,535 bytes, and separates keys made from one seed.
    """
    sizes(suite)
    _check_mode(mode)
    _check.secret(seed, (SEED_BYTES,), "seed")
    if len(info) > 65_535:
        raise UsageError(f"info is {len(info)} bytes; give at most 65535.")
    return _native.oprf_derive_key(suite, mode, seed, info)


def public_key(suite: str, private: NDArray[np.uint8] | bytes) -> NDArray[np.uint8]:
    """The public key, (element,), of a private key, (scalar,)."""
    _check.secret(private, (sizes(suite).scalar,), "private")
    return _native.oprf_public_key(suite, private)


def blind(suite: str, mode: int, inputs: Packed, blinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blind [RFC 9497, 3.3.1]: hides each of n inputs by a fresh uniform scalar, (n, scalar). Gives (n, element)."""
    _check_mode(mode)
    n = _check.rows(blinds, sizes(suite).scalar, "blinds")
    _check.same_count(len(inputs), n, "blinds")
    _check_inputs(inputs)
    return _native.oprf_blind(suite, mode, inputs.data, inputs.offsets, blinds)


def blind_evaluate(suite: str, private: NDArray[np.uint8] | bytes, blinded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BlindEvaluate [RFC 9497, 3.3.1 and 3.3.2], without the proof: (n, element) -> (n, element).

    Checks every element first. Raises InvalidEncoding with the index of the first bad one.
    """
    _check.secret(private, (sizes(suite).scalar,), "private")
    _check.rows(blinded, sizes(suite).element, "blinded")
    return _native.oprf_blind_evaluate(suite, private, blinded)


def prove(
    suite: str,
    mode: int,
    private: NDArray[np.uint8] | bytes,
    public: NDArray[np.uint8],
    blinded: NDArray[np.uint8],
    evaluated: NDArray[np.uint8],
    entropy: NDArray[np.uint8] | bytes,
) -> NDArray[np.uint8]:
    """GenerateProof [RFC 9497, 2.2.1]: that `private` made `public` and every `evaluated` from its `blinded`. (proof,)

    Args:
        suite: as everywhere here.
        mode: as everywhere here; in practice VOPRF.
        private: (scalar,).
        public: (element,), the key that belongs to `private`; another one raises UsageError.
        blinded: (n, element), n from 1 to 65,535.
        evaluated: (n, element), what `blind_evaluate` returned.
        entropy: 32 fresh uniform bytes, such as ``rng.uint8(ENTROPY_BYTES)``. The RFC's random scalar is hashed from
            them, the private key and the whole statement: entropy that repeats does not give the key away.
    """
    size = sizes(suite)
    _check_mode(mode)
    _check.secret(private, (size.scalar,), "private")
    _check.secret(entropy, (ENTROPY_BYTES,), "entropy")
    _check.row(public, size.element, "public")
    _check_batch(size, blinded, evaluated)
    try:
        return _native.oprf_prove(suite, mode, private, public, blinded, evaluated, entropy)
    except _native.InvalidEncoding:
        raise
    except ValueError as error:
        raise UsageError(f"{error}; give public_key(suite, private).") from None


def verify(
    suite: str,
    mode: int,
    public: NDArray[np.uint8],
    blinded: NDArray[np.uint8],
    evaluated: NDArray[np.uint8],
    proof: NDArray[np.uint8],
) -> None:
    """VerifyProof [RFC 9497, 2.2.2]. Returns nothing: a proof that does not verify raises InvalidProof.

    So does one that is malformed, and one for a public key that is no element. An element of the batch that is the
    identity or not canonical raises InvalidEncoding with its index.
    Shapes as in `prove`; not constant-time, for everything here is public to both sides.
    """
    size = sizes(suite)
    _check_mode(mode)
    _check.row(public, size.element, "public")
    _check.row(proof, size.proof, "proof")
    _check_batch(size, blinded, evaluated)
    _native.oprf_verify(suite, mode, public, blinded, evaluated, proof)


def finalize(
    suite: str, mode: int, inputs: Packed, blinds: NDArray[np.uint8], evaluated: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Finalize [RFC 9497, 3.3.1]: n inputs, their blinds (n, scalar) and replies (n, element) to outputs (n, output).

    In mode VOPRF call `verify` first: this function does not.
    """
    size = sizes(suite)
    _check_mode(mode)
    _check.same_count(len(inputs), _check.rows(blinds, size.scalar, "blinds"), "blinds")
    _check.same_count(len(inputs), _check.rows(evaluated, size.element, "evaluated"), "evaluated")
    _check_inputs(inputs)
    return _native.oprf_finalize(suite, mode, inputs.data, inputs.offsets, blinds, evaluated)


def evaluate(suite: str, mode: int, private: NDArray[np.uint8] | bytes, inputs: Packed) -> NDArray[np.uint8]:
    """Evaluate [RFC 9497, 3.3.1]: what a client would get for each of n inputs, by the key's holder: (n, output)."""
    _check_mode(mode)
    _check.secret(private, (sizes(suite).scalar,), "private")
    _check_inputs(inputs)
    return _native.oprf_evaluate(suite, mode, private, inputs.data, inputs.offsets)


def _check_mode(mode: int) -> None:
    if mode not in (Mode.OPRF, Mode.VOPRF):
        raise UsageError(f"There is no mode {mode}; give Mode.OPRF or Mode.VOPRF.")


def _check_inputs(inputs: Packed) -> None:
    if len(inputs) and int(np.diff(inputs.offsets).max()) > MAX_INPUT_BYTES:
        raise UsageError(f"An input is longer than {MAX_INPUT_BYTES} bytes; hash long inputs first.")


def _check_batch(size: Sizes, blinded: NDArray[np.uint8], evaluated: NDArray[np.uint8]) -> None:
    n = _check.rows(blinded, size.element, "blinded")
    _check.same_count(n, _check.rows(evaluated, size.element, "evaluated"), "evaluated")
    if not 1 <= n <= MAX_BATCH:
        raise UsageError(f"A proof speaks of 1 to {MAX_BATCH} elements, not {n}; split the batch.")
