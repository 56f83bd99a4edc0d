//! The join of two lists of tags, partitioned by radix so that each part stays in the cache.
//!
//! A tag is mixed to 64 bits with numbers drawn once in a process, so that whoever chooses one list's tags cannot choose where
//! they fall. Both lists are cut into parts by the top of these bits; then each part of the first list becomes a small hash
//! table that the second list's part is looked up in. Where 32 more bits agree the tags themselves are compared. Time
//! depends on the tags, which are public by then.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use crate::Error;

/// Bytes of a tag, from and to.
pub const WIDTHS: std::ops::RangeInclusive<usize> = 8..=16;
/// Rows of the first list in a part, at most about: entries and hash table together fit the second-level cache.
const PART: usize = 4096;
const NONE: u32 = u32::MAX;
/// Pairs that are looked at together.
const CANDIDATES: usize = 64;

/// Pairs of rows with equal tags, as two arrays: ordered by the second list's row, then by the first's.
pub type Pairs = (Vec<i64>, Vec<i64>);

/// Every pair `(i, j)` such that row `i` of `a` equals row `j` of `b`, rows of `width` bytes.
///
/// Errors where there are more than `most` pairs: repeated tags in both lists multiply.
pub fn join_vartime(a: &[u8], b: &[u8], width: usize, most: usize) -> Result<Pairs, Error> {
    if !WIDTHS.contains(&width) {
        return Err(Error::Misuse("a tag has 8 to 16 bytes"));
    }
    let (rows_a, rows_b) = (a.len() / width, b.len() / width);
    if rows_a.max(rows_b) >= NONE as usize {
        return Err(Error::Misuse("a list has at most 2^32 - 2 tags"));
    }
    let mix = Mix::of_process();
    let bits = (rows_a / PART).next_power_of_two().trailing_zeros();
    let (entries_a, starts_a) = split(a, width, bits, mix)?;
    let (entries_b, starts_b) = split(b, width, bits, mix)?;
    // The row of `a` that each row of `b` equals, where it is one; further ones are kept aside.
    let mut found = filled(rows_b, NONE)?;
    let mut further: Vec<(u32, u32)> = Vec::new();
    let mut count = 0;
    let mut keep = |candidates: &mut Vec<(u32, u32)>| {
        for (row_a, row_b) in candidates.drain(..) {
            if tag(a, row_a, width) != tag(b, row_b, width) {
                continue;
            }
            count += 1;
            if count > most {
                return Err(Error::TooManyPairs);
            }
            let first = &mut found[row_b as usize];
            if *first == NONE {
                *first = row_a;
            } else {
                further.try_reserve(1).map_err(|_| NO_MEMORY)?;
                further.push((row_b, row_a));
            }
        }
        Ok(())
    };
    let mut candidates = Vec::with_capacity(CANDIDATES);
    let mut heads = Vec::new();
    let mut next = Vec::new();
    for part in 0..starts_a.len() - 1 {
        let of_a = &entries_a[starts_a[part]..starts_a[part + 1]];
        let of_b = &entries_b[starts_b[part]..starts_b[part + 1]];
        if of_a.is_empty() || of_b.is_empty() {
            continue;
        }
        let slots = (2 * of_a.len()).next_power_of_two().min(1 << 31);
        let slot = |entry: u64| (entry >> (64 - slots.trailing_zeros())) as usize;
        heads.clear();
        heads.resize(slots, NONE);
        next.clear();
        next.resize(of_a.len(), NONE);
        // From the last to the first, so that a chain begins with the lowest row.
        for (i, &entry) in of_a.iter().enumerate().rev() {
            next[i] = std::mem::replace(&mut heads[slot(entry)], i as u32);
        }
        // Two passes, so that what the second compares is on its way from memory while the first goes on.
        candidates.clear();
        for &entry in of_b {
            let mut i = heads[slot(entry)];
            while i != NONE {
                let other = of_a[i as usize];
                if (other ^ entry) >> 32 == 0 {
                    let (row_a, row_b) = (other as u32, entry as u32);
                    prefetch(&a[row_a as usize * width]);
                    prefetch(&b[row_b as usize * width]);
                    if candidates.len() == CANDIDATES {
                        keep(&mut candidates)?;
                    }
                    candidates.push((row_a, row_b));
                }
                i = next[i as usize];
            }
        }
        keep(&mut candidates)?;
    }
    further.sort_unstable();
    let (mut out_a, mut out_b) = (filled(count, 0)?, filled(count, 0)?);
    let mut further = further.into_iter().peekable();
    let mut k = 0;
    for (j, &i) in found.iter().enumerate() {
        // Written before it is known to be a pair: where it is none, the next row overwrites it.
        if k < count {
            (out_a[k], out_b[k]) = (i64::from(i), j as i64);
            k += usize::from(i != NONE);
        }
        while let Some((_, i)) = further.next_if(|&(row, _)| row as usize == j) {
            (out_a[k], out_b[k]) = (i64::from(i), j as i64);
            k += 1;
        }
    }
    Ok((out_a, out_b))
}

