//! Bindings of sums by bin under encryption.

use numpy::{Ix1, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;

use super::{Bytes1, Secret, bad, contiguous, raise};
use crate::Error;
use crate::lwe::{self, Binned, Code, Number, Rows, Sent, Stretch};

type Words<'py> = PyReadonlyArray1<'py, u32>;
type WordsOut<'py> = PyReadwriteArray1<'py, u32>;

/// Runs the work on an array that the caller owns, without the interpreter lock.
fn into<T, F>(py: Python<'_>, out: &mut numpy::PyReadwriteArray<'_, T, Ix1>, work: F) -> PyResult<()>
where
    T: numpy::Element + Send,
    F: FnOnce(&mut [T]) -> Result<(), Error> + Send,
{
    let out = out.as_slice_mut().map_err(|_| bad("out must be C-contiguous"))?;
    py.detach(|| work(out)).map_err(|error| raise(py, error))
}

/// Codes of one byte or two.
#[derive(FromPyObject)]
enum Codes<'py> {
    Narrow(PyReadonlyArray1<'py, u8>),
    Wide(PyReadonlyArray1<'py, u16>),
}

fn stretch_of([bins, first, count]: [usize; 3]) -> Stretch {
    Stretch { bins, first, count }
}

#[pyfunction]
fn lwe_expand(py: Python<'_>, public: Bytes1<'_>, mut out: WordsOut<'_>) -> PyResult<()> {
    let public = contiguous(&public, "public")?;
    into(py, &mut out, |out| lwe::expand(public, out))
}

#[pyfunction]
fn lwe_secrets(py: Python<'_>, bits: Bytes1<'_>, mut out: WordsOut<'_>) -> PyResult<()> {
    let bits = contiguous(&bits, "bits")?;
    into(py, &mut out, |out| lwe::secrets(bits, out))
}

#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
fn lwe_encrypt(
    py: Python<'_>,
    blocks: Words<'_>,
    secrets: Words<'_>,
    seed: Secret,
    first: usize,
    words: Words<'_>,
    w: usize,
    mut out: WordsOut<'_>,
) -> PyResult<()> {
    let seed = seed.of_length(lwe::SEED, "a secret seed")?;
    let (blocks, secrets) = (contiguous(&blocks, "blocks")?, contiguous(&secrets, "secrets")?);
    let words = contiguous(&words, "words")?;
    into(py, &mut out, |out| lwe::encrypt(blocks, secrets, seed, first, words, w, out))
}

fn add<C: Code, W: Number>(
    codes: &[C],
    starts: &[usize],
    words: &[W],
    w: usize,
    rows: Option<&[i32]>,
    out: &mut [W],
) -> Result<(), Error> {
    lwe::add_vartime(Binned::new(codes, starts)?, words, w, rows.map_or(Rows::All, Rows::Some), out)
}

fn sums<W: Number + numpy::Element>(
    py: Python<'_>,
    codes: &Codes<'_>,
    starts: &[usize],
    words: &PyReadonlyArray1<'_, W>,
    w: usize,
    rows: Option<PyReadonlyArray1<'_, i32>>,
    out: &mut PyReadwriteArray1<'_, W>,
) -> PyResult<()> {
    let words = contiguous(words, "words")?;
    let rows = rows.as_ref().map(|rows| contiguous(rows, "rows")).transpose()?;
    match codes {
        Codes::Narrow(codes) => {
            let codes = contiguous(codes, "codes")?;
            into(py, out, |out| add(codes, starts, words, w, rows, out))
        }
        Codes::Wide(codes) => {
            let codes = contiguous(codes, "codes")?;
            into(py, out, |out| add(codes, starts, words, w, rows, out))
        }
    }
}

#[pyfunction]
fn lwe_add_vartime(
    py: Python<'_>,
    codes: Codes<'_>,
    starts: Vec<usize>,
    words: Words<'_>,
    w: usize,
    rows: Option<PyReadonlyArray1<'_, i32>>,
    mut out: WordsOut<'_>,
) -> PyResult<()> {
    sums(py, &codes, &starts, &words, w, rows, &mut out)
}

#[pyfunction]
fn lwe_add_signed_vartime(
    py: Python<'_>,
    codes: Codes<'_>,
    starts: Vec<usize>,
    words: PyReadonlyArray1<'_, i64>,
    w: usize,
    rows: Option<PyReadonlyArray1<'_, i32>>,
    mut out: PyReadwriteArray1<'_, i64>,
) -> PyResult<()> {
    sums(py, &codes, &starts, &words, w, rows, &mut out)
}

#[pyfunction]
fn lwe_hint_vartime(
    py: Python<'_>,
    codes: Codes<'_>,
    starts: Vec<usize>,
    public: Bytes1<'_>,
    mut out: WordsOut<'_>,
) -> PyResult<()> {
    let public = contiguous(&public, "public")?;
    match &codes {
        Codes::Narrow(codes) => {
            let codes = contiguous(codes, "codes")?;
            into(py, &mut out, |out| lwe::hint_vartime(Binned::new(codes, &starts)?, public, out))
        }
        Codes::Wide(codes) => {
            let codes = contiguous(codes, "codes")?;
            into(py, &mut out, |out| lwe::hint_vartime(Binned::new(codes, &starts)?, public, out))
        }
    }
}

fn blocks<'a>(array: &'a Bytes1<'_>, name: &str) -> PyResult<&'a [[u8; 16]]> {
    let (blocks, rest) = contiguous(array, name)?.as_chunks();
    if rest.is_empty() { Ok(blocks) } else { Err(bad(format_args!("{name} must be blocks of 16 bytes"))) }
}

#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
fn lwe_offer(
    py: Python<'_>,
    delta: Secret,
    tweak: u64,
    k: Bytes1<'_>,
    hint: Words<'_>,
    stretch: [usize; 3],
    mut messages: WordsOut<'_>,
    mut shares: WordsOut<'_>,
) -> PyResult<()> {
    let delta = delta.of_length(16, "delta")?.try_into().expect("16 bytes");
    let sent = Sent { delta, tweak, k: blocks(&k, "k")? };
    let hint = contiguous(&hint, "hint")?;
    let shares = shares.as_slice_mut().map_err(|_| bad("shares must be C-contiguous"))?;
    into(py, &mut messages, |messages| lwe::offer(sent, hint, stretch_of(stretch), messages, shares))
}

#[pyfunction]
fn lwe_choose(
    py: Python<'_>,
    tweak: u64,
    t: Bytes1<'_>,
    choices: Bytes1<'_>,
    stretch: [usize; 3],
    messages: Words<'_>,
    mut shares: WordsOut<'_>,
) -> PyResult<()> {
    let (t, choices) = (blocks(&t, "t")?, contiguous(&choices, "choices")?);
    let messages = contiguous(&messages, "messages")?;
    into(py, &mut shares, |shares| lwe::choose(tweak, t, choices, stretch_of(stretch), messages, shares))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(lwe_expand, module)?)?;
    module.add_function(wrap_pyfunction!(lwe_secrets, module)?)?;
    module.add_function(wrap_pyfunction!(lwe_encrypt, module)?)?;
    module.add_function(wrap_pyfunction!(lwe_add_vartime, module)?)?;
    module.add_function(wrap_pyfunction!(lwe_add_signed_vartime, module)?)?;
    module.add_function(wrap_pyfunction!(lwe_hint_vartime, module)?)?;
    module.add_function(wrap_pyfunction!(lwe_offer, module)?)?;
    module.add_function(wrap_pyfunction!(lwe_choose, module)?)
}
