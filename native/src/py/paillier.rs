//! Bindings of Paillier's encryption.

use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::{Bytes2, Out2, Secret, bad, contiguous, fill, raise, rows, same_count};
use crate::paillier::{EXTRA, Private, Public};

fn public(py: Python<'_>, n: &[u8]) -> PyResult<Public> {
    Public::new(n).map_err(|error| raise(py, error))
}

fn private(py: Python<'_>, p: &Secret, q: &Secret) -> PyResult<Private> {
    py.detach(|| Private::new(&p.0, &q.0)).map_err(|error| raise(py, error))
}

#[pyfunction]
fn paillier_check_key(py: Python<'_>, p: Secret, q: Secret) -> PyResult<()> {
    private(py, &p, &q).map(|_| ())
}

#[pyfunction]
fn paillier_encrypt<'py>(py: Python<'py>, n: &[u8], plaintexts: Bytes2<'py>, randomness: Bytes2<'py>) -> Out2<'py> {
    let key = public(py, n)?;
    let (m, r) = (rows(&plaintexts, key.plain(), "plaintexts")?, rows(&randomness, key.plain() + EXTRA, "randomness")?);
    same_count(plaintexts.shape()[0], randomness.shape()[0], "randomness")?;
    fill(py, plaintexts.shape()[0], key.cipher(), |out| key.encrypt(m, r, out))
}

#[pyfunction]
fn paillier_encrypt_with_key<'py>(
    py: Python<'py>,
    p: Secret,
    q: Secret,
    plaintexts: Bytes2<'py>,
    randomness: Bytes2<'py>,
) -> Out2<'py> {
    let key = private(py, &p, &q)?;
    let (plain, cipher) = (key.public().plain(), key.public().cipher());
    let (m, r) = (rows(&plaintexts, plain, "plaintexts")?, rows(&randomness, plain + EXTRA, "randomness")?);
    same_count(plaintexts.shape()[0], randomness.shape()[0], "randomness")?;
    fill(py, plaintexts.shape()[0], cipher, |out| key.encrypt(m, r, out))
}

#[pyfunction]
fn paillier_decrypt<'py>(py: Python<'py>, p: Secret, q: Secret, ciphertexts: Bytes2<'py>) -> Out2<'py> {
    let key = private(py, &p, &q)?;
    let c = rows(&ciphertexts, key.public().cipher(), "ciphertexts")?;
    fill(py, ciphertexts.shape()[0], key.public().plain(), |out| key.decrypt(c, out))
}

#[pyfunction]
fn paillier_check_vartime(py: Python<'_>, n: &[u8], ciphertexts: Bytes2<'_>) -> PyResult<()> {
    let key = public(py, n)?;
    let c = rows(&ciphertexts, key.cipher(), "ciphertexts")?;
    py.detach(|| key.check_vartime(c)).map_err(|error| raise(py, error))
}

#[pyfunction]
fn paillier_combine<'py>(
    py: Python<'py>,
    n: &[u8],
    ciphertexts: Bytes2<'py>,
    weights: PyReadonlyArray2<'py, u64>,
    addends: Bytes2<'py>,
) -> Out2<'py> {
    let key = public(py, n)?;
    let (c, a) = (rows(&ciphertexts, key.cipher(), "ciphertexts")?, rows(&addends, key.cipher(), "addends")?);
    let w = contiguous(&weights, "weights")?;
    same_count(weights.shape()[0], addends.shape()[0], "addends")?;
    if weights.shape()[1] != ciphertexts.shape()[0] {
        return Err(bad("weights must have a column for each ciphertext"));
    }
    fill(py, addends.shape()[0], key.cipher(), |out| key.combine(c, w, a, out))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    macro_rules! add {
        ($($function:ident),+ $(,)?) => { $(module.add_function(wrap_pyfunction!($function, module)?)?;)+ };
    }
    add!(
        paillier_check_key,
        paillier_encrypt,
        paillier_encrypt_with_key,
        paillier_decrypt,
        paillier_check_vartime,
        paillier_combine
    );
    Ok(())
}
