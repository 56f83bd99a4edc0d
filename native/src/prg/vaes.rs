//! AES on the vector instructions, two blocks to an instruction and sixteen blocks in flight: counter mode, and AES-128 as
//! a permutation of given blocks with the hash made of it (`blocks` says which).
//!
//! Why not the `aes` crate here, which has the same instructions: its batches leave the order of the rounds to the
//! compiler, which runs them pair by pair. That is bound by latency: 4.5 to 8 GB/s with AES-128 on a Zen 3 core,
//! depending on the build, where this loop gives 12 to 16. The crate remains the fallback, and the reference in the tests.

use core::arch::x86_64::*;

use zeroize::{Zeroize, Zeroizing};

use crate::blocks::Block;

/// Bytes made at once: eight registers of two blocks.
const BATCH: usize = 256;

/// Whether the processor has what the code here needs.
fn available() -> bool {
    is_x86_feature_detected!("vaes") && is_x86_feature_detected!("aes") && is_x86_feature_detected!("avx2")
}

/// The round keys, each in both halves of a register: 11 for AES-128, 15 for AES-256. Made only where [`available`].
pub(crate) struct RoundKeys<const ROUNDS: usize>(Zeroizing<[__m256i; ROUNDS]>);

impl RoundKeys<11> {
    /// The key schedule of AES-128, or none where the processor cannot.
    pub(crate) fn new(key: &[u8; 16]) -> Option<Self> {
        // SAFETY: `available` has checked every feature that the function is compiled for.
        available().then(|| Self(Zeroizing::new(unsafe { expand_128(key) })))
    }
}

impl RoundKeys<15> {
    /// The key schedule of AES-256, or none where the processor cannot.
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        // SAFETY: `available` has checked every feature that the function is compiled for.
        available().then(|| Self(Zeroizing::new(unsafe { expand_256(key) })))
    }
}

impl<const ROUNDS: usize> RoundKeys<ROUNDS> {
    /// The keys in their order, for loops of another shape than the counter's. That there are any says that the
    /// processor has what [`available`] asks for.
    pub(crate) fn as_array(&self) -> &[__m256i; ROUNDS] {
        &self.0
    }

    /// Fills `out` with the stream that begins at block `counter`.
    pub(crate) fn fill(&self, mut counter: u128, mut out: &mut [u8]) {
        while !out.is_empty() {
            // The vector code counts in the low 64 bits alone, so it is stopped where these would carry.
            let until_carry = (u128::from(u64::MAX) + 1) - (counter & u128::from(u64::MAX));
            let take = usize::try_from(until_carry * 16).map_or(out.len(), |bytes| bytes.min(out.len()));
            let (now, rest) = out.split_at_mut(take);
            // SAFETY: a value of this type exists, so `available` has checked every feature.
            unsafe { fill_without_carry(&self.0, counter, now) };
            counter = counter.wrapping_add(until_carry);
            out = rest;
        }
    }
}

impl RoundKeys<11> {
    /// Adds the stream from block `counter` on to `words`, or subtracts it. It must end before block 2^64.
    pub(crate) fn add(&self, counter: u64, words: &mut [u64], negative: bool) {
        // SAFETY: a value of this type exists, so `available` has checked every feature.
        unsafe { add(&self.0, counter, words, negative) }
    }

    /// Replaces each block by its encryption.
    pub(crate) fn permute(&self, blocks: &mut [Block]) {
        // SAFETY: a value of this type exists, so `available` has checked every feature.
        unsafe { permute(&self.0, blocks) }
    }

    /// `out[i] = π(x[i]) ⊕ x[i]` for as many blocks as both have.
    pub(crate) fn compress(&self, x: &[Block], out: &mut [Block]) {
        // SAFETY: a value of this type exists, so `available` has checked every feature.
        unsafe { compress(&self.0, x, out) }
    }

    /// `out[i] = π(π(x[i]) ⊕ (tweak + i)) ⊕ π(x[i])` for as many blocks as both have.
    pub(crate) fn hash(&self, tweak: u64, x: &[Block], out: &mut [Block]) {
        // SAFETY: a value of this type exists, so `available` has checked every feature.
        unsafe { hash(&self.0, tweak, x, out) }
    }
}

