//! The linear code that turns a long sparse vector into a short one that looks random: the local half of silent VOLE.
//!
//! It is a block-accumulate code, transposed: two rounds of "running sum, then permute", then a block-diagonal map from
//! n elements to n / 2. The published family has three stages; the blocks here are 32 by 32. Over GF(2^128) the running
//! sum multiplies what it has by x before it adds the next element. That costs two instructions, and makes the code one
//! over the large field: a map with coefficients in GF(2) alone would compress each of the 128 bit planes of the noise by
//! itself, and an adversary could choose among their combinations one in which many of the noise values cancel.
//!
//! Every choice that the code leaves open comes from a public salt, by AES-128 in counter mode. The permutations are
//! Feistel networks of four rounds whose round functions are tables of that stream; where an element goes is therefore
//! computed, not stored, and public, so that memory accesses tell nothing.

use crate::Error;
use crate::blocks::Block;
use crate::prg;

/// Rows and columns of one block of the last stage.
pub const SIGMA: usize = 32;
/// The length of a noise vector is a multiple of this, so that halves fall into blocks.
pub const MULTIPLE: usize = 2 * SIGMA;
/// Pairs of Feistel rounds.
const PAIRS: usize = 2;
/// How many elements are placed together. Their cache lines are asked for one such group ahead.
const GROUP: usize = 32;
/// Where in the salt's stream the last stage's bits begin.
const BITS: u128 = 1 << 64;

/// The first two stages, in place: `x`, n elements, and `scratch`, as many, are overwritten; the result is in `x`.
///
/// Linear over GF(2^128) if `field`, and over GF(2) if not: then every one of the 128 bits is coded alike.
pub fn mix(x: &mut [Block], scratch: &mut [Block], salt: &[u8; 16], field: bool) -> Result<(), Error> {
    check(x.len())?;
    if scratch.len() != x.len() {
        return Err(Error::Misuse("the scratch space must be as long as the vector"));
    }
    let (first, second) = (Permutation::new(x.len(), salt, 0)?, Permutation::new(x.len(), salt, 1)?);
    if field {
        accumulate::<true>(x, &first, scratch);
        accumulate::<true>(scratch, &second, x);
    } else {
        accumulate::<false>(x, &first, scratch);
        accumulate::<false>(scratch, &second, x);
    }
    Ok(())
}

/// The last stage: the first `out.len()` outputs, at most n / 2, of what [`mix`] made of n elements. Output i is element
/// i of the first half, plus those of its block's 32 in the second half whose bits are set in row i of the salt's stream,
/// 32 bits a row.
pub fn fold(x: &[Block], salt: &[u8; 16], out: &mut [Block]) -> Result<(), Error> {
    const BLOCKS: usize = 64;
    check(x.len())?;
    let (systematic, parity) = x.split_at(x.len() / 2);
    if out.len() > systematic.len() {
        return Err(Error::Misuse("the code gives at most one output for two inputs"));
    }
    let mut stream = [0; 4 * SIGMA * BLOCKS];
    let mut counter = BITS;
    let rows = out.chunks_mut(SIGMA * BLOCKS);
    for ((out, systematic), parity) in rows.zip(systematic.chunks(SIGMA * BLOCKS)).zip(parity.chunks(SIGMA * BLOCKS)) {
        prg::fill(salt, counter, &mut stream)?;
        counter += (stream.len() / 16) as u128;
        let blocks = stream.as_chunks::<{ 4 * SIGMA }>().0.iter().zip(parity.as_chunks::<SIGMA>().0);
        for ((out, systematic), (bits, parity)) in out.chunks_mut(SIGMA).zip(systematic.chunks(SIGMA)).zip(blocks) {
            fold_block(systematic, parity, bits, out);
        }
    }
    Ok(())
}

/// Whether a vector of n elements can be coded.
fn check(n: usize) -> Result<(), Error> {
    match n > 0 && n.is_multiple_of(MULTIPLE) {
        true => Ok(()),
        false => Err(Error::Misuse("the vector's length must be a positive multiple of 64")),
    }
}

