//! Z_2^64, the ring of shares: matrix products, streams added to shares, and the product of three parties.
//!
//! Elements are `u64` and every sum and product wraps. A stream of words is that of [`prg`](crate::prg) read eight bytes
//! at a time, little-endian. Nothing here branches on an element.
//!
//! The product of two matrices is tiled as in Goto and van de Geijn, *Anatomy of High-Performance Matrix Multiplication*
//! (2008): a block of the left matrix stays in the second-level cache and a sliver of the right one in the first, both
//! packed in the order in which the innermost loop reads them. Vector instructions multiply 32 bits by 32, so that loop
//! keeps two sums for each entry: of the low halves' products, 64 bits wide, and of the two mixed products, of which only
//! the low 32 bits count. `--cfg ring_backend="soft"` forces the portable loop.

#[cfg(all(target_arch = "x86_64", not(ring_backend = "soft")))]
mod avx2;

use std::convert::Infallible;

use zeroize::Zeroizing;

use crate::parallel::{self, Grain};
use crate::prg::{BLOCK, Stream};

/// Rows of the left matrix that the innermost loop works on at once.
const MR: usize = 3;
/// Columns of the right matrix that the innermost loop works on at once.
const NR: usize = 8;
/// Terms of a sum taken at a time, so that a sliver of the right matrix (16 KiB) fits into the first-level cache.
const KC: usize = 256;
/// Rows of the left matrix packed at a time: 192 KiB, for the second-level cache. A multiple of `MR`.
const MC: usize = 48;
/// Columns of the right matrix packed at a time, 4 MiB. A multiple of `NR`.
const NC: usize = 2048;

/// Words of a stream made at a time: they and what they are added to stay in the first-level cache.
const TILE: usize = 512;
const WORD: usize = size_of::<u64>();

/// For some nanoseconds an element.
const WORDS: Grain = Grain { serial: 1 << 15, chunk: 1 << 14 };
/// For blocks of `MC` rows of a matrix.
const PANELS: Grain = Grain { serial: 1, chunk: 1 };

/// A place in the stream of a key: what is read there is never read again for anything else.
pub struct Place<'a> {
    /// 16 bytes.
    pub key: &'a [u8; 16],
    /// The first block.
    pub block: u128,
}

/// What a stream does to the words that it meets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Adds, modulo 2^64.
    Add,
    /// Subtracts, modulo 2^64.
    Subtract,
    /// Adds bit by bit.
    Xor,
}

/// `f(words, stream)` for consecutive tiles of `words` and of the stream from word `first` on, `first` a multiple of the
/// tile. The stream's words are wiped.
fn with_stream(stream: &Stream, block: u128, count: usize, mut f: impl FnMut(usize, &[u64])) {
    let mut bytes = Zeroizing::new([0u8; TILE * WORD]);
    let mut words = Zeroizing::new([0u64; TILE]);
    for first in (0..count).step_by(TILE) {
        let taken = TILE.min(count - first);
        let bytes = &mut bytes[..taken * WORD];
        stream.fill(block.wrapping_add((first * WORD / BLOCK) as u128), bytes);
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<WORD>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        f(first, &words[..taken]);
    }
}

/// How many words lie before row `first`, as blocks of a stream. Chunks begin at whole blocks.
fn blocks_before(first: usize) -> u128 {
    (first * WORD / BLOCK) as u128
}

/// Adds the stream to the words, subtracts it from them, or adds it bit by bit.
pub fn mask(words: &mut [u64], mask: Mask, place: &Place<'_>) {
    let stream = Stream::new(place.key);
    let done = parallel::fill_rows(words, 1, WORDS, |row, words| {
        with_stream(&stream, place.block.wrapping_add(blocks_before(row)), words.len(), |first, masks| {
            let words = &mut words[first..first + masks.len()];
            match mask {
                Mask::Add => words.iter_mut().zip(masks).for_each(|(w, &m)| *w = w.wrapping_add(m)),
                Mask::Subtract => words.iter_mut().zip(masks).for_each(|(w, &m)| *w = w.wrapping_sub(m)),
                Mask::Xor => words.iter_mut().zip(masks).for_each(|(w, &m)| *w ^= m),
            }
        });
        Ok::<(), Infallible>(())
    });
    let Ok(()) = done;
}

