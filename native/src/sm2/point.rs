//! Points of SM2's curve y^2 = x^3 - 3x + b, whose group has prime order, and multiplication of one point.
//!
//! The formulas are complete: no pair of points is an exception (Renes, Costello, Batina 2016, algorithms 4 to 6).

use std::ops::{Add, Neg};
use std::sync::OnceLock;

use subtle::{Choice, ConditionallySelectable};
use zeroize::{DefaultIsZeroes, Zeroizing};

use super::digits::{self, Digits, ENTRIES, WIDTH};
use super::field::{self, Fe};
use super::scalar::Scalar;

/// Bytes of a compressed point (SEC 1, section 2.3.3): 2 or 3 as y is even or odd, and x.
pub(super) const COMPRESSED: usize = 33;

/// The coefficient b of the curve.
pub(super) const B: Fe =
    Fe::new([0xddbc_bd41_4d94_0e93, 0xf397_89f5_15ab_8f92, 0x4d5a_9e4b_cf65_09a7, 0x28e9_fa9e_9d9f_5e34]);

/// The generator G.
pub(super) const GENERATOR: Affine = Affine {
    x: Fe::new([0x715a_4589_334c_74c7, 0x8fe3_0bbf_f266_0be1, 0x5f99_0446_6a39_c994, 0x32c4_ae2c_1f19_8119]),
    y: Fe::new([0x02df_32e5_2139_f0a0, 0xd0a9_877c_c62a_4740, 0x59bd_cee3_6b69_2153, 0xbc37_36a2_f4f6_779c]),
};

/// A point that is not the identity, by its coordinates.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub(super) struct Affine {
    pub x: Fe,
    pub y: Fe,
}

impl DefaultIsZeroes for Affine {}

/// `x^3 - 3x + b`.
pub(super) fn curve(x: Fe) -> Fe {
    x.square() * x - x.triple() + B
}

impl Affine {
    /// The point of a compressed encoding; none where x is not below p, or no point has it, or the first byte is wrong.
    pub fn decode(bytes: &[u8]) -> Option<Affine> {
        let (&tag, x) = bytes.split_first()?;
        let x = Fe::from_bytes(x.try_into().ok()?)?;
        let (y, exists) = curve(x).sqrt();
        // What a peer sends is refused or not in the open. No point has y = 0, since the order is odd.
        if tag & 0xfe != 2 || !bool::from(exists) {
            return None;
        }
        Some(Affine { x, y: y.negate_if(y.is_odd() ^ Choice::from(tag & 1)) })
    }

    /// The compressed encoding.
    pub fn encode(&self, out: &mut [u8]) {
        out[0] = 2 | self.y.is_odd().unwrap_u8();
        self.x.write((&mut out[1..]).try_into().expect("33 bytes"));
    }

    #[inline(always)]
    pub fn negate_if(&self, condition: Choice) -> Affine {
        Affine { x: self.x, y: self.y.negate_if(condition) }
    }
}

impl Neg for Affine {
    type Output = Affine;

    fn neg(self) -> Affine {
        Affine { x: self.x, y: -self.y }
    }
}

impl ConditionallySelectable for Affine {
    #[inline(always)]
    fn conditional_select(a: &Affine, b: &Affine, choice: Choice) -> Affine {
        Affine { x: Fe::conditional_select(&a.x, &b.x, choice), y: Fe::conditional_select(&a.y, &b.y, choice) }
    }
}

/// A point in homogeneous coordinates: (x / z, y / z), or the identity where z is zero.
#[derive(Clone, Copy, Default)]
pub struct Point {
    pub(super) x: Fe,
    pub(super) y: Fe,
    pub(super) z: Fe,
}

impl DefaultIsZeroes for Point {}

impl From<Affine> for Point {
    fn from(point: Affine) -> Point {
        Point { x: point.x, y: point.y, z: Fe::ONE }
    }
}

impl Point {
    pub(super) const IDENTITY: Point = Point { x: Fe::ZERO, y: Fe::ONE, z: Fe::ZERO };

    pub(super) fn is_identity(&self) -> Choice {
        self.z.is_zero()
    }

    pub(super) fn double(&self) -> Point {
        let [xx, yy, zz] = [self.x, self.y, self.z].map(|c| c.square());
        let [xy, xz, yz] = [self.x * self.y, self.x * self.z, self.y * self.z].map(|c| c.double());
        let b_zz = (B * zz - xz).triple();
        let b_xz = (B * xz - (zz.triple() + xx)).triple();
        let [minus, plus] = [yy - b_zz, yy + b_zz];
        let slope = (xx - zz).triple();
        Point { x: minus * xy - b_xz * yz, y: plus * minus + slope * b_xz, z: (yz * yy).double().double() }
    }

    /// The sum's last steps, which are the same for a second point with z = 1.
    #[inline(always)]
    fn sum(xx: Fe, yy: Fe, zz: Fe, xy: Fe, xz: Fe, yz: Fe) -> Point {
        let b_zz = (xz - B * zz).triple();
        let b_xz = (B * xz - (zz.triple() + xx)).triple();
        let [minus, plus] = [yy - b_zz, yy + b_zz];
        let slope = (xx - zz).triple();
        Point { x: plus * xy - yz * b_xz, y: plus * minus + slope * b_xz, z: minus * yz + xy * slope }
    }

