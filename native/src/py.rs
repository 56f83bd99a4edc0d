//! The bindings: arrays in, arrays out, errors as exceptions. The contract is documented in `mpc/_native.pyi`.
//!
//! Arrays must be C-contiguous. The global interpreter lock is released around the work, so the caller must not change
//! an input array from another thread meanwhile: a changed input gives a wrong answer or an error, never more. What an
//! index is made of is therefore copied before it is checked: offsets, and nothing else.

use std::fmt::Display;

use numpy::{
    Element, Ix1, Ix2, PyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray, PyReadonlyArray1,
    PyReadonlyArray2, PyReadwriteArrayDyn, PyUntypedArrayMethods, ndarray::Dimension,
};
use pyo3::buffer::PyBuffer;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;
use sha2::{Digest, Sha256, Sha512};
use zeroize::{Zeroize, Zeroizing};

use crate::group::{self, Group};
use crate::oprf::{self, Context, Mode, Ristretto255Sha512, Sm2Sm3, Suite};
use crate::packed::Packed;
use crate::ristretto255::Ristretto255;
use crate::sm3::Sm3;
use crate::{Error, ed25519, hash, parallel, prg};

mod lwe;
mod mask;
mod okvs;
mod ot;
mod paillier;
mod ring;
mod rlwe;
mod shuffle;
mod sm2;
mod symmetric;
mod transfers;
mod vole;

create_exception!(
    mpc.kernels,
    InvalidEncoding,
    PyValueError,
    "A row is not a valid group element, scalar or input. Attribute `index`: which."
);
create_exception!(mpc.kernels, InvalidProof, PyValueError, "A proof does not verify.");
create_exception!(mpc.kernels, InvalidTag, PyValueError, "What was sealed has been changed, or under another key.");

create_exception!(
    mpc.kernels,
    EncodingFailed,
    PyException,
    "The pairs have no encoding under this seed, which has odds of 2^-40; take another seed."
);

create_exception!(mpc.kernels, TooManyPairs, PyException, "A join would give more pairs than its caller allows.");

type Bytes1<'py> = PyReadonlyArray1<'py, u8>;
type Bytes2<'py> = PyReadonlyArray2<'py, u8>;
type Out1<'py> = PyResult<Bound<'py, PyArray1<u8>>>;
type Out2<'py> = PyResult<Bound<'py, PyArray2<u8>>>;

fn bad(text: impl Display) -> PyErr {
    PyValueError::new_err(text.to_string())
}

fn raise(py: Python<'_>, error: Error) -> PyErr {
    match error {
        Error::InvalidElement { index }
        | Error::InvalidScalar { index }
        | Error::IdentityInput { index }
        | Error::InputTooLong { index }
        | Error::InvalidCiphertext { index } => {
            let raised = InvalidEncoding::new_err(error.to_string());
            match raised.value(py).setattr("index", index) {
                Ok(()) => raised,
                Err(failed) => failed,
            }
        }
        Error::InvalidProof => InvalidProof::new_err(error.to_string()),
        Error::EncodingFailed => EncodingFailed::new_err(error.to_string()),
        Error::TooManyPairs => TooManyPairs::new_err(error.to_string()),
        Error::RepeatedKey => bad(error),
        Error::InvalidTag => InvalidTag::new_err(error.to_string()),
        Error::Misuse(text) => bad(text),
    }
}

/// A copy of a short secret, given as `bytes`, a `uint8` array, or any other buffer; wiped when dropped.
struct Secret(Zeroizing<Vec<u8>>);

impl<'py> FromPyObject<'_, 'py> for Secret {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let buffer = PyBuffer::<u8>::get(&object)?;
        let mut copy = Zeroizing::new(vec![0; buffer.item_count()]);
        buffer.copy_to_slice(object.py(), &mut copy)?;
        Ok(Self(copy))
    }
}

impl Secret {
    fn of_length(&self, length: usize, name: &str) -> PyResult<&[u8]> {
        if self.0.len() != length {
            return Err(bad(format_args!("{name} must be {length} bytes, not {}", self.0.len())));
        }
        Ok(&self.0)
    }
}

