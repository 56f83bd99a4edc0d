//! The block cipher SM4 (GM/T 0002-2012): counter mode, and GCM as RFC 8998 has it.
//!
//! No table is looked up by a secret. On a processor with AES instructions their S-box computes SM4's ([`x86`]), several
//! blocks in flight. Everywhere else the S-box is computed from its algebra on bit planes, 64 bytes at a time
//! ([`planes`]); `--cfg aes_backend="soft"` forces that. GHASH is the `ghash` crate's, which takes carry-less
//! multiplication where it finds it. Time depends on lengths alone.

mod planes;
#[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
mod x86;

use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::Error;
use crate::parallel::{self, STREAM};

/// Bytes of a key.
pub const KEY: usize = 16;
/// Bytes of a block, and of a counter.
pub const BLOCK: usize = 16;
/// Bytes of a nonce of GCM.
pub const NONCE: usize = 12;
/// Bytes of a tag of GCM.
pub const TAG: usize = 16;
/// The most that GCM seals under one nonce: its counter has 32 bits, and two blocks are not the text's.
pub const LONGEST_TEXT: u64 = (1 << 36) - 32;

/// Bytes that a thread takes at a time, a multiple of every path's batch.
const ROW: usize = 1 << 16;
const _: () = assert!(ROW.is_multiple_of(planes::BATCH * BLOCK));

const FK: [u32; 4] = [0xa3b1_bac6, 0x56aa_3350, 0x677d_9197, 0xb270_22dc];

/// Byte `j` of constant `i` is `7 (4 i + j)` modulo 256.
const CK: [u32; 32] = {
    let mut constants = [0; 32];
    let mut i = 0;
    while i < 32 {
        let first = (28 * i) as u8;
        let bytes = [first, first.wrapping_add(7), first.wrapping_add(14), first.wrapping_add(21)];
        constants[i] = u32::from_be_bytes(bytes);
        i += 1;
    }
    constants
};

/// A round key for each round.
type RoundKeys = [u32; 32];

/// A key, expanded; wiped when dropped.
pub struct Sm4 {
    keys: Zeroizing<RoundKeys>,
}

impl Sm4 {
    /// The key schedule, of a key of 16 bytes.
    pub fn new(key: &[u8]) -> Result<Self, Error> {
        let key: &[u8; KEY] = key.try_into().map_err(|_| Error::Misuse("the key must be 16 bytes"))?;
        #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
        if x86::available() {
            return Ok(Self::expand(key, x86::sub_word));
        }
        Ok(Self::expand(key, planes::sub_word))
    }

    fn expand(key: &[u8; KEY], sub_word: impl Fn(u32) -> u32) -> Self {
        let mut k = Zeroizing::new([0; 4]);
        for ((word, bytes), fk) in k.iter_mut().zip(key.as_chunks().0).zip(FK) {
            *word = u32::from_be_bytes(*bytes) ^ fk;
        }
        let mut keys = Zeroizing::new([0; 32]);
        for (i, key) in keys.iter_mut().enumerate() {
            let b = sub_word(k[(i + 1) % 4] ^ k[(i + 2) % 4] ^ k[(i + 3) % 4] ^ CK[i]);
            k[i % 4] ^= b ^ b.rotate_left(13) ^ b.rotate_left(23);
            *key = k[i % 4];
        }
        Self { keys }
    }

    /// Counter mode: block `i` is added to `SM4(counter + i)`, the sum modulo 2^128 and big-endian. `out` is as long
    /// as `text`.
    pub fn ctr(&self, counter: u128, text: &[u8], out: &mut [u8]) {
        assert_eq!(text.len(), out.len(), "ctr: one byte out for each byte in");
        let whole = out.len() - out.len() % ROW;
        let (rows, rest) = out.split_at_mut(whole);
        let filled = parallel::fill_rows(rows, ROW, STREAM, |first, rows| {
            let begin = first * ROW;
            self.ctr_serial(counter.wrapping_add((begin / BLOCK) as u128), &text[begin..begin + rows.len()], rows);
            Ok::<(), std::convert::Infallible>(())
        });
        let Ok(()) = filled;
        self.ctr_serial(counter.wrapping_add((whole / BLOCK) as u128), &text[whole..], rest);
    }

