//! The field GF(2^128), on batches of 16-byte elements.
//!
//! Polynomial basis modulo x^128 + x^7 + x^2 + x + 1: the bytes of an element are a little-endian number whose bit `i` is the
//! coefficient of x^i. Addition is exclusive or. Everything here is constant-time: where the processor multiplies
//! without carries the loops in [`clmul`] run, and elsewhere integer multiplications with room between the bits.
//! `--cfg aes_backend="soft"` forces the portable form.

#[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
pub(crate) mod clmul;

use std::convert::Infallible;

use crate::blocks::Block;
use crate::parallel::{self, BLOCKS};

/// x^128 reduced: x^7 + x^2 + x + 1.
const TAIL: u64 = 0x87;

/// Runs the loop of this name in [`clmul`] where the processor has the instructions, and the portable one elsewhere.
macro_rules! dispatch {
    ($name:ident($($argument:expr),*)) => {{
        #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
        if clmul::available() {
            // SAFETY: `available` has checked every feature that the function is compiled for.
            return unsafe { clmul::$name($($argument),*) };
        }
        portable::$name($($argument),*)
    }};
}

/// The product of two elements.
pub fn multiply(a: &Block, b: &Block) -> Block {
    dispatch!(multiply(a, b))
}

/// `out[i] = a[i] · b[i]`.
pub fn mul(a: &[Block], b: &[Block], out: &mut [Block]) {
    fn rows(a: &[Block], b: &[Block], out: &mut [Block]) {
        dispatch!(mul(a, b, out))
    }
    each(out, |first, out| rows(&a[first..first + out.len()], &b[first..first + out.len()], out));
}

/// `out[i] = delta · a[i]`.
pub fn scale(delta: &Block, a: &[Block], out: &mut [Block]) {
    fn rows(delta: &Block, a: &[Block], out: &mut [Block]) {
        dispatch!(scale(delta, a, out))
    }
    each(out, |first, out| rows(delta, &a[first..first + out.len()], out));
}

/// `out[i] ⊕= delta · a[i]`.
pub fn scale_into(delta: &Block, a: &[Block], out: &mut [Block]) {
    fn rows(delta: &Block, a: &[Block], out: &mut [Block]) {
        dispatch!(scale_into(delta, a, out))
    }
    each(out, |first, out| rows(delta, &a[first..first + out.len()], out));
}

/// `Σ a[i] · b[i]`, reduced once.
pub fn inner(a: &[Block], b: &[Block]) -> Block {
    dispatch!(inner(a, b))
}

/// `Σ seed^i · a[i]`, from i = 0.
pub fn polynomial(seed: &Block, a: &[Block]) -> Block {
    dispatch!(polynomial(seed, a))
}

/// `sums[i] ⊕= Σ_j coefficients[j] · x[i]^(j + 1)`, on the calling thread.
pub fn add_powers(coefficients: &[Block], x: &[Block], sums: &mut [Block]) {
    dispatch!(add_powers(coefficients, x, sums))
}

fn each(out: &mut [Block], work: impl Fn(usize, &mut [Block]) + Sync) {
    let Ok(()) = parallel::fill_rows(out, 1, BLOCKS, |first, out| {
        work(first, out);
        Ok::<(), Infallible>(())
    });
}

/// The multiplicative inverse; of zero, zero.
pub fn invert(a: &Block) -> Block {
    // a^(2^128 - 2): the product of a^(2^i) for i = 1 … 127.
    let mut power = multiply(a, a);
    let mut out = power;
    for _ in 2..128 {
        power = multiply(&power, &power);
        out = multiply(&out, &power);
    }
    out
}

/// The same functions for every processor whose integer multiplication takes the same time for all inputs.
pub(crate) mod portable {
    use super::TAIL;
    use crate::blocks::Block;

    /// The low 64 bits of the product of polynomials over GF(2).
    ///
    /// Each operand is cut into four whose bits lie four apart. In a product of two such, up to sixteen ones meet at a
    /// position; only the sixteenth would carry into the next, and that happens at the top, where nothing is kept.
    fn low(a: u64, b: u64) -> u64 {
        const EVERY_FOURTH: u64 = 0x1111_1111_1111_1111;
        let a: [u64; 4] = std::array::from_fn(|i| a & (EVERY_FOURTH << i));
        let b: [u64; 4] = std::array::from_fn(|i| b & (EVERY_FOURTH << i));
        let mut out = 0;
        for i in 0..4 {
            let sum = (0..4).fold(0, |sum, j| sum ^ a[j].wrapping_mul(b[(i + 4 - j) % 4]));
            out |= sum & (EVERY_FOURTH << i);
        }
        out
    }

    /// The whole product: its high half is the low half of the product of the reversed operands, reversed.
    fn carryless(a: u64, b: u64) -> u128 {
        let high = low(a.reverse_bits(), b.reverse_bits()).reverse_bits() >> 1;
        u128::from(high) << 64 | u128::from(low(a, b))
    }

