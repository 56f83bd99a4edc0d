//! Uniform permutations from a key.

use crate::{Error, prg};

/// Words of the generator's stream that are drawn at a time.
const DRAWN: usize = 4096;
/// How many steps ahead a place is fetched into the cache.
const AHEAD: usize = 16;

/// Fills `out` with a uniform permutation of `0 … n - 1`, the same for the same 16- or 32-byte key.
///
/// Fisher and Yates from the end (Durstenfeld 1964): place `i` changes with a place `j` drawn uniformly from `0 … i`,
/// which is the high half of a 64-bit word times `i + 1`, and the word is drawn again where the low half falls into the
/// uneven rest (Lemire 2019). The words are the little-endian words of the key's stream from block 0 on.
///
/// Which places are touched depends on the permutation. Whoever can watch this process's caches may learn of it.
pub fn permutation_vartime(key: &[u8], out: &mut [i64]) -> Result<(), Error> {
    out.iter_mut().enumerate().for_each(|(i, place)| *place = i as i64);
    let mut words = Words::new(key)?;
    let mut chosen = [0usize; DRAWN];
    let mut end = out.len();
    while end > 1 {
        let steps = DRAWN.min(end - 1);
        for (step, j) in chosen[..steps].iter_mut().enumerate() {
            *j = words.below((end - step) as u64)? as usize;
        }
        for step in 0..steps {
            if let Some(&next) = chosen[..steps].get(step + AHEAD) {
                fetch(out, next);
            }
            out.swap(end - 1 - step, chosen[step]);
        }
        end -= steps;
    }
    Ok(())
}

#[inline(always)]
fn fetch(places: &[i64], index: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect on memory, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(places.as_ptr().wrapping_add(index).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (places, index);
}

/// The stream of a key, word by word.
struct Words<'a> {
    key: &'a [u8],
    drawn: zeroize::Zeroizing<Vec<u8>>,
    at: usize,
    block: u128,
}

impl<'a> Words<'a> {
    fn new(key: &'a [u8]) -> Result<Self, Error> {
        let mut words = Self { key, drawn: zeroize::Zeroizing::new(vec![0; 8 * DRAWN]), at: 0, block: 0 };
        words.draw()?;
        Ok(words)
    }

    fn draw(&mut self) -> Result<(), Error> {
        prg::fill(self.key, self.block, &mut self.drawn)?;
        self.block += (self.drawn.len() / prg::BLOCK) as u128;
        self.at = 0;
        Ok(())
    }

    fn next(&mut self) -> Result<u64, Error> {
        if self.at == self.drawn.len() {
            self.draw()?;
        }
        let (word, _) = self.drawn[self.at..].split_first_chunk().expect("the stream is drawn in whole words");
        self.at += 8;
        Ok(u64::from_le_bytes(*word))
    }

    /// Uniform in `0 … bound - 1`; `bound` is not zero.
    fn below(&mut self, bound: u64) -> Result<u64, Error> {
        loop {
            let product = u128::from(self.next()?) * u128::from(bound);
            // The division is due only where the low half is below the bound: nearly never.
            let low = product as u64;
            if low >= bound || low >= bound.wrapping_neg() % bound {
                return Ok((product >> 64) as u64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_once() {
        for n in [0, 1, 2, 3, 100, DRAWN, DRAWN + 1, DRAWN + 2, 3 * DRAWN] {
            let mut places = vec![-1; n];
            permutation_vartime(&[5; 32], &mut places).unwrap();
            let mut sorted = places.clone();
            sorted.sort_unstable();
            assert!(sorted.iter().enumerate().all(|(i, &place)| place == i as i64), "{n}");
            assert!(n < 100 || places != sorted);
        }
    }

    #[test]
    fn all_orders_of_four_are_as_frequent() {
        let mut counts = std::collections::HashMap::new();
        for key in 0u64..24_000 {
            let mut places = [0; 4];
            permutation_vartime(&[key.to_le_bytes(), [1; 8]].concat(), &mut places).unwrap();
            *counts.entry(places).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        // A thousand each: six standard deviations.
        assert!(counts.values().all(|count| (810..1190).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_key_has_one_of_two_lengths() {
        assert!(permutation_vartime(&[0; 8], &mut [0; 3]).is_err());
    }
}
