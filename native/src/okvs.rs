//! Oblivious key-value stores: the clustered encoding of weight three of Raghuraman and Rindal, *Blazing Fast PSI* (CCS 2022).
//!
//! A table P of blocks stores n pairs so that `Decode(P, key) = ⟨row(key), P⟩` gives the key's value, and something that looks
//! random for any other key. Where the values are uniform, the table shows nothing of the keys: it is uniform itself.
//!
//! Keys fall into bins of about 2^14, each with a part of the table that fits the second-level cache. A row has three ones
//! at distinct positions of its bin's sparse part, and the powers k̂, k̂², … in the bin's dense part, where the products
//! are those of GF(2^128):
//!
//! - `u = key ⊕ seed`, `h = π(u) ⊕ u` with π of `blocks`, and `k̂ = u`. A key is a digest, and so is uniform already.
//! - The low half of `h`, as a fraction of 2^64, times the number of bins: the whole part is the bin, and what is left times
//!   the sparse length gives the first position `p`. The high half gives `q` among the others, and what is left `r` among
//!   those left, in the same manner; each skips the positions taken before it. So all triples are equally likely.
//!
//! Encoding removes rows that have a position to themselves, one after the other, which leaves a core; it is nearly always
//! empty, else of a few rows. The core is solved by Gaussian elimination, the rows that depend on others in their sparse
//! part by the dense columns. The other rows then follow in reverse. Whatever no equation determines keeps the random
//! bytes that the table began with.
//!
//! Which addresses this reads depends on digests of the keys, so the functions end in `_vartime`: a process that shares the
//! machine's caches and knows the seed may learn of keys that it can guess. Values enter arithmetic alone.

use zeroize::{Zeroize, Zeroizing};

use crate::blocks::{Block, Permutation, xor};
use crate::parallel::{self, Grain};
use crate::{Error, gf128, prg};

/// Keys that a bin holds on average, where there are enough for more than one.
const BIN: usize = 1 << 14;
/// Ones in a row's sparse part.
const WEIGHT: usize = 3;
/// No more rows than this go into the elimination. Beyond, the encoding has failed: the parameters keep the core below.
const CORE: usize = 2048;
/// A bin is a row of work.
const BINS: Grain = Grain { serial: 1, chunk: 16 };
/// Keys whose bins are found at a time, on the stack.
const STRIPE: usize = 128;
/// How improbable a failure has to be, in bits: a bin with too many keys, and a bin whose equations have no solution.
const OVERFLOW: u32 = 41;
const UNSOLVABLE: u32 = 40;

/// The shape of the table for a number of keys. Both parties compute it, so nothing but exactly rounded operations is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Parts of the table, each with rows of its own.
    pub bins: usize,
    /// Keys that a bin may hold.
    pub capacity: usize,
    /// Positions in a bin's sparse part.
    pub sparse: usize,
    /// Dense columns of a bin, the powers of k̂ from the first on.
    pub dense: usize,
}

impl Shape {
    /// The shape for `n` keys, fewer than 2^32; none has the shape of one.
    pub fn new(n: usize) -> Self {
        let n = n.max(1);
        let bins = ((n + BIN / 2) / BIN).max(1);
        let log_bins = bins.next_power_of_two().trailing_zeros();
        let capacity = if bins == 1 { n } else { fullest(n, bins, log_bins) };
        // The paper's fit of how the sparse part has to grow with the bin and the security wanted.
        let security = f64::from(UNSOLVABLE + log_bins);
        let scale = exp2(0.555 * log2(capacity as f64) + 2.336);
        let expansion = 1.223 + (security + 9.2) / scale;
        let sparse = (expansion * capacity as f64).ceil() as usize;
        // One bit above the paper's, for where it would leave a failure at exactly the odds that are allowed.
        let dense = ((security + 1.0) / log2(sparse as f64)).floor() as usize;
        Self { bins, capacity, sparse, dense }
    }

    /// Table rows of a bin.
    pub fn bin_rows(&self) -> usize {
        self.sparse + self.dense
    }

    /// Rows of the table.
    pub fn rows(&self) -> usize {
        self.bins * self.bin_rows()
    }

    #[inline]
    fn bin_of(&self, h: &Block) -> usize {
        scaled(u128::from_le_bytes(*h) as u64, self.bins).0
    }

