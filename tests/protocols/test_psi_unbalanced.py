"""Intersection with a prepared set: against the plain one, over interruptions, damaged files and peers that lie."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpc.channel import Traffic
from mpc.errors import CheatingDetected, PeerError, PolicyError, UsageError
from mpc.kernels import oprf
from mpc.kernels.oprf import Mode
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.testing import Tamper, run_parties
from mpc.wire.psi.v1 import unbalanced_pb2 as wire
from protocols.psi import prepared, tagfile, unbalanced
from protocols.psi.prepared import Prepared
from protocols.psi.tagfile import DamagedTags, TagSpec
from tests.protocols.psi import SUITES

STORAGE = bytes(range(32))
INTL = SUITES[0]
ENVELOPE = 256
"""What the file's Cost line allows per message besides arrays, bytes."""

suites = pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)


def prepare(
    keys: Sequence[bytes] | Sequence[Packed], directory: Path, suite: Suite = INTL, **options: object
) -> Prepared:
    batches = [pack(keys)] if not keys or isinstance(keys[0], bytes) else keys
    options = {"rng": Rng.from_seed(b"owner"), "storage": STORAGE, "name": "debtors", **options}
    return prepared.prepare(batches, directory, suite=suite, **options)


def ask(
    a_set: Prepared,
    keys: Sequence[bytes],
    cache: Path,
    *,
    suite: Suite = INTL,
    admit: Callable[[int], None] = lambda _: None,
    send: Callable[[Session], object] | None = None,
    name: str = "debtors",
    **options: object,
) -> tuple[unbalanced.Matches, int, Traffic]:
    """What the receiver has, how much the sender evaluated, and the receiver's traffic."""

    def receive(s: Session) -> tuple[unbalanced.Matches, Traffic]:
        channel = s.channel("owner")
        matches = unbalanced.receive(channel, pack(keys), suite=suite, name=name, cache=cache, rng=s.rng)
        return matches, channel.traffic

    results = run_parties(
        {
            "owner": send
            or (lambda s: unbalanced.send(s.channel("asker"), a_set, suite=suite, rng=s.rng, admit=admit)),
            "asker": receive,
        },
        protocol="psi.unbalanced",
        **options,
    )
    matches, traffic = results["asker"]
    return matches, results["owner"], traffic


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare([b"person %d" % i for i in range(300)], tmp_path_factory.mktemp("people"))


# Against the plain intersection ---------------------------------------------------------------------------------------

KEY = st.binary(max_size=3) | st.sampled_from(
    [b"\x00", b"\n", b"a\x00", b"x" * 10_000, b"y" * 70_000, "é".encode(), "é".encode("gb18030")]
)