/// A copy of the offsets of packed strings. Another thread may change the array after they were checked, and they must
/// not lead outside the data then.
struct Offsets(Vec<i64>);

impl<'py> FromPyObject<'_, 'py> for Offsets {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let array: PyReadonlyArray1<'_, i64> = object.extract()?;
        let offsets = contiguous(&array, "offsets")?;
        let mut copy = Vec::new();
        copy.try_reserve_exact(offsets.len()).map_err(|_| PyMemoryError::new_err("no memory to copy the offsets"))?;
        copy.extend_from_slice(offsets);
        Ok(Self(copy))
    }
}

/// The contents of an array. `as_slice` alone would take Fortran's order too, and give the columns for the rows.
fn contiguous<'a, T: Element, D: Dimension>(array: &'a PyReadonlyArray<'_, T, D>, name: &str) -> PyResult<&'a [T]> {
    let slice = if array.is_c_contiguous() { array.as_slice().ok() } else { None };
    slice.ok_or_else(|| bad(format_args!("{name} must be C-contiguous and aligned")))
}

/// The rows of an array whose width has to be `width`.
fn rows<'a>(array: &'a Bytes2<'_>, width: usize, name: &str) -> PyResult<&'a [u8]> {
    if array.shape()[1] != width {
        return Err(bad(format_args!("{name} must have {width} columns, not {}", array.shape()[1])));
    }
    contiguous(array, name)
}

fn packed<'a>(py: Python<'_>, data: &'a Bytes1<'_>, offsets: &'a Offsets) -> PyResult<Packed<'a>> {
    Packed::new(contiguous(data, "data")?, &offsets.0).map_err(|error| raise(py, error))
}

fn same_count(n: usize, other: usize, name: &str) -> PyResult<()> {
    if n != other {
        return Err(bad(format_args!("{name} must have {n} rows, not {other}")));
    }
    Ok(())
}

/// A new array of zeros. NumPy's own function, because the crate's panics where there is no memory.
fn zeros<'py, D: Dimension>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyArray<u8, D>>> {
    static ZEROS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let shape = PyTuple::new(py, shape)?;
    Ok(ZEROS.import(py, "numpy", "zeros")?.call1((shape, numpy::dtype::<u8>(py)))?.cast_into()?)
}

/// Fills an array that nobody else has seen, without the interpreter lock. What a refused batch leaves is wiped.
fn fill_array<'py, D, F>(
    py: Python<'py>,
    array: Bound<'py, PyArray<u8, D>>,
    work: F,
) -> PyResult<Bound<'py, PyArray<u8, D>>>
where
    D: Dimension,
    F: FnOnce(&mut [u8]) -> Result<(), Error> + Send,
{
    {
        let mut borrowed = array.try_readwrite()?;
        let out = borrowed.as_slice_mut().map_err(bad)?;
        py.detach(|| work(out).inspect_err(|_| out.zeroize())).map_err(|error| raise(py, error))?;
    }
    Ok(array)
}

/// A new `(n, width)` array, filled by `work`.
fn fill<'py, F>(py: Python<'py>, n: usize, width: usize, work: F) -> Out2<'py>
where
    F: FnOnce(&mut [u8]) -> Result<(), Error> + Send,
{
    fill_array(py, zeros::<Ix2>(py, &[n, width])?, work)
}

/// A new array of `length` bytes, filled by `work`.
fn fill_one<'py, F>(py: Python<'py>, length: usize, work: F) -> Out1<'py>
where
    F: FnOnce(&mut [u8]) -> Result<(), Error> + Send,
{
    fill_array(py, zeros::<Ix1>(py, &[length])?, work)
}

/// Runs the body with `$S` as the type of the suite that has this name.
macro_rules! with_suite {
    ($name:expr, $S:ident => $body:expr) => {
        match $name {
            "intl" => {
                type $S = Ristretto255Sha512;
                $body
            }
            "gm" => {
                type $S = Sm2Sm3;
                $body
            }
            _ => Err(bad("the suite must be \"intl\" or \"gm\"")),
        }
    };
}

