//! Arithmetic modulo word-sized primes, and the number-theoretic transform of polynomials modulo X^N + 1.
//!
//! For a prime p = 1 mod 2N there is ψ of order 2N, and a polynomial of degree below N is told by its values at the odd
//! powers of ψ; multiplying polynomials modulo X^N + 1 multiplies these values one by one. `forward` puts the value at
//! ψ^(2·rev(k)+1) in place k, where rev reverses the log2 N bits of k.
//!
//! The loops are Harvey's (*Faster arithmetic for number-theoretic transforms*, 2014): factors come with their quotient by
//! the modulus, and numbers stay below 4p between the levels, for p below 2^62. No step branches on a number or accesses
//! memory by one, so the time of everything here but the set-up is the same whatever the numbers are.

use zeroize::Zeroizing;

/// A prime below 2^62, and what divides by it.
#[derive(Clone, Copy, Debug)]
pub struct Modulus {
    p: u64,
    bits: u32,
    /// floor(2^128 / p), low word first.
    ratio: [u64; 2],
    /// floor(2^(127 + bits) / p), low word first.
    fraction: [u64; 2],
}

impl Modulus {
    /// For an odd prime from 2^32 to 2^62.
    pub fn new(p: u64) -> Self {
        assert!(p % 2 == 1 && (1 << 32..1 << 62).contains(&p), "a prime of 33 to 62 bits");
        let bits = u64::BITS - p.leading_zeros();
        Self { p, bits, ratio: divide(128, p), fraction: divide(127 + bits, p) }
    }

    /// The prime.
    pub fn p(&self) -> u64 {
        self.p
    }

    /// How many bits it has.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// x mod p for x below 2p.
    #[inline(always)]
    pub fn once(&self, x: u64) -> u64 {
        x.min(x.wrapping_sub(self.p))
    }

    /// x mod p.
    #[inline(always)]
    pub fn reduce(&self, x: u64) -> u64 {
        let quotient = high(x, self.ratio[1]);
        self.once(x.wrapping_sub(quotient.wrapping_mul(self.p)))
    }

    /// x mod p.
    #[inline(always)]
    pub fn reduce_wide(&self, x: u128) -> u64 {
        let (x0, x1) = (x as u64, (x >> 64) as u64);
        let [r0, r1] = self.ratio;
        let middle = wide(x0, r1) + u128::from(high(x0, r0));
        let middle_too = wide(x1, r0) + u128::from(middle as u64);
        let quotient = x1.wrapping_mul(r1).wrapping_add((middle >> 64) as u64).wrapping_add((middle_too >> 64) as u64);
        self.once(x0.wrapping_sub(quotient.wrapping_mul(self.p)))
    }

    /// A signed number mod p.
    #[inline(always)]
    pub fn reduce_signed(&self, x: i64) -> u64 {
        // The residue of x + 2^63 less that of 2^63, so that there is no branch on the sign.
        self.sub(self.reduce(x as u64 ^ 1 << 63), self.reduce(1 << 63))
    }

    /// A signed number mod p, of less than p in size.
    #[inline(always)]
    pub fn reduce_small(&self, x: i64) -> u64 {
        (x as u64).wrapping_add(self.p & (x >> 63) as u64)
    }

    /// (a + b) mod p for residues.
    #[inline(always)]
    pub fn add(&self, a: u64, b: u64) -> u64 {
        self.once(a + b)
    }

    /// (a - b) mod p for residues.
    #[inline(always)]
    pub fn sub(&self, a: u64, b: u64) -> u64 {
        let difference = a.wrapping_sub(b);
        difference.min(difference.wrapping_add(self.p))
    }

    /// a · b mod p for residues.
    #[inline(always)]
    pub fn mul(&self, a: u64, b: u64) -> u64 {
        self.reduce_wide(wide(a, b))
    }

    /// The residue as a signed number of least size.
    #[inline(always)]
    pub fn centred(&self, x: u64) -> i64 {
        let above = u64::from(x > self.p / 2).wrapping_neg();
        x.wrapping_sub(self.p & above) as i64
    }

    /// floor(2^128 · x / p) for a residue x, at most 3 too small.
    #[inline(always)]
    pub fn fraction_of(&self, x: u64) -> u128 {
        let low = wide(x, self.fraction[0]);
        let upper = wide(x, self.fraction[1]) + (low >> 64);
        let shift = self.bits - 1;
        upper << (64 - shift) | u128::from(low as u64 >> shift)
    }

