//! Oblivious pseudorandom functions, plain and verifiable (RFC 9497, modes 0 and 1), over any [`Suite`].
//!
//! The names are the RFC's. Everything is a batch: row `i` of the output belongs to row `i` of the input.
//! Randomness is always an argument, so that whoever calls decides where it comes from and tests can repeat it.

use std::slice;

use sha2::digest::Digest;
use sha2::digest::common::BlockSizeUser;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Error;
use crate::group::{self, Group, decode_elements, decode_scalar, decode_scalars};
use crate::hash::{ExpandMessageXmd, finalize_into};
use crate::packed::Packed;
use crate::parallel;
use crate::ristretto255::Ristretto255;
use crate::sm2::Sm2;

/// A ciphersuite: a group, a hash, and the name that separates it from all others (RFC 9497, section 4).
pub trait Suite: 'static {
    /// The prime-order group.
    type Group: Group;
    /// The hash, also inside `expand_message_xmd`.
    type Hash: Digest + BlockSizeUser + Clone + Send + Sync;
    /// The identifier that enters the context string.
    const IDENTIFIER: &'static [u8];
}

/// `ristretto255-SHA512` (RFC 9497, section 4.1).
pub struct Ristretto255Sha512;

impl Suite for Ristretto255Sha512 {
    type Group = Ristretto255;
    type Hash = sha2::Sha512;
    const IDENTIFIER: &'static [u8] = b"ristretto255-SHA512";
}

/// `SM2-SM3`: the text of RFC 9497 over the curve SM2, hashed to by `SM2_XMD:SM3_SSWU_RO_`.
pub struct Sm2Sm3;

impl Suite for Sm2Sm3 {
    type Group = Sm2;
    type Hash = sm3::Sm3;
    const IDENTIFIER: &'static [u8] = b"SM2-SM3";
}

/// Which protocol of RFC 9497 a context belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Mode 0: no proof.
    Oprf = 0,
    /// Mode 1: the server proves that it used the key it is known by.
    Voprf = 1,
}

/// The most elements one proof can speak of.
pub const MAX_BATCH: usize = 65535;
/// Bytes of fresh randomness that a proof takes, in every suite.
pub const ENTROPY_LENGTH: usize = 32;

type Scalar<S> = <<S as Suite>::Group as Group>::Scalar;
type Element<S> = <<S as Suite>::Group as Group>::Element;

/// A suite in a mode: the domain separation tags, ready to hash with.
pub struct Context<S: Suite> {
    hash_to_group: ExpandMessageXmd<S::Hash>,
    hash_to_scalar: ExpandMessageXmd<S::Hash>,
    derive_key_pair: ExpandMessageXmd<S::Hash>,
    proof_nonce: ExpandMessageXmd<S::Hash>,
    seed_dst: Vec<u8>,
}

impl<S: Suite> Context<S> {
    /// Bytes of one output.
    pub fn output_length() -> usize {
        <S::Hash as Digest>::output_size()
    }

    /// Bytes of a proof.
    pub fn proof_length() -> usize {
        2 * S::Group::SCALAR_LENGTH
    }

    /// `CreateContextString`, and the tags made of it.
    pub fn new(mode: Mode) -> Self {
        let context = [b"OPRFV1-", &[mode as u8][..], b"-", S::IDENTIFIER].concat();
        let tag = |name: &[u8]| [name, &context].concat();
        let expand = |name: &[u8]| ExpandMessageXmd::new(&tag(name)).expect("the tag is not empty");
        Self {
            hash_to_group: expand(b"HashToGroup-"),
            hash_to_scalar: expand(b"HashToScalar-"),
            derive_key_pair: expand(b"DeriveKeyPair"),
            proof_nonce: expand(b"ProofNonce-"),
            seed_dst: tag(b"Seed-"),
        }
    }

    /// `DeriveKeyPair`: the private key made of a secret seed (32 bytes in the RFC) and public `info`.
    pub fn derive_key(&self, seed: &[u8], info: &[u8], private: &mut [u8]) -> Result<(), Error> {
        let length = u16::try_from(info.len()).map_err(|_| Error::Misuse("info must be at most 65535 bytes"))?;
        for counter in 0..=255u8 {
            let message = [seed, &length.to_be_bytes(), info, &[counter]];
            let key = Zeroizing::new(scalar_of::<S>(&self.derive_key_pair, &message));
            S::Group::encode_scalar(&key, private);
            if S::Group::decode_scalar(private).is_some() {
                return Ok(());
            }
        }
        Err(Error::Misuse("no key follows from this seed; take another"))
    }

