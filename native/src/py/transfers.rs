//! Bindings of what is made of correlated transfers.

use numpy::{PyReadonlyArray1, PyReadwriteArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::{Bytes2, Secret, bad, contiguous, rows, same_count};
use crate::blocks::Block;
use crate::transfers::{self, GROUP, LEAVES, Pieces, Received, Sent, Side, TABLES};

type Words<'py> = PyReadonlyArray1<'py, u64>;

/// The rows of an array of blocks.
fn block_rows<'a>(array: &'a Bytes2<'_>, name: &str) -> PyResult<&'a [Block]> {
    Ok(rows(array, 16, name)?.as_chunks().0)
}

fn mutable<'a, T: numpy::Element>(
    array: &'a mut PyReadwriteArray1<'_, T>,
    n: usize,
    name: &str,
) -> PyResult<&'a mut [T]> {
    let slice = array.as_slice_mut().map_err(|_| bad(format_args!("{name} must be contiguous")))?;
    same_count(n, slice.len(), name)?;
    Ok(slice)
}

/// The offset, and a tweak that leaves room for all transfers.
fn offset(delta: &Secret, tweak: u64, n: usize) -> PyResult<&Block> {
    room(tweak, n)?;
    Ok(delta.of_length(16, "delta")?.try_into().expect("a block"))
}

fn room(tweak: u64, n: usize) -> PyResult<()> {
    tweak.checked_add(n as u64).map(|_| ()).ok_or_else(|| bad("the tweaks pass 2^64 - 1"))
}

fn whole(n: usize, name: &str) -> PyResult<()> {
    if !n.is_multiple_of(GROUP) {
        return Err(bad(format_args!("{name} must be a multiple of 64 long")));
    }
    Ok(())
}

fn bits_of(bits: usize) -> PyResult<usize> {
    if !(1..=64).contains(&bits) {
        return Err(bad("bits must be 1 to 64"));
    }
    Ok(bits)
}

fn pieces_of(leaves: usize, tables: usize) -> PyResult<Pieces> {
    if !(1..=LEAVES).contains(&leaves) || !(1..=TABLES).contains(&tables) {
        return Err(bad("leaves must be 1 to 16, and tables 1 to 4"));
    }
    Ok(Pieces { leaves, tables })
}

#[pyfunction]
#[expect(clippy::too_many_arguments)]
fn transfers_offer_tables(
    py: Python<'_>,
    pieces: (usize, usize),
    delta: Secret,
    tweak: u64,
    k: Bytes2<'_>,
    flips: Words<'_>,
    values: Words<'_>,
    shares: Words<'_>,
    left: bool,
    mut messages: PyReadwriteArray1<'_, u32>,
) -> PyResult<()> {
    let pieces = pieces_of(pieces.0, pieces.1)?;
    let (flips, shares) = (contiguous(&flips, "flips")?, contiguous(&shares, "shares")?);
    let (values, k) = (contiguous(&values, "values")?, block_rows(&k, "k")?);
    let n = flips.len();
    whole(n, "flips")?;
    same_count(n * pieces.tables, values.len(), "values")?;
    same_count(n * pieces.transfers(), k.len(), "k")?;
    same_count(n / GROUP * pieces.planes(), shares.len(), "shares")?;
    let messages = mutable(&mut messages, n * pieces.entries(), "messages")?;
    let sent = Sent { delta: offset(&delta, tweak, k.len())?, tweak, k };
    let side = if left { Side::Left } else { Side::Right };
    py.detach(|| transfers::offer_tables(pieces, sent, flips, values, shares, side, messages));
    Ok(())
}

#[pyfunction]
fn transfers_choose_tables(
    py: Python<'_>,
    pieces: (usize, usize),
    tweak: u64,
    t: Bytes2<'_>,
    values: Words<'_>,
    messages: PyReadonlyArray1<'_, u32>,
    mut shares: PyReadwriteArray1<'_, u64>,
) -> PyResult<()> {
    let pieces = pieces_of(pieces.0, pieces.1)?;
    let values = contiguous(&values, "values")?;
    whole(values.len(), "values")?;
    let t = block_rows(&t, "t")?;
    let messages = contiguous(&messages, "messages")?;
    same_count(values.len() * pieces.transfers(), t.len(), "t")?;
    same_count(values.len() * pieces.entries(), messages.len(), "messages")?;
    room(tweak, t.len())?;
    let shares = mutable(&mut shares, values.len() / GROUP * pieces.planes(), "shares")?;
    py.detach(|| transfers::choose_tables(pieces, Received { tweak, t }, values, messages, shares));
    Ok(())
}

