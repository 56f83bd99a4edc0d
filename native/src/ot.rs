//! The inner loops of oblivious-transfer extension: bit matrices on their side, and SoftSpoken's expansion of seeds.
//!
//! Bits are numbered from the least significant of the first byte on, in rows and in columns alike. A *block* is 16 bytes,
//! one bit for each of 128 columns. Transfers are worked on in stripes that stay in the second-level cache.
//!
//! SoftSpoken (Roy, CRYPTO 2022) with the repetition code over fields of 2^k elements: the 128 columns are `128 / k`
//! groups of k. For each group the receiver has 2^k seeds and the sender all of them but one, the one at the group's
//! k bits Δ_g of its offset. A seed's stream gives a bit r_x for each transfer. The receiver takes u = Σ_x r_x and
//! v = Σ_x x·r_x, tells u ⊕ choice, and keeps v; the sender takes w = Σ_x (x ⊕ Δ_g)·r_x = v ⊕ Δ_g·u without the seed it
//! lacks, whose factor is zero, and adds Δ_g·(u ⊕ choice). So w = v ⊕ Δ_g·choice.

use std::convert::Infallible;

use zeroize::Zeroizing;

use crate::parallel::{self, STREAM};
use crate::prg::Stream;
use crate::vectorised::vectorised;
use crate::{Error, gf128};

/// Columns of a block.
pub const COLUMNS: usize = 128;
/// Bytes of a block.
pub const BLOCK: usize = 16;
/// Transfers of a stripe. What a group says of a stripe lies together, stripe after stripe; the last may be shorter.
pub const STRIPE: usize = 4096;

/// Bytes of a row of a full stripe.
const ROW: usize = STRIPE / 8;
/// From one row to the next. Not a power of two, or all rows would compete for the same few cache sets.
const PITCH: usize = ROW + 64;
/// Bytes of a tile: 128 blocks.
const TILE: usize = COLUMNS * BLOCK;

/// 128 rows of 128 bits.
type Tile = [[u64; 2]; COLUMNS];

/// One level of the transposition: in each square of 2J × 2J bits, the two off-diagonal squares of J × J change places.
#[inline(always)]
fn level<const J: usize>(tile: &mut Tile) {
    // Bits whose number does not hold J.
    let low = u64::MAX / ((1u64 << J) + 1);
    for square in tile.chunks_exact_mut(2 * J) {
        let (above, below) = square.split_at_mut(J);
        for (a, b) in above.iter_mut().zip(below) {
            for word in 0..2 {
                let swap = ((a[word] >> J) ^ b[word]) & low;
                a[word] ^= swap << J;
                b[word] ^= swap;
            }
        }
    }
}

#[inline(always)]
fn transpose_tile(tile: &mut Tile) {
    let (above, below) = tile.split_at_mut(COLUMNS / 2);
    for (a, b) in above.iter_mut().zip(below) {
        std::mem::swap(&mut a[1], &mut b[0]);
    }
    level::<32>(tile);
    level::<16>(tile);
    level::<8>(tile);
    level::<4>(tile);
    level::<2>(tile);
    level::<1>(tile);
}

#[inline(always)]
fn load(bytes: &[u8]) -> [u64; 2] {
    let [low, high] = [&bytes[..8], &bytes[8..16]];
    [low, high].map(|half| u64::from_le_bytes(half.try_into().expect("8 bytes")))
}

#[inline(always)]
fn store(row: &[u64; 2], bytes: &mut [u8]) {
    bytes[..8].copy_from_slice(&row[0].to_le_bytes());
    bytes[8..16].copy_from_slice(&row[1].to_le_bytes());
}

vectorised! {
    /// Rows at a pitch to blocks: `blocks` is whole tiles, and each row has two bytes for each sixteen of a column's.
    fn to_blocks(rows: &[u8], pitch: usize, blocks: &mut [u8]) {
        for (at, out) in blocks.chunks_exact_mut(TILE).enumerate() {
            let mut tile: Tile = [[0; 2]; COLUMNS];
            for (row, words) in tile.iter_mut().enumerate() {
                *words = load(&rows[row * pitch + at * BLOCK..]);
            }
            transpose_tile(&mut tile);
            for (words, block) in tile.iter().zip(out.chunks_exact_mut(BLOCK)) {
                store(words, block);
            }
        }
    }
}

