"""What firms emit, from electricity readings of the grid and readings of the environment bureau: boosted trees of both.

    python -m examples.emission_boosting [--suite intl|gm] [--out build/emission]

The environment bureau has measured some firms' emissions, and knows their sector, fuel and flue gas; the grid knows how
much electricity they take, when, and how evenly. They find the firms that both have and grow trees on the readings of
both, by ``learning.boosting``: the grid learns no emission, the bureau no reading of a meter. Then the bureau has the
model's word on firms that it kept back.

Real processes, by the commands that operators type: a CA, a coordinator, two nodes and their workers, over mutual TLS.
The data are synthetic, so that the truth is known: an emission is a formula of the readings below (`emissions`), and
the bureau's measurement of it is off by some percent. At the end the model is compared with that truth, beside the
model that xgboost trains on the pooled readings, which in life nobody has, and beside the bureau's alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from examples import deployment
from examples.credit_study import console, show_report, timed
from protocols.learning import trees
from protocols.learning.boosted import BoostedPart
from unseen.cli.output import Message, text

SCENARIO = "emission-estimate"
AUTHORITY = "data-bureau"
LABEL = "emission_t"
MEASURED_WITHIN = 0.08
"""Relative error of the bureau's measurement, one standard deviation."""
TREES, DEPTH, LEARNING_RATE, BINS = 40, 4, 0.3, 32

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Owner:
    """How a party calls and keeps its data."""

    data_set: str
    source: str
    key: str
    columns: tuple[str, ...]


OWNERS = {
    "environment": Owner(
        "monitored-firms",
        "monitored_firms.parquet",
        "credit_code",
        ("sector", "fuel", "flue_gas_m3", "flue_gas_c", "so2_mg", "scrubber_hours"),
    ),
    "grid": Owner(
        "meters",
        "meters.csv",
        "customer_code",
        ("day_mwh", "night_mwh", "peak_kw", "power_factor", "own_solar_mwh", "outages"),
    ),
}

NODE_TOML = """\
listen = "127.0.0.1:0"
coordinator = "{coordinator}"

[[data_set]]
name = "{data_set}"
source = "{source}"
columns = {columns}
"""

POLICY_TOML = """\
[[allow_job]]
scenario = "emission-estimate"
requester = "environment"
operator = "learning.boosting"
data_set = "{data_set}"
columns = {columns}
authorities = ["data-bureau"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2100-01-01T00:00:00Z
"""

GRANT_TOML = """\
scenario = "emission-estimate"
purpose = "Emissions of firms that nobody measures, from how they use electricity; readings stay with who took them"
requester = "environment"
operator = "learning.boosting"
recipients = ["environment", "grid"]
uses = 1
not_before = 2020-01-01T00:00:00Z
not_after = 2100-01-01T00:00:00Z
minimum_result = 500           # a model of fewer firms is given to nobody
report_sizes = true

"""

JOB_TOML = """\
operator = "learning.boosting"
scenario = "emission-estimate"
grant = "emission-estimate.grant"
suite = "{suite}"

[parameters]
label_party = "environment"
label = "emission_t"
objective = "reg:squarederror"
n_estimators = {trees}
max_depth = {depth}
learning_rate = {learning_rate}
bins = {bins}
holdout = 0.25
language = "{language}"

"""

STEPS = {
    "firms": Message(
        "{n:,} firms that environment has measured; grid knows {others:,} others, and not every one (synthetic data)",
        "环境部门已监测企业 {n:,} 家；电网另有 {others:,} 家企业的记录，且缺少部分企业（合成数据）",
    ),
    "enrolled": Message(
        "CA, coordinator, data-bureau, environment and grid are enrolled",
        "CA、协调方、数据局、环境部门与电网已完成注册",
    ),
    "granted": Message("data-bureau has signed the grant", "数据局已签署授权书"),
    "serving": Message("Both nodes serve", "双方节点已启动"),
    "done": Message("The job has finished", "任务已完成"),
    "truth": Message(
        "On {rows:,} firms kept back, against the truth: R² {joint:.4f}, error {joint_rmse:.1f} t of {spread:.1f} t",
        "留出企业 {rows:,} 家，与真值相比：R² {joint:.4f}，误差 {joint_rmse:.1f} 吨（标准差 {spread:.1f} 吨）",
    ),
    "pooled": Message(
        "xgboost on pooled readings, same bins: R² {pooled:.4f}, error {pooled_rmse:.1f} t",
        "xgboost 明文合并训练（相同分箱）：R² {pooled:.4f}，误差 {pooled_rmse:.1f} 吨",
    ),
    "alone": Message(
        "environment alone: R² {alone:.4f}; a single measurement: R² {measured:.4f}",
        "仅用环境部门数据：R² {alone:.4f}；单次监测值：R² {measured:.4f}",
    ),
    "page": Message("{party}'s page: {path}", "{party} 的报告：{path}"),
    "report": Message("Report: {path}", "报告：{path}"),
}