    #[inline]
    fn positions(&self, h: &Block) -> [u16; WEIGHT] {
        let h = u128::from_le_bytes(*h);
        let (_, rest) = scaled(h as u64, self.bins);
        let (p, _) = scaled(rest, self.sparse);
        let (q, rest) = scaled((h >> 64) as u64, self.sparse - 1);
        let (r, _) = scaled(rest, self.sparse - 2);
        let q = q + usize::from(q >= p);
        let r = r + usize::from(r >= p.min(q));
        let r = r + usize::from(r >= p.max(q));
        [p as u16, q as u16, r as u16]
    }
}

/// The sum of the blocks at three positions.
#[inline]
fn three(part: &[Block], [p, q, r]: [u16; WEIGHT]) -> Block {
    xor(&part[usize::from(p)], &xor(&part[usize::from(q)], &part[usize::from(r)]))
}

/// `fraction / 2^64 · count`: the whole part, and what is left in the same form.
#[inline]
fn scaled(fraction: u64, count: usize) -> (usize, u64) {
    let product = u128::from(fraction) * count as u128;
    ((product >> 64) as usize, product as u64)
}

/// A count that no bin passes but with probability `2^-OVERFLOW`, by Bernstein's inequality and the union bound.
fn fullest(n: usize, bins: usize, log_bins: u32) -> usize {
    let (n, bins) = (n as f64, bins as f64);
    let mean = n / bins;
    let variance = mean * (1.0 - 1.0 / bins);
    let exponent = f64::from(OVERFLOW + log_bins) * core::f64::consts::LN_2;
    let third = exponent / 3.0;
    (mean + third + (third * third + 2.0 * exponent * variance).sqrt()).ceil() as usize
}

/// The binary logarithm of a number that is at least one. A library's own may differ in its last bit from machine to machine.
fn log2(mut x: f64) -> f64 {
    let mut out = 0.0;
    while x >= 2.0 {
        x /= 2.0;
        out += 1.0;
    }
    let mut digit = 0.5;
    for _ in 0..40 {
        x *= x;
        if x >= 2.0 {
            x /= 2.0;
            out += digit;
        }
        digit /= 2.0;
    }
    out
}

/// Two to a power that is not negative.
fn exp2(mut x: f64) -> f64 {
    let mut out = 1.0;
    while x >= 1.0 {
        x -= 1.0;
        out *= 2.0;
    }
    let mut root = 2.0f64;
    for _ in 0..40 {
        root = root.sqrt();
        x *= 2.0;
        if x >= 1.0 {
            x -= 1.0;
            out *= root;
        }
    }
    out
}

/// Indices of the keys in the order of their bins, and where each bin begins.
struct Split {
    order: Vec<u32>,
    starts: Vec<usize>,
}

impl Split {
    fn new(shape: &Shape, seed: &Block, keys: &[Block]) -> Result<Self, Error> {
        if u32::try_from(keys.len()).is_err() {
            return Err(Error::Misuse("a batch has at most 2^32 - 1 keys"));
        }
        let mut bin_of: Vec<u32> = reserve(keys.len())?;
        bin_of.resize(keys.len(), 0);
        let mut starts = vec![0; shape.bins + 1];
        let mut buffer = Hashed::new();
        for (keys, bins) in keys.chunks(STRIPE).zip(bin_of.chunks_mut(STRIPE)) {
            for (h, bin) in buffer.hash(seed, keys).1.iter().zip(bins) {
                *bin = shape.bin_of(h) as u32;
                starts[*bin as usize + 1] += 1;
            }
        }
        for bin in 0..shape.bins {
            starts[bin + 1] += starts[bin];
        }
        let mut next = starts.clone();
        let mut order = reserve(keys.len())?;
        order.resize(keys.len(), 0);
        for (i, &bin) in bin_of.iter().enumerate() {
            let next = &mut next[bin as usize];
            order[*next] = i as u32;
            *next += 1;
        }
        Ok(Self { order, starts })
    }

    fn bin(&self, bin: usize) -> &[u32] {
        &self.order[self.starts[bin]..self.starts[bin + 1]]
    }
}

fn reserve<T>(n: usize) -> Result<Vec<T>, Error> {
    let mut out = Vec::new();
    out.try_reserve_exact(n).map_err(|_| Error::Misuse("there is no memory for a batch of this size"))?;
    Ok(out)
}

/// Room for `u` and `h` of some keys.
struct Hashed {
    u: Zeroizing<[Block; STRIPE]>,
    h: Zeroizing<[Block; STRIPE]>,
}

impl Hashed {
    fn new() -> Self {
        Self { u: Zeroizing::new([[0; 16]; STRIPE]), h: Zeroizing::new([[0; 16]; STRIPE]) }
    }