    pub(crate) fn product(a: u128, b: u128) -> u128 {
        let [a0, a1, b0, b1] = [a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64];
        let (outer_low, outer_high) = (carryless(a0, b0), carryless(a1, b1));
        let middle = carryless(a0 ^ a1, b0 ^ b1) ^ outer_low ^ outer_high;
        let (low, high) = (outer_low ^ middle << 64, outer_high ^ middle >> 64);
        let folded = carryless((high >> 64) as u64, TAIL);
        low ^ folded << 64 ^ carryless((high ^ folded >> 64) as u64, TAIL)
    }

    pub(crate) fn multiply(a: &Block, b: &Block) -> Block {
        product(u128::from_le_bytes(*a), u128::from_le_bytes(*b)).to_le_bytes()
    }

    pub(crate) fn mul(a: &[Block], b: &[Block], out: &mut [Block]) {
        for ((a, b), out) in a.iter().zip(b).zip(out) {
            *out = multiply(a, b);
        }
    }

    pub(crate) fn scale(delta: &Block, a: &[Block], out: &mut [Block]) {
        for (a, out) in a.iter().zip(out) {
            *out = multiply(delta, a);
        }
    }

    pub(crate) fn scale_into(delta: &Block, a: &[Block], out: &mut [Block]) {
        for (a, out) in a.iter().zip(out) {
            *out = crate::blocks::xor(out, &multiply(delta, a));
        }
    }

    pub(crate) fn inner(a: &[Block], b: &[Block]) -> Block {
        let number = |block: &Block| u128::from_le_bytes(*block);
        a.iter().zip(b).fold(0, |sum, (a, b)| sum ^ product(number(a), number(b))).to_le_bytes()
    }

    pub(crate) fn add_powers(coefficients: &[Block], x: &[Block], sums: &mut [Block]) {
        for (x, sum) in x.iter().zip(sums) {
            let value = coefficients.iter().rev().fold([0; 16], |value, c| multiply(&crate::blocks::xor(&value, c), x));
            *sum = crate::blocks::xor(sum, &value);
        }
    }

    pub(crate) fn polynomial(seed: &Block, a: &[Block]) -> Block {
        let seed = u128::from_le_bytes(*seed);
        a.iter().rev().fold(0, |sum, a| product(sum, seed) ^ u128::from_le_bytes(*a)).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(n: usize, salt: u128) -> Vec<Block> {
        let mut state = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834 ^ salt;
        let mut next = || {
            state ^= state << 61;
            state ^= state >> 37;
            state = u128::wrapping_mul(state, 0xda94_2042_e4dd_58b5_0000_0000_0000_0001);
            state.to_le_bytes()
        };
        (0..n).map(|_| next()).collect()
    }

    /// Bit by bit, from the definition.
    fn slow(a: &Block, b: &Block) -> Block {
        let (mut a, b) = (u128::from_le_bytes(*a), u128::from_le_bytes(*b));
        let mut out = 0;
        for i in 0..128 {
            out ^= if b >> i & 1 == 1 { a } else { 0 };
            a = a << 1 ^ if a >> 127 == 1 { u128::from(TAIL) } else { 0 };
        }
        out.to_le_bytes()
    }

    #[test]
    fn products_are_those_of_the_definition() {
        let mut a = some(100, 1);
        let mut b = some(100, 2);
        for edge in [0, 1, 2, u128::MAX, 1 << 127, 0x8000_0000_0000_0001, u128::from(u64::MAX)] {
            a.extend([edge.to_le_bytes(); 7]);
            b.extend([0, 1, u128::MAX, 1 << 127, 1 << 64, 0x8000_0000_0000_0001, 3].map(u128::to_le_bytes));
        }
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(multiply(a, b), slow(a, b));
            assert_eq!(portable::multiply(a, b), slow(a, b));
        }
    }

    #[test]
    fn batches_are_the_products_one_by_one() {
        for n in (0..40).chain([1000, BLOCKS.serial + 3]) {
            let (a, b) = (some(n, 3), some(n, 4));
            let delta = some(1, 5)[0];
            let mut out = vec![[0; 16]; n];
            mul(&a, &b, &mut out);
            assert!((0..n).all(|i| out[i] == portable::multiply(&a[i], &b[i])));
            scale(&delta, &a, &mut out);
            assert!((0..n).all(|i| out[i] == portable::multiply(&a[i], &delta)));
            out.copy_from_slice(&b);
            scale_into(&delta, &a, &mut out);
            let mut other = b.clone();
            portable::scale_into(&delta, &a, &mut other);
            assert_eq!(out, other);
            assert_eq!(inner(&a, &b), portable::inner(&a, &b));
            assert_eq!(polynomial(&delta, &a), portable::polynomial(&delta, &a));
            let mut sums = [b.clone(), b.clone()];
            add_powers(&a[..n.min(5)], &a, &mut sums[0]);
            portable::add_powers(&a[..n.min(5)], &a, &mut sums[1]);
            assert_eq!(sums[0], sums[1]);
        }
    }

    #[test]
    fn inverses() {
        let one = 1u128.to_le_bytes();
        for a in some(20, 6).iter().chain([&one, &2u128.to_le_bytes()]) {
            assert_eq!(multiply(a, &invert(a)), one);
        }
        assert_eq!(invert(&[0; 16]), [0; 16]);
    }
}
