//! Encrypted vectors that are multiplied by known polynomials: symmetric ring LWE, replies that hide the multiplier.
//!
//! Ring: Z_q[X] / (X^N + 1), N = 8192, q a product of primes, of which there are two sets: *narrow*, three of 62 bits, and
//! *wide*, four of 53 bits. Secrets are ternary, errors centred binomial of variance 10.5. Plaintexts have coefficients
//! modulo t, which is 2^64 or, for slot-wise products, a prime: one of three of 60 bits, or one of 59 that stands alone. An encryption of m under s is (b, a) with
//! b = e + round(q·m / t) - a·s; everything of it is kept as values (`ntt`), and a comes from a public seed.
//!
//! The reply to ciphertexts ct_i and known p_i is Σ p_i·ct_i, to which its maker adds u·z, where z is an encryption of zero
//! that came with them and u a fresh ternary polynomial; a fresh error on the a side; and on the b side a mask, uniform
//! modulo t, and noise that floods. Both sides are then scaled to 80 bits. `protocols/matvec/rlwe.py` says why such a reply
//! tells the key's owner the masked result and nothing else.
//!
//! Layouts, all numbers `u64`: a polynomial is N numbers, a ciphertext's b side one polynomial for each prime of its set. A
//! reply is bytes: its a side, N numbers of 10 bytes, then its b side at every `stride`-th coefficient from `stride - 1` on.

use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::ntt::{Factor, Modulus, Ntt, secret_row};
use crate::parallel::{self, POLYNOMIAL};
use crate::{Error, prg};

/// Coefficients of a polynomial.
pub const N: usize = 8192;
/// Bytes of a coefficient of a reply.
pub const REPLY: usize = 10;
/// Bytes of a secret seed: the key's, and those of errors and masks.
pub const SEED: usize = 32;
/// Bytes of the public seed that ciphertexts' a sides come from.
pub const PUBLIC_SEED: usize = 16;
/// The primes of the set for small multipliers; 186 bits together.
pub const NARROW: [u64; 3] = [0x3fff_ffff_ffff_0001, 0x3fff_ffff_fffe_8001, 0x3fff_ffff_fff1_c001];
/// The primes of the set for multipliers of 64 bits; 212 bits together.
pub const WIDE: [u64; 4] = [0x1f_ffff_fffb_4001, 0x1f_ffff_fffa_4001, 0x1f_ffff_fff9_c001, 0x1f_ffff_fff3_8001];
/// Plaintext primes for slot-wise products, which stand for numbers below 2^180.
pub const PLAIN: [u64; 3] = [0xfff_ffff_ffff_c001, 0xfff_ffff_fffe_8001, 0xfff_ffff_fffd_8001];
/// The plaintext prime for slot-wise products of small numbers, whose sums stay below it; 2^59 less 212,991.
pub const SINGLE: u64 = 0x7ff_ffff_fffc_c001;

/// Bits of a coefficient of a reply.
const REPLY_BITS: u32 = 8 * REPLY as u32;
/// Least significant bit of a reply's coefficient in a number of 128 bits.
const REPLY_UNIT: u32 = 128 - REPLY_BITS;
/// An error is the difference of the ones among two times this many bits.
const ERROR_BITS: u32 = 21;

/// What a stream of a seed is for. No two uses share a block.
#[derive(Clone, Copy)]
enum Use {
    Secret = 1,
    Error = 2,
    Ternary = 3,
    ReplyError = 4,
    Mask = 5,
    Flood = 6,
}

/// What a ciphertext's coefficients are modulo.
#[derive(Clone, Copy)]
pub enum Plain {
    /// 2^64.
    Word,
    /// One of `PLAIN`, or `SINGLE`.
    Prime(&'static Ntt),
}

impl Plain {
    /// By number: 0 to 2 for one of `PLAIN`, 3 for 2^64, 4 for `SINGLE`.
    pub fn of(number: usize) -> Result<Self, Error> {
        match number {
            0..=2 => Ok(Self::Prime(&plain_primes()[number])),
            3 => Ok(Self::Word),
            4 => Ok(Self::Prime(&plain_primes()[PLAIN.len()])),
            _ => Err(Error::Misuse("the plaintext's modulus is 0, 1, 2, 3 or 4")),
        }
    }

    /// How many bits t has, less one for 2^64.
    fn bits(self) -> u32 {
        match self {
            Self::Word => 64,
            Self::Prime(t) => t.modulus.bits(),
        }
    }
}

/// The transforms of the plaintext primes, `SINGLE` last.
fn plain_primes() -> &'static [Ntt] {
    static PRIMES: OnceLock<Vec<Ntt>> = OnceLock::new();
    PRIMES.get_or_init(|| PLAIN.iter().chain([&SINGLE]).map(|&p| Ntt::new(p, N)).collect())
}