    /// `u` and `h` of at most `STRIPE` keys.
    fn hash<'a>(&mut self, seed: &Block, keys: impl IntoIterator<Item = &'a Block>) -> (&[Block], &[Block]) {
        let mut n = 0;
        for (u, key) in self.u.iter_mut().zip(keys) {
            *u = xor(key, seed);
            n += 1;
        }
        Permutation::fixed().compress(&self.u[..n], &mut self.h[..n]);
        (&self.u[..n], &self.h[..n])
    }
}

/// Fills `table`, `Shape::rows` blocks, so that `keys[i]` decodes to `values[i]`. What is free is random under `randomness`.
///
/// The same arguments give the same table, on any number of threads. [`Error::EncodingFailed`] is as improbable as the module's
/// parameters say, over the choice of the seed, and the table must not be used then; [`Error::RepeatedKey`] where
/// two keys are equal.
pub fn encode_vartime(
    shape: &Shape,
    keys: &[Block],
    values: &[Block],
    seed: &Block,
    randomness: &[u8; 32],
    table: &mut [Block],
) -> Result<(), Error> {
    if table.len() != shape.rows() || keys.len() != values.len() {
        return Err(Error::Misuse("the table or the values do not have the right length"));
    }
    let split = Split::new(shape, seed, keys)?;
    parallel::fill_rows(table, shape.bin_rows(), BINS, |first, parts| {
        let mut work = Work::default();
        for (i, part) in parts.chunks_exact_mut(shape.bin_rows()).enumerate() {
            let bin = first + i;
            let items = split.bin(bin).iter();
            work.gather(shape, seed, items.map(|&i| (&keys[i as usize], &values[i as usize])));
            work.fill(shape, bin, randomness, part)?;
        }
        Ok(())
    })
}

/// Writes keys and values bin after bin, and which of the given ones each was. Returns where each bin begins, and the end.
///
/// The functions for a few bins take what this has written: they read it in sequence, and table parts can be made, sent
/// and read while others are under way.
pub fn arrange_vartime(
    shape: &Shape,
    seed: &Block,
    (keys, values): (&[Block], &[Block]),
    (out_keys, out_values): (&mut [Block], &mut [Block]),
    rows: &mut [u32],
) -> Result<Vec<usize>, Error> {
    let n = keys.len();
    if [values.len(), out_keys.len(), out_values.len(), rows.len()] != [n; 4] {
        return Err(Error::Misuse("the values or the outputs do not have the right length"));
    }
    let split = Split::new(shape, seed, keys)?;
    for ((&i, row), (key, value)) in split.order.iter().zip(rows).zip(out_keys.iter_mut().zip(out_values)) {
        (*row, *key, *value) = (i, keys[i as usize], values[i as usize]);
    }
    Ok(split.starts)
}

/// Fills `parts`, the table's parts from bin `first` on, from keys and values that `arrange_vartime` has written for these bins;
/// `starts` says where each begins, and the end. All parts together are the table of `encode_vartime`.
pub fn encode_bins_vartime(
    shape: &Shape,
    first: usize,
    starts: &[usize],
    (keys, values): (&[Block], &[Block]),
    seed: &Block,
    randomness: &[u8; 32],
    parts: &mut [Block],
) -> Result<(), Error> {
    check_starts(shape, first, starts, keys.len(), parts.len())?;
    if keys.len() != values.len() {
        return Err(Error::Misuse("the values do not have the right length"));
    }
    parallel::fill_rows(parts, shape.bin_rows(), BINS, |begin, parts| {
        let mut work = Work::default();
        for (part, bin) in parts.chunks_exact_mut(shape.bin_rows()).zip(begin..) {
            let items = starts[bin]..starts[bin + 1];
            work.gather(shape, seed, keys[items.clone()].iter().zip(&values[items]));
            work.fill(shape, first + bin, randomness, part)?;
        }
        Ok(())
    })
}

