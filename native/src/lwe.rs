//! Counts and sums by bin under encryption: module LWE whose public matrix one party multiplies by its 0/1 matrix once.
//!
//! Numbers are `u32`, modulo q = 2^32. Ring: Z_q[X] / (X^512 + 1), rank 3; so a *block* of 512 rows of the public matrix A
//! is three polynomials a_0, a_1, a_2, and the rows' products with a secret s = (s_0, s_1, s_2) of 1536 bits are the
//! coefficients of Σ a_j·s_j. A vector v goes as c = A·s + e + v with a fresh secret and fresh errors, centred binomial
//! of variance 10.5. `docs/decisions/0025-lwe.md` has the estimate of its security.
//!
//! One party has `codes`, (n, k): the bin of each row in each of k columns, column number j of which has `sizes[j]` bins.
//! The matrix M that says which row falls into which of all m bins is never there: M·c and M·A are sums of rows by bin
//! ([`add_vartime`], [`hint_vartime`]). Of (M·A)·s the parties get shares by correlated transfers ([`offer`], [`choose`]).
//!
//! A·s is computed exactly, modulo two primes below 2^30 whose product is above 2·1536·2^32, eight polynomials at a time:
//! a number of each in one vector register, so that no step of a transform moves anything between lanes. They are those of
//! eight vectors, or of fewer and several blocks of rows.
//!
//! Of what this party keeps to itself, secrets of encryption are never branched on nor made an address of. Bins are:
//! these functions end in `_vartime`. They work on their owner's own data on its own machine.

#[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
mod avx2;

use std::convert::Infallible;
use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::Error;
use crate::blocks::{Block, Permutation, xor};
use crate::parallel::{self, Grain};
use crate::prg::{self, BLOCK, Stream};
use crate::vectorised::vectorised;

/// Rows of a block, and coefficients of a polynomial.
pub const RING: usize = 512;
/// Polynomials of a block of the public matrix, and of a secret.
pub const RANK: usize = 3;
/// Coordinates of a secret.
pub const DIMENSION: usize = RANK * RING;
/// Bytes of the seed of errors.
pub const SEED: usize = 32;
/// Bytes of the public matrix's seed.
pub const PUBLIC_SEED: usize = 16;
/// Numbers of a block of the public matrix as values.
pub const BLOCK_VALUES: usize = RANK * PRIMES * RING;
/// Numbers of eight secrets as values.
pub const GROUP_VALUES: usize = LANES * BLOCK_VALUES;
/// Vectors that are encrypted together: lanes of a vector register.
pub const LANES: usize = 8;

const PRIMES: usize = 2;
/// Both are 1 mod 1024. The first is the smaller.
const MODULI: [u32; PRIMES] = [0x3fff_dc01, 0x3fff_f401];
/// An error is the difference of the ones among two times this many bits.
const ERROR_BITS: u32 = 21;
/// Coordinates of the hint that a thread works on: what it adds up stays in the second-level cache.
const PART: usize = 128;
/// Rows that are worth a thread.
const ROWS: usize = 1 << 13;
/// Bytes of a stream that are made at a time.
const BUFFER: usize = 1 << 14;

/// For encrypting blocks of rows: some 10 µs for each vector.
const BLOCKS: Grain = Grain { serial: 8, chunk: 16 };
/// For parts that are milliseconds of work each.
const PARTS: Grain = Grain { serial: 1, chunk: 1 };

/// A number of each of eight polynomials.
type Eight = [u32; LANES];
/// A block of the public matrix as values.
type Values = [u32; BLOCK_VALUES];
/// Eight polynomials.
type Polynomials = [Eight; RING];

fn check(condition: bool, text: &'static str) -> Result<(), Error> {
    if condition { Ok(()) } else { Err(Error::Misuse(text)) }
}

/// Eight polynomials modulo each prime, wiped when dropped.
fn scratch() -> Zeroizing<Vec<Polynomials>> {
    Zeroizing::new(vec![[[0; LANES]; RING]; PRIMES])
}

// Transforms -----------------------------------------------------------------------------------------------------------

/// A factor mod p, with floor(2^32 · factor / p).
#[derive(Clone, Copy)]
struct Factor {
    value: u32,
    quotient: u32,
}

impl Factor {
    fn new(p: u32, value: u64) -> Self {
        let value = value % u64::from(p);
        Self { value: value as u32, quotient: ((value << 32) / u64::from(p)) as u32 }
    }
}

/// A number of each of eight polynomials, in whatever the processor has for them. Sums and products wrap.
trait Vector: Copy {
    fn load(from: &Eight) -> Self;
    fn store(self, to: &mut Eight);
    fn splat(x: u32) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn least(self, other: Self) -> Self;
    /// All ones where self > other, zero elsewhere; both are below 2^31.
    fn above(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    /// Bits 32 to 63 of the products with one number.
    fn high(self, factor: Self) -> Self;
    /// (Σ_j a_j·s_j) / 2^32 mod p, or p more, for numbers below p [Montgomery 1985]; `minus_inverse` is -1 / p.
    fn inner(a: [Self; RANK], s: [Self; RANK], p: Self, minus_inverse: Self) -> Self;

    /// x · factor mod p, or p more, for any x.
    #[inline(always)]
    fn times_lazy(self, factor: Factor, p: Self) -> Self {
        let quotient = self.high(Self::splat(factor.quotient));
        self.times(Self::splat(factor.value)).minus(quotient.times(p))
    }

    /// x, or x - p where that is not negative: below p for x below 2p.
    #[inline(always)]
    fn once(self, p: Self) -> Self {
        self.least(self.minus(p))
    }
}

impl Vector for Eight {
    #[inline(always)]
    fn load(from: &Eight) -> Self {
        *from
    }

