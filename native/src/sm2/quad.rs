//! Four elements of the field side by side, for AVX2.
//!
//! An element is Σ l_i 2^(29 i) in nine limbs, each in a word of 64 bits so that sums of products fit, and stands for 2^261
//! times what is meant (Montgomery). Limbs may run over 29 bits and elements over p; the comments say how far:
//!
//! - *tidy*: limbs at most 2^29 + 2^5, value below 2 p. What [`Quad::mul`], [`Quad::square`] and [`Quad::sub`] give.
//! - Factors of a product: the limbs of one times those of the other at most 2^60.7, and the values at most 32 p^2.
//!
//! The loops are loops, and no closures: what a library function calls is not compiled for the processor's features.
//!
//! Nine products below 2^60.7 and what the reduction adds, below 2^54, stay below 2^64.

#![expect(clippy::needless_range_loop, reason = "three arrays at once, and see above")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_blendv_epi8, _mm256_cmpeq_epi64, _mm256_loadu_si256,
    _mm256_mul_epu32, _mm256_or_si256, _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_slli_epi64, _mm256_srli_epi64,
    _mm256_storeu_si256, _mm256_sub_epi64,
};
use std::array::from_fn;

use zeroize::DefaultIsZeroes;

use super::field::Fe;
use super::limbs;

/// How many elements there are.
pub(super) const WIDTH: usize = 4;
/// Running products that do not wait for each other.
pub(super) const CHAINS: usize = 2;
/// Limbs of an element.
const LIMBS: usize = 9;
/// Bits of a limb.
const BITS: i32 = 29;

pub(super) use Quad as Element;

/// Four elements.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Quad([__m256i; LIMBS]);

impl Default for Quad {
    fn default() -> Quad {
        // SAFETY: zeros are a value of every integer vector.
        unsafe { std::mem::zeroed() }
    }
}

impl DefaultIsZeroes for Quad {}

/// -3.
const MINUS_THREE: [i64; LIMBS] =
    [0x1fff_ff9f, 0x1fff_ffff, 0x183f, 0x1fff_3e00, 0x1fff_ffff, 0x1fff_ffff, 0x1fff_ffff, 0x13df_ffff, 0xff_ffff];
/// 2^266 modulo p: brings 2^256 x, which [`Fe`] holds, to 2^261 x.
const FROM_FE: [i64; LIMBS] = [0x400, 0, 0x1fff_0000, 0x7_ffff, 0, 0, 0, 0, 4];
/// 2^256 modulo p: brings 2^261 x to 2^256 x.
const TO_FE: [i64; LIMBS] = [1, 0, 0x1fff_ffc0, 0x1ff, 0, 0, 0, 0x20_0000, 0];
/// 8 p, with every limb but the highest from 2^29 + 2^6 to 2^30 + 2^6: more than those of a tidy element.
const EIGHT_P: [i64; LIMBS] = [
    0x3fff_fff8,
    0x3fff_fffe,
    0x2000_01fe,
    0x3fff_efff,
    0x3fff_fffe,
    0x3fff_fffe,
    0x3fff_fffe,
    0x3eff_fffe,
    0x7ff_fffe,
];
/// 16 p, with every limb but the highest above 2^31 + 2^13.
const SIXTEEN_P: [i64; LIMBS] = [
    0x9fff_fff0,
    0x9fff_fffb,
    0xa000_03fb,
    0x9fff_dffb,
    0x9fff_fffb,
    0x9fff_fffb,
    0x9fff_fffb,
    0x9dff_fffb,
    0xfff_fffb,
];

