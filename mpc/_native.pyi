"""The native core: batch kernels on contiguous buffers, and nothing else.

Call it through `mpc.kernels`, which says what each function means and turns misuse into `mpc.UsageError`.

Conventions, for every function:

- Arrays are C-contiguous. `uint8` holds encodings row by row; `(n, 32)` stands for n rows of 32 bytes.
- Strings of varying length come packed, as in Arrow's LargeBinary: string `i` is `data[offsets[i]:offsets[i + 1]]`.
- A `_Secret` is short: a scalar, a seed or a key. It is copied, and the copy is zeroized.
- The work runs without the interpreter lock, on up to `threads()` threads; a small batch stays on the calling thread.
  No other thread may change an argument meanwhile: what comes out is wrong or an error then. A call that would write
  to an array that another call still works on raises TypeError.
- A wrong shape, length or name raises ValueError, and a wrong type TypeError. A row that is not a valid element,
  scalar or input raises InvalidEncoding, a ValueError, with the first such row in `index`. Nothing of a refused batch
  is returned.
- Code that touches a scalar, a private key, an input or a cipher key is constant-time in the values, not in lengths.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Secret: TypeAlias = NDArray[np.uint8] | bytes

class InvalidEncoding(ValueError):
    """A row is not a valid group element, scalar or input."""

    index: int

class InvalidProof(ValueError):
    """A proof does not verify."""

class EncodingFailed(Exception):
    """The pairs of a key-value store have no encoding under this seed."""

class InvalidTag(ValueError):
    """What was sealed has been changed, or was sealed under another key."""

class TooManyPairs(Exception):
    """A join would give more pairs than its caller allows."""

def threads() -> int:
    """Threads used by a large batch: the environment variable UNSEEN_THREADS as it was first read, or all cores."""

def wipe(buffer: NDArray[np.uint8]) -> None:
    """Overwrites the writable contiguous array with zeros, in a way that the compiler does not remove."""

def prg_fill(key: _Secret, counter: int, out: NDArray[np.uint8]) -> None:
    """Fills the (m,) array with AES in counter mode from block `counter` on (0 to 2^128 - 1).

    Block i, 16 bytes, is AES(key, counter + i mod 2^128 as 16 big-endian bytes). The key is 16 or 32 bytes.
    """

def hash_batch(name: str, prefix: bytes, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """H(prefix || string) of n packed strings, "sha256", "sha512" or "sm3": (n, 32), or (n, 64) for SHA-512."""

def hash_rows(name: str, prefix: bytes, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H(prefix || row) of (n, w) rows, "sha256", "sha512" or "sm3": (n, 32), or (n, 64) for SHA-512."""