/// A set of primes, and what depends on them alone.
pub struct Set {
    primes: Vec<Ntt>,
    /// For each prime the inverse of the product of the others.
    cofactors: Vec<Factor>,
    /// q mod 2^64.
    q_word: u64,
    /// For each prime -1 / 2^64.
    minus_inverse_word: Vec<Factor>,
    /// The inverse of the first prime modulo the second.
    first_in_second: Factor,
}

impl Set {
    /// The wide set or the narrow one.
    pub fn of(wide: bool) -> &'static Self {
        static NARROW_SET: OnceLock<Set> = OnceLock::new();
        static WIDE_SET: OnceLock<Set> = OnceLock::new();
        if wide { WIDE_SET.get_or_init(|| Set::new(&WIDE)) } else { NARROW_SET.get_or_init(|| Set::new(&NARROW)) }
    }

    fn new(moduli: &[u64]) -> Self {
        let primes: Vec<Ntt> = moduli.iter().map(|&p| Ntt::new(p, N)).collect();
        let cofactors = primes
            .iter()
            .map(|ntt| {
                let m = &ntt.modulus;
                let others = moduli.iter().filter(|&&p| p != m.p()).fold(1, |product, &p| m.mul(product, m.reduce(p)));
                Factor::new(m, m.invert(others))
            })
            .collect();
        let minus_inverse_word = primes
            .iter()
            .map(|ntt| {
                let m = &ntt.modulus;
                Factor::new(m, m.sub(0, m.invert(m.reduce_wide(1 << 64))))
            })
            .collect();
        let second = &primes[1].modulus;
        let first_in_second = Factor::new(second, second.invert(moduli[0]));
        let q_word = moduli.iter().fold(1, |product: u64, &p| product.wrapping_mul(p));
        Self { primes, cofactors, q_word, minus_inverse_word, first_in_second }
    }

    /// How many primes.
    pub fn len(&self) -> usize {
        self.primes.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Numbers of a polynomial modulo q.
    fn width(&self) -> usize {
        self.len() * N
    }
}

/// Hands out the first `count` pieces of W bytes, 8 or 16, of a seed's stream for one polynomial.
fn draw<const W: usize>(seed: &[u8], purpose: Use, index: usize, count: usize, mut take: impl FnMut([u8; W])) {
    const BUFFER: usize = 4096;
    let start = (purpose as u128) << 120 | (index as u128) << 64;
    let mut buffer = Zeroizing::new([0; BUFFER]);
    for (i, first) in (0..count).step_by(BUFFER / W).enumerate() {
        let bytes = &mut buffer[..W * (count - first).min(BUFFER / W)];
        prg::fill(seed, start + (i * BUFFER / prg::BLOCK) as u128, bytes).expect("a seed of 32 bytes");
        bytes.as_chunks().0.iter().copied().for_each(&mut take);
    }
}

/// A polynomial of a seed's words.
fn words(seed: &[u8], purpose: Use, index: usize) -> Zeroizing<Vec<u64>> {
    let mut out = Zeroizing::new(Vec::with_capacity(N));
    draw(seed, purpose, index, N, |word| out.push(u64::from_le_bytes(word)));
    out
}

/// A polynomial of errors.
fn errors(seed: &[u8], purpose: Use, index: usize) -> Zeroizing<Vec<u64>> {
    let mut out = words(seed, purpose, index);
    let mask = (1u64 << ERROR_BITS) - 1;
    for word in out.iter_mut() {
        let (plus, minus) = (*word & mask, *word >> ERROR_BITS & mask);
        *word = u64::from(plus.count_ones()).wrapping_sub(u64::from(minus.count_ones()));
    }
    out
}

/// A uniform ternary polynomial, but for a bias of 2^-62.
fn ternary(seed: &[u8], purpose: Use, index: usize) -> Zeroizing<Vec<u64>> {
    let mut out = words(seed, purpose, index);
    for word in out.iter_mut() {
        *word = (((u128::from(*word) * 3) >> 64) as u64).wrapping_sub(1);
    }
    out
}

/// The values of a polynomial of small signed numbers modulo one prime.
fn values_of(ntt: &Ntt, small: &[u64], out: &mut [u64]) {
    for (out, &x) in out.iter_mut().zip(small) {
        *out = ntt.modulus.reduce_small(x as i64);
    }
    ntt.forward(out);
}