vectorised! {
    fn to_columns(blocks: &[u8], columns: &mut [u8]) {
        let pitch = columns.len() / COLUMNS;
        for (at, block) in blocks.chunks_exact(TILE).enumerate() {
            let mut tile = read_tile(block);
            transpose_tile(&mut tile);
            for (column, words) in tile.iter().enumerate() {
                store(words, &mut columns[column * pitch + at * BLOCK..]);
            }
        }
    }
}

#[inline(always)]
fn read_tile(blocks: &[u8]) -> Tile {
    let mut tile: Tile = [[0; 2]; COLUMNS];
    for (words, block) in tile.iter_mut().zip(blocks.chunks_exact(BLOCK)) {
        *words = load(block);
    }
    tile
}

/// `(128, n / 8)` rows of bits to `(n, 16)` blocks, n a multiple of 128.
pub fn transpose(rows: &[u8], blocks: &mut [u8]) {
    let pitch = rows.len() / COLUMNS;
    let Ok(()) = parallel::fill_rows(blocks, ROW * COLUMNS, STREAM, |first, blocks| {
        to_blocks(&rows[first * ROW..], pitch, blocks);
        Ok::<(), Infallible>(())
    });
}

/// `(n, 16)` blocks to `(128, n / 8)` rows of bits, n a multiple of 128: what [`transpose`] undoes.
pub fn untranspose(blocks: &[u8], rows: &mut [u8]) {
    to_columns(blocks, rows);
}

/// The polynomial hash of every column of `(n, 16)` blocks, n a multiple of 128: for each of the 128 columns the sum of
/// `seed^j` times its j-th 128 bits in GF(2^128). `out` is `(128, 16)`.
pub fn hash_columns(seed: &[u8; BLOCK], blocks: &[u8], out: &mut [u8]) {
    let mut sums = Zeroizing::new(vec![0; TILE]);
    let mut column = Zeroizing::new(vec![0; TILE]);
    for tile in blocks.chunks_exact(TILE).rev() {
        to_columns(tile, &mut column);
        gf128::scale_into(seed, sums.as_chunks().0, column.as_chunks_mut().0);
        std::mem::swap(&mut sums, &mut column);
    }
    out.copy_from_slice(&sums);
}

/// The seeds of all groups, ready to give streams.
struct Seeds {
    k: usize,
    streams: Vec<Stream>,
}

impl Seeds {
    fn new(seeds: &[u8], k: usize) -> Result<Self, Error> {
        if !matches!(k, 1 | 2 | 4 | 8) || seeds.len() != ((COLUMNS / k) << k) * BLOCK {
            return Err(Error::Misuse("k must be 1, 2, 4 or 8, and each of the 128 / k groups has 2^k seeds"));
        }
        Ok(Self { k, streams: seeds.as_chunks().0.iter().map(Stream::new).collect() })
    }

    fn groups(&self) -> usize {
        COLUMNS / self.k
    }

    /// Expands a stripe of `8 * width` transfers: fills 128 rows, and calls `each` with every group's rows and the sum of
    /// its streams. Where `missing`, the first seed of every group counts for nothing.
    fn expand(
        &self,
        scratch: &mut Scratch,
        counter: u128,
        width: usize,
        missing: bool,
        mut each: impl FnMut(usize, &mut [u8], &[u8]),
    ) {
        let groups = scratch.rows.chunks_exact_mut(self.k * PITCH).zip(self.streams.chunks_exact(1 << self.k));
        for (group, (rows, streams)) in groups.enumerate() {
            let bits = &mut scratch.bits[..width << self.k];
            for (x, (stream, bits)) in streams.iter().zip(bits.chunks_exact_mut(width)).enumerate() {
                if x == 0 && missing { bits.fill(0) } else { stream.fill(counter, bits) }
            }
            fold(bits, width, rows);
            each(group, rows, &bits[..width]);
        }
    }
}

/// What a thread works on. Streams are secret, so it is wiped.
struct Scratch {
    rows: Zeroizing<Vec<u8>>,
    bits: Zeroizing<Vec<u8>>,
}

