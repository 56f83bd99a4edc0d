//! The group ristretto255 (RFC 9496), in batches.
//!
//! Arithmetic is `curve25519-dalek`'s, which takes its AVX2 code where the processor has it. What is ours is the batching:
//! encoding needs an inverse square root for each element, but the encodings of *doubled* elements share one inversion
//! (Hamburg's batched encoding), so we multiply by half the scalar and encode the doubles.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use zeroize::{Zeroize, Zeroizing};

use crate::group::Group;

/// Bytes of an encoded element, and of an encoded scalar.
pub const LENGTH: usize = 32;
/// Bytes of uniform input for an element, and for a scalar.
pub const UNIFORM_LENGTH: usize = 64;

/// The group itself, as a type.
pub struct Ristretto255;

impl Group for Ristretto255 {
    type Scalar = Scalar;
    type Element = RistrettoPoint;

    const SCALAR_LENGTH: usize = LENGTH;
    const ELEMENT_LENGTH: usize = LENGTH;
    const UNIFORM_SCALAR_LENGTH: usize = UNIFORM_LENGTH;
    const UNIFORM_ELEMENT_LENGTH: usize = UNIFORM_LENGTH;

    fn scalar_from_uniform(bytes: &[u8]) -> Scalar {
        let mut wide = [0; UNIFORM_LENGTH];
        wide.copy_from_slice(bytes);
        let scalar = Scalar::from_bytes_mod_order_wide(&wide);
        wide.zeroize();
        scalar
    }

    fn decode_scalar(bytes: &[u8]) -> Option<Scalar> {
        let mut array: [u8; LENGTH] = bytes.try_into().ok()?;
        let scalar = Option::<Scalar>::from(Scalar::from_canonical_bytes(array));
        array.zeroize();
        scalar.filter(|scalar| scalar != &Scalar::ZERO)
    }

    fn encode_scalar(scalar: &Scalar, out: &mut [u8]) {
        out.copy_from_slice(scalar.as_bytes());
    }

    fn sub_mul(a: &Scalar, b: &Scalar, c: &Scalar) -> Scalar {
        a - b * c
    }

    fn invert_each(scalars: &mut [Scalar]) {
        if !scalars.is_empty() {
            Scalar::invert_batch_alloc(scalars).zeroize();
        }
    }

    fn element_from_uniform(bytes: &[u8]) -> RistrettoPoint {
        let mut uniform = [0; UNIFORM_LENGTH];
        uniform.copy_from_slice(bytes);
        let element = RistrettoPoint::from_uniform_bytes(&uniform);
        uniform.zeroize();
        element
    }

    fn decode_element(bytes: &[u8]) -> Option<RistrettoPoint> {
        let element = CompressedRistretto::from_slice(bytes).ok()?.decompress()?;
        (!element.is_identity()).then_some(element)
    }

    fn is_identity(element: &RistrettoPoint) -> bool {
        element.is_identity()
    }

    fn mul_base_encode(scalars: &[Scalar], out: &mut [u8]) {
        let halved = |scalar: &Scalar| &*Zeroizing::new(scalar.div_by_2()) * RISTRETTO_BASEPOINT_TABLE;
        let elements = Zeroizing::new(scalars.iter().map(halved).collect::<Vec<_>>());
        encode_doubled(&elements, out);
    }

    fn mul_encode(scalar: &Scalar, elements: &mut [RistrettoPoint], out: &mut [u8]) {
        let half = Zeroizing::new(scalar.div_by_2());
        for element in elements.iter_mut() {
            *element *= &*half;
        }
        encode_doubled(elements, out);
    }

    fn mul_each_encode(scalars: &[Scalar], elements: &mut [RistrettoPoint], out: &mut [u8]) {
        for (scalar, element) in scalars.iter().zip(elements.iter_mut()) {
            let half = Zeroizing::new(scalar.div_by_2());
            *element *= &*half;
        }
        encode_doubled(elements, out);
    }

    fn encode_element(element: &RistrettoPoint, out: &mut [u8]) {
        out.copy_from_slice(element.compress().as_bytes());
    }

    fn add(a: &RistrettoPoint, b: &RistrettoPoint) -> RistrettoPoint {
        a + b
    }

    fn negate(a: &RistrettoPoint) -> RistrettoPoint {
        -a
    }

    fn mul(scalar: &Scalar, element: &RistrettoPoint) -> RistrettoPoint {
        scalar * element
    }

    fn combine_vartime(scalars: &[Scalar], elements: &[RistrettoPoint]) -> RistrettoPoint {
        RistrettoPoint::vartime_multiscalar_mul(scalars, elements)
    }

    fn mul_add_base_vartime(a: &Scalar, element: &RistrettoPoint, b: &Scalar) -> RistrettoPoint {
        RistrettoPoint::vartime_double_scalar_mul_basepoint(a, element, b)
    }
}

fn encode_doubled(elements: &[RistrettoPoint], out: &mut [u8]) {
    let encoded = Zeroizing::new(RistrettoPoint::double_and_compress_batch(elements));
    for (row, encoded) in out.chunks_exact_mut(LENGTH).zip(encoded.iter()) {
        row.copy_from_slice(encoded.as_bytes());
    }
}