    /// `Blind`: each input hashed to the group, times its blind.
    pub fn blind(&self, inputs: Packed<'_>, blinds: &[u8], out: &mut [u8]) -> Result<(), Error> {
        parallel::fill_rows(out, S::Group::ELEMENT_LENGTH, S::Group::GRAIN, |first, rows| {
            let count = rows.len() / S::Group::ELEMENT_LENGTH;
            let blinds = decode_scalars::<S::Group>(blinds, first, count)?;
            let mut elements = self.input_elements(inputs, first, count)?;
            S::Group::mul_each_encode(&blinds, &mut elements, rows);
            Ok(())
        })
    }

    /// `Finalize`, without the proof: unblinds each element and hashes it with its input.
    pub fn finalize(&self, inputs: Packed<'_>, blinds: &[u8], evaluated: &[u8], out: &mut [u8]) -> Result<(), Error> {
        parallel::fill_rows(out, Self::output_length(), S::Group::GRAIN, |first, rows| {
            let count = rows.len() / Self::output_length();
            let mut blinds = decode_scalars::<S::Group>(blinds, first, count)?;
            let mut elements = Zeroizing::new(decode_elements::<S::Group>(evaluated, first, count)?);
            let mut unblinded = Zeroizing::new(vec![0; count * S::Group::ELEMENT_LENGTH]);
            S::Group::invert_each(&mut blinds);
            S::Group::mul_each_encode(&blinds, &mut elements, &mut unblinded);
            self.outputs(inputs, first, &unblinded, rows)
        })
    }

    /// `Evaluate`: what a client would get for each input, made by the holder of the key alone.
    pub fn evaluate(&self, private: &[u8], inputs: Packed<'_>, out: &mut [u8]) -> Result<(), Error> {
        let private = decode_scalar::<S::Group>(private)?;
        parallel::fill_rows(out, Self::output_length(), S::Group::GRAIN, |first, rows| {
            let count = rows.len() / Self::output_length();
            let mut elements = self.input_elements(inputs, first, count)?;
            let mut evaluated = Zeroizing::new(vec![0; count * S::Group::ELEMENT_LENGTH]);
            S::Group::mul_encode(&private, &mut elements, &mut evaluated);
            self.outputs(inputs, first, &evaluated, rows)
        })
    }

    /// `GenerateProof`: that one key turned the generator into `public` and each `blinded` into its `evaluated`.
    ///
    /// `entropy` is [`ENTROPY_LENGTH`] bytes that are fresh and uniform. The RFC's random scalar `r` is made of them by
    /// [`Self::hedged_nonce`], so that a generator that repeats itself (a restored virtual machine, a forked process)
    /// does not give the key away.
    pub fn prove(
        &self,
        private: &[u8],
        public: &[u8],
        blinded: &[u8],
        evaluated: &[u8],
        entropy: &[u8],
        proof: &mut [u8],
    ) -> Result<(), Error> {
        if entropy.len() != ENTROPY_LENGTH {
            return Err(Error::Misuse("the entropy of a proof must be 32 bytes"));
        }
        let nonce = |m: &[u8], z: &[u8]| self.hedged_nonce(entropy, private, public, m, z);
        self.prove_by(private, public, blinded, evaluated, nonce, proof)
    }

    /// [`Self::prove`] with the random scalar `r` itself, for the RFC's vectors and nothing else: two proofs of different
    /// statements with one `r` give the private key away. The bindings do not offer it.
    #[doc(hidden)]
    pub fn prove_with_nonce_for_vectors(
        &self,
        private: &[u8],
        public: &[u8],
        blinded: &[u8],
        evaluated: &[u8],
        nonce: &[u8],
        proof: &mut [u8],
    ) -> Result<(), Error> {
        self.prove_by(private, public, blinded, evaluated, |_, _| decode_scalar::<S::Group>(nonce), proof)
    }

