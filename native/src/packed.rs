//! Variable-length byte strings packed into one buffer, laid out like Arrow's `LargeBinary`.

use crate::Error;

/// `n` byte strings: string `i` is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    data: &'a [u8],
    offsets: &'a [i64],
}

impl<'a> Packed<'a> {
    /// Takes `n + 1` offsets that start at 0 or above, never fall, and end within `data`.
    pub fn new(data: &'a [u8], offsets: &'a [i64]) -> Result<Self, Error> {
        let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
            return Err(Error::Misuse("offsets must hold n + 1 values, so at least one"));
        };
        if first < 0 || usize::try_from(last).map_or(true, |last| last > data.len()) {
            return Err(Error::Misuse("offsets must lie within the data"));
        }
        if offsets.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(Error::Misuse("offsets must not fall"));
        }
        Ok(Self { data, offsets })
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// True where there are no strings at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// String `i`; panics where `i` is out of range, as a slice does.
    #[inline]
    pub fn get(&self, i: usize) -> &'a [u8] {
        &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back() {
        let packed = Packed::new(b"abcdef", &[1, 1, 4, 6]).unwrap();
        assert_eq!((packed.len(), packed.is_empty()), (3, false));
        assert_eq!([packed.get(0), packed.get(1), packed.get(2)], [&b""[..], b"bcd", b"ef"]);
        assert!(Packed::new(b"", &[0]).unwrap().is_empty());
    }

    #[test]
    fn bad_offsets_are_refused() {
        for offsets in [&[][..], &[-1, 2], &[0, 7], &[0, 4, 2], &[0, i64::MAX], &[i64::MIN, 0]] {
            assert!(Packed::new(b"abcdef", offsets).is_err(), "{offsets:?}");
        }
    }
}
