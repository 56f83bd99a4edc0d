//! Bindings of SM2.

use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use sha2::Sha256;
use sm3::Sm3;

use super::{Bytes1, Bytes2, Offsets, Out1, Out2, Secret, bad, fill, fill_one, packed, raise, rows, same_count};
use crate::group::{self, Group};
use crate::sm2::{self, Sm2, signature};

const SCALAR: usize = Sm2::SCALAR_LENGTH;
const ELEMENT: usize = Sm2::ELEMENT_LENGTH;

#[pyfunction]
fn sm2_hash_to_group<'py>(py: Python<'py>, data: Bytes1<'py>, offsets: Offsets, dst: &[u8]) -> Out2<'py> {
    let items = packed(py, &data, &offsets)?;
    fill(py, items.len(), ELEMENT, |out| group::hash_to_group::<Sm2, Sm3>(items, dst, out))
}

#[pyfunction]
fn sm2_hash_mul<'py>(py: Python<'py>, scalar: Secret, data: Bytes1<'py>, offsets: Offsets, dst: &[u8]) -> Out2<'py> {
    let scalar = scalar.of_length(SCALAR, "scalar")?;
    let items = packed(py, &data, &offsets)?;
    fill(py, items.len(), ELEMENT, |out| group::hash_mul::<Sm2, Sm3>(scalar, items, dst, out))
}

#[pyfunction]
fn sm2_try_and_rehash<'py>(py: Python<'py>, name: &str, data: Bytes1<'py>, offsets: Offsets) -> Out2<'py> {
    let items = packed(py, &data, &offsets)?;
    let map = match name {
        "sm3" => sm2::try_and_rehash_vartime::<Sm3>,
        "sha256" => sm2::try_and_rehash_vartime::<Sha256>,
        _ => return Err(bad("the hash must be \"sm3\" or \"sha256\"")),
    };
    fill(py, items.len(), ELEMENT, |out| {
        map(items, out);
        Ok(())
    })
}

#[pyfunction]
fn sm2_mul<'py>(py: Python<'py>, scalar: Secret, points: Bytes2<'py>) -> Out2<'py> {
    let scalar = scalar.of_length(SCALAR, "scalar")?;
    let data = rows(&points, ELEMENT, "points")?;
    fill(py, points.shape()[0], ELEMENT, |out| group::mul::<Sm2>(scalar, data, out))
}

#[pyfunction]
fn sm2_mul_each<'py>(py: Python<'py>, scalars: Bytes2<'py>, points: Bytes2<'py>) -> Out2<'py> {
    let scalar_rows = rows(&scalars, SCALAR, "scalars")?;
    let point_rows = rows(&points, ELEMENT, "points")?;
    let n = scalars.shape()[0];
    same_count(n, points.shape()[0], "points")?;
    fill(py, n, ELEMENT, |out| group::mul_each::<Sm2>(scalar_rows, point_rows, out))
}

#[pyfunction]
fn sm2_add<'py>(py: Python<'py>, a: Bytes2<'py>, b: Bytes2<'py>) -> Out2<'py> {
    let (a_rows, b_rows) = (rows(&a, ELEMENT, "a")?, rows(&b, ELEMENT, "b")?);
    let n = a.shape()[0];
    same_count(n, b.shape()[0], "b")?;
    fill(py, n, ELEMENT, |out| group::add::<Sm2>(a_rows, b_rows, out))
}

#[pyfunction]
fn sm2_sub<'py>(py: Python<'py>, a: Bytes2<'py>, b: Bytes2<'py>) -> Out2<'py> {
    let (a_rows, b_rows) = (rows(&a, ELEMENT, "a")?, rows(&b, ELEMENT, "b")?);
    let n = a.shape()[0];
    same_count(n, b.shape()[0], "b")?;
    fill(py, n, ELEMENT, |out| group::sub::<Sm2>(a_rows, b_rows, out))
}

#[pyfunction]
fn sm2_mul_base<'py>(py: Python<'py>, scalars: Bytes2<'py>) -> Out2<'py> {
    let data = rows(&scalars, SCALAR, "scalars")?;
    fill(py, scalars.shape()[0], ELEMENT, |out| group::mul_base::<Sm2>(data, out))
}

#[pyfunction]
fn sm2_check(py: Python<'_>, points: Bytes2<'_>) -> PyResult<()> {
    let data = rows(&points, ELEMENT, "points")?;
    py.detach(|| group::check::<Sm2>(data)).map_err(|error| raise(py, error))
}

#[pyfunction]
fn sm2_scalar_from_uniform<'py>(py: Python<'py>, uniform: Bytes2<'py>) -> Out2<'py> {
    let data = rows(&uniform, Sm2::UNIFORM_SCALAR_LENGTH, "uniform")?;
    fill(py, uniform.shape()[0], SCALAR, |out| group::scalars_from_uniform::<Sm2>(data, out))
}

#[pyfunction]
fn sm2_scalar_invert<'py>(py: Python<'py>, scalars: Bytes2<'py>) -> Out2<'py> {
    let data = rows(&scalars, SCALAR, "scalars")?;
    fill(py, scalars.shape()[0], SCALAR, |out| group::invert_scalars::<Sm2>(data, out))
}

#[pyfunction]
fn sm2_public_key<'py>(py: Python<'py>, private: Secret) -> Out1<'py> {
    let private = private.of_length(SCALAR, "private")?;
    fill_one(py, ELEMENT, |out| signature::public_key(private, out))
}

#[pyfunction]
fn sm2_sign<'py>(py: Python<'py>, private: Secret, signer_id: &[u8], message: &[u8], entropy: Secret) -> Out1<'py> {
    let private = private.of_length(SCALAR, "private")?;
    let entropy = entropy.of_length(signature::ENTROPY_LENGTH, "entropy")?;
    // `bytes` never change, so they can be read without the lock.
    fill_one(py, signature::SIGNATURE_LENGTH, |out| signature::sign(private, signer_id, message, entropy, out))
}

#[pyfunction]
fn sm2_verifies(py: Python<'_>, key: &[u8], signer_id: &[u8], message: &[u8], signature: &[u8]) -> PyResult<bool> {
    py.detach(|| signature::verifies_vartime(key, signer_id, message, signature)).map_err(|error| raise(py, error))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    macro_rules! add {
        ($($function:ident),+ $(,)?) => { $(module.add_function(wrap_pyfunction!($function, module)?)?;)+ };
    }
    add!(
        sm2_hash_to_group,
        sm2_hash_mul,
        sm2_try_and_rehash,
        sm2_mul,
        sm2_mul_each,
        sm2_add,
        sm2_sub,
        sm2_mul_base,
        sm2_check,
        sm2_scalar_from_uniform,
        sm2_scalar_invert,
        sm2_public_key,
        sm2_sign,
        sm2_verifies,
    );
    Ok(())
}
