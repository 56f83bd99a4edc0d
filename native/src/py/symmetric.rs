//! Bindings of SM3, SM4 and AES.

use pyo3::prelude::*;

/// Adds this family's functions to the module.
pub(super) fn register(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
