//! The cipher on the AES instructions, thirty-two blocks in flight.
//!
//! The S-boxes of SM4 and AES are both the inverse in a field of 256 elements between two affine maps, and all such fields
//! are the same one in other coordinates. So SM4's S-box is AES's between two other affine maps, which change coordinates
//! on the way. A map of a byte is two lookups by shuffle, one for each half of it. `AESENCLAST` with a key of
//! zeros is AES's S-box and a permutation of the bytes, which the next shuffles undo.
//! [Kivilinna 2018, in libgcrypt, found that this pays; the maps here were computed anew.]
//!
//! With VAES the instruction takes two blocks, without it one; everything else is AVX2.

use core::arch::x86_64::*;

use zeroize::Zeroizing;

use super::{BLOCK, RoundKeys};

/// Blocks whose words share registers: word `i` of eight blocks is one register.
const LANES: usize = 8;
/// How many times eight blocks are in flight, so that one set works while others wait. With two the loop waits too.
const SETS: usize = 4;
/// Bytes made at once.
const BATCH: usize = SETS * LANES * BLOCK;

/// Into AES's S-box: `INTO[0][b & 15] ^ INTO[1][b >> 4]` is `f(A(b))`, where A is SM4's affine map and f the isomorphism
/// of the fields that takes x to 0x23.
const INTO: [u128; 2] = [0x9814_a824_1d91_2da1_078b_37bb_820e_b23e, 0x3fe3_11cd_fa26_d408_37eb_19c5_f22e_dc00];
/// Out of it, in the same form: `A(f^-1(G^-1(b)))`, where G is AES's affine map.
const OUT_OF: [u128; 2] = [0x47ff_8d35_79c1_b30b_2098_ea52_1ea6_d46c, 0xed0d_bd5d_7090_20c0_2dcd_7d9d_b050_e000];

/// The order of bytes that undoes `AESENCLAST`'s, and then rotates every word left by 0, 8, 16 and 24 bits.
const UNSHIFTED: [u128; 4] = [
    0x0306_090c_0f02_0508_0b0e_0104_070a_0d00,
    0x0609_0c03_0205_080f_0e01_040b_0a0d_0007,
    0x090c_0306_0508_0f02_0104_0b0e_0d00_070a,
    0x0c03_0609_080f_0205_040b_0e01_0007_0a0d,
];
/// The bytes of every word in the other order.
const BIG_ENDIAN: u128 = 0x0c0d_0e0f_0809_0a0b_0405_0607_0001_0203;

/// Whether the processor has what the code here needs.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("aes") && is_x86_feature_detected!("avx2")
}

/// The S-box of every byte of one word. To be called only where [`available`].
pub(super) fn sub_word(word: u32) -> u32 {
    #[target_feature(enable = "avx2,aes")]
    fn sub_word(word: u32) -> u32 {
        let x = map(OUT_OF, sub_bytes_aes(map(INTO, _mm256_set1_epi32(word as i32))));
        _mm256_cvtsi256_si32(_mm256_shuffle_epi8(x, both_halves(UNSHIFTED[0]))) as u32
    }
    // SAFETY: the caller has asked `available`.
    unsafe { sub_word(word) }
}

/// Counter mode, on this thread. To be called only where [`available`].
pub(super) fn ctr(keys: &RoundKeys, counter: u128, text: &[u8], out: &mut [u8]) {
    let path = if is_x86_feature_detected!("vaes") { vaes::ctr } else { aes::ctr };
    without_carry(counter, text, out, |counter, text, out| {
        // SAFETY: the caller has asked `available`, and VAES was asked for above.
        unsafe { path(keys, counter, text, out) };
    });
}

