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

/// How many strings ahead the next ones are fetched into the cache.
const AHEAD: usize = 16;

/// Writes the strings of `rows` one after the other: `out` has room for all of them and for no more.
pub fn take(items: Packed<'_>, rows: &[i64], out: &mut [u8]) -> Result<(), Error> {
    let mut left = out;
    for (i, &row) in rows.iter().enumerate() {
        // First where a string begins, then the string itself.
        if let Some(&row) = rows.get(i + 2 * AHEAD) {
            fetch(items.offsets, row);
        }
        if let Some(&start) = rows.get(i + AHEAD).and_then(|&row| items.offsets.get(usize::try_from(row).ok()?)) {
            fetch(items.data, start);
        }
        let row = usize::try_from(row).ok().filter(|&row| row < items.len());
        let string = items.get(row.ok_or(Error::Misuse("a row is not among the strings"))?);
        let room = left.split_at_mut_checked(string.len());
        let (own, rest) = room.ok_or(Error::Misuse("out must have room for the strings of all rows"))?;
        own.copy_from_slice(string);
        left = rest;
    }
    if left.is_empty() {
        Ok(())
    } else {
        Err(Error::Misuse("out must have no more room than for the strings of all rows"))
    }
}

#[inline(always)]
fn fetch<T>(data: &[T], index: i64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect on memory, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(data.as_ptr().wrapping_offset(index as isize).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (data, index);
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
    fn rows_are_taken_and_checked() {
        let packed = Packed::new(b"abcdef", &[1, 1, 4, 6]).unwrap();
        let mut out = [0; 8];
        take(packed, &[2, 1, 0, 1], &mut out).unwrap();
        assert_eq!(&out, b"efbcdbcd");
        for (rows, room) in [(&[3][..], 0), (&[-1], 0), (&[1], 2), (&[1], 4), (&[], 1)] {
            assert!(take(packed, rows, &mut out[..room]).is_err(), "{rows:?}");
        }
    }

    #[test]
    fn bad_offsets_are_refused() {
        for offsets in [&[][..], &[-1, 2], &[0, 7], &[0, 4, 2], &[0, i64::MAX], &[i64::MIN, 0]] {
            assert!(Packed::new(b"abcdef", offsets).is_err(), "{offsets:?}");
        }
    }
}
