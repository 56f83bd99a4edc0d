//! AES on many 16-byte blocks in flight: a fixed-key permutation, and the correlation-robust hashes made of it.
