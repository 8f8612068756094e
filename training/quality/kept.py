"""Measures what a kept encoding costs: new weights for the rows of an older model, against an encoding of their own.

The older model learns from the queries of the first half of the training's time. It knows the items that it meets by
then. The new models learn from all queries of the training. Test queries are the same. The family is `target`, and no
model is trained after its conversion.
"""

import copy
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from bundle.export import write_encoding
from bundle.graphs import write_graphs
from bundle.kept_bundle import read_encoding
from conversion.kept_encoding import KeptEncoding
from data.log import Log
from data.split import Split
from fitting.arms import Arms
from fitting.fit import evaluate
from models.compression import Compression
from models.ranker import Ranker
from quality.protocol import Job, arms_of, read_dataset

CLUSTERS, STAGES = 256, 4
RECORDS = {"factored": {"clusters": CLUSTERS}, "residual": {"clusters": CLUSTERS, "stages": STAGES}}


def measure_kept(job: Job, data: Path) -> list[dict]:
    """Returns the rows of a job: by record, and by the encoding that its model has."""
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    early = early_queries(log, split)
    adopted = log.with_vocabularies(known_items(log, early), log.actions)
    about = {
        "dataset": job.dataset,
        "seed": job.seed,
        "laterItems": len(log.items) - len(adopted.items),
        "laterShare": round(float((adopted.item == 0).mean() - (log.item == 0).mean()), 4),  # of the positions
        "earlyQueries": int(early.sum()),
        "trainQueries": int(split.train.sum()),
    }
    rows = []
    for record, encoding, model, seen in cases(job, log, adopted, split, early):
        quality = evaluate(model, seen, split.test)
        measures = {name: round(value, 5) for name, value in asdict(quality).items()}
        rows.append(about | {"variant": record, "encoding": encoding} | measures)
        print(f"{job} {record}, {encoding}: AUC {quality.auc:.4f} GAUC {quality.gauc:.4f}", flush=True)
    return rows


def cases(job: Job, log: Log, adopted: Log, split: Split, early: np.ndarray) -> Iterator[tuple[str, str, Ranker, Log]]:
    """Yields the record, the encoding, the model, and the log that it sees.

    `adopted` is the log with the catalogue of the older model.
    """
    whole = arms_of(job, log, split, Compression())
    older = arms_of(job, adopted, Split(early, split.test), Compression(), f"{job}-older")
    later = arms_of(job, adopted, split, Compression(), f"{job}-older-catalogue")
    full = {arms.folder: arms.full() for arms in (whole, older, later)}

    def converted(arms: Arms, **options) -> Ranker:
        return replace(arms, **options).converted(full[arms.folder]).model

    for record, options in RECORDS.items():
        before = converted(older, **options)
        kept = kept_encoding(before, older)
        yield record, "new", converted(whole, **options), log
        yield record, "new, older catalogue", converted(later, **options), adopted
        yield record, "kept", converted(later, **options, kept=kept), adopted
        yield record, "not retrained", before, adopted


def early_queries(log: Log, split: Split) -> np.ndarray:
    """Returns which queries the older model learns from, [queries] bool: the earlier half of the training's."""
    return split.train & (log.query_time < np.median(log.query_time[split.train]))


def known_items(log: Log, early: np.ndarray) -> list[str]:
    """Returns the catalogue of the older model: the items of these queries and of their histories."""
    known = np.zeros(len(log.items), bool)
    known[0] = True
    known[log.query_item[early]] = True
    longest = np.zeros(log.users, int)  # of the early histories, by user
    np.maximum.at(longest, log.query_user()[early], log.query_now[early])
    for start, length in zip(log.starts[:-1], longest):
        known[log.item[start : start + length]] = True
    return [log.items[i] for i in np.flatnonzero(known)]


def kept_encoding(model: Ranker, arms: Arms) -> KeptEncoding:
    """Returns the encoding that a bundle of this model has."""
    exported = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        graphs = write_graphs(exported, folder)
        manifest = write_encoding(exported, arms.log, graphs, folder, arms.config.max_positions)
        return read_encoding(folder / manifest["graphs"]["encode"]["file"], manifest["record"]["fields"])
