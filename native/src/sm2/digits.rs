//! Scalars as signed odd digits, and the choice of a multiple by such a digit, without a trace of the scalar.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroize;

use super::limbs::{self, Limbs, mask};
use super::point::Affine;
use super::scalar::{N, Scalar};

/// Bits of a digit.
pub(super) const WIDTH: usize = 5;
/// How many odd multiples a digit chooses among: 1, 3, … 31.
pub(super) const ENTRIES: usize = 1 << (WIDTH - 1);

/// A scalar k as `±Σ d_i 32^i` with 52 digits d_i, all odd and from -31 to 31.
///
/// An odd k below 2^260 has just one such form: with `d_i = 2 b_i - 31` the sum is `2 Σ b_i 32^i - (2^260 - 1)`, so the b_i
/// are the digits of `(k + 2^260 - 1) / 2` in base 32. Of k and n - k one is odd. There is no digit zero, so that no
/// addition has to be left out, and the highest digit is positive.
pub(super) struct Digits {
    /// The number whose digits in base 32 are the b_i.
    words: [u64; 5],
    negated: u64,
}

impl Zeroize for Digits {
    fn zeroize(&mut self) {
        self.words.zeroize();
        self.negated.zeroize();
    }
}

impl Digits {
    pub const COUNT: usize = 52;

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

/// Which of the odd multiples the digit means, and whether its negative.
#[inline(always)]
pub(super) fn split(digit: u64) -> (u64, Choice) {
    let negative = digit >> (WIDTH - 1) ^ 1;
    let index = (digit ^ mask(negative == 1)) & (ENTRIES as u64 - 1);
    (index, Choice::from(negative as u8))
}

/// The multiple that the digit means, out of the odd multiples of a point. All of them are read.
#[inline(always)]
pub(super) fn select(table: &[Affine; ENTRIES], digit: u64) -> Affine {
    let (index, negative) = split(digit);
    let mut chosen = table[0];
    for (i, entry) in table.iter().enumerate().skip(1) {
        chosen.conditional_assign(entry, index.ct_eq(&(i as u64)));
    }
    chosen.negate_if(negative)
}
