//! The innermost loop of the matrix product on AVX2.
//!
//! With x = x1·2^32 + x0, xy = x0·y0 + (x0·y1 + x1·y0)·2^32 modulo 2^64. `vpmuludq` makes x0·y0; `vpmulld`, on y and x with
//! its halves exchanged, makes both mixed products at once, each modulo 2^32, which is all that counts of them.

use core::arch::x86_64::*;

use super::{MR, NR};

/// What four entries of the product have so far: the low halves' products, and the mixed ones.
type Sums = (__m256i, __m256i);

/// One more term for four entries.
#[inline]
#[target_feature(enable = "avx2")]
fn term((low, mixed): Sums, x: __m256i, turned: __m256i, y: __m256i) -> Sums {
    (_mm256_add_epi64(low, _mm256_mul_epu32(x, y)), _mm256_add_epi32(mixed, _mm256_mullo_epi32(turned, y)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn together((low, mixed): Sums) -> __m256i {
    let both = _mm256_add_epi64(mixed, _mm256_srli_epi64::<32>(mixed));
    _mm256_add_epi64(low, _mm256_slli_epi64::<32>(both))
}

/// `MR` by `NR` sums of products.
#[target_feature(enable = "avx2")]
pub(super) fn kernel(left: &[u64], right: &[u64]) -> [[u64; NR]; MR] {
    const { assert!(MR == 3 && NR == 8) };
    let none = (_mm256_setzero_si256(), _mm256_setzero_si256());
    // Twelve registers of sums, each a variable of its own: as an array they would live in memory.
    let (mut a0, mut a1, mut b0, mut b1, mut c0, mut c1) = (none, none, none, none, none, none);
    for (left, right) in left.as_chunks::<MR>().0.iter().zip(right.as_chunks::<NR>().0) {
        // SAFETY: `right` is eight words, of which each load takes four.
        let y0 = unsafe { _mm256_loadu_si256(right.as_ptr().cast()) };
        // SAFETY: as above.
        let y1 = unsafe { _mm256_loadu_si256(right.as_ptr().add(4).cast()) };
        let x = _mm256_set1_epi64x(left[0] as i64);
        let turned = _mm256_shuffle_epi32::<0b10_11_00_01>(x);
        (a0, a1) = (term(a0, x, turned, y0), term(a1, x, turned, y1));
        let x = _mm256_set1_epi64x(left[1] as i64);
        let turned = _mm256_shuffle_epi32::<0b10_11_00_01>(x);
        (b0, b1) = (term(b0, x, turned, y0), term(b1, x, turned, y1));
        let x = _mm256_set1_epi64x(left[2] as i64);
        let turned = _mm256_shuffle_epi32::<0b10_11_00_01>(x);
        (c0, c1) = (term(c0, x, turned, y0), term(c1, x, turned, y1));
    }
    let mut sums = [[0u64; NR]; MR];
    for (row, pair) in sums.iter_mut().zip([(a0, a1), (b0, b1), (c0, c1)]) {
        // SAFETY: four of the eight words of a row.
        unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), together(pair.0)) };
        // SAFETY: the other four.
        unsafe { _mm256_storeu_si256(row.as_mut_ptr().add(4).cast(), together(pair.1)) };
    }
    sums
}
