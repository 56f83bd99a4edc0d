//! AES on many 16-byte blocks in flight: a fixed-key permutation, and the correlation-robust hash made of it.
//!
//! The permutation π is AES-128 under a public key with nothing up its sleeve, modelled as an ideal permutation. The
//! hash is TMMO of Guo, Katz, Wang and Yu, *Efficient and Secure Multiparty Computation from Fixed-Key Block Ciphers*
//! (2020): `H(x, i) = π(π(x) ⊕ i) ⊕ π(x)`, tweakable circular correlation robust.
//!
//! Where the processor has vector AES the loop in [`vaes`] runs, sixteen blocks in flight; everywhere else the cipher is
//! the `aes` crate's. `--cfg aes_backend="soft"` forces its portable form.

use std::convert::Infallible;
use std::sync::OnceLock;

use aes::Aes128Enc;
use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use crate::parallel::{self, BLOCKS};
#[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
use crate::prg::vaes;

/// Sixteen bytes: a row of a batch.
pub type Block = [u8; 16];

/// The key of the fixed permutation: the first 128 bits of π's fraction, as hexadecimal digits give them.
pub const FIXED_KEY: Block = 0x243f_6a88_85a3_08d3_1319_8a2e_0370_7344_u128.to_be_bytes();

/// Blocks that the portable path works on at a time, so that they stay in the first-level cache.
const STRIPE: usize = 128;

/// AES-128 under one key, as a permutation of blocks. Small batches cost little, but sixteen blocks cost as one does.
pub struct Permutation(Backend);

enum Backend {
    #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
    Vaes(vaes::RoundKeys<11>),
    Portable(Aes128Enc),
}

impl Permutation {
    /// The permutation under this key.
    pub fn new(key: &Block) -> Self {
        #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
        if let Some(keys) = vaes::RoundKeys::<11>::new(key) {
            return Self(Backend::Vaes(keys));
        }
        Self::portable(key)
    }

    fn portable(key: &Block) -> Self {
        Self(Backend::Portable(Aes128Enc::new(key.into())))
    }

    /// π, under [`FIXED_KEY`].
    pub fn fixed() -> &'static Self {
        static FIXED: OnceLock<Permutation> = OnceLock::new();
        FIXED.get_or_init(|| Self::new(&FIXED_KEY))
    }

    /// Replaces each block `x` by `π(x)`, on the calling thread.
    pub fn permute(&self, blocks: &mut [Block]) {
        match &self.0 {
            #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
            Backend::Vaes(keys) => keys.permute(blocks),
            Backend::Portable(cipher) => encrypt(cipher, blocks),
        }
    }

    /// `out[i] = π(x[i]) ⊕ x[i]`, on the calling thread.
    pub fn compress(&self, x: &[Block], out: &mut [Block]) {
        debug_assert_eq!(x.len(), out.len());
        match &self.0 {
            #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
            Backend::Vaes(keys) => keys.compress(x, out),
            Backend::Portable(cipher) => {
                for (x, out) in x.chunks(STRIPE).zip(out.chunks_mut(STRIPE)) {
                    out.copy_from_slice(x);
                    encrypt(cipher, out);
                    for (out, x) in out.iter_mut().zip(x) {
                        *out = xor(out, x);
                    }
                }
            }
        }
    }

    /// `out[i] = H(x[i], tweak + i)`, on the calling thread.
    pub fn hash(&self, tweak: u64, x: &[Block], out: &mut [Block]) {
        debug_assert_eq!(x.len(), out.len());
        match &self.0 {
            #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
            Backend::Vaes(keys) => keys.hash(tweak, x, out),
            Backend::Portable(cipher) => {
                let mut tweak = tweak;
                let mut inner = [[0; 16]; STRIPE];
                for (x, out) in x.chunks(STRIPE).zip(out.chunks_mut(STRIPE)) {
                    let inner = &mut inner[..x.len()];
                    inner.copy_from_slice(x);
                    encrypt(cipher, inner);
                    for (out, inner) in out.iter_mut().zip(&*inner) {
                        *out = (u128::from_le_bytes(*inner) ^ u128::from(tweak)).to_le_bytes();
                        tweak = tweak.wrapping_add(1);
                    }
                    encrypt(cipher, out);
                    for (out, inner) in out.iter_mut().zip(&*inner) {
                        *out = xor(out, inner);
                    }
                }
            }
        }
    }

    /// Replaces each block `x[i]` by `H(x[i], tweaks[i])`, on the calling thread.
    pub fn hash_under(&self, tweaks: &[Block], x: &mut [Block]) {
        debug_assert_eq!(x.len(), tweaks.len());
        let mut inner = [[0; 16]; STRIPE];
        for (x, tweaks) in x.chunks_mut(STRIPE).zip(tweaks.chunks(STRIPE)) {
            self.permute(x);
            let inner = &mut inner[..x.len()];
            inner.copy_from_slice(x);
            for (x, tweak) in x.iter_mut().zip(tweaks) {
                *x = xor(x, tweak);
            }
            self.permute(x);
            for (x, inner) in x.iter_mut().zip(&*inner) {
                *x = xor(x, inner);
            }
        }
    }
}

