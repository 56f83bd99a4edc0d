//! A pseudorandom generator with random access: AES in counter mode.
//!
//! Block `i` of the stream, 16 bytes, is `AES(key, counter + i)`, where the sum is modulo 2^128 and enters the cipher as
//! 16 big-endian bytes. That is NIST SP 800-38A's counter mode with a 128-bit counter, applied to zeros.
//!
//! Where the processor has vector AES the loop in [`vaes`] runs. Everywhere else the cipher is the `aes` crate's, which
//! takes AES-NI, the ARMv8 extensions or constant-time bit-slicing. `--cfg aes_backend="soft"` forces the last.

#[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
pub(crate) mod vaes;

use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Aes256Enc};
use zeroize::Zeroizing;

use crate::Error;
use crate::parallel::{self, STREAM};

/// Bytes of a block.
pub const BLOCK: usize = 16;
/// Blocks that the portable path makes at a time: their counters are written and encrypted while they are in the
/// first-level cache. A multiple of the crate's batches, because blocks left over go through the cipher one by one.
const STRIPE: usize = 240;
/// Bytes that a thread takes at a time, a multiple of every batch.
const ROW: usize = 16 * STRIPE * BLOCK;

/// The stream of one 16-byte key, whose schedule is made once: for short pieces of it, on the calling thread.
pub struct Stream(Backend);

enum Backend {
    #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
    Vaes(vaes::RoundKeys<11>),
    Portable(Aes128Enc),
}

impl Stream {
    /// The stream of this key.
    pub fn new(key: &[u8; 16]) -> Self {
        #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
        if let Some(keys) = vaes::RoundKeys::<11>::new(key) {
            return Self(Backend::Vaes(keys));
        }
        Self(Backend::Portable(Aes128Enc::new(key.into())))
    }

    /// Fills `out` with the stream from block `counter` on, as [`fill`] does.
    pub fn fill(&self, counter: u128, out: &mut [u8]) {
        match &self.0 {
            #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
            Backend::Vaes(keys) => keys.fill(counter, out),
            Backend::Portable(cipher) => fill_portable(cipher, counter, out),
        }
    }

    /// Adds the stream from block `counter` on to `words`, or subtracts it: eight little-endian bytes a word.
    pub(crate) fn add(&self, counter: u64, words: &mut [u64], negative: bool) {
        match &self.0 {
            #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
            Backend::Vaes(keys) => keys.add(counter, words, negative),
            Backend::Portable(cipher) => add_portable(cipher, counter, words, negative),
        }
    }
}

/// Fills `out` with the stream that begins at block `counter`; a last part of a block is cut off.
pub fn fill(key: &[u8], counter: u128, out: &mut [u8]) -> Result<(), Error> {
    if let Ok(key) = key.try_into() {
        #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
        if let Some(keys) = vaes::RoundKeys::<11>::new(key) {
            fill_rows(counter, out, |counter, out| keys.fill(counter, out));
            return Ok(());
        }
        let key: &[u8; 16] = key;
        let cipher = Aes128Enc::new(key.into());
        fill_rows(counter, out, |counter, out| fill_portable(&cipher, counter, out));
    } else if let Ok(key) = key.try_into() {
        #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
        if let Some(keys) = vaes::RoundKeys::<15>::new(key) {
            fill_rows(counter, out, |counter, out| keys.fill(counter, out));
            return Ok(());
        }
        let key: &[u8; 32] = key;
        let cipher = Aes256Enc::new(key.into());
        fill_rows(counter, out, |counter, out| fill_portable(&cipher, counter, out));
    } else {
        return Err(Error::Misuse("the key must be 16 or 32 bytes"));
    }
    Ok(())
}

