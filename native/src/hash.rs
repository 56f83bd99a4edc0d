//! Hashing: whole batches of strings or rows, and RFC 9380's `expand_message_xmd`.
//!
//! `sha2` takes the processor's SHA instructions or AVX2 where it has them; batches of SHA-256 and of SM3 have modules of
//! their own.

use sha2::digest::common::BlockSizeUser;
use sha2::{Digest, Sha512};
use zeroize::Zeroize;

use crate::Error;
use crate::packed::Packed;
use crate::parallel::{self, HASH};

/// A hash that digests whole batches.
pub trait BatchHash: Digest + Clone + Sync {
    /// `H(prefix || item)` of every item: `out` is `(n, digest)`.
    fn fill<'a>(prefix: &[u8], item: impl Fn(usize) -> &'a [u8] + Sync, out: &mut [u8]) {
        fill_one_by_one::<Self>(prefix, item, out);
    }
}

impl BatchHash for Sha512 {}

/// `H(prefix || string)` of every string: `out` is `(n, digest)`.
pub fn hash_batch<H: BatchHash>(prefix: &[u8], items: Packed<'_>, out: &mut [u8]) {
    H::fill(prefix, |i| items.get(i), out);
}

/// `H(prefix || row)` of every row of `width` bytes: `out` is `(n, digest)`.
pub fn hash_rows<H: BatchHash>(prefix: &[u8], rows: &[u8], width: usize, out: &mut [u8]) {
    H::fill(prefix, |i| &rows[i * width..(i + 1) * width], out);
}

/// A batch by a hash that takes one string at a time.
pub(crate) fn fill_one_by_one<'a, H>(prefix: &[u8], item: impl Fn(usize) -> &'a [u8] + Sync, out: &mut [u8])
where
    H: Digest + Clone + Sync,
{
    let start = H::new().chain_update(prefix);
    let width = <H as Digest>::output_size();
    let filled = parallel::fill_rows(out, width, HASH, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(width).enumerate() {
            finalize_into(start.clone().chain_update(item(first + i)), row);
        }
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(()) = filled;
}

/// Writes the digest where it belongs, so that no copy of it is left behind. `row` is as long as a digest.
pub(crate) fn finalize_into<H: Digest>(hash: H, row: &mut [u8]) {
    hash.finalize_into(row.try_into().expect("a row is as long as a digest"));
}

/// `expand_message_xmd` of RFC 9380, section 5.3.1, for one domain separation tag.
#[derive(Clone)]
pub struct ExpandMessageXmd<H> {
    /// The state after the block of zeros that every message starts with, so that the block is hashed once.
    start: H,
    /// The tag followed by its length.
    dst_prime: Vec<u8>,
}

impl<H: Digest + BlockSizeUser + Clone> ExpandMessageXmd<H> {
    /// Takes a tag of at least one byte. One above 255 bytes is hashed first, as section 5.3.3 says.
    pub fn new(dst: &[u8]) -> Result<Self, Error> {
        if dst.is_empty() {
            return Err(Error::Misuse("the domain separation tag must not be empty"));
        }
        let mut dst_prime = if dst.len() > 255 {
            H::new().chain_update(b"H2C-OVERSIZE-DST-").chain_update(dst).finalize().to_vec()
        } else {
            dst.to_vec()
        };
        dst_prime.push(dst_prime.len() as u8);
        let zeros = vec![0; H::block_size()];
        Ok(Self { start: H::new().chain_update(zeros), dst_prime })
    }

    /// Fills `out` from the message, given in parts. `out` is at most 255 digests and 65535 bytes long.
    pub fn expand(&self, parts: &[&[u8]], out: &mut [u8]) {
        assert!(out.len() <= 255 * <H as Digest>::output_size() && out.len() <= 65535, "expand_message_xmd: too long");
        let mut hash = self.start.clone();
        for part in parts {
            hash.update(part);
        }
        hash.update((out.len() as u16).to_be_bytes());
        hash.update([0]);
        // The message may be a key's seed: then every block tells as much as the key.
        let mut b0 = hash.chain_update(&self.dst_prime).finalize();
        let mut block = b0.clone();
        for (i, chunk) in out.chunks_mut(b0.len()).enumerate() {
            if i > 0 {
                block.iter_mut().zip(&b0).for_each(|(byte, first)| *byte ^= first);
            }
            let hash = H::new().chain_update(&block).chain_update([i as u8 + 1]).chain_update(&self.dst_prime);
            finalize_into(hash, &mut block);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        b0.as_mut_slice().zeroize();
        block.as_mut_slice().zeroize();
    }
}
