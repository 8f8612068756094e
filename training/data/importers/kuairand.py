"""KuaiRand (https://kuairand.com): exposures in a feed of short videos, with clicks, likes and watch times.

`import_kuairand` reads KuaiRand-Pure or KuaiRand-1K as published, the folder or its `data`. The files are
`log_standard_4_08_to_4_21_*.csv`, `log_standard_4_22_to_5_08_*.csv` and `log_random_4_22_to_5_08_*.csv`. Their header:
`user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,play_time_ms,
duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab`, as in chongminggao/KuaiRand, README.md.

`import_kuairand_partial` reads the part of KuaiRand-Pure in wmyh-0416/kuairand-short-video-recommender, processed/.
`val.tsv` and `test.tsv` are exposures with the columns above. `user_sequences.tsv` has the weeks before them. Its
columns are user_id, history_len, last_time_ms, watch_seq, like_seq and long_watch_seq. `watch_seq` has the last 50
videos, oldest first, between spaces.

All files may be packed as .gz or .xz. The log: every exposure becomes a row with the label is_click and the feature
watch_ratio, which is play_time_ms / duration_ms, at most 1. Its action is `like` if is_like is 1, else `long_view`,
else `click`, else `skip`. watch_seq becomes unlabelled rows with the action `exposed`. It has no times: the last video
is at last_time_ms, and each earlier one a second before the next.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.importers.files import SECOND_MS, find_file, find_files, flatten
from data.log_rows import LogReport, LogRows, numbers
from data.reading.errors import LogError
from data.reading.progress import Say, quiet
from data.table_file import Batch, bare_suffix, read_delimited, require_columns

REQUIRED = ["user_id", "video_id", "time_ms", "is_click"]
OPTIONAL = {"is_like": "like", "long_view": "long_view"}  # column -> its action
LOGS = ("log_standard_4_08_to_4_21_*.csv", "log_standard_4_22_to_5_08_*.csv", "log_random_4_22_to_5_08_*.csv")


def import_kuairand(source: Path, say: Say = quiet) -> tuple[pa.Table, LogReport]:
    if source.is_file():
        raise LogError(f"{source}: is a file; give the folder with log_standard_*.csv and log_random_*.csv")
    rows = LogRows(source)
    for path in [path for pattern in LOGS for path in find_files(source, pattern, within=("", "data"))]:
        add_exposures(rows, path, say)
    return rows.finish()


def import_kuairand_partial(source: Path, say: Say = quiet) -> tuple[pa.Table, LogReport]:
    if source.is_file():
        raise LogError(f"{source}: is a file; give the folder with user_sequences.tsv, val.tsv and test.tsv")
    sequences, *exposures = (find_file(source, name) for name in ("user_sequences.tsv", "val.tsv", "test.tsv"))
    rows = LogRows(source)
    for batch in read_delimited(sequences, "\t", quote=False, say=say):
        require_columns(sequences, list(batch.columns), ["user_id", "last_time_ms", "watch_seq"])
        add_sequences(rows, batch)
    rows.notes.append(f"{sequences.name}: {rows.kept:,} events of history")
    for path in exposures:
        add_exposures(rows, path, say)
    return rows.finish()


def add_exposures(rows: LogRows, path: Path, say: Say) -> None:
    """Adds the exposures of a file."""
    before = rows.kept
    columns: dict[str, pa.Array] = {}
    for batch in read_delimited(path, "\t" if bare_suffix(path) == ".tsv" else ",", say=say):
        columns = batch.columns
        require_columns(path, list(columns), REQUIRED)
        action = pc.if_else(is_one(columns["is_click"]), "click", "skip")
        for name in reversed(OPTIONAL):
            if name in columns:
                action = pc.if_else(is_one(columns[name]), OPTIONAL[name], action)
        ours = {
            "user_id": columns["user_id"],
            "item_id": columns["video_id"],
            "timestamp_ms": columns["time_ms"],
            "action": action,
            "label": columns["is_click"],
        }
        rows.add(ours, replace(batch, columns=ours), watch_ratio(columns))
    missing = [name for name in (*OPTIONAL, "play_time_ms", "duration_ms") if name not in columns]
    if missing:
        rows.notes.append(f"{path.name} has no column {', '.join(missing)}: actions or watch_ratio lack them")
    rows.notes.append(f"{path.name}: {rows.kept - before:,} exposures")


def watch_ratio(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Returns the feature watch_ratio; no feature if its columns are missing."""
    if "play_time_ms" not in columns or "duration_ms" not in columns:
        return {}
    played, _, _ = numbers(columns["play_time_ms"], len(columns["play_time_ms"]))
    duration, _, _ = numbers(columns["duration_ms"], len(columns["duration_ms"]))
    ratio = pc.divide(played, pc.if_else(pc.greater(duration, 0), duration, None))
    return {
        "watch_ratio": pc.max_element_wise(pc.min_element_wise(ratio, 1.0, skip_nulls=False), 0.0, skip_nulls=False)
    }


def add_sequences(rows: LogRows, batch: Batch) -> None:
    """Adds the watched videos of users."""
    watched = batch.columns["watch_seq"]
    lists = pc.utf8_split_whitespace(pc.if_else(pc.equal(watched, ""), None, watched))
    video, user = flatten(lists)
    last, given, wrong = numbers(batch.columns["last_time_ms"], len(batch.places))
    unread = (wrong | ~given) & (pc.list_value_length(lists).fill_null(0).to_numpy() > 0)
    rows.skip("last_time_ms is not a number", batch, batch.places[unread])
    _, first, count = np.unique(user, return_index=True, return_counts=True)
    to_come = np.repeat(first + count, count) - 1 - np.arange(len(user))  # later videos of the same user
    keep = ~unread[user]
    user, video, to_come = user[keep], video.filter(pa.array(keep)), to_come[keep]
    ours = {
        "user_id": batch.columns["user_id"].take(pa.array(user)),
        "item_id": video,
        "timestamp_ms": pc.subtract(last.take(pa.array(user)), pa.array(to_come * float(SECOND_MS))),
        "action": pa.array(["exposed"] * len(user)),
    }
    rows.add(ours, replace(batch, columns=ours, places=batch.places[user]))


def is_one(column: pa.Array) -> pa.Array:
    """True for cells that are 1."""
    value, _, _ = numbers(column, len(column))
    return pc.equal(value, 1).fill_null(False)