const NO_MEMORY: Error = Error::Misuse("there is no memory for a join of this size");

fn filled<T: Clone>(n: usize, value: T) -> Result<Vec<T>, Error> {
    let mut out = Vec::new();
    out.try_reserve_exact(n).map_err(|_| NO_MEMORY)?;
    out.resize(n, value);
    Ok(out)
}

/// Asks for a value that will be read soon.
#[inline]
fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address changes nothing that a program can see.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// The first eight bytes and the last eight of a row: all of it.
#[inline]
fn tag(tags: &[u8], row: u32, width: usize) -> [u64; 2] {
    let tag = &tags[row as usize * width..][..width];
    let eight = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("these are eight bytes"));
    [eight(&tag[..8]), eight(&tag[width - 8..])]
}

/// Odd multipliers that mix a tag to 64 bits, of which the upper ones are used.
#[derive(Clone, Copy)]
struct Mix([u64; 2]);

impl Mix {
    fn of_process() -> Self {
        static MIX: OnceLock<Mix> = OnceLock::new();
        *MIX.get_or_init(|| {
            let random = RandomState::new();
            Self([random.hash_one(0u8) | 1, random.hash_one(1u8) | 1])
        })
    }

    #[inline]
    fn mixed(self, tag: [u64; 2]) -> u64 {
        // A product's upper bits depend on all bits below them: the fold lets a word's upper bits count there, too.
        let fold = |x: u64| x ^ x >> 32;
        fold(tag[0]).wrapping_mul(self.0[0]).wrapping_add(fold(tag[1]).wrapping_mul(self.0[1]))
    }
}

/// A list by parts, `2^bits` of them, and where each begins. The part of a row is the top of its mixed tag; an entry is 32
/// bits of what follows, then the row.
fn split(tags: &[u8], width: usize, bits: u32, mix: Mix) -> Result<(Vec<u64>, Vec<usize>), Error> {
    let rows = tags.len() / width;
    let part = |mixed: u64| mixed.checked_shr(64 - bits).unwrap_or(0) as usize;
    let mut starts = vec![0; (1 << bits) + 1];
    for row in 0..rows {
        starts[part(mix.mixed(tag(tags, row as u32, width))) + 1] += 1;
    }
    for i in 0..1 << bits {
        starts[i + 1] += starts[i];
    }
    let mut next = starts.clone();
    let mut out = filled(rows, 0)?;
    for row in 0..rows {
        let mixed = mix.mixed(tag(tags, row as u32, width));
        let next = &mut next[part(mixed)];
        out[*next] = mixed << bits >> 32 << 32 | row as u64;
        *next += 1;
    }
    Ok((out, starts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks;

    fn tags(numbers: &[u64], width: usize) -> Vec<u8> {
        let mut blocks: Vec<_> = numbers.iter().map(|&i| u128::from(i).to_le_bytes()).collect();
        blocks::permute(&mut blocks);
        blocks.iter().flat_map(|block| block[..width].to_vec()).collect()
    }

    fn slow(a: &[u64], b: &[u64]) -> Pairs {
        let pairs = b.iter().enumerate().flat_map(|(j, y)| {
            a.iter().enumerate().filter(move |(_, x)| *x == y).map(move |(i, _)| (i as i64, j as i64))
        });
        pairs.unzip()
    }

    #[test]
    fn every_pair_comes_once_and_in_order() {
        let lists: [&[u64]; 6] = [&[], &[1], &[1, 2, 3], &[3, 3, 1, 9], &[7; 20], &[5, 1, 5, 2, 5, 9, 1]];
        for width in WIDTHS {
            for a in lists {
                for b in lists {
                    let joined = join_vartime(&tags(a, width), &tags(b, width), width, 1000).unwrap();
                    assert_eq!(joined, slow(a, b));
                }
            }
        }
    }

    #[test]
    fn large_lists() {
        let a: Vec<u64> = (0..50_000).map(|i| i * 7 % 50_000).collect();
        let b: Vec<u64> = (0..70_000).map(|i| 20_000 + i * 11 % 70_000).collect();
        for width in [8, 10, 16] {
            let (rows_a, rows_b) = join_vartime(&tags(&a, width), &tags(&b, width), width, usize::MAX).unwrap();
            assert_eq!(rows_a.len(), 30_000);
            assert!(rows_b.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(rows_a.iter().zip(&rows_b).all(|(&i, &j)| a[i as usize] == b[j as usize]));
        }
    }

    #[test]
    fn tags_that_differ_anywhere_differ() {
        for width in WIDTHS {
            let tag = tags(&[1], width);
            for bit in 0..8 * width {
                let mut other = tag.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(join_vartime(&tag, &other, width, 9), Ok((vec![], vec![])));
            }
        }
    }

    #[test]
    fn a_flood_of_pairs_is_refused() {
        let same = tags(&[1; 300], 9);
        assert_eq!(join_vartime(&same, &same, 9, 89_999), Err(Error::TooManyPairs));
        assert_eq!(join_vartime(&same, &same, 9, 90_000).unwrap().0.len(), 90_000);
    }
}