impl Quad {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn constant(limbs: [i64; LIMBS]) -> Quad {
        let mut constant = Quad::default();
        for i in 0..LIMBS {
            constant.0[i] = _mm256_set1_epi64x(limbs[i]);
        }
        constant
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn load(elements: [Fe; WIDTH]) -> Quad {
        let elements = elements.map(|element| element.montgomery());
        let mut raw = Quad::default();
        for (i, limb) in raw.0.iter_mut().enumerate() {
            let row = elements.map(|element| bits(&element, BITS as usize * i));
            // SAFETY: a row has 32 bytes.
            *limb = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
        }
        raw.mul(&Quad::constant(FROM_FE))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn store(&self) -> [Fe; WIDTH] {
        let raw = self.mul(&Quad::constant(TO_FE));
        let mut words = [[0u64; WIDTH]; LIMBS];
        for (row, limb) in words.iter_mut().zip(raw.0) {
            // SAFETY: each row has 32 bytes.
            unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), limb) };
        }
        // A product has limbs below 2^29, and is below 2 p here, since both factors are.
        from_fn(|lane| {
            let mut number = [0u64; 5];
            for (i, row) in words.iter().enumerate() {
                let (word, bit) = (BITS as usize * i / 64, BITS as usize * i % 64);
                number[word] |= row[lane] << bit;
                if bit > 64 - BITS as usize {
                    number[word + 1] |= row[lane] >> (64 - bit);
                }
            }
            let [a, b, c, d, top] = number;
            Fe::from_montgomery([a, b, c, d], top != 0)
        })
    }

    /// `a + b`, limb by limb.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn add(&self, other: &Quad) -> Quad {
        let mut sum = *self;
        for i in 0..LIMBS {
            sum.0[i] = _mm256_add_epi64(self.0[i], other.0[i]);
        }
        sum
    }

    /// `3 a - 3`, limbs up to 2^31, for a tidy.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn triple_less_three(&self) -> Quad {
        self.add(self).add(self).add(&Quad::constant(MINUS_THREE))
    }

    /// `a - b` for b tidy, limb by limb: not above those of a by more than 2^30 + 2^6, and the value by 8 p.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn sub_untidy(&self, other: &Quad) -> Quad {
        let mut difference = self.add(&Quad::constant(EIGHT_P));
        for i in 0..LIMBS {
            difference.0[i] = _mm256_sub_epi64(difference.0[i], other.0[i]);
        }
        difference
    }

    /// `a - b`, tidy, for limbs of b up to 2^31 and its value up to 15 p.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn sub(&self, other: &Quad) -> Quad {
        let mut limb = self.add(&Quad::constant(SIXTEEN_P)).0;
        for i in 0..LIMBS {
            limb[i] = _mm256_sub_epi64(limb[i], other.0[i]);
        }
        // What is above 2^256 comes back as 2^224 + 2^96 - 2^64 + 1 times it; limb 2 is large enough for the negative part.
        let above = _mm256_srli_epi64::<24>(limb[8]);
        limb[8] = _mm256_and_si256(limb[8], _mm256_set1_epi64x((1 << 24) - 1));
        limb[0] = _mm256_add_epi64(limb[0], above);
        limb[2] = _mm256_sub_epi64(limb[2], _mm256_slli_epi64::<6>(above));
        limb[3] = _mm256_add_epi64(limb[3], _mm256_slli_epi64::<9>(above));
        limb[7] = _mm256_add_epi64(limb[7], _mm256_slli_epi64::<21>(above));
        // One round of carries, all at once: from the top, so that each limb is read before it changes.
        let mask = _mm256_set1_epi64x((1 << BITS) - 1);
        for i in (1..LIMBS).rev() {
            let carried = _mm256_srli_epi64::<BITS>(limb[i - 1]);
            let kept = if i == LIMBS - 1 { limb[i] } else { _mm256_and_si256(limb[i], mask) };
            limb[i] = _mm256_add_epi64(kept, carried);
        }
        limb[0] = _mm256_and_si256(limb[0], mask);
        Quad(limb)
    }

    /// `a * b`.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn mul(&self, other: &Quad) -> Quad {
        let mut sums = Sums::new();
        macro_rules! row {
            ($i:literal: $($j:literal)*) => {
                $(sums.add($i + $j, _mm256_mul_epu32(self.0[$i], other.0[$j]));)*
                sums.reduce($i);
            };
        }
        row!(0: 0 1 2 3 4 5 6 7 8);
        row!(1: 0 1 2 3 4 5 6 7 8);
        row!(2: 0 1 2 3 4 5 6 7 8);
        row!(3: 0 1 2 3 4 5 6 7 8);
        row!(4: 0 1 2 3 4 5 6 7 8);
        row!(5: 0 1 2 3 4 5 6 7 8);
        row!(6: 0 1 2 3 4 5 6 7 8);
        row!(7: 0 1 2 3 4 5 6 7 8);
        row!(8: 0 1 2 3 4 5 6 7 8);
        sums.carried()
    }

    /// `a * a`.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn square(&self) -> Quad {
        let twice = self.add(self);
        let mut sums = Sums::new();
        macro_rules! row {
            ($i:literal: $($j:literal)*) => {
                sums.add(2 * $i, _mm256_mul_epu32(self.0[$i], self.0[$i]));
                $(sums.add($i + $j, _mm256_mul_epu32(self.0[$i], twice.0[$j]));)*
                sums.reduce($i);
            };
        }
        row!(0: 1 2 3 4 5 6 7 8);
        row!(1: 2 3 4 5 6 7 8);
        row!(2: 3 4 5 6 7 8);
        row!(3: 4 5 6 7 8);
        row!(4: 5 6 7 8);
        row!(5: 6 7 8);
        row!(6: 7 8);
        row!(7: 8);
        row!(8:);
        sums.carried()
    }
}