/// A batch of blocks in registers.
type State = [__m256i; BATCH / 32];

#[inline]
#[target_feature(enable = "vaes,aes,avx2")]
fn load_batch(blocks: &[Block; BATCH / 16]) -> State {
    let mut state = [_mm256_setzero_si256(); BATCH / 32];
    for (state, two) in state.iter_mut().zip(blocks.as_chunks::<2>().0) {
        // SAFETY: `two` is 32 bytes, and the load needs no alignment.
        *state = unsafe { _mm256_loadu_si256(two.as_ptr().cast()) };
    }
    state
}

#[inline]
#[target_feature(enable = "vaes,aes,avx2")]
fn store_batch(state: &State, blocks: &mut [Block; BATCH / 16]) {
    for (state, two) in state.iter().zip(blocks.as_chunks_mut::<2>().0) {
        // SAFETY: `two` is 32 bytes, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(two.as_mut_ptr().cast(), *state) };
    }
}

#[inline]
#[target_feature(enable = "vaes,aes,avx2")]
fn encrypt_batch(keys: &[__m256i; 11], state: &mut State) {
    for blocks in state.iter_mut() {
        *blocks = _mm256_xor_si256(*blocks, keys[0]);
    }
    for key in &keys[1..10] {
        for blocks in state.iter_mut() {
            *blocks = _mm256_aesenc_epi128(*blocks, *key);
        }
    }
    for blocks in state.iter_mut() {
        *blocks = _mm256_aesenclast_epi128(*blocks, keys[10]);
    }
}

#[target_feature(enable = "vaes,aes,avx2")]
fn permute(keys: &[__m256i; 11], blocks: &mut [Block]) {
    let (batches, rest) = blocks.as_chunks_mut::<{ BATCH / 16 }>();
    for batch in batches {
        let mut state = load_batch(batch);
        encrypt_batch(keys, &mut state);
        store_batch(&state, batch);
    }
    if !rest.is_empty() {
        let mut batch = [[0; 16]; BATCH / 16];
        batch[..rest.len()].copy_from_slice(rest);
        let mut state = load_batch(&batch);
        encrypt_batch(keys, &mut state);
        store_batch(&state, &mut batch);
        rest.copy_from_slice(&batch[..rest.len()]);
        batch.zeroize();
    }
}

/// `out[i] = π(x[i]) ⊕ x[i]`.
#[inline]
#[target_feature(enable = "vaes,aes,avx2")]
fn compress_batch(keys: &[__m256i; 11], x: &[Block; BATCH / 16], out: &mut [Block; BATCH / 16]) {
    let x = load_batch(x);
    let mut state = x;
    encrypt_batch(keys, &mut state);
    for (blocks, x) in state.iter_mut().zip(x) {
        *blocks = _mm256_xor_si256(*blocks, x);
    }
    store_batch(&state, out);
}

/// `out[i] = π(π(x[i]) ⊕ (tweak + i)) ⊕ π(x[i])`.
#[inline]
#[target_feature(enable = "vaes,aes,avx2")]
fn hash_batch(keys: &[__m256i; 11], tweak: u64, x: &[Block; BATCH / 16], out: &mut [Block; BATCH / 16]) {
    let mut inner = load_batch(x);
    encrypt_batch(keys, &mut inner);
    let mut tweaks = _mm256_set_epi64x(0, tweak.wrapping_add(1) as i64, 0, tweak as i64);
    let mut state = inner;
    for blocks in &mut state {
        *blocks = _mm256_xor_si256(*blocks, tweaks);
        tweaks = _mm256_add_epi64(tweaks, _mm256_set_epi64x(0, 2, 0, 2));
    }
    encrypt_batch(keys, &mut state);
    for (blocks, inner) in state.iter_mut().zip(inner) {
        *blocks = _mm256_xor_si256(*blocks, inner);
    }
    store_batch(&state, out);
}