    /// `GenerateProof` with the random scalar that `nonce` makes for the encoded composites `M` and `Z`.
    fn prove_by(
        &self,
        private: &[u8],
        public: &[u8],
        blinded: &[u8],
        evaluated: &[u8],
        nonce: impl FnOnce(&[u8], &[u8]) -> Result<Zeroizing<Scalar<S>>, Error>,
        proof: &mut [u8],
    ) -> Result<(), Error> {
        let k = decode_scalar::<S::Group>(private)?;
        let mut own = vec![0; S::Group::ELEMENT_LENGTH];
        S::Group::mul_base_encode(slice::from_ref(&*k), &mut own);
        if !bool::from(own.ct_eq(public)) {
            return Err(Error::Misuse("the public key does not belong to the private key"));
        }
        let d = self.composite_scalars(public, blinded, evaluated)?;
        let m = S::Group::combine_vartime(&d, &decode_elements::<S::Group>(blinded, 0, d.len())?);
        let z = S::Group::mul(&k, &m);
        let [m_row, z_row] = [m, z].map(|element| encode::<S>(&element));
        let r = nonce(&m_row, &z_row)?;
        let mut t2 = vec![0; S::Group::ELEMENT_LENGTH];
        S::Group::mul_base_encode(slice::from_ref(&*r), &mut t2);
        let t3 = encode::<S>(&S::Group::mul(&r, &m));
        let c = self.challenge(&[public, &m_row, &z_row, &t2, &t3]);
        let s = Zeroizing::new(S::Group::sub_mul(&r, &c, &k));
        let (c_out, s_out) = proof.split_at_mut(S::Group::SCALAR_LENGTH);
        S::Group::encode_scalar(&c, c_out);
        S::Group::encode_scalar(&s, s_out);
        Ok(())
    }

    /// The random scalar of a proof: `HashToScalar(entropy || private || public || M || Z)`, each part but the first
    /// after its length, under the tag `"ProofNonce-" || contextString`, which the RFC does not use.
    ///
    /// The challenge is a function of `public`, `M`, `Z` and `r`, and these are all that is proved. So where `entropy`
    /// repeats, either the statement does too and the proof is the same one again, or the nonce is another. Who knows
    /// the entropy but not the key learns nothing of the nonce. Entropy comes first, as in the hedged signatures of
    /// draft-irtf-cfrg-det-sigs-with-noise, so that the hash never works on the key in a state known beforehand.
    fn hedged_nonce(
        &self,
        entropy: &[u8],
        private: &[u8],
        public: &[u8],
        m: &[u8],
        z: &[u8],
    ) -> Result<Zeroizing<Scalar<S>>, Error> {
        let [scalar, element] =
            [S::Group::SCALAR_LENGTH, S::Group::ELEMENT_LENGTH].map(|length| (length as u16).to_be_bytes());
        let message = [entropy, &scalar, private, &element, public, &element, m, &element, z];
        let nonce = Zeroizing::new(scalar_of::<S>(&self.proof_nonce, &message));
        // Zero would show the key. Decoding is how it is found; see `group::scalars_from_uniform`.
        decode_scalar::<S::Group>(&Zeroizing::new(encode_scalar::<S>(&nonce)))
    }

    /// `VerifyProof`. Errors with [`Error::InvalidProof`] where the proof is wrong or malformed, and names the row
    /// where an element is.
    pub fn verify(&self, public: &[u8], blinded: &[u8], evaluated: &[u8], proof: &[u8]) -> Result<(), Error> {
        if proof.len() != Self::proof_length() {
            return Err(Error::InvalidProof);
        }
        let b = S::Group::decode_element(public).ok_or(Error::InvalidProof)?;
        let d = self.composite_scalars(public, blinded, evaluated)?;
        let (c, s) = proof.split_at(S::Group::SCALAR_LENGTH);
        let c = S::Group::decode_scalar(c).ok_or(Error::InvalidProof)?;
        let s = S::Group::decode_scalar(s).ok_or(Error::InvalidProof)?;
        let m = S::Group::combine_vartime(&d, &decode_elements::<S::Group>(blinded, 0, d.len())?);
        let z = S::Group::combine_vartime(&d, &decode_elements::<S::Group>(evaluated, 0, d.len())?);
        let t2 = S::Group::mul_add_base_vartime(&c, &b, &s);
        let t3 = S::Group::combine_vartime(&[s, c], &[m, z]);
        let [m, z, t2, t3] = [m, z, t2, t3].map(|element| encode::<S>(&element));
        let expected = encode_scalar::<S>(&self.challenge(&[public, &m, &z, &t2, &t3]));
        if bool::from(expected.ct_eq(&encode_scalar::<S>(&c))) { Ok(()) } else { Err(Error::InvalidProof) }
    }

