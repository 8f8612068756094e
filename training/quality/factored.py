"""Measures the factored pool: against the full model and against pools of keys and values, all as converted.

No arm has further training, so the differences are those of the cache alone. The family is `target`, whose attention
reads cluster means. A *token* is a distinct combination of item, action and features. A pool with a slot for every
token is a table of them and compresses nothing; the rows say how many tokens there are.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bundle.record import row_bytes
from bundle.record_bytes import bytes_per_position, full_bytes
from fitting.arms import Arms
from fitting.fit import evaluate
from models.compression import Compression
from models.ranker import Ranker
from quality.protocol import Job, arms_of, read_dataset

FAMILY = "target"
POOLS = [1024, 10_000]
CLUSTERS = [64, 128, 256, 512]
LONG = 1000  # positions of a long history, for bytes
FLOAT_BYTES = 4


@dataclass
class Tokens:
    """The distinct tokens of a job's data."""

    all: int  # in the histories of all users
    sample: int  # in the sample that conversions see
    covered: float  # share of all positions whose token is in the sample


def measure_factored(job: Job, data: Path) -> list[dict]:
    """Returns the rows of a job: the full model, pools by their slots, factored pools by their clusters."""
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    arms = arms_of(job, log, split, Compression())
    tokens = tokens_of(arms)
    return [row_of(job, arms, tokens, named, model) for named, model in models_of(arms)]


def models_of(arms: Arms) -> Iterator[tuple[dict, Ranker]]:
    """Yields every arm: its name in the rows, and its model."""
    full = arms.full()
    yield {"variant": "full"}, full.model
    for slots in POOLS:
        pool = replace(arms, compression=replace(arms.compression, slots=slots))
        yield {"variant": "pool", "slots": slots}, pool.converted(full).model
    for clusters in CLUSTERS:
        yield {"variant": "factored", "clusters": clusters}, replace(arms, clusters=clusters).converted(full).model


def row_of(job: Job, arms: Arms, tokens: Tokens, named: dict, model: Ranker) -> dict:
    """Returns a row of the results."""
    quality = evaluate(model, arms.log, arms.split.test)
    row = {
        "dataset": job.dataset,
        "seed": job.seed,
        **({"slots": 0, "clusters": 0} | named),
        **{name: round(value, 5) for name, value in asdict(quality).items()},
        **bytes_of(arms, model),
        "tokens": tokens.all,
        "sampleTokens": tokens.sample,
        "coveredShare": round(tokens.covered, 4),
    }
    if named["variant"] == "factored":
        pairs = model.cache.pairs
        row |= {"slots": len(arms.log.items), "eventCodes": len(model.event_codes.rows)}
        row |= {"itemClusters": pairs.item_count, "eventClusters": pairs.code_count}
    print(f"{job} {named}: AUC {row['auc']:.4f} GAUC {row['gauc']:.4f}", flush=True)
    return row


def bytes_of(arms: Arms, model: Ranker) -> dict:
    """Returns the bytes of a position in a record, and of the tables that all users share, in fp32."""
    (layer,) = [cache for cache, _, _ in model.layers(arms.sample())]
    if not layer.in_record:  # keys and values in fp32
        full = float(full_bytes(arms.config))
        return {"bytesPerPosition": full, "bytesAt1000": full, "tableBytes": 0}
    tables = layer.record_layer("", model).tables().values()
    numbers = sum(part[1].numel() for parts in tables for part in parts if part)
    lengths = np.diff(arms.log.starts).clip(max=arms.config.max_positions)
    row = row_bytes(model)
    return {
        "bytesPerPosition": round(bytes_per_position(row, lengths[lengths > 0].tolist()), 2),
        "bytesAt1000": round(bytes_per_position(row, [LONG]), 2),
        "tableBytes": FLOAT_BYTES * numbers,
    }


def tokens_of(arms: Arms) -> Tokens:
    """Counts the tokens of a job's data."""
    log, sample = arms.log, arms.sample()
    seen = sample.valid
    columns = [sample.item[seen][:, None], sample.action[seen][:, None], sample.features[seen]]
    sampled = np.unique(np.concatenate([column.numpy().astype(np.float64) for column in columns], 1), axis=0)
    positions = np.concatenate([log.item[:, None], log.action[:, None], log.features.astype(np.float64)], 1)
    tokens, count = np.unique(positions, axis=0, return_counts=True)
    known = set(map(bytes, sampled))
    covered = sum(n for token, n in zip(tokens, count) if bytes(token) in known)
    return Tokens(len(tokens), len(sampled), covered / len(positions))