@suites
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(theirs=st.lists(KEY, max_size=12), mine=st.lists(KEY, max_size=12), cut=st.integers(0, 12))
def test_it_is_the_intersection(
    suite: Suite, theirs: list[bytes], mine: list[bytes], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    a_set = prepare([pack(theirs[:cut]), pack(theirs[cut:])], folder / "set", suite)
    matches, evaluated, _ = ask(a_set, mine, folder / "cache", suite=suite)
    assert matches.rows.tolist() == [i for i, key in enumerate(mine) if key in theirs]
    assert matches.peer_size == len(set(theirs))
    assert evaluated == len(mine)


def test_thousands_of_keys_in_overlapping_queries(people: Prepared, tmp_path: Path) -> None:
    mine = [b"person %d" % (i * 7 % 4001) for i in range(1300)]
    matches, evaluated, traffic = ask(people, mine, tmp_path)
    assert matches.rows.tolist() == [i for i, key in enumerate(mine) if int(key[7:]) < 300]
    assert (evaluated, matches.epoch) == (1300, 1)
    assert traffic.messages_sent == 2 + 3 + 1  # Enquiry, Fetch; three queries; Done


@suites
@pytest.mark.parametrize("n", [0, 1, 513])
def test_the_cost_is_the_stated_one(suite: Suite, n: int, tmp_path: Path) -> None:
    a_set = prepare([b"%d" % i for i in range(100)], tmp_path / "set", suite)
    element = suite.group.ELEMENT_BYTES
    batches = -(-n // unbalanced.BATCH)
    for cached in (False, True):
        _, _, traffic = ask(a_set, [b"%d" % i for i in range(n)], tmp_path / "cache", suite=suite)
        up = element * n
        down = element * n + oprf.sizes(suite.name).proof * batches + (0 if cached else a_set.tags.spec.file_bytes)
        assert up <= traffic.bytes_sent <= up + ENVELOPE * traffic.messages_sent
        assert down <= traffic.bytes_received <= down + ENVELOPE * traffic.messages_received
        assert traffic.messages_sent == 2 + batches + (not cached)


# The tag file ---------------------------------------------------------------------------------------------------------


def spec(width: int, most: int = 1, rows: int = 0) -> TagSpec:
    return TagSpec("intl", "debtors", "text", 1, most, width, rows, b"k" * 32)


@pytest.mark.parametrize("width", [8, 9, 10, 11])
def test_tags_of_every_width_are_found(width: int, tmp_path: Path) -> None:
    rng = Rng.from_seed(b"tags")
    outputs = np.unique(rng.uint8(20_000, 32), axis=0)  # sorted as big-endian numbers, too
    outputs[5_000:9_000, :2] = 77  # one full bucket
    outputs = np.unique(outputs, axis=0)
    present, absent = outputs[::2].copy(), outputs[1::2].copy()
    first, rest = tagfile.halves(present)
    groups = [(first[i : i + 3000], rest[i : i + 3000]) for i in range(0, len(first), 3000)]
    tags = tagfile.write(tmp_path / "tags", spec(width), groups)
    assert tags.spec.rows == len(present)
    assert (tmp_path / "tags").stat().st_size == tags.spec.file_bytes
    assert tags.contains(present).all()
    assert not tags.contains(absent).any()
    beyond = np.zeros((2, 32), dtype=np.uint8)
    beyond[1] = 255
    assert not tags.contains(beyond).any()
    near = present.copy()
    near[:, width - 1] ^= 1  # the last byte that counts
    assert not tags.contains(near).any()
    near = present.copy()
    near[:, width] ^= 255  # and the first that does not
    assert tags.contains(near).all()


def test_an_empty_file(tmp_path: Path) -> None:
    tags = tagfile.write(tmp_path / "tags", spec(11), [])
    assert tags.spec.rows == 0
    assert not tags.contains(np.zeros((3, 32), dtype=np.uint8)).any()


def test_the_width_follows_from_both_sizes() -> None:
    assert spec(8, most=1 << 12, rows=1 << 12).prefix_bits == 0
    assert spec(10, most=100_000, rows=10**7).starts_bytes == 4 * 65537
    for width, most, rows in ((8, 1 << 13, 1 << 12), (10, 100_000, 10**8), (12, 1, 1), (11, 1 << 30, 1 << 20)):
        with pytest.raises(UsageError, match="lower `most`"):
            spec(width, most=most, rows=rows)


def test_damage_is_noticed(people: Prepared, tmp_path: Path) -> None:
    path, whole = tmp_path / "tags", people.tags.path.read_bytes()
    header = len(people.tags.spec.header())
    for at in (0, 8, 12, 20, 40, header - 1, header, header + 5, len(whole) - 40, len(whole) - 32, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DamagedTags, match="prepare or fetch it again"):
            tagfile.load(path)
    for content in (b"", whole[:100], whole[:-1], whole + b"\x00", b"x" * len(whole)):
        path.write_bytes(content)
        with pytest.raises(DamagedTags, match="prepare or fetch it again"):
            tagfile.load(path)
    path.write_bytes(whole)
    assert tagfile.load(path, expected=people.tags.hash).hash == people.tags.hash
    with pytest.raises(DamagedTags):
        tagfile.load(path, expected=bytes(32))


# Preparing ------------------------------------------------------------------------------------------------------------


def test_an_interrupted_preparation_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prepared, "RUN", 64)
    monkeypatch.setattr(prepared, "_GROUP", 100)
    keys = [b"key %d" % i for i in range(1000)] + [b"key 3", b"key 999"]
    evaluated: list[int] = []
    evaluate = oprf.evaluate

    def counted(suite: str, mode: int, private: object, rows: Packed) -> object:
        evaluated.append(len(rows))
        return evaluate(suite, mode, private, rows)

    monkeypatch.setattr(oprf, "evaluate", counted)
    whole = prepare(keys, tmp_path / "whole")
    assert sum(evaluated) == 1002
    assert whole.tags.spec.rows == 1000

    class Cut(BaseException):
        pass

    def cut_at(stage: str, done: int) -> Callable[[Progress], None]:
        def progress(p: Progress) -> None:
            if p.stage == stage and p.done >= done:
                raise Cut

        return progress

    evaluated.clear()
    for stage, done in (("prepare", 64), ("prepare", 640), ("sort", 1), ("sort", 600)):
        with pytest.raises(Cut):
            prepare(keys, tmp_path / "cut", progress=cut_at(stage, done))
        assert not (tmp_path / "cut" / "tags").exists()
        with pytest.raises(UsageError, match="holds no prepared set"):
            prepared.load(tmp_path / "cut", storage=STORAGE)
    runs = sorted((tmp_path / "cut" / "unfinished").glob("*.run"))
    assert len(runs) == 16
    runs[2].write_bytes(runs[2].read_bytes()[:-7])  # as a disk does that lost power
    (runs[5].parent / "000006.run.part").write_bytes(b"half")
    # In other batches than before: only the order counts.
    parts = [pack(keys[i : i + 77]) for i in range(0, len(keys), 77)]
    resumed = prepare(parts, tmp_path / "cut", rng=Rng())
    assert sum(evaluated) == 1002 + 64
    assert resumed.tags.path.read_bytes() == whole.tags.path.read_bytes()
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == ["key", "tags"]
    assert (tmp_path / "cut" / "key").stat().st_mode & 0o077 == 0


KILLED = """
import sys
from pathlib import Path
from mpc import suite
from mpc.kernels.packing import pack
from mpc.rng import Rng
from protocols.psi import prepared
prepared.RUN = 50
prepared.prepare(
    [pack([b"key %d" % i for i in range(5000)])], Path(sys.argv[1]), suite=suite.get("intl"), name="debtors",
    storage=bytes(range(32)), rng=Rng(), progress=lambda p: print(p.done, flush=True),
)
"""


def test_a_killed_preparation_leaves_nothing_half_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prepared, "RUN", 50)
    root = Path(prepared.__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(tmp_path / "set")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)}) as process:
        for line in process.stdout or ():
            if int(line) >= 1000:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "set" / "tags").exists()
    ran = len(list((tmp_path / "set" / "unfinished").glob("*.run")))
    assert 20 <= ran < 100
    keys = [b"key %d" % i for i in range(5000)]
    a_set = prepare(keys, tmp_path / "set")
    assert a_set.tags.spec.rows == 5000
    matches, _, _ = ask(a_set, [b"key 4999", b"key 5000", b"key 0"], tmp_path / "cache")
    assert matches.rows.tolist() == [0, 2]


