"""Measures the arms of one job."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from bundle.record import row_bytes
from bundle.record_bytes import bytes_per_position, full_bytes
from fitting.arms import Arm, Arms, without_history
from fitting.fit import evaluate
from models.compression import Compression
from quality.protocol import VARIANTS, WITHOUT_HISTORY, Job, arms_of, read_dataset


def measured(job: Job, arms: Arms, variant: str, arm: Arm) -> dict:
    """Returns a row of the results.

    Bytes are those of a record in Redis; for the full model, those of K and V in fp32.
    """
    quality = evaluate(arm.model, arms.log, arms.split.test)
    caches = [one for one, _, _ in arm.model.layers(arms.sample())] if job.family != WITHOUT_HISTORY else []
    full, used, c = full_bytes(arms.config), float(full_bytes(arms.config)), None
    if caches and caches[0].in_record:
        lengths = np.diff(arms.log.starts).clip(max=arms.config.max_positions)
        used = bytes_per_position(row_bytes(arm.model), lengths[lengths > 0].tolist())
        c = caches[0].compression
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
    """Returns the rows of a job for these variants."""
    if job.family == WITHOUT_HISTORY:
        arms = replace(arms, log=without_history(arms.log))
        return [measured(job, arms, "no_history", arms.no_history())]
    full = cache(arms.full)
    make = {
        "full_before": full,
        "converted": lambda: arms.converted(full()),
        "collectivekv": lambda: arms.collective_kv(arms.converted(full()), full()),
        "user_dims_only": arms.user_dims_only,
        "full": lambda: arms.full_again(full()),
    }
    return [measured(job, arms, variant, make[variant]()) for variant in variants]


def run_job(job: Job, data: Path, c: Compression, variants: Sequence[str]) -> list[dict]:
    """Trains and measures a job in this process."""
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    return measure(job, arms_of(job, log, split, c), variants)