type GroupOf<S> = <S as Suite>::Group;

fn mode_of(mode: u8) -> PyResult<Mode> {
    match mode {
        0 => Ok(Mode::Oprf),
        1 => Ok(Mode::Voprf),
        _ => Err(bad("the mode must be 0 (OPRF) or 1 (VOPRF)")),
    }
}

#[pyfunction]
fn threads() -> PyResult<usize> {
    parallel::threads().map_err(bad)
}

#[pyfunction]
fn wipe(mut buffer: PyReadwriteArrayDyn<'_, u8>) -> PyResult<()> {
    buffer.as_slice_mut().map_err(|_| bad("the buffer must be contiguous"))?.zeroize();
    Ok(())
}

#[pyfunction]
fn prg_fill(py: Python<'_>, key: Secret, counter: u128, mut out: numpy::PyReadwriteArray1<'_, u8>) -> PyResult<()> {
    let out = out.as_slice_mut().map_err(|_| bad("out must be C-contiguous"))?;
    py.detach(|| prg::fill(&key.0, counter, out)).map_err(|error| raise(py, error))
}

/// Runs the body with `$H` as the hash that has this name.
macro_rules! with_hash {
    ($name:expr, $H:ident => $body:expr) => {
        match $name {
            "sha256" => {
                type $H = Sha256;
                $body
            }
            "sha512" => {
                type $H = Sha512;
                $body
            }
            "sm3" => {
                type $H = Sm3;
                $body
            }
            _ => Err(bad("the hash must be \"sha256\", \"sha512\" or \"sm3\"")),
        }
    };
}

#[pyfunction]
fn hash_batch<'py>(py: Python<'py>, name: &str, prefix: &[u8], data: Bytes1<'py>, offsets: Offsets) -> Out2<'py> {
    let items = packed(py, &data, &offsets)?;
    with_hash!(name, H => fill(py, items.len(), <H as Digest>::output_size(), |out| {
        hash::hash_batch::<H>(prefix, items, out);
        Ok(())
    }))
}

#[pyfunction]
fn hash_rows<'py>(py: Python<'py>, name: &str, prefix: &[u8], rows: Bytes2<'py>) -> Out2<'py> {
    let [n, width] = [rows.shape()[0], rows.shape()[1]];
    let data = contiguous(&rows, "rows")?;
    with_hash!(name, H => fill(py, n, <H as Digest>::output_size(), |out| {
        hash::hash_rows::<H>(prefix, data, width, out);
        Ok(())
    }))
}

#[pyfunction]
fn ed25519_verifies(py: Python<'_>, key: &[u8], message: &[u8], signature: &[u8]) -> PyResult<bool> {
    let key = key.try_into().map_err(|_| bad("key must be 32 bytes"))?;
    let signature = signature.try_into().map_err(|_| bad("signature must be 64 bytes"))?;
    // `bytes` never change, so they can be read without the lock.
    Ok(py.detach(|| ed25519::verifies_vartime(key, message, signature)))
}

#[pyfunction]
fn ristretto255_hash_to_group<'py>(py: Python<'py>, data: Bytes1<'py>, offsets: Offsets, dst: &[u8]) -> Out2<'py> {
    let items = packed(py, &data, &offsets)?;
    fill(py, items.len(), Ristretto255::ELEMENT_LENGTH, |out| {
        group::hash_to_group::<Ristretto255, Sha512>(items, dst, out)
    })
}

#[pyfunction]
fn ristretto255_hash_mul<'py>(
    py: Python<'py>,
    scalar: Secret,
    data: Bytes1<'py>,
    offsets: Offsets,
    dst: &[u8],
) -> Out2<'py> {
    let scalar = scalar.of_length(Ristretto255::SCALAR_LENGTH, "scalar")?;
    let items = packed(py, &data, &offsets)?;
    fill(py, items.len(), Ristretto255::ELEMENT_LENGTH, |out| {
        group::hash_mul::<Ristretto255, Sha512>(scalar, items, dst, out)
    })
}

