//! Bindings of blocks, GF(2^128), key-value stores, joins and cuckoo tables.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::{Bytes2, Out1, Out2, Secret, bad, contiguous, fill, fill_one, raise, rows, same_count};
use crate::blocks::{self, Block};
use crate::cuckoo;
use crate::gf128;
use crate::join;
use crate::okvs::{self, Shape};

const WIDTH: usize = size_of::<Block>();

/// The rows of an array of blocks.
fn block_rows<'a>(array: &'a Bytes2<'_>, name: &str) -> PyResult<&'a [Block]> {
    Ok(rows(array, WIDTH, name)?.as_chunks().0)
}

fn block(secret: &Secret, name: &str) -> PyResult<Block> {
    Ok(secret.of_length(WIDTH, name)?.try_into().expect("of this length"))
}

/// A new array of blocks, filled by `work`.
fn fill_blocks<'py>(py: Python<'py>, n: usize, work: impl FnOnce(&mut [Block]) + Send) -> Out2<'py> {
    fill(py, n, WIDTH, |out| {
        work(out.as_chunks_mut().0);
        Ok(())
    })
}

#[pyfunction]
fn blocks_fixed<'py>(py: Python<'py>, x: Bytes2<'py>) -> Out2<'py> {
    let x = block_rows(&x, "x")?;
    fill_blocks(py, x.len(), |out| {
        out.copy_from_slice(x);
        blocks::permute(out);
    })
}

#[pyfunction]
fn blocks_hash<'py>(py: Python<'py>, x: Bytes2<'py>, tweak: u64) -> Out2<'py> {
    let x = block_rows(&x, "x")?;
    if tweak.checked_add(x.len() as u64).is_none() {
        return Err(bad("the tweaks must not pass 2^64 - 1"));
    }
    fill_blocks(py, x.len(), |out| blocks::hash(tweak, x, out))
}

#[pyfunction]
fn blocks_hash_under(py: Python<'_>, tweaks: Bytes2<'_>, mut x: numpy::PyReadwriteArray2<'_, u8>) -> PyResult<()> {
    let tweaks = block_rows(&tweaks, "tweaks")?;
    if x.shape() != [tweaks.len(), WIDTH] || !x.is_c_contiguous() {
        return Err(bad("x must be C-contiguous and have the tweaks' shape"));
    }
    let x = x.as_slice_mut().map_err(bad)?.as_chunks_mut().0;
    py.detach(|| blocks::hash_under(tweaks, x));
    Ok(())
}

#[pyfunction]
fn gf128_mul<'py>(py: Python<'py>, a: Bytes2<'py>, b: Bytes2<'py>) -> Out2<'py> {
    let (a, b) = (block_rows(&a, "a")?, block_rows(&b, "b")?);
    same_count(a.len(), b.len(), "b")?;
    fill_blocks(py, a.len(), |out| gf128::mul(a, b, out))
}

#[pyfunction]
fn gf128_scale<'py>(py: Python<'py>, delta: Secret, a: Bytes2<'py>) -> Out2<'py> {
    let (delta, a) = (block(&delta, "delta")?, block_rows(&a, "a")?);
    fill_blocks(py, a.len(), |out| gf128::scale(&delta, a, out))
}

#[pyfunction]
fn gf128_scale_into(
    py: Python<'_>,
    delta: Secret,
    a: Bytes2<'_>,
    mut out: numpy::PyReadwriteArray2<'_, u8>,
) -> PyResult<()> {
    let (delta, a) = (block(&delta, "delta")?, block_rows(&a, "a")?);
    if out.shape() != [a.len(), WIDTH] || !out.is_c_contiguous() {
        return Err(bad("out must be C-contiguous and have a's shape"));
    }
    let out = out.as_slice_mut().map_err(bad)?.as_chunks_mut().0;
    py.detach(|| gf128::scale_into(&delta, a, out));
    Ok(())
}

#[pyfunction]
fn gf128_inner<'py>(py: Python<'py>, a: Bytes2<'py>, b: Bytes2<'py>) -> Out1<'py> {
    let (a, b) = (block_rows(&a, "a")?, block_rows(&b, "b")?);
    same_count(a.len(), b.len(), "b")?;
    fill_one(py, WIDTH, |out| {
        out.copy_from_slice(&gf128::inner(a, b));
        Ok(())
    })
}

