//! Products of many points at once. With AVX2 four points go through the same instructions.
//!
//! All points of a large batch walk in step, in affine coordinates, so that each step needs one inversion for the whole
//! batch (Montgomery's trick): an addition then takes six multiplications and a doubling seven, less than in any projective
//! coordinates, and the results need no further inversion to be encoded. The points of a smaller batch are multiplied in
//! Jacobian coordinates, by tables in affine ones.
//!
//! Chords and tangents have exceptions. With digits that are never zero (see [`super::digits`]) and points of prime order
//! one comes up only for scalars within 2^73 of a multiple of the order, or for the identity, so never by chance. Then a
//! denominator of the batch is zero, hence the product of all of them, or the z of a result; the batch is refused, and the
//! caller takes the complete formulas.

use super::digits::Digits;
use super::point::Affine;
use zeroize::Zeroizing;

/// From how many points on there is something to share.
pub(super) const WORTH: usize = 4;
/// From how many multiples of the generator on.
pub(super) const WORTH_OF_BASE: usize = 24;
/// From how many points on the walk in step is worth its inversions.
const AFFINE: usize = 384;

/// A batch went through a point that affine coordinates do not have.
pub(super) struct Exception;

/// The points' multiples of a batch, or that it needs the complete formulas.
pub(super) type Products = Result<Zeroizing<Vec<Affine>>, Exception>;

/// The products of points by scalars whose `count` digits are `digit(point, position)`.
pub(super) fn multiply(points: &[Affine], count: usize, digit: impl Fn(usize, usize) -> u64) -> Products {
    #[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the instructions.
        return unsafe {
            match points.len() {
                ..AFFINE => by_four::multiply_few(points, count, digit),
                _ => by_four::multiply(points, count, digit),
            }
        };
    }
    match points.len() {
        ..AFFINE => one_by_one::multiply_few(points, count, digit),
        _ => one_by_one::multiply(points, count, digit),
    }
}

/// The generator times each scalar.
pub(super) fn multiply_base(scalars: &[Digits]) -> Products {
    #[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the instructions.
        return unsafe { by_four::multiply_base(scalars) };
    }
    one_by_one::multiply_base(scalars)
}

