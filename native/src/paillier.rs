//! Paillier's encryption [Paillier, EUROCRYPT 1999] with g = n + 1: sums of plaintexts by products of ciphertexts.
//!
//! ```text
//! n = p·q       of K bits, p and q of K/2
//! Enc(m; r)     (1 + m·n)·r^n mod n²
//! Dec(c)        L(c^(p−1) mod p²)·h mod p, the same modulo q, and both together [section 7], where L(u) = (u − 1)/p
//! ```
//!
//! Who knows p and q also encrypts modulo p² and q²: with y = r^q mod p, r^n = y^p mod p², since x^p mod p² depends on x
//! mod p alone. All numbers are little endian: plaintexts of K/8 bytes, ciphertexts of K/4. Time depends on K and on how
//! many there are, but for `check_vartime`, which sees ciphertexts alone. The arithmetic is crypto-bigint's.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{
    BoxedUint, ConcatenatingMul, CtAssign, CtEq, CtLt, Gcd, MontyForm, MontyMultiplier, NonZero, Odd, Resize,
};
use zeroize::{Zeroize, Zeroizing};

use crate::Error;
use crate::parallel::{self, Grain};

/// Bytes of randomness over those of a plaintext, so that what they are modulo n is uniform up to 2^-128.
pub const EXTRA: usize = 16;

/// From a tenth of a millisecond to some, a row.
const POWER: Grain = Grain { serial: 1, chunk: 8 };
/// Columns whose powers are tabulated at a time; bounds the tables to some megabytes.
const COLUMNS: usize = 512;
const WINDOW: u32 = 4;
const POWERS: usize = 1 << WINDOW;

type Multiplier<'a> = <BoxedMontyForm as MontyForm>::Multiplier<'a>;

fn number(bytes: &[u8], bits: u32) -> BoxedUint {
    BoxedUint::from_le_slice_truncated(bytes, bits)
}

fn write(number: &BoxedUint, out: &mut [u8]) {
    out.copy_from_slice(&number.to_le_bytes());
}

fn odd(number: BoxedUint, what: &'static str) -> Result<Odd<BoxedUint>, Error> {
    Option::from(Odd::new(number)).ok_or(Error::Misuse(what))
}

fn non_zero(number: &Odd<BoxedUint>) -> NonZero<BoxedUint> {
    number.as_nz_ref().clone()
}

/// The public key.
pub struct Public {
    bits: u32,
    n: Odd<BoxedUint>,
    square: BoxedMontyParams,
}

impl Public {
    /// From n, whose highest bit must be set.
    pub fn new(n: &[u8]) -> Result<Self, Error> {
        const WRONG: &str = "n must be odd, of a multiple of 16 bytes, its highest bit set";
        if n.is_empty() || !n.len().is_multiple_of(16) || n[n.len() - 1] < 128 {
            return Err(Error::Misuse(WRONG));
        }
        let bits = n.len() as u32 * 8;
        let n = odd(number(n, bits), WRONG)?;
        let square = BoxedMontyParams::new_vartime(odd(n.as_ref().concatenating_mul(n.as_ref()), WRONG)?);
        Ok(Self { bits, n, square })
    }

    /// Bytes of a plaintext.
    pub fn plain(&self) -> usize {
        self.bits as usize / 8
    }

    /// Bytes of a ciphertext.
    pub fn cipher(&self) -> usize {
        2 * self.plain()
    }

    fn plaintext(&self, bytes: &[u8]) -> Result<Zeroizing<BoxedUint>, Error> {
        let m = Zeroizing::new(number(bytes, self.bits));
        if m.ct_lt(self.n.as_ref()).into() { Ok(m) } else { Err(Error::Misuse("a plaintext must be below n")) }
    }

    fn randomness(&self, bytes: &[u8]) -> Result<Zeroizing<BoxedUint>, Error> {
        let wide = Zeroizing::new(number(bytes, self.bits + 8 * EXTRA as u32));
        let r = Zeroizing::new(wide.rem(&non_zero(&self.n)));
        if r.is_zero().into() { Err(Error::Misuse("randomness must not be zero modulo n")) } else { Ok(r) }
    }

    fn form(&self, number: BoxedUint) -> BoxedMontyForm {
        BoxedMontyForm::new(number, &self.square)
    }

    /// A ciphertext that is below n²; not yet that it is coprime to n.
    fn ciphertext(&self, bytes: &[u8], index: usize) -> Result<BoxedUint, Error> {
        let c = number(bytes, 2 * self.bits);
        if c.ct_lt(self.square.modulus().as_ref()).into() { Ok(c) } else { Err(Error::InvalidCiphertext { index }) }
    }

