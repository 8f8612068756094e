"""Measures what the compression costs: every family on real data, twin against CollectiveKV, and what the knobs do.

    python training/quality.py run --data DIR                      # all that is missing in results/quality.json
    python training/quality.py run --data DIR --only ml-1m/sim/1   # one job: dataset/family/seed
    python training/quality.py knobs --data DIR                    # pool size, user dims, ties, recipes
    python training/quality.py structure --data DIR                # spectra, similarity of users, use of slots
    python training/quality.py report                              # docs/quality.md and its plots from the results

DIR holds the data sets as published, see DATASETS. Jobs run side by side, one thread each; a job that was interrupted
goes on at its last checkpoint in .ckv/training/quality, and rows that are in the results are not measured again: after
a change of settings, remove both.

Protocol: the twin is trained for `epochs`, then the twin and its conversion each for `tune_epochs` more with the same
settings and seed; the user dims alone and the model without history are trained from scratch for both.
Test queries are never learned from, nor is a pool made from their positions.
"""

import argparse
import copy
import json
import multiprocessing
import multiprocessing.pool
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from arms import Arm, Arms, without_history
from cache import Compression, SharedKV, UserDimsOnly
from convert import calibrate, sample_history
from errors import UserError, exit_code
from fit import FitConfig, evaluate
from importers import IMPORTERS
from log import Columns, Log, Split, freeze_history, log_from_table, split_log
from model import ModelConfig, Ranker
from record import bytes_per_position, full_bytes, row_bytes
from report import write_report
from structure import structure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "training" / "results"
CHECKPOINTS = ROOT / ".ckv" / "training" / "quality"
FAMILIES = ["hstu", "sim", "twin", "eta", "sdim"]
SEEDS = [1, 2, 3]
VARIANTS = ["twin_before", "converted", "collectivekv", "twin", "user_dims_only"]


@dataclass(frozen=True)
class Dataset:
    importer: str
    source: str  # within DIR
    split: str
    epochs: float  # of the twin, before it is converted
    rate: float
    tune_epochs: float  # of every arm, after that; half of it for HSTU, whose layers learn against one another
    tune_rate: float
    start: float = 1.5  # length of the item embeddings to start from, see start.py; 0: at random
    frozen: bool = False  # histories of test queries end where the test begins


DATASETS = {
    "ml-1m": Dataset("movielens", "ml-1m-ordered/ratings_ordered.csv.xz", "position:0.1", 2.25, 6e-3, 0.4, 3e-4),
    "kuairand": Dataset(
        "kuairand-partial", "kuairand-pure-partial", "time:0.25", 1.5, 2e-3, 0.3, 3e-4, start=0.0, frozen=True
    ),
}


@dataclass(frozen=True)
class Job:
    dataset: str
    family: str  # a family, or "none": the same model without history
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.family}/{self.seed}"


def jobs_named(only: Sequence[str], families: Sequence[str]) -> list[Job]:
    """The jobs of these names, or all where none is named.

    Raises UserError for a name of no job.
    """
    known = {str(job): job for job in (Job(d, f, s) for s in SEEDS for f in families for d in DATASETS)}
    for name in only:
        if name not in known:
            raise UserError(
                f"--only {name}: no such job; give DATASET/FAMILY/SEED with one of {', '.join(DATASETS)} / "
                f"{', '.join(families)} / {', '.join(map(str, SEEDS))}"
            )
    return [job for name, job in known.items() if not only or name in only]


def model_config(family: str, log: Log) -> ModelConfig:
    size = {"d_model": 128, "heads": 4, "layers": 2} if family == "hstu" else {}
    model = "target" if family == "none" else family
    return ModelConfig(model, len(log.items), len(log.actions), dropout=0.2, **size)


def compression(family: str) -> Compression:
    """HSTU routes every position in every layer by its whole K and V, also in training: a smaller pool is quicker."""
    return Compression(slots=4096) if family == "hstu" else Compression()


def read_dataset(name: str, data: Path) -> tuple[Log, Split]:
    """The log, and which of its queries are learned from and tested on."""
    dataset = DATASETS[name]
    table, _ = IMPORTERS[dataset.importer].read(data / dataset.source, lambda *_: None)
    log = log_from_table(table, Columns())
    split = split_log(log, dataset.split)
    return (freeze_history(log, split.test) if dataset.frozen else log), split