/// The sums of products of a multiplication, lowest first.
struct Sums([__m256i; 2 * LIMBS]);

impl Sums {
    /// Zero, with a reserve of 2^51 in every sum that the reduction subtracts from, taken from the next one.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new() -> Sums {
        const RESERVE: i64 = 1 << 51;
        const TAKEN: i64 = RESERVE >> BITS;
        let mut sums = [_mm256_setzero_si256(); 2 * LIMBS];
        sums[3] = _mm256_set1_epi64x(RESERVE);
        for sum in &mut sums[4..17] {
            *sum = _mm256_set1_epi64x(RESERVE - TAKEN);
        }
        sums[17] = _mm256_set1_epi64x(-TAKEN);
        Sums(sums)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn add(&mut self, i: usize, product: __m256i) {
        self.0[i] = _mm256_add_epi64(self.0[i], product);
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn sub(&mut self, i: usize, product: __m256i) {
        self.0[i] = _mm256_sub_epi64(self.0[i], product);
    }

    /// Clears the sum i by a multiple of p: m p = m (2^256 - 2^224 - 2^96 + 2^64 - 1) for its low 29 bits m.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn reduce(&mut self, i: usize) {
        let m = _mm256_and_si256(self.0[i], _mm256_set1_epi64x((1 << BITS) - 1));
        self.add(i + 1, _mm256_srli_epi64::<BITS>(self.0[i]));
        self.add(i + 2, _mm256_slli_epi64::<6>(m));
        self.sub(i + 3, _mm256_slli_epi64::<9>(m));
        self.sub(i + 7, _mm256_slli_epi64::<21>(m));
        self.add(i + 8, _mm256_slli_epi64::<24>(m));
    }

    /// The upper half, with limbs below 2^29.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn carried(mut self) -> Quad {
        let mask = _mm256_set1_epi64x((1 << BITS) - 1);
        for i in LIMBS..2 * LIMBS - 1 {
            self.add(i + 1, _mm256_srli_epi64::<BITS>(self.0[i]));
            self.0[i] = _mm256_and_si256(self.0[i], mask);
        }
        let mut upper = Quad::default();
        upper.0.copy_from_slice(&self.0[LIMBS..]);
        upper
    }
}

/// 29 bits of a number, from bit `first` on.
fn bits(number: &limbs::Limbs, first: usize) -> u64 {
    super::digits::bits(number, first, BITS as usize)
}

/// Two elements of each lane, tidy, in the halves of the same words: how a table holds points.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Pair([__m256i; LIMBS]);

impl Default for Pair {
    fn default() -> Pair {
        // SAFETY: zeros are a value of every integer vector.
        unsafe { std::mem::zeroed() }
    }
}

impl DefaultIsZeroes for Pair {}

