//! What extending oblivious transfers needs: a bit-matrix transpose, and the inner loops around it.