    /// The sum with a point that is not the identity.
    pub(super) fn add_affine(&self, other: &Affine) -> Point {
        let [xx, yy] = [self.x * other.x, self.y * other.y];
        let xy = (self.x + self.y) * (other.x + other.y) - (xx + yy);
        let [xz, yz] = [other.x * self.z + self.x, other.y * self.z + self.y];
        Point::sum(xx, yy, self.z, xy, xz, yz)
    }

    /// `scalar * self` for a scalar of `count` digits.
    pub(super) fn mul(&self, digits: &Digits, count: usize) -> Point {
        let mut table = Zeroizing::new([*self; ENTRIES]);
        let twice = self.double();
        for i in 1..ENTRIES {
            table[i] = table[i - 1] + twice;
        }
        let mut product = Zeroizing::new(digits::select(&table, digits.at(count - 1)));
        for i in (0..count - 1).rev() {
            for _ in 0..WIDTH {
                *product = product.double();
            }
            *product = *product + digits::select(&table, digits.at(i));
        }
        Point::conditional_select(&product, &-*product, digits.negated())
    }

    /// `scalar * G`, by a table of the generator's multiples.
    pub(super) fn mul_base(digits: &Digits) -> Point {
        let mut product = Zeroizing::new(Point::IDENTITY);
        for (i, row) in base_table().iter().enumerate() {
            *product = product.add_affine(&digits::select(row, digits.at(i)));
        }
        Point::conditional_select(&product, &-*product, digits.negated())
    }
}

impl Add for Point {
    type Output = Point;

    fn add(self, other: Point) -> Point {
        let [xx, yy, zz] = [self.x * other.x, self.y * other.y, self.z * other.z];
        let xy = (self.x + self.y) * (other.x + other.y) - (xx + yy);
        let yz = (self.y + self.z) * (other.y + other.z) - (yy + zz);
        let xz = (self.x + self.z) * (other.x + other.z) - (xx + zz);
        Point::sum(xx, yy, zz, xy, xz, yz)
    }
}

impl Neg for Point {
    type Output = Point;

    fn neg(self) -> Point {
        Point { y: -self.y, ..self }
    }
}

impl ConditionallySelectable for Point {
    #[inline(always)]
    fn conditional_select(a: &Point, b: &Point, choice: Choice) -> Point {
        Point {
            x: Fe::conditional_select(&a.x, &b.x, choice),
            y: Fe::conditional_select(&a.y, &b.y, choice),
            z: Fe::conditional_select(&a.z, &b.z, choice),
        }
    }
}

/// The points by their coordinates, with one inversion for all. The identity becomes (0, 0), which is not on the curve.
pub(super) fn normalize(points: &[Point]) -> Vec<Affine> {
    let mut inverses = Zeroizing::new(points.iter().map(|point| point.z).collect::<Vec<_>>());
    field::invert_all(&mut inverses);
    let pairs = points.iter().zip(inverses.iter());
    pairs.map(|(point, inverse)| Affine { x: point.x * *inverse, y: point.y * *inverse }).collect()
}

/// The encodings of points, one after the other. The identity, which has none, becomes zeros.
pub(super) fn encode_all(points: &[Point], out: &mut [u8]) {
    let affine = Zeroizing::new(normalize(points));
    for ((point, row), affine) in points.iter().zip(out.chunks_exact_mut(COMPRESSED)).zip(affine.iter()) {
        affine.encode(row);
        row[0] = u8::conditional_select(&row[0], &0, point.is_identity());
    }
}

/// Row i: the odd multiples G, 3 G, 5 G, … of 2^(5 i) G, as a digit chooses among them.
pub(super) fn base_table() -> &'static [[Affine; ENTRIES]] {
    static TABLE: OnceLock<Vec<[Affine; ENTRIES]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut points = Vec::with_capacity(Digits::COUNT * ENTRIES);
        let mut power = Point::from(GENERATOR);
        for _ in 0..Digits::COUNT {
            let twice = power.double();
            let mut multiple = power;
            for _ in 0..ENTRIES {
                points.push(multiple);
                multiple = multiple + twice;
            }
            power = (0..WIDTH).fold(power, |power, _| power.double());
        }
        normalize(&points).as_chunks().0.to_vec()
    })
}

/// The sum of `scalars[i] * points[i]`, by buckets (Pippenger): for public data only.
pub(super) fn combine_vartime(scalars: &[Scalar], points: &[Point]) -> Point {
    let width = match scalars.len() {
        0..32 => 4,
        count => count.ilog2() as usize - 2,
    };
    let affine = normalize(points);
    let numbers: Vec<_> = scalars.iter().map(Scalar::number).collect();
    let mut total = Point::IDENTITY;
    for first in (0..256usize.div_ceil(width)).rev().map(|window| window * width) {
        total = (0..width).fold(total, |total, _| total.double());
        // Bucket d - 1 gathers the points that the digit d multiplies.
        let mut buckets = vec![Point::IDENTITY; (1 << width) - 1];
        for (i, number) in numbers.iter().enumerate() {
            let digit = digits::bits(number, first, width) as usize;
            if digit > 0 && !bool::from(points[i].is_identity()) {
                buckets[digit - 1] = buckets[digit - 1].add_affine(&affine[i]);
            }
        }
        let mut above = Point::IDENTITY;
        for bucket in buckets.iter().rev() {
            above = above + *bucket;
            total = total + above;
        }
    }
    total
}
