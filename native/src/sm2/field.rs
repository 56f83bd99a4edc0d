//! The field of SM2's curve, modulo p = 2^256 - 2^224 - 2^96 + 2^64 - 1, in Montgomery's form.

#[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
mod adx;

use std::ops::{Add, Mul, Neg, Sub};

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::DefaultIsZeroes;

use super::limbs::{self, Limbs, adc, mac, sbb};

/// The order of the field.
pub(super) const P: Limbs =
    [0xffff_ffff_ffff_ffff, 0xffff_ffff_0000_0000, 0xffff_ffff_ffff_ffff, 0xffff_fffe_ffff_ffff];
/// 2^512 modulo p.
const R2: Limbs = [0x0000_0002_0000_0003, 0x0000_0002_ffff_ffff, 0x0000_0001_0000_0001, 0x0000_0004_0000_0002];
/// 2^768 modulo p.
const R3: Limbs = [0x0000_0012_0000_0016, 0x0000_000e_ffff_fff8, 0x0000_000a_0000_000c, 0x0000_001b_0000_0009];

/// An element of the field: the least residue of 2^256 times it.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub(super) struct Fe(Limbs);

impl DefaultIsZeroes for Fe {}

impl Fe {
    pub const ZERO: Fe = Fe([0; 4]);
    pub const ONE: Fe = Fe::new([1, 0, 0, 0]);

    /// The element of a number below p.
    pub const fn new(number: Limbs) -> Fe {
        Fe(multiply_portable(&number, &R2))
    }

    /// The element of 32 big-endian bytes; none where they are not below p.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Fe> {
        let number = limbs::from_be_bytes(bytes);
        limbs::below(&number, &P).then(|| Fe::new(number))
    }

    /// The residue of 48 big-endian bytes.
    pub fn from_uniform(bytes: &[u8; 48]) -> Fe {
        let (low, high) = limbs::from_be_48(bytes);
        // The low part may be above p: Montgomery's product takes that, for R2 is below p.
        Fe(multiply(&low, &R2)) + Fe(multiply(&high, &R3))
    }

    /// The residue of 2^256 times the element, which is how it is held.
    #[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
    pub fn montgomery(&self) -> Limbs {
        self.0
    }

    /// The element that is held as `number + carry * 2^256`, below 2 p.
    #[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
    pub fn from_montgomery(number: Limbs, carry: bool) -> Fe {
        Fe(limbs::reduce_once(&number, carry, &P))
    }

    /// The least residue.
    fn number(&self) -> Limbs {
        multiply(&self.0, &[1, 0, 0, 0])
    }

    /// 32 big-endian bytes.
    pub fn write(&self, out: &mut [u8; 32]) {
        limbs::to_be_bytes(&self.number(), out);
    }

    /// 32 big-endian bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        self.write(&mut out);
        out
    }

    /// Whether the least residue is odd: `sgn0` of RFC 9380, and the bit that a compressed point carries.
    pub fn is_odd(&self) -> Choice {
        Choice::from((self.number()[0] & 1) as u8)
    }

    #[inline(always)]
    pub fn is_zero(&self) -> Choice {
        self.ct_eq(&Fe::ZERO)
    }

    #[inline(always)]
    pub fn square(&self) -> Fe {
        Fe(square(&self.0))
    }

    #[inline(always)]
    pub fn double(&self) -> Fe {
        *self + *self
    }

    #[inline(always)]
    pub fn triple(&self) -> Fe {
        self.double() + *self
    }

    /// Squared `count` times.
    #[inline]
    fn squared(mut self, count: usize) -> Fe {
        for _ in 0..count {
            self = self.square();
        }
        self
    }

    /// To the power (p - 3) / 4, whose bits are 31 ones, a zero, 128 ones, 32 zeros, and 62 ones.
    pub fn pow_p34(&self) -> Fe {
        // `e31` is this to the power 2^31 - 1, and so on.
        let e2 = self.squared(1) * *self;
        let e3 = e2.squared(1) * *self;
        let e6 = e3.squared(3) * e3;
        let e12 = e6.squared(6) * e6;
        let e15 = e12.squared(3) * e3;
        let e30 = e15.squared(15) * e15;
        let e31 = e30.squared(1) * *self;
        let e32 = e31.squared(1) * *self;
        let mut power = e31.squared(33) * e32;
        for _ in 0..3 {
            power = power.squared(32) * e32;
        }
        (power.squared(63) * e31).squared(31) * e31
    }

    /// The inverse; zero for zero.
    pub fn invert(&self) -> Fe {
        self.pow_p34().squared(2) * *self
    }

    /// A square root, and whether there is one.
    pub fn sqrt(&self) -> (Fe, Choice) {
        let root = self.pow_p34() * *self;
        (root, root.square().ct_eq(self))
    }

    #[inline(always)]
    pub fn negate_if(&self, condition: Choice) -> Fe {
        Fe::conditional_select(self, &-*self, condition)
    }
}

impl Add for Fe {
    type Output = Fe;

    #[inline(always)]
    fn add(self, other: Fe) -> Fe {
        Fe(limbs::add_mod(&self.0, &other.0, &P))
    }
}

impl Sub for Fe {
    type Output = Fe;

