//! Puncturable pseudorandom functions as trees of seeds [GGM 1986; Boyle et al. 2019]: many trees at once, all of one size.
//!
//! A tree has `leaves` leaves. A node's children are `F(0, node)` and `F(1, node)` for the fixed-key function
//! `F(b, x) = AES(k_b, x) ⊕ x`, whose two keys are hashes of a public salt of the session, so that work done before a
//! session tells nothing about its trees. Level l has `ceil(leaves / 2^(depth - l))` nodes; a last parent may have one child.
//!
//! Whoever holds a seed expands the whole tree, and learns for each level the sum (exclusive or) of all left children and
//! of all right children. Whoever knows, for each level, the sum on the side that the path to its point does *not* take,
//! expands all but the path. Where the point is stays hidden: every node is touched alike, whatever the point.

use sha2::{Digest, Sha256};

use crate::Error;
use crate::blocks::Block;
use crate::parallel::{self, TREE};
#[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
use crate::prg::vaes::RoundKeys;

/// Largest number of leaves of one tree: points are 32-bit numbers.
const MAX_LEAVES: usize = 1 << 24;

/// The shape of a tree.
#[derive(Clone, Copy)]
pub struct Shape {
    leaves: usize,
    depth: usize,
}

impl Shape {
    /// A tree of 2 to 2^24 leaves.
    pub fn new(leaves: usize) -> Result<Self, Error> {
        if !(2..=MAX_LEAVES).contains(&leaves) {
            return Err(Error::Misuse("a tree has 2 to 2^24 leaves"));
        }
        Ok(Self { leaves, depth: (leaves - 1).ilog2() as usize + 1 })
    }

    /// Levels below the root: as many as the bits of a point.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Nodes of level `level`, from 0 for the root.
    fn nodes(&self, level: usize) -> usize {
        self.leaves.div_ceil(1 << (self.depth - level))
    }
}

/// Expands whole trees: `leaves` gets `shape.leaves` per seed, and `sums` per seed and level the left and the right sum.
pub fn expand(
    salt: &[u8; 16],
    seeds: &[Block],
    shape: Shape,
    leaves: &mut [Block],
    sums: &mut [Block],
) -> Result<(), Error> {
    let width = 2 * shape.depth;
    if leaves.len() != seeds.len() * shape.leaves || sums.len() != seeds.len() * width {
        return Err(Error::Misuse("leaves and sums must have room for every tree"));
    }
    let function = Function::new(salt)?;
    parallel::fill_two((leaves, shape.leaves), (sums, width), TREE, |first, leaves, sums| {
        let trees = leaves.chunks_exact_mut(shape.leaves).zip(sums.chunks_exact_mut(width));
        for ((tree, sums), seed) in trees.zip(&seeds[first..]) {
            tree[0] = *seed;
            for (level, sum) in (1..=shape.depth).zip(sums.as_chunks_mut::<2>().0) {
                *sum = function.level(&mut tree[..shape.nodes(level)]);
            }
        }
    });
    Ok(())
}

/// Expands all but the path to each tree's point. `keys` has, per tree and level, the sum of the side that the path does
/// not take. The leaf at the point becomes `finals` of the tree plus the sum of all other leaves.
pub fn expand_punctured(
    salt: &[u8; 16],
    points: &[u32],
    keys: &[Block],
    finals: &[Block],
    shape: Shape,
    leaves: &mut [Block],
) -> Result<(), Error> {
    let trees = points.len();
    if keys.len() != trees * shape.depth || finals.len() != trees || leaves.len() != trees * shape.leaves {
        return Err(Error::Misuse("there must be keys, a final value and leaves for every point"));
    }
    check_points(points, shape.leaves)?;
    let function = Function::new(salt)?;
    let of_zero = function.of_zero();
    parallel::fill_rows(leaves, shape.leaves, TREE, |first, leaves| {
        for (i, tree) in (first..).zip(leaves.chunks_exact_mut(shape.leaves)) {
            let (point, keys) = (points[i] as usize, &keys[i * shape.depth..(i + 1) * shape.depth]);
            tree[0] = [0; 16];
            for (level, key) in (1..=shape.depth).zip(keys) {
                // Nodes on the path are zero. What their parents gave is taken out of the sums, and its place filled.
                let side = (point >> (shape.depth - level)) & 1;
                let [left, right] = function.level(&mut tree[..shape.nodes(level)]);
                let [left, right] = [xor(&left, &of_zero[0]), xor(&right, &of_zero[1])];
                let [on_path, off_path] = select(side, [&left, &right]);
                let sibling = xor(key, &off_path);
                let at_point = if level < shape.depth { [0; 16] } else { xor(&finals[i], &xor(&on_path, key)) };
                let pair = select(side, [&at_point, &sibling]);
                let parent = point >> (shape.depth - level + 1);
                set_pair(&mut tree[..shape.nodes(level)], parent, &pair);
            }
        }
        Ok::<(), Error>(())
    })
}