    /// x^e mod p. The time depends on e.
    pub fn pow_vartime(&self, x: u64, mut e: u64) -> u64 {
        let (mut power, mut result) = (self.reduce(x), 1);
        while e > 0 {
            if e & 1 == 1 {
                result = self.mul(result, power);
            }
            power = self.mul(power, power);
            e >>= 1;
        }
        result
    }

    /// The inverse mod p of a number that is not a multiple of p.
    pub fn invert(&self, x: u64) -> u64 {
        self.pow_vartime(x, self.p - 2)
    }
}

/// floor(2^exponent / p), low word first, for 64 ≤ exponent < 128 + bits of p.
fn divide(exponent: u32, p: u64) -> [u64; 2] {
    let p = u128::from(p);
    let (mut quotient, mut rest) = (0u128, 1u128);
    for _ in 0..exponent {
        rest <<= 1;
        quotient = quotient << 1 | u128::from(rest >= p);
        if rest >= p {
            rest -= p;
        }
    }
    [quotient as u64, (quotient >> 64) as u64]
}

#[inline(always)]
fn wide(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

#[inline(always)]
fn high(a: u64, b: u64) -> u64 {
    (wide(a, b) >> 64) as u64
}

/// A factor that many numbers are multiplied by, with floor(2^64 · factor / p).
#[derive(Clone, Copy, Debug)]
pub struct Factor {
    value: u64,
    quotient: u64,
}

impl Factor {
    /// A factor mod p.
    pub fn new(modulus: &Modulus, value: u64) -> Self {
        let value = modulus.reduce(value);
        Self { value, quotient: ((u128::from(value) << 64) / u128::from(modulus.p)) as u64 }
    }

    /// x · factor mod p, or p more, for any x.
    #[inline(always)]
    fn times_lazy(self, x: u64, p: u64) -> u64 {
        x.wrapping_mul(self.value).wrapping_sub(high(x, self.quotient).wrapping_mul(p))
    }

    /// x · factor mod p, for any signed x.
    #[inline(always)]
    pub fn times_signed(self, x: i64, modulus: &Modulus) -> u64 {
        modulus.sub(self.times(x as u64 ^ 1 << 63, modulus), self.times(1 << 63, modulus))
    }

    /// x · factor mod p, for any x.
    #[inline(always)]
    pub fn times(self, x: u64, modulus: &Modulus) -> u64 {
        modulus.once(self.times_lazy(x, modulus.p))
    }
}

/// Numbers that the three levels nearest to the values work on at once.
const LAST: usize = 8;

/// The transform for one prime and one N.
pub struct Ntt {
    /// The prime.
    pub modulus: Modulus,
    /// Powers of ψ in the order in which `forward` needs them, from place 1 on.
    roots: Vec<Factor>,
    /// Inverses of the same.
    inverse_roots: Vec<Factor>,
    inverse_n: Factor,
}

impl Ntt {
    /// For polynomials of `n` coefficients, 2 to an odd power of at least 3, and a prime 1 mod 2n.
    ///
    /// ψ is g^((p - 1) / 2n) for the least g > 1 that makes it have order 2n.
    pub fn new(p: u64, n: usize) -> Self {
        let modulus = Modulus::new(p);
        let order = 2 * n as u64;
        assert!(n.is_power_of_two() && n >= LAST && n.ilog2() % 2 == 1, "2 to an odd power of at least 3");
        assert!((p - 1).is_multiple_of(order), "a prime that is 1 mod 2n");
        let psi = (2..)
            .map(|g| modulus.pow_vartime(g, (p - 1) / order))
            .find(|&root| modulus.pow_vartime(root, n as u64) == p - 1)
            .expect("a prime has a root of every order that divides p - 1");
        let powers = |root: u64| {
            let mut out = vec![Factor::new(&modulus, 1); n];
            let mut power = 1;
            for i in 0..n {
                let place = i.reverse_bits() >> (usize::BITS - n.ilog2());
                out[place] = Factor::new(&modulus, power);
                power = modulus.mul(power, root);
            }
            out
        };
        let inverse_n = Factor::new(&modulus, modulus.invert(n as u64));
        Self { modulus, roots: powers(psi), inverse_roots: powers(modulus.invert(psi)), inverse_n }
    }

    /// Coefficients to values, in place: residues in, residues out.
    pub fn forward(&self, x: &mut [u64]) {
        let (p, n) = (self.modulus.p, self.roots.len());
        assert_eq!(x.len(), n);
        let twice = 2 * p;
        let butterfly = |a: &mut u64, b: &mut u64, root: Factor| {
            let u = (*a).min(a.wrapping_sub(twice));
            let v = root.times_lazy(*b, p);
            *a = u + v;
            *b = u + twice - v;
        };
        // Two levels at a time, so that each number is loaded half as often, and the last three at once.
        let (mut blocks, mut width) = (1, n);
        while width > LAST {
            let quarter = width / 4;
            for (i, block) in x.chunks_exact_mut(width).enumerate() {
                let first = self.roots[blocks + i];
                let second = [self.roots[2 * (blocks + i)], self.roots[2 * (blocks + i) + 1]];
                let (left, right) = block.split_at_mut(2 * quarter);
                let (a, b) = left.split_at_mut(quarter);
                let (c, d) = right.split_at_mut(quarter);
                for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                    butterfly(a, c, first);
                    butterfly(b, d, first);
                    butterfly(a, b, second[0]);
                    butterfly(c, d, second[1]);
                }
            }
            blocks *= 4;
            width /= 4;
        }
        let roots = [1, 2, 4].map(|level| &self.roots[level * blocks..2 * level * blocks]);
        let roots = roots[0].iter().zip(roots[1].as_chunks::<2>().0).zip(roots[2].as_chunks::<4>().0);
        for ([a, b, c, d, e, f, g, h], ((&first, second), third)) in x.as_chunks_mut::<LAST>().0.iter_mut().zip(roots) {
            butterfly(a, e, first);
            butterfly(b, f, first);
            butterfly(c, g, first);
            butterfly(d, h, first);
            butterfly(a, c, second[0]);
            butterfly(b, d, second[0]);
            butterfly(e, g, second[1]);
            butterfly(f, h, second[1]);
            butterfly(a, b, third[0]);
            butterfly(c, d, third[1]);
            butterfly(e, f, third[2]);
            butterfly(g, h, third[3]);
            for value in [a, b, c, d, e, f, g, h] {
                let below = (*value).min(value.wrapping_sub(twice));
                *value = self.modulus.once(below);
            }
        }
    }

    /// Values to coefficients, in place: residues in, residues out.
    pub fn inverse(&self, x: &mut [u64]) {
        let (p, n) = (self.modulus.p, self.roots.len());
        assert_eq!(x.len(), n);
        let twice = 2 * p;
        let butterfly = |a: &mut u64, b: &mut u64, root: Factor| {
            let (sum, difference) = (*a + *b, *a + twice - *b);
            *a = sum.min(sum.wrapping_sub(twice));
            *b = root.times_lazy(difference, p);
        };
        let blocks = n / LAST;
        let roots = [1, 2, 4].map(|level| &self.inverse_roots[level * blocks..2 * level * blocks]);
        let roots = roots[0].iter().zip(roots[1].as_chunks::<2>().0).zip(roots[2].as_chunks::<4>().0);
        for ([a, b, c, d, e, f, g, h], ((&last, second), first)) in x.as_chunks_mut::<LAST>().0.iter_mut().zip(roots) {
            butterfly(a, b, first[0]);
            butterfly(c, d, first[1]);
            butterfly(e, f, first[2]);
            butterfly(g, h, first[3]);
            butterfly(a, c, second[0]);
            butterfly(b, d, second[0]);
            butterfly(e, g, second[1]);
            butterfly(f, h, second[1]);
            butterfly(a, e, last);
            butterfly(b, f, last);
            butterfly(c, g, last);
            butterfly(d, h, last);
        }
        // The rest two levels at a time: `blocks` are those of the first of the two, of `width` numbers each.
        let (mut blocks, mut width) = (blocks / 2, 2 * LAST);
        while blocks >= 1 {
            let (half, outer) = (width / 2, blocks / 2);
            for (i, block) in x.chunks_exact_mut(2 * width).enumerate() {
                let first = [self.inverse_roots[blocks + 2 * i], self.inverse_roots[blocks + 2 * i + 1]];
                let second = self.inverse_roots[outer + i];
                let (left, right) = block.split_at_mut(width);
                let (a, b) = left.split_at_mut(half);
                let (c, d) = right.split_at_mut(half);
                for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                    butterfly(a, b, first[0]);
                    butterfly(c, d, first[1]);
                    butterfly(a, c, second);
                    butterfly(b, d, second);
                }
            }
            blocks /= 4;
            width *= 4;
        }
        for value in x.iter_mut() {
            *value = self.inverse_n.times(*value, &self.modulus);
        }
    }
}