impl Scratch {
    fn new(k: usize) -> Self {
        Self { rows: Zeroizing::new(vec![0; COLUMNS * PITCH]), bits: Zeroizing::new(vec![0; ROW << k]) }
    }
}

vectorised! {
    /// 2^k strings r_x of `width` bytes to k rows Σ_x (bit b of x)·r_x, and Σ_x r_x in the place of the first string.
    fn fold(strings: &mut [u8], width: usize, rows: &mut [u8]) {
        let mut count = strings.len() / width;
        for row in rows.chunks_exact_mut(PITCH) {
            let row = &mut row[..width];
            count /= 2;
            // String 2y + 1 has the bit; then the two count as one for the bits above.
            let (even, odd) = strings.split_at_mut(width);
            let odd = &odd[..width];
            row.copy_from_slice(odd);
            add(even, odd);
            for y in 1..count {
                let (target, pair) = strings.split_at_mut(2 * y * width);
                let target = &mut target[y * width..][..width];
                let (even, odd) = pair[..2 * width].split_at(width);
                add(row, odd);
                for ((target, even), odd) in target.iter_mut().zip(even).zip(odd) {
                    *target = even ^ odd;
                }
            }
        }
    }
}

#[inline(always)]
fn add(sum: &mut [u8], term: &[u8]) {
    for (sum, term) in sum.iter_mut().zip(term) {
        *sum ^= term;
    }
}

vectorised! {
    /// Each of the rows at [`PITCH`] plus the correction where the offset's bit is one.
    fn correct(rows: &mut [u8], correction: &[u8], offset: &[u8]) {
        for (row, mask) in rows.chunks_exact_mut(PITCH).zip(offset) {
            for (bits, correction) in row.iter_mut().zip(correction) {
                *bits ^= correction & mask;
            }
        }
    }
}

/// The receiver's part for n transfers, n a multiple of 128.
///
/// `seeds` is `(128 / k, 2^k, 16)` and `choices` n bits. Fills `blocks`, `(n, 16)`, with what it keeps and `corrections`
/// with what it tells the sender: stripe after stripe, for each group a row of one bit for each transfer.
/// The streams are read from block `counter` on, n / 128 blocks of each.
pub fn receive(
    seeds: &[u8],
    k: usize,
    counter: u128,
    choices: &[u8],
    blocks: &mut [u8],
    corrections: &mut [u8],
) -> Result<(), Error> {
    let seeds = Seeds::new(seeds, k)?;
    let groups = seeds.groups();
    parallel::fill_two((blocks, STRIPE * BLOCK), (corrections, ROW * groups), STREAM, |first, blocks, corrections| {
        let mut scratch = Scratch::new(k);
        let stripes = blocks.chunks_mut(STRIPE * BLOCK).zip(corrections.chunks_mut(ROW * groups));
        for (stripe, (blocks, corrections)) in (first..).zip(stripes) {
            let width = blocks.len() / COLUMNS;
            let choices = &choices[stripe * ROW..][..width];
            let counter = counter.wrapping_add((stripe * STRIPE / COLUMNS) as u128);
            seeds.expand(&mut scratch, counter, width, false, |group, _, sum| {
                let correction = &mut corrections[group * width..][..width];
                correction.copy_from_slice(sum);
                add(correction, choices);
            });
            to_blocks(&scratch.rows, PITCH, blocks);
        }
    });
    Ok(())
}