def arms_of(job: Job, log: Log, split: Split, c: Compression, folder: str = "") -> Arms:
    dataset = DATASETS[job.dataset]
    tune_epochs = dataset.tune_epochs / 2 if job.family == "hstu" else dataset.tune_epochs
    return Arms(
        log,
        split,
        model_config(job.family, log),
        FitConfig(dataset.epochs, dataset.rate, weight_decay=0.1, seed=job.seed),
        FitConfig(tune_epochs, dataset.tune_rate, weight_decay=0.1, seed=job.seed + 100),
        c,
        CHECKPOINTS / (folder or str(job)),
        str(job),
        dataset.start,
    )


def measured(job: Job, arms: Arms, variant: str, arm: Arm) -> dict:
    """A row of the results. Bytes are those that a record takes in Redis, and for the twin those of fp32 K and V."""
    quality = evaluate(arm.model, arms.log, arms.split.test)
    caches = [one for one, _, _ in arm.model.layers(arms.sample())] if job.family != "none" else []
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


def measure(job: Job, arms: Arms, variants: Sequence[str] = VARIANTS) -> list[dict]:
    """A job's rows of these variants."""
    if job.family == "none":
        arms = replace(arms, log=without_history(arms.log))
        return [measured(job, arms, "no_history", arms.no_history())]
    twin = cache(arms.twin)
    make = {
        "twin_before": twin,
        "converted": lambda: arms.converted(twin()),
        "collectivekv": lambda: arms.collective_kv(arms.converted(twin()), twin()),
        "user_dims_only": arms.user_dims_only,
        "twin": lambda: arms.twin_again(twin()),
    }
    return [measured(job, arms, variant, make[variant]()) for variant in variants]


def run_job(job: Job, data: Path, c: Compression, variants: Sequence[str]) -> list[dict]:
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    return measure(job, arms_of(job, log, split, c), variants)


# What each knob is set to, the others at their defaults; the twin is the same for all.
KNOBS: dict[str, list] = {
    "slots": [64, 256, 1024, 4096, 10_000],
    "slots_alone": [64, 256, 1024],  # without user dims
    "user_width": [0, 1, 4, 10],
    "tied": [False],
    "user_type": ["int8", "float16"],
    "user_form": ["last_head"],
    "share": ["values", "keys"],
    "recipe": ["published"],
}
HISTORY_LENGTHS = (50, 100, 200, 500, 1000)


def measure_knob(job: Job, data: Path, knob: str, value: object) -> list[dict]:
    """A row as converted and one as tuned, or one of the published recipe."""
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    published = knob == "recipe"
    changes = {"slots": value, "user_width": 0} if knob == "slots_alone" else {knob: value}
    c = Compression(gate=True) if published else replace(Compression(), **changes)
    arms = arms_of(job, log, split, c)
    if published:
        stages = [("published", arms.published())]
    else:
        twin = arms.twin()
        converted = arms.converted(twin)
        stages = [("converted", Arm(copy.deepcopy(converted.model), converted.seconds))]
        calibrate(stages[0][1].model, arms.sample(), job.seed)
        stages.append(("tuned", arms.collective_kv(converted, twin, f"knob-{knob}-{value}")))
    rows = []
    for stage, arm in stages:
        row = measured(job, arms, f"{knob}={value} {stage}", arm)
        row |= {"knob": knob, "value": value, "stage": stage, "distinctSlots": distinct_slots(arm.model, arms)}
        rows.append({key: x for key, x in row.items() if key not in ("variant", "losses")})
    return rows


@torch.no_grad()
def distinct_slots(model: Ranker, arms: Arms) -> dict[str, float]:
    """Mean number of distinct slots, of keys and of values together, in the first positions of histories so long."""
    sample = sample_history(arms.log, arms.split.train, arms.main.seed, users=400, longest=max(HISTORY_LENGTHS))
    shared, _, x = next(model.layers(sample))
    key, value = shared.routes(x)
    found = {}
    for length in HISTORY_LENGTHS:
        lines = [
            torch.stack([k[v], w[v]])[:, :length] for k, w, v in zip(key, value, sample.valid) if v.sum() >= length
        ]
        if lines:
            found[str(length)] = round(float(np.mean([len(line.unique(dim=1)[0]) for line in lines])), 1)
    return found


