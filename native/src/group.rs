//! What a protocol needs of a prime-order group (RFC 9497, section 2.1), and the batch functions that follow from it.

use sha2::digest::Digest;
use sha2::digest::common::BlockSizeUser;
use zeroize::{Zeroize, Zeroizing};

use crate::Error;
use crate::hash::ExpandMessageXmd;
use crate::packed::Packed;
use crate::parallel::{self, GROUP, Grain};

/// A group of prime order with an encoding, and maps into it from uniform bytes.
///
/// Each operation runs in constant time unless its name ends in `_vartime`. Encodings have one length per group, and
/// scalars are encoded as the group's standard says (ristretto255: little endian; SM2: big endian).
pub trait Group: 'static {
    /// An integer below the group order.
    type Scalar: Copy + Send + Sync + Zeroize;
    /// An element, in whatever coordinates are fastest.
    type Element: Copy + Send + Sync + Zeroize;

    /// Bytes of an encoded scalar.
    const SCALAR_LENGTH: usize;
    /// Bytes of an encoded element.
    const ELEMENT_LENGTH: usize;
    /// Uniform bytes from which a scalar is made with negligible bias.
    const UNIFORM_SCALAR_LENGTH: usize;
    /// Uniform bytes from which an element is made as if by a random oracle.
    const UNIFORM_ELEMENT_LENGTH: usize;
    /// How finely batches are cut.
    const GRAIN: Grain = GROUP;

    /// The scalar made of [`Self::UNIFORM_SCALAR_LENGTH`] uniform bytes; zero with negligible probability.
    fn scalar_from_uniform(bytes: &[u8]) -> Self::Scalar;
    /// The scalar of a canonical encoding; none where it is zero or not reduced.
    fn decode_scalar(bytes: &[u8]) -> Option<Self::Scalar>;
    /// The encoding of a scalar, [`Self::SCALAR_LENGTH`] bytes.
    fn encode_scalar(scalar: &Self::Scalar, out: &mut [u8]);
    /// `a - b * c` modulo the order.
    fn sub_mul(a: &Self::Scalar, b: &Self::Scalar, c: &Self::Scalar) -> Self::Scalar;
    /// Inverts every scalar in place; none may be zero.
    fn invert_each(scalars: &mut [Self::Scalar]);

    /// The element made of [`Self::UNIFORM_ELEMENT_LENGTH`] uniform bytes.
    fn element_from_uniform(bytes: &[u8]) -> Self::Element;
    /// The element of a canonical encoding; none where it is not canonical, or is the identity.
    fn decode_element(bytes: &[u8]) -> Option<Self::Element>;
    /// Whether this is the identity element.
    fn is_identity(element: &Self::Element) -> bool;

    /// Encodes `scalars[i] * B` for the generator `B`.
    fn mul_base_encode(scalars: &[Self::Scalar], out: &mut [u8]);
    /// Encodes `scalar * element` for every element. The elements are spent: their values afterwards are unspecified.
    fn mul_encode(scalar: &Self::Scalar, elements: &mut [Self::Element], out: &mut [u8]);
    /// Encodes `scalars[i] * elements[i]`. The elements are spent: their values afterwards are unspecified.
    fn mul_each_encode(scalars: &[Self::Scalar], elements: &mut [Self::Element], out: &mut [u8]);
    /// Encodes one element, [`Self::ELEMENT_LENGTH`] bytes.
    fn encode_element(element: &Self::Element, out: &mut [u8]);
    /// Encodes every element; for a group where several cost less together.
    fn encode_elements(elements: &[Self::Element], out: &mut [u8]) {
        let rows = out.chunks_exact_mut(Self::ELEMENT_LENGTH);
        elements.iter().zip(rows).for_each(|(element, row)| Self::encode_element(element, row));
    }

    /// `a + b`.
    fn add(a: &Self::Element, b: &Self::Element) -> Self::Element;
    /// `-a`.
    fn negate(a: &Self::Element) -> Self::Element;
    /// `scalar * element`.
    fn mul(scalar: &Self::Scalar, element: &Self::Element) -> Self::Element;
    /// The sum of `scalars[i] * elements[i]`; for public data only.
    fn combine_vartime(scalars: &[Self::Scalar], elements: &[Self::Element]) -> Self::Element;
    /// `a * element + b * B` for the generator `B`; for public data only.
    fn mul_add_base_vartime(a: &Self::Scalar, element: &Self::Element, b: &Self::Scalar) -> Self::Element;
}