/// Adds each value at its point: to one of the `leaves` elements that its tree has in `out`.
pub fn add_at(points: &[u32], values: &[Block], leaves: usize, out: &mut [Block]) -> Result<(), Error> {
    if values.len() != points.len() || out.len() != points.len() * leaves {
        return Err(Error::Misuse("there must be a value and the leaves of a tree for every point"));
    }
    check_points(points, leaves)?;
    parallel::fill_rows(out, leaves, TREE, |first, out| {
        for (i, row) in (first..).zip(out.chunks_exact_mut(leaves)) {
            let value = u128::from_le_bytes(values[i]);
            for (j, out) in row.iter_mut().enumerate() {
                *out = (u128::from_le_bytes(*out) ^ (mask(j as u32, points[i]) & value)).to_le_bytes();
            }
        }
        Ok(())
    })
}

fn check_points(points: &[u32], leaves: usize) -> Result<(), Error> {
    // All are looked at, whichever is wrong.
    match points.iter().fold(false, |wrong, &point| wrong | (point as usize >= leaves)) {
        true => Err(Error::Misuse("a point is not the number of a leaf")),
        false => Ok(()),
    }
}

fn xor(a: &Block, b: &Block) -> Block {
    (u128::from_le_bytes(*a) ^ u128::from_le_bytes(*b)).to_le_bytes()
}

/// All ones where the numbers are equal, else zero.
#[inline(always)]
fn mask(a: u32, b: u32) -> u128 {
    // The difference is not zero just where it or its negative has the top bit set.
    let difference = a ^ b;
    let unequal = (difference | difference.wrapping_neg()) >> 31;
    u128::from(unequal).wrapping_sub(1)
}

/// The pair as it is for side 0, swapped for side 1.
fn select(side: usize, [a, b]: [&Block; 2]) -> [Block; 2] {
    let (a, b) = (u128::from_le_bytes(*a), u128::from_le_bytes(*b));
    let swap = (a ^ b) & 0u128.wrapping_sub(side as u128);
    [(a ^ swap).to_le_bytes(), (b ^ swap).to_le_bytes()]
}

/// Writes the children of node `parent`, touching all nodes of their level.
fn set_pair(level: &mut [Block], parent: usize, pair: &[Block; 2]) {
    let [left, right] = pair.map(u128::from_le_bytes);
    for (i, children) in level.chunks_mut(2).enumerate() {
        let here = mask(i as u32, parent as u32);
        for (child, new) in children.iter_mut().zip([left, right]) {
            *child = ((u128::from_le_bytes(*child) & !here) | (new & here)).to_le_bytes();
        }
    }
}

/// The function of one salt: both keys' schedules.
enum Function {
    #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
    Vector(Box<[RoundKeys<11>; 2]>),
    Portable(Box<portable::Keys>),
}

impl Function {
    fn new(salt: &[u8; 16]) -> Result<Self, Error> {
        let digest = Sha256::new().chain_update(b"unseen pprf v1").chain_update(salt).finalize();
        let (keys, _) = digest.as_chunks::<16>();
        #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
        if let (Some(left), Some(right)) = (RoundKeys::<11>::new(&keys[0]), RoundKeys::<11>::new(&keys[1])) {
            return Ok(Self::Vector(Box::new([left, right])));
        }
        Ok(Self::Portable(Box::new(portable::Keys::new(&keys[0], &keys[1]))))
    }