    #[inline(always)]
    fn store(self, to: &mut Eight) {
        *to = self;
    }

    #[inline(always)]
    fn splat(x: u32) -> Self {
        [x; LANES]
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i].wrapping_add(other[i]))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i].wrapping_sub(other[i]))
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i].wrapping_mul(other[i]))
    }

    #[inline(always)]
    fn least(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i].min(other[i]))
    }

    #[inline(always)]
    fn above(self, other: Self) -> Self {
        std::array::from_fn(|i| u32::from(self[i] > other[i]).wrapping_neg())
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] & other[i])
    }

    #[inline(always)]
    fn high(self, factor: Self) -> Self {
        std::array::from_fn(|i| ((u64::from(self[i]) * u64::from(factor[i])) >> 32) as u32)
    }

    #[inline(always)]
    fn inner(a: [Self; RANK], s: [Self; RANK], p: Self, minus_inverse: Self) -> Self {
        std::array::from_fn(|i| {
            let sum: u64 = a.iter().zip(&s).map(|(a, s)| u64::from(a[i]) * u64::from(s[i])).sum();
            let multiple = (sum as u32).wrapping_mul(minus_inverse[i]);
            // The sum is below 3·2^60 and the multiple of p below 2^62.
            ((sum + u64::from(multiple) * u64::from(p[i])) >> 32) as u32
        })
    }
}

// Functions of vectors are always inlined, and there are no closures in them: what is compiled for AVX2 is the one function
// that calls them all.

/// A step of the transform, for numbers below 4p.
#[inline(always)]
fn forwards<V: Vector>(a: V, b: V, root: Factor, p: V, twice: V) -> (V, V) {
    let (u, v) = (a.once(twice), b.times_lazy(root, p));
    (u.plus(v), u.plus(twice).minus(v))
}

/// A step back, for numbers below 2p.
#[inline(always)]
fn backwards<V: Vector>(a: V, b: V, root: Factor, p: V, twice: V) -> (V, V) {
    (a.plus(b).once(twice), a.plus(twice).minus(b).times_lazy(root, p))
}

/// The numbers at one place of some blocks, 1, 2, 4 or 8 of them, each for as many lanes.
#[inline(always)]
fn of_lanes<V: Vector>(blocks: &[&Values], at: usize) -> V {
    match blocks {
        [a] => V::splat(a[at]),
        [a, b] => {
            let (a, b) = (a[at], b[at]);
            V::load(&[a, a, a, a, b, b, b, b])
        }
        [a, b, c, d] => {
            let (a, b, c, d) = (a[at], b[at], c[at], d[at]);
            V::load(&[a, a, b, b, c, c, d, d])
        }
        [a, b, c, d, e, f, g, h] => V::load(&[a[at], b[at], c[at], d[at], e[at], f[at], g[at], h[at]]),
        _ => unreachable!("1, 2, 4 or 8 blocks"),
    }
}

/// The transform modulo one prime, as `ntt` has it; numbers stay below 4p between the levels.
struct Ntt {
    p: u32,
    one: Factor,
    roots: Vec<Factor>,
    inverse_roots: Vec<Factor>,
    /// 2^32 / 512: takes away what [`Vector::inner`] and the levels leave.
    scale: Factor,
    /// -1 / p mod 2^32.
    minus_inverse: u32,
}

fn pow(p: u32, mut x: u64, mut e: u32) -> u64 {
    let p = u64::from(p);
    let mut result = 1;
    while e > 0 {
        if e & 1 == 1 {
            result = result * x % p;
        }
        x = x * x % p;
        e >>= 1;
    }
    result
}

impl Ntt {
    fn new(p: u32) -> Self {
        let psi = (2..)
            .map(|g| pow(p, g, (p - 1) / (2 * RING as u32)))
            .find(|&root| pow(p, root, RING as u32) == u64::from(p - 1))
            .expect("a prime has a root of every order that divides p - 1");
        let powers = |root: u64| {
            let mut out = vec![Factor::new(p, 1); RING];
            let mut power = 1;
            for i in 0..RING {
                out[i.reverse_bits() >> (usize::BITS - RING.ilog2())] = Factor::new(p, power);
                power = power * root % u64::from(p);
            }
            out
        };
        // Newton's iteration doubles the bits that are right; an odd p is its own inverse modulo 8.
        let inverse = (0..4).fold(p, |x, _| x.wrapping_mul(2u32.wrapping_sub(p.wrapping_mul(x))));
        Self {
            p,
            one: Factor::new(p, 1),
            roots: powers(psi),
            inverse_roots: powers(pow(p, psi, p - 2)),
            scale: Factor::new(p, (1u64 << 32) % u64::from(p) * pow(p, RING as u64, p - 2)),
            minus_inverse: inverse.wrapping_neg(),
        }
    }

