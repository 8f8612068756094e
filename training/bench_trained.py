"""Makes the benchmark's bundles with trained weights: the recommended bundle, and the same full model in other records.

    python training/bench_trained.py --out DIR               # on a log of the feed simulator; needs `npm run build`
    python training/bench_trained.py --out DIR --data DATA   # on ML-1M; DATA as for quality.py

factored            the recommended record: item and event code, attention over 256 cluster means
pool                a pool of 256 keys and values, without user dims
full_fp16           keys and values in float16
full_fp32           keys and values in float32
recompute           interactions, from which every request computes keys and values
recompute_clusters  interactions, from which every request computes the codes and cluster means of `factored`

All are the same full model, with no training after it. Its AUC and GAUC and those of the bundle are in the manifest.
`histories.parquet` has the interactions of the users with the longest histories, in the order of time, and `about.json`
the data and the training. The trained model stays in .ckv/training, so an interrupted run goes on, and another run
does not train again.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from bundle.export import Export, export_bundle
from data.features import parse_feature
from data.importers.registry import IMPORTERS
from data.log import Columns, log_from_table
from data.log_file import read_table, write_table
from data.split import split_log
from errors import exit_code
from fitting.arms import Arms
from fitting.fit import Quality, evaluate
from fitting.locks import locked
from fitting.train_config import DEMO, ROOT, TrainConfig
from models.caches.clustered_interactions import keep_interactions
from models.compression import Compression
from models.families.registry import family_of
from models.keep_full import keep_full
from models.ranker import Ranker
from quality.protocol import Job, arms_of, dataset_of
from train import KINDS, simulate
from train import arms_of as arms_of_options

DATASET, FAMILY = "ml-1m", "target"
SIMULATED_USERS = 400
POOL = Compression(slots=256, user_width=0)  # without a fine-tune, user dims would add nothing
KEPT = {"full_fp16": "float16", "full_fp32": "float32", "recompute": "interactions"}
MAX_POSITIONS, GOLDEN_POSITIONS = 100_000, 50
HISTORY_POSITIONS = 250_000  # in histories.parquet, at least


@dataclass
class Source:
    """A log, as a table and as the arms of a comparison, and the words for it in reports."""

    table: pa.Table
    arms: Arms
    name: str
    actions: str


def public_data(data: Path) -> Source:
    """Returns the data set that quality.py measures, with its settings."""
    dataset = dataset_of(DATASET)
    table, _ = IMPORTERS[dataset.importer].read(data / dataset.source, lambda *_: None)
    log = log_from_table(table, Columns())
    arms = arms_of(Job(DATASET, FAMILY, 1), log, split_log(log, dataset.split), POOL)
    return Source(table, arms, DATASET, "ratings")


def simulated() -> Source:
    """Returns a log of the feed simulator, with the settings of the demo."""
    log_file = ROOT / ".ckv" / "training" / "bench-log.csv"
    config = TrainConfig("demo", **(DEMO | {"log": log_file, "name": "bench"}), users=SIMULATED_USERS)
    simulate(config)
    table, _ = read_table(log_file)
    features = {kind: [parse_feature(text) for text in getattr(config, f"{kind}_features")] for kind in KINDS}
    arms = arms_of_options(config, log_from_table(table, Columns(**features)), features)
    return Source(table, arms, "feed simulator", "interactions")


def models_of(arms: Arms, full: Ranker) -> Iterator[tuple[str, str, Ranker]]:
    """Yields each bundle's name, the name of the model whose scores it has, and its model."""
    factored = replace(arms, clusters=family_of(full).clusters, stages=0).converted(arms.full()).model
    yield "factored", "factored", factored
    yield "recompute_clusters", "factored", keep_interactions(factored)
    yield "pool", "pool", replace(arms, clusters=0, stages=0, compression=POOL).converted(arms.full()).model
    for name, kept in KEPT.items():
        yield name, "full_fp16" if kept == "float16" else "full", keep_full(full, kept)


def longest_histories(table: pa.Table) -> pa.Table:
    """Returns all rows of the users with most of them, by time: HISTORY_POSITIONS at least, if there are as many."""
    users = pc.value_counts(table["user_id"])
    counts = users.field("counts").to_numpy()
    order = np.argsort(-counts, kind="stable")
    enough = int(np.searchsorted(np.cumsum(counts[order]), HISTORY_POSITIONS)) + 1
    chosen = users.field("values").take(pa.array(order[:enough]))
    return table.filter(pc.is_in(table["user_id"], chosen)).sort_by("timestamp_ms")


def write_bundles(source: Source, out: Path) -> None:
    arms = source.arms
    full = arms.full().model
    measured = {"full": evaluate(full, arms.log, arms.split.test)}
    whole = measured["full"]
    for name, scores, model in models_of(arms, full):
        if scores not in measured:
            measured[scores] = evaluate(model, arms.log, arms.split.test)
        quality = measured[scores]
        about = Export(f"bench-{name.replace('_', '-')}", command(), metrics_of(quality, whole, arms), MAX_POSITIONS)
        about.golden_positions = GOLDEN_POSITIONS
        id_ = export_bundle(model, arms.log, out / name, about)
        print(f"{name:18} {id_} AUC {quality.auc:.5f}, full model {whole.auc:.5f}", flush=True)
    write_table(longest_histories(source.table), out / "histories.parquet")
    log = arms.log
    size = f"{len(source.table):,} {source.actions} of {log.users:,} users, {len(log.items) - 1:,} items"
    about = {"data": source.name, "trainedOn": f"{source.name}: {size}", "family": arms.config.family}
    (out / "about.json").write_text(json.dumps(about) + "\n")


def metrics_of(quality: Quality, whole: Quality, arms: Arms) -> dict[str, float]:
    """Returns the metrics of a manifest: of the bundle, and of its full model."""
    found = {"auc": quality.auc, "gauc": quality.gauc, "fullAuc": whole.auc, "fullGauc": whole.gauc}
    return {name: round(value, 5) for name, value in found.items()} | {"testQueries": int(arms.split.test.sum())}


def command() -> str:
    return "python training/bench_trained.py --out DIR" + (" --data DATA" if "--data" in sys.argv else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder for the bundles")
    parser.add_argument("--data", type=Path, help="the folder of public data sets; default: a simulated log")
    args = parser.parse_args()
    torch.set_num_threads(1)
    source = public_data(args.data) if args.data else simulated()
    with locked(source.arms.folder.with_suffix(".lock"), f"training with the checkpoints in {source.arms.folder}"):
        write_bundles(source, args.out)


if __name__ == "__main__":
    sys.exit(exit_code(main, "interrupted; the same command goes on at its last checkpoint"))
