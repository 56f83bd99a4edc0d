//! Bindings of puncturable functions and the code of silent VOLE.

use numpy::{Ix2, PyArrayMethods, PyReadonlyArray1, PyReadwriteArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::{Bytes2, Out2, bad, contiguous, fill, raise, rows, same_count, zeros};
use crate::blocks::Block;
use crate::code;
use crate::pprf::{self, Shape};

type Points<'py> = PyReadonlyArray1<'py, u32>;

/// The rows of an array of blocks.
fn block_rows<'a>(array: &'a Bytes2<'_>, name: &str) -> PyResult<&'a [Block]> {
    Ok(rows(array, 16, name)?.as_chunks().0)
}

/// The rows of an array of blocks that is worked on in place.
fn block_rows_mut<'a>(array: &'a mut PyReadwriteArray2<'_, u8>, name: &str) -> PyResult<&'a mut [Block]> {
    let wrong = || bad(format_args!("{name} must be C-contiguous rows of 16 bytes"));
    if array.shape()[1] != 16 || !array.is_c_contiguous() {
        return Err(wrong());
    }
    Ok(rows_of(array.as_slice_mut().map_err(|_| wrong())?))
}

/// The rows of a buffer of blocks.
fn rows_of(buffer: &mut [u8]) -> &mut [Block] {
    buffer.as_chunks_mut().0
}

fn salt_of(salt: &[u8]) -> PyResult<&[u8; 16]> {
    salt.try_into().map_err(|_| bad(format_args!("salt must be 16 bytes, not {}", salt.len())))
}

fn shape_of(py: Python<'_>, leaves: usize) -> PyResult<Shape> {
    Shape::new(leaves).map_err(|error| raise(py, error))
}

#[pyfunction]
fn pprf_depth(py: Python<'_>, leaves: usize) -> PyResult<usize> {
    Ok(shape_of(py, leaves)?.depth())
}

#[pyfunction]
fn pprf_expand<'py>(
    py: Python<'py>,
    salt: &[u8],
    seeds: Bytes2<'py>,
    leaves: usize,
) -> PyResult<[Bound<'py, numpy::PyArray2<u8>>; 2]> {
    let (salt, shape) = (salt_of(salt)?, shape_of(py, leaves)?);
    let seeds = block_rows(&seeds, "seeds")?;
    let nodes = zeros::<Ix2>(py, &[seeds.len() * leaves, 16])?;
    let sums = {
        let mut borrowed = nodes.try_readwrite()?;
        let nodes = rows_of(borrowed.as_slice_mut().map_err(bad)?);
        let sums = seeds.len() * shape.depth() * 2;
        fill(py, sums, 16, |sums| pprf::expand(salt, seeds, shape, nodes, rows_of(sums)))?
    };
    Ok([nodes, sums])
}

#[pyfunction]
fn pprf_expand_punctured<'py>(
    py: Python<'py>,
    salt: &[u8],
    points: Points<'py>,
    keys: Bytes2<'py>,
    finals: Bytes2<'py>,
    leaves: usize,
) -> Out2<'py> {
    let (salt, shape) = (salt_of(salt)?, shape_of(py, leaves)?);
    let points = contiguous(&points, "points")?;
    same_count(points.len() * shape.depth(), keys.shape()[0], "keys")?;
    same_count(points.len(), finals.shape()[0], "finals")?;
    let (keys, finals) = (block_rows(&keys, "keys")?, block_rows(&finals, "finals")?);
    fill(py, points.len() * leaves, 16, |out| pprf::expand_punctured(salt, points, keys, finals, shape, rows_of(out)))
}

#[pyfunction]
fn pprf_add_at<'py>(
    py: Python<'py>,
    points: Points<'py>,
    values: Bytes2<'py>,
    leaves: usize,
    mut out: PyReadwriteArray2<'py, u8>,
) -> PyResult<()> {
    let points = contiguous(&points, "points")?;
    same_count(points.len(), values.shape()[0], "values")?;
    let values = block_rows(&values, "values")?;
    let out = block_rows_mut(&mut out, "out")?;
    py.detach(|| pprf::add_at(points, values, leaves, out)).map_err(|error| raise(py, error))
}

#[pyfunction]
fn code_mix<'py>(
    py: Python<'py>,
    salt: &[u8],
    mut x: PyReadwriteArray2<'py, u8>,
    mut scratch: PyReadwriteArray2<'py, u8>,
    field: bool,
) -> PyResult<()> {
    let salt = salt_of(salt)?;
    let (x, scratch) = (block_rows_mut(&mut x, "x")?, block_rows_mut(&mut scratch, "scratch")?);
    py.detach(|| code::mix(x, scratch, salt, field)).map_err(|error| raise(py, error))
}

#[pyfunction]
fn code_fold<'py>(py: Python<'py>, salt: &[u8], x: Bytes2<'py>, outputs: usize) -> Out2<'py> {
    let salt = salt_of(salt)?;
    let x = block_rows(&x, "x")?;
    fill(py, outputs, 16, |out| code::fold(x, salt, rows_of(out)))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    macro_rules! add {
        ($($function:ident),+ $(,)?) => { $(module.add_function(wrap_pyfunction!($function, module)?)?;)+ };
    }
    add!(pprf_depth, pprf_expand, pprf_expand_punctured, pprf_add_at, code_mix, code_fold);
    Ok(())
}
