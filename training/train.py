"""Trains a model on an interaction log, converts it to CollectiveKV, fine-tunes, evaluates and exports a bundle.

    python training/train.py demo                                 # simulate a log, train, write bundles/demo
    python training/train.py log --log my.parquet --family sim --name mine --out bundles/mine
    python training/train.py log --log my.csv --epochs 0.1 --tune-epochs 0.1 --out /tmp/quick      # a quick look
    python training/train.py log --log new.csv --keep-encoding bundles/mine --out bundles/next     # for the old records
    python training/train.py log --log my.csv --interaction-features watch_ratio --candidate-features price:0:500:20 \\
        --context-features hour:0:24:12:period --out bundles/mine

docs/interaction-log.md describes the log. import_log.py makes one from a public data set. `demo` runs the feed
simulator in node, so it needs `npm ci && npm run build` first. If a run is interrupted, the same command goes on at its
last checkpoint; --fresh starts again.

A feature is NAME[:LOW:HIGH[:DEFAULT]][:period], with NAME a numeric column of the log. The range LOW to HIGH is scaled
to 0 to 1; values outside are clipped. Without a range, it is 0 to 1. An empty cell counts as DEFAULT, by default the
middle of the range. With :period, HIGH is the same point as LOW, as with the hours of a day: hour:0:24:period.
"""

# ruff: noqa: E402, I001
from errors import UserError, exit_code, exit_on_ctrl_c

INTERRUPTED = "interrupted; the same command, without --fresh, goes on at its last checkpoint"
if __name__ == "__main__":
    exit_on_ctrl_c(INTERRUPTED)  # before the imports: they take seconds

import hashlib
import logging
import math
import shutil
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

import torch

from bundle.bundle_folder import check_folder
from bundle.export import Export, export_bundle
from bundle.kept_bundle import KeptBundle, read_kept_bundle
from conversion.sample import sample_history
from data.features import Feature, parse_feature
from data.history import History
from data.log import Columns, Log, read_log
from data.simulated import Simulation
from data.split import split_log
from fitting.arms import Arm, Arms
from fitting.command_line import parse_arguments
from fitting.fit import FitConfig, evaluate
from fitting.locks import locked
from fitting.option_checks import check_features, check_log, check_options, check_slots
from fitting.train_config import ROOT, TrainConfig
from models.compression import Compression
from models.config import ModelConfig
from models.families.registry import FAMILIES, create_full

KINDS = ("interaction", "candidate", "context")
COUNTED_POSITIONS = 400_000  # of which the bundle says how they use the slots
FIRST_SIMULATED_USER = 1_000_000  # far from the low user indices of demos and tests


def simulate(config: TrainConfig) -> None:
    """Writes the demo's log by the feed simulator."""
    positions = config.max_positions + 50
    Simulation(config.users, positions, FIRST_SIMULATED_USER, config.seed).write(config.log)


def main(config: TrainConfig) -> dict[str, float]:
    """Trains and writes the bundle. Returns its metrics.

    Raises UserError for options and logs that cannot become a bundle, before anything is trained.
    """
    check_options(config)
    features = {kind: [parse_feature(text) for text in getattr(config, f"{kind}_features")] for kind in KINDS}
    check_features(features)
    check_folder(config.out)
    out = hashlib.sha256(str(config.out.resolve()).encode()).hexdigest()[:8]
    with locked(ROOT / ".ckv" / "training" / f"out-{out}.lock", f"training into --out {config.out}"):
        return run(config, features)


def run(config: TrainConfig, features: dict[str, list[Feature]]) -> dict[str, float]:
    """Reads the log and trains, with a lock on the checkpoints."""
    started = time.perf_counter()
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.source == "demo":
        print(f"simulate {config.users} users", flush=True)
        simulate(config)
    log = read_log(config.log, Columns(**features), config.history_actions)
    kept = None
    if config.keep_encoding:
        kept = read_kept_bundle(Path(config.keep_encoding))
        log = kept.adopt(log)
    arms = arms_of(config, log, features, kept)
    check_log(log.actions, log.query_label, arms.split.train, arms.split.test)
    if kept:
        check_kept(config, arms, kept)
    elif config.chosen_record == "pool" and config.recipe == "convert":
        check_slots(config, arms.sample())
    with locked(arms.folder.with_suffix(".lock"), f"training with the checkpoints in {arms.folder}"):
        metrics = train_arms(config, arms, kept)
        print(f"{time.perf_counter() - started:.0f} seconds", flush=True)
    return metrics


def check_kept(config: TrainConfig, arms: Arms, kept: KeptBundle) -> None:
    """Checks that the bundle will have the encoding of the kept one, with the conversion of an untrained model.

    Raises UserError if it will not.
    """
    family, had = FAMILIES[config.family].bundle_family, kept.manifest["family"]
    if family != had:
        raise UserError(
            f"--keep-encoding {kept.folder}: --family {config.family} makes bundles of the family {family}, the bundle "
            f"is of {had}, whose attention its codes were fitted to; give its --family"
        )
    model = create_full(arms.config).to(arms.main.device).eval()
    sample = sample_history(arms.log, arms.split.train, config.seed, users=20, longest=64, device=arms.main.device)
    kept.check(arms.with_kept_encoding(model, sample, kept.encoding).cpu(), arms.log, config.max_positions)


