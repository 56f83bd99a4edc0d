//! Ed25519 verification (RFC 8032), strict: no signature has a second form, and no key of small order is taken.
//!
//! Everything here is public data, so time may depend on it.

use ed25519_dalek::{Signature, VerifyingKey};

/// Length of a public key, bytes.
pub const KEY_LENGTH: usize = 32;
/// Length of a signature, bytes.
pub const SIGNATURE_LENGTH: usize = 64;

/// Whether the holder of `key` signed `message`. A key that is none has signed nothing.
pub fn verifies_vartime(key: &[u8; KEY_LENGTH], message: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
    }

    #[test]
    fn rfc_8032_test_2() {
        let key = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature: [u8; 64] = bytes(concat!(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ));
        assert!(verifies_vartime(&key, &[0x72], &signature));
        assert!(!verifies_vartime(&key, &[0x73], &signature));
        assert!(!verifies_vartime(&key, &[], &signature));
        for byte in 0..SIGNATURE_LENGTH {
            let mut other = signature;
            other[byte] ^= 1;
            assert!(!verifies_vartime(&key, &[0x72], &other), "byte {byte}");
        }
    }

    #[test]
    fn keys_of_small_order_sign_nothing() {
        // The neutral element as key and as R, with s = 0, satisfies the equation for every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!verifies_vartime(&neutral, b"anything", &signature));
        assert!(!verifies_vartime(&[0xff; 32], b"anything", &signature));
    }
}