/// Decodes rows `first..first + count`, and names the first that is not an element.
pub(crate) fn decode_elements<G: Group>(rows: &[u8], first: usize, count: usize) -> Result<Vec<G::Element>, Error> {
    let width = G::ELEMENT_LENGTH;
    let rows = rows[first * width..(first + count) * width].chunks_exact(width);
    let decoded =
        rows.enumerate().map(|(i, row)| G::decode_element(row).ok_or(Error::InvalidElement { index: first + i }));
    decoded.collect()
}

/// Decodes rows `first..first + count`, and names the first that is not a non-zero scalar.
pub(crate) fn decode_scalars<G: Group>(
    rows: &[u8],
    first: usize,
    count: usize,
) -> Result<Zeroizing<Vec<G::Scalar>>, Error> {
    let width = G::SCALAR_LENGTH;
    // Reserved in full, so that no copy of a secret is left behind by a growing vector.
    let mut scalars = Zeroizing::new(Vec::with_capacity(count));
    for (i, row) in rows[first * width..(first + count) * width].chunks_exact(width).enumerate() {
        scalars.push(G::decode_scalar(row).ok_or(Error::InvalidScalar { index: first + i })?);
    }
    Ok(scalars)
}

/// Decodes the one scalar that a call is about, such as a private key.
pub(crate) fn decode_scalar<G: Group>(bytes: &[u8]) -> Result<Zeroizing<G::Scalar>, Error> {
    G::decode_scalar(bytes).map(Zeroizing::new).ok_or(Error::InvalidScalar { index: 0 })
}

