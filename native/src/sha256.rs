//! SHA-256 (FIPS 180-4) of whole batches.
//!
//! One string is hashed by the `sha2` crate. In a batch, strings that end in the block after the prefix's whole blocks,
//! which are compressed once, go two at a time through the processor's SHA instructions: each waits for its own results
//! half of the time, which is when the other's are computed. `--cfg sha2_backend="soft"` takes the crate for everything.
//!
//! Time depends on lengths alone.

pub use sha2::Sha256;

#[cfg(all(target_arch = "x86_64", not(sha2_backend = "soft")))]
mod shani;

use crate::hash::{self, BatchHash};

/// Bytes of a digest.
pub const DIGEST: usize = 32;

impl BatchHash for Sha256 {
    fn fill<'a>(prefix: &[u8], item: impl Fn(usize) -> &'a [u8] + Sync, out: &mut [u8]) {
        #[cfg(all(target_arch = "x86_64", not(sha2_backend = "soft")))]
        if out.len() / DIGEST >= shani::LANES && shani::available() {
            return shani::fill(prefix, item, out);
        }
        hash::fill_one_by_one::<Self>(prefix, item, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::Packed;
    use sha2::Digest;

    #[test]
    fn two_at_a_time_is_the_crates_hash_whatever_the_lengths() {
        let all: Vec<usize> = (0..200).collect();
        let mixed: Vec<usize> = (0..1000).map(|i| (i * i * 7 + i) % 80).collect();
        for lengths in [&[][..], &[18], &[18; 2], &[18; 9], &[55; 100], &[56; 8], &[0; 17], &all, &mixed] {
            let mut offsets = vec![0];
            lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + *length as i64));
            let data: Vec<u8> = (0..offsets[lengths.len()] as usize).map(|i| (i * 131 + i / 251) as u8).collect();
            let items = Packed::new(&data, &offsets).unwrap();
            for prefix in [0, 1, 36, 37, 38, 46, 47, 54, 55, 56, 63, 64, 65, 128, 200] {
                let prefix = vec![0x5a; prefix];
                let mut out = vec![0; lengths.len() * DIGEST];
                hash::hash_batch::<Sha256>(&prefix, items, &mut out);
                for (i, digest) in out.chunks_exact(DIGEST).enumerate() {
                    let expected = Sha256::new().chain_update(&prefix).chain_update(items.get(i)).finalize();
                    assert_eq!(digest, expected.as_slice(), "{} {}", prefix.len(), lengths[i]);
                }
            }
        }
    }
}
