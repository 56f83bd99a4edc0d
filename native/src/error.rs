//! Everything that can go wrong in a kernel. The text names indices and lengths, never a value.

use std::fmt;

/// Why a batch was refused. No output of a refused batch may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The encoding at this index is not canonical, is not on the curve, or is the identity element.
    InvalidElement {
        /// Position in the batch, from 0.
        index: usize,
    },
    /// The scalar at this index is zero, or is not reduced below the group order.
    InvalidScalar {
        /// Position in the batch, from 0.
        index: usize,
    },
    /// The input at this index hashes to the identity element (RFC 9497, section 3.3.1, `InvalidInputError`).
    IdentityInput {
        /// Position in the batch, from 0.
        index: usize,
    },
    /// The input at this index is longer than the two-byte length prefix of RFC 9497 can say.
    InputTooLong {
        /// Position in the batch, from 0.
        index: usize,
    },
    /// The ciphertext at this index is not below n², or shares a factor with n.
    InvalidCiphertext {
        /// Position in the batch, from 0.
        index: usize,
    },
    /// The proof does not verify under this public key.
    InvalidProof,
    /// The equations of a key-value store have no solution under this seed.
    EncodingFailed,
    /// Two keys of a key-value store are equal.
    RepeatedKey,
    /// The tag does not fit: key, nonce, text or additional data are not what was sealed.
    InvalidTag,
    /// A join would give more pairs than the caller allows.
    TooManyPairs,
    /// The caller broke a pre-condition; the text says which.
    Misuse(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidElement { index } => {
                write!(f, "element {index} is the identity or not a canonical encoding")
            }
            Error::InvalidScalar { index } => {
                write!(f, "scalar {index} is zero or not below the group order")
            }
            Error::IdentityInput { index } => write!(f, "input {index} hashes to the identity element"),
            Error::InputTooLong { index } => write!(f, "input {index} is longer than 65535 bytes"),
            Error::InvalidCiphertext { index } => {
                write!(f, "ciphertext {index} is not below n squared, or shares a factor with n")
            }
            Error::InvalidProof => f.write_str("the proof does not verify under this public key"),
            Error::EncodingFailed => f.write_str("the pairs cannot be encoded under this seed"),
            Error::RepeatedKey => f.write_str("two keys are equal"),
            Error::InvalidTag => f.write_str("the tag does not fit: another key or nonce, or something was changed"),
            Error::TooManyPairs => f.write_str("there are more pairs of equal tags than allowed"),
            Error::Misuse(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}
