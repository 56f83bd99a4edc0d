//! Bindings of SM3 over one long string, and of SM4.

use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sha2::Digest;

use super::{Bytes1, Out1, Secret, bad, contiguous, fill_one, raise};
use crate::sm3;
use crate::sm4::{BLOCK, KEY, NONCE, Sm4, TAG};

/// SM3 of a string that comes in parts.
#[pyclass(module = "mpc._native")]
struct Sm3(sm3::Sm3);

#[pymethods]
impl Sm3 {
    #[new]
    fn new() -> Self {
        Self(sm3::Sm3::new())
    }

    fn update(&mut self, py: Python<'_>, data: Bytes1<'_>) -> PyResult<()> {
        let data = contiguous(&data, "data")?;
        py.detach(|| self.0.update(data));
        Ok(())
    }

    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.clone().finalize())
    }
}

fn cipher(py: Python<'_>, key: &Secret) -> PyResult<Sm4> {
    Sm4::new(key.of_length(KEY, "key")?).map_err(|error| raise(py, error))
}

fn nonce(bytes: &[u8]) -> PyResult<&[u8; NONCE]> {
    bytes.try_into().map_err(|_| bad(format_args!("nonce must be {NONCE} bytes, not {}", bytes.len())))
}

#[pyfunction]
fn sm4_ctr<'py>(py: Python<'py>, key: Secret, counter: &[u8], data: Bytes1<'py>) -> Out1<'py> {
    let cipher = cipher(py, &key)?;
    let counter = counter.try_into().map_err(|_| bad(format_args!("counter must be {BLOCK} bytes")))?;
    let data = contiguous(&data, "data")?;
    fill_one(py, data.len(), |out| {
        cipher.ctr(u128::from_be_bytes(counter), data, out);
        Ok(())
    })
}

#[pyfunction]
fn sm4_gcm_seal<'py>(py: Python<'py>, key: Secret, nonce: &[u8], plain: Bytes1<'py>, aad: Bytes1<'py>) -> Out1<'py> {
    let cipher = cipher(py, &key)?;
    let nonce = self::nonce(nonce)?;
    let [plain, aad] = [contiguous(&plain, "plain")?, contiguous(&aad, "aad")?];
    fill_one(py, plain.len() + TAG, |out| cipher.gcm_seal(nonce, aad, plain, out))
}

#[pyfunction]
fn sm4_gcm_open<'py>(py: Python<'py>, key: Secret, nonce: &[u8], sealed: Bytes1<'py>, aad: Bytes1<'py>) -> Out1<'py> {
    let cipher = cipher(py, &key)?;
    let nonce = self::nonce(nonce)?;
    let [data, aad] = [contiguous(&sealed, "sealed")?, contiguous(&aad, "aad")?];
    fill_one(py, sealed.len().saturating_sub(TAG), |out| cipher.gcm_open(nonce, aad, data, out))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Sm3>()?;
    module.add_function(wrap_pyfunction!(sm4_ctr, module)?)?;
    module.add_function(wrap_pyfunction!(sm4_gcm_seal, module)?)?;
    module.add_function(wrap_pyfunction!(sm4_gcm_open, module)?)
}