/// The values of the secret modulo each prime.
fn secret_values(set: &Set, key: &[u8]) -> Zeroizing<Vec<u64>> {
    let s = ternary(key, Use::Secret, 0);
    let mut out = secret_row(set.width());
    for (ntt, out) in set.primes.iter().zip(out.chunks_exact_mut(N)) {
        values_of(ntt, &s, out);
    }
    out
}

/// The a side of a ciphertext modulo prime number `l`, as values: 16 bytes of AES-128's stream for each, modulo the prime.
fn expand_one(set: &Set, public: &[u8], index: usize, l: usize, out: &mut [u64]) {
    let mut bytes = [0; 4096];
    let start = (index as u128) << 64 | (l as u128) << 32;
    for (i, out) in out.chunks_mut(256).enumerate() {
        let bytes = &mut bytes[..16 * out.len()];
        prg::fill(public, start + 256 * i as u128, bytes).expect("a seed of 16 bytes");
        for (out, block) in out.iter_mut().zip(bytes.as_chunks().0) {
            *out = set.primes[l].modulus.reduce_wide(u128::from_le_bytes(*block));
        }
    }
}

/// The a sides of ciphertexts 0 to n - 1 of a public seed, as values: (n, primes, N).
pub fn expand(set: &Set, public: &[u8], out: &mut [u64]) -> Result<(), Error> {
    check(out.len().is_multiple_of(set.width()), "whole ciphertexts")?;
    parallel::fill_rows(out, N, POLYNOMIAL, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(N).enumerate() {
            expand_one(set, public, (first + i) / set.len(), (first + i) % set.len(), row);
        }
        Ok(())
    })
}

fn check(condition: bool, text: &'static str) -> Result<(), Error> {
    if condition { Ok(()) } else { Err(Error::Misuse(text)) }
}

/// Encrypts n plaintexts as ciphertexts number 0 to n - 1 of the public seed; `out` gets their b sides.
///
/// `messages` are coefficients: any words for 2^64, residues for a prime.
pub fn encrypt(
    set: &Set,
    plain: Plain,
    key: &[u8],
    seed: &[u8],
    public: &[u8],
    messages: &[u64],
    out: &mut [u64],
) -> Result<(), Error> {
    check(messages.len() * set.len() == out.len() && messages.len().is_multiple_of(N), "messages are polynomials")?;
    let s = secret_values(set, key);
    // q·m / t rounded is (q·m - r) / t for the r of least size that makes it whole, so modulo a prime of q it is -r / t.
    let by_prime: Vec<Factor> = match plain {
        Plain::Word => set.minus_inverse_word.clone(),
        Plain::Prime(t) => {
            let minus = |m: &Modulus| Factor::new(m, m.sub(0, m.invert(m.reduce(t.modulus.p()))));
            set.primes.iter().map(|ntt| minus(&ntt.modulus)).collect()
        }
    };
    let q_in_t = match plain {
        Plain::Word => None,
        Plain::Prime(t) => {
            let m = &t.modulus;
            let q = set.primes.iter().fold(1, |product, ntt| m.mul(product, m.reduce(ntt.modulus.p())));
            Some((Factor::new(m, q), m))
        }
    };
    parallel::fill_rows(out, set.width(), POLYNOMIAL, |first, rows| {
        let mut remainder = secret_row(N);
        let mut a = vec![0; N];
        for (i, row) in rows.chunks_exact_mut(set.width()).enumerate() {
            let index = first + i;
            let message = &messages[index * N..][..N];
            for (r, &m) in remainder.iter_mut().zip(message) {
                *r = match &q_in_t {
                    None => m.wrapping_mul(set.q_word),
                    Some((q, t)) => t.centred(q.times(m, t)) as u64,
                };
            }
            let e = errors(seed, Use::Error, index);
            for (l, (ntt, out)) in set.primes.iter().zip(row.chunks_exact_mut(N)).enumerate() {
                let m = &ntt.modulus;
                for ((out, &r), &e) in out.iter_mut().zip(remainder.iter()).zip(e.iter()) {
                    let scaled = by_prime[l].times_signed(r as i64, m);
                    *out = m.add(scaled, m.reduce_small(e as i64));
                }
                ntt.forward(out);
                expand_one(set, public, index, l, &mut a);
                for ((out, &a), &s) in out.iter_mut().zip(&a).zip(&s[l * N..][..N]) {
                    *out = m.sub(*out, m.mul(a, s));
                }
            }
        }
        Ok(())
    })
}

