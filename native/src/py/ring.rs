//! Bindings of the ring Z_2^64 and of bit planes.

use numpy::{PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;

use super::{Secret, bad, contiguous};
use crate::bits;
use crate::ring::{self, Mask, Place};

type Words<'py> = PyReadonlyArray1<'py, u64>;
type Out<'py> = PyReadwriteArray1<'py, u64>;

fn out<'a>(array: &'a mut Out<'_>) -> PyResult<&'a mut [u64]> {
    array.as_slice_mut().map_err(|_| bad("out must be C-contiguous"))
}

fn length(found: usize, wanted: usize, name: &str) -> PyResult<()> {
    if found != wanted {
        return Err(bad(format_args!("{name} must have {wanted} words, not {found}")));
    }
    Ok(())
}

fn place(key: &Secret, block: u128) -> PyResult<Place<'_>> {
    Ok(Place { key: key.of_length(16, "key")?.try_into().map_err(|_| bad("key must be 16 bytes"))?, block })
}

#[pyfunction]
fn ring_mask(py: Python<'_>, mut words: Out<'_>, kind: &str, key: Secret, block: u128) -> PyResult<()> {
    let kind = match kind {
        "add" => Mask::Add,
        "subtract" => Mask::Subtract,
        "xor" => Mask::Xor,
        _ => return Err(bad("the kind must be \"add\", \"subtract\" or \"xor\"")),
    };
    let (words, place) = (out(&mut words)?, place(&key, block)?);
    py.detach(|| ring::mask(words, kind, &place));
    Ok(())
}

#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn ring_product(
    py: Python<'_>,
    kind: &str,
    x0: Words<'_>,
    x1: Words<'_>,
    y0: Words<'_>,
    y1: Words<'_>,
    plus: (Secret, u128),
    minus: (Secret, u128),
    mut z: Out<'_>,
) -> PyResult<()> {
    let x = [contiguous(&x0, "x0")?, contiguous(&x1, "x1")?];
    let y = [contiguous(&y0, "y0")?, contiguous(&y1, "y1")?];
    let z = out(&mut z)?;
    for (words, name) in x.iter().zip(["x0", "x1"]).chain(y.iter().zip(["y0", "y1"])) {
        length(words.len(), z.len(), name)?;
    }
    let (plus, minus) = (place(&plus.0, plus.1)?, place(&minus.0, minus.1)?);
    match kind {
        "multiply" => py.detach(|| ring::product(x, y, &plus, &minus, z)),
        "and" => py.detach(|| ring::and(x, y, &plus, &minus, z)),
        _ => return Err(bad("the kind must be \"multiply\" or \"and\"")),
    }
    Ok(())
}

#[pyfunction]
fn ring_matmul(
    py: Python<'_>,
    a: Words<'_>,
    b: Words<'_>,
    shape: (usize, usize, usize),
    mut sums: Out<'_>,
) -> PyResult<()> {
    let (n, m, p) = shape;
    let (a, b, sums) = (contiguous(&a, "a")?, contiguous(&b, "b")?, out(&mut sums)?);
    let size = |rows: usize, columns: usize| rows.checked_mul(columns).ok_or_else(|| bad("the shape is too large"));
    length(a.len(), size(n, m)?, "a")?;
    length(b.len(), size(m, p)?, "b")?;
    length(sums.len(), size(n, p)?, "sums")?;
    py.detach(|| ring::matmul(a, b, [n, m, p], sums));
    Ok(())
}

fn width(words: usize) -> usize {
    words.div_ceil(bits::WORD)
}

#[pyfunction]
fn bits_planes(py: Python<'_>, words: Words<'_>, mut planes: Out<'_>) -> PyResult<()> {
    let (words, planes) = (contiguous(&words, "words")?, out(&mut planes)?);
    length(planes.len(), bits::WORD * width(words.len()), "planes")?;
    py.detach(|| bits::planes(words, planes));
    Ok(())
}

#[pyfunction]
fn bits_words(py: Python<'_>, planes: Words<'_>, mut words: Out<'_>) -> PyResult<()> {
    let (planes, words) = (contiguous(&planes, "planes")?, out(&mut words)?);
    length(planes.len(), bits::WORD * width(words.len()), "planes")?;
    py.detach(|| bits::words(planes, words));
    Ok(())
}

fn blocks_of(blocks: usize) -> PyResult<usize> {
    if !(1..=bits::BLOCKS).contains(&blocks) {
        return Err(bad("blocks must be 1 to 21"));
    }
    Ok(blocks)
}

#[pyfunction]
fn bits_steps(py: Python<'_>, words: Words<'_>, blocks: usize, mut planes: Out<'_>) -> PyResult<()> {
    let (words, planes) = (contiguous(&words, "words")?, out(&mut planes)?);
    let blocks = blocks_of(blocks)?;
    length(planes.len(), bits::step_planes(blocks) * width(words.len()), "planes")?;
    py.detach(|| bits::steps(words, blocks, planes));
    Ok(())
}

#[pyfunction]
fn bits_carries(
    py: Python<'_>,
    steps: Words<'_>,
    words: Words<'_>,
    blocks: usize,
    one: bool,
    mut planes: Out<'_>,
) -> PyResult<()> {
    let (steps, words, planes) = (contiguous(&steps, "steps")?, contiguous(&words, "words")?, out(&mut planes)?);
    let blocks = blocks_of(blocks)?;
    length(steps.len(), bits::step_planes(blocks) * width(words.len()), "steps")?;
    length(planes.len(), bits::carry_planes(blocks) * width(words.len()), "planes")?;
    py.detach(|| bits::carries(steps, words, blocks, one, planes));
    Ok(())
}

/// Adds this family's functions to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(ring_mask, module)?)?;
    module.add_function(wrap_pyfunction!(ring_product, module)?)?;
    module.add_function(wrap_pyfunction!(ring_matmul, module)?)?;
    module.add_function(wrap_pyfunction!(bits_planes, module)?)?;
    module.add_function(wrap_pyfunction!(bits_words, module)?)?;
    module.add_function(wrap_pyfunction!(bits_steps, module)?)?;
    module.add_function(wrap_pyfunction!(bits_carries, module)?)
}
