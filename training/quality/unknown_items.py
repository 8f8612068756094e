"""Measures what a position of an unknown item should be: an item that came into the catalogue after the training.

A tenth of the items is hidden: the training sees neither their positions nor their queries. In the histories of test
queries they are unknown. Test queries are of known items only. The family is `target`.
"""

import copy
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from data.log import Log
from data.split import Split
from fitting.arms import Arms
from fitting.fit import evaluate
from models.compression import Compression
from models.ranker import Ranker
from quality.protocol import Job, arms_of, read_dataset

HIDDEN_SHARE = 0.1  # of the items
CLUSTERS, STAGES = 256, 4
RECORDS = {"full": {}, "factored": {"clusters": CLUSTERS}, "residual": {"clusters": CLUSTERS, "stages": STAGES}}


def measure_unknown_items(job: Job, data: Path) -> list[dict]:
    """Returns the rows of a job: by record, and by what a position of a hidden item becomes."""
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    hidden = hidden_items(log, job.seed)
    asked = split.test & ~hidden[log.query_item]
    known = arms_of(job, log, split, Compression())
    arms = arms_without(job, log, split, hidden)
    about = {
        "dataset": job.dataset,
        "seed": job.seed,
        "hiddenItems": int(hidden.sum()),
        "hiddenShare": round(float(hidden[log.item].mean()), 4),  # of the positions
        "testQueries": int(asked.sum()),
    }
    rows = []
    for record, becomes, model, seen in cases(known, arms, log, hidden):
        quality = evaluate(model, seen, asked)
        measures = {name: round(value, 5) for name, value in asdict(quality).items()}
        rows.append(about | {"variant": record, "unknown": becomes} | measures)
        print(f"{job} {record}, {becomes}: AUC {quality.auc:.4f} GAUC {quality.gauc:.4f}", flush=True)
    return rows


def arms_without(job: Job, log: Log, split: Split, hidden: np.ndarray) -> Arms:
    """Returns the arms of a training that meets no hidden item."""
    learned = Split(split.train & ~hidden[log.query_item], split.test)
    return arms_of(job, without_positions(log, hidden), learned, Compression(), f"{job}-hidden-items")


def cases(known: Arms, arms: Arms, log: Log, hidden: np.ndarray) -> Iterator[tuple[str, str, Ranker, Log]]:
    """Yields the record, what a position of a hidden item becomes, the model, and the log with the histories.

    `known` is trained on all items, `arms` without the hidden ones.
    """
    unknown = replace(log, item=np.where(hidden[log.item], 0, log.item))
    full_known, full = known.full(), arms.full()
    for record, options in RECORDS.items():
        learned, model = (
            replace(one, **options).converted(trained).model if options else trained.model
            for one, trained in ((known, full_known), (arms, full))
        )
        yield record, "known", learned, log
        yield record, "unknown item", model, unknown
        yield record, "mean item", with_mean_item(model, arms), unknown
        yield record, "left out", model, arms.log


def hidden_items(log: Log, seed: int) -> np.ndarray:
    """Returns which items are hidden, [items] bool. The unknown item is not."""
    hidden = np.random.default_rng(seed).random(len(log.items)) < HIDDEN_SHARE
    hidden[0] = False
    return hidden


def without_positions(log: Log, hidden: np.ndarray) -> Log:
    """Returns the log without the positions of these items. Queries stay."""
    keep = ~hidden[log.item]
    before = np.append(0, np.cumsum(keep))  # kept positions before each position
    starts = log.starts[log.query_user()]
    return replace(
        log,
        starts=before[log.starts],
        item=log.item[keep],
        action=log.action[keep],
        features=log.features[keep],
        query_now=before[starts + log.query_now] - before[starts],
    )


@torch.no_grad()
def with_mean_item(model: Ranker, arms: Arms) -> Ranker:
    """Returns a copy in which the unknown item has the mean embedding of the items at positions of the sample."""
    sample, changed = arms.sample(), copy.deepcopy(model)
    item = sample.item[sample.valid]
    changed.item.weight[0] = model.item.weight[item[item > 0]].mean(0)
    return changed
