//! GF(2^128) on the instructions that multiply without carries: one block to a register, or two where the processor can.

use core::arch::x86_64::*;

use super::TAIL;
use crate::blocks::Block;

/// Whether the processor has what [`one`] needs.
#[inline]
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("sse2")
}

/// Whether the processor has what [`two`] needs.
#[inline]
fn two_available() -> bool {
    is_x86_feature_detected!("vpclmulqdq") && is_x86_feature_detected!("avx2")
}

/// The arithmetic and the loops for one width of register.
macro_rules! of_width {
    (
        $features:literal, $register:ty, $blocks:literal, $load:ident, $store:ident, $zero:ident, $xor:ident,
        $multiply:ident, $left:ident, $right:ident, $repeat:expr
    ) => {
        use super::*;

        /// Products, or sums of products, that are not reduced yet: `low + middle · x^64 + high · x^128`.
        #[derive(Clone, Copy)]
        pub(super) struct Wide {
            low: $register,
            middle: $register,
            high: $register,
        }

        impl Wide {
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn zero() -> Self {
                Self { low: $zero(), middle: $zero(), high: $zero() }
            }

            /// Adds `a · b`.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn add_product(&mut self, a: $register, b: $register) {
                self.low = $xor(self.low, $multiply::<0x00>(a, b));
                self.high = $xor(self.high, $multiply::<0x11>(a, b));
                self.middle = $xor(self.middle, $xor($multiply::<0x01>(a, b), $multiply::<0x10>(a, b)));
            }

            /// The remainder modulo x^128 + x^7 + x^2 + x + 1.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn reduce(self) -> $register {
                let tail = repeat(_mm_set_epi64x(0, TAIL as i64));
                let low = $xor(self.low, $left::<8>(self.middle));
                let high = $xor(self.high, $right::<8>(self.middle));
                // The top 64 bits fold to x^64 … x^134; what of that is beyond x^127 joins the rest, which folds below x^71.
                let top = $multiply::<0x01>(high, tail);
                let rest = $xor(high, $right::<8>(top));
                $xor($xor(low, $left::<8>(top)), $multiply::<0x00>(rest, tail))
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn repeat(value: __m128i) -> $register {
            $repeat(value)
        }

        #[inline]
        #[target_feature(enable = $features)]
        pub(super) fn product(a: $register, b: $register) -> $register {
            let mut wide = Wide::zero();
            wide.add_product(a, b);
            wide.reduce()
        }

        #[inline]
        #[target_feature(enable = $features)]
        pub(super) fn load(blocks: &[Block; $blocks]) -> $register {
            // SAFETY: so many blocks are as long as the register, and the load needs no alignment.
            unsafe { $load(blocks.as_ptr().cast()) }
        }

        #[inline]
        #[target_feature(enable = $features)]
        pub(super) fn store(value: $register, blocks: &mut [Block; $blocks]) {
            // SAFETY: so many blocks are as long as the register, and the store needs no alignment.
            unsafe { $store(blocks.as_mut_ptr().cast(), value) }
        }

        /// These take the rows that fill registers, and return how many they have taken.
        #[target_feature(enable = $features)]
        pub(super) fn mul(a: &[Block], b: &[Block], out: &mut [Block]) -> usize {
            for ((a, b), out) in a.as_chunks().0.iter().zip(b.as_chunks().0).zip(out.as_chunks_mut().0) {
                store(product(load(a), load(b)), out);
            }
            a.len() / $blocks * $blocks
        }

        #[target_feature(enable = $features)]
        pub(super) fn scale(delta: &Block, a: &[Block], out: &mut [Block]) -> usize {
            let delta = repeat(one::load(std::array::from_ref(delta)));
            for (a, out) in a.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                store(product(delta, load(a)), out);
            }
            a.len() / $blocks * $blocks
        }

        #[target_feature(enable = $features)]
        pub(super) fn scale_into(delta: &Block, a: &[Block], out: &mut [Block]) -> usize {
            let delta = repeat(one::load(std::array::from_ref(delta)));
            for (a, out) in a.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                store($xor(load(out), product(delta, load(a))), out);
            }
            a.len() / $blocks * $blocks
        }

        #[target_feature(enable = $features)]
        pub(super) fn add_powers(coefficients: &[Block], x: &[Block], sums: &mut [Block]) -> usize {
            for (x, sum) in x.as_chunks().0.iter().zip(sums.as_chunks_mut().0) {
                let x = load(x);
                let mut value = $zero();
                for c in coefficients.iter().rev() {
                    value = product($xor(value, repeat(one::load(std::array::from_ref(c)))), x);
                }
                store($xor(load(sum), value), sum);
            }
            x.len() / $blocks * $blocks
        }
    };
}

