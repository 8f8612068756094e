"""Reads an interaction log into arrays.

The log is a CSV with the header `user_id,item_id,timestamp_ms,action,label,watch_ratio,freshness,hour`, one line per
exposure, each user's lines together and oldest first. The demo's log comes from
`node packages/feed-simulator/dist/write-log.js`; any log in this form will do.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COLUMNS = ["user_id", "item_id", "timestamp_ms", "action", "label", "watch_ratio", "freshness", "hour"]
ACTIONS = ["<unknown>", "skip", "click", "like"]


@dataclass
class Log:
    items: list[str]  # vocabulary, index 0 is the unknown item ""
    starts: np.ndarray  # [users + 1] user u owns rows starts[u] to starts[u + 1]
    item: np.ndarray  # [rows] int64
    action: np.ndarray  # [rows] int64
    label: np.ndarray  # [rows] float32
    watch_ratio: np.ndarray  # [rows] float32
    freshness: np.ndarray  # [rows] float32
    hour: np.ndarray  # [rows] float32

    @property
    def users(self) -> int:
        return len(self.starts) - 1

    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)


def read_log(path: Path) -> Log:
    action_index = {action: i for i, action in enumerate(ACTIONS)}
    with path.open(newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        if header != COLUMNS:
            raise ValueError(f"{path}: expected the columns {','.join(COLUMNS)}, found {','.join(header)}")
        user, item, _, action, label, watch_ratio, freshness, hour = zip(*rows)
    ids = np.array(item)
    vocabulary, index = np.unique(ids, return_inverse=True)
    user_ids = np.array(user)
    changes = np.flatnonzero(user_ids[1:] != user_ids[:-1]) + 1
    if len(np.unique(user_ids)) != len(changes) + 1:
        raise ValueError(f"{path}: a user's lines must stand together")
    return Log(
        items=["", *vocabulary.tolist()],
        starts=np.concatenate([[0], changes, [len(user_ids)]]),
        item=index.astype(np.int64) + 1,
        action=np.array([action_index.get(a, 0) for a in action], np.int64),
        label=np.array(label, np.float32),
        watch_ratio=np.array(watch_ratio, np.float32),
        freshness=np.array(freshness, np.float32),
        hour=np.array(hour, np.float32),
    )
