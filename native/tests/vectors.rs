//! The pure modules against the vectors that the Python tests use too, so that every backend can be checked alone, the
//! portable one (see the crate's page) with `cargo test --no-default-features --target-dir target/portable`.

use std::fs;
use std::path::Path;

use _native::group::{self, Group};
use _native::hash::{ExpandMessageXmd, hash_batch};
use _native::oprf::{self, Context, Mode, Ristretto255Sha512};
use _native::packed::Packed;
use _native::ristretto255::Ristretto255;
use _native::{Error, prg};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};

type Intl = Context<Ristretto255Sha512>;

fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(format!("{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = text(value).as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn rows(values: &Value) -> Vec<u8> {
    list(values).iter().flat_map(bytes).collect()
}

/// The strings of a list, packed: data and offsets.
fn pack(values: &Value) -> (Vec<u8>, Vec<i64>) {
    let mut packed = (Vec::new(), vec![0]);
    for value in list(values) {
        packed.0.extend(bytes(value));
        packed.1.push(packed.0.len() as i64);
    }
    packed
}

fn mode(value: &Value) -> Mode {
    if value == 0 { Mode::Oprf } else { Mode::Voprf }
}

#[test]
fn rfc9496() {
    let file = load("rfc9496_ristretto255");
    for (k, encoding) in list(&file["multiples"]).iter().enumerate().skip(1) {
        let mut scalar = [0; 32];
        scalar[0] = k as u8;
        let mut out = [0; 32];
        group::mul_base::<Ristretto255>(&scalar, &mut out).unwrap();
        assert_eq!(out[..], bytes(encoding));
        assert_eq!(group::check::<Ristretto255>(&out), Ok(()));
    }
    for encodings in file["bad_encodings"].as_object().unwrap().values() {
        for encoding in list(encodings) {
            let refused = Err(Error::InvalidElement { index: 0 });
            assert_eq!(group::check::<Ristretto255>(&bytes(encoding)), refused, "{encoding}");
        }
    }
    for vector in list(&file["derived"]) {
        let uniform = Sha512::digest(text(&vector["text"]));
        let mut out = [0; 32];
        Ristretto255::encode_element(&Ristretto255::element_from_uniform(&uniform), &mut out);
        assert_eq!(out[..], bytes(&vector["element"]));
    }
}

#[test]
fn rfc9380() {
    let file = load("rfc9380_expand_message_xmd_sha512");
    let expand = ExpandMessageXmd::<Sha512>::new(text(&file["dst"]).as_bytes()).unwrap();
    for vector in list(&file["vectors"]) {
        let message = text(&vector["message"]).as_bytes();
        let mut out = vec![0; vector["length"].as_u64().unwrap() as usize];
        expand.expand(&[message], &mut out);
        assert_eq!(out, bytes(&vector["uniform"]));
        let (head, tail) = message.split_at(message.len() / 2);
        expand.expand(&[head, b"", tail], &mut out);
        assert_eq!(out, bytes(&vector["uniform"]), "a message in parts is the same message");
    }
    assert!(ExpandMessageXmd::<Sha512>::new(b"").is_err());
}

fn check_run(run: &Value, vector: &Value) {
    let context = Intl::new(mode(&run["mode"]));
    let mut private = [0; 32];
    context.derive_key(&bytes(&run["seed"]), &bytes(&run["info"]), &mut private).unwrap();
    assert_eq!(private[..], bytes(&run["private"]));

    let (data, offsets) = pack(&vector["inputs"]);
    let inputs = Packed::new(&data, &offsets).unwrap();
    let n = inputs.len();
    let (blinds, blinded, evaluated) = (rows(&vector["blinds"]), rows(&vector["blinded"]), rows(&vector["evaluated"]));
    let mut elements = vec![0; n * 32];
    context.blind(inputs, &blinds, &mut elements).unwrap();
    assert_eq!(elements, blinded);
    oprf::blind_evaluate::<Ristretto255Sha512>(&private, &blinded, &mut elements).unwrap();
    assert_eq!(elements, evaluated);
    let mut outputs = vec![0; n * 64];
    context.finalize(inputs, &blinds, &evaluated, &mut outputs).unwrap();
    assert_eq!(outputs, rows(&vector["outputs"]));
    outputs.fill(0);
    context.evaluate(&private, inputs, &mut outputs).unwrap();
    assert_eq!(outputs, rows(&vector["outputs"]));

    if vector["proof"].is_string() {
        let mut public = [0; 32];
        oprf::public_key::<Ristretto255Sha512>(&private, &mut public).unwrap();
        assert_eq!(public[..], bytes(&run["public"]));
        let mut proof = [0; 64];
        let nonce = bytes(&vector["nonce"]);
        context.prove_with_nonce_for_vectors(&private, &public, &blinded, &evaluated, &nonce, &mut proof).unwrap();
        assert_eq!(proof[..], bytes(&vector["proof"]));
        assert_eq!(context.verify(&public, &blinded, &evaluated, &proof), Ok(()));
        if vector["entropy"].is_string() {
            context.prove(&private, &public, &blinded, &evaluated, &bytes(&vector["entropy"]), &mut proof).unwrap();
            assert_eq!(proof[..], bytes(&vector["hedged_proof"]));
        }
        for length in [0, 31, 63, 65] {
            let verdict = context.verify(&public, &blinded, &evaluated, &[1; 65][..length]);
            assert_eq!(verdict, Err(Error::InvalidProof), "{length}");
        }
    }
}

#[test]
fn rfc9497() {
    for run in list(&load("rfc9497_ristretto255_sha512")["modes"]) {
        list(&run["vectors"]).iter().for_each(|vector| check_run(run, vector));
    }
}

#[test]
fn the_slow_reference() {
    let file = load("reference_ristretto255_oprf");
    list(&file["runs"]).iter().for_each(|run| check_run(run, run));
    for vector in list(&file["hash_to_group"]) {
        let message = bytes(&vector["message"]);
        let offsets = [0, message.len() as i64];
        let mut out = [0; 32];
        let items = Packed::new(&message, &offsets).unwrap();
        group::hash_to_group::<Ristretto255, Sha512>(items, &bytes(&vector["dst"]), &mut out).unwrap();
        assert_eq!(out[..], bytes(&vector["element"]));
    }
    for vector in list(&file["scalars"]) {
        let mut out = [0; 32];
        group::scalars_from_uniform::<Ristretto255>(&bytes(&vector["uniform"]), &mut out).unwrap();
        assert_eq!(out[..], bytes(&vector["scalar"]));
        group::invert_scalars::<Ristretto255>(&bytes(&vector["scalar"]), &mut out).unwrap();
        assert_eq!(out[..], bytes(&vector["inverse"]));
    }
    for vector in list(&file["bad_elements"]) {
        let refused = Err(Error::InvalidElement { index: 0 });
        assert_eq!(group::check::<Ristretto255>(&bytes(&vector["encoding"])), refused, "{}", vector["why"]);
    }
    for vector in list(&file["bad_scalars"]) {
        let refused = Err(Error::InvalidScalar { index: 0 });
        assert_eq!(group::mul_base::<Ristretto255>(&bytes(&vector["scalar"]), &mut [0; 32]), refused);
    }
    for vector in list(&file["bad_proofs"]) {
        let [public, proof] = ["public", "proof"].map(|name| bytes(&vector[name]));
        let [blinded, evaluated] = ["blinded", "evaluated"].map(|name| rows(&vector[name]));
        let verdict = Intl::new(mode(&vector["mode"])).verify(&public, &blinded, &evaluated, &proof);
        assert_eq!(verdict, Err(Error::InvalidProof), "{}", vector["why"]);
    }
}

#[test]
fn nist() {
    for vector in list(&load("aes_ctr")["vectors"]) {
        let counter = u128::from_str_radix(text(&vector["counter"]), 16).unwrap();
        let mut stream = bytes(&vector["plaintext"]);
        let plaintext = stream.clone();
        prg::fill(&bytes(&vector["key"]), counter, &mut stream).unwrap();
        stream.iter_mut().zip(&plaintext).for_each(|(byte, plain)| *byte ^= plain);
        assert_eq!(stream, bytes(&vector["ciphertext"]), "{}", vector["from"]);
    }
    for vector in list(&load("sha2")["vectors"]) {
        let message = text(&vector["message"]).as_bytes();
        let offsets = [0, message.len() as i64];
        let items = Packed::new(message, &offsets).unwrap();
        let digest = bytes(&vector["digest"]);
        let mut out = vec![0; digest.len()];
        match digest.len() {
            32 => hash_batch::<Sha256>(b"", items, &mut out),
            _ => hash_batch::<Sha512>(b"", items, &mut out),
        }
        assert_eq!(out, digest);
    }
}
