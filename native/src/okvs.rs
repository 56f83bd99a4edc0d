//! Oblivious key-value stores: RR22's weight-3 clustered encoding.