/// The sender's part for n transfers, n a multiple of 128.
///
/// `seeds` is `(128 / k, 2^k, 16)`, in which place y of group g holds the receiver's seed at place y ⊕ Δ_g; place 0, which
/// the sender does not know, counts for nothing. `offset` is Δ, and `corrections` what the receiver has told.
pub fn send(
    seeds: &[u8],
    k: usize,
    counter: u128,
    offset: &[u8; BLOCK],
    corrections: &[u8],
    blocks: &mut [u8],
) -> Result<(), Error> {
    let seeds = Seeds::new(seeds, k)?;
    let groups = seeds.groups();
    let mut masks = Zeroizing::new([0u8; COLUMNS]);
    for (column, mask) in masks.iter_mut().enumerate() {
        *mask = (offset[column / 8] >> (column % 8) & 1).wrapping_neg();
    }
    let Ok(()) = parallel::fill_rows(blocks, STRIPE * BLOCK, STREAM, |first, blocks| {
        let mut scratch = Scratch::new(k);
        for (stripe, blocks) in (first..).zip(blocks.chunks_mut(STRIPE * BLOCK)) {
            let width = blocks.len() / COLUMNS;
            let corrections = &corrections[stripe * ROW * groups..][..width * groups];
            let counter = counter.wrapping_add((stripe * STRIPE / COLUMNS) as u128);
            seeds.expand(&mut scratch, counter, width, true, |group, rows, _| {
                correct(rows, &corrections[group * width..][..width], &masks[group * k..][..k]);
            });
            to_blocks(&scratch.rows, PITCH, blocks);
        }
        Ok::<(), Infallible>(())
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prg;

    fn bit(rows: &[u8], index: usize) -> u8 {
        rows[index / 8] >> (index % 8) & 1
    }

    fn random(seed: u8, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        prg::fill(&[seed; 16], 0, &mut out).unwrap();
        out
    }

    #[test]
    fn transposing_moves_every_bit() {
        for n in [128, 256, STRIPE + 128] {
            let rows = random(1, COLUMNS * n / 8);
            let mut blocks = vec![0; n * BLOCK];
            transpose(&rows, &mut blocks);
            for row in 0..COLUMNS {
                assert!((0..n).all(|i| bit(&rows, row * n + i) == bit(&blocks, i * COLUMNS + row)));
            }
            let mut back = vec![0; rows.len()];
            untranspose(&blocks, &mut back);
            assert_eq!(back, rows);
        }
    }

    #[test]
    fn the_two_sides_meet() {
        let offset: [u8; BLOCK] = random(2, BLOCK).try_into().unwrap();
        for (k, n) in [(1, 128), (2, STRIPE), (2, 40 * STRIPE + 256), (4, STRIPE + 128), (8, 2 * STRIPE)] {
            let groups = COLUMNS / k;
            let seeds = random(3, (groups << k) * BLOCK);
            let choices = random(4, n / 8);
            let mut held = vec![0; seeds.len()];
            for group in 0..groups {
                let delta = (0..k).fold(0, |sum, b| sum | usize::from(bit(&offset, group * k + b)) << b);
                for y in 1..1 << k {
                    let [to, from] = [y, y ^ delta].map(|x| ((group << k) + x) * BLOCK);
                    held[to..to + BLOCK].copy_from_slice(&seeds[from..from + BLOCK]);
                }
            }
            let (mut t, mut corrections) = (vec![0; n * BLOCK], vec![0; groups * n / 8]);
            receive(&seeds, k, 7, &choices, &mut t, &mut corrections).unwrap();
            let mut kept = vec![0; n * BLOCK];
            send(&held, k, 7, &offset, &corrections, &mut kept).unwrap();
            for (i, (t, kept)) in t.chunks(BLOCK).zip(kept.chunks(BLOCK)).enumerate() {
                let choice = bit(&choices, i).wrapping_neg();
                assert!(t.iter().zip(kept).zip(offset).all(|((t, k), d)| *t == k ^ (d & choice)), "{k} {n} {i}");
            }
        }
    }

    #[test]
    fn columns_are_hashed_as_polynomials() {
        let seed: [u8; BLOCK] = random(5, BLOCK).try_into().unwrap();
        let blocks = random(6, 3 * TILE);
        let mut out = vec![0; TILE];
        hash_columns(&seed, &blocks, &mut out);
        let mut columns = vec![0; blocks.len()];
        untranspose(&blocks, &mut columns);
        for (column, hash) in columns.chunks(3 * BLOCK).zip(out.chunks(BLOCK)) {
            assert_eq!(gf128::polynomial(&seed, column.as_chunks().0).as_slice(), hash);
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        for (k, seeds) in [(0, 128), (3, 8 * 43), (2, 255), (2, 257), (16, 8)] {
            assert!(receive(&vec![0; seeds * BLOCK], k, 0, &[], &mut [], &mut []).is_err());
        }
    }
}