#[pyfunction]
fn gf128_polynomial<'py>(py: Python<'py>, seed: Secret, a: Bytes2<'py>) -> Out1<'py> {
    let (seed, a) = (block(&seed, "seed")?, block_rows(&a, "a")?);
    fill_one(py, WIDTH, |out| {
        out.copy_from_slice(&gf128::polynomial(&seed, a));
        Ok(())
    })
}

#[pyfunction]
fn gf128_invert<'py>(py: Python<'py>, a: Secret) -> Out1<'py> {
    let a = block(&a, "a")?;
    fill_one(py, WIDTH, |out| {
        out.copy_from_slice(&gf128::invert(&a));
        Ok(())
    })
}

fn shape(n: usize) -> PyResult<Shape> {
    if u32::try_from(n).is_err() {
        return Err(bad("n must be below 2^32"));
    }
    Ok(Shape::new(n))
}

#[pyfunction]
fn okvs_shape(n: usize) -> PyResult<(usize, usize, usize, usize)> {
    let Shape { bins, capacity, sparse, dense } = shape(n)?;
    Ok((bins, capacity, sparse, dense))
}

#[pyfunction]
fn okvs_encode_vartime<'py>(
    py: Python<'py>,
    keys: Bytes2<'py>,
    values: Bytes2<'py>,
    seed: Secret,
    randomness: Secret,
) -> Out2<'py> {
    let (keys, values) = (block_rows(&keys, "keys")?, block_rows(&values, "values")?);
    same_count(keys.len(), values.len(), "values")?;
    let seed = block(&seed, "seed")?;
    let randomness: &[u8; 32] = randomness.of_length(32, "randomness")?.try_into().expect("of this length");
    let shape = shape(keys.len())?;
    fill(py, shape.rows(), WIDTH, |out| {
        okvs::encode_vartime(&shape, keys, values, &seed, randomness, out.as_chunks_mut().0)
    })
}

#[pyfunction]
fn okvs_decode_into_vartime(
    py: Python<'_>,
    keys: Bytes2<'_>,
    table: Bytes2<'_>,
    n: usize,
    seed: Secret,
    mut out: numpy::PyReadwriteArray2<'_, u8>,
) -> PyResult<()> {
    let (keys, table, seed) = (block_rows(&keys, "keys")?, block_rows(&table, "table")?, block(&seed, "seed")?);
    let shape = shape(n)?;
    same_count(shape.rows(), table.len(), "table")?;
    if out.shape() != [keys.len(), WIDTH] || !out.is_c_contiguous() {
        return Err(bad("out must be C-contiguous and have one block for each key"));
    }
    let out = out.as_slice_mut().map_err(bad)?.as_chunks_mut().0;
    py.detach(|| okvs::decode_into_vartime(&shape, keys, table, &seed, out)).map_err(|error| raise(py, error))
}

/// The blocks of an array of `n` that is filled in place.
fn block_rows_mut<'a>(
    array: &'a mut numpy::PyReadwriteArray2<'_, u8>,
    n: usize,
    name: &str,
) -> PyResult<&'a mut [Block]> {
    if array.shape() != [n, WIDTH] || !array.is_c_contiguous() {
        return Err(bad(format_args!("{name} must be C-contiguous and have {n} blocks")));
    }
    Ok(array.as_slice_mut().map_err(bad)?.as_chunks_mut().0)
}

#[pyfunction]
fn okvs_arrange_vartime<'py>(
    py: Python<'py>,
    pairs: (Bytes2<'py>, Bytes2<'py>),
    n: usize,
    seed: Secret,
    out: (numpy::PyReadwriteArray2<'py, u8>, numpy::PyReadwriteArray2<'py, u8>),
    mut rows: numpy::PyReadwriteArray1<'py, u32>,
) -> PyResult<Vec<usize>> {
    let (keys, values) = (block_rows(&pairs.0, "keys")?, block_rows(&pairs.1, "values")?);
    let (shape, seed) = (shape(n)?, block(&seed, "seed")?);
    let (mut out_keys, mut out_values) = out;
    let out_keys = block_rows_mut(&mut out_keys, keys.len(), "out's keys")?;
    let out_values = block_rows_mut(&mut out_values, keys.len(), "out's values")?;
    let rows = rows.as_slice_mut().map_err(bad)?;
    py.detach(|| okvs::arrange_vartime(&shape, &seed, (keys, values), (out_keys, out_values), rows))
        .map_err(|error| raise(py, error))
}

