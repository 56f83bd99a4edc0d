//! GF(2^128) on the instructions that multiply without carries.

use core::arch::x86_64::*;

use super::TAIL;
use crate::blocks::Block;

/// Whether the processor has what the code here needs.
#[inline]
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("sse2")
}

/// A product, or a sum of products, that is not reduced yet: `low + middle · x^64 + high · x^128`.
#[derive(Clone, Copy)]
pub(crate) struct Wide {
    low: __m128i,
    middle: __m128i,
    high: __m128i,
}

impl Wide {
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse2")]
    pub(crate) fn zero() -> Self {
        let zero = _mm_setzero_si128();
        Self { low: zero, middle: zero, high: zero }
    }

    /// Adds `a · b`.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse2")]
    pub(crate) fn add_product(&mut self, a: __m128i, b: __m128i) {
        self.low = _mm_xor_si128(self.low, _mm_clmulepi64_si128::<0x00>(a, b));
        self.high = _mm_xor_si128(self.high, _mm_clmulepi64_si128::<0x11>(a, b));
        let cross = _mm_xor_si128(_mm_clmulepi64_si128::<0x01>(a, b), _mm_clmulepi64_si128::<0x10>(a, b));
        self.middle = _mm_xor_si128(self.middle, cross);
    }

    /// The remainder modulo x^128 + x^7 + x^2 + x + 1.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse2")]
    pub(crate) fn reduce(self) -> __m128i {
        let tail = _mm_set_epi64x(0, TAIL as i64);
        let low = _mm_xor_si128(self.low, _mm_slli_si128::<8>(self.middle));
        let high = _mm_xor_si128(self.high, _mm_srli_si128::<8>(self.middle));
        // The top 64 bits fold to x^64 … x^134; what of that is beyond x^127 joins the rest, which folds below x^71.
        let top = _mm_clmulepi64_si128::<0x01>(high, tail);
        let low = _mm_xor_si128(low, _mm_slli_si128::<8>(top));
        let rest = _mm_xor_si128(high, _mm_srli_si128::<8>(top));
        _mm_xor_si128(low, _mm_clmulepi64_si128::<0x00>(rest, tail))
    }
}

/// The product of two elements in registers.
#[inline]
#[target_feature(enable = "pclmulqdq,sse2")]
pub(crate) fn product(a: __m128i, b: __m128i) -> __m128i {
    let mut wide = Wide::zero();
    wide.add_product(a, b);
    wide.reduce()
}

/// A block in a register.
#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn load(block: &Block) -> __m128i {
    // SAFETY: a block is 16 bytes, and the load needs no alignment.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

/// A register to a block.
#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn store(value: __m128i, block: &mut Block) {
    // SAFETY: a block is 16 bytes, and the store needs no alignment.
    unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), value) }
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn multiply(a: &Block, b: &Block) -> Block {
    let mut out = [0; 16];
    store(product(load(a), load(b)), &mut out);
    out
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn mul(a: &[Block], b: &[Block], out: &mut [Block]) {
    for ((a, b), out) in a.iter().zip(b).zip(out) {
        store(product(load(a), load(b)), out);
    }
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn scale(delta: &Block, a: &[Block], out: &mut [Block]) {
    let delta = load(delta);
    for (a, out) in a.iter().zip(out) {
        store(product(delta, load(a)), out);
    }
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn scale_into(delta: &Block, a: &[Block], out: &mut [Block]) {
    let delta = load(delta);
    for (a, out) in a.iter().zip(out) {
        store(_mm_xor_si128(load(out), product(delta, load(a))), out);
    }
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn inner(a: &[Block], b: &[Block]) -> Block {
    let mut sum = Wide::zero();
    for (a, b) in a.iter().zip(b) {
        sum.add_product(load(a), load(b));
    }
    let mut out = [0; 16];
    store(sum.reduce(), &mut out);
    out
}

/// Coefficients that are multiplied by stored powers before the sum is reduced and moved on.
const STEP: usize = 16;

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn polynomial(seed: &Block, a: &[Block]) -> Block {
    let seed = load(seed);
    let mut powers = [_mm_set_epi64x(0, 1); STEP];
    for i in 1..STEP {
        powers[i] = product(powers[i - 1], seed);
    }
    let step = product(powers[STEP - 1], seed);
    let mut sum = _mm_setzero_si128();
    for chunk in a.chunks(STEP).rev() {
        let mut wide = Wide::zero();
        wide.add_product(sum, step);
        for (a, power) in chunk.iter().zip(powers) {
            wide.add_product(load(a), power);
        }
        sum = wide.reduce();
    }
    let mut out = [0; 16];
    store(sum, &mut out);
    out
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn add_powers(coefficients: &[Block], x: &[Block], sums: &mut [Block]) {
    for (x, sum) in x.iter().zip(sums) {
        let x = load(x);
        let mut value = _mm_setzero_si128();
        for c in coefficients.iter().rev() {
            value = product(_mm_xor_si128(value, load(c)), x);
        }
        store(_mm_xor_si128(load(sum), value), sum);
    }
}
