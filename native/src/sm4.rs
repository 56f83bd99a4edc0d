//! The block cipher SM4 (GM/T 0002): counter mode and GCM.