mod one {
    of_width!(
        "pclmulqdq,sse2",
        __m128i,
        1,
        _mm_loadu_si128,
        _mm_storeu_si128,
        _mm_setzero_si128,
        _mm_xor_si128,
        _mm_clmulepi64_si128,
        _mm_slli_si128,
        _mm_srli_si128,
        |value| value
    );
}

mod two {
    of_width!(
        "vpclmulqdq,pclmulqdq,avx2",
        __m256i,
        2,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_setzero_si256,
        _mm256_xor_si256,
        _mm256_clmulepi64_epi128,
        _mm256_slli_si256,
        _mm256_srli_si256,
        _mm256_broadcastsi128_si256
    );
}

/// Runs a loop on two blocks a register where the processor can, and on one for what is left.
macro_rules! widest {
    ($name:ident($first:expr, $($rows:ident),+; $out:ident)) => {{
        let mut done = 0;
        if two_available() {
            // SAFETY: `two_available` has checked every feature.
            done = unsafe { two::$name($first, $($rows,)+ $out) };
        }
        one::$name($first, $(&$rows[done..],)+ &mut $out[done..]);
    }};
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn multiply(a: &Block, b: &Block) -> Block {
    let mut out = [[0; 16]];
    one::mul(std::array::from_ref(a), std::array::from_ref(b), &mut out);
    out[0]
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn mul(a: &[Block], b: &[Block], out: &mut [Block]) {
    let mut done = 0;
    if two_available() {
        // SAFETY: `two_available` has checked every feature.
        done = unsafe { two::mul(a, b, out) };
    }
    one::mul(&a[done..], &b[done..], &mut out[done..]);
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn scale(delta: &Block, a: &[Block], out: &mut [Block]) {
    widest!(scale(delta, a; out));
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn scale_into(delta: &Block, a: &[Block], out: &mut [Block]) {
    widest!(scale_into(delta, a; out));
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn add_powers(coefficients: &[Block], x: &[Block], sums: &mut [Block]) {
    widest!(add_powers(coefficients, x; sums));
}

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn inner(a: &[Block], b: &[Block]) -> Block {
    let mut sum = one::Wide::zero();
    for (a, b) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
        sum.add_product(one::load(a), one::load(b));
    }
    let mut out = [[0; 16]];
    one::store(sum.reduce(), &mut out);
    out[0]
}

/// Coefficients that are multiplied by stored powers before the sum is reduced and moved on.
const STEP: usize = 16;

#[target_feature(enable = "pclmulqdq,sse2")]
pub(super) fn polynomial(seed: &Block, a: &[Block]) -> Block {
    let seed = one::load(std::array::from_ref(seed));
    let mut powers = [_mm_set_epi64x(0, 1); STEP];
    for i in 1..STEP {
        powers[i] = one::product(powers[i - 1], seed);
    }
    let step = one::product(powers[STEP - 1], seed);
    let mut sum = _mm_setzero_si128();
    for chunk in a.chunks(STEP).rev() {
        let mut wide = one::Wide::zero();
        wide.add_product(sum, step);
        for (a, power) in chunk.iter().zip(powers) {
            wide.add_product(one::load(std::array::from_ref(a)), power);
        }
        sum = wide.reduce();
    }
    let mut out = [[0; 16]];
    one::store(sum, &mut out);
    out[0]
}
