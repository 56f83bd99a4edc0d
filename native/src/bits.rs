//! Bit planes: the bits of many words, sorted by their place, so that one instruction works on one bit of many words.
//!
//! Plane `b` of n words is `⌈n / 64⌉` words: bit `i % 64` of its word `i / 64` is bit `b` of word `i`. Bits beyond the last
//! word are zero. Planes lie one after another.
//!
//! Also the first step of a comparison between one party's word s and the word t of two others: the carry out of each block
//! of three bits of s + t, and whether the block passes a carry on. Both are among the bits `[s ≥ v]` of the block of s, for
//! v of 0 to 8, and t alone says which. That choice is linear, so the two can make it on their shares of those bits.

use std::array;
use std::convert::Infallible;

use zeroize::Zeroizing;

use crate::parallel::{self, Grain};

/// Bits of a word, and planes of words.
pub const WORD: usize = 64;
/// Bits of a block of the comparison.
const BLOCK: usize = 3;
/// Most blocks: those below the sign bit.
pub const BLOCKS: usize = (WORD - 1) / BLOCK;
/// Bits that say how large a block is: for each v of 1 to 7, whether it is at least v.
const STEPS: usize = (1 << BLOCK) - 1;

/// Planes of [`steps`] of so many blocks: those of every block, then the bit above them.
pub const fn step_planes(blocks: usize) -> usize {
    blocks * STEPS + 1
}

/// Planes of [`carries`]: each block's carry, then whether each block but the lowest passes one on, then the bit above them.
pub const fn carry_planes(blocks: usize) -> usize {
    2 * blocks
}

/// Columns of planes that are worked on at once: as many as a vector register holds.
const LANES: usize = 4;
/// Columns that stay in the cache with all planes of [`steps`]: 37 KiB.
const TILE: usize = 32;
/// Columns are some hundred nanoseconds each.
const COLUMNS: Grain = Grain { serial: 2 * TILE, chunk: TILE };
/// For tiles of columns.
const TILES: Grain = Grain { serial: 2, chunk: 1 };

/// A column of as many planes' words; the operations below are one instruction each.
type Lane = [u64; LANES];
/// One word of each plane, `LANES` times.
type Square = [Lane; WORD];

#[inline(always)]
fn and(a: Lane, b: Lane) -> Lane {
    array::from_fn(|l| a[l] & b[l])
}

#[inline(always)]
fn or(a: Lane, b: Lane) -> Lane {
    array::from_fn(|l| a[l] | b[l])
}

#[inline(always)]
fn xor(a: Lane, b: Lane) -> Lane {
    array::from_fn(|l| a[l] ^ b[l])
}

/// Runs one of the functions below as compiled for AVX2, where there is AVX2.
macro_rules! with_avx2 {
    ($name:ident, $wide:ident, ($($arg:ident: $kind:ty),+)) => {
        #[cfg(all(target_arch = "x86_64", not(ring_backend = "soft")))]
        #[target_feature(enable = "avx2")]
        fn $wide($($arg: $kind),+) {
            $name($($arg),+);
        }
    };
}

macro_rules! call {
    ($name:ident, $wide:ident, $($arg:expr),+) => {{
        #[cfg(all(target_arch = "x86_64", not(ring_backend = "soft")))]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            unsafe { $wide($($arg),+) };
            return;
        }
        $name($($arg),+);
    }};
}

/// Exchanges rows and columns of 64 by 64 bits, `LANES` times. [Warren, *Hacker's Delight*, section 7-3.]
#[inline(always)]
fn transpose(x: &mut Square) {
    let mut distance = WORD / 2;
    let mut low = u64::MAX >> distance;
    while distance != 0 {
        let mut row = 0;
        while row < WORD {
            let moved: Lane = array::from_fn(|l| ((x[row][l] >> distance) ^ x[row + distance][l]) & low);
            x[row + distance] = xor(x[row + distance], moved);
            x[row] = xor(x[row], moved.map(|word| word << distance));
            // The next row whose number lacks the bit of `distance`.
            row = (row + distance + 1) & !distance;
        }
        distance /= 2;
        low ^= low << distance;
    }
}

