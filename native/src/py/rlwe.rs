//! Bindings of encrypted products.

use numpy::{Ix1, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;

use super::{Bytes1, Secret, bad, contiguous, raise};
use crate::Error;
use crate::rlwe::{self, Ciphertexts, Plain, Set, Shape};

type Words<'py> = PyReadonlyArray1<'py, u64>;
type WordsOut<'py> = PyReadwriteArray1<'py, u64>;

/// Runs the work on an array that the caller owns, without the interpreter lock.
fn into<T, F>(py: Python<'_>, mut out: numpy::PyReadwriteArray<'_, T, Ix1>, work: F) -> PyResult<()>
where
    T: numpy::Element + Send,
    F: FnOnce(&mut [T]) -> Result<(), Error> + Send,
{
    let out = out.as_slice_mut().map_err(|_| bad("out must be C-contiguous"))?;
    py.detach(|| work(out)).map_err(|error| raise(py, error))
}

fn plain_of(py: Python<'_>, number: usize) -> PyResult<Plain> {
    Plain::of(number).map_err(|error| raise(py, error))
}

fn seed_of(seed: &Secret) -> PyResult<&[u8]> {
    seed.of_length(rlwe::SEED, "a secret seed")
}

fn public_of<'a>(public: &'a Bytes1<'_>) -> PyResult<&'a [u8]> {
    let public = contiguous(public, "public")?;
    if public.len() != rlwe::PUBLIC_SEED {
        return Err(bad("a public seed must be 16 bytes"));
    }
    Ok(public)
}

fn shape_of(shape: [usize; 5]) -> Shape {
    let [batches, vectors, rows, terms, stride] = shape;
    Shape { batches, vectors, rows, terms, stride }
}

#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
fn rlwe_encrypt(
    py: Python<'_>,
    wide: bool,
    plain: usize,
    key: Secret,
    seed: Secret,
    public: Bytes1<'_>,
    messages: Words<'_>,
    out: WordsOut<'_>,
) -> PyResult<()> {
    let plain = plain_of(py, plain)?;
    let (key, seed, public) = (seed_of(&key)?, seed_of(&seed)?, public_of(&public)?);
    let messages = contiguous(&messages, "messages")?;
    into(py, out, |out| rlwe::encrypt(Set::of(wide), plain, key, seed, public, messages, out))
}

#[pyfunction]
fn rlwe_expand(py: Python<'_>, wide: bool, public: Bytes1<'_>, out: WordsOut<'_>) -> PyResult<()> {
    let public = public_of(&public)?;
    into(py, out, |out| rlwe::expand(Set::of(wide), public, out))
}

#[pyfunction]
fn rlwe_lift(py: Python<'_>, wide: bool, plain: usize, polynomials: Words<'_>, out: WordsOut<'_>) -> PyResult<()> {
    let plain = plain_of(py, plain)?;
    let polynomials = contiguous(&polynomials, "polynomials")?;
    into(py, out, |out| rlwe::lift(Set::of(wide), plain, polynomials, out))
}

#[pyfunction]
fn rlwe_are_residues(py: Python<'_>, wide: bool, b: Words<'_>) -> PyResult<bool> {
    let b = contiguous(&b, "b")?;
    Ok(py.detach(|| rlwe::are_residues(Set::of(wide), b)))
}

#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
fn rlwe_reply(
    py: Python<'_>,
    wide: bool,
    plain: usize,
    shape: [usize; 5],
    seed: Secret,
    polynomials: Words<'_>,
    sides: [Words<'_>; 2],
    zero: [Words<'_>; 2],
    out: PyReadwriteArray1<'_, u8>,
) -> PyResult<()> {
    let (plain, shape, seed) = (plain_of(py, plain)?, shape_of(shape), seed_of(&seed)?);
    let polynomials = contiguous(&polynomials, "polynomials")?;
    let [b, a] = &sides;
    let [zero_b, zero_a] = &zero;
    let ciphertexts = Ciphertexts {
        sides: [contiguous(b, "b")?, contiguous(a, "a")?],
        zero: [contiguous(zero_b, "zero")?, contiguous(zero_a, "zero")?],
    };
    into(py, out, |out| rlwe::reply(Set::of(wide), plain, shape, seed, polynomials, &ciphertexts, out))
}

#[pyfunction]
fn rlwe_masks(py: Python<'_>, plain: usize, shape: [usize; 5], seed: Secret, out: WordsOut<'_>) -> PyResult<()> {
    let (plain, seed) = (plain_of(py, plain)?, seed_of(&seed)?);
    into(py, out, |out| rlwe::masks(plain, shape_of(shape), seed, out))
}

#[pyfunction]
fn rlwe_decrypt(
    py: Python<'_>,
    wide: bool,
    plain: usize,
    stride: usize,
    key: Secret,
    replies: Bytes1<'_>,
    out: WordsOut<'_>,
) -> PyResult<()> {
    let (plain, key) = (plain_of(py, plain)?, seed_of(&key)?);
    let replies = contiguous(&replies, "replies")?;
    into(py, out, |out| rlwe::decrypt(Set::of(wide), plain, stride, key, replies, out))
}

#[pyfunction]
fn rlwe_encode(py: Python<'_>, prime: usize, slots: Words<'_>, out: WordsOut<'_>) -> PyResult<()> {
    let Plain::Prime(t) = plain_of(py, prime)? else { return Err(bad("slots need a prime: 0, 1, 2 or 4")) };
    let slots = contiguous(&slots, "slots")?;
    into(py, out, |out| rlwe::encode(t, slots, out))
}

#[pyfunction]
fn rlwe_slots(py: Python<'_>, prime: usize, coefficients: Words<'_>, out: WordsOut<'_>) -> PyResult<()> {
    let Plain::Prime(t) = plain_of(py, prime)? else { return Err(bad("slots need a prime: 0, 1, 2 or 4")) };
    let coefficients = contiguous(&coefficients, "coefficients")?;
    into(py, out, |out| rlwe::slots(t, coefficients, out))
}

#[pyfunction]
fn rlwe_decode(py: Python<'_>, coefficients: [Words<'_>; 3], out: WordsOut<'_>) -> PyResult<()> {
    let [c0, c1, c2] = &coefficients;
    let coefficients =
        [contiguous(c0, "coefficients")?, contiguous(c1, "coefficients")?, contiguous(c2, "coefficients")?];
    into(py, out, |out| rlwe::decode(coefficients, out))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(rlwe_encrypt, module)?)?;
    module.add_function(wrap_pyfunction!(rlwe_expand, module)?)?;
    module.add_function(wrap_pyfunction!(rlwe_lift, module)?)?;
    module.add_function(wrap_pyfunction!(rlwe_are_residues, module)?)?;
    module.add_function(wrap_pyfunction!(rlwe_reply, module)?)?;
    module.add_function(wrap_pyfunction!(rlwe_masks, module)?)?;
    module.add_function(wrap_pyfunction!(rlwe_decrypt, module)?)?;
    module.add_function(wrap_pyfunction!(rlwe_encode, module)?)?;
    module.add_function(wrap_pyfunction!(rlwe_slots, module)?)?;
    module.add_function(wrap_pyfunction!(rlwe_decode, module)?)
}
