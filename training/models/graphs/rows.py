"""A history's keys and values inside a graph."""

from dataclasses import dataclass

import numpy as np

from models.graphs.builder import Graph


@dataclass
class Rows:
    """Keys and values. A row is `count` positions; or one position, if `count` is None."""

    key: str  # [S, width]
    value: str  # [S, width]
    count: str | None = None  # [S]


@dataclass
class HistoryRows:
    """A layer's history in a rank graph."""

    rows: Rows
    user: Rows | None = None  # rows of the user head; None: there is no user head
    recent: Rows | None = None  # the newest positions; None: they are the last of `rows`


def counts_of(g: Graph, rows: Rows) -> str:
    """Returns the number of positions of each row, [S]."""
    return rows.count or g.add("Expand", g.number(1.0), g.add("Shape", rows.key, start=0, end=1))


def log_counts(g: Graph, rows: Rows) -> str:
    """Returns the logarithms of the counts, and a 0 for the null position at the end: [1, 1, S + 1]."""
    zero = g.tensor("zero", np.zeros(1, np.float32))
    logs = g.add("Log", counts_of(g, rows))
    return g.add("Reshape", g.add("Concat", logs, zero, axis=0), g.constant(1, 1, -1))