def test_another_preparation_in_the_same_place_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prepared, "RUN", 4)
    keys = [b"key %d" % i for i in range(10)]

    def stop(p: Progress) -> None:
        if p.done == 8:
            with pytest.raises(UsageError, match="Another process prepares"):
                prepare(keys, tmp_path)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(keys, tmp_path, progress=stop)
    for options, text in (
        ({"name": "creditors"}, "begun with other options"),
        ({"epoch": 2}, "begun with other options"),
        ({"storage": bytes(32)}, "the storage key is another one"),
        ({"storage": bytes(31)}, "give 32"),
    ):
        with pytest.raises(UsageError, match=text):
            prepare(keys, tmp_path, **options)
    with pytest.raises(UsageError, match="begun with other keys, or in another order"):
        prepare(keys[::-1], tmp_path)
    prepare(keys, tmp_path)
    with pytest.raises(UsageError, match="holds a prepared set"):
        prepare(keys, tmp_path)
    monkeypatch.setattr(tagfile, "TAG_BYTES", 8)
    with pytest.raises(UsageError, match="4 keys for 4294967296 at a time are too many"):
        prepare(keys, tmp_path / "many", most=1 << 32)


def test_loading_needs_both_files_and_the_storage_key(people: Prepared, tmp_path: Path) -> None:
    assert np.array_equal(prepared.load(people.tags.path.parent, storage=STORAGE).private_key, people.private_key)
    shutil.copytree(people.tags.path.parent, tmp_path / "copy")
    key = tmp_path / "copy" / "key"
    with pytest.raises(UsageError, match="the storage key is another one"):
        prepared.load(tmp_path / "copy", storage=bytes(32))
    sealed = key.read_bytes()
    assert people.private_key.tobytes() not in sealed
    for damaged in (sealed[:-1], sealed[:20], b"", b"x" + sealed[1:], sealed[:30] + b"xx" + sealed[32:]):
        key.write_bytes(damaged)
        with pytest.raises(UsageError, match="does not open"):
            prepared.load(tmp_path / "copy", storage=STORAGE)
    other = prepare([b"a"], tmp_path / "other", rng=Rng())
    shutil.copy(other.tags.path.parent / "key", key)
    with pytest.raises(UsageError, match="the key of another set"):
        prepared.load(tmp_path / "copy", storage=STORAGE)


