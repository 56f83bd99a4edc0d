//! The group of the curve SM2 (GM/T 0003.5, `sm2p256v1`), in batches, and SM2 signatures.
//!
//! Elements are compressed points (SEC 1), 33 bytes; scalars are 32 bytes, big endian. The order is prime, so that every
//! point of the curve but the identity is an element.

mod batch;
mod digits;
mod field;
mod limbs;
mod map;
mod point;
#[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
mod quad;
mod scalar;
pub mod signature;
mod single;

use subtle::Choice;
use zeroize::Zeroizing;

use crate::group::Group;
use crate::parallel::{GROUP, Grain};
use digits::Digits;
pub use map::try_and_rehash_vartime;
pub use point::Point;
use point::{Affine, COMPRESSED};
pub use scalar::Scalar;

/// The group itself, as a type.
pub struct Sm2;

impl Group for Sm2 {
    type Scalar = Scalar;
    type Element = Point;

    const SCALAR_LENGTH: usize = 32;
    const ELEMENT_LENGTH: usize = COMPRESSED;
    // The order's 256 bits and 128 more, as RFC 9380, section 5, asks.
    const UNIFORM_SCALAR_LENGTH: usize = 48;
    const UNIFORM_ELEMENT_LENGTH: usize = 96;
    // Longer pieces than other groups', since each shares its inversions; a piece's tables take 1 KiB a point.
    const GRAIN: Grain = Grain { serial: GROUP.serial, chunk: 1024 };

    fn scalar_from_uniform(bytes: &[u8]) -> Scalar {
        Scalar::from_uniform(bytes.try_into().expect("48 bytes"))
    }

    fn decode_scalar(bytes: &[u8]) -> Option<Scalar> {
        Scalar::from_bytes(bytes.try_into().ok()?).filter(|scalar| !bool::from(scalar.is_zero()))
    }

    fn encode_scalar(scalar: &Scalar, out: &mut [u8]) {
        scalar.write(out.try_into().expect("32 bytes"));
    }

    fn sub_mul(a: &Scalar, b: &Scalar, c: &Scalar) -> Scalar {
        *a - *b * *c
    }

    fn invert_each(scalars: &mut [Scalar]) {
        scalar::invert_all(scalars);
    }

    fn element_from_uniform(bytes: &[u8]) -> Point {
        map::from_uniform(bytes.try_into().expect("96 bytes"))
    }

    fn decode_element(bytes: &[u8]) -> Option<Point> {
        Affine::decode(bytes).map(Point::from)
    }

    fn is_identity(element: &Point) -> bool {
        element.is_identity().into()
    }

    fn mul_base_encode(scalars: &[Scalar], out: &mut [u8]) {
        let digits = Zeroizing::new(scalars.iter().map(Digits::of).collect::<Vec<_>>());
        if digits.len() >= batch::WORTH_OF_BASE
            && let Ok(products) = batch::multiply_base(&digits)
        {
            return encode(&products, |i| digits[i].negated(), out);
        }
        let products = Zeroizing::new(digits.iter().map(Point::mul_base).collect::<Vec<_>>());
        point::encode_all(&products, out);
    }

    fn mul_encode(scalar: &Scalar, elements: &mut [Point], out: &mut [u8]) {
        let digits = Zeroizing::new(Digits::blinded(scalar));
        if elements.len() >= batch::WORTH {
            let points = Zeroizing::new(point::normalize(elements));
            if let Ok(products) = batch::multiply(&points, Digits::BLINDED, |_, position| digits.at(position)) {
                return encode(&products, |_| Choice::from(0), out);
            }
        }
        elements.iter_mut().for_each(|element| *element = element.mul(&digits, Digits::BLINDED));
        point::encode_all(elements, out);
    }

    fn mul_each_encode(scalars: &[Scalar], elements: &mut [Point], out: &mut [u8]) {
        let digits = Zeroizing::new(scalars.iter().map(Digits::of).collect::<Vec<_>>());
        if digits.len() >= batch::WORTH {
            let points = Zeroizing::new(point::normalize(elements));
            if let Ok(products) = batch::multiply(&points, Digits::COUNT, |i, position| digits[i].at(position)) {
                return encode(&products, |i| digits[i].negated(), out);
            }
        }
        let pairs = digits.iter().zip(elements.iter_mut());
        pairs.for_each(|(digits, element)| *element = element.mul(digits, Digits::COUNT));
        point::encode_all(elements, out);
    }

    fn encode_element(element: &Point, out: &mut [u8]) {
        point::encode_all(&[*element], out);
    }

    fn encode_elements(elements: &[Point], out: &mut [u8]) {
        point::encode_all(elements, out);
    }

    fn add(a: &Point, b: &Point) -> Point {
        *a + *b
    }

    fn negate(a: &Point) -> Point {
        -*a
    }

    fn mul(scalar: &Scalar, element: &Point) -> Point {
        element.mul(&Zeroizing::new(Digits::blinded(scalar)), Digits::BLINDED)
    }

    fn combine_vartime(scalars: &[Scalar], elements: &[Point]) -> Point {
        point::combine_vartime(scalars, elements)
    }

    fn mul_add_base_vartime(a: &Scalar, element: &Point, b: &Scalar) -> Point {
        element.mul(&Digits::of(a), Digits::COUNT) + Point::mul_base(&Digits::of(b))
    }
}

/// The encodings of points, the negative of each where `negated(i)` says so.
fn encode(points: &[Affine], negated: impl Fn(usize) -> Choice, out: &mut [u8]) {
    for (i, (point, row)) in points.iter().zip(out.chunks_exact_mut(COMPRESSED)).enumerate() {
        point.negate_if(negated(i)).encode(row);
    }
}

#[cfg(test)]
mod tests {
    use super::point::GENERATOR;
    use super::*;

    fn encoded(point: &Point) -> [u8; COMPRESSED] {
        let mut out = [0; COMPRESSED];
        Sm2::encode_element(point, &mut out);
        out
    }

    fn small(value: u64) -> Scalar {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&value.to_be_bytes());
        Scalar::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn small_multiples_are_sums() {
        let mut sum = Point::IDENTITY;
        for k in 1..200 {
            sum = sum.add_affine(&GENERATOR);
            let scalar = small(k);
            assert_eq!(encoded(&sum), encoded(&Point::mul_base(&Digits::of(&scalar))), "{k}");
            assert_eq!(encoded(&sum), encoded(&Sm2::mul(&scalar, &GENERATOR.into())), "{k}");
            assert_eq!(encoded(&-sum), encoded(&Sm2::mul(&-scalar, &GENERATOR.into())), "-{k}");
        }
    }
}
