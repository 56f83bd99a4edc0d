//! Numbers of 256 bits as four 64-bit words, lowest first, and arithmetic modulo one. Nothing here branches on a value.

/// A number below 2^256.
pub(super) type Limbs = [u64; 4];

/// `a + b + carry`, and the carry out.
#[inline(always)]
pub(super) const fn adc(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = a.overflowing_add(b);
    let (sum, second) = sum.overflowing_add(carry as u64);
    (sum, first | second)
}

/// `a - b - borrow`, and the borrow out.
#[inline(always)]
pub(super) const fn sbb(a: u64, b: u64, borrow: bool) -> (u64, bool) {
    let (difference, first) = a.overflowing_sub(b);
    let (difference, second) = difference.overflowing_sub(borrow as u64);
    (difference, first | second)
}

/// `a + b * c + carry`, and its high word.
#[inline(always)]
pub(super) const fn mac(a: u64, b: u64, c: u64, carry: u64) -> (u64, u64) {
    let wide = a as u128 + b as u128 * c as u128 + carry as u128;
    (wide as u64, (wide >> 64) as u64)
}

/// `a + b`, and the carry out.
#[inline(always)]
pub(super) const fn add(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (r0, c) = adc(a[0], b[0], false);
    let (r1, c) = adc(a[1], b[1], c);
    let (r2, c) = adc(a[2], b[2], c);
    let (r3, c) = adc(a[3], b[3], c);
    ([r0, r1, r2, r3], c)
}

/// `a - b`, and the borrow out.
#[inline(always)]
pub(super) const fn sub(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (r0, c) = sbb(a[0], b[0], false);
    let (r1, c) = sbb(a[1], b[1], c);
    let (r2, c) = sbb(a[2], b[2], c);
    let (r3, c) = sbb(a[3], b[3], c);
    ([r0, r1, r2, r3], c)
}

/// All bits one where `condition` holds, all zero elsewhere.
#[inline(always)]
pub(super) const fn mask(condition: bool) -> u64 {
    0u64.wrapping_sub(condition as u64)
}

/// Every word of `a` under the mask.
#[inline(always)]
const fn masked(a: &Limbs, mask: u64) -> Limbs {
    [a[0] & mask, a[1] & mask, a[2] & mask, a[3] & mask]
}

/// The least residue of `a + carry * 2^256`, which is below twice the modulus.
#[inline(always)]
pub(super) const fn reduce_once(a: &Limbs, carry: bool, modulus: &Limbs) -> Limbs {
    let (reduced, borrow) = sub(a, modulus);
    let keep = mask(borrow & !carry);
    let [x, y] = [masked(a, keep), masked(&reduced, !keep)];
    [x[0] | y[0], x[1] | y[1], x[2] | y[2], x[3] | y[3]]
}

/// `a + b` modulo `modulus`, for both below it.
#[inline(always)]
pub(super) const fn add_mod(a: &Limbs, b: &Limbs, modulus: &Limbs) -> Limbs {
    let (sum, carry) = add(a, b);
    reduce_once(&sum, carry, modulus)
}

/// `a - b` modulo `modulus`, for both below it.
#[inline(always)]
pub(super) const fn sub_mod(a: &Limbs, b: &Limbs, modulus: &Limbs) -> Limbs {
    let (difference, borrow) = sub(a, b);
    add(&difference, &masked(modulus, mask(borrow))).0
}

/// Montgomery's product `a * b / 2^256` modulo `modulus`, for `a * b` below `2^256 * modulus`;
/// `n0 * modulus` is -1 modulo 2^64.
#[inline(always)]
pub(super) const fn mul_mod(a: &Limbs, b: &Limbs, modulus: &Limbs, n0: u64) -> Limbs {
    let mut t = [0; 4];
    let mut top = false; // the 257th bit of t
    let mut i = 0;
    while i < 4 {
        let (t0, c) = mac(t[0], a[0], b[i], 0);
        let (t1, c) = mac(t[1], a[1], b[i], c);
        let (t2, c) = mac(t[2], a[2], b[i], c);
        let (t3, c) = mac(t[3], a[3], b[i], c);
        let (t4, t5) = adc(c, top as u64, false);
        let m = t0.wrapping_mul(n0);
        let (_, c) = mac(t0, m, modulus[0], 0);
        let (r0, c) = mac(t1, m, modulus[1], c);
        let (r1, c) = mac(t2, m, modulus[2], c);
        let (r2, c) = mac(t3, m, modulus[3], c);
        let (r3, carry) = adc(t4, c, false);
        t = [r0, r1, r2, r3];
        top = t5 | carry;
        i += 1;
    }
    reduce_once(&t, top, modulus)
}

/// Whether `a` is below `b`.
#[inline(always)]
pub(super) const fn below(a: &Limbs, b: &Limbs) -> bool {
    sub(a, b).1
}

/// The number of 32 big-endian bytes.
#[inline(always)]
pub(super) fn from_be_bytes(bytes: &[u8; 32]) -> Limbs {
    let word = |i: usize| u64::from_be_bytes(std::array::from_fn(|j| bytes[8 * i + j]));
    [word(3), word(2), word(1), word(0)]
}

/// The 32 big-endian bytes of a number.
#[inline(always)]
pub(super) fn to_be_bytes(a: &Limbs, out: &mut [u8; 32]) {
    for (chunk, word) in out.chunks_exact_mut(8).zip(a.iter().rev()) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
}

/// The two numbers `low + 2^256 * high` of 48 big-endian bytes, `high` below 2^128.
#[inline(always)]
pub(super) fn from_be_48(bytes: &[u8; 48]) -> (Limbs, Limbs) {
    let word = |i: usize| u64::from_be_bytes(std::array::from_fn(|j| bytes[8 * i + j]));
    ([word(5), word(4), word(3), word(2)], [word(1), word(0), 0, 0])
}