/// One party's part of the products of three parties' replicated shares, `x0·y0 + x0·y1 + x1·y0`, plus its share of zero:
/// the stream of the key that it has with one neighbour less that of the key with the other.
///
/// Araki, Furukawa, Lindell, Nof, Ohara, *High-Throughput Semi-Honest Secure Three-Party Computation* (2016).
pub fn product(x: [&[u64]; 2], y: [&[u64]; 2], plus: &Place<'_>, minus: &Place<'_>, out: &mut [u64]) {
    fused(x, y, plus, minus, out, |x0, x1, y0, y1, plus, minus| {
        let product = x0.wrapping_mul(y0.wrapping_add(y1)).wrapping_add(x1.wrapping_mul(y0));
        product.wrapping_add(plus).wrapping_sub(minus)
    });
}

/// The same for 64 bits at a time: `x0∧y0 ⊕ x0∧y1 ⊕ x1∧y0 ⊕` a share of zero.
pub fn and(x: [&[u64]; 2], y: [&[u64]; 2], plus: &Place<'_>, minus: &Place<'_>, out: &mut [u64]) {
    fused(x, y, plus, minus, out, |x0, x1, y0, y1, plus, minus| (x0 & (y0 ^ y1)) ^ (x1 & y0) ^ plus ^ minus);
}

fn fused(
    x: [&[u64]; 2],
    y: [&[u64]; 2],
    plus: &Place<'_>,
    minus: &Place<'_>,
    out: &mut [u64],
    f: impl Fn(u64, u64, u64, u64, u64, u64) -> u64 + Sync,
) {
    let n = out.len();
    assert!([x[0], x[1], y[0], y[1]].iter().all(|words| words.len() == n), "one element of each");
    let (plus_stream, minus_stream) = (Stream::new(plus.key), Stream::new(minus.key));
    let done = parallel::fill_rows(out, 1, WORDS, |row, out| {
        let mut minus_words = Zeroizing::new([0u64; TILE]);
        let minus_block = minus.block.wrapping_add(blocks_before(row));
        with_stream(&plus_stream, plus.block.wrapping_add(blocks_before(row)), out.len(), |first, plus_words| {
            let minus_words = &mut minus_words[..plus_words.len()];
            with_stream(
                &minus_stream,
                minus_block.wrapping_add(blocks_before(first)),
                minus_words.len(),
                |_, words| {
                    minus_words.copy_from_slice(words);
                },
            );
            let (at, end) = (row + first, row + first + plus_words.len());
            let (x0, x1, y0, y1) = (&x[0][at..end], &x[1][at..end], &y[0][at..end], &y[1][at..end]);
            let out = &mut out[first..first + plus_words.len()];
            for i in 0..out.len() {
                out[i] = f(x0[i], x1[i], y0[i], y1[i], plus_words[i], minus_words[i]);
            }
        });
        Ok::<(), Infallible>(())
    });
    let Ok(()) = done;
}

/// Adds to `out`, `(n, p)`, the product of `a`, `(n, m)`, and `b`, `(m, p)`; all row by row.
pub fn matmul(a: &[u64], b: &[u64], [n, m, p]: [usize; 3], out: &mut [u64]) {
    assert!(a.len() == n * m && b.len() == m * p && out.len() == n * p, "(n, m) times (m, p) gives (n, p)");
    if n == 0 || m == 0 || p == 0 {
        return;
    }
    if p < NR / 2 {
        return narrow(a, b, m, p, out);
    }
    let mut packed = Zeroizing::new(vec![0u64; KC.min(m) * p.min(NC).next_multiple_of(NR)]);
    for column in (0..p).step_by(NC) {
        let columns = NC.min(p - column);
        for term in (0..m).step_by(KC) {
            let terms = KC.min(m - term);
            pack_right(&b[term * p..], p, column, columns, terms, &mut packed);
            let packed = &packed[..terms * columns.next_multiple_of(NR)];
            // A row of `out` at a time would be the natural unit, but a thread packs its own rows of `a`, `MC` of them.
            let whole = n / MC * MC * p;
            let (blocks, rest) = out.split_at_mut(whole);
            let done = parallel::fill_rows(blocks, MC * p, PANELS, |first, blocks| {
                for (i, block) in blocks.chunks_mut(MC * p).enumerate() {
                    let rows = &a[(first + i) * MC * m..];
                    panel(rows, m, term, terms, packed, MC, &mut block[column..], p, columns);
                }
                Ok::<(), Infallible>(())
            });
            let Ok(()) = done;
            if !rest.is_empty() {
                let rows = &a[n / MC * MC * m..];
                panel(rows, m, term, terms, packed, n % MC, &mut rest[column..], p, columns);
            }
        }
    }
}

