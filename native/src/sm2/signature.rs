//! SM2 signatures with SM3 (GM/T 0003.2): 64 bytes, r and then s, each 32 bytes big endian.

use sm3::{Digest, Sm3};
use zeroize::Zeroizing;

use super::digits::Digits;
use super::point::{Affine, B, COMPRESSED, GENERATOR, Point, encode_all, normalize};
use super::scalar::Scalar;
use super::{Sm2, field::Fe};
use crate::Error;
use crate::group::{Group, decode_scalar};
use crate::hash::ExpandMessageXmd;

/// Bytes of a signature.
pub const SIGNATURE_LENGTH: usize = 64;
/// Bytes of fresh randomness that a signature takes.
pub const ENTROPY_LENGTH: usize = 32;
/// The most bytes of a signer's name: its length in bits takes two bytes.
pub const MAX_ID: usize = u16::MAX as usize / 8;

/// Domain separation of nonces.
const NONCE: &[u8] = b"UNSEEN-V01-SM2-SIGN-NONCE";

/// The number e of a message: SM3(ZA || message), with ZA = SM3(ENTL || ID || a || b || G || P).
fn digest(id: &[u8], key: &Affine, message: &[u8]) -> Result<[u8; 32], Error> {
    if id.len() > MAX_ID {
        return Err(Error::Misuse("the signer's ID must be at most 8191 bytes"));
    }
    let mut za = Sm3::new().chain_update((8 * id.len() as u16).to_be_bytes()).chain_update(id);
    let three = Fe::new([3, 0, 0, 0]);
    for value in [-three, B, GENERATOR.x, GENERATOR.y, key.x, key.y] {
        za.update(value.to_bytes());
    }
    Ok(Sm3::new().chain_update(za.finalize()).chain_update(message).finalize().into())
}

/// The public key of a private key, compressed. The private key is a scalar from 1 to n - 2.
pub fn public_key(private: &[u8], public: &mut [u8]) -> Result<(), Error> {
    let key = private_scalar(private)?;
    encode_all(&[multiply_base(&key)], public);
    Ok(())
}

fn multiply_base(scalar: &Scalar) -> Point {
    Point::mul_base(&Zeroizing::new(Digits::of(scalar)))
}

/// A private key: not zero, below n, and not n - 1, which the standard leaves out since 1 + d has no inverse then.
fn private_scalar(bytes: &[u8]) -> Result<Zeroizing<Scalar>, Error> {
    let key = decode_scalar::<Sm2>(bytes)?;
    if bool::from((*key + Scalar::ONE).is_zero()) {
        return Err(Error::InvalidScalar { index: 0 });
    }
    Ok(key)
}

/// Signs. `entropy` is [`ENTROPY_LENGTH`] bytes that are fresh and uniform.
///
/// The nonce is a hash of them, the private key and the message's digest e, as `oprf::Context::prove` makes its own: a
/// generator that repeats itself does not give the key away.
pub fn sign(private: &[u8], id: &[u8], message: &[u8], entropy: &[u8], signature: &mut [u8]) -> Result<(), Error> {
    if entropy.len() != ENTROPY_LENGTH {
        return Err(Error::Misuse("the entropy of a signature must be 32 bytes"));
    }
    let key = private_scalar(private)?;
    let public = normalize(&[multiply_base(&key)])[0];
    let e = digest(id, &public, message)?;
    let nonces = ExpandMessageXmd::<Sm3>::new(NONCE)?;
    for attempt in 0..=u8::MAX {
        let mut uniform = Zeroizing::new([0; Sm2::UNIFORM_SCALAR_LENGTH]);
        nonces.expand(&[entropy, private, &e, &[attempt]], &mut *uniform);
        let nonce = Zeroizing::new(Scalar::from_uniform(&uniform));
        if sign_with(&key, &Scalar::reduced(&e), &nonce, signature) {
            return Ok(());
        }
    }
    Err(Error::Misuse("no signature follows from this entropy; take another"))
}

/// Steps A4 to A7 of the standard; false where it says to take another nonce, with a probability below 2^-250.
fn sign_with(key: &Scalar, e: &Scalar, nonce: &Scalar, signature: &mut [u8]) -> bool {
    let point = normalize(&[multiply_base(nonce)])[0];
    let r = *e + Scalar::reduced(&point.x.to_bytes());
    let s = Zeroizing::new((*key + Scalar::ONE).invert() * (*nonce - r * *key));
    let unusable = nonce.is_zero() | r.is_zero() | (r + *nonce).is_zero() | s.is_zero();
    Sm2::encode_scalar(&r, &mut signature[..32]);
    Sm2::encode_scalar(&s, &mut signature[32..]);
    !bool::from(unusable)
}

/// [`sign`] with the nonce itself, for the standard's vectors and nothing else: two signatures with one nonce give the
/// private key away. The bindings do not offer it.
#[doc(hidden)]
pub fn sign_with_nonce_for_vectors(
    private: &[u8],
    id: &[u8],
    message: &[u8],
    nonce: &[u8],
    signature: &mut [u8],
) -> Result<(), Error> {
    let key = private_scalar(private)?;
    let e = digest(id, &normalize(&[multiply_base(&key)])[0], message)?;
    let nonce = decode_scalar::<Sm2>(nonce)?;
    let usable = sign_with(&key, &Scalar::reduced(&e), &nonce, signature);
    usable.then_some(()).ok_or(Error::Misuse("the standard asks for another nonce"))
}

/// Whether the holder of the compressed public key `key` signed `message`. Everything here is public data.
///
/// A key that is no point has signed nothing.
pub fn verifies_vartime(key: &[u8], id: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, Error> {
    let Some(key) = (key.len() == COMPRESSED).then(|| Affine::decode(key)).flatten() else { return Ok(false) };
    let e = digest(id, &key, message)?;
    let Some((r, s)) = signature.split_at_checked(32) else { return Ok(false) };
    let (Some(r), Some(s)) = (Sm2::decode_scalar(r), Sm2::decode_scalar(s)) else { return Ok(false) };
    let t = r + s;
    if bool::from(t.is_zero()) {
        return Ok(false);
    }
    let point = Sm2::mul_add_base_vartime(&t, &key.into(), &s);
    if bool::from(point.is_identity()) {
        return Ok(false);
    }
    let x = Scalar::reduced(&normalize(&[point])[0].x.to_bytes());
    Ok(bool::from((Scalar::reduced(&e) + x - r).is_zero()))
}