/// Adds the decoding of `keys[i]` to `out[i]`, from the table's parts from bin `first` on; else as `encode_bins_vartime`.
pub fn decode_bins_vartime(
    shape: &Shape,
    first: usize,
    starts: &[usize],
    keys: &[Block],
    parts: &[Block],
    seed: &Block,
    out: &mut [Block],
) -> Result<(), Error> {
    check_starts(shape, first, starts, keys.len(), parts.len())?;
    if keys.len() != out.len() {
        return Err(Error::Misuse("the output does not have the right length"));
    }
    let mut left = out;
    let mut bins: Vec<_> = starts
        .windows(2)
        .zip(parts.chunks_exact(shape.bin_rows()))
        .map(|(bin, part)| {
            let (out, rest) = std::mem::take(&mut left).split_at_mut(bin[1] - bin[0]);
            left = rest;
            (&keys[bin[0]..bin[1]], part, out)
        })
        .collect();
    parallel::fill_rows(&mut bins, 1, BINS, |_, bins| {
        let mut buffer = Hashed::new();
        for (keys, part, out) in bins {
            for (keys, out) in keys.chunks(STRIPE).zip(out.chunks_mut(STRIPE)) {
                let (u, h) = buffer.hash(seed, keys);
                for (out, h) in out.iter_mut().zip(h) {
                    let [p, q, r] = shape.positions(h).map(|p| &part[usize::from(p)]);
                    *out = xor(&xor(out, p), &xor(q, r));
                }
                gf128::add_powers(&part[shape.sparse..], u, out);
            }
        }
        Ok(())
    })
}

/// Whether `starts` cuts that many keys into bins from `first` on, and the parts are theirs.
fn check_starts(shape: &Shape, first: usize, starts: &[usize], keys: usize, parts: usize) -> Result<(), Error> {
    let bins = starts.len().wrapping_sub(1);
    let falls = starts.windows(2).any(|pair| pair[0] > pair[1]);
    if starts.first() != Some(&0) || starts.last() != Some(&keys) || falls {
        return Err(Error::Misuse("starts must begin with 0, never fall, and end with the number of keys"));
    }
    if first > shape.bins || bins > shape.bins - first || parts != bins * shape.bin_rows() {
        return Err(Error::Misuse("the parts are not those of these bins"));
    }
    Ok(())
}

/// Adds the decoding of `keys[i]` to `out[i]`.
pub fn decode_into_vartime(
    shape: &Shape,
    keys: &[Block],
    table: &[Block],
    seed: &Block,
    out: &mut [Block],
) -> Result<(), Error> {
    if table.len() != shape.rows() || keys.len() != out.len() {
        return Err(Error::Misuse("the table or the output does not have the right length"));
    }
    for (keys, out) in keys.chunks(PASS).zip(out.chunks_mut(PASS)) {
        let split = Split::new(shape, seed, keys)?;
        let out = Scattered(out.as_mut_ptr());
        parallel::each(shape.bins, BINS, |bin| {
            let part = &table[bin * shape.bin_rows()..(bin + 1) * shape.bin_rows()];
            let mut buffer = Hashed::new();
            for indices in split.bin(bin).chunks(STRIPE) {
                let (u, h) = buffer.hash(seed, indices.iter().map(|&i| &keys[i as usize]));
                let mut sums: [Block; STRIPE] = [[0; 16]; STRIPE];
                let sums = &mut sums[..indices.len()];
                for (sum, h) in sums.iter_mut().zip(h) {
                    *sum = three(part, shape.positions(h));
                }
                gf128::add_powers(&part[shape.sparse..], u, sums);
                for (&i, sum) in indices.iter().zip(&*sums) {
                    // SAFETY: an index is below the length of `keys`, which is that of `out`, and comes once.
                    unsafe { out.add(i as usize, sum) };
                }
            }
        });
    }
    Ok(())
}

/// Keys that are decoded at a time: bounds the temporary memory to 8 bytes for each of them.
const PASS: usize = 1 << 22;

/// Blocks that several threads write to, each its own.
struct Scattered(*mut Block);

// SAFETY: `add` says what its callers have to see to.
unsafe impl Sync for Scattered {}

impl Scattered {
    /// # Safety
    /// There is a block `i`, and nobody else uses it meanwhile.
    unsafe fn add(&self, i: usize, block: &Block) {
        // SAFETY: the caller's promise.
        let out = unsafe { &mut *self.0.add(i) };
        *out = xor(out, block);
    }
}

/// What encoding a bin works on, kept from bin to bin.
#[derive(Default)]
struct Work {
    /// `u` and value of each row.
    items: Vec<[Block; 2]>,
    positions: Vec<[u16; WEIGHT]>,
    /// For each position, the rows left that have it: their number above, the exclusive or of their indices below.
    columns: Vec<u32>,
    /// Positions that had one row left when they were noted.
    lone: Vec<u16>,
    /// Rows in the order in which they were removed, with the position that each had to itself.
    removed: Vec<(u16, u16)>,
    sums: Vec<Block>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.items.as_flattened_mut().as_flattened_mut().zeroize();
        self.sums.as_flattened_mut().zeroize();
    }
}

