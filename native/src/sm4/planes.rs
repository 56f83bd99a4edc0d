//! The cipher on any processor: sixteen blocks at once, and the S-box of their 64 bytes computed on eight bit planes.
//!
//! SM4's S-box is an affine map, the inverse in GF(2^8), and the map again. On planes an addition is one instruction
//! for 64 bytes, and nothing depends on a value.

use zeroize::{Zeroize, Zeroizing};

use super::{BLOCK, RoundKeys};

/// Blocks made at once.
pub(super) const BATCH: usize = 16;

/// Plane `i` is bit `i` of each of 64 bytes; also an element of the field for each of them.
type Planes = [u64; 8];

pub(super) fn ctr(keys: &RoundKeys, mut counter: u128, text: &[u8], out: &mut [u8]) {
    let mut stream = Zeroizing::new([[0; BLOCK]; BATCH]);
    for (text, out) in text.chunks(BATCH * BLOCK).zip(out.chunks_mut(BATCH * BLOCK)) {
        encrypt_counters(keys, counter, &mut stream);
        for ((out, text), mask) in out.iter_mut().zip(text).zip(stream.as_flattened()) {
            *out = text ^ mask;
        }
        counter = counter.wrapping_add(BATCH as u128);
    }
}

fn encrypt_counters(keys: &RoundKeys, counter: u128, out: &mut [[u8; BLOCK]; BATCH]) {
    let mut x = Zeroizing::new([[0; BATCH]; 4]);
    for i in 0..BATCH {
        let block = counter.wrapping_add(i as u128);
        for (j, words) in x.iter_mut().enumerate() {
            words[i] = (block >> (96 - 32 * j)) as u32;
        }
    }
    for (round, key) in keys.iter().enumerate() {
        let mut b = [0; BATCH];
        for (i, b) in b.iter_mut().enumerate() {
            *b = x[(round + 1) % 4][i] ^ x[(round + 2) % 4][i] ^ x[(round + 3) % 4][i] ^ key;
        }
        sub_words(&mut b);
        for (word, b) in x[round % 4].iter_mut().zip(b) {
            *word ^= b ^ b.rotate_left(2) ^ b.rotate_left(10) ^ b.rotate_left(18) ^ b.rotate_left(24);
        }
    }
    for (i, block) in out.iter_mut().enumerate() {
        for (j, bytes) in block.as_chunks_mut().0.iter_mut().enumerate() {
            *bytes = x[3 - j][i].to_be_bytes();
        }
    }
}

/// The S-box of every byte of one word.
pub(super) fn sub_word(word: u32) -> u32 {
    let mut words = Zeroizing::new([0; BATCH]);
    words[0] = word;
    sub_words(&mut words);
    words[0]
}

/// The S-box of every byte.
fn sub_words(words: &mut [u32; BATCH]) {
    let mut x: Planes = [0; 8];
    for (x, pair) in x.iter_mut().zip(words.as_chunks::<2>().0) {
        *x = u64::from(pair[0]) | u64::from(pair[1]) << 32;
    }
    transpose(&mut x);
    x = affine(&invert(&affine(&x)));
    transpose(&mut x);
    for (pair, x) in words.as_chunks_mut::<2>().0.iter_mut().zip(&x) {
        *pair = [*x as u32, (*x >> 32) as u32];
    }
    x.zeroize();
}

/// From eight bytes a value to eight planes, and back.
fn transpose(x: &mut Planes) {
    for (step, mask) in [(1, 0x5555_5555_5555_5555), (2, 0x3333_3333_3333_3333), (4, 0x0f0f_0f0f_0f0f_0f0f)] {
        for i in (0..8).filter(|i| i & step == 0) {
            let swapped = (x[i] >> step ^ x[i + step]) & mask;
            x[i + step] ^= swapped;
            x[i] ^= swapped << step;
        }
    }
}

/// Bit `i` becomes the sum of bits `i`, `i + 1`, `i + 2`, `i + 5` and `i + 7`; then 0xd3 is added.
fn affine(x: &Planes) -> Planes {
    std::array::from_fn(|i| {
        let sum = x[i] ^ x[(i + 1) % 8] ^ x[(i + 2) % 8] ^ x[(i + 5) % 8] ^ x[(i + 7) % 8];
        if 0xd3 >> i & 1 == 1 { !sum } else { sum }
    })
}

/// The inverse, and 0 for 0: `x^254`.
fn invert(x: &Planes) -> Planes {
    let x2 = square(x);
    let x3 = multiply(&x2, x);
    let x12 = square(&square(&x3));
    let x15 = multiply(&x12, &x3);
    let x240 = square(&square(&square(&square(&x15))));
    multiply(&multiply(&x240, &x12), &x2)
}

fn multiply(a: &Planes, b: &Planes) -> Planes {
    let mut product = [0; 15];
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            product[i + j] ^= a & b;
        }
    }
    reduce(product)
}

fn square(a: &Planes) -> Planes {
    let mut product = [0; 15];
    for (i, a) in a.iter().enumerate() {
        product[2 * i] = *a;
    }
    reduce(product)
}

/// Modulo `x^8 + x^7 + x^6 + x^5 + x^4 + x^2 + 1`.
fn reduce(mut product: [u64; 15]) -> Planes {
    for i in (8..15).rev() {
        for term in [0, 2, 4, 5, 6, 7] {
            product[i - 8 + term] ^= product[i];
        }
    }
    std::array::from_fn(|i| product[i])
}
