"""Shared arithmetic: computing with numbers that nobody holds.

    engine      what the parties that compute do to shares; three engines implement it
    three       three parties, an honest majority; the fastest
    two         two parties, without a dealer
    ideal       every computing party holds the values, for tests of what stands on this; protects nothing

docs/protocols/arithmetic.md has models, leakage, errors and figures.
"""
