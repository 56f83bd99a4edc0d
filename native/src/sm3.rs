//! The hash SM3 (GM/T 0004), one stream and eight at once.