/// The values, modulo each prime of the set, of known polynomials: signed words, or residues of a plaintext prime.
pub fn lift(set: &Set, plain: Plain, polynomials: &[u64], out: &mut [u64]) -> Result<(), Error> {
    check(polynomials.len() * set.len() == out.len() && polynomials.len().is_multiple_of(N), "whole polynomials")?;
    parallel::fill_rows(out, N, POLYNOMIAL, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(N).enumerate() {
            let (polynomial, l) = ((first + i) / set.len(), (first + i) % set.len());
            let coefficients = &polynomials[polynomial * N..][..N];
            let ntt = &set.primes[l];
            for (out, &x) in row.iter_mut().zip(coefficients) {
                *out = match plain {
                    Plain::Word => ntt.modulus.reduce_signed(x as i64),
                    Plain::Prime(t) => ntt.modulus.reduce_signed(t.modulus.centred(t.modulus.reduce(x))),
                };
            }
            ntt.forward(row);
        }
        Ok(())
    })
}

/// Whether all numbers of ciphertexts' b sides are residues. They are public.
pub fn are_residues(set: &Set, b: &[u64]) -> bool {
    b.chunks_exact(N).enumerate().all(|(i, row)| {
        let p = set.primes[i % set.len()].modulus.p();
        row.iter().fold(0, |most, &x| most.max(x)) < p
    })
}

/// The shape of a batch of products.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Independent batches, each with polynomials and ciphertexts of its own.
    pub batches: usize,
    /// Vectors of ciphertexts in a batch.
    pub vectors: usize,
    /// Rows of polynomials in a batch: each gives a reply for each vector.
    pub rows: usize,
    /// Terms of a sum: polynomials of a row, and ciphertexts of a vector.
    pub terms: usize,
    /// Every which coefficient of the result is wanted; divides N.
    pub stride: usize,
}

impl Shape {
    /// How many replies.
    pub fn replies(&self) -> usize {
        self.batches * self.vectors * self.rows
    }

    /// Coefficients that a reply tells.
    pub fn wanted(&self) -> usize {
        N / self.stride
    }

    /// Bytes of a reply.
    pub fn reply_bytes(&self) -> usize {
        (N + self.wanted()) * REPLY
    }

    fn check(&self) -> Result<(), Error> {
        let counts = [self.batches, self.vectors, self.rows, self.terms];
        let products = counts.iter().try_fold(1usize, |product, &count| product.checked_mul(count.max(1)));
        check(products.is_some_and(|products| products < 1 << 32), "fewer than 2^32 products")?;
        check(self.stride.is_power_of_two() && self.stride <= N, "the stride is a power of two up to N")
    }
}