/// The planes' columns from `column` on, of words of which those that are not there are zero.
#[inline(always)]
fn load(words: &[u64], column: usize, x: &mut Square) {
    for l in 0..LANES {
        let words = words.get((column + l) * WORD..).unwrap_or_default();
        let (given, missing) = x.split_at_mut(words.len().min(WORD));
        given.iter_mut().zip(words).for_each(|(x, &word)| x[l] = word);
        missing.iter_mut().for_each(|x| x[l] = 0);
    }
    transpose(x);
}

/// Writes the bits of words to planes: `out` has 64 rows.
pub fn planes(words: &[u64], out: &mut [u64]) {
    assert_eq!(out.len(), words.len().div_ceil(WORD) * WORD, "64 planes");
    parallel::fill_columns(out, WORD, COLUMNS, |first, out| call!(some_planes, some_planes_avx2, words, first, out));
}

with_avx2!(some_planes, some_planes_avx2, (words: &[u64], first: usize, out: &mut [&mut [u64]]));
#[inline(always)]
fn some_planes(words: &[u64], first: usize, out: &mut [&mut [u64]]) {
    let mut x = Zeroizing::new([[0; LANES]; WORD]);
    for at in (0..out[0].len()).step_by(LANES) {
        load(words, first + at, &mut x);
        for (out, x) in out.iter_mut().zip(x.iter()) {
            store(out, at, *x);
        }
    }
}

#[inline(always)]
fn store(out: &mut [u64], at: usize, x: Lane) {
    match out[at..].first_chunk_mut() {
        Some(out) => *out = x,
        None => out[at..].iter_mut().zip(x).for_each(|(out, x)| *out = x),
    }
}

#[inline(always)]
fn fetch(plane: &[u64], at: usize) -> Lane {
    let plane = &plane[at..];
    plane.first_chunk().copied().unwrap_or_else(|| {
        let mut x = [0; LANES];
        x.iter_mut().zip(plane).for_each(|(x, &word)| *x = word);
        x
    })
}

/// Writes words from their planes, 64 rows.
pub fn words(planes: &[u64], out: &mut [u64]) {
    let width = out.len().div_ceil(WORD);
    assert_eq!(planes.len(), width * WORD, "64 planes");
    let whole = out.len() / WORD * WORD;
    let (squares, rest) = out.split_at_mut(whole);
    let done = parallel::fill_rows(squares, WORD, COLUMNS, |first, out| {
        call_words(planes, width, first, out);
        Ok::<(), Infallible>(())
    });
    let Ok(()) = done;
    if !rest.is_empty() {
        call_words(planes, width, whole / WORD, rest);
    }
}

fn call_words(planes: &[u64], width: usize, first: usize, out: &mut [u64]) {
    call!(some_words, some_words_avx2, planes, width, first, out)
}

with_avx2!(some_words, some_words_avx2, (planes: &[u64], width: usize, first: usize, out: &mut [u64]));
#[inline(always)]
fn some_words(planes: &[u64], width: usize, first: usize, out: &mut [u64]) {
    let mut x = Zeroizing::new([[0; LANES]; WORD]);
    for (i, out) in out.chunks_mut(LANES * WORD).enumerate() {
        for (x, plane) in x.iter_mut().zip(planes.chunks_exact(width)) {
            *x = fetch(plane, first + i * LANES);
        }
        transpose(&mut x);
        for (l, out) in out.chunks_mut(WORD).enumerate() {
            out.iter_mut().zip(x.iter()).for_each(|(out, x)| *out = x[l]);
        }
    }
}

