//! Scalars as signed odd digits, and the choice of a multiple by such a digit, without a trace of the scalar.

use std::ops::Neg;

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::{DefaultIsZeroes, Zeroize};

use super::limbs::{self, Limbs, mask};
use super::scalar::{N, Scalar};

/// Bits of a digit.
pub(super) const WIDTH: usize = 5;
/// How many odd multiples a digit chooses among: 1, 3, … 31.
pub(super) const ENTRIES: usize = 1 << (WIDTH - 1);

/// A scalar k as `±Σ d_i 32^i` with digits d_i that are all odd and from -31 to 31.
///
/// An odd k below 32^m has just one such form of m digits: with `d_i = 2 b_i - 31` the sum is `2 Σ b_i 32^i - (32^m - 1)`, so
/// the b_i are the digits of `(k + 32^m - 1) / 2` in base 32. There is no digit zero, so that no addition has to be left
/// out, and the highest digit is positive.
#[derive(Clone, Copy, Default)]
pub(super) struct Digits {
    /// The number whose digits in base 32 are the b_i.
    words: [u64; 5],
    negated: u64,
}

impl DefaultIsZeroes for Digits {}

impl Digits {
    /// How many digits a scalar has.
    pub const COUNT: usize = 52;
    /// How many digits a blinded scalar has.
    pub const BLINDED: usize = 64;

    /// The digits of a scalar. Of k and n - k one is odd.
    pub fn of(scalar: &Scalar) -> Digits {
        let mut number = scalar.number();
        let (mut opposite, _) = limbs::sub(&N, &number);
        let negated = mask(number[0] & 1 == 0);
        for (word, other) in number.iter_mut().zip(&opposite) {
            *word = u64::conditional_select(word, other, Choice::from((negated & 1) as u8));
        }
        let words = half(&number);
        number.zeroize();
        opposite.zeroize();
        Digits { words: [words[0], words[1], words[2], words[3], 1 << (Self::COUNT * WIDTH - 1 - 256)], negated }
    }

    /// The digits of k + r n for a random r below 2^64, other ones each time: who watches several products by k, say by
    /// the current that they draw, cannot add up what it sees. That r makes the sum odd, so none is negated.
    pub fn blinded(scalar: &Scalar) -> Digits {
        let mut number = scalar.number();
        let mut r = getrandom::u64().expect("the operating system has random numbers");
        r = r & !1 | !number[0] & 1;
        let mut words = [0; 5];
        let mut carry = 0;
        for i in 0..4 {
            (words[i], carry) = limbs::mac(number[i], r, N[i], carry);
        }
        words[4] = carry;
        words = std::array::from_fn(|i| words[i] >> 1 | words.get(i + 1).map_or(0, |next| next << 63));
        words[4] |= 1 << (Self::BLINDED * WIDTH - 1 - 256);
        number.zeroize();
        r.zeroize();
        Digits { words, negated: 0 }
    }

    /// b_i, from 0 to 31.
    #[inline(always)]
    pub fn at(&self, i: usize) -> u64 {
        bits(&self.words, WIDTH * i, WIDTH)
    }

    /// Whether the sum is -k.
    pub fn negated(&self) -> Choice {
        Choice::from((self.negated & 1) as u8)
    }
}

/// `number / 2`, rounded down.
fn half(number: &Limbs) -> Limbs {
    std::array::from_fn(|i| number[i] >> 1 | number.get(i + 1).map_or(0, |next| next << 63))
}

/// `width` bits of a number, from bit `first` on; at most 63.
#[inline(always)]
pub(super) fn bits(words: &[u64], first: usize, width: usize) -> u64 {
    let (word, bit) = (first / 64, first % 64);
    let above = words.get(word + 1).map_or(0, |next| next << 1 << (63 - bit));
    (words[word] >> bit | above) & ((1 << width) - 1)
}

/// All ones where the digit means the negative of a multiple, else zero.
#[inline(always)]
pub(super) fn negative(digit: u64) -> u64 {
    (digit >> (WIDTH - 1)).wrapping_sub(1)
}

/// Which of the odd multiples the digit means.
#[inline(always)]
pub(super) fn index(digit: u64) -> u64 {
    (digit ^ negative(digit)) & (ENTRIES as u64 - 1)
}

/// The multiple that the digit means, out of the odd multiples of a point. All of them are read.
pub(super) fn select<T>(table: &[T; ENTRIES], digit: u64) -> T
where
    T: Copy + ConditionallySelectable + Neg<Output = T>,
{
    let index = index(digit);
    let mut chosen = table[0];
    for (i, entry) in table.iter().enumerate().skip(1) {
        chosen.conditional_assign(entry, index.ct_eq(&(i as u64)));
    }
    T::conditional_select(&chosen, &-chosen, Choice::from((negative(digit) & 1) as u8))
}