#[pyfunction]
fn ristretto255_mul<'py>(py: Python<'py>, scalar: Secret, points: Bytes2<'py>) -> Out2<'py> {
    let scalar = scalar.of_length(Ristretto255::SCALAR_LENGTH, "scalar")?;
    let width = Ristretto255::ELEMENT_LENGTH;
    let data = rows(&points, width, "points")?;
    fill(py, points.shape()[0], width, |out| group::mul::<Ristretto255>(scalar, data, out))
}

#[pyfunction]
fn ristretto255_mul_each<'py>(py: Python<'py>, scalars: Bytes2<'py>, points: Bytes2<'py>) -> Out2<'py> {
    let width = Ristretto255::ELEMENT_LENGTH;
    let scalar_rows = rows(&scalars, Ristretto255::SCALAR_LENGTH, "scalars")?;
    let point_rows = rows(&points, width, "points")?;
    let n = scalars.shape()[0];
    same_count(n, points.shape()[0], "points")?;
    fill(py, n, width, |out| group::mul_each::<Ristretto255>(scalar_rows, point_rows, out))
}

#[pyfunction]
fn ristretto255_add<'py>(py: Python<'py>, a: Bytes2<'py>, b: Bytes2<'py>) -> Out2<'py> {
    let width = Ristretto255::ELEMENT_LENGTH;
    let (a_rows, b_rows) = (rows(&a, width, "a")?, rows(&b, width, "b")?);
    let n = a.shape()[0];
    same_count(n, b.shape()[0], "b")?;
    fill(py, n, width, |out| group::add::<Ristretto255>(a_rows, b_rows, out))
}

#[pyfunction]
fn ristretto255_sub<'py>(py: Python<'py>, a: Bytes2<'py>, b: Bytes2<'py>) -> Out2<'py> {
    let width = Ristretto255::ELEMENT_LENGTH;
    let (a_rows, b_rows) = (rows(&a, width, "a")?, rows(&b, width, "b")?);
    let n = a.shape()[0];
    same_count(n, b.shape()[0], "b")?;
    fill(py, n, width, |out| group::sub::<Ristretto255>(a_rows, b_rows, out))
}

#[pyfunction]
fn ristretto255_mul_base<'py>(py: Python<'py>, scalars: Bytes2<'py>) -> Out2<'py> {
    let data = rows(&scalars, Ristretto255::SCALAR_LENGTH, "scalars")?;
    fill(py, scalars.shape()[0], Ristretto255::ELEMENT_LENGTH, |out| group::mul_base::<Ristretto255>(data, out))
}

#[pyfunction]
fn ristretto255_check(py: Python<'_>, points: Bytes2<'_>) -> PyResult<()> {
    let data = rows(&points, Ristretto255::ELEMENT_LENGTH, "points")?;
    py.detach(|| group::check::<Ristretto255>(data)).map_err(|error| raise(py, error))
}

#[pyfunction]
fn ristretto255_scalar_from_uniform<'py>(py: Python<'py>, uniform: Bytes2<'py>) -> Out2<'py> {
    let data = rows(&uniform, Ristretto255::UNIFORM_SCALAR_LENGTH, "uniform")?;
    fill(py, uniform.shape()[0], Ristretto255::SCALAR_LENGTH, |out| {
        group::scalars_from_uniform::<Ristretto255>(data, out)
    })
}

#[pyfunction]
fn ristretto255_scalar_invert<'py>(py: Python<'py>, scalars: Bytes2<'py>) -> Out2<'py> {
    let data = rows(&scalars, Ristretto255::SCALAR_LENGTH, "scalars")?;
    fill(py, scalars.shape()[0], Ristretto255::SCALAR_LENGTH, |out| group::invert_scalars::<Ristretto255>(data, out))
}

#[pyfunction]
fn oprf_sizes(suite: &str) -> PyResult<(usize, usize, usize, usize)> {
    with_suite!(suite, S => Ok((
        GroupOf::<S>::SCALAR_LENGTH,
        GroupOf::<S>::ELEMENT_LENGTH,
        Context::<S>::output_length(),
        Context::<S>::proof_length(),
    )))
}