impl Work {
    fn gather<'a>(&mut self, shape: &Shape, seed: &Block, items: impl Iterator<Item = (&'a Block, &'a Block)>) {
        self.items.clear();
        self.items.extend(items.map(|(key, value)| [xor(key, seed), *value]));
        self.positions.clear();
        let mut buffer = Hashed::new();
        for items in self.items.chunks(STRIPE) {
            let (_, h) = buffer.hash(&[0; 16], items.iter().map(|[u, _]| u));
            self.positions.extend(h.iter().map(|h| shape.positions(h)));
        }
    }

    /// Fills a bin's part of the table for what was gathered; what is free is random under `randomness`.
    fn fill(&mut self, shape: &Shape, bin: usize, randomness: &[u8; 32], part: &mut [Block]) -> Result<(), Error> {
        prg::fill(randomness, (bin * shape.bin_rows()) as u128, part.as_flattened_mut())?;
        if self.items.len() > shape.capacity || !self.solve(shape, part) {
            return Err(if self.repeats() { Error::RepeatedKey } else { Error::EncodingFailed });
        }
        Ok(())
    }

    /// Whether two keys are equal.
    fn repeats(&self) -> bool {
        let mut keys: Vec<&Block> = self.items.iter().map(|[u, _]| u).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Fills a bin's part of the table, which holds random bytes; false where its equations have no solution.
    fn solve(&mut self, shape: &Shape, part: &mut [Block]) -> bool {
        self.remove(shape);
        let (sparse, dense) = part.split_at_mut(shape.sparse);
        if self.removed.len() < self.items.len() && !self.solve_core(sparse, dense) {
            return false;
        }
        // In the order of removal, so that the loop after this one reads in sequence all but the table.
        self.sums.clear();
        let mut u: Zeroizing<[Block; STRIPE]> = Zeroizing::new([[0; 16]; STRIPE]);
        for removed in self.removed.chunks(STRIPE) {
            let first = self.sums.len();
            for (u, &(row, _)) in u.iter_mut().zip(removed) {
                let [key, value] = &self.items[usize::from(row)];
                *u = *key;
                self.sums.push(*value);
            }
            gf128::add_powers(dense, &u[..removed.len()], &mut self.sums[first..]);
        }
        for (sum, &(row, own)) in self.sums.iter().zip(&self.removed).rev() {
            let others = three(sparse, self.positions[usize::from(row)]);
            let own = &mut sparse[usize::from(own)];
            *own = xor(&xor(sum, own), &others);
        }
        true
    }

    /// Removes rows that have a position to themselves, until there is none.
    fn remove(&mut self, shape: &Shape) {
        const ONE: u32 = 1 << 16;
        self.columns.clear();
        self.columns.resize(shape.sparse, 0);
        for (row, positions) in self.positions.iter().enumerate() {
            for &p in positions {
                let column = &mut self.columns[usize::from(p)];
                *column = (*column + ONE) ^ row as u32;
            }
        }
        // Every position is noted at most once at the start and once when a removal leaves it a lone row.
        self.lone.clear();
        self.lone.resize(2 * shape.sparse + WEIGHT, 0);
        let mut noted = 0;
        for (p, column) in self.columns.iter().enumerate() {
            self.lone[noted] = p as u16;
            noted += usize::from(column >> 16 == 1);
        }
        self.removed.clear();
        while noted > 0 {
            noted -= 1;
            let own = self.lone[noted];
            let column = self.columns[usize::from(own)];
            if column >> 16 != 1 {
                continue;
            }
            let row = column as u16;
            self.removed.push((row, own));
            for &p in &self.positions[usize::from(row)] {
                let column = &mut self.columns[usize::from(p)];
                *column = (*column - ONE) ^ u32::from(row);
                self.lone[noted] = p;
                noted += usize::from(*column >> 16 == 1);
            }
        }
    }

    /// The rows that are left, with so many dense columns, and the sparse columns that they have; none where there are too many.
    fn core(&self, dense: usize) -> Option<(Vec<u16>, Vec<Equation>)> {
        let mut removed = vec![false; self.items.len()];
        for &(row, _) in &self.removed {
            removed[usize::from(row)] = true;
        }
        let rows: Vec<usize> = (0..self.items.len()).filter(|&row| !removed[row]).collect();
        if rows.len() > CORE {
            return None;
        }
        let mut columns: Vec<u16> = rows.iter().flat_map(|&row| self.positions[row]).collect();
        columns.sort_unstable();
        columns.dedup();
        let equations = rows.iter().map(|&row| {
            let mut bits = vec![0; columns.len().div_ceil(64)];
            for p in self.positions[row] {
                let i = columns.binary_search(&p).expect("every position of the core was collected");
                bits[i / 64] |= 1u64 << (i % 64);
            }
            let [u, value] = self.items[row];
            let powers = std::iter::successors(Some(u), |power| Some(gf128::multiply(power, &u)));
            Equation { bits, coefficients: powers.take(dense).collect(), value }
        });
        let equations = equations.collect();
        Some((columns, equations))
    }

    /// Solves the rows that are left for their positions and for the dense part.
    fn solve_core(&mut self, sparse: &mut [Block], dense: &mut [Block]) -> bool {
        let Some((columns, mut equations)) = self.core(dense.len()) else { return false };
        let pivots = eliminate(&mut equations, columns.len());
        let (solved, dependent) = equations.split_at_mut(pivots.len());
        if !solve_dense(dependent, dense) {
            return false;
        }
        // Each of these equations has one pivot and otherwise positions that are free, so random.
        for (equation, &pivot) in solved.iter().zip(&pivots) {
            let mut sum = xor(&equation.value, &gf128::inner(&equation.coefficients, dense));
            for (i, &p) in columns.iter().enumerate() {
                if i != pivot && equation.bits[i / 64] >> (i % 64) & 1 == 1 {
                    sum = xor(&sum, &sparse[usize::from(p)]);
                }
            }
            sparse[usize::from(columns[pivot])] = sum;
        }
        true
    }
}

