//! The pure modules against the vectors that the Python tests use too, so that every backend can be checked alone, the
//! portable one (see the crate's page) with `cargo test --no-default-features --target-dir target/portable`.

use std::fs;
use std::path::Path;

use _native::group::{self, Group};
use _native::hash::{ExpandMessageXmd, hash_batch};
use _native::oprf::{self, Context, Mode, Ristretto255Sha512, Sm2Sm3, Suite};
use _native::packed::Packed;
use _native::ristretto255::Ristretto255;
use _native::sm2::{self, Sm2, signature};
use _native::{Error, prg};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};

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

fn check_run<S: Suite>(run: &Value, vector: &Value) {
    let (scalar, element) = (S::Group::SCALAR_LENGTH, S::Group::ELEMENT_LENGTH);
    let context = Context::<S>::new(mode(&run["mode"]));
    let mut private = vec![0; scalar];
    context.derive_key(&bytes(&run["seed"]), &bytes(&run["info"]), &mut private).unwrap();
    assert_eq!(private[..], bytes(&run["private"]));

    let (data, offsets) = pack(&vector["inputs"]);
    let inputs = Packed::new(&data, &offsets).unwrap();
    let n = inputs.len();
    let (blinds, blinded, evaluated) = (rows(&vector["blinds"]), rows(&vector["blinded"]), rows(&vector["evaluated"]));
    let mut elements = vec![0; n * element];
    context.blind(inputs, &blinds, &mut elements).unwrap();
    assert_eq!(elements, blinded);
    oprf::blind_evaluate::<S>(&private, &blinded, &mut elements).unwrap();
    assert_eq!(elements, evaluated);
    let mut outputs = vec![0; n * Context::<S>::output_length()];
    context.finalize(inputs, &blinds, &evaluated, &mut outputs).unwrap();
    assert_eq!(outputs, rows(&vector["outputs"]));
    outputs.fill(0);
    context.evaluate(&private, inputs, &mut outputs).unwrap();
    assert_eq!(outputs, rows(&vector["outputs"]));

    if vector["proof"].is_string() {
        let mut public = vec![0; element];
        oprf::public_key::<S>(&private, &mut public).unwrap();
        assert_eq!(public[..], bytes(&run["public"]));
        let mut proof = vec![0; 2 * scalar];
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
        list(&run["vectors"]).iter().for_each(|vector| check_run::<Ristretto255Sha512>(run, vector));
    }
}

#[test]
fn the_slow_reference() {
    check_reference::<Ristretto255Sha512>("reference_ristretto255_oprf");
}

#[test]
fn the_slow_reference_of_sm2() {
    check_reference::<Sm2Sm3>("reference_sm2_oprf");
}

fn check_reference<S: Suite>(name: &str) {
    let (scalar, element) = (S::Group::SCALAR_LENGTH, S::Group::ELEMENT_LENGTH);
    let file = load(name);
    list(&file["runs"]).iter().for_each(|run| check_run::<S>(run, run));
    for vector in list(&file["hash_to_group"]) {
        let message = bytes(&vector["message"]);
        let offsets = [0, message.len() as i64];
        let mut out = vec![0; element];
        let items = Packed::new(&message, &offsets).unwrap();
        group::hash_to_group::<S::Group, S::Hash>(items, &bytes(&vector["dst"]), &mut out).unwrap();
        assert_eq!(out[..], bytes(&vector["element"]));
    }
    for vector in list(&file["scalars"]) {
        let mut out = vec![0; scalar];
        group::scalars_from_uniform::<S::Group>(&bytes(&vector["uniform"]), &mut out).unwrap();
        assert_eq!(out[..], bytes(&vector["scalar"]));
        group::invert_scalars::<S::Group>(&bytes(&vector["scalar"]), &mut out).unwrap();
        assert_eq!(out[..], bytes(&vector["inverse"]));
        let mut out = vec![0; element];
        group::mul_base::<S::Group>(&bytes(&vector["scalar"]), &mut out).unwrap();
        assert_eq!(out[..], bytes(&vector["base_multiple"]));
    }
    for vector in list(&file["bad_elements"]) {
        let refused = Err(Error::InvalidElement { index: 0 });
        assert_eq!(group::check::<S::Group>(&bytes(&vector["encoding"])), refused, "{}", vector["why"]);
    }
    for vector in list(&file["bad_scalars"]) {
        let refused = Err(Error::InvalidScalar { index: 0 });
        assert_eq!(group::mul_base::<S::Group>(&bytes(&vector["scalar"]), &mut vec![0; element]), refused);
    }
    for vector in list(&file["bad_proofs"]) {
        let [public, proof] = ["public", "proof"].map(|name| bytes(&vector[name]));
        let [blinded, evaluated] = ["blinded", "evaluated"].map(|name| rows(&vector[name]));
        let verdict = Context::<S>::new(mode(&vector["mode"])).verify(&public, &blinded, &evaluated, &proof);
        assert_eq!(verdict, Err(Error::InvalidProof), "{}", vector["why"]);
    }
}

