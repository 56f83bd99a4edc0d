//! The linear code of the dual LPN problem, by which a sparse vector becomes a pseudorandom one.
