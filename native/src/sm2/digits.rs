//! Scalars as signed odd digits, and the choice of a multiple by such a digit, without a trace of the scalar.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::{DefaultIsZeroes, Zeroize};

use super::limbs::{self, Limbs, mask};
use super::point::Affine;
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
    #[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
    if avx2::available() {
        // SAFETY: the processor has the instructions.
        return unsafe { avx2::entry(table, index) }.negate_if(negative);
    }
    entry(table, index).negate_if(negative)
}

fn entry(table: &[Affine; ENTRIES], index: u64) -> Affine {
    let mut chosen = table[0];
    for (i, entry) in table.iter().enumerate().skip(1) {
        chosen.conditional_assign(entry, index.ct_eq(&(i as u64)));
    }
    chosen
}

/// The same scan, four words at a time.
#[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_cmpeq_epi64, _mm256_loadu_si256, _mm256_or_si256,
        _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_storeu_si256,
    };

    use super::{Affine, ENTRIES};

    #[inline(always)]
    pub fn available() -> bool {
        is_x86_feature_detected!("avx2")
    }

    #[target_feature(enable = "avx2")]
    pub fn entry(table: &[Affine; ENTRIES], index: u64) -> Affine {
        const { assert!(size_of::<Affine>() == 64) };
        let wanted = _mm256_set1_epi64x(index as i64);
        let [mut position, mut x, mut y] = [_mm256_setzero_si256(); 3];
        for entry in table {
            let this = _mm256_cmpeq_epi64(position, wanted);
            let halves: *const __m256i = std::ptr::from_ref(entry).cast();
            // SAFETY: an entry is 64 bytes, read as two halves; no alignment is asked for.
            let [first, second] = unsafe { [_mm256_loadu_si256(halves), _mm256_loadu_si256(halves.add(1))] };
            x = _mm256_or_si256(x, _mm256_and_si256(this, first));
            y = _mm256_or_si256(y, _mm256_and_si256(this, second));
            position = _mm256_add_epi64(position, _mm256_set1_epi64x(1));
        }
        let mut chosen = Affine::default();
        let halves: *mut __m256i = std::ptr::from_mut(&mut chosen).cast();
        // SAFETY: as above; the words of a point may be of any value. Both structures are `repr(C)`.
        unsafe {
            _mm256_storeu_si256(halves, x);
            _mm256_storeu_si256(halves.add(1), y);
        }
        chosen
    }
}