#[pyfunction]
fn transfers_offer_bits(
    py: Python<'_>,
    delta: Secret,
    tweak: u64,
    k: Bytes2<'_>,
    mut out: PyReadwriteArray1<'_, u64>,
) -> PyResult<()> {
    let k = block_rows(&k, "k")?;
    whole(k.len(), "k")?;
    let out = mutable(&mut out, k.len() / GROUP * 4, "out")?;
    let sent = Sent { delta: offset(&delta, tweak, k.len())?, tweak, k };
    py.detach(|| transfers::offer_bits(sent, out));
    Ok(())
}

#[pyfunction]
fn transfers_choose_bits(
    py: Python<'_>,
    tweak: u64,
    t: Bytes2<'_>,
    mut out: PyReadwriteArray1<'_, u64>,
) -> PyResult<()> {
    let t = block_rows(&t, "t")?;
    whole(t.len(), "t")?;
    room(tweak, t.len())?;
    let out = mutable(&mut out, t.len() / GROUP * 2, "out")?;
    py.detach(|| transfers::choose_bits(Received { tweak, t }, out));
    Ok(())
}

#[pyfunction]
#[expect(clippy::too_many_arguments)]
fn transfers_offer_products(
    py: Python<'_>,
    delta: Secret,
    tweak: u64,
    k: Bytes2<'_>,
    bits: usize,
    flips: Words<'_>,
    y: Words<'_>,
    bitwise: bool,
    mut shares: PyReadwriteArray1<'_, u64>,
    mut messages: PyReadwriteArray1<'_, u8>,
) -> PyResult<()> {
    let bits = bits_of(bits)?;
    let y = contiguous(&y, "y")?;
    let k = block_rows(&k, "k")?;
    let flips = contiguous(&flips, "flips")?;
    same_count(y.len() * bits, k.len(), "k")?;
    same_count(y.len(), flips.len(), "flips")?;
    let shares = mutable(&mut shares, y.len(), "shares")?;
    let messages = mutable(&mut messages, y.len() * transfers::product_bytes(bits), "messages")?;
    let sent = Sent { delta: offset(&delta, tweak, k.len())?, tweak, k };
    py.detach(|| transfers::offer_products(sent, bits, flips, y, bitwise, shares, messages));
    Ok(())
}

#[pyfunction]
fn transfers_choose_products(
    py: Python<'_>,
    tweak: u64,
    t: Bytes2<'_>,
    bits: usize,
    x: Words<'_>,
    messages: Bytes2<'_>,
    mut shares: PyReadwriteArray1<'_, u64>,
) -> PyResult<()> {
    let bits = bits_of(bits)?;
    let x = contiguous(&x, "x")?;
    let t = block_rows(&t, "t")?;
    same_count(x.len() * bits, t.len(), "t")?;
    same_count(x.len(), messages.shape()[0], "messages")?;
    let messages = rows(&messages, transfers::product_bytes(bits), "messages")?;
    room(tweak, t.len())?;
    let shares = mutable(&mut shares, x.len(), "shares")?;
    py.detach(|| transfers::choose_products(Received { tweak, t }, bits, x, messages, shares));
    Ok(())
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(transfers_offer_tables, module)?)?;
    module.add_function(wrap_pyfunction!(transfers_choose_tables, module)?)?;
    module.add_function(wrap_pyfunction!(transfers_offer_bits, module)?)?;
    module.add_function(wrap_pyfunction!(transfers_choose_bits, module)?)?;
    module.add_function(wrap_pyfunction!(transfers_offer_products, module)?)?;
    module.add_function(wrap_pyfunction!(transfers_choose_products, module)?)
}