/// The exclusive or of two blocks.
#[inline]
pub fn xor(a: &Block, b: &Block) -> Block {
    (u128::from_ne_bytes(*a) ^ u128::from_ne_bytes(*b)).to_ne_bytes()
}

fn encrypt(cipher: &Aes128Enc, blocks: &mut [Block]) {
    let (blocks, _) = Array::<u8, U16>::slice_as_chunks_mut(blocks.as_flattened_mut());
    cipher.encrypt_blocks(blocks);
}

/// Replaces each block `x` by `π(x)`, on as many threads as the batch is worth.
pub fn permute(blocks: &mut [Block]) {
    let pi = Permutation::fixed();
    let Ok(()) = parallel::fill_rows(blocks, 1, BLOCKS, |_, blocks| {
        pi.permute(blocks);
        Ok::<(), Infallible>(())
    });
}

/// `out[i] = H(x[i], tweak + i)`, on as many threads as the batch is worth. The tweaks must not pass 2^64 - 1.
pub fn hash(tweak: u64, x: &[Block], out: &mut [Block]) {
    let pi = Permutation::fixed();
    let Ok(()) = parallel::fill_rows(out, 1, BLOCKS, |first, out| {
        pi.hash(tweak.wrapping_add(first as u64), &x[first..first + out.len()], out);
        Ok::<(), Infallible>(())
    });
}

/// Replaces each block `x[i]` by `H(x[i], tweaks[i])`, on as many threads as the batch is worth.
pub fn hash_under(tweaks: &[Block], x: &mut [Block]) {
    let pi = Permutation::fixed();
    let Ok(()) = parallel::fill_rows(x, 1, BLOCKS, |first, x| {
        pi.hash_under(&tweaks[first..first + x.len()], x);
        Ok::<(), Infallible>(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(n: usize) -> Vec<Block> {
        (0..n as u128).map(|i| i.wrapping_mul(0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6979).to_le_bytes()).collect()
    }

    #[test]
    fn the_paths_agree_at_every_length() {
        let portable = Permutation::portable(&FIXED_KEY);
        for n in (0..50).chain([127, 128, 129, 1000]) {
            let x = some(n);
            for tweak in [0, 1, u64::MAX - 20 - n as u64] {
                let mut out = [vec![[0; 16]; n], vec![[1; 16]; n]];
                Permutation::fixed().hash(tweak, &x, &mut out[0]);
                portable.hash(tweak, &x, &mut out[1]);
                assert_eq!(out[0], out[1], "{n} {tweak}");
            }
            let mut out = [x.clone(), x.clone()];
            Permutation::fixed().permute(&mut out[0]);
            portable.permute(&mut out[1]);
            assert_eq!(out[0], out[1], "{n}");
            let tweaks: Vec<Block> = (0..n as u128).map(|i| (i << 70 | i).to_le_bytes()).collect();
            let mut out = [x.clone(), x.clone()];
            Permutation::fixed().hash_under(&tweaks, &mut out[0]);
            portable.hash_under(&tweaks, &mut out[1]);
            assert_eq!(out[0], out[1], "{n}");
            let mut out = [x.clone(), x.clone()];
            Permutation::fixed().permute(&mut out[0]);
            let mut compressed = vec![[0; 16]; n];
            for pi in [Permutation::fixed(), &portable] {
                pi.compress(&x, &mut compressed);
                assert!((0..n).all(|i| compressed[i] == xor(&x[i], &out[0][i])));
            }
        }
    }

    #[test]
    fn a_large_batch_is_the_rows_one_by_one() {
        let x = some(3 * BLOCKS.serial + 5);
        let mut out = vec![[0; 16]; x.len()];
        hash(9, &x, &mut out);
        for i in [0, 1, BLOCKS.chunk, BLOCKS.serial, x.len() - 1] {
            let mut one = [[0; 16]];
            Permutation::portable(&FIXED_KEY).hash(9 + i as u64, &x[i..=i], &mut one);
            assert_eq!(out[i], one[0]);
        }
    }
}
