//! The group of SM2 (GM/T 0003), its hash-to-curve, and its signature.
