//! From bytes to points: the simplified map of Shallue, van de Woestijne and Ulas (RFC 9380, section 6.6.2).

use sha2::digest::{Digest, OutputSizeUser, consts::U32};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::field::Fe;
use super::point::{Affine, B, COMPRESSED, Point, curve};
use crate::packed::Packed;
use crate::parallel::{self, GROUP};

/// The suite's Z is -9, the first value that the algorithm of RFC 9380, appendix H.2, finds for this curve.
const NINE: Fe = Fe::new([9, 0, 0, 0]);
/// A square root of -Z.
const THREE: Fe = Fe::new([3, 0, 0, 0]);

/// The point of 96 uniform bytes: two elements of the field, each mapped to the curve, and the sum.
pub(super) fn from_uniform(bytes: &[u8; 96]) -> Point {
    let (first, second) = bytes.split_at(48);
    let [u0, u1] = [first, second].map(|half| Fe::from_uniform(half.try_into().expect("48 bytes")));
    map_to_curve(u0) + map_to_curve(u1)
}

/// `map_to_curve_simple_swu`, with the fraction x = n / d left as it is: the straight-line text of appendix F.2.
pub(super) fn map_to_curve(u: Fe) -> Point {
    let zu2 = -(NINE * u.square());
    let sum = zu2.square() + zu2;
    // x1 = -b / a (1 + 1 / sum), or b / (Z a) where the sum is zero; a = -3.
    let n1 = B * (sum + Fe::ONE);
    let d = Fe::conditional_select(&sum, &NINE, sum.is_zero()).triple();
    // g(x1) = (n^3 + a n d^2 + b d^3) / d^3
    let d2 = d.square();
    let d3 = d2 * d;
    let numerator = (n1.square() - d2.triple()) * n1 + B * d3;
    let (root, is_square) = sqrt_ratio(numerator, d3);
    // Where g(x1) is no square, x2 = Z u^2 x1, and y2 = Z u^3 sqrt(Z g(x1)).
    let n = Fe::conditional_select(&(zu2 * n1), &n1, is_square);
    let y = Fe::conditional_select(&(zu2 * u * root), &root, is_square);
    let y = y.negate_if(u.is_odd() ^ y.is_odd());
    Point { x: n, y: y * d, z: d }
}

/// The root of u / v, or of Z u / v where u / v is not a square, and which it is (appendix F.2.1.2). v is not zero.
fn sqrt_ratio(u: Fe, v: Fe) -> (Fe, Choice) {
    let uv = u * v;
    let root = (v.square() * uv).pow_p34() * uv;
    let is_square = (root.square() * v).ct_eq(&u);
    (Fe::conditional_select(&(root * THREE), &root, is_square), is_square)
}

/// Hashes every string until the digest, modulo p, is the x of a point, and takes that point's even y: `out` is
/// `(n, element)`.
///
/// The map of other libraries for private set intersection, for work together with them. How often a string is hashed
/// shows in the time that it takes, so that whoever can measure it learns something of the string.
pub fn try_and_rehash_vartime<H: Digest + OutputSizeUser<OutputSize = U32>>(items: Packed<'_>, out: &mut [u8]) {
    let filled = parallel::fill_rows(out, COMPRESSED, GROUP, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(COMPRESSED).enumerate() {
            let mut digest = H::digest(items.get(first + i));
            let point = loop {
                let mut wide = [0; 48];
                wide[16..].copy_from_slice(&digest);
                let x = Fe::from_uniform(&wide);
                let (y, exists) = curve(x).sqrt();
                if bool::from(exists) {
                    break Affine { x, y: y.negate_if(y.is_odd()) };
                }
                digest = H::digest(digest);
            };
            point.encode(row);
        }
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(()) = filled;
}
