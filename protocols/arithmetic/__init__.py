"""Shared arithmetic: computing with numbers that nobody holds.

    with arithmetic.three_party(session, compute=("tax", "social", "fund")) as mpc:
        claim = mpc.receive(from_="bank")                       # everyone brings its own
        income = mpc.share(my_column).sum_over_parties()
        mpc.reveal(100 * claim <= 110 * income, to="bank")

    party       who takes part: three_party, two_party, input_party, and the ideal twins alone and ideal_party
    shared      Shared, an array with numpy's operators; where, minimum, maximum, concatenate, stack
    functions   divide, reciprocal, sqrt, exp, log, sigmoid, each with its domain and its largest error
    engine      what the parties that compute do to shares; three engines implement it:
    three       three parties, an honest majority; the fastest
    two         two parties, without a dealer
    ideal       every computing party holds the values, for tests of what stands on this; protects nothing

docs/protocols/arithmetic.md has models, leakage, errors and figures.
"""

from protocols.arithmetic.functions import divide, exp, log, reciprocal, sigmoid, sigmoid_three_segments, sqrt
from protocols.arithmetic.party import (
    Computation,
    Given,
    InputParty,
    alone,
    ideal_party,
    input_party,
    three_party,
    two_party,
)
from protocols.arithmetic.shared import Shared, concatenate, maximum, minimum, stack, where

__all__ = [
    "Computation",
    "Given",
    "InputParty",
    "Shared",
    "alone",
    "concatenate",
    "divide",
    "exp",
    "ideal_party",
    "input_party",
    "log",
    "maximum",
    "minimum",
    "reciprocal",
    "sigmoid",
    "sigmoid_three_segments",
    "sqrt",
    "stack",
    "three_party",
    "two_party",
    "where",
]