    /// Any coefficients to values below p, in place.
    #[inline(always)]
    fn forward<V: Vector>(&self, x: &mut Polynomials) {
        let (p, twice) = (V::splat(self.p), V::splat(2 * self.p));
        for eight in x.iter_mut() {
            V::load(eight).times_lazy(self.one, p).store(eight);
        }
        // Two levels at a time, so that each number is loaded half as often, and the last alone.
        let (mut blocks, mut width) = (1, RING);
        while width > 2 {
            let quarter = width / 4;
            for (i, block) in x.chunks_exact_mut(width).enumerate() {
                let first = self.roots[blocks + i];
                let second = [self.roots[2 * (blocks + i)], self.roots[2 * (blocks + i) + 1]];
                let (left, right) = block.split_at_mut(2 * quarter);
                let (a, b) = left.split_at_mut(quarter);
                let (c, d) = right.split_at_mut(quarter);
                for (((xa, xb), xc), xd) in a.iter_mut().zip(b).zip(c).zip(d) {
                    let (mut a, mut b) = (V::load(xa), V::load(xb));
                    let (mut c, mut d) = (V::load(xc), V::load(xd));
                    (a, c) = forwards(a, c, first, p, twice);
                    (b, d) = forwards(b, d, first, p, twice);
                    (a, b) = forwards(a, b, second[0], p, twice);
                    (c, d) = forwards(c, d, second[1], p, twice);
                    a.store(xa);
                    b.store(xb);
                    c.store(xc);
                    d.store(xd);
                }
            }
            blocks *= 4;
            width /= 4;
        }
        for ([xa, xb], &root) in x.as_chunks_mut::<2>().0.iter_mut().zip(&self.roots[blocks..]) {
            let (a, b) = forwards(V::load(xa), V::load(xb), root, p, twice);
            a.once(twice).once(p).store(xa);
            b.once(twice).once(p).store(xb);
        }
    }

    /// Values below 2p to coefficients below p, in place, times what [`Vector::inner`] divided by.
    #[inline(always)]
    fn inverse<V: Vector>(&self, x: &mut Polynomials) {
        let (p, twice) = (V::splat(self.p), V::splat(2 * self.p));
        for ([xa, xb], &root) in x.as_chunks_mut::<2>().0.iter_mut().zip(&self.inverse_roots[RING / 2..]) {
            let (a, b) = backwards(V::load(xa), V::load(xb), root, p, twice);
            a.store(xa);
            b.store(xb);
        }
        // The rest two levels at a time: `blocks` are those of the first of the two, of `width` numbers each.
        let (mut blocks, mut width) = (RING / 4, 4);
        while blocks >= 1 {
            let half = width / 2;
            for (i, block) in x.chunks_exact_mut(2 * width).enumerate() {
                let first = [self.inverse_roots[blocks + 2 * i], self.inverse_roots[blocks + 2 * i + 1]];
                let second = self.inverse_roots[blocks / 2 + i];
                let (left, right) = block.split_at_mut(width);
                let (a, b) = left.split_at_mut(half);
                let (c, d) = right.split_at_mut(half);
                for (((xa, xb), xc), xd) in a.iter_mut().zip(b).zip(c).zip(d) {
                    let (mut a, mut b) = (V::load(xa), V::load(xb));
                    let (mut c, mut d) = (V::load(xc), V::load(xd));
                    (a, b) = backwards(a, b, first[0], p, twice);
                    (c, d) = backwards(c, d, first[1], p, twice);
                    (a, c) = backwards(a, c, second, p, twice);
                    (b, d) = backwards(b, d, second, p, twice);
                    a.store(xa);
                    b.store(xb);
                    c.store(xc);
                    d.store(xd);
                }
            }
            blocks /= 4;
            width *= 4;
        }
        for eight in x.iter_mut() {
            V::load(eight).times_lazy(self.scale, p).once(p).store(eight);
        }
    }
}

/// Both transforms, and the inverse of the first prime modulo the second.
struct Set {
    primes: [Ntt; PRIMES],
    first_in_second: Factor,
}

impl Set {
    fn get() -> &'static Self {
        static SET: OnceLock<Set> = OnceLock::new();
        let [p0, p1] = MODULI;
        SET.get_or_init(|| Self {
            primes: MODULI.map(Ntt::new),
            first_in_second: Factor::new(p1, pow(p1, u64::from(p0), p1 - 2)),
        })
    }

    /// Σ_j a_j·s_j modulo 2^32, all as values: left in the first of `x`. Of as many `blocks` as there are, 1, 2, 4 or 8,
    /// each belongs to as many lanes.
    #[inline(always)]
    fn product<V: Vector>(&self, blocks: &[&Values], secrets: &[Eight; BLOCK_VALUES], x: &mut [Polynomials]) {
        for (l, (ntt, x)) in self.primes.iter().zip(x.iter_mut()).enumerate() {
            let (p, minus_inverse) = (V::splat(ntt.p), V::splat(ntt.minus_inverse));
            for (i, x) in x.iter_mut().enumerate() {
                let mut a = [p; RANK];
                let mut s = [p; RANK];
                for j in 0..RANK {
                    let at = (j * PRIMES + l) * RING + i;
                    a[j] = of_lanes(blocks, at);
                    s[j] = V::load(&secrets[at]);
                }
                V::inner(a, s, p, minus_inverse).store(x);
            }
            ntt.inverse::<V>(x);
        }
        // The number between -p_0·p_1 / 2 and p_0·p_1 / 2 that has these residues: x_0 + p_0·d for a small d.
        let (p0, p1) = (V::splat(MODULI[0]), V::splat(MODULI[1]));
        let half = V::splat(MODULI[1] / 2);
        let (first, second) = x.split_at_mut(1);
        for (x0, x1) in first[0].iter_mut().zip(&second[0]) {
            let small = V::load(x0);
            let d = V::load(x1).plus(p1).minus(small).times_lazy(self.first_in_second, p1).once(p1);
            let d = d.minus(d.above(half).and(p1));
            small.plus(p0.times(d)).store(x0);
        }
    }
}

/// The values of eight polynomials modulo one prime; `x` are the coefficients, any numbers.
fn to_values(ntt: &Ntt, x: &mut Polynomials) {
    #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
    if avx2::to_values(ntt, x) {
        return;
    }
    ntt.forward::<Eight>(x);
}

/// As [`Set::product`].
fn product(set: &Set, blocks: &[&Values], secrets: &[Eight; BLOCK_VALUES], x: &mut [Polynomials]) {
    #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
    if avx2::product(set, blocks, secrets, x) {
        return;
    }
    set.product::<Eight>(blocks, secrets, x);
}