# Firms that there are not ---------------------------------------------------------------------------------------------

_SECTORS = ("textiles", "paper", "cement", "food", "metals", "ceramics")
_T_PER_MWH = np.array([0.55, 0.75, 1.9, 0.45, 1.3, 1.0])  # what making things emits beside burning
_FUELS = ("none", "gas", "coal", "biomass")
_T_PER_MILLION_M3 = np.array([0.0, 95.0, 240.0, 20.0])
_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def credit_codes(n: int, rng: np.random.Generator) -> list[str]:
    """`n` different unified social credit codes that pass the checks of GB 32100; no region's code begins with 99."""
    weights = np.array([pow(3, i, 31) for i in range(17)])
    numbers = rng.choice(10**8, size=n, replace=False)
    codes = []
    for number in numbers.tolist():
        body = f"91990000{number:09d}"
        check = -int(weights @ [_ALPHABET.index(letter) for letter in body]) % 31
        codes.append(body + _ALPHABET[check])
    return codes


@dataclass(frozen=True)
class World:
    """Everybody's readings in one place, where in life nobody has them.

    Attributes:
        codes: of the n measured firms.
        table: n rows: the columns of both parties, and the label.
        truth: (n,) tonnes of CO2 a month.
        others: n other firms that the grid knows: their codes.
    """

    codes: list[str]
    table: pa.Table
    truth: Reals
    others: list[str]


def make_world(firms: int, others: int, rng: np.random.Generator) -> World:
    """The measured firms with all readings."""
    codes = credit_codes(firms + others, rng)
    sector, fuel = rng.integers(0, len(_SECTORS), firms), rng.choice(len(_FUELS), firms, p=[0.25, 0.35, 0.25, 0.15])
    size = rng.lognormal(0, 0.5, firms)
    night_share = np.clip(rng.beta(2, 3, firms) + 0.15 * (sector == 2), 0.02, 0.95)  # kilns do not stop at night
    mwh = 220 * size * rng.lognormal(0, 0.3, firms)
    solar = np.where(rng.random(firms) < 0.2, mwh * rng.uniform(0.05, 0.4, firms), 0.0)
    gas_m3 = np.where(fuel == 0, 0.0, 1.1 * size * rng.lognormal(0, 0.35, firms))  # million a month
    gas_c = np.where(fuel == 0, np.nan, rng.normal(150, 25, firms))
    factor = np.clip(rng.normal(0.92, 0.04, firms), 0.6, 1.0)
    truth = emissions(sector, fuel, mwh, solar, night_share, gas_m3, gas_c)
    missing = rng.random((3, firms))
    columns = {
        "sector": np.array(_SECTORS, dtype=object)[sector],
        "fuel": np.array(_FUELS, dtype=object)[fuel],
        "flue_gas_m3": np.where(missing[0] < 0.1, np.nan, gas_m3 * rng.lognormal(0, 0.05, firms)),
        "flue_gas_c": gas_c,
        "so2_mg": np.where(missing[1] < 0.2, np.nan, rng.lognormal(2.5 + (fuel == 2), 0.6, firms)),
        "scrubber_hours": rng.integers(0, 720, firms),
        "day_mwh": (mwh - solar) * (1 - night_share),
        "night_mwh": mwh * night_share,
        "peak_kw": mwh * rng.uniform(2, 6, firms),
        "power_factor": np.where(missing[2] < 0.08, np.nan, factor),
        "own_solar_mwh": solar,
        "outages": rng.poisson(0.6, firms),
        LABEL: truth * (1 + MEASURED_WITHIN * rng.standard_normal(firms)),
    }
    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    return World(codes[:firms], table, truth, codes[firms:])


def emissions(
    sector: NDArray[np.int64],
    fuel: NDArray[np.int64],
    mwh: Reals,
    solar: Reals,
    night_share: Reals,
    gas_m3: Reals,
    gas_c: Reals,
) -> Reals:
    """(n,) tonnes of CO2 a month, made up: what the process emits by its electricity, what is burnt, and waste heat."""
    process = _T_PER_MWH[sector] * mwh * np.where(night_share > 0.5, 1.35, 1.0)
    waste = 1 + 0.2 * np.clip((np.nan_to_num(gas_c, nan=150.0) - 160) / 40, 0, 1)
    return process + _T_PER_MILLION_M3[fuel] * gas_m3 * waste - 0.3 * solar