def read_rows(name: str = "quality") -> list[dict]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def write_rows(rows: list[dict], name: str = "quality") -> None:
    RESULTS.mkdir(exist_ok=True)
    rows = sorted(
        rows, key=lambda r: [str(r.get(k)) for k in ("dataset", "family", "seed", "variant", "knob", "value")]
    )
    lines = ",\n".join(json.dumps(row) for row in rows)
    datasets = json.dumps({key: asdict(dataset) for key, dataset in DATASETS.items()})
    (RESULTS / f"{name}.json").write_text(f'{{"datasets": {datasets},\n"rows": [\n{lines}\n]}}\n')


def worker_pool(workers: int) -> multiprocessing.pool.Pool:
    """A process a job. Ctrl-C reaches all of them, and is this one's to answer."""
    ignore = (signal.SIGINT, signal.SIG_IGN)
    return multiprocessing.get_context("spawn").Pool(workers, signal.signal, ignore, maxtasksperchild=1)


def run(data: Path, only: list[str], workers: int, variants: list[str]) -> None:
    """Every variant of every job that has no row yet, or of the jobs named."""
    done = {(r["dataset"], r["family"], r["seed"], r["variant"]) for r in read_rows()}
    work = []
    for job in jobs_named(only, ["none", *FAMILIES]):
        wanted = ["no_history"] if job.family == "none" else variants
        missing = [v for v in wanted if only or (job.dataset, job.family, job.seed, v) not in done]
        if missing:
            work.append((job, missing))
    print(f"{len(work)} jobs: {' '.join(str(job) for job, _ in work)}", flush=True)
    with worker_pool(workers) as pool:
        for result in [
            pool.apply_async(run_job, (job, data, compression(job.family), missing)) for job, missing in work
        ]:
            rows = result.get()
            new = {(r["dataset"], r["family"], r["seed"], r["variant"]) for r in rows}
            kept = [r for r in read_rows() if (r["dataset"], r["family"], r["seed"], r["variant"]) not in new]
            write_rows([*kept, *rows])


def knobs(data: Path, only: list[str], workers: int) -> None:
    """Every knob on the jobs named, or on SIM over ML-1M; the twins must be there already."""
    done = {(r["dataset"], r["family"], r["seed"], r["knob"], r["value"]) for r in read_rows("knobs")}
    jobs = jobs_named(only or ["ml-1m/sim/1"], FAMILIES)
    wanted = [(job, knob, value) for job in jobs for knob, values in KNOBS.items() for value in values]
    wanted = [(j, k, v) for j, k, v in wanted if (j.dataset, j.family, j.seed, k, v) not in done]
    with worker_pool(workers) as pool:
        for result in [pool.apply_async(measure_knob, (job, data, knob, value)) for job, knob, value in wanted]:
            write_rows([*read_rows("knobs"), *result.get()], "knobs")


def structures(data: Path, only: list[str], workers: int) -> None:
    """What the keys, values and slots of finished jobs look like, of seed 1 unless named."""
    torch.set_num_threads(workers)
    found = {f"{r['dataset']}/{r['family']}/{r['seed']}": r for r in read_rows("structure")}
    for job in jobs_named(only or [f"{d}/{f}/1" for d in DATASETS for f in FAMILIES], FAMILIES):
        log, split = read_dataset(job.dataset, data)
        found[str(job)] = structure(job, arms_of(job, log, split, compression(job.family)))
        write_rows(list(found.values()), "structure")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "knobs", "structure", "report"])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "data")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--variants", nargs="*", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    options = parser.parse_args()
    if options.command == "report":
        write_report(ROOT)
    elif options.command == "run":
        run(options.data, options.only, options.workers, options.variants)
    else:
        act = {"knobs": knobs, "structure": structures}[options.command]
        act(options.data, options.only, options.workers)


INTERRUPTED = "interrupted; the same command goes on at the last checkpoints"

if __name__ == "__main__":
    sys.exit(exit_code(main, INTERRUPTED))