/// Adds to `out`, for each of the lowest `blocks` blocks of three bits of each word, whether it is at least 1, 2, … 7, and the
/// bit above them. Adds bit by bit, so that `out` may hold masks before. Laid out for [`carries`] alone: `TILE` columns of all
/// planes, then the next ones, because rows as far apart as planes are would contend for the same places in the cache.
pub fn steps(words: &[u64], blocks: usize, out: &mut [u64]) {
    let planes = step_planes(blocks);
    assert!((1..=BLOCKS).contains(&blocks), "blocks of a word");
    assert_eq!(out.len(), words.len().div_ceil(WORD) * planes, "a plane for each step");
    let whole = out.len() / (TILE * planes) * (TILE * planes);
    let (tiles, rest) = out.split_at_mut(whole);
    let done = parallel::fill_rows(tiles, TILE * planes, TILES, |first, tiles| {
        for (i, tile) in tiles.chunks_exact_mut(TILE * planes).enumerate() {
            call_steps(words, blocks, (first + i) * TILE, tile);
        }
        Ok::<(), Infallible>(())
    });
    let Ok(()) = done;
    call_steps(words, blocks, whole / planes, rest);
}

fn call_steps(words: &[u64], blocks: usize, first: usize, tile: &mut [u64]) {
    call!(some_steps, some_steps_avx2, words, blocks, first, tile)
}

with_avx2!(some_steps, some_steps_avx2, (words: &[u64], blocks: usize, first: usize, tile: &mut [u64]));
#[inline(always)]
fn some_steps(words: &[u64], blocks: usize, first: usize, tile: &mut [u64]) {
    let mut x = Zeroizing::new([[0; LANES]; WORD]);
    let width = tile.len() / step_planes(blocks);
    for at in (0..width).step_by(LANES) {
        load(words, first + at, &mut x);
        let (bits, sign) = x.split_at(BLOCK * blocks);
        let (planes, last) = tile.split_at_mut(width * STEPS * blocks);
        for (bits, out) in bits.as_chunks::<BLOCK>().0.iter().zip(planes.chunks_exact_mut(width * STEPS)) {
            let [a, b, c] = *bits;
            let (high, low) = (or(a, b), and(a, b));
            let steps = [or(high, c), or(b, c), or(low, c), c, and(high, c), and(b, c), and(low, c)];
            for (out, steps) in out.chunks_exact_mut(width).zip(steps) {
                add(out, at, steps);
            }
        }
        add(last, at, sign[0]);
    }
}

#[inline(always)]
fn add(out: &mut [u64], at: usize, x: Lane) {
    match out[at..].first_chunk_mut::<LANES>() {
        Some(out) => *out = xor(*out, x),
        None => out[at..].iter_mut().zip(x).for_each(|(out, x)| *out ^= x),
    }
}

/// Of shares of the steps of s, and of t in the clear, makes shares of each block's carry in s + t, of whether each block but
/// the lowest passes a carry on (it has none of its own then), and of the sum of the bits above the blocks.
///
/// `one` at one of the two parties: it adds what is public.
pub fn carries(steps: &[u64], t: &[u64], blocks: usize, one: bool, out: &mut [u64]) {
    let width = t.len().div_ceil(WORD);
    assert!((1..=BLOCKS).contains(&blocks), "blocks of a word");
    assert_eq!(steps.len(), width * step_planes(blocks), "a plane for each step");
    assert_eq!(out.len(), width * carry_planes(blocks), "a plane for each carry");
    parallel::fill_columns(out, carry_planes(blocks), COLUMNS, |first, out| {
        call!(some_carries, some_carries_avx2, steps, t, blocks, one, first, out);
    });
}

with_avx2!(some_carries, some_carries_avx2,
    (steps: &[u64], t: &[u64], blocks: usize, one: bool, first: usize, out: &mut [&mut [u64]]));
