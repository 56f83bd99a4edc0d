//! Eight numbers of 32 bits in a register of AVX2.

use core::arch::x86_64::*;

use super::{BLOCK_VALUES, Eight, Ntt, Polynomials, RANK, Set, Values, Vector};

/// A register. Used by functions that are compiled for AVX2 alone, into which everything here is inlined.
#[derive(Clone, Copy)]
struct Register(__m256i);

/// The numbers of odd lanes, each in the low half of 64 bits.
#[inline(always)]
fn odd(x: __m256i) -> __m256i {
    // SAFETY: as for all of `Register`.
    unsafe { _mm256_srli_epi64::<32>(x) }
}

/// The high halves of the products of even lanes and of odd ones, in their places.
#[inline(always)]
fn highs(even: __m256i, odds: __m256i) -> __m256i {
    // SAFETY: as for all of `Register`.
    unsafe { _mm256_blend_epi32::<0b1010_1010>(odd(even), odds) }
}

// SAFETY, of every block below: these methods are called by `forward` and `multiply` alone, which are compiled for AVX2 and
// called where the processor has it. Loads and stores are of the 32 bytes of an `Eight`, and need no alignment.
impl Vector for Register {
    #[inline(always)]
    fn load(from: &Eight) -> Self {
        Self(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, to: &mut Eight) {
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn splat(x: u32) -> Self {
        Self(unsafe { _mm256_set1_epi32(x as i32) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(unsafe { _mm256_sub_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        Self(unsafe { _mm256_mullo_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn least(self, other: Self) -> Self {
        Self(unsafe { _mm256_min_epu32(self.0, other.0) })
    }

    #[inline(always)]
    fn above(self, other: Self) -> Self {
        Self(unsafe { _mm256_cmpgt_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn high(self, factor: Self) -> Self {
        // The factor is the same in all lanes.
        Self(unsafe { highs(_mm256_mul_epu32(self.0, factor.0), _mm256_mul_epu32(odd(self.0), factor.0)) })
    }

    #[inline(always)]
    fn inner(a: [Self; RANK], s: [Self; RANK], p: Self, minus_inverse: Self) -> Self {
        unsafe {
            let mut sums = [_mm256_mul_epu32(a[0].0, s[0].0), _mm256_mul_epu32(odd(a[0].0), odd(s[0].0))];
            for j in 1..RANK {
                sums[0] = _mm256_add_epi64(sums[0], _mm256_mul_epu32(a[j].0, s[j].0));
                sums[1] = _mm256_add_epi64(sums[1], _mm256_mul_epu32(odd(a[j].0), odd(s[j].0)));
            }
            for sum in &mut sums {
                let multiple = _mm256_mul_epu32(_mm256_mul_epu32(*sum, minus_inverse.0), p.0);
                *sum = _mm256_add_epi64(*sum, multiple);
            }
            Self(highs(sums[0], sums[1]))
        }
    }
}

#[target_feature(enable = "avx2")]
fn forward(ntt: &Ntt, x: &mut Polynomials) {
    ntt.forward::<Register>(x);
}

#[target_feature(enable = "avx2")]
fn multiply(set: &Set, blocks: &[&Values], secrets: &[Eight; BLOCK_VALUES], x: &mut [Polynomials]) {
    set.product::<Register>(blocks, secrets, x);
}

/// As its namesake, where the processor has AVX2; false where it has not, and nothing was done.
pub(super) fn to_values(ntt: &Ntt, x: &mut Polynomials) -> bool {
    let here = is_x86_feature_detected!("avx2");
    if here {
        // SAFETY: the feature was detected.
        unsafe { forward(ntt, x) }
    }
    here
}

/// As its namesake, where the processor has AVX2; false where it has not, and nothing was done.
pub(super) fn product(set: &Set, blocks: &[&Values], secrets: &[Eight; BLOCK_VALUES], x: &mut [Polynomials]) -> bool {
    let here = is_x86_feature_detected!("avx2");
    if here {
        // SAFETY: the feature was detected.
        unsafe { multiply(set, blocks, secrets, x) }
    }
    here
}