/// A right matrix of a few columns: one sum after another, at the speed at which the left matrix comes from memory.
fn narrow(a: &[u64], b: &[u64], m: usize, p: usize, out: &mut [u64]) {
    let mut columns = Zeroizing::new(vec![0u64; m * p]);
    for (j, column) in columns.chunks_exact_mut(m).enumerate() {
        column.iter_mut().zip(b[j..].iter().step_by(p)).for_each(|(to, &from)| *to = from);
    }
    let grain = Grain { serial: (1 << 15) / m + 1, chunk: (1 << 14) / m + 1 };
    let done = parallel::fill_rows(out, p, grain, |first, out| {
        for (row, sums) in a[first * m..].chunks_exact(m).zip(out.chunks_exact_mut(p)) {
            for (sum, column) in sums.iter_mut().zip(columns.chunks_exact(m)) {
                let products = row.iter().zip(column).map(|(&x, &y)| x.wrapping_mul(y));
                *sum = products.fold(*sum, u64::wrapping_add);
            }
        }
        Ok::<(), Infallible>(())
    });
    let Ok(()) = done;
}

/// Packs `terms` rows and `columns` columns of the right matrix: sliver after sliver of `NR` columns, row by row.
fn pack_right(b: &[u64], stride: usize, column: usize, columns: usize, terms: usize, packed: &mut [u64]) {
    for (sliver, packed) in packed.chunks_mut(terms * NR).take(columns.div_ceil(NR)).enumerate() {
        let from = column + sliver * NR;
        let width = NR.min(column + columns - from);
        for (k, to) in packed.chunks_exact_mut(NR).enumerate() {
            to[..width].copy_from_slice(&b[k * stride + from..][..width]);
            to[width..].fill(0);
        }
    }
}

/// Adds the product of some rows of the left matrix and the packed part of the right one.
#[allow(clippy::too_many_arguments)]
fn panel(
    a: &[u64],
    m: usize,
    term: usize,
    terms: usize,
    packed: &[u64],
    rows: usize,
    out: &mut [u64],
    stride: usize,
    columns: usize,
) {
    let slivers = rows.div_ceil(MR);
    let mut left = Zeroizing::new(vec![0u64; slivers * MR * terms]);
    for (sliver, left) in left.chunks_exact_mut(MR * terms).enumerate() {
        for (r, row) in (sliver * MR..rows.min(sliver * MR + MR)).enumerate() {
            let from = &a[row * m + term..][..terms];
            left[r..].iter_mut().step_by(MR).zip(from).for_each(|(to, &word)| *to = word);
        }
    }
    for (j, right) in packed.chunks_exact(NR * terms).enumerate() {
        let width = NR.min(columns - j * NR);
        for (sliver, left) in left.chunks_exact(MR * terms).enumerate() {
            let sums = kernel(left, right);
            for (r, sums) in sums.iter().take(rows - sliver * MR).enumerate() {
                let out = &mut out[(sliver * MR + r) * stride + j * NR..][..width];
                out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = out.wrapping_add(sum));
            }
        }
    }
}

/// `MR` by `NR` sums of as many products as `left` and `right` have packed.
fn kernel(left: &[u64], right: &[u64]) -> [[u64; NR]; MR] {
    debug_assert_eq!(left.len() / MR, right.len() / NR);
    #[cfg(all(target_arch = "x86_64", not(ring_backend = "soft")))]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::kernel(left, right) };
    }
    kernel_portable(left, right)
}

