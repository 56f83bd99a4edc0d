//! One element of the field, with the operations of `quad`: for processors without AVX2.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::DefaultIsZeroes;

use super::field::Fe;

/// How many elements there are.
pub(super) const WIDTH: usize = 1;
/// Running products that do not wait for each other.
pub(super) const CHAINS: usize = 4;

/// An element, always reduced.
#[derive(Clone, Copy, Default)]
pub(super) struct Element(Fe);

impl DefaultIsZeroes for Element {}

impl Element {
    pub fn load([element]: [Fe; WIDTH]) -> Element {
        Element(element)
    }

    pub fn store(&self) -> [Fe; WIDTH] {
        [self.0]
    }

    #[inline(always)]
    pub fn add(&self, other: &Element) -> Element {
        Element(self.0 + other.0)
    }

    #[inline(always)]
    pub fn sub(&self, other: &Element) -> Element {
        Element(self.0 - other.0)
    }

    #[inline(always)]
    pub fn sub_untidy(&self, other: &Element) -> Element {
        self.sub(other)
    }

    #[inline(always)]
    pub fn triple_less_three(&self) -> Element {
        Element((self.0 - Fe::ONE).triple())
    }

    #[inline(always)]
    pub fn mul(&self, other: &Element) -> Element {
        Element(self.0 * other.0)
    }

    #[inline(always)]
    pub fn square(&self) -> Element {
        Element(self.0.square())
    }

    #[inline(always)]
    pub fn negate_if(&self, [mask]: [u64; WIDTH]) -> Element {
        Element(self.0.negate_if(Choice::from((mask & 1) as u8)))
    }
}

/// Two elements.
#[derive(Clone, Copy, Default)]
pub(super) struct Pair(Fe, Fe);

impl DefaultIsZeroes for Pair {}

impl Pair {
    pub fn new(first: &Element, second: &Element) -> Pair {
        Pair(first.0, second.0)
    }

    pub fn split(&self) -> (Element, Element) {
        (Element(self.0), Element(self.1))
    }

    /// The entry of the table that `index` names. All of them are read.
    pub fn select(table: &[Pair], [index]: [u64; WIDTH]) -> Pair {
        let mut chosen = Pair::default();
        for (i, entry) in table.iter().enumerate() {
            let this = index.ct_eq(&(i as u64));
            chosen.0.conditional_assign(&entry.0, this);
            chosen.1.conditional_assign(&entry.1, this);
        }
        chosen
    }
}
