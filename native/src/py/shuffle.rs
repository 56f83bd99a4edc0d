//! Bindings of permutations.

use numpy::PyReadwriteArray1;
use pyo3::prelude::*;

use super::{Secret, bad, raise};
use crate::shuffle;

#[pyfunction]
fn permutation_vartime(py: Python<'_>, key: Secret, mut out: PyReadwriteArray1<'_, i64>) -> PyResult<()> {
    let out = out.as_slice_mut().map_err(|_| bad("out must be C-contiguous"))?;
    py.detach(|| shuffle::permutation_vartime(&key.0, out)).map_err(|error| raise(py, error))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(permutation_vartime, module)?)
}
