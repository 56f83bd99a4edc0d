//! Two blocks at a time through the SHA instructions of x86.

use std::arch::x86_64::*;

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::DIGEST;
use crate::hash;
use crate::parallel::{self, HASH};

/// Blocks at a time.
pub const LANES: usize = 2;

const BLOCK: usize = 64;
/// What follows a string in its last block: a byte with one bit set, and the length in bits.
const END: usize = 9;

const START: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Whether the processor has the instructions.
pub fn available() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

/// `H(prefix || item)` of every item. The caller has asked whether this is `available`.
pub fn fill<'a>(prefix: &[u8], item: impl Fn(usize) -> &'a [u8] + Sync, out: &mut [u8]) {
    let (blocks, rest) = prefix.as_chunks::<BLOCK>();
    let mut state = START;
    compress256(&mut state, blocks);
    let long = Sha256::new().chain_update(prefix);
    let room = BLOCK - END;
    let filled = parallel::fill_rows(out, DIGEST, HASH, |first, rows| {
        // The strings of the next run, and where their digests go.
        let mut block = Zeroizing::new([[0; BLOCK]; LANES]);
        let mut places = [0; LANES];
        let mut waiting = 0;
        for i in 0..rows.len() / DIGEST {
            let string = item(first + i);
            let length = rest.len() + string.len();
            if length > room {
                let row = &mut rows[i * DIGEST..(i + 1) * DIGEST];
                hash::finalize_into(long.clone().chain_update(string), row);
                continue;
            }
            let lane = &mut block[waiting];
            *lane = [0; BLOCK];
            lane[..rest.len()].copy_from_slice(rest);
            lane[rest.len()..length].copy_from_slice(string);
            lane[length] = 0x80;
            let bits = 8 * (prefix.len() + string.len()) as u64;
            lane[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
            places[waiting] = i;
            waiting += 1;
            if waiting == LANES {
                // SAFETY: `available` was asked.
                unsafe { compress(&state, &block, &places, rows) };
                waiting = 0;
            }
        }
        if waiting > 0 {
            places[1] = places[0];
            block[1] = block[0];
            // SAFETY: `available` was asked.
            unsafe { compress(&state, &block, &places, rows) };
        }
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(()) = filled;
    state.zeroize();
}

/// Writes the digest of each last block, after the state, to its place among the rows.
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress(state: &[u32; 8], blocks: &[[u8; BLOCK]; LANES], places: &[usize; LANES], rows: &mut [u8]) {
    // The instructions take the state as (a b e f) and (c d g h), the first of them in the highest lane.
    let [a, b, c, d, e, f, g, h] = state.map(|word| word as i32);
    let abef0 = _mm_set_epi32(a, b, e, f);
    let cdgh0 = _mm_set_epi32(c, d, g, h);
    let mut abef = [abef0; LANES];
    let mut cdgh = [cdgh0; LANES];
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let mut w = blocks.map(|block| {
        let (words, _) = block.as_chunks::<16>();
        // SAFETY: each read is of the 16 bytes of its array.
        std::array::from_fn::<_, 4, _>(|i| unsafe { _mm_shuffle_epi8(_mm_loadu_si128(words[i].as_ptr().cast()), swap) })
    });
    for step in 0..16 {
        let k =
            _mm_set_epi32(K[4 * step + 3] as i32, K[4 * step + 2] as i32, K[4 * step + 1] as i32, K[4 * step] as i32);
        for lane in 0..LANES {
            let w = &mut w[lane];
            let i = step % 4;
            if step >= 4 {
                let (next, last) = (w[(i + 1) % 4], w[(i + 3) % 4]);
                let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[i], next), _mm_alignr_epi8::<4>(last, w[(i + 2) % 4]));
                w[i] = _mm_sha256msg2_epu32(sum, last);
            }
            let words = _mm_add_epi32(w[i], k);
            cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], words);
            abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_shuffle_epi32::<0x0e>(words));
        }
    }
    // Back to (a b c d) and (e f g h), big endian.
    let swap = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    for lane in 0..LANES {
        let abef = _mm_add_epi32(abef[lane], abef0);
        let cdgh = _mm_add_epi32(cdgh[lane], cdgh0);
        let abcd = _mm_unpackhi_epi64(cdgh, abef);
        let efgh = _mm_unpacklo_epi64(cdgh, abef);
        let row: &mut [u8; DIGEST] = (&mut rows[places[lane] * DIGEST..][..DIGEST]).try_into().expect("a row");
        // SAFETY: the two halves of the row.
        unsafe {
            _mm_storeu_si128(row.as_mut_ptr().cast(), _mm_shuffle_epi8(abcd, swap));
            _mm_storeu_si128(row.as_mut_ptr().add(16).cast(), _mm_shuffle_epi8(efgh, swap));
        }
    }
}
