//! Eight strings at once: word `i` of eight states, or of eight blocks, is one register.

use core::arch::x86_64::*;

use zeroize::Zeroize;

use super::DIGEST;
use crate::parallel::{self, HASH};

/// Strings hashed at once.
pub(super) const LANES: usize = 8;
/// Bytes of a block.
const BLOCK: usize = 64;
/// Bytes that the padding adds at least: one that marks the end, and the length.
const PADDING: usize = 9;

const INITIAL: [u32; 8] =
    [0x7380_166f, 0x4914_b2b9, 0x1724_42d7, 0xda8a_0600, 0xa96f_30bc, 0x1631_38aa, 0xe38d_ee4d, 0xb0fb_0e4e];

/// T_j rotated left by j, for round j.
const ROUND_CONSTANTS: [u32; 64] = {
    let mut constants = [0; 64];
    let mut j = 0;
    while j < 64 {
        let t: u32 = if j < 16 { 0x79cc_4519 } else { 0x7a87_9d8a };
        constants[j] = t.rotate_left(j as u32 % 32);
        j += 1;
    }
    constants
};

/// Eight strings' words, of the state or of a block.
type Words<const N: usize> = [__m256i; N];
/// A block of each of eight strings.
type Blocks = [[u8; BLOCK]; LANES];

/// Whether the processor has what the code here needs.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx2")
}