/// A row of the core: ones at `bits` of its sparse columns, dense coefficients, and the value that it has to give.
struct Equation {
    bits: Vec<u64>,
    coefficients: Vec<Block>,
    value: Block,
}

impl Drop for Equation {
    fn drop(&mut self) {
        self.coefficients.as_flattened_mut().zeroize();
        self.value.zeroize();
    }
}

impl Equation {
    fn add(&mut self, other: &Equation) {
        for (a, b) in self.bits.iter_mut().zip(&other.bits) {
            *a ^= b;
        }
        for (a, b) in self.coefficients.iter_mut().zip(&other.coefficients) {
            *a = xor(a, b);
        }
        self.value = xor(&self.value, &other.value);
    }
}

/// Gauss and Jordan on the sparse columns: afterwards equation `i` alone has column `pivots[i]`, for as many as there are, and
/// the equations after them have no sparse column left.
fn eliminate(equations: &mut [Equation], columns: usize) -> Vec<usize> {
    let mut pivots = Vec::new();
    for column in 0..columns {
        let has = |equation: &Equation| equation.bits[column / 64] >> (column % 64) & 1 == 1;
        let Some(found) = (pivots.len()..equations.len()).find(|&i| has(&equations[i])) else { continue };
        equations.swap(pivots.len(), found);
        let (before, rest) = equations.split_at_mut(pivots.len());
        let (pivot, after) = rest.split_first_mut().expect("there is the equation that was found");
        for equation in before.iter_mut().chain(after).filter(|equation| has(equation)) {
            equation.add(pivot);
        }
        pivots.push(column);
    }
    pivots
}

/// Solves equations that have dense coefficients alone. Unknowns that stay free keep the random block that they hold.
fn solve_dense(equations: &mut [Equation], dense: &mut [Block]) -> bool {
    let mut pivots = Vec::new();
    for i in 0..equations.len() {
        let Some(pivot) = equations[i].coefficients.iter().position(|c| *c != [0; 16]) else { return false };
        let inverse = gf128::invert(&equations[i].coefficients[pivot]);
        scale_equation(&mut equations[i], &inverse);
        for j in 0..equations.len() {
            if j != i {
                let factor = equations[j].coefficients[pivot];
                let mut copy = Equation {
                    bits: Vec::new(),
                    coefficients: equations[i].coefficients.clone(),
                    value: equations[i].value,
                };
                scale_equation(&mut copy, &factor);
                equations[j].add(&copy);
            }
        }
        pivots.push(pivot);
    }
    for (equation, &pivot) in equations.iter().zip(&pivots) {
        // The coefficient of its own pivot is one, and those of the others' are zero.
        let sum = xor(&equation.value, &gf128::inner(&equation.coefficients, dense));
        dense[pivot] = xor(&dense[pivot], &sum);
    }
    true
}

