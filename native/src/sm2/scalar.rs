//! Integers modulo the order n of SM2's group, in Montgomery's form.

use std::ops::{Add, Mul, Neg, Sub};

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::{DefaultIsZeroes, Zeroize};

use super::limbs::{self, Limbs};

/// The order of the group.
pub(super) const N: Limbs =
    [0x53bb_f409_39d5_4123, 0x7203_df6b_21c6_052b, 0xffff_ffff_ffff_ffff, 0xffff_fffe_ffff_ffff];
/// -1 / n modulo 2^64.
const N0: u64 = 0x327f_9e88_7235_0975;
/// 2^512 modulo n.
const R2: Limbs = [0x9011_92af_7c11_4f20, 0x3464_504a_de6f_a2fa, 0x620f_c84c_3aff_e0d4, 0x1eb5_e412_a22b_3d3b];
/// 2^768 modulo n.
const R3: Limbs = [0x6ff8_74c7_0eaa_0b85, 0x87d0_c315_aabe_8d32, 0x4c4f_bbb3_9718_5afc, 0xc813_249c_d574_ea14];

/// An integer modulo n: the least residue of 2^256 times it.
#[derive(Clone, Copy, Default)]
pub struct Scalar(Limbs);

impl DefaultIsZeroes for Scalar {}

impl Scalar {
    pub(super) const ONE: Scalar = Scalar(limbs::mul_mod(&[1, 0, 0, 0], &R2, &N, N0));

    /// The scalar of 32 big-endian bytes; none where they are not below n.
    pub(super) fn from_bytes(bytes: &[u8; 32]) -> Option<Scalar> {
        let mut number = limbs::from_be_bytes(bytes);
        let scalar = limbs::below(&number, &N).then(|| Scalar(limbs::mul_mod(&number, &R2, &N, N0)));
        number.zeroize();
        scalar
    }

    /// The residue of 32 big-endian bytes.
    pub(super) fn reduced(bytes: &[u8; 32]) -> Scalar {
        Scalar(limbs::mul_mod(&limbs::from_be_bytes(bytes), &R2, &N, N0))
    }

    /// The residue of 48 big-endian bytes.
    pub(super) fn from_uniform(bytes: &[u8; 48]) -> Scalar {
        let (low, high) = limbs::from_be_48(bytes);
        Scalar(limbs::mul_mod(&low, &R2, &N, N0)) + Scalar(limbs::mul_mod(&high, &R3, &N, N0))
    }

    /// The least residue.
    pub(super) fn number(&self) -> Limbs {
        limbs::mul_mod(&self.0, &[1, 0, 0, 0], &N, N0)
    }

    /// 32 big-endian bytes.
    pub(super) fn write(&self, out: &mut [u8; 32]) {
        limbs::to_be_bytes(&self.number(), out);
    }

    pub(super) fn is_zero(&self) -> Choice {
        self.0.iter().fold(0, |bits, word| bits | word).ct_eq(&0)
    }

    /// The inverse, this to the power n - 2; zero for zero. The exponent is public, so it may be branched on.
    pub(super) fn invert(&self) -> Scalar {
        let mut power = Scalar::ONE;
        for bit in (0..256).rev() {
            power = power * power;
            let word = if bit < 64 { N[0] - 2 } else { N[bit / 64] };
            if word >> (bit % 64) & 1 == 1 {
                power = power * *self;
            }
        }
        power
    }
}

impl Add for Scalar {
    type Output = Scalar;

    fn add(self, other: Scalar) -> Scalar {
        Scalar(limbs::add_mod(&self.0, &other.0, &N))
    }
}

impl Sub for Scalar {
    type Output = Scalar;

    fn sub(self, other: Scalar) -> Scalar {
        Scalar(limbs::sub_mod(&self.0, &other.0, &N))
    }
}

impl Neg for Scalar {
    type Output = Scalar;

    fn neg(self) -> Scalar {
        Scalar::default() - self
    }
}

impl Mul for Scalar {
    type Output = Scalar;

    fn mul(self, other: Scalar) -> Scalar {
        Scalar(limbs::mul_mod(&self.0, &other.0, &N, N0))
    }
}

impl ConditionallySelectable for Scalar {
    fn conditional_select(a: &Scalar, b: &Scalar, choice: Choice) -> Scalar {
        Scalar(std::array::from_fn(|i| u64::conditional_select(&a.0[i], &b.0[i], choice)))
    }
}

/// Replaces every scalar by its inverse, with one inversion for all (Montgomery). None may be zero.
pub(super) fn invert_all(scalars: &mut [Scalar]) {
    let mut before = Vec::with_capacity(scalars.len());
    let mut product = Scalar::ONE;
    for scalar in scalars.iter() {
        before.push(product);
        product = product * *scalar;
    }
    let mut inverse = product.invert();
    for (scalar, before) in scalars.iter_mut().zip(&before).rev() {
        let factor = *scalar;
        *scalar = inverse * *before;
        inverse = inverse * factor;
    }
    before.zeroize();
    product.zeroize();
    inverse.zeroize();
}
