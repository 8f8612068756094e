"""A small log on disk, and a small run of train.py on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fitting.train_config import TrainConfig

START = 1_600_000_000_000


def write_log(path: Path, users: int = 12, positions: int = 40) -> Path:
    """Writes a log in which each user likes the items of one parity."""
    random = np.random.default_rng(0)
    lines = ["user_id,item_id,timestamp_ms,action,label,watch_ratio,freshness,hour"]
    for user in range(users):
        for position in range(positions):
            item, watched, fresh = int(random.integers(1, 31)), random.random(), random.random()
            label = int(item % 2 == user % 2)
            action = "like" if label else "skip"
            cells = (f"u{user}", f"i{item:02}", START + 1000 * position, action, label)
            lines.append(",".join(map(str, (*cells, round(watched, 3), round(fresh, 3), position % 24))))
    path.write_text("\n".join(lines) + "\n")
    return path


POOL = {"record": "pool", "slots": 16}  # changes of small_train, for a pool of keys and values


def small_train(tmp_path: Path, **changes) -> TrainConfig:
    config = TrainConfig(
        "log",
        log=write_log(tmp_path / "log.csv"),
        name="small",
        out=tmp_path / "bundle",
        split="position:0.2",
        interaction_features=["watch_ratio"],
        candidate_features=["freshness"],
        context_features=["hour:0:24:12:period"],
        epochs=3,
        rate=2e-2,
        tune_epochs=1,
        batch=256,
        block=16,
        embedding=8,
        d_model=16,
        heads=2,
        max_positions=50,
    )
    return replace(config, **changes)


def leftovers(root: Path) -> list[Path]:
    return [path for path in (root / ".ckv").rglob("*") if path.is_file()]


class Interrupted(Exception):
    pass