fn scale_equation(equation: &mut Equation, factor: &Block) {
    for c in &mut equation.coefficients {
        *c = gf128::multiply(c, factor);
    }
    equation.value = gf128::multiply(&equation.value, factor);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks;

    fn some(n: usize, label: u64) -> Vec<Block> {
        let mut out = vec![[0; 16]; n];
        for (i, block) in out.iter_mut().enumerate() {
            *block = (u128::from(label) << 64 | i as u128).to_le_bytes();
        }
        blocks::permute(&mut out);
        out
    }

    fn round_trip(n: usize, label: u64) -> Result<(), Error> {
        let shape = Shape::new(n);
        let (keys, values, seed) = (some(n, label), some(n, label + 1), some(1, label + 2)[0]);
        let mut table = vec![[0; 16]; shape.rows()];
        encode_vartime(&shape, &keys, &values, &seed, &[label as u8; 32], &mut table)?;
        let mut out = vec![[0; 16]; n];
        decode_into_vartime(&shape, &keys, &table, &seed, &mut out)?;
        assert_eq!(out, values, "{n}");
        Ok(())
    }

    #[test]
    fn every_key_decodes_to_its_value() {
        for n in (0..70).chain([100, 500, 1000, 3000, BIN, BIN + BIN / 2 - 1, 2 * BIN, 5 * BIN + 3]) {
            round_trip(n, 3 * n as u64).unwrap();
        }
    }

    #[test]
    fn bins_one_by_one_make_the_same_table() {
        for n in [0, 5, 40_000] {
            let shape = Shape::new(n);
            let (keys, values, seed) = (some(n, 1), some(n, 2), some(1, 3)[0]);
            let mut table = vec![[0; 16]; shape.rows()];
            encode_vartime(&shape, &keys, &values, &seed, &[4; 32], &mut table).unwrap();
            let (mut by_bin, mut values_by_bin, mut rows) = (keys.clone(), values.clone(), vec![0; n]);
            let into = (&mut by_bin[..], &mut values_by_bin[..]);
            let starts = arrange_vartime(&shape, &seed, (&keys, &values), into, &mut rows).unwrap();
            assert!(rows.iter().zip(&by_bin).all(|(&row, key)| keys[row as usize] == *key));
            let mut out = vec![[0; 16]; n];
            for bin in 0..shape.bins {
                let (items, rows) =
                    (starts[bin]..starts[bin + 1], bin * shape.bin_rows()..(bin + 1) * shape.bin_rows());
                let (keys, values, cut) = (&by_bin[items.clone()], &values_by_bin[items.clone()], [0, items.len()]);
                let mut part = vec![[0; 16]; shape.bin_rows()];
                encode_bins_vartime(&shape, bin, &cut, (keys, values), &seed, &[4; 32], &mut part).unwrap();
                assert_eq!(part, table[rows]);
                decode_bins_vartime(&shape, bin, &cut, keys, &part, &seed, &mut out[items]).unwrap();
            }
            assert_eq!(out, values_by_bin);
            let mut other = vec![[0; 16]; shape.rows()];
            let pairs = (&by_bin[..], &values_by_bin[..]);
            encode_bins_vartime(&shape, 0, &starts, pairs, &seed, &[4; 32], &mut other).unwrap();
            assert_eq!(other, table);
            for wrong in [&starts[..starts.len() - 1], &[1, n], &[]] {
                let refused = decode_bins_vartime(&shape, 0, wrong, &by_bin, &table, &seed, &mut out);
                assert!(matches!(refused, Err(Error::Misuse(_))));
            }
        }
    }

    #[test]
    fn sizes_are_those_of_the_paper() {
        for (log, most) in [(16, 1.345), (20, 1.354), (24, 1.364)] {
            let n = 1usize << log;
            let ratio = Shape::new(n).rows() as f64 / n as f64;
            assert!((1.33..most).contains(&ratio), "{log} {ratio}");
        }
        for n in 0..5000 {
            let shape = Shape::new(n);
            assert!(shape.bins == 1 && shape.dense >= 2 && shape.sparse > WEIGHT && shape.capacity == n.max(1));
        }
        for n in (0..40).map(|i| (1.7f64.powi(i)) as usize).filter(|&n| n < 1 << 32) {
            let shape = Shape::new(n);
            assert!(shape.bin_rows() < 1 << 16 && shape.capacity * shape.bins >= n);
        }
    }

    #[test]
    fn logarithms_and_powers() {
        for x in [1.0, 1.5, 2.0, 3.7, 100.0, 16384.0, 1e9] {
            assert!((log2(x) - f64::log2(x)).abs() < 1e-11, "{x}");
        }
        for x in [0.0, 0.3, 1.0, 7.77, 30.5] {
            assert!((exp2(x) / f64::exp2(x) - 1.0).abs() < 1e-11, "{x}");
        }
    }

    #[test]
    fn a_key_that_comes_twice_is_told() {
        for n in [2, 3, 100, 40_000] {
            let shape = Shape::new(n);
            let (mut keys, mut values) = (some(n, 1), some(n, 2));
            keys[n - 1] = keys[0];
            let mut table = vec![[0; 16]; shape.rows()];
            for _ in 0..2 {
                let refused = encode_vartime(&shape, &keys, &values, &[7; 16], &[0; 32], &mut table);
                assert_eq!(refused, Err(Error::RepeatedKey));
                values[n - 1] = values[0];
            }
        }
    }

    #[test]
    fn too_many_keys_for_the_table_is_a_failure() {
        let shape = Shape::new(100);
        let (keys, values) = (some(400, 1), some(400, 2));
        let mut table = vec![[0; 16]; shape.rows()];
        let refused = encode_vartime(&shape, &keys, &values, &[7; 16], &[0; 32], &mut table);
        assert_eq!(refused, Err(Error::EncodingFailed));
    }

    /// Cores that the parameters make improbable: the table is made too short for them, and the dense part takes them.
    #[test]
    fn a_core_is_solved() {
        let mut solved = 0;
        for label in 0..300 {
            let n = 40;
            let shape = Shape { bins: 1, capacity: n, sparse: 44, dense: 12 };
            let (keys, values, seed) = (some(n, label), some(n, 1000 + label), some(1, 2000)[0]);
            let mut table = vec![[0; 16]; shape.rows()];
            let mut work = Work::default();
            work.gather(&shape, &seed, keys.iter().zip(&values));
            work.remove(&shape);
            if work.removed.len() == n {
                continue;
            }
            encode_vartime(&shape, &keys, &values, &seed, &[1; 32], &mut table).unwrap();
            let mut out = vec![[0; 16]; n];
            decode_into_vartime(&shape, &keys, &table, &seed, &mut out).unwrap();
            assert_eq!(out, values);
            solved += 1;
        }
        assert!(solved > 100, "{solved}");
    }

    /// How often rows depend on others in their sparse part. Dense columns take as many such rows as there are of them, so
    /// the last figure, extrapolated from the frequency x of one or more as x^t / t!, is how often encoding fails. Where
    /// too few were seen, x is the expected number of pairs of rows with the same three positions, which cause nearly all.
    /// `cargo test --release --no-default-features how_often -- --ignored --nocapture` prints the table of decision 0010.
    #[test]
    #[ignore = "takes a minute, and prints what decision 0010 says"]
    fn how_often_rows_depend_on_others() {
        for n in [2, 3, 4, 6, 8, 12, 16, 24, 32, 50, 100, 200, 350, 500, 1000, 2000, 4000, BIN] {
            let trials = (8_000_000 / (n + 40)).clamp(500, 100_000);
            let shape = Shape::new(n);
            let mut counts = [0usize; 8];
            let mut work = Work::default();
            for trial in 0..trials {
                let keys = some(n, trial as u64 + 1);
                work.gather(&shape, &[3; 16], keys.iter().map(|key| (key, &[0; 16])));
                work.remove(&shape);
                let dependent = work.core(0).map_or(counts.len(), |(columns, mut equations)| {
                    equations.len() - eliminate(&mut equations, columns.len()).len()
                });
                counts[dependent.min(counts.len() - 1)] += 1;
            }
            let [pairs, m] = [n as f64 * (n - 1) as f64 / 2.0, shape.sparse as f64];
            let expected = pairs / (m * (m - 1.0) * (m - 2.0) / 6.0);
            let x = ((trials - counts[0]) as f64 / trials as f64).max(expected);
            let failure: f64 = (1..=shape.dense + 1).map(|t| (x / t as f64).log2()).sum();
            println!(
                "{n:6} sparse {:6} dense {:2} of {trials:8}: {counts:?} x {x:.1e} failure 2^{failure:.1}",
                shape.sparse, shape.dense
            );
            assert_eq!(counts[shape.dense.min(7)..].iter().skip(1).sum::<usize>(), 0);
        }
    }
}