fn kernel_portable(left: &[u64], right: &[u64]) -> [[u64; NR]; MR] {
    let mut sums = [[0u64; NR]; MR];
    for (left, right) in left.as_chunks::<MR>().0.iter().zip(right.as_chunks::<NR>().0) {
        for (sums, &x) in sums.iter_mut().zip(left) {
            for (sum, &y) in sums.iter_mut().zip(right) {
                *sum = sum.wrapping_add(x.wrapping_mul(y));
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prg;

    fn words(seed: u8, n: usize) -> Vec<u64> {
        let mut bytes = vec![0; n * WORD];
        prg::fill(&[seed; 16], 0, &mut bytes).unwrap();
        bytes.as_chunks::<WORD>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn matrices_of_all_shapes() {
        let sizes = [0, 1, 2, 3, 4, 7, 8, 9, 47, 48, 49];
        let shapes = sizes.iter().flat_map(|&n| sizes.iter().map(move |&p| [n, 13, p]));
        for [n, m, p] in shapes.chain([[5, 255, 9], [5, 256, 9], [5, 257, 9], [97, 513, 17], [2, 3, NC + 9], [3, 0, 5]])
        {
            let (a, b, mut out) = (words(1, n * m), words(2, m * p), words(3, n * p));
            let mut expected = out.clone();
            for (i, expected) in expected.iter_mut().enumerate() {
                let (row, column) = (i / p, i % p);
                let products = (0..m).map(|k| a[row * m + k].wrapping_mul(b[k * p + column]));
                *expected = products.fold(*expected, u64::wrapping_add);
            }
            matmul(&a, &b, [n, m, p], &mut out);
            assert!(out == expected, "{n} {m} {p}");
        }
    }

    #[test]
    fn the_innermost_loops_agree() {
        for terms in [0, 1, 2, 300] {
            let (left, right) = (words(4, MR * terms), words(5, NR * terms));
            assert_eq!(kernel(&left, &right), kernel_portable(&left, &right));
            let (left, right) = (vec![u64::MAX; MR * terms], vec![u64::MAX; NR * terms]);
            assert_eq!(kernel(&left, &right), kernel_portable(&left, &right));
        }
    }

    /// What a party does to its components, under two places in streams.
    type Part = dyn Fn([&[u64]; 2], [&[u64]; 2], &Place<'_>, &Place<'_>, &mut [u64]);

    #[test]
    fn three_parties_make_a_product() {
        for n in [0, 1, 511, 512, 513, 100_001] {
            let keys = [[1; 16], [2; 16], [3; 16]];
            let (x, y): ([_; 3], [_; 3]) = ([11, 12, 13].map(|s| words(s, n)), [14, 15, 16].map(|s| words(s, n)));
            let part = |i: usize, f: &Part| {
                let (j, mut out) = ((i + 1) % 3, vec![0; n]);
                let places = [i, j].map(|i| Place { key: &keys[i], block: i as u128 * 5 });
                f([&x[i], &x[j]], [&y[i], &y[j]], &places[0], &places[1], &mut out);
                out
            };
            let sums: [_; 3] = [0, 1, 2].map(|i| part(i, &|x, y, p, m, out| product(x, y, p, m, out)));
            let bits: [_; 3] = [0, 1, 2].map(|i| part(i, &|x, y, p, m, out| and(x, y, p, m, out)));
            for i in 0..n {
                let [a, b] = [&x, &y].map(|v| v[0][i].wrapping_add(v[1][i]).wrapping_add(v[2][i]));
                assert_eq!(sums.iter().fold(0, |sum: u64, v| sum.wrapping_add(v[i])), a.wrapping_mul(b));
                let [a, b] = [&x, &y].map(|v| v[0][i] ^ v[1][i] ^ v[2][i]);
                assert_eq!(bits[0][i] ^ bits[1][i] ^ bits[2][i], a & b);
            }
        }
    }

    #[test]
    fn a_mask_is_the_stream() {
        let key = [7; 16];
        let place = Place { key: &key, block: 3 };
        for n in [0, 1, 512, 1000, 70_000] {
            let (before, mut bytes) = (words(1, n), vec![0; n * WORD]);
            prg::fill(&key, 3, &mut bytes).unwrap();
            let stream: Vec<u64> = bytes.as_chunks::<WORD>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
            for (kind, f) in [
                (Mask::Add, u64::wrapping_add as fn(u64, u64) -> u64),
                (Mask::Subtract, u64::wrapping_sub),
                (Mask::Xor, |a, b| a ^ b),
            ] {
                let mut after = before.clone();
                mask(&mut after, kind, &place);
                assert!(after.iter().zip(before.iter().zip(&stream)).all(|(&x, (&a, &b))| x == f(a, b)));
            }
        }
    }
}
