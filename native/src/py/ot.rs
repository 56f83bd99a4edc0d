//! Bindings of oblivious-transfer extension.

use numpy::PyReadwriteArray2;

use super::*;
use crate::ot;

/// The blocks that a call fills, in an array that the caller owns: a million transfers are not copied once more.
fn blocks_of<'a>(out: &'a mut PyReadwriteArray2<'_, u8>) -> PyResult<&'a mut [u8]> {
    let [n, width] = [out.shape()[0], out.shape()[1]];
    if width != ot::BLOCK || n % ot::COLUMNS != 0 || !out.is_c_contiguous() {
        return Err(bad("out must be (n, 16) and C-contiguous, n a multiple of 128"));
    }
    out.as_slice_mut().map_err(bad)
}

/// `(groups, 2^k, 16)` seeds; `ot` checks how many there are.
fn seeds_of<'a>(seeds: &'a PyReadonlyArray<'_, u8, numpy::Ix3>) -> PyResult<&'a [u8]> {
    contiguous(seeds, "seeds")
}

#[pyfunction]
fn ot_transpose<'py>(py: Python<'py>, rows: Bytes2<'py>) -> Out2<'py> {
    let [count, width] = [rows.shape()[0], rows.shape()[1]];
    if count != ot::COLUMNS || width % ot::BLOCK != 0 {
        return Err(bad("rows must be (128, n / 8), n a multiple of 128"));
    }
    let data = contiguous(&rows, "rows")?;
    fill(py, 8 * width, ot::BLOCK, |out| {
        ot::transpose(data, out);
        Ok(())
    })
}

#[pyfunction]
fn ot_untranspose<'py>(py: Python<'py>, blocks: Bytes2<'py>) -> Out2<'py> {
    let n = blocks.shape()[0];
    let data = rows(&blocks, ot::BLOCK, "blocks")?;
    if n % ot::COLUMNS != 0 {
        return Err(bad("blocks must be (n, 16), n a multiple of 128"));
    }
    fill(py, ot::COLUMNS, n / 8, |out| {
        ot::untranspose(data, out);
        Ok(())
    })
}

#[pyfunction]
fn ot_hash_columns<'py>(py: Python<'py>, seed: Secret, blocks: Bytes2<'py>) -> Out2<'py> {
    let seed = seed.of_length(ot::BLOCK, "seed")?.try_into().expect("a block");
    let data = rows(&blocks, ot::BLOCK, "blocks")?;
    if blocks.shape()[0] % ot::COLUMNS != 0 {
        return Err(bad("blocks must be (n, 16), n a multiple of 128"));
    }
    fill(py, ot::COLUMNS, ot::BLOCK, |out| {
        ot::hash_columns(seed, data, out);
        Ok(())
    })
}

#[pyfunction]
fn ot_receive<'py>(
    py: Python<'py>,
    seeds: PyReadonlyArray<'py, u8, numpy::Ix3>,
    k: usize,
    counter: u128,
    choices: Bytes1<'py>,
    mut out: PyReadwriteArray2<'py, u8>,
) -> Out1<'py> {
    let seeds = seeds_of(&seeds)?;
    let choices = contiguous(&choices, "choices")?;
    let out = blocks_of(&mut out)?;
    same_count(out.len() / ot::COLUMNS, choices.len(), "choices")?;
    if !matches!(k, 1 | 2 | 4 | 8) {
        return Err(bad("k must be 1, 2, 4 or 8"));
    }
    fill_one(py, choices.len() * (ot::COLUMNS / k), |corrections| {
        ot::receive(seeds, k, counter, choices, out, corrections)
    })
}

#[pyfunction]
fn ot_send(
    py: Python<'_>,
    seeds: PyReadonlyArray<'_, u8, numpy::Ix3>,
    k: usize,
    counter: u128,
    offset: Secret,
    corrections: Bytes1<'_>,
    mut out: PyReadwriteArray2<'_, u8>,
) -> PyResult<()> {
    let seeds = seeds_of(&seeds)?;
    let offset = offset.of_length(ot::BLOCK, "offset")?.try_into().expect("a block");
    let corrections = contiguous(&corrections, "corrections")?;
    let out = blocks_of(&mut out)?;
    if !matches!(k, 1 | 2 | 4 | 8) || corrections.len() != out.len() / k {
        return Err(bad("k must be 1, 2, 4 or 8, and corrections have 1 / k of the bytes of out"));
    }
    py.detach(|| ot::send(seeds, k, counter, offset, corrections, out)).map_err(|error| raise(py, error))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(ot_transpose, module)?)?;
    module.add_function(wrap_pyfunction!(ot_untranspose, module)?)?;
    module.add_function(wrap_pyfunction!(ot_hash_columns, module)?)?;
    module.add_function(wrap_pyfunction!(ot_receive, module)?)?;
    module.add_function(wrap_pyfunction!(ot_send, module)?)
}