/// A permutation of 0 … n - 1, on pairs (left, right) with n = `height` · 2^`bits`: the number is left · 2^bits + right.
struct Permutation {
    height: u32,
    bits: u32,
    /// Per pair of rounds: what is added to `right` (exclusive or) for each `left`, to `left` (modulo) for each `right`.
    rounds: [(Vec<u16>, Vec<u16>); PAIRS],
}

impl Permutation {
    fn new(n: usize, salt: &[u8; 16], round: usize) -> Result<Self, Error> {
        // The two parts as equal as n's divisors allow, the right one never shorter than a group.
        let bits = n.trailing_zeros().min((n.ilog2() / 2).max(GROUP.ilog2()));
        let (width, height) = (1usize << bits, n >> bits);
        let Ok(height) = u16::try_from(height) else {
            return Err(Error::Misuse("the vector's length must be below 2^32, and have a power of two as a factor"));
        };
        let entries = width + usize::from(height);
        let mut stream = vec![0; 4 * entries * PAIRS];
        // A table never reaches 2^32 blocks, so rounds do not share parts of the stream.
        prg::fill(salt, (round as u128) << 32, &mut stream)?;
        let (mut words, _) = stream.as_chunks::<4>();
        let rounds = [(); PAIRS].map(|()| {
            let (for_left, rest) = words.split_at(usize::from(height));
            let (for_right, rest) = rest.split_at(width);
            words = rest;
            let mask = (width - 1) as u32;
            let right = for_left.iter().map(|&word| (u32::from_le_bytes(word) & mask) as u16).collect();
            let left = for_right.iter().map(|&word| below(word, u32::from(height)) as u16).collect();
            (right, left)
        });
        Ok(Self { height: u32::from(height), bits, rounds })
    }

    /// Calls `place` with the new positions of the elements, in the elements' order, `GROUP` at a time.
    fn for_each_group(&self, mut place: impl FnMut(&[u32; GROUP])) {
        let [(right1, left1), (right2, left2)] = &self.rounds;
        let add = |left: u32, more: u16| {
            let sum = left + u32::from(more);
            sum.min(sum.wrapping_sub(self.height))
        };
        let mut positions = [0; GROUP];
        for (left, &offset) in right1.iter().enumerate() {
            for group in (0..1u32 << self.bits).step_by(GROUP) {
                for (position, right) in positions.iter_mut().zip(group..) {
                    let right = right ^ u32::from(offset);
                    let left = add(left as u32, left1[right as usize]);
                    let right = right ^ u32::from(right2[left as usize]);
                    let left = add(left, left2[right as usize]);
                    *position = (left << self.bits) | right;
                }
                place(&positions);
            }
        }
    }
}

/// Writes the running sums of `input` to their places in `output`.
fn accumulate<const FIELD: bool>(input: &[Block], permutation: &Permutation, output: &mut [Block]) {
    let (mut groups, _) = input.as_chunks::<GROUP>();
    let mut sum = lane::ZERO;
    let mut write = |positions: &[u32; GROUP], output: &mut [Block]| {
        let (group, rest) = groups.split_first().expect("a group for each group of positions");
        groups = rest;
        for (element, &position) in group.iter().zip(positions) {
            sum = lane::add(if FIELD { lane::times_x(sum) } else { sum }, lane::load(element));
            lane::store(&mut output[position as usize], sum);
        }
    };
    let mut waiting = None;
    permutation.for_each_group(|positions| {
        for &position in positions {
            lane::expect_write(&output[position as usize]);
        }
        if let Some(earlier) = waiting.replace(*positions) {
            write(&earlier, output);
        }
    });
    if let Some(last) = waiting {
        write(&last, output);
    }
}