/// The vector code counts in the low 32 bits alone, so it is stopped where these would carry.
fn without_carry(mut counter: u128, mut text: &[u8], mut out: &mut [u8], run: impl Fn(u128, &[u8], &mut [u8])) {
    while !out.is_empty() {
        let until_carry = (1 << 32) - u64::from(counter as u32);
        let take = usize::try_from(until_carry * BLOCK as u64).map_or(out.len(), |bytes| bytes.min(out.len()));
        let (now, rest) = out.split_at_mut(take);
        run(counter, &text[..take], now);
        counter = counter.wrapping_add(u128::from(until_carry));
        (text, out) = (&text[take..], rest);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn both_halves(value: u128) -> __m256i {
    _mm256_set_epi64x((value >> 64) as i64, value as i64, (value >> 64) as i64, value as i64)
}

/// Every byte through a map whose halves are tables.
#[inline]
#[target_feature(enable = "avx2")]
fn map(tables: [u128; 2], x: __m256i) -> __m256i {
    let half = _mm256_set1_epi8(15);
    let low = _mm256_shuffle_epi8(both_halves(tables[0]), _mm256_and_si256(x, half));
    let high = _mm256_shuffle_epi8(both_halves(tables[1]), _mm256_and_si256(_mm256_srli_epi32::<4>(x), half));
    _mm256_xor_si256(low, high)
}

/// The linear map of a round, `b + (b <<< 2) + (b <<< 10) + (b <<< 18) + (b <<< 24)`, of bytes as `AESENCLAST` left them.
#[inline]
#[target_feature(enable = "avx2")]
fn spread(b: __m256i) -> __m256i {
    let [by_0, by_8, by_16, by_24] = [
        _mm256_shuffle_epi8(b, both_halves(UNSHIFTED[0])),
        _mm256_shuffle_epi8(b, both_halves(UNSHIFTED[1])),
        _mm256_shuffle_epi8(b, both_halves(UNSHIFTED[2])),
        _mm256_shuffle_epi8(b, both_halves(UNSHIFTED[3])),
    ];
    let sum = _mm256_xor_si256(_mm256_xor_si256(by_0, by_8), by_16);
    let by_2 = _mm256_or_si256(_mm256_slli_epi32::<2>(sum), _mm256_srli_epi32::<30>(sum));
    _mm256_xor_si256(_mm256_xor_si256(by_0, by_24), by_2)
}

/// From four words of eight blocks to the blocks, two in a register, the last word first as the cipher gives them out.
#[inline]
#[target_feature(enable = "avx2")]
fn to_blocks(x: &[__m256i; 4]) -> [__m256i; 4] {
    let [a, b] = [_mm256_unpacklo_epi32(x[3], x[2]), _mm256_unpackhi_epi32(x[3], x[2])];
    let [c, d] = [_mm256_unpacklo_epi32(x[1], x[0]), _mm256_unpackhi_epi32(x[1], x[0])];
    let mut blocks = [
        _mm256_unpacklo_epi64(a, c),
        _mm256_unpackhi_epi64(a, c),
        _mm256_unpacklo_epi64(b, d),
        _mm256_unpackhi_epi64(b, d),
    ];
    for pair in &mut blocks {
        *pair = _mm256_shuffle_epi8(*pair, both_halves(BIG_ENDIAN));
    }
    blocks
}

#[inline]
#[target_feature(enable = "avx2,aes,vaes")]
fn sub_bytes_vaes(x: __m256i) -> __m256i {
    _mm256_aesenclast_epi128(x, _mm256_setzero_si256())
}

#[inline]
#[target_feature(enable = "avx2,aes")]
fn sub_bytes_aes(x: __m256i) -> __m256i {
    let zeros = _mm_setzero_si128();
    let low = _mm_aesenclast_si128(_mm256_castsi256_si128(x), zeros);
    let high = _mm_aesenclast_si128(_mm256_extracti128_si256::<1>(x), zeros);
    _mm256_set_m128i(high, low)
}

/// The code that is compiled once for each form of the instruction.
macro_rules! path {
    ($name:ident, $features:literal, $sub_bytes:ident) => {
        mod $name {
            use super::*;

            /// The low 32 bits of the counter must not carry within the text.
            #[target_feature(enable = $features)]
            pub(super) fn ctr(keys: &RoundKeys, mut counter: u128, text: &[u8], out: &mut [u8]) {
                let (batches, rest) = out.as_chunks_mut::<BATCH>();
                let (texts, last) = text.as_chunks::<BATCH>();
                for (text, out) in texts.iter().zip(batches) {
                    add_stream(keys, counter, text, out);
                    counter = counter.wrapping_add((SETS * LANES) as u128);
                }
                if !rest.is_empty() {
                    let mut batch = Zeroizing::new([0; BATCH]);
                    batch[..last.len()].copy_from_slice(last);
                    let padded = batch.clone();
                    add_stream(keys, counter, &padded, &mut batch);
                    rest.copy_from_slice(&batch[..rest.len()]);
                }
            }

            /// Word A of every block gets what words B, C and D and the round's key make.
            #[inline]
            #[target_feature(enable = $features)]
            fn round<const A: usize, const B: usize, const C: usize, const D: usize>(
                x: &mut [[__m256i; 4]; SETS],
                key: u32,
            ) {
                let key = _mm256_set1_epi32(key as i32);
                for x in x {
                    let sum = _mm256_xor_si256(_mm256_xor_si256(x[B], x[C]), _mm256_xor_si256(x[D], key));
                    let b = map(OUT_OF, $sub_bytes(map(INTO, sum)));
                    x[A] = _mm256_xor_si256(x[A], spread(b));
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn add_stream(keys: &RoundKeys, counter: u128, text: &[u8; BATCH], out: &mut [u8; BATCH]) {
                let word = |shift: u32| _mm256_set1_epi32((counter >> shift) as i32);
                // Where `to_blocks` puts the lanes' blocks: in pairs, one from each half of the registers.
                let lanes = _mm256_set_epi32(7, 5, 3, 1, 6, 4, 2, 0);
                let mut x = [[word(96), word(64), word(32), _mm256_add_epi32(word(0), lanes)]; SETS];
                for (set, x) in x.iter_mut().enumerate() {
                    x[3] = _mm256_add_epi32(x[3], _mm256_set1_epi32((LANES * set) as i32));
                }
                for [k, l, m, n] in keys.as_chunks().0 {
                    // Written out: a state whose words are found by a computed index would stay in memory.
                    round::<0, 1, 2, 3>(&mut x, *k);
                    round::<1, 2, 3, 0>(&mut x, *l);
                    round::<2, 3, 0, 1>(&mut x, *m);
                    round::<3, 0, 1, 2>(&mut x, *n);
                }
                let pairs = text.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<32>().0);
                for ((text, out), mask) in pairs.zip(x.iter().flat_map(|x| to_blocks(x))) {
                    // SAFETY: both are 32 bytes, and neither the load nor the store needs alignment.
                    unsafe {
                        let text = _mm256_loadu_si256(text.as_ptr().cast());
                        _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_xor_si256(text, mask));
                    }
                }
            }
        }
    };
}

path!(vaes, "avx2,aes,vaes", sub_bytes_vaes);
path!(aes, "avx2,aes", sub_bytes_aes);

/// Every path that this processor has, for the tests.
#[cfg(test)]
pub(super) fn paths() -> Vec<super::tests::Ctr> {
    let mut paths: Vec<super::tests::Ctr> = Vec::new();
    if available() {
        paths.push(|keys, counter, text, out| {
            // SAFETY: `available` has just been asked.
            without_carry(counter, text, out, |counter, text, out| unsafe { aes::ctr(keys, counter, text, out) });
        });
        paths.push(ctr);
    }
    paths
}