/// The walk over one type of elements. A macro, because a function can't have its processor features from a parameter.
macro_rules! walk {
    ($(#[$features:meta])* $module:ident over $lanes:ident) => {
        mod $module {
            use std::array::from_fn;
            use std::sync::OnceLock;

            use zeroize::{DefaultIsZeroes, Zeroizing};

            use super::super::digits::{self, Digits, ENTRIES};
            use super::super::field::{self, Fe};
            use super::super::point::{Affine, base_table};
            use super::super::$lanes::{CHAINS, Element, Pair, WIDTH};
            use super::{Exception, Products};

            /// Points on their way, and those that are added to them.
            #[derive(Clone, Copy, Default)]
            struct Step {
                x: Element,
                y: Element,
                other_x: Element,
                other_y: Element,
            }

            impl DefaultIsZeroes for Step {}

            /// A batch on its way.
            struct Walk {
                steps: Zeroizing<Vec<Step>>,
                products: Zeroizing<Vec<Element>>,
            }

            impl Walk {
                fn new(count: usize) -> Walk {
                    let steps = Zeroizing::new(vec![Step::default(); count]);
                    Walk { steps, products: Zeroizing::new(vec![Element::default(); count]) }
                }

                /// Gives each step the inverse of its denominator.
                $(#[$features])*
                #[inline]
                fn with_inverses(
                    &mut self,
                    denominator: impl Fn(&Step) -> Element,
                    apply: impl Fn(&mut Step, &Element),
                ) -> Result<(), Exception> {
                    let mut chains = Zeroizing::new([Element::load([Fe::ONE; WIDTH]); CHAINS]);
                    for (i, (step, product)) in self.steps.iter().zip(self.products.iter_mut()).enumerate() {
                        let chain = &mut chains[i % CHAINS];
                        *product = *chain;
                        *chain = chain.mul(&denominator(step));
                    }
                    let mut ends = Zeroizing::new([Fe::ZERO; CHAINS * WIDTH]);
                    for (end, chain) in ends.as_chunks_mut::<WIDTH>().0.iter_mut().zip(chains.iter()) {
                        *end = chain.store();
                    }
                    if ends.iter().any(|end| end.is_zero().into()) {
                        return Err(Exception);
                    }
                    field::invert_all(&mut *ends);
                    for (end, chain) in ends.as_chunks::<WIDTH>().0.iter().zip(chains.iter_mut()) {
                        *chain = Element::load(*end);
                    }
                    for (i, (step, product)) in self.steps.iter_mut().zip(self.products.iter()).enumerate().rev() {
                        let chain = &mut chains[i % CHAINS];
                        let inverse = chain.mul(product);
                        *chain = chain.mul(&denominator(step));
                        apply(step, &inverse);
                    }
                    Ok(())
                }

                /// Doubles every point.
                $(#[$features])*
                fn double(&mut self) -> Result<(), Exception> {
                    let denominator = |step: &Step| step.y.add(&step.y);
                    self.with_inverses(denominator, |step, inverse| {
                        let (x, y) = (step.x, step.y);
                        let slope = x.square().triple_less_three().mul(inverse);
                        step.x = slope.square().sub(&x.add(&x));
                        step.y = slope.mul(&x.sub_untidy(&step.x)).sub(&y);
                    })
                }

                /// Adds to every point the other one.
                $(#[$features])*
                fn add(&mut self) -> Result<(), Exception> {
                    let denominator = |step: &Step| step.other_x.sub_untidy(&step.x);
                    self.with_inverses(denominator, |step, inverse| {
                        let (x, y) = (step.x, step.y);
                        let slope = step.other_y.sub_untidy(&y).mul(inverse);
                        step.x = slope.square().sub(&x.add(&step.other_x));
                        step.y = slope.mul(&x.sub_untidy(&step.x)).sub(&y);
                    })
                }

                /// Doubles every point and adds the other one: as (point + other) + point, whose first y nobody needs.
                $(#[$features])*
                fn double_and_add(&mut self) -> Result<(), Exception> {
                    let denominator = |step: &Step| step.other_x.sub_untidy(&step.x);
                    self.with_inverses(denominator, |step, inverse| {
                        // The other point makes way for the first sum's x, and the slope to it.
                        let slope = step.other_y.sub_untidy(&step.y).mul(inverse);
                        step.other_x = slope.square().sub(&step.x.add(&step.other_x));
                        step.other_y = slope;
                    })?;
                    self.with_inverses(denominator, |step, inverse| {
                        let (x, y) = (step.x, step.y);
                        let opposite_slope = step.other_y.add(&y.add(&y).mul(inverse));
                        step.x = opposite_slope.square().sub(&x.add(&step.other_x));
                        step.y = opposite_slope.mul(&step.x.sub_untidy(&x)).sub(&y);
                    })
                }

                /// The first `count` points.
                $(#[$features])*
                fn points(&self, count: usize) -> Zeroizing<Vec<Affine>> {
                    let mut points = Zeroizing::new(Vec::with_capacity(self.steps.len() * WIDTH));
                    for step in self.steps.iter() {
                        let (x, y) = (step.x.store(), step.y.store());
                        points.extend(x.into_iter().zip(y).map(|(x, y)| Affine { x, y }));
                    }
                    points.truncate(count);
                    points
                }
            }

            /// What digits choose out of a table of odd multiples; y is not tidy.
            $(#[$features])*
            #[inline]
            fn choose(table: &[Pair], digits: [u64; WIDTH]) -> (Element, Element) {
                let (x, y) = Pair::select(table, digits.map(digits::index)).split();
                (x, y.negate_if(digits.map(digits::negative)))
            }

            /// A point in Jacobian coordinates: (x / z^2, y / z^3).
            #[derive(Clone, Copy, Default)]
            struct Jacobian {
                x: Element,
                y: Element,
                z: Element,
            }

            impl DefaultIsZeroes for Jacobian {}

            impl Jacobian {
                /// By the formulas for a = -3 [Bernstein, 2001]; a zero z stays.
                $(#[$features])*
                #[inline]
                fn double(&self) -> Jacobian {
                    let delta = self.z.square();
                    let gamma = self.y.square();
                    let beta = self.x.mul(&gamma);
                    let product = self.x.sub(&delta).mul(&self.x.add(&delta));
                    let alpha = product.add(&product).add(&product).sub(&Element::default());
                    let beta4 = beta.add(&beta).add(&beta.add(&beta));
                    let x = alpha.square().sub(&beta4).sub(&beta4);
                    let z = self.y.add(&self.z).square().sub(&gamma.add(&delta));
                    let square = gamma.square();
                    let square4 = square.add(&square).add(&square.add(&square));
                    let y = alpha.mul(&beta4.sub(&x)).sub(&square4).sub(&square4);
                    Jacobian { x, y, z }
                }

                /// The sum with (x, y), whose z is zero where the points are the same or opposite, or z was zero before.
                $(#[$features])*
                #[inline]
                fn add(&self, (x, y): (Element, Element)) -> Jacobian {
                    let z2 = self.z.square();
                    let h = x.mul(&z2).sub(&self.x);
                    let r = y.mul(&z2.mul(&self.z)).sub(&self.y);
                    let h2 = h.square();
                    let (h3, v) = (h.mul(&h2), self.x.mul(&h2));
                    let x = r.square().sub(&h3.add(&v.add(&v)));
                    let y = r.mul(&v.sub(&x)).sub(&self.y.mul(&h3));
                    Jacobian { x, y, z: self.z.mul(&h) }
                }
            }

            $(#[$features])*
            pub fn multiply_few(points: &[Affine], count: usize, digit: impl Fn(usize, usize) -> u64) -> Products {
                let last = points.len() - 1;
                let tables = odd_multiples(points)?;
                let mut products = Zeroizing::new(Vec::with_capacity(points.len().next_multiple_of(WIDTH)));
                let mut inverses = Zeroizing::new(Vec::with_capacity(points.len().next_multiple_of(WIDTH)));
                for (i, table) in tables.chunks_exact(ENTRIES).enumerate() {
                    let digits = |position| from_fn(|lane| digit((i * WIDTH + lane).min(last), position));
                    let (x, y) = choose(table, digits(count - 1));
                    let mut product =
                        Zeroizing::new(Jacobian { x, y: y.sub(&Element::default()), z: Element::load([Fe::ONE; WIDTH]) });
                    for position in (0..count - 1).rev() {
                        for _ in 0..digits::WIDTH {
                            *product = product.double();
                        }
                        *product = product.add(choose(table, digits(position)));
                    }
                    inverses.extend(product.z.store());
                    products.extend(product.x.store().into_iter().zip(product.y.store()).map(|(x, y)| Affine { x, y }));
                }
                if inverses.iter().any(|z| z.is_zero().into()) {
                    return Err(Exception);
                }
                field::invert_all(&mut inverses);
                for (product, inverse) in products.iter_mut().zip(inverses.iter()) {
                    let square = inverse.square();
                    *product = Affine { x: product.x * square, y: product.y * (square * *inverse) };
                }
                products.truncate(points.len());
                Ok(products)
            }

            $(#[$features])*
            pub fn multiply(points: &[Affine], count: usize, digit: impl Fn(usize, usize) -> u64) -> Products {
                // Where the last places stay empty, the last point takes them too.
                let last = points.len() - 1;
                let tables = odd_multiples(points)?;
                let tables = tables.as_chunks::<ENTRIES>().0;
                let digits = |i: usize, position: usize| from_fn(|lane| digit((i * WIDTH + lane).min(last), position));
                let mut walk = Walk::new(tables.len());
                for (i, (step, table)) in walk.steps.iter_mut().zip(tables).enumerate() {
                    let (x, y) = choose(table, digits(i, count - 1));
                    (step.x, step.y) = (x, y.sub(&Element::default()));
                }
                for position in (0..count - 1).rev() {
                    for _ in 0..digits::WIDTH - 1 {
                        walk.double()?;
                    }
                    for (i, (step, table)) in walk.steps.iter_mut().zip(tables).enumerate() {
                        (step.other_x, step.other_y) = choose(table, digits(i, position));
                    }
                    walk.double_and_add()?;
                }
                Ok(walk.points(points.len()))
            }

            /// 1, 3, 5, … times each point, and then the next point's.
            $(#[$features])*
            fn odd_multiples(points: &[Affine]) -> Result<Zeroizing<Vec<Pair>>, Exception> {
                let last = points.len() - 1;
                let count = points.len().div_ceil(WIDTH);
                let mut tables = Zeroizing::new(vec![Pair::default(); count * ENTRIES]);
                let mut walk = Walk::new(count);
                for (i, (step, table)) in walk.steps.iter_mut().zip(tables.chunks_exact_mut(ENTRIES)).enumerate() {
                    let own: [Affine; WIDTH] = from_fn(|lane| points[(i * WIDTH + lane).min(last)]);
                    (step.x, step.y) = (Element::load(own.map(|p| p.x)), Element::load(own.map(|p| p.y)));
                    table[0] = Pair::new(&step.x, &step.y);
                }
                walk.double()?;
                // From here on the other point is twice the first one, and stays.
                for (step, table) in walk.steps.iter_mut().zip(tables.chunks_exact(ENTRIES)) {
                    (step.other_x, step.other_y) = (step.x, step.y);
                    (step.x, step.y) = table[0].split();
                }
                for k in 1..ENTRIES {
                    walk.add()?;
                    for (step, table) in walk.steps.iter().zip(tables.chunks_exact_mut(ENTRIES)) {
                        table[k] = Pair::new(&step.x, &step.y);
                    }
                }
                Ok(tables)
            }

            /// The generator's table, in every lane.
            $(#[$features])*
            fn base() -> &'static [Pair] {
                static TABLE: OnceLock<Vec<Pair>> = OnceLock::new();
                TABLE.get_or_init(|| {
                    let in_every_lane = |point: &Affine| {
                        Pair::new(&Element::load([point.x; WIDTH]), &Element::load([point.y; WIDTH]))
                    };
                    base_table().iter().flatten().map(in_every_lane).collect()
                })
            }

            $(#[$features])*
            pub fn multiply_base(scalars: &[Digits]) -> Products {
                let last = scalars.len() - 1;
                let digits = |i: usize, position: usize| {
                    from_fn(|lane| scalars[(i * WIDTH + lane).min(last)].at(position))
                };
                let mut walk = Walk::new(scalars.len().div_ceil(WIDTH));
                for (position, row) in base().as_chunks::<ENTRIES>().0.iter().enumerate() {
                    for (i, step) in walk.steps.iter_mut().enumerate() {
                        (step.other_x, step.other_y) = choose(row, digits(i, position));
                    }
                    if position > 0 {
                        walk.add()?;
                        continue;
                    }
                    for step in walk.steps.iter_mut() {
                        (step.x, step.y) = (step.other_x, step.other_y.sub(&Element::default()));
                    }
                }
                Ok(walk.points(scalars.len()))
            }
        }
    };
}

walk!(one_by_one over single);

#[cfg(all(target_arch = "x86_64", not(sm2_backend = "soft")))]
walk!(#[target_feature(enable = "avx2")] by_four over quad);