    /// Encrypts plaintexts, each with `plain() + EXTRA` uniform bytes of its own.
    pub fn encrypt(&self, plaintexts: &[u8], randomness: &[u8], out: &mut [u8]) -> Result<(), Error> {
        self.encrypt_each(plaintexts, randomness, out, |m, r| {
            let power = self.form(r.resize(2 * self.bits)).pow_bounded_exp(self.n.as_ref(), self.bits);
            let mut message = m.concatenating_mul(self.n.as_ref());
            message.wrapping_add_assign(BoxedUint::one_with_precision(2 * self.bits));
            power.mul(&self.form(message)).retrieve()
        })
    }

    fn encrypt_each<F>(&self, plaintexts: &[u8], randomness: &[u8], out: &mut [u8], encrypt: F) -> Result<(), Error>
    where
        F: Fn(&BoxedUint, &BoxedUint) -> BoxedUint + Sync,
    {
        let (plain, random) = (self.plain(), self.plain() + EXTRA);
        parallel::fill_rows(out, self.cipher(), POWER, |first, rows| {
            for (i, row) in rows.chunks_exact_mut(self.cipher()).enumerate() {
                let m = self.plaintext(&plaintexts[(first + i) * plain..][..plain])?;
                let r = self.randomness(&randomness[(first + i) * random..][..random])?;
                write(&encrypt(&m, &r), row);
            }
            Ok(())
        })
    }

    /// Refuses what is not below n² or not coprime to n, such as zero. How long it takes depends on the ciphertexts.
    pub fn check_vartime(&self, ciphertexts: &[u8]) -> Result<(), Error> {
        let mut unused = vec![0u8; ciphertexts.len() / self.cipher()];
        parallel::fill_rows(&mut unused, 1, POWER, |first, rows| {
            for index in first..first + rows.len() {
                let c = self.ciphertext(&ciphertexts[index * self.cipher()..][..self.cipher()], index)?;
                let common = self.n.gcd_vartime(&c.rem_vartime(&non_zero(&self.n)));
                if !bool::from(common.as_ref().is_one()) {
                    return Err(Error::InvalidCiphertext { index });
                }
            }
            Ok(())
        })
    }