    fn ctr_serial(&self, counter: u128, text: &[u8], out: &mut [u8]) {
        #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
        if x86::available() {
            return x86::ctr(&self.keys, counter, text, out);
        }
        planes::ctr(&self.keys, counter, text, out);
    }

    /// GCM: `out` becomes the text under `nonce`, and the tag after it. `plain` is at most [`LONGEST_TEXT`] bytes.
    pub fn gcm_seal(&self, nonce: &[u8; NONCE], aad: &[u8], plain: &[u8], out: &mut [u8]) -> Result<(), Error> {
        check_lengths(aad, plain)?;
        assert_eq!(out.len(), plain.len() + TAG, "gcm_seal: the text and a tag");
        let (text, tag) = out.split_at_mut(plain.len());
        self.ctr(counter_block(nonce, 2), plain, text);
        tag.copy_from_slice(&*self.tag(nonce, aad, text));
        Ok(())
    }

    /// What [`Sm4::gcm_seal`] sealed. `out` is written only where the tag fits.
    pub fn gcm_open(&self, nonce: &[u8; NONCE], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let (text, tag) = sealed.split_at_checked(out.len()).ok_or(Error::InvalidTag)?;
        check_lengths(aad, text)?;
        if !bool::from(self.tag(nonce, aad, text).as_slice().ct_eq(tag)) {
            return Err(Error::InvalidTag);
        }
        self.ctr(counter_block(nonce, 2), text, out);
        Ok(())
    }

    fn tag(&self, nonce: &[u8; NONCE], aad: &[u8], text: &[u8]) -> Zeroizing<[u8; TAG]> {
        let mut h = Zeroizing::new([0; BLOCK]);
        self.ctr_serial(0, &[0; BLOCK], &mut *h);
        let mut hash = GHash::new((&*h).into());
        hash.update_padded(aad);
        hash.update_padded(text);
        let bits = ((8 * aad.len() as u128) << 64) + 8 * text.len() as u128;
        hash.update(&[bits.to_be_bytes().into()]);
        let mut sum = hash.finalize();
        let mut tag = Zeroizing::new([0; TAG]);
        self.ctr_serial(counter_block(nonce, 1), &sum, &mut *tag);
        sum.as_mut_slice().zeroize();
        tag
    }
}

fn check_lengths(aad: &[u8], text: &[u8]) -> Result<(), Error> {
    if text.len() as u64 > LONGEST_TEXT || aad.len() as u64 >= 1 << 61 {
        return Err(Error::Misuse("GCM seals at most 2^36 - 32 bytes under one nonce, beside 2^61 - 1 of other data"));
    }
    Ok(())
}

