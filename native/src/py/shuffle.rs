//! Bindings of permutations, and of strings taken in another order.

use numpy::PyReadwriteArray1;
use pyo3::prelude::*;

use super::{Bytes1, Offsets, Secret, bad, contiguous, packed, raise};
use crate::{packed as strings, shuffle};

#[pyfunction]
fn permutation_vartime(py: Python<'_>, key: Secret, mut out: PyReadwriteArray1<'_, i64>) -> PyResult<()> {
    let out = out.as_slice_mut().map_err(|_| bad("out must be C-contiguous"))?;
    py.detach(|| shuffle::permutation_vartime(&key.0, out)).map_err(|error| raise(py, error))
}

#[pyfunction]
fn packed_take(
    py: Python<'_>,
    data: Bytes1<'_>,
    offsets: Offsets,
    rows: numpy::PyReadonlyArray1<'_, i64>,
    mut out: PyReadwriteArray1<'_, u8>,
) -> PyResult<()> {
    let (items, rows) = (packed(py, &data, &offsets)?, contiguous(&rows, "rows")?);
    let out = out.as_slice_mut().map_err(|_| bad("out must be C-contiguous"))?;
    py.detach(|| strings::take(items, rows, out)).map_err(|error| raise(py, error))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(permutation_vartime, module)?)?;
    module.add_function(wrap_pyfunction!(packed_take, module)?)
}