#[pyfunction]
fn oprf_derive_key<'py>(py: Python<'py>, suite: &str, mode: u8, seed: Secret, info: &[u8]) -> Out1<'py> {
    let mode = mode_of(mode)?;
    let seed = seed.of_length(32, "seed")?;
    with_suite!(suite, S => fill_one(py, GroupOf::<S>::SCALAR_LENGTH, |out| {
        Context::<S>::new(mode).derive_key(seed, info, out)
    }))
}

#[pyfunction]
fn oprf_public_key<'py>(py: Python<'py>, suite: &str, private: Secret) -> Out1<'py> {
    with_suite!(suite, S => {
        let private = private.of_length(GroupOf::<S>::SCALAR_LENGTH, "private")?;
        fill_one(py, GroupOf::<S>::ELEMENT_LENGTH, |out| oprf::public_key::<S>(private, out))
    })
}

#[pyfunction]
fn oprf_blind<'py>(
    py: Python<'py>,
    suite: &str,
    mode: u8,
    data: Bytes1<'py>,
    offsets: Offsets,
    blinds: Bytes2<'py>,
) -> Out2<'py> {
    let mode = mode_of(mode)?;
    let inputs = packed(py, &data, &offsets)?;
    same_count(inputs.len(), blinds.shape()[0], "blinds")?;
    with_suite!(suite, S => {
        let blinds = rows(&blinds, GroupOf::<S>::SCALAR_LENGTH, "blinds")?;
        fill(py, inputs.len(), GroupOf::<S>::ELEMENT_LENGTH, |out| Context::<S>::new(mode).blind(inputs, blinds, out))
    })
}

#[pyfunction]
fn oprf_blind_evaluate<'py>(py: Python<'py>, suite: &str, private: Secret, blinded: Bytes2<'py>) -> Out2<'py> {
    with_suite!(suite, S => {
        let private = private.of_length(GroupOf::<S>::SCALAR_LENGTH, "private")?;
        let width = GroupOf::<S>::ELEMENT_LENGTH;
        let data = rows(&blinded, width, "blinded")?;
        fill(py, blinded.shape()[0], width, |out| oprf::blind_evaluate::<S>(private, data, out))
    })
}

#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are GenerateProof's of RFC 9497")]
fn oprf_prove<'py>(
    py: Python<'py>,
    suite: &str,
    mode: u8,
    private: Secret,
    public: Bytes1<'py>,
    blinded: Bytes2<'py>,
    evaluated: Bytes2<'py>,
    entropy: Secret,
) -> Out1<'py> {
    let mode = mode_of(mode)?;
    let public = contiguous(&public, "public")?;
    same_count(blinded.shape()[0], evaluated.shape()[0], "evaluated")?;
    with_suite!(suite, S => {
        let private = private.of_length(GroupOf::<S>::SCALAR_LENGTH, "private")?;
        let entropy = entropy.of_length(oprf::ENTROPY_LENGTH, "entropy")?;
        let blinded = rows(&blinded, GroupOf::<S>::ELEMENT_LENGTH, "blinded")?;
        let evaluated = rows(&evaluated, GroupOf::<S>::ELEMENT_LENGTH, "evaluated")?;
        fill_one(py, Context::<S>::proof_length(), |out| {
            Context::<S>::new(mode).prove(private, public, blinded, evaluated, entropy, out)
        })
    })
}

