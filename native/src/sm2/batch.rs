//! Products of many points at once, in affine coordinates.
//!
//! All points of a batch walk in step, so that each step needs one inversion for the whole batch (Montgomery's trick): an
//! addition then takes six multiplications and a doubling seven, less than in any projective coordinates, and the
//! results need no further inversion to be encoded.
//!
//! Chords and tangents have exceptions. With digits that are never zero (see [`super::digits`]) and points of prime order
//! one comes up only for scalars within 2^73 of a multiple of the order, or for the identity, so never by chance. Then a
//! denominator of the batch is zero, hence the product of all of them, and the batch is refused: the caller takes the
//! complete formulas.

use zeroize::{DefaultIsZeroes, Zeroizing};

use super::digits::{self, Digits, ENTRIES, WIDTH};
use super::field::Fe;
use super::point::{Affine, base_table};

/// From how many points on the walk in step is worth its inversions.
pub(super) const WORTH: usize = 128;

/// A batch went through a point that affine coordinates do not have.
pub(super) struct Exception;

/// A point on its way, and the one that is added to it.
#[derive(Clone, Copy, Default)]
struct Step {
    sum: Affine,
    other: Affine,
}

impl DefaultIsZeroes for Step {}

/// A batch on its way.
struct Walk {
    steps: Zeroizing<Vec<Step>>,
    products: Zeroizing<Vec<Fe>>,
}

/// Running products that do not wait for each other.
const LANES: usize = 4;

impl Walk {
    fn new(points: impl Iterator<Item = Affine>) -> Walk {
        let steps = Zeroizing::new(points.map(|sum| Step { sum, other: Affine::default() }).collect::<Vec<_>>());
        let products = Zeroizing::new(vec![Fe::ZERO; steps.len()]);
        Walk { steps, products }
    }

    /// Gives each step the inverse of its denominator.
    #[inline(always)]
    fn with_inverses(
        &mut self,
        denominator: impl Fn(&Step) -> Fe,
        apply: impl Fn(&mut Step, Fe),
    ) -> Result<(), Exception> {
        let mut lanes = Zeroizing::new([Fe::ONE; LANES]);
        for (i, (step, product)) in self.steps.iter().zip(self.products.iter_mut()).enumerate() {
            *product = lanes[i % LANES];
            lanes[i % LANES] = lanes[i % LANES] * denominator(step);
        }
        let [a, b, c, d] = *lanes;
        let [ab, cd] = [a * b, c * d];
        let product = ab * cd;
        if bool::from(product.is_zero()) {
            return Err(Exception);
        }
        let inverse = product.invert();
        let [ab, cd] = [inverse * cd, inverse * ab];
        *lanes = [ab * b, ab * a, cd * d, cd * c];
        for (i, (step, product)) in self.steps.iter_mut().zip(self.products.iter()).enumerate().rev() {
            let inverse = lanes[i % LANES] * *product;
            lanes[i % LANES] = lanes[i % LANES] * denominator(step);
            apply(step, inverse);
        }
        Ok(())
    }

    /// `2 * sum`.
    fn double(&mut self) -> Result<(), Exception> {
        let denominator = |step: &Step| step.sum.y.double();
        self.with_inverses(denominator, |step, inverse| {
            let Affine { x, y } = step.sum;
            let slope = (x.square() - Fe::ONE).triple() * inverse;
            step.sum.x = slope.square() - x.double();
            step.sum.y = slope * (x - step.sum.x) - y;
        })
    }

    /// `sum + other`.
    fn add(&mut self) -> Result<(), Exception> {
        let denominator = |step: &Step| step.other.x - step.sum.x;
        self.with_inverses(denominator, |step, inverse| {
            let Affine { x, y } = step.sum;
            let slope = (step.other.y - y) * inverse;
            step.sum.x = slope.square() - x - step.other.x;
            step.sum.y = slope * (x - step.sum.x) - y;
        })
    }

    /// `2 * sum + other`, as `(sum + other) + sum`, whose first y nobody needs.
    fn double_and_add(&mut self) -> Result<(), Exception> {
        let denominator = |step: &Step| step.other.x - step.sum.x;
        self.with_inverses(denominator, |step, inverse| {
            // The other point makes way for the first sum's x, and the slope to it.
            let slope = (step.other.y - step.sum.y) * inverse;
            step.other = Affine { x: slope.square() - step.sum.x - step.other.x, y: slope };
        })?;
        self.with_inverses(denominator, |step, inverse| {
            let Affine { x, y } = step.sum;
            let slope = -step.other.y - y.double() * inverse;
            step.sum.x = slope.square() - x - step.other.x;
            step.sum.y = slope * (x - step.sum.x) - y;
        })
    }
}

/// The products of points by scalars whose `count` digits are `digit(point, position)`.
pub(super) fn multiply(
    points: &[Affine],
    count: usize,
    digit: impl Fn(usize, usize) -> u64,
) -> Result<Zeroizing<Vec<Affine>>, Exception> {
    let tables = odd_multiples(points)?;
    let mut walk = Walk::new(tables.iter().enumerate().map(|(i, table)| digits::select(table, digit(i, count - 1))));
    for position in (0..count - 1).rev() {
        for _ in 0..WIDTH - 1 {
            walk.double()?;
        }
        for (i, step) in walk.steps.iter_mut().enumerate() {
            step.other = digits::select(&tables[i], digit(i, position));
        }
        walk.double_and_add()?;
    }
    Ok(Zeroizing::new(walk.steps.iter().map(|step| step.sum).collect()))
}

/// 1, 3, 5, … times each point.
fn odd_multiples(points: &[Affine]) -> Result<Zeroizing<Vec<[Affine; ENTRIES]>>, Exception> {
    let mut tables = Zeroizing::new(vec![[Affine::default(); ENTRIES]; points.len()]);
    tables.iter_mut().zip(points).for_each(|(table, point)| table[0] = *point);
    let mut walk = Walk::new(points.iter().copied());
    walk.double()?;
    let twice = Zeroizing::new(walk.steps.iter().map(|step| step.sum).collect::<Vec<_>>());
    for k in 1..ENTRIES {
        for (i, step) in walk.steps.iter_mut().enumerate() {
            *step = Step { sum: tables[i][k - 1], other: twice[i] };
        }
        walk.add()?;
        tables.iter_mut().zip(walk.steps.iter()).for_each(|(table, step)| table[k] = step.sum);
    }
    Ok(tables)
}

/// The generator times each scalar.
pub(super) fn multiply_base(scalars: &[Digits]) -> Result<Zeroizing<Vec<Affine>>, Exception> {
    let [first, rows @ ..] = base_table() else { unreachable!("the table has a row for each digit") };
    let mut walk = Walk::new(scalars.iter().map(|scalar| digits::select(first, scalar.at(0))));
    for (i, row) in rows.iter().enumerate() {
        for (step, scalar) in walk.steps.iter_mut().zip(scalars) {
            step.other = digits::select(row, scalar.at(i + 1));
        }
        walk.add()?;
    }
    Ok(Zeroizing::new(walk.steps.iter().map(|step| step.sum).collect()))
}
