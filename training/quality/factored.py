"""Measures records as converted: the factored pool beside the full model and pools of keys and values.

No arm has further training, so the differences are those of the cache alone. A job is a data set, a family and a seed.
It measures the full model and the recommended record. One family measures a pool of keys and values as well, and one
seed measures other numbers of slots and clusters.

A *token* is a distinct combination of item, action and features. A pool with a slot for every token is a table of them
and compresses nothing; the rows say how many tokens there are.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bundle.record import pool_tables, row_bytes
from bundle.record_bytes import bytes_per_position, full_bytes
from fitting.arms import Arms
from fitting.fit import evaluate
from models.families import registry
from models.ranker import Ranker
from quality.protocol import GRID, SEEDS, Job, arms_of, compression, read_dataset

FIRST = "target"  # the family whose jobs come first
SAMPLES = ("mind", "ebnerd")  # too small to tell records apart, so other families are not measured on them
SWEPT = 1  # the seed that measures other numbers of slots and clusters
POOLS = {"target": [1024]}  # slots of other pools, by family
CLUSTER_COUNTS = {  # other numbers of clusters, by family
    "target": [64, 128, 512],
    "sim": [256, 512, 1024],
    "eta": [256, 512, 1024],
    "twin": [256, 512, 1024],
}
LONG = 1000  # positions of a long history, for bytes
FLOAT_BYTES = 4


@dataclass
class Tokens:
    """The distinct tokens of a job's data."""

    all: int  # in the histories of all users
    sample: int  # in the sample that conversions see
    covered: float  # share of all positions whose token is in the sample
    items: int  # distinct items in the histories


def grid_jobs() -> list[Job]:
    """Returns all jobs, the most telling first: one family with all seeds, then the others seed by seed."""
    families = [FIRST, *(name for name in registry.FAMILIES if name != FIRST)]
    jobs = [Job(dataset, family, seed) for seed in SEEDS for family in families for dataset in GRID]
    jobs = [job for job in jobs if job.family == FIRST or job.dataset not in SAMPLES]
    return sorted(jobs, key=lambda job: job.family != FIRST)


def measure_factored(job: Job, data: Path, device: str = "cpu") -> list[dict]:
    """Returns the rows of a job: the full model, pools by their slots, factored pools by their clusters."""
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    arms = arms_of(job, log, split, compression(job.family), device=device)
    facts = facts_of(job, arms)
    return [row_of(job, arms, facts, named, model) for named, model in measured_arms(job, arms)]


def measured_arms(job: Job, arms: Arms) -> Iterator[tuple[dict, Ranker]]:
    """Yields every arm of a job: its name in the rows, and its model."""
    full = arms.full()
    yield {"variant": "full"}, full.model
    swept = job.seed == SWEPT
    clusters = recommended_clusters(job.family)
    usual = [arms.compression.slots] if job.family == FIRST or not clusters else []
    for slots in [*(POOLS.get(job.family, []) if swept else []), *usual]:
        pool = replace(arms, compression=replace(arms.compression, slots=slots))
        yield {"variant": "pool", "slots": slots}, pool.converted(full).model
    others = CLUSTER_COUNTS.get(job.family, []) if swept else []
    for count in sorted([clusters, *others]) if clusters else []:
        yield {"variant": "factored", "clusters": count}, replace(arms, clusters=count).converted(full).model


def recommended_clusters(family: str) -> int:
    """Returns the clusters of a family's recommended record; 0: a pool of keys and values."""
    found = registry.FAMILIES[family]
    return found.clusters if found.reads_clusters else 0


def facts_of(job: Job, arms: Arms) -> dict:
    """Returns what all rows of a job have in common: its name, and the size of its data."""
    log, test = arms.log, arms.split.test
    tokens = tokens_of(arms)
    return {
        **asdict(job),
        "users": log.users,
        "positions": len(log.item),
        "trainQueries": int(arms.split.train.sum()),
        "testQueries": int(test.sum()),
        "items": tokens.items,
        "tokens": tokens.all,
        "sampleTokens": tokens.sample,
        "coveredShare": round(tokens.covered, 4),
    }


def row_of(job: Job, arms: Arms, facts: dict, named: dict, model: Ranker) -> dict:
    """Returns a row of the results."""
    quality = evaluate(model, arms.log, arms.split.test, arms.main.device)
    row = {
        **facts,
        **({"slots": 0, "clusters": 0} | named),
        **{name: round(value, 5) for name, value in asdict(quality).items()},
        **bytes_of(arms, model),
    }
    if named["variant"] == "factored":
        pairs = model.cache.pairs
        row |= {"slots": len(arms.log.items), "eventCodes": len(model.event_codes.rows)}
        row |= {"itemClusters": pairs.item_count, "eventClusters": pairs.code_count}
    print(f"{job} {named}: AUC {row['auc']:.4f} GAUC {row['gauc']:.4f}", flush=True)
    return row


def bytes_of(arms: Arms, model: Ranker) -> dict:
    """Returns the bytes of a position in a record, and of the tables that all users share, in fp32."""
    full = float(full_bytes(arms.config))
    if not model.cache_holders()[0].cache.in_record:  # keys and values in fp32
        return {"fullBytes": full, "bytesPerPosition": full, "bytesAt1000": full, "tableBytes": 0}
    numbers = sum(part[1].numel() for parts in pool_tables(model).values() for part in parts if part)
    lengths = np.diff(arms.log.starts).clip(max=arms.config.max_positions)
    row = row_bytes(model)
    return {
        "fullBytes": full,
        "bytesPerPosition": round(bytes_per_position(row, lengths[lengths > 0].tolist()), 2),
        "bytesAt1000": round(bytes_per_position(row, [LONG]), 2),
        "tableBytes": FLOAT_BYTES * numbers,
    }


def tokens_of(arms: Arms) -> Tokens:
    """Counts the tokens of a job's data."""
    log, sample = arms.log, arms.sample()
    seen = sample.valid
    columns = [sample.item[seen][:, None], sample.action[seen][:, None], sample.features[seen]]
    sampled = np.unique(np.concatenate([column.cpu().numpy().astype(np.float64) for column in columns], 1), axis=0)
    positions = np.concatenate([log.item[:, None], log.action[:, None], log.features.astype(np.float64)], 1)
    tokens, count = np.unique(positions, axis=0, return_counts=True)
    known = set(map(bytes, sampled))
    covered = sum(n for token, n in zip(tokens, count) if bytes(token) in known)
    return Tokens(len(tokens), len(sampled), covered / len(positions), len(np.unique(log.item)))
