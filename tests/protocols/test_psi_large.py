"""Intersection by buckets: against the plain one, killed in every phase, with damaged files, on a full disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.data.tables import DataSet
from mpc.errors import PeerError, UsageError
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.testing import run_parties
from protocols import psi
from protocols.psi import large, spill
from protocols.psi.agreement import Reveal, Security
from protocols.psi.checkpoint import DamagedCheckpoint
from tests.protocols.psi import OTHER, SUITES

KEY = bytes(range(32))
BANK, INSURER = "bank", "insurer"
Run = Callable[[Session], psi.TablesResult]
Pair = tuple[psi.TablesResult, psi.TablesResult]


def write_csv(path: Path, keys: Sequence[str], *, column: str = "id") -> Path:
    values = [f"{path.stem} {i}" for i in range(len(keys))]
    columns = {column: pa.array(list(keys), pa.string()), f"of_{path.stem}": pa.array(values, pa.string())}
    pa.csv.write_csv(pa.table(columns), path)
    return path


def party(directory: Path, name: str, *, reveal_to: Reveal = "both", out: bool = True, **options: object) -> Run:
    """What a party of that name runs: its rows are in ``<name>.csv``, its result goes to ``<name>-result.parquet``."""
    peer = INSURER if name == BANK else BANK
    data = DataSet(str(directory / f"{name}.csv"), columns=("id", f"of_{name}"))

    def run(session: Session) -> psi.TablesResult:
        return psi.intersect_tables(
            session,
            data,
            directory / f"{name}-result.parquet" if out else None,
            keys=("id",),
            peer=peer,
            **{
                "run": "job 1",
                "workdir": directory / f"{name}-work",
                "checkpoint_key": KEY,
                "bucket_rows": 16,
                "reveal_to": reveal_to if name == BANK else OTHER[reveal_to],
                "protocol": "ecdh",
                **options,
            },
        )

    return run


def both(
    directory: Path,
    *,
    bank: dict[str, object] | None = None,
    insurer: dict[str, object] | None = None,
    **options: object,
) -> Pair:
    results = run_parties(
        {
            BANK: party(directory, BANK, **{**options, **(bank or {})}),
            INSURER: party(directory, INSURER, **{**options, **(insurer or {})}),
        },
        protocol="psi",
    )
    return results[BANK], results[INSURER]


def result(directory: Path, name: str) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = pa.parquet.read_table(directory / f"{name}-result.parquet").to_pydict()
    return columns


def keys(start: int, stop: int) -> list[str]:
    return [f"key {i}" for i in range(start, stop)]


def check(directory: Path, bank: Sequence[str], insurer: Sequence[str]) -> None:
    """Both results have the rows in common, and in one order."""
    mine, theirs = result(directory, BANK), result(directory, INSURER)
    assert mine["id"] == theirs["id"]
    assert sorted(mine["id"]) == sorted(set(bank) & set(insurer))
    assert mine["of_bank"] == [f"bank {bank.index(key)}" for key in mine["id"]]
    assert theirs["of_insurer"] == [f"insurer {insurer.index(key)}" for key in theirs["id"]]


@settings(max_examples=12)
@given(
    sets=st.tuples(*(st.lists(st.integers(0, 150).map(str), unique=True, max_size=120) for _ in range(2))),
    reveal_to=st.sampled_from(["both", "me", "peer"]),
)
def test_the_intersection(
    tmp_path_factory: pytest.TempPathFactory, sets: tuple[list[str], list[str]], reveal_to: Reveal
) -> None:
    directory = tmp_path_factory.mktemp("psi")
    for name, ids in zip((BANK, INSURER), sets, strict=True):
        write_csv(directory / f"{name}.csv", ids)
    bank, insurer = both(directory, reveal_to=reveal_to)
    for name, found, own, other, learner in ((BANK, bank, *sets, "me"), (INSURER, insurer, *sets[::-1], "peer")):
        assert (found.rows, found.peer_size) == (len(own), len(other))
        assert not (directory / f"{name}-work").exists()
        if reveal_to in ("both", learner):
            assert sorted(result(directory, name)["id"]) == sorted(set(own) & set(other))
            assert found.matched == found.result_rows == len(set(own) & set(other))
        else:
            assert found.matched is None
            assert not (directory / f"{name}-result.parquet").exists()
    if reveal_to == "both":
        check(directory, *sets)


@pytest.mark.parametrize("suite", [suite.name for suite in SUITES])
@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
def test_rr22_in_buckets(tmp_path: Path, suite: str, security: Security) -> None:
    write_csv(tmp_path / "bank.csv", keys(0, 3000))
    write_csv(tmp_path / "insurer.csv", keys(2000, 2700))
    options = {"protocol": "rr22", "bucket_rows": 1500, "suite": suite, "security": security}
    found, other = both(tmp_path, reveal_to="me", **options)
    assert (found.matched, other.matched, found.operator) == (700, None, "psi.rr22")
    assert sorted(result(tmp_path, BANK)["id"]) == sorted(keys(2000, 2700))


def test_duplicates(tmp_path: Path) -> None:
    mine = [*keys(0, 60), "key 7", "key 3", "key 100"]
    write_csv(tmp_path / "bank.csv", mine)
    write_csv(tmp_path / "insurer.csv", theirs := keys(5, 90))
    with pytest.raises(UsageError, match=r"Rows (4 and 62|8 and 61) have the same key: drop one"):
        both(tmp_path)
    found, other = both(tmp_path, bank={"duplicates": "first", "workdir": tmp_path / "first"})
    check(tmp_path, mine, theirs)
    assert (found.rows, other.peer_size, found.matched) == (63, 61, 55)
    for name in (BANK, INSURER):
        (tmp_path / f"{name}-result.parquet").unlink()
    many = {"duplicates": "many", "match": "number"}
    found, _ = both(tmp_path, bank={**many, "workdir": tmp_path / "many"})
    columns = result(tmp_path, BANK)
    assert (found.matched, found.result_rows) == (55, 56)
    assert [columns["of_bank"][i] for i, key in enumerate(columns["id"]) if key == "key 7"] == ["bank 7", "bank 60"]
    assert [result(tmp_path, INSURER)["id"][number] for number in columns["number"]] == columns["id"]


def test_sets_that_do_not_fit_the_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_WHOLE_BYTES", 1)
    monkeypatch.setattr("mpc.data.tables.BATCH_ROWS", 100)
    write_csv(tmp_path / "bank.csv", mine := keys(0, 400))
    write_csv(tmp_path / "insurer.csv", theirs := keys(300, 550))
    both(tmp_path)
    check(tmp_path, mine, theirs)


@pytest.mark.parametrize(("files", "bits"), [(0, 0), (0, 9), (8, 0), (8, 3), (8, 8), (8, 10)])
def test_buckets_are_parts_or_unions_of_files(
    files: int, bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if files:
        monkeypatch.setattr(spill, "_WHOLE_BYTES", 1)
    write_csv(tmp_path / "bank.csv", keys(0, 500))
    data = DataSet(str(tmp_path / "bank.csv"), columns=("id", "of_bank"))
    written = spill.write(
        data, keys=("id",), form="text", columns=("of_bank",), duplicates="error", suite=SUITES[0], salt=bytes(32),
        directory=tmp_path, name="x", key=KEY, rng=Rng(), progress=lambda _: None,
    )  # fmt: skip
    assert (written.rows, written.keys, written.bits) == (500, 500, files)
    reader = spill.Reader(written, tmp_path, "x", KEY)
    numbers: list[int] = []
    for bucket in range(1 << bits):
        part = reader.bucket(bucket, bits)
        heads = np.ascontiguousarray(part.digests[:, :4]).view(">u4").reshape(-1).astype(np.int64)
        assert (heads >> (32 - bits) == bucket).all()
        assert part.columns.column(0).to_pylist() == [f"bank {number - 1}" for number in part.numbers]
        numbers += part.numbers.tolist()
    assert sorted(numbers) == list(range(1, 501))


def test_a_bucket_stays_below_its_bound() -> None:
    assert spill.bucket_size(1000, 0) == 1000
    assert spill.bucket_size(0, 4) == 0
    assert spill.bucket_size(10, 8) == 8  # of ten
    assert spill.bucket_size(10**9, 10) < 1.009 * 10**9 / 1024
    rng = np.random.default_rng(1)
    for rows, bits in ((1000, 4), (100_000, 6)):
        size = spill.bucket_size(rows, bits)
        mean = rows / (1 << bits)
        assert mean + 6 * mean**0.5 < size < mean + 12 * mean**0.5
        most = max(np.bincount(rng.integers(0, 1 << bits, rows)).max() for _ in range(20))
        assert most <= size
    with pytest.raises(UsageError, match="more than 65536 buckets: give larger ones"):
        spill.bucket_bits(1 << 32, 1 << 10)


def interrupted(directory: Path, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Leaves the state of a run that broke off after some buckets."""
    keep = large._State.keep
    kept: list[int] = []

    def limited(self: large._State, bucket: int, *rest: object) -> None:
        if len(kept) >= after:
            raise OSError(28, "No space left on device")
        kept.append(bucket)
        keep(self, bucket, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(large._State, "keep", limited)
        with pytest.raises(OSError, match="No space left"):
            both(directory)


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an unfinished run of both parties."""
    write_csv(tmp_path / "bank.csv", keys(0, 100))
    write_csv(tmp_path / "insurer.csv", keys(50, 150))
    interrupted(tmp_path, monkeypatch, after=6)
    assert not (tmp_path / "bank-result.parquet").exists()
    return tmp_path


def test_a_run_goes_on_where_it_was(begun: Path) -> None:
    steps: list[Progress] = []
    run = party(begun, BANK)

    def listening(session: Session) -> psi.TablesResult:
        return run(Session(session.me, session.channels, session.rng, steps.append))

    run_parties({BANK: listening, INSURER: party(begun, INSURER)}, protocol="psi")
    done = [step.done for step in steps if step.stage == "buckets"]
    assert done[0] > 1
    assert done[-1] == steps[-1].total == 8
    assert not [step for step in steps if step.stage == "read"]
    check(begun, keys(0, 100), keys(50, 150))


def test_both_begin_anew_where_one_has_lost_its_state(begun: Path) -> None:
    for path in (begun / "insurer-work").iterdir():
        path.unlink()
    both(begun)
    check(begun, keys(0, 100), keys(50, 150))


def test_a_changed_input_or_option_is_refused(begun: Path) -> None:
    with pytest.raises(UsageError, match="begun with other options: give those, or delete the directory"):
        both(begun, suite="gm")
    with pytest.raises(DamagedCheckpoint, match="or the checkpoint key is another one"):
        both(begun, insurer={"checkpoint_key": bytes(32)})
    write_csv(begun / "bank.csv", keys(0, 101))
    with pytest.raises(UsageError, match="The data set has changed since the run in .* was begun: restore it"):
        both(begun)


@pytest.mark.parametrize("kind", ["record", "rows", "result"])
@pytest.mark.parametrize("how", ["cut", "cut between frames", "longer", "changed", "another", "gone"])
def test_a_damaged_file_is_told(begun: Path, kind: str, how: str) -> None:
    paths = sorted(path for path in (begun / "bank-work").iterdir() if path.name.startswith(kind))
    data = paths[0].read_bytes()
    if how == "gone":
        paths[0].unlink()
    else:
        another = next(path for path in (begun / "bank-work").iterdir() if path != paths[0])
        damaged = {
            "cut": data[:-1],
            "cut between frames": data[: -4 - 16],  # without the last, empty one
            "longer": data + b"\x00",
            "changed": data[:-30] + bytes([data[-30] ^ 1]) + data[-29:],
            "another": another.read_bytes(),
        }
        paths[0].write_bytes(damaged[how])
    if how == "gone" and kind != "rows":  # as if it had never been written
        both(begun)
        check(begun, keys(0, 100), keys(50, 150))
        return
    with pytest.raises(DamagedCheckpoint, match=f"{paths[0].name} is cut short or changed"):
        both(begun)
    assert not (begun / "bank-result.parquet").exists()


def test_the_peer_has_to_run_the_same(tmp_path: Path) -> None:
    for name in (BANK, INSURER):
        write_csv(tmp_path / f"{name}.csv", keys(0, 20))
    with pytest.raises(PeerError, match="the same run at both parties"):
        both(tmp_path, bank={"run": "job 2"})
    with pytest.raises(PeerError, match="the same bucket_rows at both parties"):
        both(tmp_path, bank={"bucket_rows": 32})
    with pytest.raises(PeerError, match="operator .*psi.rr22"):
        both(tmp_path, bank={"protocol": "rr22"})


def test_a_party_that_has_everything_does_not_wait_for_the_other(begun: Path) -> None:
    found, other = both(begun, out=False)
    assert found.schema is not None
    assert sum(batch.num_rows for batch in found.batches()) == found.result_rows == other.matched == 50
    again, there = both(begun, insurer={"out": False})  # which go on from complete states
    assert again.matched == there.matched == 50
    assert len(result(begun, BANK)["id"]) == 50
    with pytest.raises(UsageError, match="exists, or is none of"):
        both(begun)


def process(directory: Path, who: str, **options: int) -> subprocess.Popen[str]:
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "tests.protocols.large_party", str(directory), who, *given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    words, _ = process.communicate(timeout=60)
    return process.returncode, words


def test_kills_in_every_phase(tmp_path: Path) -> None:
    write_csv(tmp_path / "bank.csv", keys(0, 100))
    write_csv(tmp_path / "insurer.csv", keys(50, 150))
    # Reading; between the records of the beginning; in the first buckets; in later ones; while the result is written.
    for event in (5, 12, 24, 40, 47):
        code, _ = ended(process(tmp_path, "both", die_at=event))
        assert code == -9
        assert not list(tmp_path.glob("*.parquet"))
    code, words = ended(process(tmp_path, "both"))
    assert code == 0, words
    check(tmp_path, keys(0, 100), keys(50, 150))


def test_one_party_is_killed_and_both_go_on(tmp_path: Path) -> None:
    write_csv(tmp_path / "bank.csv", keys(0, 100))
    write_csv(tmp_path / "insurer.csv", keys(50, 150))
    bank, insurer = process(tmp_path, BANK), process(tmp_path, INSURER, die_at=26)
    assert ended(insurer)[0] == -9
    code, words = ended(bank)
    assert code == 3, words
    (tmp_path / "bank.sock").unlink(missing_ok=True)
    bank, insurer = process(tmp_path, BANK), process(tmp_path, INSURER)
    for each in (insurer, bank):
        code, words = ended(each)
        assert code == 0, words
        assert "begins with bucket 1 of" not in words
    check(tmp_path, keys(0, 100), keys(50, 150))


def test_a_full_disk(tmp_path: Path) -> None:
    write_csv(tmp_path / "bank.csv", keys(0, 100))
    write_csv(tmp_path / "insurer.csv", keys(50, 150))
    code, words = ended(process(tmp_path, "both", file_limit=5000))
    assert (code, words) == (4, "File too large\n")
    assert not list(tmp_path.glob("*.parquet"))
    assert ended(process(tmp_path, "both"))[0] == 0
    check(tmp_path, keys(0, 100), keys(50, 150))