def ed25519_verifies(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the 32-byte key signed the message; the signature is 64 bytes. Strict, see `mpc.kernels.ed25519`."""

def ristretto255_hash_to_group(data: NDArray[np.uint8], offsets: NDArray[np.int64], dst: bytes) -> NDArray[np.uint8]:
    """hash_to_ristretto255 of RFC 9380, appendix B, with SHA-512, of n packed strings: (n, 32)."""

def ristretto255_hash_mul(
    scalar: _Secret, data: NDArray[np.uint8], offsets: NDArray[np.int64], dst: bytes
) -> NDArray[np.uint8]:
    """One scalar * ristretto255_hash_to_group of n packed strings: (n, 32)."""

def ristretto255_mul(scalar: _Secret, points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One scalar * points[i]: 32 bytes, (n, 32) -> (n, 32)."""

def ristretto255_mul_each(scalars: NDArray[np.uint8], points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """scalars[i] * points[i]: (n, 32), (n, 32) -> (n, 32)."""

def ristretto255_add(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """a[i] + b[i]: (n, 32), (n, 32) -> (n, 32). A sum that is the identity raises InvalidEncoding."""

def ristretto255_sub(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """a[i] - b[i]: (n, 32), (n, 32) -> (n, 32). A difference that is the identity raises InvalidEncoding."""

def ristretto255_mul_base(scalars: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """scalars[i] * B for the generator B: (n, 32) -> (n, 32)."""

def ristretto255_check(points: NDArray[np.uint8]) -> None:
    """Raises InvalidEncoding at the first of the (n, 32) rows that is the identity or not canonical."""

def ristretto255_scalar_from_uniform(uniform: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scalars of uniform rows, reduced modulo the order: (n, 64) -> (n, 32).

    A row that gives zero raises InvalidEncoding: never by chance, at once with a broken generator.
    """

def ristretto255_scalar_invert(scalars: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Inverses of scalars modulo the order: (n, 32) -> (n, 32)."""

def oprf_sizes(suite: str) -> tuple[int, int, int, int]:
    """Bytes of a scalar, an element, an output and a proof."""

def oprf_derive_key(suite: str, mode: int, seed: _Secret, info: bytes) -> NDArray[np.uint8]:
    """DeriveKeyPair of RFC 9497: the private key, (scalar,), of a 32-byte seed."""

def oprf_public_key(suite: str, private: _Secret) -> NDArray[np.uint8]:
    """The public key, (element,)."""

def oprf_blind(
    suite: str, mode: int, data: NDArray[np.uint8], offsets: NDArray[np.int64], blinds: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Blind: n packed inputs, (n, scalar) -> (n, element)."""

def oprf_blind_evaluate(suite: str, private: _Secret, blinded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BlindEvaluate: (n, element) -> (n, element). Checks every element first."""

def oprf_prove(
    suite: str,
    mode: int,
    private: _Secret,
    public: NDArray[np.uint8],
    blinded: NDArray[np.uint8],
    evaluated: NDArray[np.uint8],
    entropy: _Secret,
) -> NDArray[np.uint8]:
    """GenerateProof for 1 to 65535 elements: (proof,).

    The entropy is 32 fresh uniform bytes. The random scalar is a hash of them, the private key and the statement.
    """

def oprf_verify(
    suite: str,
    mode: int,
    public: NDArray[np.uint8],
    blinded: NDArray[np.uint8],
    evaluated: NDArray[np.uint8],
    proof: NDArray[np.uint8],
) -> None:
    """VerifyProof: raises InvalidProof where the proof is wrong, InvalidEncoding where an element is."""

def oprf_finalize(
    suite: str,
    mode: int,
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    blinds: NDArray[np.uint8],
    evaluated: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Finalize, once the proof is verified: n packed inputs, (n, scalar), (n, element) -> (n, output)."""

def oprf_evaluate(
    suite: str, mode: int, private: _Secret, data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Evaluate: what a client would get for each of n packed inputs: (n, output)."""

# Blocks, GF(2^128), key-value stores, joins and cuckoo tables (okvs.rs)

def blocks_fixed(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """π(x[i]), AES-128 under the fixed public key: (n, 16) -> (n, 16)."""

def blocks_hash(x: NDArray[np.uint8], tweak: int) -> NDArray[np.uint8]:
    """π(π(x[i]) ⊕ (tweak + i)) ⊕ π(x[i]): (n, 16) -> (n, 16). No tweak may pass 2^64 - 1."""

def blocks_hash_under(tweaks: NDArray[np.uint8], x: NDArray[np.uint8]) -> None:
    """Replaces x[i] by H(x[i], tweaks[i]): (n, 16), (n, 16)."""

def gf128_mul(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """a[i] · b[i] in GF(2^128): (n, 16), (n, 16) -> (n, 16)."""

def gf128_scale(delta: _Secret, a: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The products delta · a[i]: 16 bytes, (n, 16) -> (n, 16)."""

def gf128_scale_into(delta: _Secret, a: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """out[i] ⊕= delta · a[i], in place: 16 bytes, (n, 16), (n, 16)."""

def gf128_inner(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Σ a[i] · b[i]: (n, 16), (n, 16) -> (16,)."""

def gf128_polynomial(seed: _Secret, a: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Σ seed^i · a[i], from i = 0: 16 bytes, (n, 16) -> (16,)."""

def gf128_invert(a: _Secret) -> NDArray[np.uint8]:
    """The inverse, (16,); zero for zero."""

def okvs_shape(n: int) -> tuple[int, int, int, int]:
    """Bins, keys that a bin may hold, sparse and dense rows of a bin, for n keys, below 2^32."""

def okvs_encode_vartime(
    keys: NDArray[np.uint8], values: NDArray[np.uint8], seed: _Secret, randomness: _Secret
) -> NDArray[np.uint8]:
    """A table of bins · (sparse + dense) rows: (n, 16), (n, 16), 16 bytes, 32 bytes -> (m, 16).

    Raises EncodingFailed, and ValueError where two keys are equal.
    """

def okvs_decode_into_vartime(
    keys: NDArray[np.uint8], table: NDArray[np.uint8], n: int, seed: _Secret, out: NDArray[np.uint8]
) -> None:
    """out[i] ⊕= Decode(table, keys[i]), in place: (k, 16), (m, 16) for n keys, 16 bytes, (k, 16)."""

_Pairs = tuple[NDArray[np.uint8], NDArray[np.uint8]]

def okvs_arrange_vartime(pairs: _Pairs, n: int, seed: _Secret, out: _Pairs, rows: NDArray[np.uint32]) -> list[int]:
    """Writes (k, 16) keys and values bin after bin, in (k,) rows which pair each was. Returns bins' starts and end."""

def okvs_encode_bins_vartime(
    pairs: _Pairs, bins: tuple[int, list[int]], n: int, seed: _Secret, randomness: _Secret
) -> NDArray[np.uint8]:
    """The table's parts for arranged pairs of some bins: the first, where each begins in the pairs, and the end.

    EncodingFailed as for the whole table, whose parts these are under the same 32 bytes of randomness.
    """

def okvs_decode_bins_vartime(
    keys: NDArray[np.uint8],
    parts: NDArray[np.uint8],
    bins: tuple[int, list[int]],
    n: int,
    seed: _Secret,
    out: NDArray[np.uint8],
) -> None:
    """out[i] ⊕= the decoding of arranged keys of some bins from the table's parts for them: (k, 16), in place."""

def join_vartime(a: NDArray[np.uint8], b: NDArray[np.uint8], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of equal rows, ordered by b's row and then a's: (n, w), (m, w) -> (k,), (k,); w is 8 to 16.

    Raises TooManyPairs where k would pass `most`.
    """

def cuckoo_places_vartime(keys: NDArray[np.uint8], bins: int) -> NDArray[np.uint32]:
    """Three distinct places below `bins`, 3 to 2^28, for each key: (n, 16) -> (n, 3)."""

def cuckoo_assign_vartime(places: NDArray[np.uint32], bins: int) -> NDArray[np.int64]:
    """Which row each bin has, or -1: (n, 3) -> (bins,). Raises EncodingFailed where there is no assignment."""

# Oblivious-transfer extension (ot.rs)

def ot_transpose(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(128, n / 8) rows of bits -> (n, 16) blocks, n a multiple of 128."""

def ot_untranspose(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, 16) -> (128, n / 8), n a multiple of 128."""

def ot_hash_columns(seed: _Secret, blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Σ_j seed^j · (the j-th 128 bits) in GF(2^128) for each column of (n, 16) blocks: (128, 16)."""

def ot_receive(
    seeds: NDArray[np.uint8], k: int, counter: int, choices: NDArray[np.uint8], out: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """SoftSpoken's receiver: (128 / k, 2^k, 16), (n / 8,) -> corrections (16 n / k,); fills out, (n, 16)."""

def ot_send(
    seeds: NDArray[np.uint8],
    k: int,
    counter: int,
    offset: _Secret,
    corrections: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """SoftSpoken's sender: (128 / k, 2^k, 16), a 16-byte offset, (16 n / k,); fills out, (n, 16)."""

# The ring Z_2^64 (ring.rs) and bit planes (bits.rs)

_Place: TypeAlias = tuple[_Secret, int]  # a key of 16 bytes, and the first block of its stream

def ring_mask(words: NDArray[np.uint64], kind: str, key: _Secret, block: int) -> None:
    """To (n,) words: the key's stream, by "add", "subtract" or "xor", in place."""

def ring_product(
    kind: str,
    x0: NDArray[np.uint64],
    x1: NDArray[np.uint64],
    y0: NDArray[np.uint64],
    y1: NDArray[np.uint64],
    plus: _Place,
    minus: _Place,
    z: NDArray[np.uint64],
) -> None:
    """(n,) each: z = x0·y0 + x0·y1 + x1·y0 + plus - minus for "multiply", the same with AND and XOR for "and"."""

def ring_matmul(
    a: NDArray[np.uint64], b: NDArray[np.uint64], shape: tuple[int, int, int], sums: NDArray[np.uint64]
) -> None:
    """Adds to sums, (n·p,), the product of a, (n·m,), and b, (m·p,), for the shape (n, m, p). Row by row."""

def bits_planes(words: NDArray[np.uint64], planes: NDArray[np.uint64]) -> None:
    """(n,) → (64·⌈n/64⌉,)."""

def bits_words(planes: NDArray[np.uint64], words: NDArray[np.uint64]) -> None:
    """(64·⌈n/64⌉,) → (n,)."""

def bits_steps(words: NDArray[np.uint64], blocks: int, planes: NDArray[np.uint64]) -> None:
    """(n,) to XOR into ((7·blocks + 1)·⌈n/64⌉,)."""

def bits_carries(
    steps: NDArray[np.uint64], words: NDArray[np.uint64], blocks: int, one: bool, planes: NDArray[np.uint64]
) -> None:
    """((7·blocks + 1)·⌈n/64⌉,) and (n,) → (2·blocks·⌈n/64⌉,)."""

# Uniform permutations of a batch (shuffle.rs)

def permutation_vartime(key: _Secret, out: NDArray[np.int64]) -> None:
    """Fills the (n,) array with a uniform permutation of 0 … n-1, determined by the key of 16 or 32 bytes."""

def packed_take(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    """Writes the packed strings of (k,) rows one after the other into `out`, which has just the room for them."""

# The curve SM2: sm2.rs

def sm2_hash_to_group(data: NDArray[np.uint8], offsets: NDArray[np.int64], dst: bytes) -> NDArray[np.uint8]:
    """hash_to_curve of RFC 9380, suite SM2_XMD:SM3_SSWU_RO_, of n packed strings: (n, 33)."""

def sm2_hash_mul(scalar: _Secret, data: NDArray[np.uint8], offsets: NDArray[np.int64], dst: bytes) -> NDArray[np.uint8]:
    """One scalar * sm2_hash_to_group of n packed strings: (n, 33)."""

def sm2_try_and_rehash(name: str, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The first of H(m), H(H(m)), … that is the x of a point, with the even y, of n packed strings: (n, 33).

    "sm3" or "sha256". Not constant-time.
    """

def sm2_mul(scalar: _Secret, points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One scalar * points[i]: 32 bytes, (n, 33) -> (n, 33)."""

def sm2_mul_each(scalars: NDArray[np.uint8], points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """scalars[i] * points[i]: (n, 32), (n, 33) -> (n, 33)."""

def sm2_add(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """a[i] + b[i]: (n, 33), (n, 33) -> (n, 33). A sum that is the identity raises InvalidEncoding."""

def sm2_sub(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """a[i] - b[i]: (n, 33), (n, 33) -> (n, 33). A difference that is the identity raises InvalidEncoding."""

def sm2_mul_base(scalars: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """scalars[i] * B for the generator B: (n, 32) -> (n, 33)."""

def sm2_check(points: NDArray[np.uint8]) -> None:
    """Raises InvalidEncoding at the first of the (n, 33) rows that is no compressed point."""

def sm2_scalar_from_uniform(uniform: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scalars of uniform rows, reduced modulo the order: (n, 48) -> (n, 32).

    A row that gives zero raises InvalidEncoding: never by chance, at once with a broken generator.
    """

def sm2_scalar_invert(scalars: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Inverses of scalars modulo the order: (n, 32) -> (n, 32)."""

def sm2_public_key(private: _Secret) -> NDArray[np.uint8]:
    """The public key, (33,), of a private key from 1 to the order minus 2."""

def sm2_sign(private: _Secret, signer_id: bytes, message: bytes, entropy: _Secret) -> NDArray[np.uint8]:
    """The signature r || s, (64,), with 32 bytes of entropy and an ID of at most 8191 bytes."""

def sm2_verifies(key: bytes, signer_id: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of the compressed key signed the message. A key or signature of another length did not."""

# Symmetric ciphers and hashes: symmetric.rs

class Sm3:
    """SM3 of one string that comes in parts, as in hashlib."""

    def __new__(cls) -> Sm3: ...
    def update(self, data: NDArray[np.uint8]) -> None:
        """Goes on with the (m,) array."""

    def digest(self) -> bytes:
        """The 32 bytes of everything so far."""

def sm4_ctr(key: _Secret, counter: bytes, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """SM4 in counter mode: (m,) -> (m,). Key and counter are 16 bytes; the counter is big-endian, modulo 2^128."""

def sm4_gcm_seal(key: _Secret, nonce: bytes, plain: NDArray[np.uint8], aad: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """SM4-GCM of RFC 8998: (m,) -> (m + 16,), the tag last. The nonce is 12 bytes, never used twice under a key."""

def sm4_gcm_open(key: _Secret, nonce: bytes, sealed: NDArray[np.uint8], aad: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What was sealed: (m + 16,) -> (m,). Raises InvalidTag, and returns nothing, where anything was changed."""

# What is made of correlated transfers (transfers.rs)

def transfers_offer_tables(
    pieces: tuple[int, int],
    delta: _Secret,
    tweak: int,
    k: NDArray[np.uint8],
    flips: NDArray[np.uint64],
    values: NDArray[np.uint64],
    shares: NDArray[np.uint64],
    left: bool,
    messages: NDArray[np.uint32],
) -> None:
    """Leaves L and tables T; (4 L n, 16), (n,), (T n,), (T L n / 32,), n a multiple of 64; fills messages, (T L n,)."""

def transfers_choose_tables(
    pieces: tuple[int, int],
    tweak: int,
    t: NDArray[np.uint8],
    values: NDArray[np.uint64],
    messages: NDArray[np.uint32],
    shares: NDArray[np.uint64],
) -> None:
    """Leaves L and tables T; (4 L n, 16), (n,), (T L n,), n a multiple of 64; fills shares, (T L n / 32,)."""

def transfers_offer_bits(delta: _Secret, tweak: int, k: NDArray[np.uint8], out: NDArray[np.uint64]) -> None:
    """(n, 16), n a multiple of 64; fills out, (n / 16,): four words for each group of 64."""

def transfers_choose_bits(tweak: int, t: NDArray[np.uint8], out: NDArray[np.uint64]) -> None:
    """(n, 16), n a multiple of 64; fills out, (n / 32,): two words for each group of 64."""

def transfers_offer_products(
    delta: _Secret,
    tweak: int,
    k: NDArray[np.uint8],
    bits: int,
    flips: NDArray[np.uint64],
    y: NDArray[np.uint64],
    bitwise: bool,
    shares: NDArray[np.uint64],
    messages: NDArray[np.uint8],
) -> None:
    """(bits · n, 16), (n,), (n,); fills shares, (n,), and messages, 8 - i // 8 bytes for bit i of each."""

def transfers_choose_products(
    tweak: int,
    t: NDArray[np.uint8],
    bits: int,
    x: NDArray[np.uint64],
    messages: NDArray[np.uint8],
    shares: NDArray[np.uint64],
) -> None:
    """(bits · n, 16), (n,), (n, width); fills shares, (n,)."""

# Masks over Z_2^64 (mask.rs)

def mask_apply(keys: _Secret, negative: NDArray[np.bool_], block: int, words: NDArray[np.uint64]) -> None:
    """Adds the streams of k keys of 16 bytes from a block on to the (n,) words in place, or subtracts them.

    `keys` are k * 16 bytes, `negative` is (k,). The streams are those of `prg_fill` under AES-128, eight little-endian
    bytes a word, and have to end before block 2^64.
    """

# Puncturable functions and the code of silent VOLE (vole.rs)

def pprf_depth(leaves: int) -> int:
    """Levels of a tree of 2 to 2^24 leaves: the bits of the number of its last leaf."""

def pprf_expand(salt: bytes, seeds: NDArray[np.uint8], leaves: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The trees of t seeds, (t, 16): all leaves, (t * leaves, 16); per level both sides' sums, (t * depth * 2, 16)."""

def pprf_expand_punctured(
    salt: bytes, points: NDArray[np.uint32], keys: NDArray[np.uint8], finals: NDArray[np.uint8], leaves: int
) -> NDArray[np.uint8]:
    """Leaves (t * leaves, 16) of t trees from the sum on the other side than the point's, per level: (t * depth, 16).

    The leaf at a tree's point is its row of finals, (t, 16), plus the sum of its other leaves.
    """

def pprf_add_at(points: NDArray[np.uint32], values: NDArray[np.uint8], leaves: int, out: NDArray[np.uint8]) -> None:
    """Adds values[i] to out[i * leaves + points[i]]: (t,), (t, 16), (t * leaves, 16). Touches every row of out."""

def code_mix(salt: bytes, x: NDArray[np.uint8], scratch: NDArray[np.uint8], field: bool) -> None:
    """The code's first two stages, in place, for n rows of 16 bytes, n a multiple of 64. Overwrites scratch, as many.

    Linear over GF(2^128), or over GF(2) where field is false.
    """

def code_fold(salt: bytes, x: NDArray[np.uint8], outputs: int) -> NDArray[np.uint8]:
    """The first outputs, up to n / 2, of the code's last stage: (n, 16) -> (outputs, 16)."""

# Encrypted products (rlwe.rs). All arrays are flat; sizes are those of mpc/kernels/rlwe.py.

def rlwe_encrypt(
    wide: bool,
    plain: int,
    key: _Secret,
    seed: _Secret,
    public: NDArray[np.uint8],
    messages: NDArray[np.uint64],
    out: NDArray[np.uint64],
) -> None:
    """Fills out with the b sides of encryptions of n polynomials."""

def rlwe_expand(wide: bool, public: NDArray[np.uint8], out: NDArray[np.uint64]) -> None:
    """Fills out with the a sides of ciphertexts 0, 1, … of the seed."""

def rlwe_lift(wide: bool, plain: int, polynomials: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Fills out with the polynomials' values modulo each prime."""

def rlwe_are_residues(wide: bool, b: NDArray[np.uint64]) -> bool:
    """Whether every number is below its prime."""

def rlwe_reply(
    wide: bool,
    plain: int,
    shape: list[int],
    seed: _Secret,
    polynomials: NDArray[np.uint64],
    sides: list[NDArray[np.uint64]],
    zero: list[NDArray[np.uint64]],
    out: NDArray[np.uint8],
) -> None:
    """Fills out with replies. shape: batches, vectors, rows, terms, stride. sides, zero: b and a."""

def rlwe_masks(plain: int, shape: list[int], seed: _Secret, out: NDArray[np.uint64]) -> None:
    """Fills out with the masks of the replies under this seed."""

def rlwe_decrypt(
    wide: bool, plain: int, stride: int, key: _Secret, replies: NDArray[np.uint8], out: NDArray[np.uint64]
) -> None:
    """Fills out with what the replies hold."""

def rlwe_encode(prime: int, slots: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Fills out with the polynomials that have these slots."""

def rlwe_slots(prime: int, coefficients: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """(n·8192,) -> (n·8192,), residues of one plaintext prime, 0, 1, 2 or 4."""

def rlwe_decode(coefficients: list[NDArray[np.uint64]], out: NDArray[np.uint64]) -> None:
    """Fills out with the slots' numbers modulo 2^64."""

# Sums by bin under encryption (lwe.rs). All arrays are flat; sizes are those of mpc/kernels/lwe.py.

def lwe_expand(public: NDArray[np.uint8], out: NDArray[np.uint32]) -> None:
    """Fills out with the public matrix as values."""

def lwe_secrets(bits: NDArray[np.uint8], out: NDArray[np.uint32]) -> None:
    """Fills out with secrets as values."""

def lwe_encrypt(
    blocks: NDArray[np.uint32],
    secrets: NDArray[np.uint32],
    seed: _Secret,
    first: int,
    words: NDArray[np.uint32],
    w: int,
    out: NDArray[np.uint32],
) -> None:
    """Fills out with encryptions of rows of w words; first is the number of the first row."""

def lwe_add_vartime(
    codes: NDArray[np.uint8] | NDArray[np.uint16],
    starts: list[int],
    words: NDArray[np.uint32],
    w: int,
    rows: NDArray[np.int32] | None,
    out: NDArray[np.uint32],
) -> None:
    """Adds to out the sums by bin of rows of w words. starts: of each column's bins, and the number of all."""

def lwe_add_signed_vartime(
    codes: NDArray[np.uint8] | NDArray[np.uint16],
    starts: list[int],
    words: NDArray[np.int64],
    w: int,
    rows: NDArray[np.int32] | None,
    out: NDArray[np.int64],
) -> None:
    """As lwe_add_vartime."""

def lwe_hint_vartime(
    codes: NDArray[np.uint8] | NDArray[np.uint16],
    starts: list[int],
    public: NDArray[np.uint8],
    out: NDArray[np.uint32],
) -> None:
    """Fills out with the sums by bin of the public matrix's rows, on its side."""

def lwe_offer(
    delta: _Secret,
    tweak: int,
    k: NDArray[np.uint8],
    hint: NDArray[np.uint32],
    stretch: list[int],
    messages: NDArray[np.uint32],
    shares: NDArray[np.uint32],
) -> None:
    """Fills messages and shares for some bins. stretch: bins of the hint, the first of these, how many."""

def lwe_choose(
    tweak: int,
    t: NDArray[np.uint8],
    choices: NDArray[np.uint8],
    stretch: list[int],
    messages: NDArray[np.uint32],
    shares: NDArray[np.uint32],
) -> None:
    """Fills shares for some bins."""

# Paillier's encryption (paillier.rs). Numbers are little endian; p and q of half of n's length, ciphertexts of twice it

def paillier_check_key(p: _Secret, q: _Secret) -> None:
    """ValueError unless these can be the primes of a key."""

def paillier_encrypt(n: bytes, plaintexts: NDArray[np.uint8], randomness: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(count, w) plaintexts below n, of w bytes as n, and (count, w + 16) uniform bytes to (count, 2w) ciphertexts."""

def paillier_encrypt_with_key(
    p: _Secret, q: _Secret, plaintexts: NDArray[np.uint8], randomness: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The same ciphertexts, in about a third of the time."""

def paillier_decrypt(p: _Secret, q: _Secret, ciphertexts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The plaintexts, (count, w). InvalidEncoding for a ciphertext as paillier_check_vartime."""

def paillier_check_vartime(n: bytes, ciphertexts: NDArray[np.uint8]) -> None:
    """InvalidEncoding for a ciphertext that is not below n squared or not coprime to n."""

def paillier_combine(
    n: bytes, ciphertexts: NDArray[np.uint8], weights: NDArray[np.uint64], addends: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """For each row i of the (rows, columns) weights: addend i times the product of ciphertext j to the power w_ij."""