    /// Replaces the level's parents, which stand at its beginning, by their children; returns the sums of each side.
    fn level(&self, nodes: &mut [Block]) -> [Block; 2] {
        match self {
            #[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
            // SAFETY: keys of this type exist, so the processor has what the function is compiled for.
            Self::Vector(keys) => unsafe { vector::level(keys[0].as_array(), keys[1].as_array(), nodes) },
            Self::Portable(keys) => keys.level(nodes),
        }
    }

    /// Both children of the node zero.
    fn of_zero(&self) -> [Block; 2] {
        let mut nodes = [[0; 16]; 2];
        self.level(&mut nodes);
        nodes
    }
}

mod portable {
    use aes::Aes128Enc;
    use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

    use super::{Block, xor};

    pub(super) struct Keys([Aes128Enc; 2]);

    impl Keys {
        pub(super) fn new(left: &Block, right: &Block) -> Self {
            Self([left, right].map(|key| Aes128Enc::new(key.into())))
        }

        pub(super) fn level(&self, nodes: &mut [Block]) -> [Block; 2] {
            const BATCH: usize = 16;
            let mut sums = [[0; 16]; 2];
            // From the last parents to the first, so that children never overwrite a parent that is still to come.
            let mut end = nodes.len().div_ceil(2);
            while end > 0 {
                let start = (end - 1) / BATCH * BATCH;
                let mut parents = [[0; 16]; BATCH];
                parents[..end - start].copy_from_slice(&nodes[start..end]);
                for (side, cipher) in self.0.iter().enumerate() {
                    let mut children = parents.map(Array::from);
                    cipher.encrypt_blocks(&mut children);
                    for (i, (parent, child)) in parents[..end - start].iter().zip(&children).enumerate() {
                        if let Some(node) = nodes.get_mut(2 * (start + i) + side) {
                            *node = xor(parent, &child.0);
                            sums[side] = xor(&sums[side], node);
                        }
                    }
                }
                end = start;
            }
            sums
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(aes_backend = "soft")))]
mod vector {
    use core::arch::x86_64::*;

    use super::Block;

    /// Parents taken at once: four registers of two, so eight in flight with both keys.
    const BATCH: usize = 8;

    #[target_feature(enable = "vaes,aes,avx2")]
    pub(super) fn level(left: &[__m256i; 11], right: &[__m256i; 11], nodes: &mut [Block]) -> [Block; 2] {
        let mut sums = [_mm256_setzero_si256(); 2];
        // From the last parents to the first, so that children never overwrite a parent that is still to come.
        let parents = nodes.len().div_ceil(2);
        let whole = nodes.len() / (2 * BATCH) * BATCH;
        if whole < parents {
            // The last batch goes through a copy. A child beyond the level's end is cut off, and is in no sum.
            let mut space = [[0; 16]; 2 * BATCH];
            space[..parents - whole].copy_from_slice(&nodes[whole..parents]);
            children(left, right, &mut space, 0);
            let rest = &mut nodes[2 * whole..];
            for (i, (node, child)) in rest.iter_mut().zip(&space).enumerate() {
                *node = *child;
                sums[i % 2] = _mm256_xor_si256(sums[i % 2], low(child));
            }
        }
        for start in (0..whole).step_by(BATCH).rev() {
            let [of_left, of_right] = children(left, right, nodes, start);
            sums = [_mm256_xor_si256(sums[0], of_left), _mm256_xor_si256(sums[1], of_right)];
        }
        let mut out = [[0; 16]; 2];
        for (sum, out) in sums.iter().zip(&mut out) {
            let sum = _mm_xor_si128(_mm256_castsi256_si128(*sum), _mm256_extracti128_si256::<1>(*sum));
            // SAFETY: `out` is 16 bytes, and the store needs no alignment.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sum) };
        }
        out
    }

