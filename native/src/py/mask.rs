//! Bindings of the masks over Z_2^64.

use numpy::{PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;

use super::{Secret, bad, contiguous, raise};
use crate::mask;

#[pyfunction]
fn mask_apply(
    py: Python<'_>,
    keys: Secret,
    negative: PyReadonlyArray1<'_, bool>,
    block: u64,
    mut words: PyReadwriteArray1<'_, u64>,
) -> PyResult<()> {
    let negative = contiguous(&negative, "negative")?;
    let words = words.as_slice_mut().map_err(|_| bad("words must be C-contiguous"))?;
    py.detach(|| mask::apply(&keys.0, negative, block, words)).map_err(|error| raise(py, error))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(mask_apply, module)?)
}