/// Splits a long output over the threads.
fn fill_rows(counter: u128, out: &mut [u8], fill: impl Fn(u128, &mut [u8]) + Sync) {
    let whole = out.len() - out.len() % ROW;
    let (rows, rest) = out.split_at_mut(whole);
    let filled = parallel::fill_rows(rows, ROW, STREAM, |first, rows| {
        fill(counter.wrapping_add((first * (ROW / BLOCK)) as u128), rows);
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(()) = filled;
    fill(counter.wrapping_add((whole / BLOCK) as u128), rest);
}

fn fill_portable<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: &C, mut counter: u128, out: &mut [u8]) {
    let (blocks, tail) = Array::<u8, U16>::slice_as_chunks_mut(out);
    for stripe in blocks.chunks_mut(STRIPE) {
        for block in stripe.iter_mut() {
            *block = Array::from(counter.to_be_bytes());
            counter = counter.wrapping_add(1);
        }
        cipher.encrypt_blocks(stripe);
    }
    if !tail.is_empty() {
        let mut block = Array::from(counter.to_be_bytes());
        cipher.encrypt_block(&mut block);
        tail.copy_from_slice(&block[..tail.len()]);
    }
}

fn add_portable(cipher: &Aes128Enc, counter: u64, words: &mut [u64], negative: bool) {
    let mut stream = Zeroizing::new([0; STRIPE * BLOCK]);
    for (i, words) in words.chunks_mut(STRIPE * BLOCK / 8).enumerate() {
        let stream = &mut stream[..8 * words.len()];
        fill_portable(cipher, u128::from(counter) + (i * STRIPE) as u128, stream);
        for (word, mask) in words.iter_mut().zip(stream.as_chunks::<8>().0) {
            let mask = u64::from_le_bytes(*mask);
            *word = if negative { word.wrapping_sub(mask) } else { word.wrapping_add(mask) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portable(key: &[u8], counter: u128, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        match key.len() {
            16 => fill_portable(&Aes128Enc::new_from_slice(key).unwrap(), counter, &mut out),
            _ => fill_portable(&Aes256Enc::new_from_slice(key).unwrap(), counter, &mut out),
        }
        out
    }

    #[test]
    fn the_paths_agree_at_every_length_and_carry() {
        let key: Vec<u8> = (0..32).map(|i| i * 7 + 1).collect();
        for key in [&key[..16], &key] {
            for counter in [0, 1, u128::from(u64::MAX) - 9, u128::from(u64::MAX), u128::MAX - 20, u128::MAX] {
                for length in [0, 1, 15, 16, 17, 255, 256, 257, 4095, ROW - 1, ROW, ROW + 1] {
                    let mut out = vec![0xff; length];
                    fill(key, counter, &mut out).unwrap();
                    assert_eq!(out, portable(key, counter, length), "{} {counter} {length}", key.len());
                }
            }
        }
    }

    #[test]
    fn a_long_output_is_one_stream() {
        let key = [9; 16];
        let mut out = vec![0; 40 * ROW + 5];
        fill(&key, 3, &mut out).unwrap();
        assert_eq!(out, portable(&key, 3, out.len()));
    }

    #[test]
    fn a_stream_made_ready_is_the_same_stream() {
        let key = [7; 16];
        let stream = Stream::new(&key);
        for length in [0, 5, 16, 256, 500] {
            let mut out = vec![0; length];
            stream.fill(11, &mut out);
            assert_eq!(out, portable(&key, 11, length));
        }
    }

    #[test]
    fn the_paths_add_alike() {
        for length in [0, 1, 2, 31, 32, 33, 479, 480, 481, 1001] {
            let words: Vec<u64> = (0..length).map(|i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
            for negative in [false, true] {
                let (mut one, mut other) = (words.clone(), words.clone());
                Stream::new(&[3; 16]).add(5, &mut one, negative);
                add_portable(&Aes128Enc::new(&[3; 16].into()), 5, &mut other, negative);
                assert_eq!(one, other, "{length}");
                Stream::new(&[3; 16]).add(5, &mut one, !negative);
                assert_eq!(one, words, "{length}");
            }
        }
    }

    #[test]
    fn keys_of_other_lengths_are_refused() {
        for length in [0, 15, 17, 24, 31, 33] {
            assert!(fill(&vec![0; length], 0, &mut [0; 16]).is_err());
        }
    }
}
