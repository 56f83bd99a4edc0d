//! What is made of correlated transfers: tables of sixteen entries, products of bits, and products of words.
//!
//! In a correlated transfer the sender has `k` and an offset Δ, and the receiver a choice c and `t = k ⊕ c·Δ`. Hashed by
//! [`Permutation::hash`] under the transfer's number, `t` is one of two masks of which the sender has both. Where choices
//! were drawn before the inputs were known, the receiver says which of them are to be flipped, and the sender takes the
//! two masks in the other order: `flips` here, one bit a transfer.
//!
//! No branch and no address depends on a secret: values, choices, flips and masks alike.

use std::convert::Infallible;

use zeroize::Zeroizing;

use crate::blocks::{Block, Permutation, xor};
use crate::parallel::{self, Grain};

/// Values that are worked on together, and whose bits of one kind fill a word.
pub const GROUP: usize = 64;
/// Most leaves of a value: four bits each.
pub const LEAVES: usize = 16;
/// Most tables of a leaf: each takes other 32 bits of a mask.
pub const TABLES: usize = 4;

/// What is looked up of each value.
#[derive(Clone, Copy)]
pub struct Pieces {
    /// Its leaves, the lowest first.
    pub leaves: usize,
    /// Tables that are looked into by the same choice, each about another value of their owner.
    pub tables: usize,
}

impl Pieces {
    /// Transfers of a value.
    pub fn transfers(self) -> usize {
        4 * self.leaves
    }

    /// Entries of a value: one of each leaf of each table.
    pub fn entries(self) -> usize {
        self.tables * self.leaves
    }

    /// Words that a group gives: for each table, a word of "less" for each leaf, then one of "equal".
    pub fn planes(self) -> usize {
        2 * self.entries()
    }
}

/// Groups of 64 values: hashing thousands of blocks takes some ten microseconds.
const GRAIN: Grain = Grain { serial: 4, chunk: 8 };

/// The bits of all sixteen entries that say "less".
const LESS: u32 = 0x5555_5555;
/// The bits of the entries in whose number bit j is one.
const WITH_BIT: [u32; 4] = [0xcccc_cccc, 0xf0f0_f0f0, 0xff00_ff00, 0xffff_0000];

/// What the sender has of some transfers.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    /// Offset between the two messages of every transfer.
    pub delta: &'a Block,
    /// Number of the first transfer: the hash's tweak.
    pub tweak: u64,
    /// The messages for choice 0.
    pub k: &'a [Block],
}

/// What the receiver has of some transfers.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// Number of the first transfer: the hash's tweak.
    pub tweak: u64,
    /// The chosen messages.
    pub t: &'a [Block],
}

/// Both masks of up to 64 transfers.
struct Masks {
    shifted: Zeroizing<[Block; GROUP]>,
    zero: Zeroizing<[Block; GROUP]>,
    one: Zeroizing<[Block; GROUP]>,
}

impl Masks {
    fn new() -> Self {
        let blank = || Zeroizing::new([[0; 16]; GROUP]);
        Self { shifted: blank(), zero: blank(), one: blank() }
    }

    /// Both masks of the transfers from `first` on, `count` of them.
    fn both(&mut self, sent: &Sent, first: usize, count: usize) -> (&[Block], &[Block]) {
        let k = &sent.k[first..first + count];
        let tweak = sent.tweak + first as u64;
        for (shifted, k) in self.shifted.iter_mut().zip(k) {
            *shifted = xor(k, sent.delta);
        }
        let pi = Permutation::fixed();
        pi.hash(tweak, k, &mut self.zero[..count]);
        pi.hash(tweak, &self.shifted[..count], &mut self.one[..count]);
        (&self.zero[..count], &self.one[..count])
    }

    /// The one mask that the receiver has of each.
    fn chosen(&mut self, received: &Received, first: usize, count: usize) -> &[Block] {
        let t = &received.t[first..first + count];
        Permutation::fixed().hash(received.tweak + first as u64, t, &mut self.zero[..count]);
        &self.zero[..count]
    }
}

