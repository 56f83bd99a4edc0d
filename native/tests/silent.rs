//! Punctured trees and the silent code against the vectors that the Python tests use too, so that the portable path is
//! checked by them as well.

use std::fs;
use std::path::Path;

use _native::blocks::Block;
use _native::code;
use _native::pprf::{self, Shape};
use serde_json::Value;

fn load() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/silent.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The blocks of a hexadecimal string, or of a list of such.
fn blocks(value: &Value) -> Vec<Block> {
    if let Some(list) = value.as_array() {
        return list.iter().flat_map(blocks).collect();
    }
    let digits = value.as_str().unwrap().as_bytes().chunks_exact(2);
    let bytes: Vec<u8> =
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    bytes.as_chunks().0.to_vec()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

#[test]
fn trees() {
    for vector in load()["trees"].as_array().unwrap() {
        let (salt, seed, final_value) = (blocks(&vector["salt"])[0], blocks(&vector["seed"]), blocks(&vector["final"]));
        let (leaves, sums) = (blocks(&vector["leaves"]), blocks(&vector["sums"]));
        let shape = Shape::new(leaves.len()).unwrap();
        let (mut made, mut of_levels) = (vec![[0; 16]; leaves.len()], vec![[0; 16]; sums.len()]);
        pprf::expand(&salt, &seed, shape, &mut made, &mut of_levels).unwrap();
        assert_eq!((&made, &of_levels), (&leaves, &sums));

        let point = number(&vector["point"]);
        let sides = (0..shape.depth()).map(|level| (point >> (shape.depth() - 1 - level)) & 1);
        let keys: Vec<Block> = sides.enumerate().map(|(level, side)| sums[2 * level + 1 - side]).collect();
        pprf::expand_punctured(&salt, &[point as u32], &keys, &final_value, shape, &mut made).unwrap();
        assert_eq!(made, blocks(&vector["punctured"]));
    }
}

#[test]
fn words() {
    for vector in load()["words"].as_array().unwrap() {
        let (salt, mut x) = (blocks(&vector["salt"])[0], blocks(&vector["x"]));
        let (mut scratch, mut out) = (x.clone(), vec![[0; 16]; number(&vector["outputs"])]);
        code::mix(&mut x, &mut scratch, &salt, vector["field"].as_bool().unwrap()).unwrap();
        code::fold(&x, &salt, &mut out).unwrap();
        assert_eq!(out, blocks(&vector["word"]));
    }
}

#[test]
fn bad_vectors() {
    let file = load();
    for vector in file["bad_trees"].as_array().unwrap() {
        let (leaves, point) = (number(&vector["leaves"]), number(&vector["point"]) as u32);
        let refused = Shape::new(leaves).and_then(|shape| {
            let (keys, mut out) = (vec![[0; 16]; shape.depth()], vec![[0; 16]; leaves]);
            pprf::expand_punctured(&[0; 16], &[point], &keys, &[[0; 16]], shape, &mut out)
        });
        assert!(refused.is_err(), "{}", vector["why"]);
    }
    for vector in file["bad_words"].as_array().unwrap() {
        let (x, mut out) = (vec![[0; 16]; number(&vector["n"])], vec![[0; 16]; number(&vector["outputs"])]);
        assert!(code::fold(&x, &[0; 16], &mut out).is_err(), "{}", vector["why"]);
    }
}