#[pyfunction]
fn okvs_encode_bins_vartime<'py>(
    py: Python<'py>,
    pairs: (Bytes2<'py>, Bytes2<'py>),
    bins: (usize, Vec<usize>),
    n: usize,
    seed: Secret,
    randomness: Secret,
) -> Out2<'py> {
    let (keys, values) = (block_rows(&pairs.0, "keys")?, block_rows(&pairs.1, "values")?);
    let (shape, seed) = (shape(n)?, block(&seed, "seed")?);
    let randomness: &[u8; 32] = randomness.of_length(32, "randomness")?.try_into().expect("of this length");
    let (first, starts) = bins;
    let rows = starts.len().saturating_sub(1).min(shape.bins) * shape.bin_rows();
    fill(py, rows, WIDTH, |out| {
        let parts = out.as_chunks_mut().0;
        okvs::encode_bins_vartime(&shape, first, &starts, (keys, values), &seed, randomness, parts)
    })
}

#[pyfunction]
fn okvs_decode_bins_vartime<'py>(
    py: Python<'py>,
    keys: Bytes2<'py>,
    parts: Bytes2<'py>,
    bins: (usize, Vec<usize>),
    n: usize,
    seed: Secret,
    mut out: numpy::PyReadwriteArray2<'py, u8>,
) -> PyResult<()> {
    let (keys, parts) = (block_rows(&keys, "keys")?, block_rows(&parts, "parts")?);
    let (shape, seed) = (shape(n)?, block(&seed, "seed")?);
    let (first, starts) = bins;
    let out = block_rows_mut(&mut out, keys.len(), "out")?;
    py.detach(|| okvs::decode_bins_vartime(&shape, first, &starts, keys, parts, &seed, out))
        .map_err(|error| raise(py, error))
}

#[pyfunction]
#[expect(clippy::type_complexity, reason = "two arrays")]
fn join_vartime<'py>(
    py: Python<'py>,
    a: Bytes2<'py>,
    b: Bytes2<'py>,
    most: usize,
) -> PyResult<(Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>)> {
    let width = a.shape()[1];
    let (a, b) = (rows(&a, width, "a")?, rows(&b, width, "b")?);
    let joined = py.detach(|| join::join_vartime(a, b, width, most)).map_err(|error| raise(py, error))?;
    Ok((joined.0.into_pyarray(py), joined.1.into_pyarray(py)))
}

#[pyfunction]
fn cuckoo_places_vartime<'py>(py: Python<'py>, keys: Bytes2<'py>, bins: u32) -> PyResult<Bound<'py, PyArray2<u32>>> {
    let keys = block_rows(&keys, "keys")?;
    let mut places = vec![0; keys.len() * cuckoo::PLACES];
    py.detach(|| cuckoo::places_vartime(keys, bins, places.as_chunks_mut().0)).map_err(|error| raise(py, error))?;
    places.into_pyarray(py).reshape([keys.len(), cuckoo::PLACES])
}

#[pyfunction]
fn cuckoo_assign_vartime<'py>(
    py: Python<'py>,
    places: PyReadonlyArray2<'py, u32>,
    bins: u32,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    if places.shape()[1] != cuckoo::PLACES {
        return Err(bad("places must be (n, 3)"));
    }
    // A copy: another thread may change the array, and a place must not lead outside the table then.
    let places = contiguous(&places, "places")?.to_vec();
    let rows = py.detach(|| cuckoo::assign_vartime(places.as_chunks().0, bins)).map_err(|error| raise(py, error))?;
    Ok(rows.into_pyarray(py))
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    macro_rules! add {
        ($($function:ident),+ $(,)?) => { $(module.add_function(wrap_pyfunction!($function, module)?)?;)+ };
    }
    add!(
        blocks_fixed,
        blocks_hash,
        blocks_hash_under,
        gf128_mul,
        gf128_scale,
        gf128_scale_into,
        gf128_inner,
        gf128_polynomial,
        gf128_invert,
        okvs_shape,
        okvs_encode_vartime,
        okvs_decode_into_vartime,
        okvs_arrange_vartime,
        okvs_encode_bins_vartime,
        okvs_decode_bins_vartime,
        join_vartime,
        cuckoo_places_vartime,
        cuckoo_assign_vartime,
    );
    Ok(())
}