/// The 32 bits of a mask that a table takes.
#[inline(always)]
fn lane(block: &Block, table: usize) -> u32 {
    u32::from_le_bytes(block.as_chunks().0[table])
}

#[inline(always)]
fn low64(block: &Block) -> u64 {
    u128::from_le_bytes(*block) as u64
}

#[inline(always)]
fn bit(word: u64, at: usize) -> u64 {
    word >> at & 1
}

/// The two in the other order where `flip` is one.
#[inline(always)]
fn turned(zero: u64, one: u64, flip: u64) -> (u64, u64) {
    let swap = (zero ^ one) & flip.wrapping_neg();
    (zero ^ swap, one ^ swap)
}

// Tables ---------------------------------------------------------------------------------------------------------------

/// What a table says of how its owner's leaf compares with the other party's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The owner's value is the left one: entry i says whether leaf < i.
    Left,
    /// The owner's value is the right one: entry i says whether i < leaf.
    Right,
}

/// Two bits for each of sixteen entries i: how the leaf compares with i, and, above, whether it is i.
#[inline(always)]
fn table(leaf: u64, side: Side) -> u32 {
    let below = ((1u64 << (2 * leaf)) - 1) as u32;
    let equal = 2u32 << (2 * leaf);
    let compared = match side {
        Side::Left => !(below | 3 << (2 * leaf)),
        Side::Right => below,
    };
    compared & LESS | equal
}

/// The sender's part of 1-out-of-16 transfers of two bits each, one for each leaf and table: `messages` is
/// `(n, tables, leaves)`.
///
/// Transfer `4·leaves·v + 4·l + j` stands for bit j of leaf l of value v. Entry i of a leaf's table goes under the masks
/// that belong to the bits of i, of which each entry takes other bits; so whoever lacks one of the masks knows nothing of
/// it. `values` are `(tables, n)`. `shares`, `(n / 64, planes)` and uniform, is added to every entry: the sender's share of
/// what the receiver looks up.
pub fn offer_tables(
    pieces: Pieces,
    sent: Sent,
    flips: &[u64],
    values: &[u64],
    shares: &[u64],
    side: Side,
    messages: &mut [u32],
) {
    let (leaves, count, n) = (pieces.leaves, pieces.transfers(), flips.len());
    let Ok(()) = parallel::fill_rows(messages, GROUP * pieces.entries(), GRAIN, |first, messages| {
        let mut masks = Masks::new();
        for (at, message) in messages.chunks_exact_mut(pieces.entries()).enumerate() {
            let v = first * GROUP + at;
            let (zero, one) = masks.both(&sent, v * count, count);
            let planes = &shares[v / GROUP * pieces.planes()..][..pieces.planes()];
            let tables = message.chunks_exact_mut(leaves).zip(planes.chunks_exact(2 * leaves));
            for (number, (message, planes)) in tables.enumerate() {
                let value = values[number * n + v];
                for (leaf, message) in message.iter_mut().enumerate() {
                    let mut word = table(value >> (4 * leaf) & 15, side);
                    word ^= (bit(planes[leaf], v % GROUP) as u32).wrapping_neg() & LESS;
                    word ^= (bit(planes[leaves + leaf], v % GROUP) as u32).wrapping_neg() & !LESS;
                    for (j, with_bit) in WITH_BIT.iter().enumerate() {
                        let c = 4 * leaf + j;
                        let [zero, one] = [lane(&zero[c], number), lane(&one[c], number)];
                        let flip = (bit(flips[v], c) as u32).wrapping_neg();
                        // The entry's bit of i picks the mask; a flip changes the two.
                        word ^= zero ^ (zero ^ one) & (with_bit ^ flip);
                    }
                    *message = word;
                }
            }
        }
        Ok::<(), Infallible>(())
    });
}