impl Pair {
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn new(first: &Quad, second: &Quad) -> Pair {
        let mut pair = Pair::default();
        for i in 0..LIMBS {
            pair.0[i] = _mm256_or_si256(first.0[i], _mm256_slli_epi64::<32>(second.0[i]));
        }
        pair
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn split(&self) -> (Quad, Quad) {
        let low = _mm256_set1_epi64x(u32::MAX.into());
        let (mut first, mut second) = (Quad::default(), Quad::default());
        for i in 0..LIMBS {
            first.0[i] = _mm256_and_si256(self.0[i], low);
            second.0[i] = _mm256_srli_epi64::<32>(self.0[i]);
        }
        (first, second)
    }

    /// The entry of the table that `index` names, for each lane by itself. All of them are read.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn select(table: &[Pair], index: [u64; WIDTH]) -> Pair {
        // SAFETY: the array has 32 bytes.
        let index = unsafe { _mm256_loadu_si256(index.as_ptr().cast()) };
        let mut chosen = Pair([_mm256_setzero_si256(); LIMBS]);
        for (i, entry) in table.iter().enumerate() {
            let this = _mm256_cmpeq_epi64(index, _mm256_set1_epi64x(i as i64));
            for (word, entry) in chosen.0.iter_mut().zip(entry.0) {
                *word = _mm256_or_si256(*word, _mm256_and_si256(this, entry));
            }
        }
        chosen
    }
}

impl Quad {
    /// `-a` where the lane's mask is all ones, a where it is zero; limbs up to 2^30 + 2^6, for a tidy.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn negate_if(&self, masks: [u64; WIDTH]) -> Quad {
        // SAFETY: the array has 32 bytes.
        let masks = unsafe { _mm256_loadu_si256(masks.as_ptr().cast()) };
        let opposite = Quad::default().sub_untidy(self);
        let mut chosen = *self;
        for i in 0..LIMBS {
            chosen.0[i] = _mm256_blendv_epi8(self.0[i], opposite.0[i], masks);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_field() {
        if !is_x86_feature_detected!("avx2") {
            return;
        }
        // SAFETY: the processor has the instructions.
        unsafe { check() }
    }

    #[target_feature(enable = "avx2")]
    fn check() {
        let minus = |n: u64| Fe::ZERO - Fe::new([n, 0, 0, 0]);
        let mut a = [Fe::ZERO, Fe::ONE, minus(1), minus(2)];
        let mut b = [minus(1), minus(1), minus(1), Fe::new([0, 0, 0, 1 << 63])];
        for round in 0..2000u64 {
            let [x, y] = [Quad::load(a), Quad::load(b)];
            let each = |f: &dyn Fn(Fe, Fe) -> Fe| -> [Fe; WIDTH] { from_fn(|i| f(a[i], b[i])) };
            let same = |got: Quad, want: [Fe; WIDTH], what: &str| {
                let got = got.store();
                for i in 0..WIDTH {
                    assert_eq!(got[i].to_bytes(), want[i].to_bytes(), "{what} {round} {i}");
                }
            };
            same(x, a, "load");
            same(x.mul(&y), each(&|a, b| a * b), "mul");
            same(x.square(), each(&|a, _| a.square()), "square");
            same(x.sub(&y), each(&|a, b| a - b), "sub");
            same(x.sub(&y.add(&y).add(&y)), each(&|a, b| a - b.triple()), "sub of a sum");
            same(x.sub_untidy(&y).mul(&y.add(&x)), each(&|a, b| (a - b) * (a + b)), "untidy");
            same(x.add(&y).square(), each(&|a, b| (a + b).square()), "square of a sum");
            same(x.triple_less_three().mul(&y), each(&|a, b| (a - Fe::ONE).triple() * b), "3 a - 3");
            same(
                x.negate_if([0, u64::MAX, 0, u64::MAX]).mul(&y),
                from_fn(|i| if i % 2 == 0 { a[i] * b[i] } else { -(a[i] * b[i]) }),
                "negate",
            );
            let (first, second) = Pair::select(&[Pair::new(&y, &x), Pair::new(&x, &y)], [1, 0, 1, 0]).split();
            same(first, from_fn(|i| if i % 2 == 0 { a[i] } else { b[i] }), "select");
            same(second, from_fn(|i| if i % 2 == 0 { b[i] } else { a[i] }), "select");
            let next = each(&|a, b| a * b + Fe::new([round, 0, 0, 7]));
            b = each(&|a, b| b.square() - a);
            a = next;
            if round % 50 == 0 {
                b[(round / 50 % 4) as usize] = minus(round);
            }
        }
    }
}