/// Ciphertexts as they came, as values: b sides, and a sides as `expand` gives them.
pub struct Ciphertexts<'a> {
    /// Both sides, b first, of (batches, vectors, terms, primes, N).
    pub sides: [&'a [u64]; 2],
    /// Both sides of an encryption of zero: (primes, N).
    pub zero: [&'a [u64]; 2],
}

/// The replies Σ_i polynomials[batch, row, i] · ciphertexts[batch, vector, i], masked and flooded, as (batch, vector, row).
///
/// `polynomials` are (batches, rows, terms, primes, N) as `lift` makes them. `masks` gives the masks for the same seed.
pub fn reply(
    set: &Set,
    plain: Plain,
    shape: Shape,
    seed: &[u8],
    polynomials: &[u64],
    ciphertexts: &Ciphertexts<'_>,
    out: &mut [u8],
) -> Result<(), Error> {
    shape.check()?;
    let width = set.width();
    let vectors = shape.batches * shape.vectors;
    check(
        polynomials.len() == shape.batches * shape.rows * shape.terms * width,
        "one polynomial a batch, row and term",
    )?;
    let terms = vectors * shape.terms * width;
    check(ciphertexts.sides.iter().all(|side| side.len() == terms), "one ciphertext a batch, vector and term")?;
    check(ciphertexts.zero.iter().all(|side| side.len() == width), "one encryption of zero")?;
    check(out.len() == shape.replies() * shape.reply_bytes(), "room for the replies")?;
    let masks = masks_of(plain, shape, seed)?;
    parallel::fill_rows(out, shape.reply_bytes(), POLYNOMIAL, |first, rows| {
        let mut sums = [secret_row(width), secret_row(width)];
        let mut u = secret_row(N);
        for (i, out) in rows.chunks_exact_mut(shape.reply_bytes()).enumerate() {
            let index = first + i;
            let (vector, row) = (index / shape.rows, index % shape.rows);
            let factors = (vector / shape.vectors * shape.rows + row) * shape.terms * width;
            let factors = &polynomials[factors..][..shape.terms * width];
            let range = vector * shape.terms * width..(vector + 1) * shape.terms * width;
            let sides = ciphertexts.sides.map(|side| &side[range.clone()]);
            let fresh = ternary(seed, Use::Ternary, index);
            for (l, ntt) in set.primes.iter().enumerate() {
                values_of(ntt, &fresh, &mut u);
                let zeros = ciphertexts.zero.map(|zero| &zero[l * N..][..N]);
                for ((sum, side), zero) in sums.iter_mut().zip(sides).zip(zeros) {
                    let sum = &mut sum[l * N..][..N];
                    inner(&ntt.modulus, shape.terms, width, l * N, [factors, side], [&u, zero], sum);
                    ntt.inverse(sum);
                }
            }
            let e = errors(seed, Use::ReplyError, index);
            let (out_a, out_b) = out.split_at_mut(N * REPLY);
            for (j, out) in out_a.as_chunks_mut().0.iter_mut().enumerate() {
                *out = rounded(fraction(set, &sums[1], j, |m, x| m.add(x, m.reduce_small(e[j] as i64))));
            }
            let floods = floods(plain, shape, seed, index);
            let masks = &masks[index * shape.wanted()..][..shape.wanted()];
            for (k, out) in out_b.as_chunks_mut().0.iter_mut().enumerate() {
                let product = fraction(set, &sums[0], (k + 1) * shape.stride - 1, |_, x| x);
                let mask = match plain {
                    Plain::Word => u128::from(masks[k]) << 64,
                    Plain::Prime(t) => t.modulus.fraction_of(masks[k]),
                };
                *out = rounded(product.wrapping_add(mask).wrapping_add(floods[k]));
            }
        }
        Ok(())
    })
}

/// Σ_i factors[i]·side[i] + u·zero modulo one prime, whose values stand at `at` in each polynomial of `width` numbers.
fn inner(
    m: &Modulus,
    terms: usize,
    width: usize,
    at: usize,
    [factors, side]: [&[u64]; 2],
    [u, zero]: [&[u64]; 2],
    out: &mut [u64],
) {
    const TILE: usize = 512;
    // So many products of residues, and one residue more, stay below 2^128.
    let room = 1 << (127 - 2 * m.bits()).min(20);
    let mut sums = Zeroizing::new([0u128; TILE]);
    for start in (0..N).step_by(TILE) {
        for ((sum, &u), &zero) in sums.iter_mut().zip(&u[start..]).zip(&zero[start..]) {
            *sum = u128::from(u) * u128::from(zero);
        }
        for i in 0..terms {
            if i % room == room - 1 {
                sums.iter_mut().for_each(|sum| *sum = u128::from(m.reduce_wide(*sum)));
            }
            let from = i * width + at + start;
            let (factors, side) = (&factors[from..][..TILE], &side[from..][..TILE]);
            for ((sum, &x), &y) in sums.iter_mut().zip(factors).zip(side) {
                *sum += u128::from(x) * u128::from(y);
            }
        }
        for (out, &sum) in out[start..].iter_mut().zip(sums.iter()) {
            *out = m.reduce_wide(sum);
        }
    }
}

/// 2^128 · c / q modulo 2^128 for coefficient j of c, whose residue modulo each prime `adjust` may change before.
#[inline(always)]
fn fraction(set: &Set, c: &[u64], j: usize, adjust: impl Fn(&Modulus, u64) -> u64) -> u128 {
    set.primes.iter().zip(&set.cofactors).enumerate().fold(0, |sum: u128, (l, (ntt, cofactor))| {
        let m = &ntt.modulus;
        sum.wrapping_add(m.fraction_of(cofactor.times(adjust(m, c[l * N + j]), m)))
    })
}

/// The most significant 80 bits of a fraction, rounded, as little-endian bytes.
#[inline(always)]
fn rounded(fraction: u128) -> [u8; REPLY] {
    let bytes = (fraction.wrapping_add(1 << (REPLY_UNIT - 1)) >> REPLY_UNIT).to_le_bytes();
    bytes[..REPLY].try_into().expect("ten bytes of sixteen")
}

/// The masks that `reply` adds for the same seed, uniform modulo t: (replies, wanted).
pub fn masks(plain: Plain, shape: Shape, seed: &[u8], out: &mut [u64]) -> Result<(), Error> {
    shape.check()?;
    check(out.len() == shape.replies() * shape.wanted(), "room for the masks")?;
    for (index, row) in out.chunks_exact_mut(shape.wanted()).enumerate() {
        let mut row = row.iter_mut();
        draw(seed, Use::Mask, index, shape.wanted(), |block| {
            let block = u128::from_le_bytes(block);
            *row.next().expect("as many as are wanted") = match plain {
                Plain::Word => block as u64,
                Plain::Prime(t) => t.modulus.reduce_wide(block),
            };
        });
    }
    Ok(())
}

fn masks_of(plain: Plain, shape: Shape, seed: &[u8]) -> Result<Zeroizing<Vec<u64>>, Error> {
    let mut out = Zeroizing::new(vec![0; shape.replies() * shape.wanted()]);
    masks(plain, shape, seed, &mut out)?;
    Ok(out)
}

/// Noise for the b side of a reply, as fractions: uniform from -1 / 4t to 1 / 4t, t rounded up to a power of two.
fn floods(plain: Plain, shape: Shape, seed: &[u8], index: usize) -> Zeroizing<Vec<u128>> {
    let half = 1u128 << (126 - plain.bits());
    let mut out = Zeroizing::new(Vec::with_capacity(shape.wanted()));
    draw(seed, Use::Flood, index, shape.wanted(), |block| {
        out.push((u128::from_le_bytes(block) & (2 * half - 1)).wrapping_sub(half));
    });
    out
}

/// Decrypts replies: (n, reply bytes) -> (n, wanted) modulo t.
pub fn decrypt(
    set: &Set,
    plain: Plain,
    stride: usize,
    key: &[u8],
    replies: &[u8],
    out: &mut [u64],
) -> Result<(), Error> {
    let shape = Shape { batches: 1, vectors: 1, rows: 1, terms: 1, stride };
    shape.check()?;
    let (bytes, wanted) = (shape.reply_bytes(), shape.wanted());
    check(
        replies.len().is_multiple_of(bytes) && out.len() == replies.len() / bytes * wanted,
        "room for the plaintexts",
    )?;
    let s = secret_values(set, key);
    let [first, second] = [&set.primes[0], &set.primes[1]];
    let product = u128::from(first.modulus.p()) * u128::from(second.modulus.p());
    parallel::fill_rows(out, wanted, POLYNOMIAL, |start, rows| {
        let mut by_prime = [secret_row(N), secret_row(N)];
        for (i, row) in rows.chunks_exact_mut(wanted).enumerate() {
            let (a, b) = replies[(start + i) * bytes..][..bytes].split_at(N * REPLY);
            for ((ntt, out), s) in [first, second].into_iter().zip(&mut by_prime).zip(s.chunks_exact(N)) {
                let m = &ntt.modulus;
                // The 80 bits as a signed number, made positive by a multiple of the prime.
                let shift = u128::from(m.p()) << (REPLY_BITS - m.bits() + 1);
                for (out, bytes) in out.iter_mut().zip(a.as_chunks().0) {
                    let signed = (from_reply(bytes) << REPLY_UNIT) as i128 >> REPLY_UNIT;
                    *out = m.reduce_wide((signed as u128).wrapping_add(shift));
                }
                ntt.forward(out);
                out.iter_mut().zip(s).for_each(|(out, &s)| *out = m.mul(*out, s));
                ntt.inverse(out);
            }
            for (k, (out, bytes)) in row.iter_mut().zip(b.as_chunks().0).enumerate() {
                let j = (k + 1) * stride - 1;
                let m = &second.modulus;
                let digit = set.first_in_second.times(m.sub(m.reduce(by_prime[1][j]), m.reduce(by_prime[0][j])), m);
                let whole = u128::from(by_prime[0][j]) + u128::from(first.modulus.p()) * u128::from(digit);
                let above = u128::from(whole > product / 2).wrapping_neg();
                let a_s = whole.wrapping_sub(product & above);
                let phase = a_s.wrapping_add(from_reply(bytes)) << REPLY_UNIT;
                *out = match plain {
                    Plain::Word => (phase.wrapping_add(1 << 63) >> 64) as u64,
                    Plain::Prime(t) => {
                        let t_p = u128::from(t.modulus.p());
                        let low = (t_p * u128::from(phase as u64)) >> 64;
                        t.modulus.once(((t_p * (phase >> 64) + low + (1 << 63)) >> 64) as u64)
                    }
                };
            }
        }
        Ok(())
    })
}

/// The number of ten little-endian bytes.
#[inline(always)]
fn from_reply(bytes: &[u8; REPLY]) -> u128 {
    let mut whole = [0; 16];
    whole[..REPLY].copy_from_slice(bytes);
    u128::from_le_bytes(whole)
}

/// Slots to coefficients modulo a plaintext prime: (n, N) signed words -> (n, N) residues.
pub fn encode(t: &Ntt, slots: &[u64], out: &mut [u64]) -> Result<(), Error> {
    check(slots.len() == out.len() && out.len().is_multiple_of(N), "whole polynomials")?;
    parallel::fill_rows(out, N, POLYNOMIAL, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(N).enumerate() {
            for (out, &x) in row.iter_mut().zip(&slots[(first + i) * N..]) {
                *out = t.modulus.reduce_signed(x as i64);
            }
            t.inverse(row);
        }
        Ok(())
    })
}

