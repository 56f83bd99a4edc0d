//! The field GF(2^128), on batches of 16-byte elements.
