//! A pseudorandom generator with random access: AES in counter mode.
//!
//! Block `i` of the stream, 16 bytes, is `AES(key, counter + i)`, where the sum is modulo 2^128 and enters the cipher as
//! 16 big-endian bytes. That is NIST SP 800-38A's counter mode with a 128-bit counter, applied to zeros.

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit, consts::U16};
use aes::{Aes128Enc, Aes256Enc};

use crate::Error;
use crate::parallel::{self, STREAM};

/// Bytes of a block.
pub const BLOCK: usize = 16;
/// Blocks made at a time: their counters are written and encrypted while they are in the first-level cache.
const STRIPE: usize = 256;
/// Bytes that a thread takes at a time.
const ROW: usize = 64 * 1024;

/// Fills `out` with the stream that begins at block `counter`; a last part of a block is cut off.
pub fn fill(key: &[u8], counter: u128, out: &mut [u8]) -> Result<(), Error> {
    match key.len() {
        16 => fill_with(&Aes128Enc::new_from_slice(key).expect("16 bytes"), counter, out),
        32 => fill_with(&Aes256Enc::new_from_slice(key).expect("32 bytes"), counter, out),
        _ => return Err(Error::Misuse("the key must be 16 or 32 bytes")),
    }
    Ok(())
}

fn fill_with<C: BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = U16> + Sync>(
    cipher: &C,
    counter: u128,
    out: &mut [u8],
) {
    let whole = out.len() - out.len() % ROW;
    let (rows, rest) = out.split_at_mut(whole);
    let filled = parallel::fill_rows(rows, ROW, STREAM, |first, rows| {
        fill_serial(cipher, counter.wrapping_add((first * (ROW / BLOCK)) as u128), rows);
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(()) = filled;
    fill_serial(cipher, counter.wrapping_add((whole / BLOCK) as u128), rest);
}

fn fill_serial<C: BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = U16>>(
    cipher: &C,
    mut counter: u128,
    out: &mut [u8],
) {
    let (blocks, tail) = Array::<u8, U16>::slice_as_chunks_mut(out);
    for stripe in blocks.chunks_mut(STRIPE) {
        for block in stripe.iter_mut() {
            block.copy_from_slice(&counter.to_be_bytes());
            counter = counter.wrapping_add(1);
        }
        cipher.encrypt_blocks(stripe);
    }
    if !tail.is_empty() {
        let mut block = Array::from(counter.to_be_bytes());
        cipher.encrypt_block(&mut block);
        tail.copy_from_slice(&block[..tail.len()]);
    }
}
