//! The hash SM3 (GM/T 0004-2012) of whole batches.
//!
//! One string is hashed by the `sm3` crate. A batch goes eight strings at a time through the lanes of AVX2 where the
//! processor has it: strings with equally many blocks share a run, whatever their lengths. The whole blocks of the
//! prefix are compressed once for the batch. `--cfg sha2_backend="soft"` takes the crate for everything.
//!
//! Time depends on lengths alone.

pub use sm3::Sm3;

#[cfg(all(target_arch = "x86_64", not(sha2_backend = "soft")))]
mod avx2;

use crate::hash::{self, BatchHash};

/// Bytes of a digest.
pub const DIGEST: usize = 32;

impl BatchHash for Sm3 {
    fn fill<'a>(prefix: &[u8], item: impl Fn(usize) -> &'a [u8] + Sync, out: &mut [u8]) {
        #[cfg(all(target_arch = "x86_64", not(sha2_backend = "soft")))]
        if out.len() / DIGEST >= avx2::LANES && avx2::available() {
            return avx2::fill(prefix, item, out);
        }
        hash::fill_one_by_one::<Self>(prefix, item, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::Packed;
    use sha2::Digest;

    /// Strings of these lengths, all different.
    fn strings(lengths: &[usize]) -> (Vec<u8>, Vec<i64>) {
        let mut offsets = vec![0];
        for length in lengths {
            offsets.push(offsets[offsets.len() - 1] + *length as i64);
        }
        let total = offsets[lengths.len()] as usize;
        ((0..total).map(|i| (i * 131 + i / 251) as u8).collect(), offsets)
    }

    #[test]
    fn the_lanes_are_the_crates_hash_whatever_the_lengths() {
        let all: Vec<usize> = (0..200).collect();
        let mixed: Vec<usize> = (0..1000).map(|i| (i * i * 7 + i) % 150).collect();
        let cases = [&[][..], &[18], &[18; 8], &[18; 9], &[55; 100], &[56; 8], &[0; 17], &all, &mixed, &[10_000; 9]];
        for lengths in cases {
            let (data, offsets) = strings(lengths);
            let items = Packed::new(&data, &offsets).unwrap();
            for prefix in [0, 1, 46, 47, 55, 56, 63, 64, 65, 128, 200] {
                let prefix = vec![0x5a; prefix];
                let mut out = vec![0; lengths.len() * DIGEST];
                hash::hash_batch::<Sm3>(&prefix, items, &mut out);
                for (i, digest) in out.chunks_exact(DIGEST).enumerate() {
                    let expected = Sm3::new().chain_update(&prefix).chain_update(items.get(i)).finalize();
                    assert_eq!(digest, expected.as_slice(), "{} {}", prefix.len(), lengths[i]);
                }
            }
        }
    }
}