/// Coefficients to slots modulo one plaintext prime: (n, N) residues each.
pub fn slots(t: &Ntt, coefficients: &[u64], out: &mut [u64]) -> Result<(), Error> {
    check(coefficients.len() == out.len() && out.len().is_multiple_of(N), "whole polynomials")?;
    parallel::fill_rows(out, N, POLYNOMIAL, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(N).enumerate() {
            row.iter_mut().zip(&coefficients[(first + i) * N..]).for_each(|(x, &c)| *x = t.modulus.reduce(c));
            t.forward(row);
        }
        Ok(())
    })
}

/// Coefficients to slots: (n, N) residues of each of the plaintext primes -> (n, N), the numbers below their product that
/// these stand for, modulo 2^64.
pub fn decode(coefficients: [&[u64]; 3], out: &mut [u64]) -> Result<(), Error> {
    let whole = out.len().is_multiple_of(N);
    check(whole && coefficients.iter().all(|c| c.len() == out.len()), "whole polynomials, as many for each prime")?;
    let primes = plain_primes();
    let [m0, m1, m2] = [0, 1, 2].map(|l| &primes[l].modulus);
    let [p0, p1] = [m0.p(), m1.p()];
    let by_p0 = Factor::new(m1, m1.invert(m1.reduce(p0)));
    let by_p0_p1 = Factor::new(m2, m2.invert(m2.mul(m2.reduce(p0), m2.reduce(p1))));
    parallel::fill_rows(out, N, POLYNOMIAL, |first, rows| {
        let mut slots = [secret_row(N), secret_row(N), secret_row(N)];
        for (i, row) in rows.chunks_exact_mut(N).enumerate() {
            for ((t, slots), coefficients) in primes.iter().zip(&mut slots).zip(coefficients) {
                slots.iter_mut().zip(&coefficients[(first + i) * N..]).for_each(|(x, &c)| *x = t.modulus.reduce(c));
                t.forward(slots);
            }
            for (j, out) in row.iter_mut().enumerate() {
                let [x0, x1, x2] = [slots[0][j], slots[1][j], slots[2][j]];
                let d1 = by_p0.times(m1.sub(x1, m1.reduce(x0)), m1);
                let below = m2.add(m2.reduce(x0), m2.mul(m2.reduce(p0), m2.reduce(d1)));
                let d2 = by_p0_p1.times(m2.sub(x2, below), m2);
                *out = x0.wrapping_add(p0.wrapping_mul(d1.wrapping_add(p1.wrapping_mul(d2))));
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; SEED] = [7; SEED];
    const PUBLIC: [u8; PUBLIC_SEED] = [9; PUBLIC_SEED];

    fn numbers(n: usize, seed: u8) -> Vec<u64> {
        let mut bytes = vec![0; 8 * n];
        prg::fill(&[seed; 32], 0, &mut bytes).unwrap();
        bytes.as_chunks().0.iter().map(|&word| u64::from_le_bytes(word)).collect()
    }

    #[test]
    fn replies_decrypt_to_products() {
        for wide in [false, true] {
            let set = Set::of(wide);
            let shape = Shape { batches: 1, vectors: 1, rows: 1, terms: 2, stride: 4 };
            let messages = [vec![0; N], numbers(N, 1), numbers(N, 2)].concat();
            let mut sealed = vec![0; 3 * set.width()];
            encrypt(set, Plain::Word, &KEY, &[1; SEED], &PUBLIC, &messages, &mut sealed).unwrap();
            assert!(are_residues(set, &sealed));
            let mut polynomials = vec![0u64; 2 * N];
            let multiplier = if wide { i64::MIN as u64 + 12345 } else { (-1_234_567_890_123i64) as u64 };
            (polynomials[3], polynomials[N + N - 1]) = (multiplier, 5);
            let mut lifted = vec![0; 2 * set.width()];
            lift(set, Plain::Word, &polynomials, &mut lifted).unwrap();
            let (zero, b) = sealed.split_at(set.width());
            let mut replies = vec![0; shape.reply_bytes()];
            let mut masked = vec![0; shape.wanted()];
            let mut masks_ = vec![0; shape.wanted()];
            let mut a = vec![0; 3 * set.width()];
            expand(set, &PUBLIC, &mut a).unwrap();
            let (zero_a, a) = a.split_at(set.width());
            let ciphertexts = Ciphertexts { sides: [b, a], zero: [zero, zero_a] };
            reply(set, Plain::Word, shape, &[3; SEED], &lifted, &ciphertexts, &mut replies).unwrap();
            decrypt(set, Plain::Word, shape.stride, &KEY, &replies, &mut masked).unwrap();
            masks(Plain::Word, shape, &[3; SEED], &mut masks_).unwrap();
            for (k, (&x, &mask)) in masked.iter().zip(&masks_).enumerate() {
                let j = 4 * k + 3;
                let first = messages[N + j - 3].wrapping_mul(multiplier);
                let second = if j == N - 1 {
                    messages[2 * N].wrapping_mul(5)
                } else {
                    messages[2 * N + j + 1].wrapping_mul(5).wrapping_neg()
                };
                assert_eq!(x.wrapping_sub(mask), first.wrapping_add(second), "{wide} {k}");
            }
        }
    }

    #[test]
    fn slots_multiply() {
        let set = Set::of(false);
        let shape = Shape { batches: 1, vectors: 1, rows: 1, terms: 1, stride: 1 };
        let (u, v) = (numbers(N, 4), numbers(N, 5));
        let (mut opened, mut masked) = (vec![], vec![]);
        for t in plain_primes() {
            let p = u128::from(t.modulus.p());
            let plain = Plain::Prime(t);
            let mut messages = vec![0; 2 * N];
            encode(t, &u, &mut messages[N..]).unwrap();
            let mut sealed = vec![0; 2 * set.width()];
            encrypt(set, plain, &KEY, &[1; SEED], &PUBLIC, &messages, &mut sealed).unwrap();
            let mut coefficients = vec![0; N];
            encode(t, &v, &mut coefficients).unwrap();
            let mut lifted = vec![0; set.width()];
            lift(set, plain, &coefficients, &mut lifted).unwrap();
            let (zero, b) = sealed.split_at(set.width());
            let mut replies = vec![0; shape.reply_bytes()];
            let mut a = vec![0; 2 * set.width()];
            expand(set, &PUBLIC, &mut a).unwrap();
            let (zero_a, a) = a.split_at(set.width());
            let ciphertexts = Ciphertexts { sides: [b, a], zero: [zero, zero_a] };
            reply(set, plain, shape, &[6; SEED], &lifted, &ciphertexts, &mut replies).unwrap();
            let (mut plaintext, mut mask) = (vec![0; N], vec![0; N]);
            decrypt(set, plain, 1, &KEY, &replies, &mut plaintext).unwrap();
            masks(plain, shape, &[6; SEED], &mut mask).unwrap();
            let (mut sum, mut share) = (vec![0; N], vec![0; N]);
            slots(t, &plaintext, &mut sum).unwrap();
            slots(t, &mask, &mut share).unwrap();
            for j in 0..N {
                let factors = [u[j], v[j]].map(|x| u128::from(t.modulus.reduce_signed(x as i64)));
                assert_eq!(u128::from(sum[j]), (factors[0] * factors[1] + u128::from(share[j])) % p);
            }
            opened.push(plaintext);
            masked.push(mask);
        }
        let (mut sum, mut mask) = (vec![0; N], vec![0; N]);
        decode([&opened[0], &opened[1], &opened[2]], &mut sum).unwrap();
        decode([&masked[0], &masked[1], &masked[2]], &mut mask).unwrap();
        for j in 0..N {
            assert_eq!(sum[j].wrapping_sub(mask[j]), u[j].wrapping_mul(v[j]));
        }
    }

    #[test]
    fn errors_and_secrets_have_their_distributions() {
        let e = errors(&KEY, Use::Error, 0);
        let e: Vec<f64> = e.iter().map(|&e| e as i64 as f64).collect();
        let mean = e.iter().sum::<f64>() / N as f64;
        let variance = e.iter().map(|e| e * e).sum::<f64>() / N as f64;
        assert!(mean.abs() < 6.0 * (10.5 / N as f64).sqrt() && (variance - 10.5).abs() < 1.0);
        assert!(e.iter().all(|e| e.abs() <= f64::from(ERROR_BITS)));
        let s = ternary(&KEY, Use::Secret, 0);
        for value in [u64::MAX, 0, 1] {
            let count = s.iter().filter(|&&s| s == value).count() as f64;
            assert!((count - N as f64 / 3.0).abs() < 6.0 * (N as f64 * 2.0 / 9.0).sqrt());
        }
    }
}