def train_arms(config: TrainConfig, arms: Arms, kept: KeptBundle | None) -> dict[str, float]:
    """Trains and evaluates the arms, writes the bundle and removes the checkpoints."""
    if config.fresh:
        shutil.rmtree(arms.folder, ignore_errors=True)
    metrics: dict[str, float] = {}
    if config.recipe == "published":
        arm = arms.published()
        report(metrics, "", arm, arms)
    else:
        full = arms.full()
        report(metrics, "fullBeforeFineTune", full, arms)
        converted = arms.converted(full)
        report(metrics, "converted", converted, arms)
        arm = arms.collective_kv(converted, full)
        report(metrics, "", arm, arms)
        if config.comparisons:
            report(metrics, "noHistory", arms.no_history(), arms, history=False)
            if config.user_width:
                report(metrics, "userDimsOnly", arms.user_dims_only(), arms)
            report(metrics, "full", arms.full_again(full), arms)
    metrics["testQueries"] = int(arms.split.test.sum())
    given = " ".join(["python training/train.py", *(sys.argv[1:] or [config.source])])
    about = Export(config.name, given, metrics, config.max_positions, sample=newest_positions(config, arms))
    if kept:
        about.encoding_id, about.generation = kept.encoding_id, kept.generation
    bundle_id = export_bundle(arm.model, arms.log, config.out, about)
    shutil.rmtree(arms.folder)
    print(f"bundle {bundle_id} in {config.out}", flush=True)
    return metrics


def newest_positions(config: TrainConfig, arms: Arms) -> History:
    """Returns the newest positions of the users that were learned from: what new interactions are compared with."""
    users = max(1, COUNTED_POSITIONS // config.max_positions)
    return sample_history(
        arms.log, arms.split.train, config.seed + 2000, users, longest=config.max_positions, newest=True
    )


def settings_of(config: TrainConfig, log: Log, kept: KeptBundle | None) -> str:
    """Returns 8 characters that identify all settings and the log, so that other runs do not share the checkpoints."""
    idle = ("log", "out", "comparisons", "threads", "fresh", "keep_encoding")
    settings = {f.name: str(getattr(config, f.name)) for f in fields(config) if f.name not in idle}
    settings |= {"log": log.digest(), "record": config.chosen_record}
    if kept:
        settings["encoding"] = kept.encoding_id
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:8]


def arms_of(config: TrainConfig, log: Log, features: dict[str, list[Feature]], kept: KeptBundle | None = None) -> Arms:
    """Returns the arms that the options describe. `kept` is the bundle whose encoding is kept."""
    model = ModelConfig(
        config.family,
        len(log.items),
        len(log.actions),
        *(features[kind] for kind in KINDS),
        layers=FAMILIES[config.family].layers_of(config.layers),
        **{name: getattr(config, name) for name in ("embedding", "d_model", "heads", "max_positions")},
    )
    compression = Compression(
        slots=config.slots,
        user_width=config.user_width,
        user_type=config.user_type,
        user_form=config.user_form,
        tied=not config.separate_routes,
        gate=config.recipe == "published",
    )
    shared = {name: getattr(config, name) for name in ("batch", "block", "device")}
    return Arms(
        log,
        split_log(log, config.split),
        model,
        FitConfig(config.epochs, config.rate, seed=config.seed, **shared),
        FitConfig(config.tune_epochs, config.tune_rate, seed=config.seed + 100, **shared),
        compression,
        ROOT / ".ckv" / "training" / f"{config.name}-{settings_of(config, log, kept)}",
        config.name,
        clusters=0 if config.chosen_record == "pool" else config.chosen_clusters,
        stages=config.stages if config.chosen_record == "residual" else 0,
        kept=kept.encoding if kept else None,
    )


def report(metrics: dict[str, float], name: str, arm: Arm, arms: Arms, history: bool = True) -> None:
    """Evaluates an arm on the test queries, and adds its figures to the metrics under `name`."""
    quality = evaluate(arm.model, arms.log, arms.split.test, arms.main.device, history)
    print(f"  {name or 'collectiveKv'}: AUC {quality.auc:.4f}  GAUC {quality.gauc:.4f}", flush=True)
    for measure, value in asdict(quality).items():
        if math.isnan(value):  # AUC and GAUC need both labels
            continue
        metrics[name + measure.capitalize() if name else measure] = round(value, 4)


def command() -> int:
    """Runs the command line. Returns the exit code, see errors.py."""
    logging.basicConfig(level=logging.INFO, format="    %(message)s", stream=sys.stdout)
    return exit_code(lambda: main(parse_arguments(__doc__ or "")), INTERRUPTED)


if __name__ == "__main__":
    sys.exit(command())