/// The receiver's part: its share of how its values compare, `(n / 64, planes)` words of one bit a value.
pub fn choose_tables(pieces: Pieces, received: Received, values: &[u64], messages: &[u32], shares: &mut [u64]) {
    let (leaves, count) = (pieces.leaves, pieces.transfers());
    let Ok(()) = parallel::fill_rows(shares, pieces.planes(), GRAIN, |first, shares| {
        let mut masks = Masks::new();
        for (group, planes) in (first..).zip(shares.chunks_exact_mut(pieces.planes())) {
            planes.fill(0);
            for v in group * GROUP..(group + 1) * GROUP {
                let chosen = masks.chosen(&received, v * count, count);
                let messages = &messages[v * pieces.entries()..][..pieces.entries()];
                let tables = messages.chunks_exact(leaves).zip(planes.chunks_exact_mut(2 * leaves));
                for (number, (messages, planes)) in tables.enumerate() {
                    for (leaf, &message) in messages.iter().enumerate() {
                        let mut word = message;
                        for block in &chosen[4 * leaf..4 * leaf + 4] {
                            word ^= lane(block, number);
                        }
                        let entry = u64::from(word >> (2 * (values[v] >> (4 * leaf) & 15)));
                        planes[leaf] |= (entry & 1) << (v % GROUP);
                        planes[leaves + leaf] |= (entry >> 1 & 1) << (v % GROUP);
                    }
                }
            }
        }
        Ok::<(), Infallible>(())
    });
}

// Products of bits -----------------------------------------------------------------------------------------------------

