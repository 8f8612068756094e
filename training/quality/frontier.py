"""Measures bytes against quality: pools, residual codes and the factored pool, all as converted from one full model.

The family is `target`, whose attention reads cluster means. No arm has further training, so the differences are those
of the record alone.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch

from bundle.record import row_bytes
from fitting.arms import Arms
from fitting.fit import evaluate
from models.compression import Compression
from models.ranker import Ranker
from quality.factored import bytes_of
from quality.protocol import Job, arms_of, read_dataset

POOLS = [1024, 10_000]
STAGES = [1, 2, 3, 4, 5]
CLUSTERS = 256


def measure_frontier(job: Job, data: Path, device: str = "cpu") -> list[dict]:
    """Returns the rows of a job: the full model, pools by their slots, residual codes by their stages, the factored
    pool."""
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    arms = arms_of(job, log, split, Compression(user_width=0), device=device)
    return [row_of(job, arms, variant, size, model) for variant, size, model in models_of(arms)]


def models_of(arms: Arms) -> Iterator[tuple[str, int, Ranker]]:
    """Yields the variant of every arm, its size (slots, stages or items), and its model."""
    full = arms.full()
    yield "full", 0, full.model
    for slots in POOLS:
        pool = replace(arms, compression=replace(arms.compression, slots=slots))
        yield "pool", slots, pool.converted(full).model
    clustered = replace(arms, clusters=CLUSTERS)
    for stages in STAGES:
        yield "residual", stages, replace(clustered, stages=stages).converted(full).model
    yield "factored", len(arms.log.items), clustered.converted(full).model


def row_of(job: Job, arms: Arms, variant: str, size: int, model: Ranker) -> dict:
    """Returns a row of the results."""
    quality = evaluate(model, arms.log, arms.split.test, arms.main.device)
    row = {
        "dataset": job.dataset,
        "seed": job.seed,
        "variant": variant,
        "size": size,
        **{name: round(value, 5) for name, value in asdict(quality).items()},
        "rowBytes": row_bytes(model) if variant != "full" else 2 * 4 * arms.config.d_model,
        **bytes_of(arms, model),
    }
    print(f"{job} {variant} {size}: AUC {row['auc']:.4f} GAUC {row['gauc']:.4f}", flush=True)
    return row