    #[target_feature(enable = "avx2")]
    fn low(block: &Block) -> __m256i {
        // SAFETY: the block is 16 bytes, and the load needs no alignment.
        _mm256_zextsi128_si256(unsafe { _mm_loadu_si128(block.as_ptr().cast()) })
    }

    /// The children of parents `start` to `start + 8`, written to `2 start` and on; returns the sums of each side.
    #[inline]
    #[target_feature(enable = "vaes,aes,avx2")]
    fn children(left: &[__m256i; 11], right: &[__m256i; 11], nodes: &mut [Block], start: usize) -> [__m256i; 2] {
        let parents: &[[u8; 32]] = nodes[start..start + BATCH].as_flattened().as_chunks().0;
        let mut plain = [_mm256_setzero_si256(); BATCH / 2];
        for (plain, parents) in plain.iter_mut().zip(parents) {
            // SAFETY: 32 bytes are there, and the load needs no alignment.
            *plain = unsafe { _mm256_loadu_si256(parents.as_ptr().cast()) };
        }
        // Loops rather than `map`: a closure that is not inlined would lose the features of this function.
        let (mut lefts, mut rights) = (plain, plain);
        for (l, r) in lefts.iter_mut().zip(&mut rights) {
            (*l, *r) = (_mm256_xor_si256(*l, left[0]), _mm256_xor_si256(*r, right[0]));
        }
        for (left, right) in left[1..10].iter().zip(&right[1..10]) {
            for (l, r) in lefts.iter_mut().zip(&mut rights) {
                (*l, *r) = (_mm256_aesenc_epi128(*l, *left), _mm256_aesenc_epi128(*r, *right));
            }
        }
        let mut sums = [_mm256_setzero_si256(); 2];
        let (places, _) = nodes[2 * start..2 * (start + BATCH)].as_flattened_mut().as_chunks_mut::<64>();
        for (((x, l), r), place) in plain.iter().zip(lefts).zip(rights).zip(places) {
            let l = _mm256_xor_si256(_mm256_aesenclast_epi128(l, left[10]), *x);
            let r = _mm256_xor_si256(_mm256_aesenclast_epi128(r, right[10]), *x);
            sums = [_mm256_xor_si256(sums[0], l), _mm256_xor_si256(sums[1], r)];
            let both = [_mm256_permute2x128_si256::<0x20>(l, r), _mm256_permute2x128_si256::<0x31>(l, r)];
            for (both, place) in both.into_iter().zip(place.as_chunks_mut::<32>().0) {
                // SAFETY: 32 bytes are there, and the store needs no alignment.
                unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), both) };
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 16] = *b"any public bytes";
    const SIZES: [usize; 12] = [2, 3, 4, 5, 7, 8, 31, 33, 64, 100, 448, 1000];

    fn blocks(n: usize, counter: u128) -> Vec<Block> {
        let mut bytes = vec![0; 16 * n];
        crate::prg::fill(&[5; 16], counter, &mut bytes).unwrap();
        bytes.as_chunks().0.to_vec()
    }

    fn sum<'a>(blocks: impl Iterator<Item = &'a Block>) -> Block {
        blocks.fold([0; 16], |sum, block| xor(&sum, block))
    }

    #[test]
    fn a_punctured_tree_is_the_tree_but_for_one_leaf() {
        for leaves in SIZES {
            let shape = Shape::new(leaves).unwrap();
            let trees = if leaves < 100 { leaves } else { 7 };
            let (seeds, finals) = (blocks(trees, 0), blocks(trees, 1 << 64));
            let points: Vec<u32> = (0..trees).map(|i| (i * 37 % leaves) as u32).collect();
            let mut full = vec![[0; 16]; trees * leaves];
            let mut sums = vec![[0; 16]; trees * shape.depth * 2];
            expand(&SALT, &seeds, shape, &mut full, &mut sums).unwrap();
            let keys: Vec<Block> = (0..trees * shape.depth)
                .map(|i| {
                    let (tree, level) = (i / shape.depth, i % shape.depth);
                    let side = (points[tree] >> (shape.depth - 1 - level)) & 1;
                    sums[2 * i + 1 - side as usize]
                })
                .collect();
            let mut known = vec![[0; 16]; trees * leaves];
            expand_punctured(&SALT, &points, &keys, &finals, shape, &mut known).unwrap();
            for (i, (full, known)) in full.chunks(leaves).zip(known.chunks(leaves)).enumerate() {
                let point = points[i] as usize;
                for j in 0..leaves {
                    let others = sum(full.iter().enumerate().filter(|(j, _)| *j != point).map(|(_, leaf)| leaf));
                    let expected = if j == point { xor(&finals[i], &others) } else { full[j] };
                    assert_eq!(known[j], expected, "{leaves} {i} {j}");
                }
                let [left, right] = [0, 1].map(|side| sum(full.iter().skip(side).step_by(2)));
                assert_eq!(sums[2 * shape.depth * (i + 1) - 2..2 * shape.depth * (i + 1)], [left, right]);
            }
        }
    }

    #[test]
    fn the_paths_agree() {
        let digest = Sha256::new().chain_update(b"unseen pprf v1").chain_update(SALT).finalize();
        let keys = digest.as_chunks::<16>().0;
        let portable = portable::Keys::new(&keys[0], &keys[1]);
        let function = Function::new(&SALT).unwrap();
        for n in 1..100 {
            let (mut a, mut b) = (blocks(n, 7), blocks(n, 7));
            assert_eq!(function.level(&mut a), portable.level(&mut b));
            assert_eq!(a, b);
        }
    }

    #[test]
    fn values_are_added_at_their_points() {
        for leaves in SIZES {
            let points: Vec<u32> = (0..9).map(|i| (i * 31 % leaves) as u32).collect();
            let (values, before) = (blocks(9, 3), blocks(9 * leaves, 99));
            let mut out = before.clone();
            add_at(&points, &values, leaves, &mut out).unwrap();
            for (i, (out, before)) in out.iter().zip(&before).enumerate() {
                let there = points[i / leaves] as usize == i % leaves;
                assert_eq!(*out, if there { xor(before, &values[i / leaves]) } else { *before });
            }
        }
    }

    #[test]
    fn wrong_shapes_are_refused() {
        assert!(Shape::new(1).is_err() && Shape::new(0).is_err() && Shape::new(MAX_LEAVES + 1).is_err());
        let shape = Shape::new(4).unwrap();
        let one = [[0; 16]];
        assert!(expand(&SALT, &one, shape, &mut [[0; 16]; 5], &mut [[0; 16]; 4]).is_err());
        assert!(expand(&SALT, &one, shape, &mut [[0; 16]; 4], &mut [[0; 16]; 3]).is_err());
        assert!(expand_punctured(&SALT, &[4], &[[0; 16]; 2], &one, shape, &mut [[0; 16]; 4]).is_err());
        assert!(expand_punctured(&SALT, &[3], &[[0; 16]; 1], &one, shape, &mut [[0; 16]; 4]).is_err());
        assert!(add_at(&[4], &one, 4, &mut [[0; 16]; 4]).is_err());
        assert!(add_at(&[3], &one, 4, &mut [[0; 16]; 5]).is_err());
    }

    #[test]
    #[ignore = "prints timings"]
    fn speed() {
        let shape = Shape::new(7168).unwrap();
        let seeds = blocks(400, 0);
        let mut leaves = vec![[1; 16]; 400 * 7168];
        let mut sums = vec![[0; 16]; 400 * 2 * shape.depth];
        let points = vec![77; 400];
        for _ in 0..3 {
            let start = std::time::Instant::now();
            expand(&SALT, &seeds, shape, &mut leaves, &mut sums).unwrap();
            println!("expand {:?}", start.elapsed());
            let start = std::time::Instant::now();
            expand_punctured(&SALT, &points, &sums[..400 * shape.depth], &seeds, shape, &mut leaves).unwrap();
            println!("punctured {:?}", start.elapsed());
        }
    }
}
