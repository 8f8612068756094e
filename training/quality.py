"""Measures what the compression costs: every family on real data, twin against CollectiveKV, and what the knobs do.

    python training/quality.py run --data DIR                      # all that is missing in results/quality.json
    python training/quality.py run --data DIR --only ml-1m/sim/1   # one job: dataset/family/seed
    python training/quality.py knobs --data DIR                    # pool size, user dims, ties, recipes
    python training/quality.py report                              # docs/quality.md and its plots from the results

DIR holds the data sets as published, see DATASETS. Jobs run side by side, one thread each; a job that was interrupted
goes on at its last checkpoint in .ckv/training/quality, and rows that are in the results are not measured again.

Protocol: the twin is trained for `epochs`, then the twin, its conversion and the user dims alone each for `tune_epochs`
more with the same settings and seed. Test queries are never learned from, nor is a pool made from their positions.
"""

import argparse
import json
import multiprocessing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from arms import Arm, Arms, without_history
from cache import Compression, SharedKV, UserDimsOnly
from fit import FitConfig, evaluate
from importers import IMPORTERS
from log import Columns, Log, Split, log_from_table, split_log
from model import ModelConfig
from record import bytes_per_position, full_bytes, row_bytes

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "training" / "results"
CHECKPOINTS = ROOT / ".ckv" / "training" / "quality"
FAMILIES = ["sim", "sdim", "eta", "twin", "hstu"]
SEEDS = [1, 2, 3]


@dataclass(frozen=True)
class Dataset:
    importer: str
    source: str  # within DIR
    split: str
    epochs: float  # of the twin, before it is converted
    rate: float
    tune_epochs: float  # of every arm, after that
    tune_rate: float


DATASETS = {
    "ml-1m": Dataset("movielens", "ml-1m-ordered/ratings_ordered.csv.xz", "position:0.1", 2.5, 6e-3, 0.75, 1e-3),
    "kuairand": Dataset("kuairand-partial", "kuairand-pure-partial", "time:0.25", 2.5, 4e-3, 0.75, 1e-3),
}


@dataclass(frozen=True)
class Job:
    dataset: str
    family: str  # a family, or "none": the same model without history
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.family}/{self.seed}"


def model_config(family: str, log: Log) -> ModelConfig:
    size = {"d_model": 128, "heads": 4, "layers": 2} if family == "hstu" else {}
    return ModelConfig("target" if family == "none" else family, len(log.items), len(log.actions), **size)


def read_dataset(name: str, data: Path) -> tuple[Log, Split]:
    """The log, kept as a pickle-free copy of its arrays beside the checkpoints."""
    dataset = DATASETS[name]
    table, _ = IMPORTERS[dataset.importer].read(data / dataset.source, lambda *_: None)
    log = log_from_table(table, Columns())
    return log, split_log(log, dataset.split)


def arms_of(job: Job, log: Log, split: Split, c: Compression, folder: str = "") -> Arms:
    dataset = DATASETS[job.dataset]
    return Arms(
        log,
        split,
        model_config(job.family, log),
        FitConfig(dataset.epochs, dataset.rate, seed=job.seed),
        FitConfig(dataset.tune_epochs, dataset.tune_rate, seed=job.seed + 100),
        c,
        CHECKPOINTS / (folder or str(job)),
        str(job),
    )


def measured(job: Job, arms: Arms, variant: str, arm: Arm) -> dict:
    """A row of the results. Bytes are those that a record takes in Redis, and for the twin those of fp32 K and V."""
    quality = evaluate(arm.model, arms.log, arms.split.test)
    caches = [cache for cache, _, _ in arm.model.layers(arms.sample())] if job.family != "none" else []
    full, used, c = full_bytes(arms.config), float(full_bytes(arms.config)), None
    if caches and isinstance(caches[0], SharedKV | UserDimsOnly):
        lengths = np.diff(arms.log.starts).clip(max=arms.config.max_positions)
        used = bytes_per_position(row_bytes(arm.model), lengths[lengths > 0].tolist())
        c = caches[0].compression if isinstance(caches[0], SharedKV) else None
    row = {
        "dataset": job.dataset,
        "family": job.family,
        "variant": variant,
        "seed": job.seed,
        **{name: round(value, 5) for name, value in asdict(quality).items()},
        "bytesPerPosition": 0.0 if variant == "no_history" else round(used, 2),
        "ratio": 0.0 if variant == "no_history" else round(used / full, 5),
        "m": c.slots if c else 0,
        "du": arms.compression.user_width if c or variant == "user_dims_only" else 0,
        "routes": ("tied" if c.tied else "separate") if c else "none",
        "trainSeconds": round(arm.seconds),
        "losses": [round(loss, 4) for loss in arm.losses],
    }
    print(f"{job} {variant}: AUC {row['auc']:.4f} GAUC {row['gauc']:.4f} bytes {row['ratio']:.2%}", flush=True)
    return row


def measure(job: Job, arms: Arms) -> list[dict]:
    """A job's rows."""
    if job.family == "none":
        arms = replace(arms, log=without_history(arms.log))
        return [measured(job, arms, "no_history", arms.no_history())]
    twin = arms.twin()
    rows = [measured(job, arms, "twin_before", twin)]
    converted = arms.converted(twin)
    rows.append(measured(job, arms, "converted", converted))
    rows.append(measured(job, arms, "collectivekv", arms.collective_kv(converted)))
    rows.append(measured(job, arms, "user_dims_only", arms.user_dims_only(twin)))
    rows.append(measured(job, arms, "twin", arms.twin_again(twin)))
    return rows


def run_job(job: Job, data: Path, c: Compression) -> list[dict]:
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    return measure(job, arms_of(job, log, split, c))


def read_rows() -> list[dict]:
    path = RESULTS / "quality.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def write_rows(rows: list[dict]) -> None:
    RESULTS.mkdir(exist_ok=True)
    rows = sorted(rows, key=lambda r: (r["dataset"], r["family"], r["seed"], r["variant"]))
    lines = ",\n".join(json.dumps(row) for row in rows)
    (RESULTS / "quality.json").write_text(f'{{"rows": [\n{lines}\n]}}\n')


def run(data: Path, only: list[str], workers: int) -> None:
    done = {f"{r['dataset']}/{r['family']}/{r['seed']}" for r in read_rows()}
    jobs = [Job(d, f, s) for d in DATASETS for s in SEEDS for f in ["none", *FAMILIES]]
    jobs = [job for job in jobs if (str(job) in only if only else str(job) not in done)]
    print(f"{len(jobs)} jobs: {' '.join(map(str, jobs))}", flush=True)
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=1) as pool:
        started = [(job, pool.apply_async(run_job, (job, data, Compression()))) for job in jobs]
        for job, result in started:
            rows = result.get()
            kept = [
                r for r in read_rows() if (r["dataset"], r["family"], r["seed"]) != (job.dataset, job.family, job.seed)
            ]
            write_rows([*kept, *rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "knobs", "report"])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "data")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    options = parser.parse_args()
    if options.command == "run":
        run(options.data, options.only, options.workers)