/// Runs `batch(index of the first block, blocks, out)` over all of `x`; the last batch is filled up with zeros.
#[inline]
#[target_feature(enable = "vaes,aes,avx2")]
fn in_batches(x: &[Block], out: &mut [Block], batch: impl Fn(usize, &[Block; BATCH / 16], &mut [Block; BATCH / 16])) {
    let (batches, rest) = x.as_chunks::<{ BATCH / 16 }>();
    let (out_batches, out_rest) = out.as_chunks_mut::<{ BATCH / 16 }>();
    for (i, (x, out)) in batches.iter().zip(out_batches).enumerate() {
        batch(i * (BATCH / 16), x, out);
    }
    if !rest.is_empty() {
        let mut padded = [[[0; 16]; BATCH / 16]; 2];
        let [x, filled] = &mut padded;
        x[..rest.len()].copy_from_slice(rest);
        batch(batches.len() * (BATCH / 16), x, filled);
        out_rest.copy_from_slice(&filled[..rest.len()]);
        padded.as_flattened_mut().as_flattened_mut().zeroize();
    }
}

#[target_feature(enable = "vaes,aes,avx2")]
fn compress(keys: &[__m256i; 11], x: &[Block], out: &mut [Block]) {
    in_batches(x, out, |_, x, out| compress_batch(keys, x, out));
}

#[target_feature(enable = "vaes,aes,avx2")]
fn hash(keys: &[__m256i; 11], tweak: u64, x: &[Block], out: &mut [Block]) {
    in_batches(x, out, |i, x, out| hash_batch(keys, tweak.wrapping_add(i as u64), x, out));
}

#[target_feature(enable = "vaes,aes,avx2")]
fn fill_without_carry<const ROUNDS: usize>(keys: &[__m256i; ROUNDS], counter: u128, out: &mut [u8]) {
    let (high, mut low) = ((counter >> 64) as i64, counter as u64);
    let (batches, rest) = out.as_chunks_mut::<BATCH>();
    for batch in batches {
        encrypt_counters(keys, high, low, batch);
        low = low.wrapping_add((BATCH / 16) as u64);
    }
    if !rest.is_empty() {
        let mut batch = [0; BATCH];
        encrypt_counters(keys, high, low, &mut batch);
        rest.copy_from_slice(&batch[..rest.len()]);
        batch.zeroize();
    }
}

#[inline]
#[target_feature(enable = "vaes,aes,avx2")]
fn encrypt_counters<const ROUNDS: usize>(keys: &[__m256i; ROUNDS], high: i64, low: u64, out: &mut [u8; BATCH]) {
    let state = counters_encrypted(keys, high, low);
    for (blocks, out) in state.iter().zip(out.as_chunks_mut::<32>().0) {
        // SAFETY: `out` is 32 bytes, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), *blocks) };
    }
}