/// RFC 9380's hash-to-group of every string, with `expand_message_xmd` over `H`: `out` is `(n, element)`.
pub fn hash_to_group<G, H>(items: Packed<'_>, dst: &[u8], out: &mut [u8]) -> Result<(), Error>
where
    G: Group,
    H: Digest + BlockSizeUser + Clone + Sync,
{
    let expand = ExpandMessageXmd::<H>::new(dst)?;
    parallel::fill_rows(out, G::ELEMENT_LENGTH, G::GRAIN, |first, rows| {
        let count = rows.len() / G::ELEMENT_LENGTH;
        let mut uniform = Zeroizing::new(vec![0; G::UNIFORM_ELEMENT_LENGTH]);
        let mut elements = Zeroizing::new(Vec::with_capacity(count));
        for i in first..first + count {
            expand.expand(&[items.get(i)], &mut uniform);
            elements.push(G::element_from_uniform(&uniform));
        }
        G::encode_elements(&elements, rows);
        Ok(())
    })
}

/// `scalar` times [`hash_to_group`] of every string, which spares encoding and decoding in between: `out` is
/// `(n, element)`.
pub fn hash_mul<G, H>(scalar: &[u8], items: Packed<'_>, dst: &[u8], out: &mut [u8]) -> Result<(), Error>
where
    G: Group,
    H: Digest + BlockSizeUser + Clone + Sync,
{
    let expand = ExpandMessageXmd::<H>::new(dst)?;
    let scalar = decode_scalar::<G>(scalar)?;
    parallel::fill_rows(out, G::ELEMENT_LENGTH, G::GRAIN, |first, rows| {
        let mut uniform = Zeroizing::new(vec![0; G::UNIFORM_ELEMENT_LENGTH]);
        let count = rows.len() / G::ELEMENT_LENGTH;
        let mut elements = Zeroizing::new(Vec::with_capacity(count));
        for i in first..first + count {
            expand.expand(&[items.get(i)], &mut uniform);
            elements.push(G::element_from_uniform(&uniform));
        }
        G::mul_encode(&scalar, &mut elements, rows);
        Ok(())
    })
}

/// `scalar * points[i]`: `points` and `out` are `(n, element)`.
pub fn mul<G: Group>(scalar: &[u8], points: &[u8], out: &mut [u8]) -> Result<(), Error> {
    let scalar = decode_scalar::<G>(scalar)?;
    parallel::fill_rows(out, G::ELEMENT_LENGTH, G::GRAIN, |first, rows| {
        let count = rows.len() / G::ELEMENT_LENGTH;
        let mut elements = Zeroizing::new(decode_elements::<G>(points, first, count)?);
        G::mul_encode(&scalar, &mut elements, rows);
        Ok(())
    })
}

/// `scalars[i] * points[i]`: `scalars` is `(n, scalar)`, `points` and `out` are `(n, element)`.
pub fn mul_each<G: Group>(scalars: &[u8], points: &[u8], out: &mut [u8]) -> Result<(), Error> {
    parallel::fill_rows(out, G::ELEMENT_LENGTH, G::GRAIN, |first, rows| {
        let count = rows.len() / G::ELEMENT_LENGTH;
        let scalars = decode_scalars::<G>(scalars, first, count)?;
        let mut elements = Zeroizing::new(decode_elements::<G>(points, first, count)?);
        G::mul_each_encode(&scalars, &mut elements, rows);
        Ok(())
    })
}

/// `scalars[i] * B`: `scalars` is `(n, scalar)`, `out` is `(n, element)`.
pub fn mul_base<G: Group>(scalars: &[u8], out: &mut [u8]) -> Result<(), Error> {
    parallel::fill_rows(out, G::ELEMENT_LENGTH, G::GRAIN, |first, rows| {
        let scalars = decode_scalars::<G>(scalars, first, rows.len() / G::ELEMENT_LENGTH)?;
        G::mul_base_encode(&scalars, rows);
        Ok(())
    })
}

/// `a[i] + b[i]`, all `(n, element)`. A sum that is the identity has no encoding here: an error with its index.
pub fn add<G: Group>(a: &[u8], b: &[u8], out: &mut [u8]) -> Result<(), Error> {
    combine::<G>(a, b, out, |element| *element)
}

/// `a[i] - b[i]`, all `(n, element)`. An error where the two are the same.
pub fn sub<G: Group>(a: &[u8], b: &[u8], out: &mut [u8]) -> Result<(), Error> {
    combine::<G>(a, b, out, G::negate)
}

fn combine<G: Group>(
    a: &[u8],
    b: &[u8],
    out: &mut [u8],
    map: impl Fn(&G::Element) -> G::Element + Sync,
) -> Result<(), Error> {
    parallel::fill_rows(out, G::ELEMENT_LENGTH, G::GRAIN, |first, rows| {
        let count = rows.len() / G::ELEMENT_LENGTH;
        let a = Zeroizing::new(decode_elements::<G>(a, first, count)?);
        let b = Zeroizing::new(decode_elements::<G>(b, first, count)?);
        let sums = Zeroizing::new(a.iter().zip(b.iter()).map(|(a, b)| G::add(a, &map(b))).collect::<Vec<_>>());
        if let Some(i) = sums.iter().position(G::is_identity) {
            return Err(Error::InvalidElement { index: first + i });
        }
        G::encode_elements(&sums, rows);
        Ok(())
    })
}

/// Errors at the first of the `(n, element)` rows that is the identity or not a canonical encoding.
pub fn check<G: Group>(points: &[u8]) -> Result<(), Error> {
    // The unit rows only carry the positions: checking writes nothing.
    let mut positions = vec![(); points.len() / G::ELEMENT_LENGTH];
    parallel::fill_rows(&mut positions, 1, G::GRAIN, |first, rows| {
        decode_elements::<G>(points, first, rows.len()).map(drop)
    })
}

/// Scalars of `(n, uniform scalar)` uniform rows. A row that gives zero is an error: it comes up by chance never, and
/// by a broken random generator at once.
pub fn scalars_from_uniform<G: Group>(uniform: &[u8], out: &mut [u8]) -> Result<(), Error> {
    let rows = uniform.chunks_exact(G::UNIFORM_SCALAR_LENGTH).zip(out.chunks_exact_mut(G::SCALAR_LENGTH));
    for (index, (uniform, row)) in rows.enumerate() {
        let scalar = Zeroizing::new(G::scalar_from_uniform(uniform));
        G::encode_scalar(&scalar, row);
        // Decoding again is how a zero is found, without the trait having to offer a zero to compare with.
        decode_scalar::<G>(row).map_err(|_| Error::InvalidScalar { index })?;
    }
    Ok(())
}

/// The inverses of `(n, scalar)` rows.
pub fn invert_scalars<G: Group>(scalars: &[u8], out: &mut [u8]) -> Result<(), Error> {
    parallel::fill_rows(out, G::SCALAR_LENGTH, G::GRAIN, |first, rows| {
        let mut scalars = decode_scalars::<G>(scalars, first, rows.len() / G::SCALAR_LENGTH)?;
        G::invert_each(&mut scalars);
        for (scalar, row) in scalars.iter().zip(rows.chunks_exact_mut(G::SCALAR_LENGTH)) {
            G::encode_scalar(scalar, row);
        }
        Ok(())
    })
}