#[inline(always)]
fn some_carries(steps: &[u64], t: &[u64], blocks: usize, one: bool, first: usize, out: &mut [&mut [u64]]) {
    let always = if one { u64::MAX } else { 0 };
    let mut x = Zeroizing::new([[0; LANES]; WORD]);
    let mut at_least = Zeroizing::new([[0; LANES]; STEPS + 2]);
    let width = out[0].len();
    let tile = &steps[first * step_planes(blocks)..][..width * step_planes(blocks)];
    let (below, last) = tile.split_at(width * STEPS * blocks);
    for at in (0..width).step_by(LANES) {
        load(t, first + at, &mut x);
        let (bits, sign) = x.split_at(BLOCK * blocks);
        let planes = below.chunks_exact(width * STEPS);
        for (block, (bits, planes)) in bits.as_chunks::<BLOCK>().0.iter().zip(planes).enumerate() {
            // s ≥ 0 always, s ≥ 8 never.
            at_least[0] = [always; LANES];
            for (at_least, plane) in at_least[1..].iter_mut().zip(planes.chunks_exact(width)) {
                *at_least = fetch(plane, at);
            }
            // A carry is s ≥ 8 - t. Without one, s ≥ 7 - t says that the block is all ones. With c for 7 - t, whose bits
            // are those of t turned over, the two are at places c + 1 and c.
            let [carry, full] = [&at_least[1..], &at_least[..]].map(|of| choose(*bits, of));
            store(out[block], at, carry);
            if block > 0 {
                store(out[blocks + block - 1], at, xor(carry, full));
            }
        }
        let top = fetch(last, at);
        store(out[carry_planes(blocks) - 1], at, xor(top, and(sign[0], [always; LANES])));
    }
}

/// `of[7 - t]`, for each of the numbers t of three bits.
#[inline(always)]
fn choose([a, b, c]: [Lane; BLOCK], of: &[Lane]) -> Lane {
    let pick = |bit: Lane, one: Lane, zero: Lane| xor(zero, and(bit, xor(one, zero)));
    let pairs = [0, 2, 4, 6].map(|v| pick(a, of[v], of[v + 1]));
    pick(c, pick(b, pairs[0], pairs[1]), pick(b, pairs[2], pairs[3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64, n: usize) -> Vec<u64> {
        let edges = [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, 7, 0x0249_2492_4924_9249];
        let mut state = seed;
        let drawn = std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 29)
        });
        edges.iter().cycle().skip(seed as usize % 7).take(n.min(49)).copied().chain(drawn).take(n).collect()
    }

    fn bit(planes: &[u64], width: usize, plane: usize, i: usize) -> bool {
        planes[plane * width + i / WORD] >> (i % WORD) & 1 == 1
    }

    const COUNTS: [usize; 9] = [0, 1, 63, 64, 65, 255, 257, 4096, 9001];

    #[test]
    fn planes_and_back() {
        for n in COUNTS {
            let (given, width) = (numbers(1, n), n.div_ceil(WORD));
            let (mut out, mut back) = (vec![9; width * WORD], vec![9; n]);
            planes(&given, &mut out);
            for (i, &word) in given.iter().enumerate() {
                assert!((0..WORD).all(|b| bit(&out, width, b, i) == (word >> b & 1 == 1)));
            }
            assert_eq!(
                out.iter().map(|word| word.count_ones()).sum::<u32>(),
                given.iter().map(|w| w.count_ones()).sum::<u32>()
            );
            words(&out, &mut back);
            assert!(back == given);
        }
    }

    #[test]
    fn blocks_carry_as_sums_do() {
        for (n, blocks) in COUNTS.into_iter().zip([BLOCKS, BLOCKS, BLOCKS, 1, 9, BLOCKS, 2, 10, BLOCKS]) {
            let (s, t, width) = (numbers(1, n), numbers(2, n), n.div_ceil(WORD));
            let mask = numbers(3, width * step_planes(blocks));
            let mut other = mask.clone();
            steps(&s, blocks, &mut other);
            let (mut one, mut two) = (vec![9; width * carry_planes(blocks)], vec![9; width * carry_planes(blocks)]);
            carries(&mask, &t, blocks, true, &mut one);
            carries(&other, &t, blocks, false, &mut two);
            let sum: Vec<u64> = one.iter().zip(&two).map(|(a, b)| a ^ b).collect();
            for i in 0..n {
                for block in 0..blocks {
                    let digit = |x: u64| x >> (BLOCK * block) & 7;
                    let total = digit(s[i]) + digit(t[i]);
                    assert_eq!(bit(&sum, width, block, i), total > 7);
                    assert!(block == 0 || bit(&sum, width, blocks + block - 1, i) == (total == 7));
                }
                let above = (s[i] ^ t[i]) >> (BLOCK * blocks) & 1;
                assert_eq!(bit(&sum, width, carry_planes(blocks) - 1, i), above == 1);
            }
        }
    }
}