def columns_of(party: str) -> list[str]:
    """The columns that a party's table has besides the key."""
    return [*OWNERS[party].columns, *([LABEL] if party == "environment" else [])]


def write_data(root: Path, world: World, rng: np.random.Generator) -> None:
    """Each party's table, as its own database would export it."""
    for name, owner in OWNERS.items():
        own, codes = world.table.select(columns_of(name)), world.codes
        if name == "grid":
            known = rng.random(len(codes)) >= 0.03
            someone = rng.integers(0, len(codes), len(world.others))  # firms that nobody measured are like the others
            own = pa.concat_tables([own.filter(pa.array(known)), own.take(pa.array(someone))])
            codes = [code for code, there in zip(codes, known, strict=True) if there] + world.others
        order = rng.permutation(len(codes))
        own = own.take(pa.array(order)).add_column(0, owner.key, pa.array([codes[row] for row in order]))
        path = root / name / owner.source
        if path.suffix == ".csv":
            pyarrow.csv.write_csv(own, path)
        else:
            pyarrow.parquet.write_table(own, path)


def write_settings(root: Path, coordinator: str) -> None:
    """What each node has, and to whom it gives it."""
    for name, owner in OWNERS.items():
        words = {"data_set": owner.data_set, "columns": json.dumps([owner.key, *columns_of(name)])}
        node = NODE_TOML.format(coordinator=coordinator, source=owner.source, **words)
        (root / name / "node.toml").write_text(node)
        (root / name / "policy.toml").write_text(POLICY_TOML.format(**words))


def write_papers(root: Path, suite: str, rounds: int) -> tuple[Path, Path]:
    """What the authority is to grant, and the job under it."""
    language = text(Message("en", "zh"))
    job = JOB_TOML.format(
        suite=suite, trees=rounds, depth=DEPTH, learning_rate=LEARNING_RATE, bins=BINS, language=language
    )
    job += '[parameters.kinds.environment]\nsector = "category"\nfuel = "category"\n\n'
    grant = GRANT_TOML
    for name, owner in OWNERS.items():
        where = f'"{name}"\ndata_set = "{owner.data_set}"\n'
        grant += f"[[access]]\nparty = {where}columns = {json.dumps([owner.key, *columns_of(name)])}\n\n"
        job += f'[[party]]\nname = {where}keys = ["{owner.key}"]\nform = "credit-code"\n'
        job += f"columns = {json.dumps(columns_of(name))}\n\n"
    paths = root / "grant.toml", root / "emission-estimate.toml"
    for path, content in zip(paths, (grant, job), strict=True):
        path.write_text(content)
    return paths


# What the model is worth ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """R² against the known truth, and root mean square errors in tonnes, on the firms kept back."""

    rows: int
    spread: float
    joint: float
    joint_rmse: float
    pooled: float | None
    pooled_rmse: float | None
    alone: float | None
    measured: float


def compare(root: Path, job: str, world: World, rounds: int) -> Compared:
    """Put both parts together, which in life nobody can, beside the truth and, where it is installed, xgboost."""
    place = {code: row for row, code in enumerate(world.codes)}
    parts: dict[str, BoostedPart] = {}
    tables: dict[str, pa.Table] = {}
    orders = {}
    kept_back = np.zeros(0, dtype=bool)
    for name, owner in OWNERS.items():
        directory = root / name / "results" / job
        parts[name] = BoostedPart.from_json(json.loads((directory / "model.json").read_text()))
        rows = pyarrow.parquet.read_table(directory / "rows.parquet")
        orders[name] = [place[code] for code in rows.column(owner.key).to_pylist()]
        tables[name] = world.table.take(pa.array(orders[name]))
        kept_back = rows.column("held_out").to_numpy(zero_copy_only=False)
    if orders["grid"] != orders["environment"]:
        raise SystemExit("the parties' rows are not about the same firms in the same order")
    truth = world.truth[orders["grid"]]
    measured = tables["grid"][LABEL].to_numpy()
    coded = {name: part.coded(tables[name]) for name, part in parts.items()}
    codes = {name: one.codes for name, one in coded.items()}
    missing = {name: one.missing_code for name, one in coded.items()}
    joint = np.full(len(truth), parts["environment"].base_score or 0.0)
    for tree in zip(*(parts[name].trees for name in OWNERS), strict=True):
        joint += trees.joined(dict(zip(OWNERS, tree, strict=True)), codes, missing)
    spread = truth[kept_back] - truth[kept_back].mean()

    def r2(found: Reals) -> float:
        return float(1 - np.square(found - truth)[kept_back].sum() / np.square(spread).sum())

    def rmse(found: Reals) -> float:
        return float(np.sqrt(np.square(found - truth)[kept_back].mean()))

    # xgboost gets the codes, so that it has the same bins to choose from.
    values = {name: np.where(codes[name] == missing[name], np.nan, codes[name].astype(np.float64)) for name in OWNERS}
    pooled = xgboost_of(np.hstack(list(values.values())), measured, ~kept_back, rounds)
    alone = xgboost_of(values["environment"], measured, ~kept_back, rounds)
    return Compared(
        rows=int(kept_back.sum()),
        spread=float(spread.std()),
        joint=r2(joint),
        joint_rmse=rmse(joint),
        pooled=None if pooled is None else r2(pooled),
        pooled_rmse=None if pooled is None else rmse(pooled),
        alone=None if alone is None else r2(alone),
        measured=r2(measured),
    )