fn fold_block(systematic: &[Block], parity: &[Block; SIGMA], bits: &[u8; 4 * SIGMA], out: &mut [Block]) {
    // All sums of four neighbours, eight times: a row then takes one of each for its bits, four at a time.
    let mut sums = [[lane::ZERO; 16]; SIGMA / 4];
    for (sums, four) in sums.iter_mut().zip(parity.as_chunks::<4>().0) {
        for (i, element) in four.iter().enumerate() {
            let element = lane::load(element);
            for low in 0..1 << i {
                sums[low | (1 << i)] = lane::add(sums[low], element);
            }
        }
    }
    for ((out, own), bits) in out.iter_mut().zip(systematic).zip(bits.as_chunks::<4>().0) {
        let mut sum = lane::load(own);
        for (pair, &byte) in sums.as_chunks::<2>().0.iter().zip(bits) {
            sum = lane::add(sum, lane::add(pair[0][usize::from(byte & 15)], pair[1][usize::from(byte >> 4)]));
        }
        lane::store(out, sum);
    }
}

/// One element in one register. SSE2 is part of x86-64, so nothing is to be detected.
#[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
mod lane {
    use core::arch::x86_64::*;

    use super::Block;

    pub(super) type Lane = __m128i;
    // SAFETY: sixteen zero bytes are a register of zeros.
    pub(super) const ZERO: Lane = unsafe { core::mem::zeroed() };

    #[inline(always)]
    pub(super) fn load(block: &Block) -> Lane {
        // SAFETY: the block is 16 bytes, and the load needs no alignment.
        unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
    }

    #[inline(always)]
    pub(super) fn store(block: &mut Block, lane: Lane) {
        // SAFETY: the block is 16 bytes, and the store needs no alignment.
        unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), lane) }
    }

    #[inline(always)]
    pub(super) fn add(a: Lane, b: Lane) -> Lane {
        // SAFETY: SSE2 is part of x86-64, here and below.
        unsafe { _mm_xor_si128(a, b) }
    }

    /// x · a modulo x^128 + x^7 + x^2 + x + 1.
    #[inline(always)]
    pub(super) fn times_x(a: Lane) -> Lane {
        unsafe {
            // Each 32-bit word's top bit goes to the next word; the last one's comes back as the polynomial's tail.
            let tops = _mm_shuffle_epi32::<0b10_01_00_11>(_mm_srai_epi32::<31>(a));
            let carries = _mm_and_si128(tops, _mm_set_epi32(1, 1, 1, 0x87));
            _mm_xor_si128(_mm_slli_epi32::<1>(a), carries)
        }
    }

    #[inline(always)]
    pub(super) fn expect_write(block: &Block) {
        // SAFETY: a prefetch changes nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(block.as_ptr().cast()) }
    }
}

/// One element as a number, where there are no such registers.
#[cfg(not(all(target_arch = "x86_64", not(aes_backend = "soft"))))]
mod lane {
    use super::Block;

    pub(super) type Lane = u128;
    pub(super) const ZERO: Lane = 0;

    pub(super) fn load(block: &Block) -> Lane {
        u128::from_le_bytes(*block)
    }

    pub(super) fn store(block: &mut Block, lane: Lane) {
        *block = lane.to_le_bytes();
    }

    pub(super) fn add(a: Lane, b: Lane) -> Lane {
        a ^ b
    }

    /// x · a modulo x^128 + x^7 + x^2 + x + 1.
    pub(super) fn times_x(a: Lane) -> Lane {
        (a << 1) ^ ((a >> 127) * 0x87)
    }

    pub(super) fn expect_write(_block: &Block) {}
}