#[inline]
#[target_feature(enable = "vaes,aes,avx2")]
fn counters_encrypted<const ROUNDS: usize>(keys: &[__m256i; ROUNDS], high: i64, low: u64) -> State {
    let reverse = _mm256_broadcastsi128_si256(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    let two = _mm256_set_epi64x(0, 2, 0, 2);
    let mut counters = _mm256_set_epi64x(high, low.wrapping_add(1) as i64, high, low as i64);
    let mut state = [_mm256_setzero_si256(); BATCH / 32];
    for blocks in &mut state {
        *blocks = _mm256_xor_si256(_mm256_shuffle_epi8(counters, reverse), keys[0]);
        counters = _mm256_add_epi64(counters, two);
    }
    for key in &keys[1..ROUNDS - 1] {
        for blocks in &mut state {
            *blocks = _mm256_aesenc_epi128(*blocks, *key);
        }
    }
    for blocks in &mut state {
        *blocks = _mm256_aesenclast_epi128(*blocks, keys[ROUNDS - 1]);
    }
    state
}

#[target_feature(enable = "vaes,aes,avx2")]
fn add(keys: &[__m256i; 11], mut counter: u64, words: &mut [u64], negative: bool) {
    let (batches, rest) = words.as_chunks_mut::<{ BATCH / 8 }>();
    for batch in batches {
        add_batch(keys, counter, batch, negative);
        counter = counter.wrapping_add((BATCH / 16) as u64);
    }
    if !rest.is_empty() {
        let mut batch = [0; BATCH / 8];
        batch[..rest.len()].copy_from_slice(rest);
        add_batch(keys, counter, &mut batch, negative);
        rest.copy_from_slice(&batch[..rest.len()]);
        batch.zeroize();
    }
}

#[inline]
#[target_feature(enable = "vaes,aes,avx2")]
fn add_batch(keys: &[__m256i; 11], counter: u64, words: &mut [u64; BATCH / 8], negative: bool) {
    let state = counters_encrypted(keys, 0, counter);
    for (mask, words) in state.iter().zip(words.as_chunks_mut::<4>().0) {
        // SAFETY: `words` are 32 bytes, and neither the load nor the store needs alignment.
        unsafe {
            let word = _mm256_loadu_si256(words.as_ptr().cast());
            let sum = if negative { _mm256_sub_epi64(word, *mask) } else { _mm256_add_epi64(word, *mask) };
            _mm256_storeu_si256(words.as_mut_ptr().cast(), sum);
        }
    }
}

#[target_feature(enable = "aes,avx2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: `bytes` is 16 bytes, and the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Each 32-bit word becomes the sum of the words up to it: the part of the key schedule that knows no S-box.
#[target_feature(enable = "aes,avx2")]
fn running_sum(words: __m128i) -> __m128i {
    let words = _mm_xor_si128(words, _mm_slli_si128::<4>(words));
    _mm_xor_si128(words, _mm_slli_si128::<8>(words))
}

/// A key from the one before by `RotWord`, `SubWord` and the round constant (FIPS 197, section 5.2).
#[target_feature(enable = "aes,avx2")]
fn next<const CONSTANT: i32>(earlier: __m128i, last: __m128i) -> __m128i {
    let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<CONSTANT>(last));
    _mm_xor_si128(running_sum(earlier), word)
}

/// The odd keys of AES-256, by `SubWord` alone.
#[target_feature(enable = "aes,avx2")]
fn next_odd(earlier: __m128i, last: __m128i) -> __m128i {
    let word = _mm_shuffle_epi32::<0xaa>(_mm_aeskeygenassist_si128::<0>(last));
    _mm_xor_si128(running_sum(earlier), word)
}

#[target_feature(enable = "aes,avx2")]
fn expand_128(key: &[u8; 16]) -> [__m256i; 11] {
    let mut k = Zeroizing::new([load(key); 11]);
    k[1] = next::<0x01>(k[0], k[0]);
    k[2] = next::<0x02>(k[1], k[1]);
    k[3] = next::<0x04>(k[2], k[2]);
    k[4] = next::<0x08>(k[3], k[3]);
    k[5] = next::<0x10>(k[4], k[4]);
    k[6] = next::<0x20>(k[5], k[5]);
    k[7] = next::<0x40>(k[6], k[6]);
    k[8] = next::<0x80>(k[7], k[7]);
    k[9] = next::<0x1b>(k[8], k[8]);
    k[10] = next::<0x36>(k[9], k[9]);
    k.map(|key| _mm256_broadcastsi128_si256(key))
}

#[target_feature(enable = "aes,avx2")]
fn expand_256(key: &[u8; 32]) -> [__m256i; 15] {
    let [first, second] = [&key[..16], &key[16..]].map(|half| load(half.try_into().expect("half of 32 bytes")));
    let mut k = Zeroizing::new([first; 15]);
    k[1] = second;
    k[2] = next::<0x01>(k[0], k[1]);
    k[3] = next_odd(k[1], k[2]);
    k[4] = next::<0x02>(k[2], k[3]);
    k[5] = next_odd(k[3], k[4]);
    k[6] = next::<0x04>(k[4], k[5]);
    k[7] = next_odd(k[5], k[6]);
    k[8] = next::<0x08>(k[6], k[7]);
    k[9] = next_odd(k[7], k[8]);
    k[10] = next::<0x10>(k[8], k[9]);
    k[11] = next_odd(k[9], k[10]);
    k[12] = next::<0x20>(k[10], k[11]);
    k[13] = next_odd(k[11], k[12]);
    k[14] = next::<0x40>(k[12], k[13]);
    k.map(|key| _mm256_broadcastsi128_si256(key))
}
