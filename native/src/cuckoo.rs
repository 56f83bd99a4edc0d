//! Cuckoo hashing with three places an item and no stash: each item gets a bin of its own among its three.
//!
//! The places are distinct and uniform, as digests are: `h = π(key) ⊕ key` with π of `blocks`, read as a fraction of 2^128;
//! times the number of bins its whole part is the first place, what is left times one fewer the second among the others,
//! and so on, as the rows of `okvs` are made.
//!
//! An item whose places are all taken moves others along a shortest path to an empty bin, which a breadth-first search
//! finds if there is one. By Berge's theorem there is one wherever the items have bins at all: so this fails only where no
//! assignment exists, and the bound on that (`mpc/kernels/cuckoo.py`) is a bound on failing.
//!
//! Which addresses this reads depends on digests of the items, so the functions end in `_vartime`.

use std::convert::Infallible;

use crate::Error;
use crate::blocks::{Block, Permutation};
use crate::parallel::{self, BLOCKS};

/// Places that an item may go to.
pub const PLACES: usize = 3;
/// Most bins, so that all of a place's bias is far below 2^-40.
pub const MAX_BINS: u32 = 1 << 28;
const NONE: u32 = u32::MAX;
/// Keys that are hashed at a time, on the stack.
const STRIPE: usize = 128;

/// Three distinct bins below `bins`, 3 to `MAX_BINS`, for each key.
pub fn places_vartime(keys: &[Block], bins: u32, out: &mut [[u32; PLACES]]) -> Result<(), Error> {
    if keys.len() != out.len() {
        return Err(Error::Misuse("the output does not have the right length"));
    }
    if !(PLACES as u32..=MAX_BINS).contains(&bins) {
        return Err(Error::Misuse("there must be 3 to 2^28 bins"));
    }
    let Ok(()) = parallel::fill_rows(out, 1, BLOCKS, |first, out| {
        let mut hashed = [[0; 16]; STRIPE];
        for (keys, out) in keys[first..first + out.len()].chunks(STRIPE).zip(out.chunks_mut(STRIPE)) {
            let hashed = &mut hashed[..keys.len()];
            Permutation::fixed().compress(keys, hashed);
            for (h, out) in hashed.iter().zip(out) {
                *out = places(u128::from_le_bytes(*h), bins);
            }
        }
        Ok::<(), Infallible>(())
    });
    Ok(())
}

#[inline]
fn places(h: u128, bins: u32) -> [u32; PLACES] {
    let (p, rest) = scaled(h, bins);
    let (q, rest) = scaled(rest, bins - 1);
    let (r, _) = scaled(rest, bins - 2);
    let q = q + u32::from(q >= p);
    let r = r + u32::from(r >= p.min(q));
    let r = r + u32::from(r >= p.max(q));
    [p, q, r]
}

/// `fraction / 2^128 · count`: the whole part, and what is left in the same form.
#[inline]
fn scaled(fraction: u128, count: u32) -> (u32, u128) {
    let low = u128::from(fraction as u64) * u128::from(count);
    let high = (fraction >> 64) * u128::from(count) + (low >> 64);
    ((high >> 64) as u32, high << 64 | u128::from(low as u64))
}

/// Which item each bin has, or -1: every item is in one of its places. The same places always give the same assignment.
///
/// [`Error::EncodingFailed`] where some items have fewer places, all together, than they are.
pub fn assign_vartime(places: &[[u32; PLACES]], bins: u32) -> Result<Vec<i64>, Error> {
    if places.as_flattened().iter().any(|&place| place >= bins) {
        return Err(Error::Misuse("a place is not below the number of bins"));
    }
    if places.len() > bins as usize {
        return Err(Error::EncodingFailed);
    }
    let mut owner = filled(bins as usize, NONE)?;
    // From which bin the search came to this one, and for which item that search was.
    let mut from = filled(bins as usize, NONE)?;
    let mut seen = filled(bins as usize, NONE)?;
    let mut queue: Vec<u32> = Vec::new();
    for (item, own) in places.iter().enumerate() {
        let item = item as u32;
        if let Some(&free) = own.iter().find(|&&place| owner[place as usize] == NONE) {
            owner[free as usize] = item;
            continue;
        }
        queue.clear();
        for &place in own {
            if seen[place as usize] != item {
                (seen[place as usize], from[place as usize]) = (item, NONE);
                queue.push(place);
            }
        }
        let mut next = 0;
        let mut free = 'search: loop {
            let Some(&bin) = queue.get(next) else { return Err(Error::EncodingFailed) };
            next += 1;
            for &place in &places[owner[bin as usize] as usize] {
                if seen[place as usize] != item {
                    (seen[place as usize], from[place as usize]) = (item, bin);
                    if owner[place as usize] == NONE {
                        break 'search place;
                    }
                    queue.push(place);
                }
            }
        };
        // Everybody on the path moves one on, which leaves the path's first bin to the item.
        while from[free as usize] != NONE {
            let bin = from[free as usize];
            owner[free as usize] = owner[bin as usize];
            free = bin;
        }
        owner[free as usize] = item;
    }
    let mut out = filled(bins as usize, -1)?;
    for (out, &owner) in out.iter_mut().zip(&owner) {
        if owner != NONE {
            *out = i64::from(owner);
        }
    }
    Ok(out)
}

