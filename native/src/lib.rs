//! Batch kernels on contiguous byte buffers: a prime-order group, the OPRF over it, hashing,
//! signature checks, and a pseudorandom generator.
//!
//! The modules here know no Python; `py` is a thin layer of bindings over them and nothing else.
//! Code that touches a secret runs in constant time. A function whose time depends on its inputs ends in `_vartime`,
//! and may be given public data only. Secrets held on this side are zeroized when they are dropped.
//!
//! What the processor offers is found out when it is needed: AVX2 for the group, VAES or AES-NI for the generator, SHA
//! instructions or AVX2 for the hashes. No build flag is needed for that. The portable path is forced by
//! `RUSTFLAGS='--cfg curve25519_dalek_backend="serial" --cfg aes_backend="soft" --cfg sha2_backend="soft" --cfg
//! polyval_backend="soft" --cfg sm2_backend="soft" --cfg ring_backend="soft"'`.

pub mod bits;
pub mod blocks;
pub mod code;
pub mod cuckoo;
pub mod ed25519;
mod error;
pub mod gf128;
pub mod group;
pub mod hash;
pub mod join;
pub mod lwe;
pub mod mask;
pub mod ntt;
pub mod okvs;
pub mod oprf;
pub mod ot;
pub mod packed;
pub mod paillier;
pub mod parallel;
pub mod pprf;
pub mod prg;
pub mod ring;
pub mod ristretto255;
pub mod rlwe;
pub mod sha256;
pub mod shuffle;
pub mod sm2;
pub mod sm3;
pub mod sm4;
pub mod transfers;
mod vectorised;

#[cfg(feature = "python")]
mod py;

pub use error::Error;