    /// Linear combinations: row i becomes addend i times the product of all c_j^(w_ij), an encryption of a_i + Σ w_ij·m_j.
    ///
    /// `addends` has a ciphertext for each row of weights, and these decide whether anything shows of the weights: fresh
    /// encryptions of masks hide them. Straus's method with windows of four bits, every table read whole.
    pub fn combine(&self, ciphertexts: &[u8], weights: &[u64], addends: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let cipher = self.cipher();
        let columns = ciphertexts.len() / cipher;
        for (i, (row, addend)) in out.chunks_exact_mut(cipher).zip(addends.chunks_exact(cipher)).enumerate() {
            write(&self.ciphertext(addend, i)?, row);
        }
        for from in (0..columns).step_by(COLUMNS) {
            let count = COLUMNS.min(columns - from);
            let tables = self.tables(&ciphertexts[from * cipher..][..count * cipher], from)?;
            parallel::fill_rows(out, cipher, POWER, |first, rows| {
                let mut multiplier = Multiplier::from(&self.square);
                let mut power = BoxedMontyForm::zero(&self.square);
                for (i, row) in rows.chunks_exact_mut(cipher).enumerate() {
                    let weights = &weights[(first + i) * columns + from..][..count];
                    let mut sum = BoxedMontyForm::one(&self.square);
                    for shift in (0..u64::BITS).step_by(WINDOW as usize).rev() {
                        for _ in 0..WINDOW {
                            multiplier.square_assign(&mut sum);
                        }
                        for (powers, weight) in tables.chunks_exact(POWERS).zip(weights) {
                            let wanted = (weight >> shift) & (POWERS as u64 - 1);
                            for (k, candidate) in powers.iter().enumerate() {
                                let chosen = (k as u64).ct_eq(&wanted);
                                power.as_montgomery_mut().ct_assign(candidate.as_montgomery(), chosen);
                            }
                            multiplier.mul_assign(&mut sum, &power);
                        }
                    }
                    multiplier.mul_assign(&mut sum, &self.form(number(row, 2 * self.bits)));
                    write(&sum.retrieve(), row);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// For each ciphertext its powers 0 to 15.
    fn tables(&self, ciphertexts: &[u8], from: usize) -> Result<Vec<BoxedMontyForm>, Error> {
        let cipher = self.cipher();
        let mut tables = vec![BoxedMontyForm::one(&self.square); ciphertexts.len() / cipher * POWERS];
        parallel::fill_rows(&mut tables, POWERS, POWER, |first, rows| {
            for (i, powers) in rows.chunks_exact_mut(POWERS).enumerate() {
                let bytes = &ciphertexts[(first + i) * cipher..][..cipher];
                let base = self.form(self.ciphertext(bytes, from + first + i)?);
                for k in 1..POWERS {
                    powers[k] = powers[k - 1].mul(&base);
                }
            }
            Ok(())
        })?;
        Ok(tables)
    }
}

/// One of the two primes, and what is computed from it once.
struct Half {
    bits: u32,
    prime: Odd<BoxedUint>,
    modulo: BoxedMontyParams,
    square: BoxedMontyParams,
    less_one: BoxedUint,
    /// The other prime modulo p − 1.
    exponent: BoxedUint,
    /// The other prime modulo p.
    cofactor: BoxedMontyForm,
    /// p^-1 modulo 2^(K/2): divides what p divides.
    divisor: BoxedUint,
    /// (−q)^-1 modulo p: what L gives for an encryption of 1, inverted.
    h: BoxedMontyForm,
}

impl Half {
    fn new(prime: &BoxedUint, other: &BoxedUint) -> Result<Self, Error> {
        const WRONG: &str = "p and q must be different primes of the same length, a multiple of 8 bytes";
        let bits = prime.bits_precision();
        let prime = odd(prime.clone(), WRONG)?;
        let modulo = BoxedMontyParams::new(prime.clone());
        let square = BoxedMontyParams::new(odd(prime.as_ref().concatenating_mul(prime.as_ref()), WRONG)?);
        let less_one = prime.as_ref().wrapping_sub(BoxedUint::one_with_precision(bits));
        // Fermat's test, to base 2: it does not prove that p is a prime, it finds the slip of a hand.
        let two = BoxedMontyForm::one(&modulo).double();
        let is_one = two.pow_bounded_exp(&less_one, bits).retrieve().is_one();
        let order = Option::from(NonZero::new(less_one.clone())).ok_or(Error::Misuse(WRONG))?;
        let cofactor = BoxedMontyForm::new(other.rem(&non_zero(&prime)), &modulo);
        let h = Option::<BoxedMontyForm>::from(cofactor.neg().invert());
        let (divisor, _) = prime.as_ref().invert_mod2k(bits);
        match h {
            Some(h) if bool::from(is_one) => {
                let exponent = other.rem(&order);
                Ok(Self { bits, prime, modulo, square, less_one, exponent, cofactor, divisor, h })
            }
            _ => Err(Error::Misuse(WRONG)),
        }
    }

    /// Enc(m; r) modulo p².
    fn encrypt(&self, m: &BoxedUint, r: &BoxedUint) -> BoxedUint {
        let prime = non_zero(&self.prime);
        let base = BoxedMontyForm::new(r.rem(&prime), &self.modulo).pow_bounded_exp(&self.exponent, self.bits);
        let base = BoxedMontyForm::new(base.retrieve().resize(2 * self.bits), &self.square);
        let power = base.pow_bounded_exp(self.prime.as_ref(), self.bits);
        // m·n = p·(m·q) modulo p², and m·q counts modulo p.
        let scaled = BoxedMontyForm::new(m.rem(&prime), &self.modulo).mul(&self.cofactor).retrieve();
        let mut message = scaled.concatenating_mul(self.prime.as_ref());
        message.wrapping_add_assign(BoxedUint::one_with_precision(2 * self.bits));
        power.mul(&BoxedMontyForm::new(message, &self.square)).retrieve()
    }

    /// The plaintext modulo p; none where p divides c.
    fn decrypt(&self, c: &BoxedUint) -> Option<BoxedUint> {
        let c = c.rem(self.square.modulus().as_nz_ref());
        if c.rem(&non_zero(&self.prime)).is_zero().into() {
            return None;
        }
        let mut u = BoxedMontyForm::new(c, &self.square).pow_bounded_exp(&self.less_one, self.bits).retrieve();
        u.wrapping_sub_assign(BoxedUint::one_with_precision(2 * self.bits));
        let quotient = u.resize_unchecked(self.bits).wrapping_mul(&self.divisor);
        Some(BoxedMontyForm::new(quotient, &self.modulo).mul(&self.h).retrieve())
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.less_one.zeroize();
        self.exponent.zeroize();
        self.cofactor.zeroize();
        self.divisor.zeroize();
        self.h.zeroize();
    }
}

/// The private key. What crypto-bigint keeps of p for its reductions is shared with every number modulo p, and not wiped.
pub struct Private {
    public: Public,
    p: Half,
    q: Half,
    /// p^-1 modulo q.
    p_inverse: BoxedMontyForm,
    /// p^-2 modulo q².
    square_inverse: BoxedMontyForm,
}

impl Private {
    /// From the two primes, of the same length, whose product has twice as many bits.
    pub fn new(p: &[u8], q: &[u8]) -> Result<Self, Error> {
        const WRONG: &str = "p and q must be different primes of the same length, a multiple of 8 bytes";
        if p.is_empty() || p.len() != q.len() || !p.len().is_multiple_of(8) {
            return Err(Error::Misuse(WRONG));
        }
        let bits = p.len() as u32 * 8;
        let (p, q) = (Zeroizing::new(number(p, bits)), Zeroizing::new(number(q, bits)));
        let public = Public::new(&p.concatenating_mul(&*q).to_le_bytes())?;
        let (p, q) = (Half::new(&p, &q)?, Half::new(&q, &p)?);
        let p_inverse = BoxedMontyForm::new(p.prime.as_ref().rem(&non_zero(&q.prime)), &q.modulo).invert();
        let square = p.square.modulus().as_ref().rem(q.square.modulus().as_nz_ref());
        let square_inverse = BoxedMontyForm::new(square, &q.square).invert();
        match (Option::from(p_inverse), Option::from(square_inverse)) {
            (Some(p_inverse), Some(square_inverse)) => Ok(Self { public, p, q, p_inverse, square_inverse }),
            _ => Err(Error::Misuse(WRONG)),
        }
    }

    /// The public key.
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// As the public key's, in about a third of the time.
    pub fn encrypt(&self, plaintexts: &[u8], randomness: &[u8], out: &mut [u8]) -> Result<(), Error> {
        self.public.encrypt_each(plaintexts, randomness, out, |m, r| {
            join(&self.p.encrypt(m, r), &self.q.encrypt(m, r), &self.p.square, &self.q.square, &self.square_inverse)
        })
    }

    /// Decrypts ciphertexts; refuses one that is not below n² or not coprime to n.
    pub fn decrypt(&self, ciphertexts: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let (plain, cipher) = (self.public.plain(), self.public.cipher());
        parallel::fill_rows(out, plain, POWER, |first, rows| {
            for (i, row) in rows.chunks_exact_mut(plain).enumerate() {
                let index = first + i;
                let c = self.public.ciphertext(&ciphertexts[index * cipher..][..cipher], index)?;
                match (self.p.decrypt(&c), self.q.decrypt(&c)) {
                    (Some(m_p), Some(m_q)) => {
                        let m = join(&m_p, &m_q, &self.p.modulo, &self.q.modulo, &self.p_inverse);
                        write(&Zeroizing::new(m), row);
                    }
                    _ => return Err(Error::InvalidCiphertext { index }),
                }
            }
            Ok(())
        })
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.p_inverse.zeroize();
        self.square_inverse.zeroize();
    }
}

/// The number that is `a` modulo the first and `b` modulo the second: a + first·((b − a)·first^-1 mod second).
fn join(
    a: &BoxedUint,
    b: &BoxedUint,
    first: &BoxedMontyParams,
    second: &BoxedMontyParams,
    inverse: &BoxedMontyForm,
) -> BoxedUint {
    let there = BoxedMontyForm::new(a.rem(second.modulus().as_nz_ref()), second);
    let step = BoxedMontyForm::new(b.clone(), second).sub(&there).mul(inverse).retrieve();
    let mut joined = step.concatenating_mul(first.modulus().as_ref());
    joined.wrapping_add_assign(a.resize(joined.bits_precision()));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two primes of 128 bits: too short for secrets, and quick.
    fn key() -> Private {
        Private::new(&next_prime(3 << 126).to_le_bytes(), &next_prime(7 << 125).to_le_bytes()).unwrap()
    }

    fn next_prime(mut from: u128) -> u128 {
        from |= 1;
        loop {
            let number = BoxedUint::from(from);
            let params = BoxedMontyParams::new_vartime(Odd::new(number.clone()).unwrap());
            let less_one = number.wrapping_sub(BoxedUint::one_with_precision(128));
            let fermat = |base: u64| {
                let base = BoxedUint::from(base).resize(128);
                BoxedMontyForm::new(base, &params).pow(&less_one).retrieve().is_one().into()
            };
            if [2, 3, 5, 7, 11].into_iter().all(fermat) {
                return from;
            }
            from += 2;
        }
    }

    fn rows(values: &[u128], width: usize) -> Vec<u8> {
        let mut out = vec![0; values.len() * width];
        for (row, value) in out.chunks_exact_mut(width).zip(values) {
            row[..16].copy_from_slice(&value.to_le_bytes());
        }
        out
    }

    fn encrypted(key: &Private, values: &[u128]) -> Vec<u8> {
        let plain = key.public().plain();
        let randomness: Vec<u8> = (0..values.len() * (plain + EXTRA)).map(|i| (i * 89 + 7) as u8).collect();
        let mut one = vec![0; values.len() * key.public().cipher()];
        let mut other = one.clone();
        key.encrypt(&rows(values, plain), &randomness, &mut one).unwrap();
        key.public().encrypt(&rows(values, plain), &randomness, &mut other).unwrap();
        assert_eq!(one, other, "with the private key and without it, the same");
        key.public().check_vartime(&one).unwrap();
        one
    }

    #[test]
    fn what_was_encrypted_comes_back() {
        let key = key();
        let values = [0, 1, u128::MAX, 12345];
        let mut out = vec![0; 4 * key.public().plain()];
        key.decrypt(&encrypted(&key, &values), &mut out).unwrap();
        assert_eq!(out, rows(&values, key.public().plain()));
    }

    #[test]
    fn combinations_are_those_of_the_plaintexts() {
        let key = key();
        let values: Vec<u128> = (0..COLUMNS as u128 + 3).map(|i| i * i * 0x1234_5678_9abc).collect();
        let weights: Vec<u64> = (0..2 * values.len() as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let weights: Vec<u64> = weights.into_iter().map(|w| w >> 24).collect();
        let (addends, cipher) = ([5u128, 1 << 100], key.public().cipher());
        let mut sums = vec![0; 2 * cipher];
        let (columns, last) = (encrypted(&key, &values), encrypted(&key, &addends));
        key.public().combine(&columns, &weights, &last, &mut sums).unwrap();
        let mut out = vec![0; 2 * key.public().plain()];
        key.decrypt(&sums, &mut out).unwrap();
        let expected: Vec<u128> = (0..2)
            .map(|i| {
                let row = &weights[i * values.len()..][..values.len()];
                row.iter().zip(&values).fold(addends[i], |sum, (&w, v)| sum + u128::from(w) * v)
            })
            .collect();
        assert_eq!(out, rows(&expected, key.public().plain()));
    }

    #[test]
    fn what_is_no_ciphertext_is_refused() {
        let key = key();
        let (plain, cipher) = (key.public().plain(), key.public().cipher());
        let good = encrypted(&key, &[1]);
        let n = key.public().n.as_ref().resize(8 * cipher as u32).to_le_bytes();
        let square = key.public().square.modulus().as_ref().to_le_bytes();
        let prime = key.p.prime.as_ref().resize(8 * cipher as u32).to_le_bytes();
        for bad in [&vec![0; cipher][..], &n, &square, &prime, &vec![255; cipher]] {
            let both = [&good[..], bad].concat();
            let refused = Err(Error::InvalidCiphertext { index: 1 });
            assert_eq!(key.public().check_vartime(&both), refused);
            assert_eq!(key.decrypt(&both, &mut vec![0; 2 * plain]), refused);
        }
        let (n, random) = (&n[..plain], vec![1; plain + EXTRA]);
        assert!(key.encrypt(n, &random, &mut vec![0; cipher]).is_err());
        assert!(key.encrypt(&vec![0; plain], &vec![0; plain + EXTRA], &mut vec![0; cipher]).is_err());
    }

    #[test]
    fn a_bad_key_is_refused() {
        let (p, q) = (next_prime(3 << 126), next_prime(7 << 125));
        let key = |p: u128, q: u128| Private::new(&p.to_le_bytes(), &q.to_le_bytes()).err();
        assert_eq!(key(p, q), None);
        for (p, q) in [(p, p), (p, q + 1), (p, q + 2), (p, 1), (p, 0), (p, next_prime(1 << 100))] {
            assert!(key(p, q).is_some());
        }
        assert!(Private::new(&p.to_le_bytes(), &q.to_le_bytes()[..8]).is_err());
        assert!(Public::new(&[0; 32]).is_err());
        assert!(Public::new(&[255; 24]).is_err());
    }
}