/// A number below `bound` from a uniform word; no number is likelier than another by more than 2^-32.
fn below(word: [u8; 4], bound: u32) -> u32 {
    ((u64::from(u32::from_le_bytes(word)) * u64::from(bound)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 16] = *b"any public bytes";

    fn vector(n: usize) -> Vec<Block> {
        let mut bytes = vec![0; 16 * n];
        prg::fill(&[7; 16], 0, &mut bytes).unwrap();
        bytes.as_chunks().0.to_vec()
    }

    fn code(x: &[Block], field: bool) -> Vec<Block> {
        let (mut x, mut out) = (x.to_vec(), vec![[0; 16]; x.len() / 2]);
        let mut scratch = x.clone();
        mix(&mut x, &mut scratch, &SALT, field).unwrap();
        fold(&x, &SALT, &mut out).unwrap();
        out
    }

    #[test]
    fn every_place_is_taken_once() {
        for n in [64, 128, 192, 6400, 7168 * 5, 3 << 16, 1 << 17] {
            let permutation = Permutation::new(n, &SALT, 1).unwrap();
            let mut places = Vec::new();
            permutation.for_each_group(|positions| places.extend_from_slice(positions));
            assert_ne!(places[..64], *(0..64).collect::<Vec<_>>());
            places.sort_unstable();
            assert!(places.iter().map(|&p| p as usize).eq(0..n), "{n}");
        }
    }

    #[test]
    fn the_code_is_linear() {
        let times_x = |block: &Block| {
            let a = u128::from_le_bytes(*block);
            ((a << 1) ^ ((a >> 127) * 0x87)).to_le_bytes()
        };
        for n in [64, 6400] {
            let (x, y) = (vector(2 * n)[..n].to_vec(), vector(2 * n)[n..].to_vec());
            for field in [false, true] {
                let mut sum: Vec<Block> = x.iter().zip(&y).map(|(x, y)| std::array::from_fn(|i| x[i] ^ y[i])).collect();
                let (code_x, code_y) = (code(&x, field), code(&y, field));
                for (sum, (x, y)) in code(&sum, field).iter().zip(code_x.iter().zip(&code_y)) {
                    assert_eq!(*sum, std::array::from_fn(|i| x[i] ^ y[i]));
                }
                sum = x.iter().map(times_x).collect();
                let scaled: Vec<Block> = code_x.iter().map(times_x).collect();
                assert_eq!(code(&sum, field), scaled);
            }
        }
        assert_ne!(code(&vector(64), true), code(&vector(64), false));
    }

    #[test]
    fn fewer_outputs_are_the_first_ones() {
        let x = vector(6400);
        let mut all = vec![[0; 16]; 3200];
        fold(&x, &SALT, &mut all).unwrap();
        for m in [0, 1, 31, 32, 33, 2047, 2049, 3200] {
            let mut out = vec![[0; 16]; m];
            fold(&x, &SALT, &mut out).unwrap();
            assert_eq!(out, all[..m]);
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for (n, scratch) in [(0, 0), (63, 63), (96, 96), (128, 64)] {
            assert!(mix(&mut vec![[0; 16]; n], &mut vec![[0; 16]; scratch], &SALT, true).is_err());
        }
        for (n, m) in [(0, 0), (63, 1), (96, 1), (128, 65)] {
            assert!(fold(&vec![[0; 16]; n], &SALT, &mut vec![[0; 16]; m]).is_err());
        }
        // 2^16 · 64 would need a table of 2^16 entries for an odd number of rows.
        assert!(Permutation::new(((1 << 16) + 1) << 6, &SALT, 0).is_err());
    }

    #[test]
    #[ignore = "prints timings"]
    fn speed() {
        let n = 400 * 7168;
        let x = vector(n);
        let (mut work, mut scratch, mut out) = (x.clone(), x.clone(), vec![[0; 16]; n / 2]);
        for field in [true, false, true] {
            let start = std::time::Instant::now();
            mix(&mut work, &mut scratch, &SALT, field).unwrap();
            println!("{field} {:?}", start.elapsed());
            let permutation = Permutation::new(n, &SALT, 1).unwrap();
            let start = std::time::Instant::now();
            let mut sum = 0;
            permutation.for_each_group(|p| sum += p[0]);
            println!("  positions {:?} {sum}", start.elapsed());
            let start = std::time::Instant::now();
            accumulate::<true>(&work, &permutation, &mut scratch);
            println!("  accumulate {:?}", start.elapsed());
            let start = std::time::Instant::now();
            fold(&work, &SALT, &mut out).unwrap();
            println!("  fold {:?}", start.elapsed());
        }
    }
}