#[test]
fn sm2_at_the_edges() {
    let file = load("reference_sm2");
    for vector in list(&file["multiples"]) {
        let (scalar, point) = (bytes(&vector["scalar"]), bytes(&vector["point"]));
        // Alone, and where the batch walks in step.
        for n in [1, 200] {
            let multiple = bytes(&vector["multiple"]).repeat(n);
            let mut out = vec![0; 33 * n];
            group::mul::<Sm2>(&scalar, &point.repeat(n), &mut out).unwrap();
            assert_eq!(out, multiple, "{}", vector["scalar"]);
            group::mul_each::<Sm2>(&scalar.repeat(n), &point.repeat(n), &mut out).unwrap();
            assert_eq!(out, multiple, "{}", vector["scalar"]);
            group::mul_base::<Sm2>(&scalar.repeat(n), &mut out).unwrap();
            assert_eq!(out, bytes(&vector["base_multiple"]).repeat(n), "{}", vector["scalar"]);
        }
    }
    for vector in list(&file["try_and_rehash"]) {
        let message = bytes(&vector["message"]);
        let offsets = [0, message.len() as i64];
        let items = Packed::new(&message, &offsets).unwrap();
        let mut out = [0; 33];
        match text(&vector["hash"]) {
            "sm3" => sm2::try_and_rehash_vartime::<sm3::Sm3>(items, &mut out),
            _ => sm2::try_and_rehash_vartime::<Sha256>(items, &mut out),
        }
        assert_eq!(out[..], bytes(&vector["element"]));
    }
}

#[test]
fn sm2_signatures() {
    let standard = &load("gmt0003_sm2")["signature"];
    let check = |private: &[u8], public: &[u8], id: &[u8], message: &[u8], nonce: &[u8], expected: &[u8]| {
        let mut key = [0; 33];
        signature::public_key(private, &mut key).unwrap();
        assert_eq!(key, public);
        let mut signed = [0; 64];
        signature::sign_with_nonce_for_vectors(private, id, message, nonce, &mut signed).unwrap();
        assert_eq!(signed, expected);
        assert_eq!(signature::verifies_vartime(public, id, message, expected), Ok(true));
        signature::sign(private, id, message, &[1; 32], &mut signed).unwrap();
        assert_eq!(signature::verifies_vartime(public, id, message, &signed), Ok(true));
    };
    let [private, public, nonce, signed] =
        ["private", "public", "nonce", "signature"].map(|name| bytes(&standard[name]));
    let [id, message] = ["id", "message"].map(|name| text(&standard[name]).as_bytes());
    check(&private, &public, id, message, &nonce, &signed);
    let file = load("reference_sm2");
    for vector in list(&file["signatures"]) {
        let [private, public, id, message, nonce, signed] =
            ["private", "public", "id", "message", "nonce", "signature"].map(|name| bytes(&vector[name]));
        check(&private, &public, &id, &message, &nonce, &signed);
    }
    for vector in list(&file["bad_signatures"]) {
        let [public, message, signed] = ["public", "message", "signature"].map(|name| bytes(&vector[name]));
        let verdict = signature::verifies_vartime(&public, b"1234567812345678", &message, &signed);
        assert_eq!(verdict, Ok(false), "{}", vector["why"]);
    }
}

/// RustCrypto's arithmetic, which shares nothing with ours.
#[test]
fn sm2_agrees_with_another_library() {
    use rustcrypto_sm2::elliptic_curve::PrimeField;
    use rustcrypto_sm2::elliptic_curve::group::GroupEncoding;
    use rustcrypto_sm2::{ProjectivePoint, Scalar};
    // Powers of one scalar, which look random.
    let mut scalar = Scalar::from(0x1234_5678_9abc_def1u64).invert().unwrap();
    let mut scalars = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..150 {
        scalar = scalar.square() + Scalar::from(7u64);
        scalars.extend_from_slice(&scalar.to_repr());
        expected.extend_from_slice(&(ProjectivePoint::GENERATOR * scalar).to_bytes());
    }
    let mut points = vec![0; expected.len()];
    group::mul_base::<Sm2>(&scalars, &mut points).unwrap();
    assert_eq!(points, expected);
    let mut sums = vec![0; expected.len()];
    group::mul::<Sm2>(&scalars[..32], &points, &mut sums).unwrap();
    let factor = Scalar::from_repr(scalars[..32].try_into().unwrap()).unwrap();
    for (row, scalar) in sums.chunks_exact(33).zip(scalars.chunks_exact(32)) {
        let scalar = Scalar::from_repr(scalar.try_into().unwrap()).unwrap();
        assert_eq!(row, &(ProjectivePoint::GENERATOR * (scalar * factor)).to_bytes()[..]);
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