fn filled<T: Clone>(n: usize, value: T) -> Result<Vec<T>, Error> {
    let mut out = Vec::new();
    out.try_reserve_exact(n).map_err(|_| Error::Misuse("there is no memory for a table of this size"))?;
    out.resize(n, value);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(n: usize, seed: u64) -> Vec<Block> {
        (0..n as u128).map(|i| (i << 64 | u128::from(seed)).to_le_bytes()).collect()
    }

    fn some(n: usize, bins: u32, seed: u64) -> Vec<[u32; PLACES]> {
        let mut out = vec![[0; PLACES]; n];
        places_vartime(&keys(n, seed), bins, &mut out).unwrap();
        out
    }

    fn check(places: &[[u32; PLACES]], rows: &[i64]) {
        let mut of = vec![None; places.len()];
        for (bin, &row) in rows.iter().enumerate() {
            if row >= 0 {
                assert!(of[row as usize].replace(bin as u32).is_none());
            }
        }
        assert!(places.iter().zip(&of).all(|(places, bin)| places.contains(&bin.unwrap())));
    }

    #[test]
    fn places_are_distinct_and_use_all_bins() {
        for bins in [3, 4, 5, 100, 1 << 20, MAX_BINS] {
            let places = some(3000, bins, 1);
            assert!(places.iter().all(|&[p, q, r]| p != q && q != r && p != r && p.max(q).max(r) < bins));
            if bins <= 100 {
                let mut hits = vec![0; bins as usize];
                places.as_flattened().iter().for_each(|&place| hits[place as usize] += 1);
                let mean = 9000.0 / f64::from(bins);
                assert!(hits.iter().all(|&hit| (f64::from(hit) - mean).abs() < 6.0 * mean.sqrt()), "{bins} {hits:?}");
            }
        }
        for bins in [0, 2, MAX_BINS + 1] {
            assert!(places_vartime(&keys(1, 1), bins, &mut [[0; PLACES]]).is_err());
        }
    }

    #[test]
    fn triples_are_equally_likely() {
        let mut counts = std::collections::HashMap::new();
        for triple in some(60_000, 5, 2) {
            *counts.entry(triple).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 60);
        assert!(counts.values().all(|&count: &i32| (count - 1000).abs() < 200));
    }

    #[test]
    fn all_items_get_a_bin_of_theirs() {
        for (n, bins) in [(0, 3), (1, 3), (3, 3), (100, 130), (1000, 1150), (50_000, 55_500)] {
            let places = some(n, bins, 3);
            check(&places, &assign_vartime(&places, bins).unwrap());
        }
    }

    #[test]
    fn a_path_is_found_where_it_is_the_only_one() {
        // A chain: each item moves one on when the last comes, whose places are the chain's beginning.
        let n = 1000;
        let mut places: Vec<_> = (0..n).map(|i| [i, i + 1, i + 1]).collect();
        places.push([0, 0, 0]);
        let rows = assign_vartime(&places, n + 1).unwrap();
        check(&places, &rows);
        places.push([5, 5, 5]);
        assert_eq!(assign_vartime(&places, n + 1), Err(Error::EncodingFailed));
        assert_eq!(assign_vartime(&places, n + 2), Err(Error::EncodingFailed));
        assert!(matches!(assign_vartime(&[[0, 1, 3]], 3), Err(Error::Misuse(_))));
    }
}
