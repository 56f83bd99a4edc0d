//! Batch kernels on contiguous byte buffers: a prime-order group, the OPRF over it, hashing, and a pseudorandom generator.
//!
//! The modules here know no Python; [`py`] is a thin layer of bindings over them and nothing else.
//! Code that touches a secret runs in constant time. A function whose time depends on its inputs ends in `_vartime`,
//! and may be given public data only. Secrets held on this side are zeroized when they are dropped.

mod error;
pub mod group;
pub mod hash;
pub mod oprf;
pub mod packed;
pub mod parallel;
pub mod prg;
pub mod ristretto255;

#[cfg(feature = "python")]
mod py;

pub use error::Error;