/// Bit `AT` of each of 64 bytes, as a word.
#[inline(always)]
fn gather<const AT: u32>(bytes: &[u8; GROUP]) -> u64 {
    let mut word = 0;
    for (i, eight) in bytes.as_chunks().0.iter().enumerate() {
        // The product brings bit 8 j of the factor to bit 56 + j, and nothing else there.
        let bits = u64::from_le_bytes(*eight) >> AT & 0x0101_0101_0101_0101;
        word |= (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    word
}

/// The sender's part of products of the receiver's random choices with random bits of the sender, two for each choice.
///
/// `out` is `(n / 64, 4)`: the sender's two shares, then its two factors; with the receiver's shares
/// `share ⊕ share' = choice · factor`.
pub fn offer_bits(sent: Sent, out: &mut [u64]) {
    let Ok(()) = parallel::fill_rows(out, 4, GRAIN, |first, out| {
        let mut masks = Masks::new();
        let [mut shares, mut factors] = [(); 2].map(|()| Zeroizing::new([0; GROUP]));
        for (group, words) in (first..).zip(out.chunks_exact_mut(4)) {
            let (zero, one) = masks.both(&sent, group * GROUP, GROUP);
            for at in 0..GROUP {
                shares[at] = zero[at][0];
                factors[at] = zero[at][0] ^ one[at][0];
            }
            let words: &mut [u64; 4] = words.try_into().expect("four words");
            *words = [gather::<0>(&shares), gather::<1>(&shares), gather::<0>(&factors), gather::<1>(&factors)];
        }
        Ok::<(), Infallible>(())
    });
}

/// The receiver's part: its two shares, `(n / 64, 2)`.
pub fn choose_bits(received: Received, out: &mut [u64]) {
    let Ok(()) = parallel::fill_rows(out, 2, GRAIN, |first, out| {
        let mut masks = Masks::new();
        let mut shares = Zeroizing::new([0; GROUP]);
        for (group, words) in (first..).zip(out.chunks_exact_mut(2)) {
            let chosen = masks.chosen(&received, group * GROUP, GROUP);
            for (share, block) in shares.iter_mut().zip(chosen) {
                *share = block[0];
            }
            words.copy_from_slice(&[gather::<0>(&shares), gather::<1>(&shares)]);
        }
        Ok::<(), Infallible>(())
    });
}

// Products of words ----------------------------------------------------------------------------------------------------

/// Bytes of a value's messages in [`offer_products`]: of the product with bit i only the lowest 64 - i bits count.
pub fn product_bytes(bits: usize) -> usize {
    (0..bits).map(|i| 8 - i / 8).sum()
}

/// A value's messages, and what a word at their end may stand over.
const LINE: usize = 8 * 36 + 8;

/// The sender's part of additive shares of x·y modulo 2^64, x the receiver's, of `bits` bits, and y the sender's.
///
/// Transfer `bits·v + i` stands for bit i of value v. Where `bitwise`, bit i of x meets bit i of y alone: the product is
/// Σ 2^i·x_i·y_i. `messages` is `(n, product_bytes(bits))`.
pub fn offer_products(
    sent: Sent,
    bits: usize,
    flips: &[u64],
    y: &[u64],
    bitwise: bool,
    shares: &mut [u64],
    messages: &mut [u8],
) {
    let width = product_bytes(bits);
    parallel::fill_two((shares, GROUP), (messages, GROUP * width), GRAIN, |first, shares, messages| {
        let mut masks = Masks::new();
        let mut line = [0; LINE];
        for (at, (share, message)) in shares.iter_mut().zip(messages.chunks_exact_mut(width)).enumerate() {
            let v = first * GROUP + at;
            let (zero, one) = masks.both(&sent, v * bits, bits);
            let mut to = 0;
            *share = 0;
            for i in 0..bits {
                let (zero, one) = turned(low64(&zero[i]), low64(&one[i]), bit(flips[v], i));
                let factor = if bitwise { bit(y[v], i) } else { y[v] };
                *share = share.wrapping_sub(zero << i);
                // What a narrower product has too much, the next one overwrites.
                line[to..to + 8].copy_from_slice(&zero.wrapping_sub(one).wrapping_add(factor).to_le_bytes());
                to += 8 - i / 8;
            }
            message.copy_from_slice(&line[..width]);
        }
    });
}

/// The receiver's part: its shares.
pub fn choose_products(received: Received, bits: usize, x: &[u64], messages: &[u8], shares: &mut [u64]) {
    let width = product_bytes(bits);
    let Ok(()) = parallel::fill_rows(shares, 1, Grain { serial: 256, chunk: 512 }, |first, shares| {
        let mut masks = Masks::new();
        let mut line = [0; LINE];
        for (v, share) in (first..).zip(shares) {
            let chosen = masks.chosen(&received, v * bits, bits);
            line[..width].copy_from_slice(&messages[v * width..(v + 1) * width]);
            let mut from = 0;
            *share = 0;
            for (i, block) in chosen.iter().enumerate() {
                // What belongs to the next products stands above bit 63 - i, and is shifted out.
                let offset = u64::from_le_bytes(line[from..from + 8].try_into().expect("8 bytes"));
                let offset = offset & bit(x[v], i).wrapping_neg();
                *share = share.wrapping_add(low64(block).wrapping_add(offset) << i);
                from += 8 - i / 8;
            }
        }
        Ok::<(), Infallible>(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prg;

    fn words(seed: u8, n: usize) -> Vec<u64> {
        let mut out = vec![0; 8 * n];
        prg::fill(&[seed; 16], 0, &mut out).unwrap();
        out.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
    }

    fn blocks(seed: u8, n: usize) -> Vec<Block> {
        let mut out = vec![[0; 16]; n];
        prg::fill(&[seed; 16], 0, out.as_flattened_mut()).unwrap();
        out
    }

    /// The receiver's messages for choices of so many bits a value.
    fn receive(k: &[Block], delta: &Block, bits: usize, choices: &[u64]) -> Vec<Block> {
        let chosen = |i: usize| (bit(choices[i / bits], i % bits) as u8).wrapping_neg();
        k.iter().enumerate().map(|(i, k)| xor(k, &delta.map(|byte| byte & chosen(i)))).collect()
    }

    #[test]
    fn pieces_are_compared() {
        let n = 3 * GROUP;
        for (leaves, tables) in [(LEAVES, 1), (7, 2), (1, TABLES)] {
            let pieces = Pieces { leaves, tables };
            let count = pieces.transfers();
            let (k, delta, choices) = (blocks(1, n * count), blocks(2, 1)[0], words(3, n));
            let t = receive(&k, &delta, count, &choices);
            let (mine, mut theirs) = (words(4, tables * n), words(5, n));
            theirs[..40].copy_from_slice(&mine[..40]);
            let flips: Vec<u64> = theirs.iter().zip(&choices).map(|(value, choice)| value ^ choice).collect();
            let shares = words(6, n / GROUP * pieces.planes());
            for side in [Side::Left, Side::Right] {
                let mut messages = vec![0; n * pieces.entries()];
                let sent = Sent { delta: &delta, tweak: 7, k: &k };
                offer_tables(pieces, sent, &flips, &mine, &shares, side, &mut messages);
                let mut got = vec![0; shares.len()];
                choose_tables(pieces, Received { tweak: 7, t: &t }, &theirs, &messages, &mut got);
                for (v, entry) in (0..n).flat_map(|v| (0..pieces.entries()).map(move |entry| (v, entry))) {
                    let (number, leaf) = (entry / leaves, entry % leaves);
                    let [a, b] = [mine[number * n + v], theirs[v]].map(|value| value >> (4 * leaf) & 15);
                    let opened = [leaf, leaves + leaf].map(|plane| {
                        let word = v / GROUP * pieces.planes() + 2 * number * leaves + plane;
                        bit(shares[word] ^ got[word], v % GROUP) == 1
                    });
                    assert_eq!(opened, [if side == Side::Left { a < b } else { b < a }, a == b]);
                }
            }
        }
    }

    #[test]
    fn bits_are_multiplied() {
        let n = 5 * GROUP;
        let (k, delta, choices) = (blocks(1, n), blocks(2, 1)[0], words(3, n));
        let t = receive(&k, &delta, GROUP, &choices);
        let (mut sent, mut got) = (vec![0; n / GROUP * 4], vec![0; n / GROUP * 2]);
        offer_bits(Sent { delta: &delta, tweak: 9, k: &k }, &mut sent);
        choose_bits(Received { tweak: 9, t: &t }, &mut got);
        for (group, (sent, got)) in sent.chunks(4).zip(got.chunks(2)).enumerate() {
            assert!((0..2).all(|i| sent[i] ^ got[i] == sent[2 + i] & choices[group]));
        }
        assert_ne!(sent[2], sent[3]);
    }

    #[test]
    fn words_are_multiplied() {
        for bits in [1, 7, 8, 9, 31, 63, 64] {
            let n = 2 * GROUP + 5;
            let low = u64::MAX >> (64 - bits);
            let (k, delta, choices) = (blocks(1, n * bits), blocks(2, 1)[0], words(3, n));
            let t = receive(&k, &delta, bits, &choices);
            let (mut x, y) = (words(4, n), words(5, n));
            x.iter_mut().for_each(|x| *x &= low);
            let flips: Vec<u64> = x.iter().zip(&choices).map(|(x, choice)| x ^ choice).collect();
            for bitwise in [false, true] {
                let (mut shares, mut messages) = (vec![0; n], vec![0; n * product_bytes(bits)]);
                let sent = Sent { delta: &delta, tweak: 3, k: &k };
                offer_products(sent, bits, &flips, &y, bitwise, &mut shares, &mut messages);
                let mut got = vec![0; n];
                choose_products(Received { tweak: 3, t: &t }, bits, &x, &messages, &mut got);
                for v in 0..n {
                    let product = if bitwise { x[v] & y[v] } else { x[v].wrapping_mul(y[v]) };
                    assert_eq!(shares[v].wrapping_add(got[v]), product, "{bits} {v}");
                }
            }
        }
    }
}