/// Polynomial number `index` of the public matrix: those of block 0 come first, then those of block 1 and so on.
fn expand_one(stream: &Stream, index: usize, out: &mut [u32; RING]) {
    let mut bytes = [0; 4 * RING];
    stream.fill((index * (4 * RING / BLOCK)) as u128, &mut bytes);
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *out = u32::from_le_bytes(*bytes);
    }
}

fn public_stream(public: &[u8]) -> Result<Stream, Error> {
    let public: &[u8; PUBLIC_SEED] = public.try_into().map_err(|_| Error::Misuse("a public seed is 16 bytes"))?;
    Ok(Stream::new(public))
}

/// The public matrix as values, block after block from the first on: `BLOCK_VALUES` numbers each.
pub fn expand(public: &[u8], out: &mut [u32]) -> Result<(), Error> {
    check(out.len().is_multiple_of(BLOCK_VALUES), "whole blocks")?;
    let (set, stream) = (Set::get(), public_stream(public)?);
    parallel::fill_rows(out, BLOCK_VALUES, BLOCKS, |first, out| {
        let mut coefficients = Box::new([[0; RING]; LANES]);
        let mut x = Box::new([[0; LANES]; RING]);
        for (i, out) in out.chunks_mut(LANES * PRIMES * RING).enumerate() {
            let count = out.len() / (PRIMES * RING);
            for (lane, coefficients) in coefficients[..count].iter_mut().enumerate() {
                expand_one(&stream, first * RANK + i * LANES + lane, coefficients);
            }
            for (l, ntt) in set.primes.iter().enumerate() {
                for (i, x) in x.iter_mut().enumerate() {
                    *x = std::array::from_fn(|lane| coefficients[lane][i]);
                }
                to_values(ntt, &mut x);
                for (lane, out) in out.chunks_exact_mut(PRIMES * RING).enumerate() {
                    out[l * RING..][..RING].iter_mut().zip(x.iter()).for_each(|(out, x)| *out = x[lane]);
                }
            }
        }
        Ok(())
    })
}

/// How many blocks of rows are worked on at once: where w divides 8, so many that with w vectors of each all lanes are full.
fn spread(w: usize) -> usize {
    if w < LANES && LANES.is_multiple_of(w) { LANES / w } else { 1 }
}

/// Secrets as values: `bits` are (w, DIMENSION) of 0 and 1, and `out` has `GROUP_VALUES` numbers for each eight of them.
pub fn secrets(bits: &[u8], out: &mut [u32]) -> Result<(), Error> {
    let w = bits.len() / DIMENSION;
    check(bits.len().is_multiple_of(DIMENSION), "secrets of 1536 bits")?;
    check(out.len() == w.div_ceil(LANES) * GROUP_VALUES, "room for the values of the secrets")?;
    let set = Set::get();
    for (bits, out) in bits.chunks(LANES * DIMENSION).zip(out.chunks_exact_mut(GROUP_VALUES)) {
        let mut both = scratch();
        for (place, out) in out.chunks_exact_mut(LANES * RING).enumerate() {
            let (j, l) = (place / PRIMES, place % PRIMES);
            let x = &mut both[l];
            for (i, x) in x.iter_mut().enumerate() {
                *x = std::array::from_fn(|lane| {
                    let vector = if spread(w) > 1 { lane % w } else { lane };
                    bits.get(vector * DIMENSION + j * RING + i).map_or(0, |bit| u32::from(bit & 1))
                });
            }
            to_values(&set.primes[l], x);
            out.copy_from_slice(x.as_flattened());
        }
    }
    Ok(())
}

vectorised! {
    /// `out` = `words` + errors, an error for each 8 bytes.
    fn add_errors(bytes: &[u8], words: &[u32], out: &mut [u32]) {
        let mask = (1u32 << ERROR_BITS) - 1;
        for ((out, word), bytes) in out.iter_mut().zip(words).zip(bytes.as_chunks().0) {
            let drawn = u64::from_le_bytes(*bytes);
            let (plus, minus) = (drawn as u32 & mask, (drawn >> ERROR_BITS) as u32 & mask);
            *out = word.wrapping_add(plus.count_ones()).wrapping_sub(minus.count_ones());
        }
    }
}

/// Encrypts rows of vectors: c = A·s + e + v, (rows, w), where `blocks` are the values of the rows' blocks of A.
///
/// `first` is the number of the first row among all that are encrypted with this seed of errors, a multiple of [`RING`];
/// the error of row i and vector j is that of word i·w + j of the seed's stream.
pub fn encrypt(
    blocks: &[u32],
    secrets: &[u32],
    seed: &[u8],
    first: usize,
    words: &[u32],
    w: usize,
    out: &mut [u32],
) -> Result<(), Error> {
    check(w > 0 && words.len().is_multiple_of(w) && words.len() == out.len(), "words are (rows, w)")?;
    let rows = words.len() / w;
    check(blocks.len() == rows.div_ceil(RING) * BLOCK_VALUES, "as many blocks as rows need")?;
    check(secrets.len() == w.div_ceil(LANES) * GROUP_VALUES, "as many secrets as vectors")?;
    check(seed.len() == SEED && first.is_multiple_of(RING), "a seed of 32 bytes, and whole blocks of rows before")?;
    let set = Set::get();
    parallel::fill_rows(out, RING * w, BLOCKS, |block, out| {
        let mut bytes = Zeroizing::new([0; BUFFER]);
        let words = &words[block * RING * w..][..out.len()];
        let mut counter = ((first + block * RING) * w * 8 / BLOCK) as u128;
        for (words, out) in words.chunks(BUFFER / 8).zip(out.chunks_mut(BUFFER / 8)) {
            let bytes = &mut bytes[..8 * words.len()];
            prg::fill(seed, counter, bytes)?;
            add_errors(bytes, words, out);
            counter += (BUFFER / BLOCK) as u128;
        }
        let (mut x, spread) = (scratch(), spread(w));
        let blocks = blocks.as_chunks::<BLOCK_VALUES>().0;
        for (group, secrets) in secrets.as_chunks::<LANES>().0.as_chunks::<BLOCK_VALUES>().0.iter().enumerate() {
            let vectors = group * LANES..w.min((group + 1) * LANES);
            for (i, out) in out.chunks_mut(spread * RING * w).enumerate() {
                let first = block + i * spread;
                let last = first + out.len().div_ceil(RING * w) - 1;
                let some: [&Values; LANES] = std::array::from_fn(|b| &blocks[last.min(first + b)]);
                product(set, &some[..spread], secrets, &mut x);
                for (b, out) in out.chunks_mut(RING * w).enumerate() {
                    add_product(&x[0], b * vectors.len(), out, w, vectors.start);
                }
            }
        }
        Ok(())
    })
}

