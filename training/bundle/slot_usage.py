"""Counts how the histories of training use the slots of a pool: the reference of the pool's health.

The services count the slots of new positions, and compare them with these counts: docs/pool-health.md.
"""

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from bundle.record import encode, record_fields
from data.history import History
from models.ranker import Ranker

MOST_SLOTS = 1_048_576  # of a counted field: the services do not count more
TOGETHER = 16  # users of one pass through the model


def write_slot_usage(model: Ranker, sample: History, draft: Path) -> list[dict]:
    """Writes the counts of every route field to a file of its own. Returns the manifest's entries."""
    counts = count_slots(model, sample)
    found = []
    for name, of_slot in counts.items():
        path = f"slot-usage/{name}.bin"
        (draft / path).parent.mkdir(exist_ok=True)
        (draft / path).write_bytes(of_slot.astype("<u4").tobytes())
        found.append({"field": name, "file": path, "positions": int(of_slot.sum())})
    return found


@torch.no_grad()
def count_slots(model: Ranker, sample: History) -> dict[str, np.ndarray]:
    """Returns the number of the sample's positions by slot, [slots], for every route field that is counted."""
    routes = {
        field["name"]: field["slots"]
        for field in record_fields(model)
        if field["kind"] == "route" and field["slots"] <= MOST_SLOTS
    }
    counts = {name: np.zeros(slots, np.int64) for name, slots in routes.items()}
    for first in range(0, len(sample.item), TOGETHER):
        part = History(**{f.name: getattr(sample, f.name)[first : first + TOGETHER] for f in fields(sample)})
        encoded = encode(model, part).fields
        for name, slots in routes.items():
            used = encoded[name][part.valid].flatten().long()
            counts[name] += np.bincount(used.cpu().numpy(), minlength=slots)
    return counts
