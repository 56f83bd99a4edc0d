//! The OPRF over a suite that shares nothing with ristretto255-SHA512: another kind of group, another hash, and other
//! lengths for scalars, elements and outputs. It shows that a further suite is an implementation of two traits and no more.

use _native::Error;
use _native::group::{self, Group};
use _native::oprf::{self, Context, Mode, Suite};
use _native::packed::Packed;
use sha2::Sha256;

/// The squares modulo a safe prime. Far too small to be secure.
struct Squares;

const P: u64 = 2_305_843_009_213_691_579; // 2 Q + 1, the largest safe prime below 2^61
const Q: u64 = (P - 1) / 2;

fn mul(a: u64, b: u64, modulus: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(modulus)) as u64
}

fn pow(mut base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let mut product = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            product = mul(product, base, modulus);
        }
        base = mul(base, base, modulus);
        exponent >>= 1;
    }
    product
}

fn reduce(bytes: &[u8], modulus: u64) -> u64 {
    bytes.iter().fold(0, |value, byte| ((u128::from(value) << 8 | u128::from(*byte)) % u128::from(modulus)) as u64)
}

impl Group for Squares {
    type Scalar = u64;
    type Element = u64;

    const SCALAR_LENGTH: usize = 8;
    // A tag and the value, as in a compressed point, so that elements and scalars differ in length.
    const ELEMENT_LENGTH: usize = 9;
    const UNIFORM_SCALAR_LENGTH: usize = 24;
    const UNIFORM_ELEMENT_LENGTH: usize = 40;

    fn scalar_from_uniform(bytes: &[u8]) -> u64 {
        assert_eq!(bytes.len(), Self::UNIFORM_SCALAR_LENGTH);
        reduce(bytes, Q)
    }

    fn decode_scalar(bytes: &[u8]) -> Option<u64> {
        Some(u64::from_be_bytes(bytes.try_into().ok()?)).filter(|scalar| (1..Q).contains(scalar))
    }

    fn encode_scalar(scalar: &u64, out: &mut [u8]) {
        out.copy_from_slice(&scalar.to_be_bytes());
    }

    fn sub_mul(a: &u64, b: &u64, c: &u64) -> u64 {
        (*a + Q - mul(*b, *c, Q)) % Q
    }

    fn invert_each(scalars: &mut [u64]) {
        scalars.iter_mut().for_each(|scalar| *scalar = pow(*scalar, Q - 2, Q));
    }

    fn element_from_uniform(bytes: &[u8]) -> u64 {
        assert_eq!(bytes.len(), Self::UNIFORM_ELEMENT_LENGTH);
        let root = reduce(bytes, P);
        mul(root, root, P)
    }

    fn decode_element(bytes: &[u8]) -> Option<u64> {
        let (&tag, value) = bytes.split_first()?;
        let value = u64::from_be_bytes(value.try_into().ok()?);
        (tag == 4 && (2..P).contains(&value) && pow(value, Q, P) == 1).then_some(value)
    }

    fn is_identity(element: &u64) -> bool {
        *element == 1
    }

    fn mul_base_encode(scalars: &[u64], out: &mut [u8]) {
        let rows = out.chunks_exact_mut(Self::ELEMENT_LENGTH);
        scalars.iter().zip(rows).for_each(|(scalar, row)| Self::encode_element(&pow(4, *scalar, P), row));
    }

    fn mul_encode(scalar: &u64, elements: &mut [u64], out: &mut [u8]) {
        Self::mul_each_encode(&vec![*scalar; elements.len()], elements, out);
    }

    fn mul_each_encode(scalars: &[u64], elements: &mut [u64], out: &mut [u8]) {
        let rows = out.chunks_exact_mut(Self::ELEMENT_LENGTH);
        for ((scalar, element), row) in scalars.iter().zip(elements).zip(rows) {
            Self::encode_element(&Self::mul(scalar, element), row);
            *element = 0; // the trait says that they are spent
        }
    }

    fn encode_element(element: &u64, out: &mut [u8]) {
        out[0] = 4;
        out[1..].copy_from_slice(&element.to_be_bytes());
    }

    fn add(a: &u64, b: &u64) -> u64 {
        mul(*a, *b, P)
    }

    fn negate(a: &u64) -> u64 {
        pow(*a, Q - 1, P)
    }

    fn mul(scalar: &u64, element: &u64) -> u64 {
        pow(*element, *scalar, P)
    }

    fn combine_vartime(scalars: &[u64], elements: &[u64]) -> u64 {
        scalars.iter().zip(elements).fold(1, |sum, (scalar, element)| mul(sum, pow(*element, *scalar, P), P))
    }

    fn mul_add_base_vartime(a: &u64, element: &u64, b: &u64) -> u64 {
        mul(pow(*element, *a, P), pow(4, *b, P), P)
    }
}

struct SquaresSha256;

impl Suite for SquaresSha256 {
    type Group = Squares;
    type Hash = Sha256;
    const IDENTIFIER: &'static [u8] = b"squares-SHA256";
}

type Toy = Context<SquaresSha256>;

#[test]
fn the_oprf_holds_over_another_suite() {
    const N: usize = 600;
    let data: Vec<u8> = (0..N as u32).flat_map(|i| i.to_le_bytes()).collect();
    let offsets: Vec<i64> = (0..=N as i64).map(|i| 4 * i).collect();
    let inputs = Packed::new(&data, &offsets).unwrap();
    assert_eq!((Toy::output_length(), Toy::proof_length()), (32, 16));

    let context = Toy::new(Mode::Voprf);
    let mut private = [0; 8];
    context.derive_key(&[7; 32], b"info", &mut private).unwrap();
    let mut public = [0; 9];
    oprf::public_key::<SquaresSha256>(&private, &mut public).unwrap();
    let uniform: Vec<u8> = (0..N * 24).map(|i| (i * i % 251) as u8).collect();
    let mut blinds = vec![0; N * 8];
    group::scalars_from_uniform::<Squares>(&uniform, &mut blinds).unwrap();

    let mut blinded = vec![0; N * 9];
    context.blind(inputs, &blinds, &mut blinded).unwrap();
    let mut evaluated = vec![0; N * 9];
    oprf::blind_evaluate::<SquaresSha256>(&private, &blinded, &mut evaluated).unwrap();
    let mut proof = [0; 16];
    context.prove(&private, &public, &blinded, &evaluated, &[1; 32], &mut proof).unwrap();
    assert_eq!(context.verify(&public, &blinded, &evaluated, &proof), Ok(()));
    let [mut finalized, mut direct] = [vec![0; N * 32], vec![0; N * 32]];
    context.finalize(inputs, &blinds, &evaluated, &mut finalized).unwrap();
    context.evaluate(&private, inputs, &mut direct).unwrap();
    assert_eq!(finalized, direct);

    proof[9] ^= 1;
    assert_eq!(context.verify(&public, &blinded, &evaluated, &proof), Err(Error::InvalidProof));
    evaluated[500 * 9] = 5;
    let refused = Err(Error::InvalidElement { index: 500 });
    assert_eq!(context.finalize(inputs, &blinds, &evaluated, &mut finalized), refused);
}

#[test]
fn a_proof_needs_the_key_that_it_speaks_of() {
    let context = Toy::new(Mode::Voprf);
    let element = [4, 0, 0, 0, 0, 0, 0, 0, 16];
    let misuse = context.prove(&[1; 8], &element, &element, &element, &[2; 32], &mut [0; 16]);
    assert!(matches!(misuse, Err(Error::Misuse(_))));
}