vectorised! {
    /// Adds some lanes to the rows of as many vectors: as many as there are from `vector` on, or lanes.
    fn add_product(x: &Polynomials, lane: usize, out: &mut [u32], w: usize, vector: usize) {
        let count = (w - vector).min(LANES - lane);
        for (row, x) in x.iter().take(out.len() / w).enumerate() {
            let out = &mut out[row * w + vector..][..count];
            for i in 0..count {
                out[i] = out[i].wrapping_add(x[lane + i]);
            }
        }
    }
}

// Sums by bin ----------------------------------------------------------------------------------------------------------

/// The bin of a row: `u8` or `u16`.
pub trait Code: Copy + Ord + Send + Sync + Into<usize> + Default {}
impl Code for u8 {}
impl Code for u16 {}

/// What is added up, wrapping.
pub trait Number: Copy + Send + Sync + Default {
    /// The sum.
    fn plus(self, other: Self) -> Self;
}

impl Number for u32 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Number for i64 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

/// Which bin each row falls into.
#[derive(Clone, Copy)]
pub struct Binned<'a, C> {
    /// (n, k).
    codes: &'a [C],
    /// Where each column's bins begin.
    starts: &'a [usize],
    /// How many bins there are altogether.
    bins: usize,
}

impl<'a, C: Code> Binned<'a, C> {
    /// Checks that every code is below its column's size; `starts` are k + 1 numbers, from 0 to the number of all bins.
    pub fn new(codes: &'a [C], starts: &'a [usize]) -> Result<Self, Error> {
        let (&bins, columns) = starts.split_last().ok_or(Error::Misuse("where the columns' bins begin"))?;
        let k = columns.len();
        check(starts[0] == 0 && starts.is_sorted() && bins < 1 << 32, "bins are counted from 0 up, fewer than 2^32")?;
        check(if k == 0 { codes.is_empty() } else { codes.len().is_multiple_of(k) }, "codes are (n, k)")?;
        let mut most = vec![C::default(); k];
        most_of(codes, &mut most);
        let within = most.iter().zip(starts.windows(2)).all(|(&most, ends)| most.into() < ends[1] - ends[0]);
        check(codes.is_empty() || within, "a code is not below its column's number of bins")?;
        Ok(Self { codes, starts: columns, bins })
    }

    fn columns(&self) -> usize {
        self.starts.len()
    }

    fn rows(&self) -> usize {
        self.codes.len().checked_div(self.columns()).unwrap_or(0)
    }
}

vectorised! {
    /// The largest code of each column.
    fn most_of[C: Code][C](codes: &[C], most: &mut [C]) {
        for row in codes.chunks_exact(most.len().max(1)) {
            for (most, &code) in most.iter_mut().zip(row) {
                *most = code.max(*most);
            }
        }
    }
}

/// Which rows count.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// All.
    All,
    /// Those of these numbers.
    Some(&'a [i32]),
}

/// Adds to `out`, (bins, w), for each bin the words, (n, w), of the rows that fall into it.
pub fn add_vartime<C: Code, W: Number>(
    binned: Binned<'_, C>,
    words: &[W],
    w: usize,
    rows: Rows<'_>,
    out: &mut [W],
) -> Result<(), Error> {
    check(words.len() == binned.rows() * w && out.len() == binned.bins * w, "words are (n, w) and sums (bins, w)")?;
    if let Rows::Some(numbers) = rows {
        let n = binned.rows();
        check(numbers.iter().all(|&row| usize::try_from(row).is_ok_and(|row| row < n)), "a row that there is not")?;
    }
    let mut lane = 0;
    while lane < w {
        let at = At { w, lane };
        lane += match w - lane {
            16.. => add_lanes::<C, W, 16>(binned, words, at, rows, out),
            8.. => add_lanes::<C, W, 8>(binned, words, at, rows, out),
            4.. => add_lanes::<C, W, 4>(binned, words, at, rows, out),
            2.. => add_lanes::<C, W, 2>(binned, words, at, rows, out),
            _ => add_lanes::<C, W, 1>(binned, words, at, rows, out),
        };
    }
    Ok(())
}

/// Lanes of rows of w words, from one on.
#[derive(Clone, Copy)]
struct At {
    w: usize,
    lane: usize,
}