    #[inline(always)]
    fn sub(self, other: Fe) -> Fe {
        Fe(limbs::sub_mod(&self.0, &other.0, &P))
    }
}

impl Neg for Fe {
    type Output = Fe;

    #[inline(always)]
    fn neg(self) -> Fe {
        Fe::ZERO - self
    }
}

impl Mul for Fe {
    type Output = Fe;

    #[inline(always)]
    fn mul(self, other: Fe) -> Fe {
        Fe(multiply(&self.0, &other.0))
    }
}

impl ConstantTimeEq for Fe {
    #[inline(always)]
    fn ct_eq(&self, other: &Fe) -> Choice {
        let differs = (0..4).fold(0, |bits, i| bits | self.0[i] ^ other.0[i]);
        differs.ct_eq(&0)
    }
}

impl ConditionallySelectable for Fe {
    #[inline(always)]
    fn conditional_select(a: &Fe, b: &Fe, choice: Choice) -> Fe {
        Fe(std::array::from_fn(|i| u64::conditional_select(&a.0[i], &b.0[i], choice)))
    }
}

/// Replaces every element by its inverse, with one inversion for all (Montgomery). Zero stays zero.
pub(super) fn invert_all(values: &mut [Fe]) {
    let one_for_zero = |value: &Fe| Fe::conditional_select(value, &Fe::ONE, value.is_zero());
    let mut before = Vec::with_capacity(values.len());
    let mut product = Fe::ONE;
    for value in values.iter() {
        before.push(product);
        product = product * one_for_zero(value);
    }
    let mut inverse = product.invert();
    for (value, before) in values.iter_mut().zip(&before).rev() {
        let factor = one_for_zero(value);
        *value = Fe::conditional_select(&(inverse * *before), &Fe::ZERO, value.is_zero());
        inverse = inverse * factor;
    }
    zeroize::Zeroize::zeroize(&mut before);
}

/// Montgomery's product of any number below 2^256 and one below p.
#[inline(always)]
fn multiply(a: &Limbs, b: &Limbs) -> Limbs {
    #[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
    if adx::available() {
        // SAFETY: the processor has the instructions.
        return unsafe { adx::multiply(a, b) };
    }
    multiply_portable(a, b)
}

#[inline(always)]
fn square(a: &Limbs) -> Limbs {
    #[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
    if adx::available() {
        // SAFETY: the processor has the instructions.
        return unsafe { adx::square(a) };
    }
    multiply_portable(a, a)
}

/// Montgomery's product. As p is -1 modulo 2^64, the multiple of p that clears the lowest word is that word itself, and
/// `m * p = m * 2^256 - m * 2^224 - m * 2^96 + m * 2^64 - m` needs no multiplication.
#[inline(always)]
const fn multiply_portable(a: &Limbs, b: &Limbs) -> Limbs {
    let mut t = [0; 4];
    let mut top = false; // the 257th bit of t
    let mut i = 0;
    while i < 4 {
        let (m, c) = mac(t[0], a[0], b[i], 0);
        let (t1, c) = mac(t[1], a[1], b[i], c);
        let (t2, c) = mac(t[2], a[2], b[i], c);
        let (t3, c) = mac(t[3], a[3], b[i], c);
        let (t4, t5) = adc(c, top as u64, false);
        let [low, high] = [m << 32, m >> 32];
        let (t1, borrow) = sbb(t1, low, false);
        let (t2, borrow) = sbb(t2, high, borrow);
        let (t3, borrow) = sbb(t3, low, borrow);
        let (m3, _) = sbb(m, high, borrow);
        let (r0, c) = adc(t1, m, false);
        let (r1, c) = adc(t2, 0, c);
        let (r2, c) = adc(t3, 0, c);
        let (r3, c) = adc(t4, m3, c);
        t = [r0, r1, r2, r3];
        top = t5 | c;
        i += 1;
    }
    limbs::reduce_once(&t, top, &P)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_agree() {
        let mut state = 1u64;
        let mut word = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            // Long runs of equal bits reach the carries.
            match state >> 61 {
                0 => 0,
                1 => u64::MAX,
                2 => u64::MAX << (state >> 40 & 63),
                3 => u64::MAX >> (state >> 40 & 63),
                _ => state ^ state >> 31,
            }
        };
        let p1 = limbs::sub(&P, &[1, 0, 0, 0]).0;
        let mut numbers = vec![[0; 4], [1, 0, 0, 0], p1, [u64::MAX; 4]];
        numbers.extend((0..2000).map(|_| [word(), word(), word(), word()]));
        for a in &numbers {
            for b in [&numbers[2], &numbers[1], a] {
                if limbs::below(b, &P) {
                    assert_eq!(multiply(a, b), limbs::mul_mod(a, b, &P, 1), "{a:x?} {b:x?}");
                    assert_eq!(multiply_portable(a, b), limbs::mul_mod(a, b, &P, 1));
                }
            }
            if limbs::below(a, &P) {
                assert_eq!(square(a), limbs::mul_mod(a, a, &P, 1));
            }
        }
        for pair in numbers.windows(2).filter(|pair| limbs::below(&pair[1], &P)) {
            assert_eq!(multiply(&pair[0], &pair[1]), limbs::mul_mod(&pair[0], &pair[1], &P, 1));
        }
    }
}