#[pyfunction]
fn oprf_verify(
    py: Python<'_>,
    suite: &str,
    mode: u8,
    public: Bytes1<'_>,
    blinded: Bytes2<'_>,
    evaluated: Bytes2<'_>,
    proof: Bytes1<'_>,
) -> PyResult<()> {
    let mode = mode_of(mode)?;
    let public = contiguous(&public, "public")?;
    let proof = contiguous(&proof, "proof")?;
    same_count(blinded.shape()[0], evaluated.shape()[0], "evaluated")?;
    with_suite!(suite, S => {
        let blinded = rows(&blinded, GroupOf::<S>::ELEMENT_LENGTH, "blinded")?;
        let evaluated = rows(&evaluated, GroupOf::<S>::ELEMENT_LENGTH, "evaluated")?;
        if proof.len() != Context::<S>::proof_length() {
            return Err(bad(format_args!("proof must be {} bytes, not {}", Context::<S>::proof_length(), proof.len())));
        }
        py.detach(|| Context::<S>::new(mode).verify(public, blinded, evaluated, proof)).map_err(|error| raise(py, error))
    })
}

#[pyfunction]
fn oprf_finalize<'py>(
    py: Python<'py>,
    suite: &str,
    mode: u8,
    data: Bytes1<'py>,
    offsets: Offsets,
    blinds: Bytes2<'py>,
    evaluated: Bytes2<'py>,
) -> Out2<'py> {
    let mode = mode_of(mode)?;
    let inputs = packed(py, &data, &offsets)?;
    same_count(inputs.len(), blinds.shape()[0], "blinds")?;
    same_count(inputs.len(), evaluated.shape()[0], "evaluated")?;
    with_suite!(suite, S => {
        let blinds = rows(&blinds, GroupOf::<S>::SCALAR_LENGTH, "blinds")?;
        let evaluated = rows(&evaluated, GroupOf::<S>::ELEMENT_LENGTH, "evaluated")?;
        fill(py, inputs.len(), Context::<S>::output_length(), |out| {
            Context::<S>::new(mode).finalize(inputs, blinds, evaluated, out)
        })
    })
}

#[pyfunction]
fn oprf_evaluate<'py>(
    py: Python<'py>,
    suite: &str,
    mode: u8,
    private: Secret,
    data: Bytes1<'py>,
    offsets: Offsets,
) -> Out2<'py> {
    let mode = mode_of(mode)?;
    let inputs = packed(py, &data, &offsets)?;
    with_suite!(suite, S => {
        let private = private.of_length(GroupOf::<S>::SCALAR_LENGTH, "private")?;
        fill(py, inputs.len(), Context::<S>::output_length(), |out| {
            Context::<S>::new(mode).evaluate(private, inputs, out)
        })
    })
}

/// Batch kernels on contiguous buffers.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // A bad setting must be heard of here, not as one thread where many were meant.
    parallel::threads().map_err(bad)?;
    module.add("InvalidEncoding", module.py().get_type::<InvalidEncoding>())?;
    module.add("InvalidProof", module.py().get_type::<InvalidProof>())?;
    module.add("EncodingFailed", module.py().get_type::<EncodingFailed>())?;
    module.add("InvalidTag", module.py().get_type::<InvalidTag>())?;
    module.add("TooManyPairs", module.py().get_type::<TooManyPairs>())?;
    macro_rules! add {
        ($($function:ident),+ $(,)?) => { $(module.add_function(wrap_pyfunction!($function, module)?)?;)+ };
    }
    add!(
        threads,
        wipe,
        prg_fill,
        hash_batch,
        hash_rows,
        ed25519_verifies,
        ristretto255_hash_to_group,
        ristretto255_hash_mul,
        ristretto255_mul,
        ristretto255_mul_each,
        ristretto255_add,
        ristretto255_sub,
        ristretto255_mul_base,
        ristretto255_check,
        ristretto255_scalar_from_uniform,
        ristretto255_scalar_invert,
        oprf_sizes,
        oprf_derive_key,
        oprf_public_key,
        oprf_blind,
        oprf_blind_evaluate,
        oprf_prove,
        oprf_verify,
        oprf_finalize,
        oprf_evaluate,
    );
    for register in [
        mask::register,
        okvs::register,
        ot::register,
        paillier::register,
        ring::register,
        rlwe::register,
        lwe::register,
        shuffle::register,
        sm2::register,
        symmetric::register,
        transfers::register,
        vole::register,
    ] {
        register(module)?;
    }
    Ok(())
}