fn add_lanes<C: Code, W: Number, const L: usize>(
    binned: Binned<'_, C>,
    words: &[W],
    at: At,
    rows: Rows<'_>,
    out: &mut [W],
) -> usize {
    let count = match rows {
        Rows::All => binned.rows(),
        Rows::Some(numbers) => numbers.len(),
    };
    let parts = (count / ROWS).clamp(1, parallel::threads().unwrap_or(1));
    let each = count.div_ceil(parts).max(1);
    let mut sums = vec![[W::default(); L]; parts * binned.bins];
    if binned.bins == 0 {
        return L;
    }
    let Ok(()) = parallel::fill_rows(&mut sums, binned.bins, PARTS, |part, sums| {
        let (first, last) = ((part * each).min(count), ((part + 1) * each).min(count));
        match rows {
            Rows::All => add_rows::<C, W, L>(binned, words, at, first, last, sums),
            Rows::Some(numbers) => add_listed::<C, W, L>(binned, words, at, &numbers[first..last], sums),
        }
        Ok::<(), Infallible>(())
    });
    for sums in sums.chunks_exact(binned.bins) {
        for (out, sum) in out.chunks_exact_mut(at.w).zip(sums) {
            for (out, sum) in out[at.lane..at.lane + L].iter_mut().zip(sum) {
                *out = out.plus(*sum);
            }
        }
    }
    L
}

#[inline(always)]
fn add_row<C: Code, W: Number, const L: usize>(starts: &[usize], codes: &[C], words: &[W; L], sums: &mut [[W; L]]) {
    for (&code, start) in codes.iter().zip(starts) {
        let sum = &mut sums[start + code.into()];
        for lane in 0..L {
            sum[lane] = sum[lane].plus(words[lane]);
        }
    }
}

vectorised! {
    fn add_rows[C: Code, W: Number, const L: usize][C, W, L](
        binned: Binned<'_, C>, words: &[W], at: At, first: usize, last: usize, sums: &mut [[W; L]],
    ) {
        let k = binned.columns();
        let codes = binned.codes[first * k..last * k].chunks_exact(k.max(1));
        for (codes, words) in codes.zip(words[first * at.w..last * at.w].chunks_exact(at.w)) {
            let words: &[W; L] = words[at.lane..].first_chunk().expect("as many lanes");
            add_row(binned.starts, codes, words, sums);
        }
    }
}

vectorised! {
    fn add_listed[C: Code, W: Number, const L: usize][C, W, L](
        binned: Binned<'_, C>, words: &[W], at: At, rows: &[i32], sums: &mut [[W; L]],
    ) {
        let k = binned.columns();
        for &row in rows {
            let row = row as usize;
            let words: &[W; L] = words[row * at.w + at.lane..].first_chunk().expect("as many lanes");
            add_row(binned.starts, &binned.codes[row * k..][..k], words, sums);
        }
    }
}

/// The hint M·A on its side, (DIMENSION, bins): for each bin the sum of the public matrix's rows that fall into it.
pub fn hint_vartime<C: Code>(binned: Binned<'_, C>, public: &[u8], out: &mut [u32]) -> Result<(), Error> {
    check(out.len() == DIMENSION * binned.bins, "room for the hint")?;
    let stream = public_stream(public)?;
    if binned.bins == 0 {
        return Ok(());
    }
    parallel::fill_rows(out, PART * binned.bins, PARTS, |part, out| {
        let mut sums = vec![[0; PART]; binned.bins];
        let (j, first) = (part * PART / RING, part * PART % RING);
        let (mut a, mut doubled) = ([0; RING], [0; 2 * RING]);
        let k = binned.columns();
        for (block, codes) in binned.codes.chunks(RING * k).enumerate() {
            expand_one(&stream, block * RANK + j, &mut a);
            // Row i of the block is that of X^i: what s multiplies is a_i, …, a_0, -a_511, …, -a_(i+1).
            for (i, &a) in a.iter().rev().enumerate() {
                doubled[i] = a;
                doubled[RING + i] = a.wrapping_neg();
            }
            for (column, &start) in binned.starts.iter().enumerate() {
                add_slices(codes, k, column, &mut sums[start..], &doubled[first..]);
            }
        }
        for (i, out) in out.chunks_exact_mut(binned.bins).enumerate() {
            out.iter_mut().zip(&sums).for_each(|(out, sum)| *out = sum[i]);
        }
        Ok(())
    })
}

vectorised! {
    fn add_slices[C: Code][C](codes: &[C], k: usize, column: usize, sums: &mut [[u32; PART]], doubled: &[u32]) {
        for (i, codes) in codes.chunks_exact(k).enumerate() {
            let row: &[u32; PART] = doubled[RING - 1 - i..].first_chunk().expect("a part of a row");
            let sum = &mut sums[codes[column].into()];
            for c in 0..PART {
                sum[c] = sum[c].wrapping_add(row[c]);
            }
        }
    }
}

// Shares of the hint times a secret ------------------------------------------------------------------------------------

/// What the hint's owner, who sends, has of its transfers.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    /// Offset between the two messages of every transfer.
    pub delta: &'a Block,
    /// Number of the first transfer: the hash's tweak.
    pub tweak: u64,
    /// The messages for choice 0: one for each vector and coordinate.
    pub k: &'a [Block],
}

/// Some bins of a hint on its side.
#[derive(Clone, Copy)]
pub struct Stretch {
    /// How many bins the hint has.
    pub bins: usize,
    /// The first of these, a multiple of 4.
    pub first: usize,
    /// How many these are.
    pub count: usize,
}

impl Stretch {
    fn check(&self) -> Result<(), Error> {
        let within = self.first.checked_add(self.count).is_some_and(|last| last <= self.bins);
        check(within && self.count > 0 && self.first.is_multiple_of(4), "bins of the hint, from a multiple of 4 on")
    }
}

/// A mask for each of some bins: words of a transfer's stream, from the bin's number on.
fn masks(message: &Block, stretch: Stretch, out: &mut [u8]) {
    Stream::new(message).fill((stretch.first / 4) as u128, out);
}