/// The nonce, and `count` in the 32 bits that count.
fn counter_block(nonce: &[u8; NONCE], count: u32) -> u128 {
    let mut block = [0; BLOCK];
    block[..NONCE].copy_from_slice(nonce);
    block[NONCE..].copy_from_slice(&count.to_be_bytes());
    u128::from_be_bytes(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sm4::cipher::{BlockCipherEncrypt, KeyInit};

    fn bytes(n: usize, seed: usize) -> Vec<u8> {
        (0..n).map(|i| ((i + seed) * (i + 7 * seed + 3) % 251) as u8).collect()
    }

    /// Counter mode over the table-based crate.
    fn oracle(key: &[u8], counter: u128, text: &[u8]) -> Vec<u8> {
        let cipher = sm4::Sm4::new_from_slice(key).unwrap();
        let mut out = text.to_vec();
        for (i, chunk) in out.chunks_mut(BLOCK).enumerate() {
            let mut block = counter.wrapping_add(i as u128).to_be_bytes().into();
            cipher.encrypt_block(&mut block);
            chunk.iter_mut().zip(block).for_each(|(byte, mask)| *byte ^= mask);
        }
        out
    }

    pub(super) type Ctr = fn(&RoundKeys, u128, &[u8], &mut [u8]);

    #[test]
    fn every_path_is_the_crates_cipher_at_every_length_and_carry() {
        #[cfg_attr(not(all(target_arch = "x86_64", not(aes_backend = "soft"))), expect(unused_mut))]
        let mut paths: Vec<Ctr> = vec![planes::ctr];
        #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
        paths.extend(x86::paths());
        let u32_max = u128::from(u32::MAX);
        for ctr in paths {
            for (seed, counter) in
                [0, u32_max - 20, u32_max, u128::from(u64::MAX) - 9, u128::MAX].into_iter().enumerate()
            {
                let key = bytes(KEY, seed + 1);
                let cipher = Sm4::new(&key).unwrap();
                for length in [0, 1, 15, 16, 17, 255, 256, 257, 511, 512, 513, 1000, 4097] {
                    let text = bytes(length, 9);
                    let mut out = vec![0; length];
                    ctr(&cipher.keys, counter, &text, &mut out);
                    assert_eq!(out, oracle(&key, counter, &text), "{counter} {length}");
                }
            }
        }
    }

    #[test]
    fn the_key_schedules_agree() {
        for seed in 0..50 {
            let key = bytes(KEY, seed);
            let portable = Sm4::expand(key.as_slice().try_into().unwrap(), planes::sub_word);
            assert_eq!(*portable.keys, *Sm4::new(&key).unwrap().keys);
        }
    }

    #[test]
    #[cfg_attr(
        aes_backend = "soft",
        ignore = "half a minute, because bit planes compute sixteen blocks for each of them"
    )]
    fn a_million_rounds_of_the_standard() {
        // GM/T 0002-2012, appendix A.2: the block is encrypted again and again under one key.
        let key: [u8; 16] = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128.to_be_bytes();
        let (cipher, mut block) = (Sm4::new(&key).unwrap(), key);
        for _ in 0..1_000_000 {
            let last = u128::from_be_bytes(block);
            cipher.ctr_serial(last, &[0; BLOCK], &mut block);
        }
        assert_eq!(u128::from_be_bytes(block), 0x5952_98c7_c6fd_271f_0402_f804_c33d_3f66);
    }

    #[test]
    fn a_long_text_is_one_stream() {
        let (key, text) = (bytes(KEY, 3), bytes(40 * ROW + 5, 4));
        let mut out = vec![0; text.len()];
        Sm4::new(&key).unwrap().ctr(7, &text, &mut out);
        assert_eq!(out, oracle(&key, 7, &text));
    }

    #[test]
    fn a_changed_bit_opens_nothing() {
        let cipher = Sm4::new(&bytes(KEY, 1)).unwrap();
        let (nonce, aad, plain) = ([5; NONCE], bytes(20, 2), bytes(100, 3));
        let mut sealed = vec![0; 116];
        cipher.gcm_seal(&nonce, &aad, &plain, &mut sealed).unwrap();
        let mut out = vec![0; 100];
        cipher.gcm_open(&nonce, &aad, &sealed, &mut out).unwrap();
        assert_eq!(out, plain);
        for bit in 0..8 * sealed.len() {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            out.fill(0);
            assert_eq!(cipher.gcm_open(&nonce, &aad, &changed, &mut out), Err(Error::InvalidTag));
            assert!(out.iter().all(|&byte| byte == 0));
        }
        assert_eq!(cipher.gcm_open(&[6; NONCE], &aad, &sealed, &mut out), Err(Error::InvalidTag));
        assert_eq!(cipher.gcm_open(&nonce, &aad[1..], &sealed, &mut out), Err(Error::InvalidTag));
        assert_eq!(cipher.gcm_open(&nonce, &aad, &sealed[..115], &mut out), Err(Error::InvalidTag));
        assert_eq!(cipher.gcm_open(&nonce, &aad, &[], &mut []), Err(Error::InvalidTag));
    }
}
