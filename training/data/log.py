"""An interaction log as arrays: positions, which become history, and queries, which have a label to predict.

A query sees its user's positions with an earlier timestamp, and no position of its own moment. So candidates that were
shown together do not see each other's outcome. docs/interaction-log.md describes the files.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.features import Feature
from data.log_file import read_table
from errors import UserError


@dataclass
class Log:
    """Columns sorted by user and time. Index 0 of both vocabularies is the unknown item or action."""

    items: list[str]
    actions: list[str]
    starts: np.ndarray  # [users + 1]; the positions of user u are starts[u] to starts[u + 1]
    item: np.ndarray  # [positions] int64
    action: np.ndarray  # [positions] int64
    features: np.ndarray  # [positions, interaction features] float32
    query_starts: np.ndarray  # [users + 1]
    query_item: np.ndarray  # [queries] int64
    query_label: np.ndarray  # [queries] float32
    query_now: np.ndarray  # [queries] int64: the user's positions before the query's moment
    query_time: np.ndarray  # [queries] int64, Unix ms
    query_features: np.ndarray  # [queries, candidate features] float32
    query_context: np.ndarray  # [queries, context features] float32

    @property
    def users(self) -> int:
        return len(self.starts) - 1

    def query_user(self) -> np.ndarray:
        """Returns the user of each query, [queries]."""
        return np.repeat(np.arange(self.users), np.diff(self.query_starts))

    def with_vocabularies(self, items: list[str], actions: list[str]) -> "Log":
        """Returns the log with the indices of other vocabularies. What they do not have becomes unknown, index 0."""
        item, action = (
            np.array([0, *(index.get(name, 0) for name in own[1:])])
            for own, index in (
                (self.items, {name: i for i, name in enumerate(items)}),
                (self.actions, {name: i for i, name in enumerate(actions)}),
            )
        )
        columns = {"item": item[self.item], "query_item": item[self.query_item], "action": action[self.action]}
        return replace(self, items=items, actions=actions, **columns)

    def digest(self) -> str:
        """Returns the sha256 of all columns that training reads."""
        found = hashlib.sha256()
        for f in fields(self):
            value = getattr(self, f.name)
            found.update(value.tobytes() if isinstance(value, np.ndarray) else "\0".join(value).encode())
            found.update(f"{f.name} {np.shape(value)}".encode())
        return found.hexdigest()


@dataclass
class Columns:
    """The feature columns of interactions, candidates and requests."""

    interaction: Sequence[Feature] = ()
    candidate: Sequence[Feature] = ()
    context: Sequence[Feature] = ()

    def names(self) -> list[str]:
        return [f.name for f in (*self.interaction, *self.candidate, *self.context)]


def read_log(path: Path, columns: Columns, history_actions: Sequence[str] = ()) -> Log:
    """Reads a log file. With `history_actions`, only rows with these actions become positions.

    Raises UserError if the file cannot become a log, or does not have the features.
    """
    table, report = read_table(path, features=columns.names())
    for line in report.lines():
        print(f"  {line}", flush=True)
    for name in columns.names():
        if name in report.left_out:
            raise UserError(
                f"{path}: column {name} is {report.left_out[name]}; write numbers in it, or remove it from the features"
            )
    return log_from_table(table, columns, history_actions)


def log_from_table(table: pa.Table, columns: Columns, history_actions: Sequence[str] = ()) -> Log:
    """Returns the log of a table as read_table gives it. Raises UserError as read_log does."""
    missing = [name for name in columns.names() if name not in table.column_names]
    if missing:
        raise UserError(f"the log has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")
    if "label" not in table.column_names:
        raise UserError(
            "the log has no column label, so there is nothing to learn; add it, with 1 for the outcome to predict"
        )
    _, user = codes(table["user_id"])
    user -= 1  # there is no unknown user
    items, item = codes(table["item_id"])
    actions, action = codes(table["action"] if "action" in table.column_names else pa.nulls(len(table), pa.string()))
    time = table["timestamp_ms"].to_numpy()
    label = table["label"].to_numpy().astype(np.float32)
    order = np.lexsort((time, user))  # stable: equal times keep the file's order
    user, item, action, time, label = (column[order] for column in (user, item, action, time, label))

    def stack(wanted: Sequence[Feature], rows: np.ndarray) -> np.ndarray:
        """Returns values [rows, features], clipped to the bounds of each feature. Empty cells have the default."""
        stacked = np.zeros((len(rows), len(wanted)), np.float32)
        for i, f in enumerate(wanted):
            column = table[f.name].to_numpy().astype(np.float32)[order][rows]
            stacked[:, i] = np.where(np.isnan(column), f.default, column.clip(f.low, f.high))
        return stacked

    users = int(user.max()) + 1
    unknown = [name for name in history_actions if name not in actions[1:]]
    if unknown:
        raise UserError(f"the log has no action {', '.join(unknown)}; it has {', '.join(actions[1:]) or 'none'}")
    chosen = [i + 1 for i, name in enumerate(actions[1:]) if name in history_actions]
    position = np.flatnonzero(np.isin(action, chosen)) if history_actions else np.arange(len(user))
    query = np.flatnonzero(~np.isnan(label))
    starts = np.searchsorted(user[position], np.arange(users + 1))
    # Positions before (user, time). Both columns are sorted, so one search finds them all.
    moment = np.rec.fromarrays([user, time])
    now = np.searchsorted(moment[position], moment[query]) - starts[user[query]]
    return Log(
        items=items,
        actions=actions,
        starts=starts,
        item=item[position],
        action=action[position],
        features=stack(columns.interaction, position),
        query_starts=np.searchsorted(user[query], np.arange(users + 1)),
        query_item=item[query],
        query_label=label[query],
        query_now=now,
        query_time=time[query],
        query_features=stack(columns.candidate, query),
        query_context=stack(columns.context, query),
    )


def codes(column: pa.ChunkedArray | pa.Array) -> tuple[list[str], np.ndarray]:
    """Returns the sorted vocabulary, with the unknown value "" at index 0, and the index of each row."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values = sorted(value for value in pc.unique(column).to_pylist() if value)
    index = pc.index_in(column, pa.array(values, pa.string())).fill_null(-1).to_numpy().astype(np.int64) + 1
    return ["", *values], index