fn word(bytes: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*bytes)
}

/// The sender's part, for some of the hint's bins and all of the vectors that the transfers are for.
///
/// With m_0 and m_1 the streams of a transfer's two messages, fills `messages`, (w, DIMENSION, count), with
/// m_0 - m_1 + (the hint's row), and `shares`, (w, count), with the sum of m_0 over the coordinates.
pub fn offer(
    sent: Sent<'_>,
    hint: &[u32],
    stretch: Stretch,
    messages: &mut [u32],
    shares: &mut [u32],
) -> Result<(), Error> {
    stretch.check()?;
    let count = stretch.count;
    let w = sent.k.len() / DIMENSION;
    check(sent.k.len().is_multiple_of(DIMENSION), "a transfer for each vector and coordinate")?;
    check(hint.len() == DIMENSION * stretch.bins, "the whole hint")?;
    check(messages.len() == sent.k.len() * count && shares.len() == w * count, "messages and shares of all vectors")?;
    parallel::fill_two((messages, DIMENSION * count), (shares, count), PARTS, |vector, messages, shares| {
        let pi = Permutation::fixed();
        let mut keys = Zeroizing::new([vec![[0; 16]; DIMENSION], vec![[0; 16]; DIMENSION]]);
        let mut streams = Zeroizing::new([vec![0; 4 * count], vec![0; 4 * count]]);
        let vectors = messages.chunks_exact_mut(DIMENSION * count).zip(shares.chunks_exact_mut(count));
        for (vector, (messages, shares)) in (vector..).zip(vectors) {
            let tweak = sent.tweak + (vector * DIMENSION) as u64;
            let [zero, one] = &mut *keys;
            one.copy_from_slice(&sent.k[vector * DIMENSION..][..DIMENSION]);
            pi.hash(tweak, one, zero);
            let shifted = Zeroizing::new(one.iter().map(|k| xor(k, sent.delta)).collect::<Vec<_>>());
            pi.hash(tweak, &shifted, one);
            shares.fill(0);
            for (coordinate, message) in messages.chunks_exact_mut(count).enumerate() {
                let [m0, m1] = &mut *streams;
                masks(&zero[coordinate], stretch, m0);
                masks(&one[coordinate], stretch, m1);
                let hint = &hint[coordinate * stretch.bins + stretch.first..][..count];
                offer_row(m0, m1, hint, message, shares);
            }
        }
    });
    Ok(())
}

vectorised! {
    fn offer_row(m0: &[u8], m1: &[u8], hint: &[u32], message: &mut [u32], shares: &mut [u32]) {
        let streams = m0.as_chunks().0.iter().zip(m1.as_chunks().0);
        for (((message, share), hint), (m0, m1)) in message.iter_mut().zip(shares).zip(hint).zip(streams) {
            let zero = word(m0);
            *message = zero.wrapping_sub(word(m1)).wrapping_add(*hint);
            *share = share.wrapping_add(zero);
        }
    }
}

/// The receiver's part: `shares`, (w, count), of the sums over the coordinates of m_0 + choice·(the hint's row).
///
/// `t` are the chosen messages of the transfers, and `choices` a byte of 0 or 1 for each.
pub fn choose(
    tweak: u64,
    t: &[Block],
    choices: &[u8],
    stretch: Stretch,
    messages: &[u32],
    shares: &mut [u32],
) -> Result<(), Error> {
    stretch.check()?;
    let count = stretch.count;
    check(t.len().is_multiple_of(DIMENSION) && choices.len() == t.len(), "a transfer for each vector and coordinate")?;
    check(messages.len() == t.len() * count && shares.len() == t.len() / DIMENSION * count, "messages of all vectors")?;
    parallel::fill_rows(shares, count, PARTS, |first, shares| {
        let mut keys = Zeroizing::new(vec![[0; 16]; DIMENSION]);
        let mut stream = Zeroizing::new(vec![0; 4 * count]);
        for (vector, shares) in (first..).zip(shares.chunks_exact_mut(count)) {
            let at = vector * DIMENSION;
            Permutation::fixed().hash(tweak + at as u64, &t[at..][..DIMENSION], &mut keys);
            shares.fill(0);
            for (coordinate, key) in keys.iter().enumerate() {
                masks(key, stretch, &mut stream);
                let message = &messages[(at + coordinate) * count..][..count];
                choose_row(&stream, u32::from(choices[at + coordinate] & 1).wrapping_neg(), message, shares);
            }
        }
        Ok(())
    })
}

