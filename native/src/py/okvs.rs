//! Bindings of GF(2^128), key-value stores and joins.

use pyo3::prelude::*;

/// Adds this family's functions to the module.
pub(super) fn register(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
