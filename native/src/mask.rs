//! Masks over Z_2^64: the streams of many keys added to, or taken from, one array in a single pass over its memory.
//!
//! Word `i` of a key's stream is bytes `8i..8i + 8` of AES-128 in counter mode (`prg`), little-endian. The array is
//! worked on piece by piece, each small enough for the first-level cache, so that however many keys there are, memory
//! is read and written once.

use crate::Error;
use crate::parallel::{self, STREAM};
use crate::prg::{BLOCK, Stream};

/// Bytes of a key.
pub const KEY: usize = 16;
/// Words of a block of the stream.
const BLOCK_WORDS: usize = BLOCK / 8;
/// Words that all keys are applied to before the next: half of a first-level cache.
const TILE: usize = 2048;
/// Words that a thread takes at a time.
const ROW: usize = 4 * TILE;

/// To each word the sum of the keys' streams from block `first` on, each with its sign: `negative[i]` says whether
/// stream `i` is subtracted. `keys` are `(negative.len(), 16)`.
pub fn apply(keys: &[u8], negative: &[bool], first: u64, words: &mut [u64]) -> Result<(), Error> {
    let (keys, rest) = keys.as_chunks::<KEY>();
    if !rest.is_empty() || keys.len() != negative.len() {
        return Err(Error::Misuse("there must be 16 bytes of key for each sign"));
    }
    let blocks = words.len().div_ceil(BLOCK_WORDS) as u64;
    if first.checked_add(blocks).is_none() {
        return Err(Error::Misuse("the stream must end before block 2^64"));
    }
    let streams: Vec<Stream> = keys.iter().map(Stream::new).collect();
    let masked = parallel::fill_rows(words, ROW, STREAM, |row, words| {
        let mut block = first + (row * (ROW / BLOCK_WORDS)) as u64;
        for tile in words.chunks_mut(TILE) {
            for (stream, &negative) in streams.iter().zip(negative) {
                stream.add(block, tile, negative);
            }
            block = block.wrapping_add((TILE / BLOCK_WORDS) as u64);
        }
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(()) = masked;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prg;

    /// One stream after the other, each made whole.
    fn slowly(keys: &[u8], negative: &[bool], first: u64, words: &mut [u64]) {
        for (key, negative) in keys.chunks(KEY).zip(negative) {
            let mut stream = vec![0; 8 * words.len()];
            prg::fill(key, u128::from(first), &mut stream).unwrap();
            for (word, mask) in words.iter_mut().zip(stream.as_chunks::<8>().0) {
                let mask = u64::from_le_bytes(*mask);
                *word = if *negative { word.wrapping_sub(mask) } else { word.wrapping_add(mask) };
            }
        }
    }

    #[test]
    fn one_pass_does_what_many_do() {
        let keys: Vec<u8> = (0..5 * KEY).map(|i| (i * 37 + 11) as u8).collect();
        let negative = [false, true, true, false, true];
        for length in [0, 1, 2, 3, 31, 32, 33, TILE - 1, TILE, TILE + 1, ROW + 7, 33 * ROW + 5] {
            for first in [0, 1, 0x1234_5678_9abc, u64::MAX - (length as u64).div_ceil(2)] {
                for count in [0, 1, 5] {
                    let mut words: Vec<u64> =
                        (0..length as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
                    let mut expected = words.clone();
                    apply(&keys[..count * KEY], &negative[..count], first, &mut words).unwrap();
                    slowly(&keys[..count * KEY], &negative[..count], first, &mut expected);
                    assert_eq!(words, expected, "{length} {first} {count}");
                }
            }
        }
    }

    #[test]
    fn misuse_is_refused() {
        assert!(apply(&[0; 17], &[false], 0, &mut [0]).is_err());
        assert!(apply(&[0; 16], &[], 0, &mut [0]).is_err());
        assert!(apply(&[0; 16], &[true], u64::MAX, &mut [0, 0]).is_err());
    }
}
