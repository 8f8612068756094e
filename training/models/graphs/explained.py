"""What an explain graph tells of a history: the weights of its rows, and how positions read these rows.

Shapes: C candidates, N positions, S rows of a graph, E embedding, W columns of a part's values, H heads of a part.
"""

from dataclasses import dataclass

from torch import Tensor

from models.graphs.rows import HistoryRows

HISTORY, RECENT, USER = "history", "recent", "user"  # parts, and the rows that they attend to


@dataclass
class ExplainedRows:
    """A layer's history in an explain graph."""

    history: HistoryRows
    place: str | None = None  # [N]: the row of each position; None: a row is a position
    value: str | None = None  # [N, D]: the value of each position; None: it has the value of its row
    user_place: str | None = None  # [N]: the user head's row of each position; None: a row is a position
    own_columns: int = 0  # of the values: the last ones, which are user KV


@dataclass
class WeighedRows:
    """A part of attention: the weights and values of its rows, and of the null position behind them."""

    name: str  # in the manifest
    rows: str  # HISTORY, RECENT or USER
    weights: str  # [H, C, S + 1]; they add up to 1
    value: str  # [H, S + 1, W/H]
    heads: int
    null_value: Tensor  # [W]
    out: Tensor  # the projection, [E, W]
    first_column: int = 0  # of the positions' values: the part reads W columns from here