    /// The input elements of a chunk, before anything secret is done to them.
    fn input_elements(
        &self,
        inputs: Packed<'_>,
        first: usize,
        count: usize,
    ) -> Result<Zeroizing<Vec<Element<S>>>, Error> {
        let mut uniform = Zeroizing::new(vec![0; S::Group::UNIFORM_ELEMENT_LENGTH]);
        let mut elements = Zeroizing::new(Vec::with_capacity(count));
        for index in first..first + count {
            let input = inputs.get(index);
            if input.len() > usize::from(u16::MAX) {
                return Err(Error::InputTooLong { index });
            }
            self.hash_to_group.expand(&[input], &mut uniform);
            let element = S::Group::element_from_uniform(&uniform);
            if S::Group::is_identity(&element) {
                return Err(Error::IdentityInput { index });
            }
            elements.push(element);
        }
        Ok(elements)
    }

    /// The last step of `Finalize` and `Evaluate` for a chunk.
    fn outputs(&self, inputs: Packed<'_>, first: usize, elements: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let width = S::Group::ELEMENT_LENGTH;
        let rows = elements.chunks_exact(width).zip(out.chunks_exact_mut(Self::output_length()));
        for (i, (element, row)) in rows.enumerate() {
            let input = inputs.get(first + i);
            let length = u16::try_from(input.len()).map_err(|_| Error::InputTooLong { index: first + i })?;
            let hash = S::Hash::new()
                .chain_update(length.to_be_bytes())
                .chain_update(input)
                .chain_update((width as u16).to_be_bytes())
                .chain_update(element)
                .chain_update(b"Finalize");
            finalize_into(hash, row);
        }
        Ok(())
    }

    /// The weights `d_i` of `ComputeComposites`.
    fn composite_scalars(&self, public: &[u8], blinded: &[u8], evaluated: &[u8]) -> Result<Vec<Scalar<S>>, Error> {
        let width = S::Group::ELEMENT_LENGTH;
        let count = blinded.len() / width;
        if blinded.len() != evaluated.len() || count == 0 || count > MAX_BATCH {
            return Err(Error::Misuse("a proof needs 1 to 65535 blinded elements, and as many evaluated ones"));
        }
        let prefix = (width as u16).to_be_bytes();
        let seed = S::Hash::new()
            .chain_update(prefix)
            .chain_update(public)
            .chain_update((self.seed_dst.len() as u16).to_be_bytes())
            .chain_update(&self.seed_dst)
            .finalize();
        let weight = |(i, (c, d)): (usize, (&[u8], &[u8]))| {
            let i = (i as u16).to_be_bytes();
            let message = [&(seed.len() as u16).to_be_bytes()[..], &seed, &i, &prefix, c, &prefix, d, b"Composite"];
            scalar_of::<S>(&self.hash_to_scalar, &message)
        };
        let pairs = blinded.chunks_exact(width).zip(evaluated.chunks_exact(width));
        Ok(pairs.enumerate().map(weight).collect())
    }

    /// The challenge `c` over the transcript of these elements.
    fn challenge(&self, elements: &[&[u8]]) -> Scalar<S> {
        let prefix = (S::Group::ELEMENT_LENGTH as u16).to_be_bytes();
        let mut message: Vec<&[u8]> = Vec::with_capacity(2 * elements.len() + 1);
        for element in elements {
            message.extend([&prefix[..], element]);
        }
        message.push(b"Challenge");
        scalar_of::<S>(&self.hash_to_scalar, &message)
    }
}

/// `HashToScalar` under the tag of `expand`.
fn scalar_of<S: Suite>(expand: &ExpandMessageXmd<S::Hash>, message: &[&[u8]]) -> Scalar<S> {
    let mut uniform = Zeroizing::new(vec![0; S::Group::UNIFORM_SCALAR_LENGTH]);
    expand.expand(message, &mut uniform);
    S::Group::scalar_from_uniform(&uniform)
}

fn encode<S: Suite>(element: &Element<S>) -> Vec<u8> {
    let mut out = vec![0; S::Group::ELEMENT_LENGTH];
    S::Group::encode_element(element, &mut out);
    out
}

fn encode_scalar<S: Suite>(scalar: &Scalar<S>) -> Vec<u8> {
    let mut out = vec![0; S::Group::SCALAR_LENGTH];
    S::Group::encode_scalar(scalar, &mut out);
    out
}

/// The public key of a private key.
pub fn public_key<S: Suite>(private: &[u8], public: &mut [u8]) -> Result<(), Error> {
    let private = decode_scalar::<S::Group>(private)?;
    S::Group::mul_base_encode(slice::from_ref(&*private), public);
    Ok(())
}

/// `BlindEvaluate`, without the proof: the key times each blinded element, which is checked first.
pub fn blind_evaluate<S: Suite>(private: &[u8], blinded: &[u8], out: &mut [u8]) -> Result<(), Error> {
    group::mul::<S::Group>(private, blinded, out)
}