/// A polynomial's worth of secret numbers, wiped when dropped.
pub fn secret_row(n: usize) -> Zeroizing<Vec<u64>> {
    Zeroizing::new(vec![0; n])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMES: [u64; 4] = [0x3fffffffffff0001, 0x1ffffffffb4001, 0xfffffffffffc001, 0xfffffdc001];

    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(0x5851f42d4c957f2d).wrapping_add(0x14057b7ef767814f);
            state ^ state >> 29
        })
    }

    #[test]
    fn reductions_are_remainders() {
        for p in PRIMES {
            let m = Modulus::new(p);
            let edges = [0, 1, p - 1, p, p + 1, 2 * p - 1, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1];
            for x in edges.into_iter().chain(numbers(p).take(500)) {
                assert_eq!(m.reduce(x), x % p);
                assert_eq!(i128::from(m.reduce_signed(x as i64)), i128::from(x as i64).rem_euclid(i128::from(p)));
                let r = x % p;
                assert_eq!(i128::from(m.centred(r)).rem_euclid(i128::from(p)), i128::from(r));
                assert!(m.centred(r).unsigned_abs() <= p / 2);
                assert_eq!(m.reduce_small(m.centred(r)), r);
                for y in edges.into_iter().chain(numbers(x).take(20)) {
                    let both = u128::from(x) << 64 | u128::from(y);
                    assert_eq!(u128::from(m.reduce_wide(both)), both % u128::from(p));
                    let factor = Factor::new(&m, y);
                    assert_eq!(u128::from(factor.times(x, &m)), wide(x, y % p) % u128::from(p));
                    assert_eq!(factor.times_signed(x as i64, &m), factor.times(m.reduce_signed(x as i64), &m));
                    let s = y % p;
                    assert_eq!(m.sub(m.add(r, s), s), r);
                    assert_eq!(u128::from(m.mul(r, s)), wide(r, s) % u128::from(p));
                }
            }
        }
    }

    #[test]
    fn fractions_are_quotients() {
        for p in PRIMES {
            let m = Modulus::new(p);
            for x in [0, 1, p / 2, p - 1].into_iter().chain(numbers(p).take(500).map(|x| x % p)) {
                // floor(2^128 x / p), word after word.
                let upper = (u128::from(x) << 64) / u128::from(p);
                let rest = (u128::from(x) << 64) % u128::from(p);
                let exact = (upper << 64) | ((rest << 64) / u128::from(p));
                assert!((0..=3).contains(&(exact - m.fraction_of(x))), "{x} of {p}");
            }
        }
    }

    #[test]
    fn transforms_multiply_polynomials() {
        for (p, n) in [(PRIMES[0], 8), (PRIMES[1], 32), (PRIMES[2], 128), (PRIMES[3], 512), (PRIMES[0], 8192)] {
            let ntt = Ntt::new(p, n);
            let m = &ntt.modulus;
            let a: Vec<u64> = numbers(1).take(n).map(|x| x % p).collect();
            let mut sparse = vec![0; n];
            sparse[n - 1] = p - 1;
            sparse[1] = numbers(7).next().unwrap() % p;
            let mut expected = vec![0; n];
            for (i, &x) in a.iter().enumerate() {
                for (j, &y) in sparse.iter().enumerate().filter(|(_, y)| **y != 0) {
                    let product = m.mul(x, y);
                    let place = (i + j) % n;
                    expected[place] =
                        if i + j < n { m.add(expected[place], product) } else { m.sub(expected[place], product) };
                }
            }
            let (mut fa, mut fb) = (a.clone(), sparse);
            ntt.forward(&mut fa);
            ntt.forward(&mut fb);
            let mut product: Vec<u64> = fa.iter().zip(&fb).map(|(&x, &y)| m.mul(x, y)).collect();
            ntt.inverse(&mut product);
            assert_eq!(product, expected);
            ntt.inverse(&mut fa);
            assert_eq!(fa, a);
        }
    }

    #[test]
    fn values_stand_where_they_should() {
        let (p, n) = (PRIMES[1], 32);
        let ntt = Ntt::new(p, n);
        let m = &ntt.modulus;
        let psi = ntt.roots[n / 2].value; // place n/2 is 1 with its bits reversed
        assert_eq!(m.pow_vartime(psi, n as u64), p - 1);
        let a: Vec<u64> = numbers(3).take(n).map(|x| x % p).collect();
        let mut values = a.clone();
        ntt.forward(&mut values);
        for (k, &value) in values.iter().enumerate() {
            let x = m.pow_vartime(psi, 2 * (k.reverse_bits() >> (usize::BITS - 5)) as u64 + 1);
            assert_eq!(value, a.iter().rev().fold(0, |sum, &c| m.add(m.mul(sum, x), c)));
        }
    }
}