def xgboost_of(x: Reals, y: Reals, trained: NDArray[np.bool_], rounds: int) -> Reals | None:
    """(n,) what xgboost predicts, with the job's parameters; None where it is not installed."""
    try:
        import xgboost
    except ImportError:
        return None
    model = xgboost.XGBRegressor(
        n_estimators=rounds, max_depth=DEPTH, learning_rate=LEARNING_RATE, tree_method="hist", max_bin=256
    )
    found: Reals = model.fit(x[trained], y[trained]).predict(x).astype(np.float64)
    return found


def main() -> int:
    """Run the whole job. Returns 0 if the model is as near to the truth as that of pooled training, or nearly so."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", choices=["intl", "gm"], default="intl", help="cryptographic suite")
    parser.add_argument("--firms", type=int, default=10_000, help="firms whose emissions are measured")
    parser.add_argument("--others", type=int, default=5_000, help="other firms that the grid knows")
    parser.add_argument("--trees", type=int, default=TREES, help="rounds of boosting")
    parser.add_argument("--out", type=Path, default=Path("build/emission"), help="where homes and results go")
    parser.add_argument("--report", type=Path, default=None, help="where the report goes (OUT/emission.json)")
    options = parser.parse_args()
    root: Path = options.out
    deployment.clear(root, SCENARIO)
    done = timed(STEPS)
    rng = np.random.default_rng(2026)
    world = make_world(options.firms, options.others, rng)
    done("firms", n=len(world.codes), others=len(world.others))
    deployment.make_ca(root)
    for name in ("coordinator", AUTHORITY, *OWNERS):
        deployment.enrol(root, name, suite=options.suite)
    (root / "coordinator" / "coordinator.toml").write_text('listen = "127.0.0.1:0"\ncrl = "../ca/crl.pem"\n')
    write_data(root, world, rng)
    done("enrolled")
    asked, job_toml = write_papers(root, options.suite, options.trees)
    grant = root / "emission-estimate.grant"
    deployment.run("grant", "issue", asked, "--home", root / AUTHORITY, "--out", grant)
    done("granted")

    with ExitStack() as running:
        coordinator = running.enter_context(deployment.serving("coordinator", root / "coordinator"))
        write_settings(root, coordinator.at)
        with ThreadPoolExecutor() as pool:  # each takes a second until it serves
            list(pool.map(lambda name: running.enter_context(deployment.serving("node", root / name)), OWNERS))
        deployment.wait_until_announced(root, coordinator.at, tuple(OWNERS))
        done("serving")
        job = str(deployment.run("job", "submit", job_toml, "--home", root / "environment")["id"])
        subprocess.run([*deployment.COMMAND, "job", "watch", job, "--home", str(root / "environment")], check=True)
        seconds = done("done")
        found = deployment.run("job", "report", job, "--home", root / "environment")
    state = found["job"]
    parties = state["parties"] if isinstance(state, dict) else []
    show_report(parties)
    compared = compare(root, job, world, options.trees)
    said: Mapping[str, object] = asdict(compared)
    done("truth", **said)
    if compared.pooled is not None:
        done("pooled", **said)
        done("alone", **said)
    for name in OWNERS:
        done("page", party=name, path=root / name / "results" / job / "report.html")
    report = {
        "data": "synthetic; the truth is a formula of the readings",
        "firms": len(world.codes),
        "suite": options.suite,
        "compared": said,
        "parties": {part["party"]: part["report"] for part in parties},
        "seconds": round(seconds, 1),
    }
    path = options.report or root / "emission.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    done("report", path=path)
    # With few firms it is better, since nodes of fewer than 20 are not split.
    if compared.pooled is not None and compared.joint < compared.pooled - 0.02:
        console.print("[red]The joint model is not as good as that of pooled training.[/red]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
