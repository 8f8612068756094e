"""Measures one knob of the compression at a time, the others at their defaults."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from conversion.convert import calibrate
from conversion.sample import sample_history
from fitting.arms import Arm, Arms
from models.compression import Compression
from models.ranker import Ranker
from quality.measure import measured
from quality.protocol import Job, arms_of, read_dataset

# The values of each knob; the other knobs have their defaults. All values share one full model.
KNOBS: dict[str, list] = {
    "slots": [64, 256, 1024, 4096, 10_000],
    "slots_alone": [64, 256, 1024],  # slots, without user dims
    "user_width": [0, 1, 4, 10],
    "tied": [False],
    "user_type": ["int8", "float16"],
    "user_form": ["last_head"],
    "share": ["values", "keys"],
    "recipe": ["published"],
}
HISTORY_LENGTHS = (50, 100, 200, 500, 1000)


def measure_knob(job: Job, data: Path, knob: str, value: object) -> list[dict]:
    """Returns two rows, as converted and as tuned; or one row of the published recipe."""
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    published = knob == "recipe"
    changes = {"slots": value, "user_width": 0} if knob == "slots_alone" else {knob: value}
    c = Compression(gate=True) if published else replace(Compression(), **changes)
    arms = arms_of(job, log, split, c)
    if published:
        stages = [("published", arms.published())]
    else:
        full = arms.full()
        converted = arms.converted(full)
        stages = [("converted", Arm(copy.deepcopy(converted.model), converted.seconds))]
        calibrate(stages[0][1].model, arms.sample(), job.seed)
        stages.append(("tuned", arms.collective_kv(converted, full, f"knob-{knob}-{value}")))
    rows = []
    for stage, arm in stages:
        row = measured(job, arms, f"{knob}={value} {stage}", arm)
        row |= {"knob": knob, "value": value, "stage": stage, "distinctSlots": distinct_slots(arm.model, arms)}
        rows.append({key: x for key, x in row.items() if key not in ("variant", "losses")})
    return rows


@torch.no_grad()
def distinct_slots(model: Ranker, arms: Arms) -> dict[str, float]:
    """Returns, by length, the mean number of distinct pairs of key and value slots in the first positions."""
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
