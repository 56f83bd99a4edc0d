//! Puncturable pseudorandom functions on GGM trees, many at once.