vectorised! {
    fn choose_row(stream: &[u8], choice: u32, message: &[u32], shares: &mut [u32]) {
        for ((share, message), mask) in shares.iter_mut().zip(message).zip(stream.as_chunks().0) {
            *share = share.wrapping_add(word(mask)).wrapping_add(message & choice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u8, count: usize) -> Vec<u32> {
        let mut bytes = vec![0; 4 * count];
        Stream::new(&[seed; 16]).fill(0, &mut bytes);
        bytes.as_chunks().0.iter().map(|four| u32::from_le_bytes(*four)).collect()
    }

    fn bits(seed: u8, count: usize) -> Vec<u8> {
        numbers(seed, count).into_iter().map(|x| (x & 1) as u8).collect()
    }

    /// Row `at` of Σ a_j·s_j, term by term.
    fn coefficient(public: &[u8; 16], s: &[u8], at: usize) -> u32 {
        let (block, at) = (at / RING, at % RING);
        let mut sum = 0u32;
        for j in 0..RANK {
            let mut a = [0; RING];
            expand_one(&Stream::new(public), block * RANK + j, &mut a);
            for (c, &bit) in s[j * RING..][..RING].iter().enumerate() {
                let term = if c <= at { a[at - c] } else { a[RING + at - c].wrapping_neg() };
                sum = sum.wrapping_add(term & u32::from(bit).wrapping_neg());
            }
        }
        sum
    }

    #[test]
    fn encryptions_hold_the_product_and_an_error() {
        let (public, n) = ([5; 16], 2 * RING + 77);
        let mut blocks = vec![0; n.div_ceil(RING) * BLOCK_VALUES];
        expand(&public, &mut blocks).unwrap();
        for w in [1, 2, 3, 4, 5, 8, 9, 17] {
            let s = bits(w as u8, w * DIMENSION);
            let mut values = vec![0; w.div_ceil(LANES) * GROUP_VALUES];
            secrets(&s, &mut values).unwrap();
            let words = numbers(99, n * w);
            let mut out = vec![0; n * w];
            encrypt(&blocks, &values, &[7; SEED], 0, &words, w, &mut out).unwrap();
            for row in [0, 1, RING - 1, RING, 2 * RING + 76] {
                for j in [0, w / 2, w - 1] {
                    let exact =
                        coefficient(&public, &s[j * DIMENSION..][..DIMENSION], row).wrapping_add(words[row * w + j]);
                    let error = out[row * w + j].wrapping_sub(exact) as i32;
                    assert!(error.abs() <= ERROR_BITS as i32, "{w} {row} {j}");
                }
            }
        }
    }

    #[test]
    fn the_paths_agree() {
        let set = Set::get();
        for ntt in &set.primes {
            let flat = numbers(3, RING * LANES);
            let (mut one, mut other) = ([[0; LANES]; RING], [[0; LANES]; RING]);
            one.as_flattened_mut().copy_from_slice(&flat);
            other.as_flattened_mut().copy_from_slice(&flat);
            to_values(ntt, &mut one);
            ntt.forward::<Eight>(&mut other);
            assert_eq!(one, other);
            assert!(one.as_flattened().iter().all(|&x| x < ntt.p));
        }
        let below = |seed: u8, count: usize| {
            let mut out = numbers(seed, count);
            out.iter_mut().for_each(|x| *x %= MODULI[0]);
            out
        };
        // The largest numbers that there are, too.
        for (block, secrets) in [
            (below(1, BLOCK_VALUES), below(2, GROUP_VALUES)),
            (vec![MODULI[0] - 1; BLOCK_VALUES], vec![MODULI[0] - 1; GROUP_VALUES]),
        ] {
            let others = [below(4, BLOCK_VALUES), below(5, BLOCK_VALUES), below(6, BLOCK_VALUES)];
            let of = |i: usize| -> &Values {
                [&block, &others[0], &others[1], &others[2]][i % 4].as_chunks().0.first().unwrap()
            };
            let blocks: [&Values; LANES] = std::array::from_fn(of);
            let secrets = secrets.as_chunks().0.as_chunks().0.first().unwrap();
            for count in [1, 2, 4, 8] {
                let (mut one, mut other) = (scratch(), scratch());
                product(set, &blocks[..count], secrets, &mut one);
                set.product::<Eight>(&blocks[..count], secrets, &mut other);
                assert_eq!(one[0], other[0]);
            }
        }
    }

    #[test]
    fn transforms_undo_each_other() {
        for ntt in &Set::get().primes {
            let mut x = [[0; LANES]; RING];
            x.as_flattened_mut().iter_mut().zip(numbers(8, RING * LANES)).for_each(|(x, drawn)| *x = drawn % ntt.p);
            let before = x;
            ntt.forward::<Eight>(&mut x);
            ntt.inverse::<Eight>(&mut x);
            // What Montgomery's reduction would have divided by is left.
            let left = (1u64 << 32) % u64::from(ntt.p);
            for (x, before) in x.as_flattened().iter().zip(before.as_flattened()) {
                assert_eq!(u64::from(*x), u64::from(*before) * left % u64::from(ntt.p));
            }
        }
    }

    #[test]
    fn hints_are_sums_of_rows() {
        let (public, n) = ([6; 16], RING + 30);
        let codes: Vec<u8> = numbers(1, 2 * n).into_iter().map(|x| (x % 3) as u8).collect();
        let binned = Binned::new(&codes, &[0, 3, 6]).unwrap();
        let mut hint = vec![0; DIMENSION * 6];
        hint_vartime(binned, &public, &mut hint).unwrap();
        let s = bits(2, DIMENSION);
        let products: Vec<u32> = (0..n).map(|row| coefficient(&public, &s, row)).collect();
        let mut sums = vec![0; 6];
        add_vartime(binned, &products, 1, Rows::All, &mut sums).unwrap();
        for (bin, sum) in sums.iter().enumerate() {
            let product = (0..DIMENSION).filter(|&c| s[c] == 1).fold(0u32, |x, c| x.wrapping_add(hint[c * 6 + bin]));
            assert_eq!(product, *sum);
        }
    }

    #[test]
    fn bins_that_there_are_not_are_refused() {
        assert!(Binned::new(&[0u8, 3], &[0, 3, 6]).is_err());
        assert!(Binned::new(&[0u8, 0, 0], &[0, 3, 6]).is_err());
        assert!(Binned::new(&[0u16, 0], &[0, 3, 2]).is_err());
        assert!(Binned::<u8>::new(&[], &[]).is_err());
        let binned = Binned::new(&[0u8, 1], &[0, 2]).unwrap();
        for rows in [[0, 2], [-1, 0]] {
            assert!(add_vartime(binned, &[1u32, 2], 1, Rows::Some(&rows), &mut [0, 0]).is_err());
        }
    }
}