/// `SM3(prefix || item)` of every item: `out` is `(n, 32)`. To be called only where [`available`].
pub(super) fn fill<'a>(prefix: &[u8], item: impl Fn(usize) -> &'a [u8] + Sync, out: &mut [u8]) {
    let filled = parallel::fill_rows(out, DIGEST, HASH, |first, rows| {
        // SAFETY: the caller has asked `available`.
        unsafe { fill_chunk(prefix, |i| item(first + i), rows.as_chunks_mut().0) };
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(()) = filled;
}

#[target_feature(enable = "avx2")]
fn fill_chunk<'a>(prefix: &[u8], item: impl Fn(usize) -> &'a [u8], out: &mut [[u8; DIGEST]]) {
    let (whole, rest) = prefix.as_chunks::<BLOCK>();
    let mut start = [_mm256_setzero_si256(); 8];
    for (words, initial) in start.iter_mut().zip(INITIAL) {
        *words = _mm256_set1_epi32(initial as i32);
    }
    for block in whole {
        compress(&mut start, &[*block; LANES]);
    }
    let blocks_of = |item: &[u8]| (rest.len() + item.len() + PADDING).div_ceil(BLOCK);
    // Strings of one length are in order already, which the sort finds out in one pass.
    let mut order: Vec<(usize, usize)> = (0..out.len()).map(|i| (blocks_of(item(i)), i)).collect();
    order.sort();
    let mut blocks = [[0; BLOCK]; LANES];
    for same in order.chunk_by(|left, right| left.0 == right.0) {
        for group in same.chunks(LANES) {
            let count = group[0].0;
            // Where fewer than eight are left, the other lanes' blocks are of the group before, and nobody asks for them.
            let mut items: [&[u8]; LANES] = [&[]; LANES];
            for (lane, &(_, i)) in items.iter_mut().zip(group) {
                *lane = item(i);
            }
            let mut state = start;
            for j in 0..count {
                for (block, item) in blocks.iter_mut().zip(&items[..group.len()]) {
                    write_block(rest, item, prefix.len(), j, j + 1 == count, block);
                }
                compress(&mut state, &blocks);
            }
            transpose_big_endian(&mut state);
            for (&(_, i), digest) in group.iter().zip(&state) {
                // SAFETY: a digest is 32 bytes, and the store needs no alignment.
                unsafe { _mm256_storeu_si256(out[i].as_mut_ptr().cast(), *digest) };
            }
        }
    }
    // The strings may be secret.
    blocks.zeroize();
}

/// Block `j` of `rest || item`, padded; `prefix` bytes were hashed before the item.
#[inline]
fn write_block(rest: &[u8], item: &[u8], prefix: usize, j: usize, last: bool, block: &mut [u8; BLOCK]) {
    *block = [0; BLOCK];
    let begin = BLOCK * j;
    // Where the item begins in this block, or how much of it lies before.
    let (at, gone) = if begin < rest.len() { (rest.len(), 0) } else { (0, begin - rest.len()) };
    block[..at].copy_from_slice(&rest[..at]);
    if gone <= item.len() {
        let left = &item[gone..];
        let take = left.len().min(BLOCK - at);
        block[at..at + take].copy_from_slice(&left[..take]);
        if at + take < BLOCK {
            block[at + take] = 0x80;
        }
    }
    if last {
        let bits = 8 * (prefix as u64 + item.len() as u64);
        block[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
    }
}

/// The compression function of eight states and a block of each.
#[target_feature(enable = "avx2")]
fn compress(state: &mut Words<8>, blocks: &Blocks) {
    let mut w = [_mm256_setzero_si256(); 16];
    for (half, words) in w.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        for (row, block) in words.iter_mut().zip(blocks) {
            // SAFETY: half a block is 32 bytes, and the load needs no alignment.
            *row = unsafe { _mm256_loadu_si256(block.as_chunks::<32>().0[half].as_ptr().cast()) };
        }
        transpose_big_endian(words);
    }
    let before = *state;
    sixteen_rounds::<0>(state, &mut w);
    sixteen_rounds::<1>(state, &mut w);
    sixteen_rounds::<2>(state, &mut w);
    sixteen_rounds::<3>(state, &mut w);
    for (word, before) in state.iter_mut().zip(before) {
        *word = _mm256_xor_si256(*word, before);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const LEFT: i32, const RIGHT: i32>(x: __m256i) -> __m256i {
    const { assert!(LEFT + RIGHT == 32) };
    _mm256_or_si256(_mm256_slli_epi32::<LEFT>(x), _mm256_srli_epi32::<RIGHT>(x))
}

/// Left by eight bits, which is one shuffle of bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate_8(x: __m256i) -> __m256i {
    let order = _mm_set_epi8(14, 13, 12, 15, 10, 9, 8, 11, 6, 5, 4, 7, 2, 1, 0, 3);
    _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(order))
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// Rounds `16 * G` to `16 * G + 15`. `w` is the window of the last sixteen words of the message, word `j` at `j % 16`.
#[inline]
#[target_feature(enable = "avx2")]
fn sixteen_rounds<const G: usize>(state: &mut Words<8>, w: &mut Words<16>) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    macro_rules! round {
        ($i:literal, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
            let ahead = ($i + 4) % 16;
            if G > 0 || $i >= 12 {
                // W_{j+4}, over the word that no round needs any more.
                let x = xor3(w[ahead], w[($i + 11) % 16], rotate::<15, 17>(w[($i + 1) % 16]));
                let x15 = rotate::<15, 17>(x);
                let x = xor3(x, x15, rotate_8(x15));
                w[ahead] = xor3(x, rotate::<7, 25>(w[($i + 7) % 16]), w[($i + 14) % 16]);
            }
            let a12 = rotate::<12, 20>($a);
            let constant = _mm256_set1_epi32(ROUND_CONSTANTS[16 * G + $i] as i32);
            let ss1 = rotate::<7, 25>(_mm256_add_epi32(_mm256_add_epi32($e, constant), a12));
            let ss2 = _mm256_xor_si256(ss1, a12);
            let (ff, gg) = if G == 0 {
                (xor3($a, $b, $c), xor3($e, $f, $g))
            } else {
                let both = _mm256_and_si256($a, $b);
                let majority = _mm256_or_si256(both, _mm256_and_si256(_mm256_or_si256($a, $b), $c));
                let choice = _mm256_or_si256(_mm256_and_si256($e, $f), _mm256_andnot_si256($e, $g));
                (majority, choice)
            };
            let dw = _mm256_add_epi32($d, _mm256_xor_si256(w[$i], w[ahead]));
            let hw = _mm256_add_epi32($h, w[$i]);
            $d = _mm256_add_epi32(_mm256_add_epi32(ff, dw), ss2);
            let tt2 = _mm256_add_epi32(_mm256_add_epi32(gg, hw), ss1);
            let tt2_9 = rotate::<9, 23>(tt2);
            $h = xor3(tt2, tt2_9, rotate_8(tt2_9));
            $b = rotate::<9, 23>($b);
            $f = rotate::<19, 13>($f);
        };
    }
    macro_rules! four_rounds {
        ($i:literal $j:literal $k:literal $l:literal) => {
            round!($i, a b c d e f g h);
            round!($j, d a b c h e f g);
            round!($k, c d a b g h e f);
            round!($l, b c d a f g h e);
        };
    }
    four_rounds!(0 1 2 3);
    four_rounds!(4 5 6 7);
    four_rounds!(8 9 10 11);
    four_rounds!(12 13 14 15);
    *state = [a, b, c, d, e, f, g, h];
}

/// The 8 × 8 words with rows and columns exchanged, and the bytes of each word in the other order.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_big_endian(r: &mut Words<8>) {
    let order = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    let order = _mm256_broadcastsi128_si256(order);
    // Four rows become columns 0 and 4, 1 and 5, 2 and 6, 3 and 7, each pair in the halves of a register.
    for rows in r.as_chunks_mut::<4>().0 {
        let [a, b] = [_mm256_unpacklo_epi32(rows[0], rows[1]), _mm256_unpackhi_epi32(rows[0], rows[1])];
        let [c, d] = [_mm256_unpacklo_epi32(rows[2], rows[3]), _mm256_unpackhi_epi32(rows[2], rows[3])];
        *rows = [
            _mm256_unpacklo_epi64(a, c),
            _mm256_unpackhi_epi64(a, c),
            _mm256_unpacklo_epi64(b, d),
            _mm256_unpackhi_epi64(b, d),
        ];
        for row in rows {
            *row = _mm256_shuffle_epi8(*row, order);
        }
    }
    for i in 0..4 {
        let (upper, lower) = (r[i], r[i + 4]);
        r[i] = _mm256_permute2x128_si256::<0x20>(upper, lower);
        r[i + 4] = _mm256_permute2x128_si256::<0x31>(upper, lower);
    }
}