# The receiver's cache -------------------------------------------------------------------------------------------------


def test_the_file_is_fetched_once_and_a_broken_fetch_goes_on(
    people: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tagfile, "PIECE_BYTES", 500)
    ask(people, [b"person 1"], tmp_path / "whole")
    (cached,) = (tmp_path / "whole").iterdir()
    assert cached.read_bytes() == people.tags.path.read_bytes()
    (tmp_path / "part").mkdir()
    part = tmp_path / "part" / (cached.stem + ".part")
    part.write_bytes(cached.read_bytes()[:1700])
    _, _, traffic = ask(people, [b"person 1"], tmp_path / "part")
    assert (tmp_path / "part" / cached.name).read_bytes() == cached.read_bytes()
    assert traffic.bytes_received < people.tags.spec.file_bytes - 1000
    # What is left of a fetch of something else is found out, and thrown away.
    (tmp_path / "part" / cached.name).unlink()
    part.write_bytes(b"x" * 1700)
    with pytest.raises(PeerError, match="the file that was announced"):
        ask(people, [b"person 1"], tmp_path / "part")
    assert not part.exists()
    ask(people, [b"person 1"], tmp_path / "part")


def test_a_damaged_cache_is_named(people: Prepared, tmp_path: Path) -> None:
    ask(people, [b"person 1"], tmp_path)
    (cached,) = tmp_path.iterdir()
    cached.write_bytes(cached.read_bytes()[:-100])
    with pytest.raises(DamagedTags, match=rf"{cached.name} has .* delete it"):
        ask(people, [b"person 1"], tmp_path)


# Rules and peers ------------------------------------------------------------------------------------------------------


def test_quotas(people: Prepared, tmp_path: Path) -> None:
    asked: list[int] = []

    def admit(n: int) -> None:
        asked.append(n)
        if sum(asked) > 600:
            raise PolicyError("the quota of the day is used up", code="quota-exceeded", remedy="Come back tomorrow.")

    with pytest.raises(PolicyError, match="used up.*quota-exceeded.*tomorrow"):
        ask(people, [b"%d" % i for i in range(1000)], tmp_path, admit=admit)
    assert asked == [512, 488]
    few = replace(people, tags=replace(people.tags, spec=replace(people.tags.spec, most=5)))
    with pytest.raises(PolicyError, match="6 keys where at most 5.*too-many-keys"):
        ask(few, [b"%d" % i for i in range(6)], tmp_path)


def test_who_asks_for_more_than_it_said_is_refused(people: Prepared) -> None:
    few = replace(people, tags=replace(people.tags, spec=replace(people.tags.spec, most=5)))

    def greedy(s: Session) -> None:
        channel = s.channel("owner")
        channel.send(wire.Enquiry(version=1, suite="intl", name="debtors", form="text", size=1))
        channel.recv(wire.Announcement)
        points = INTL.group.mul_base(INTL.group.scalar_from_uniform(s.rng.uint8(6, 64)))
        channel.send(wire.Query(), points)
        (refusal,) = channel.recv(wire.Refusal)
        assert refusal.code == "too-many-keys"

    with pytest.raises(PolicyError, match="too-many-keys"):
        run_parties(
            {
                "owner": lambda s: unbalanced.send(s.channel("asker"), few, suite=INTL, rng=s.rng),
                "asker": greedy,
            }
        )


@pytest.mark.parametrize(
    ("sender", "message", "byte", "error"),
    [
        ("asker", 0, -4, "asker broke psi.unbalanced at Enquiry: required: the form of this set, 'text', not"),
        ("asker", 1, -1, "asker broke psi.unbalanced at "),
        ("asker", 2, -1, "asker broke psi.unbalanced at Query|owner broke psi.unbalanced at Evaluation"),
        ("owner", 0, -1, "owner broke psi.unbalanced at Announcement|the file that was announced"),
        ("owner", 0, -150, "owner broke psi.unbalanced at Announcement"),
        ("owner", 1, -1, "the file that was announced"),
        ("owner", 1, 700, "the file that was announced"),
        ("owner", 2, -1, "owner broke psi.unbalanced at Evaluation"),
        ("owner", 2, -70, "owner broke psi.unbalanced at Evaluation"),
    ],
)
def test_a_flipped_bit_is_noticed(
    people: Prepared, tmp_path: Path, sender: str, message: int, byte: int, error: str
) -> None:
    tamper = {(sender, "owner" if sender == "asker" else "asker"): Tamper(message=message, byte=byte, bit=2)}
    with pytest.raises(PeerError, match=error):
        ask(people, [b"person 1", b"nobody"], tmp_path, tamper=tamper, seed=b"flip")


def test_a_sender_that_takes_another_key_is_caught(people: Prepared, tmp_path: Path) -> None:
    def lying(s: Session) -> None:
        channel = s.channel("asker")
        channel.recv(wire.Enquiry)
        channel.send(
            wire.Announcement(),
            np.frombuffer(people.tags.spec.header(), dtype=np.uint8),
            np.frombuffer(people.tags.hash, dtype=np.uint8),
        )
        _, blinded = channel.recv(wire.Query)
        other = INTL.group.scalar_from_uniform(s.rng.uint8(1, 64))[0]
        public = oprf.public_key("intl", other)
        evaluated = oprf.blind_evaluate("intl", other, blinded)
        proof = oprf.prove("intl", Mode.VOPRF, other, public, blinded, evaluated, s.rng.uint8(32))
        channel.send(wire.Evaluation(), evaluated, proof)

    ask(people, [], tmp_path)  # the file is there already
    with pytest.raises(CheatingDetected, match="evaluations under the key that the file names"):
        ask(people, [b"person 1"], tmp_path, send=lying)


@pytest.mark.parametrize(
    "words",
    [
        {"code": "no", "message": "\x1b[2Jdone"},
        {"code": "no", "message": "x" * 1001},
        {"code": "no", "message": "no", "remedy": "a\nb"},
        {"code": "NO!", "message": "no"},
    ],
)
def test_a_refusal_brings_nothing_into_a_terminal(words: dict[str, str], people: Prepared, tmp_path: Path) -> None:
    def refuses(s: Session) -> None:
        s.channel("asker").recv(wire.Enquiry)
        s.channel("asker").send(wire.Refusal(**words))

    with pytest.raises(PeerError, match="a refusal with a code in kebab case and printable text"):
        ask(people, [b"person 1"], tmp_path, send=refuses)


def test_another_set_or_suite_is_named(people: Prepared, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="the name of this set, 'debtors', not 'creditors'"):
        ask(people, [b"a"], tmp_path, name="creditors")
    for suite in SUITES[1:]:
        with pytest.raises(UsageError, match="prepared in suite 'intl', not 'gm'"):
            ask(people, [b"a"], tmp_path, suite=suite)
        with pytest.raises(PeerError, match="the suite of this set, 'intl', not 'gm'"):
            run_parties(
                {
                    "owner": lambda s: unbalanced.send(s.channel("asker"), people, suite=INTL, rng=s.rng),
                    "asker": lambda s, suite=suite: unbalanced.receive(
                        s.channel("owner"), pack([b"a"]), suite=suite, name="debtors", cache=tmp_path, rng=s.rng
                    ),
                },
                protocol="psi.unbalanced",
            )


def test_the_operator_says_what_is_learned() -> None:
    assert unbalanced.OPERATOR.name == "psi.unbalanced"
    assert set(unbalanced.OPERATOR.learns) == {"receiver", "sender"}
    assert "later" in unbalanced.OPERATOR.learns["receiver"][0]
