"""The rows of a log before their cells are checked."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

MOST_CHARACTERS = 40


@dataclass
class Rows:
    """Some rows of a log."""

    places: np.ndarray  # [rows] int64: lines of text from 1, with the header, or rows of Parquet from 1
    columns: dict[str, pa.Array]  # by their names in the file
    names: dict[str, str]  # our column -> its name in the file, of the columns that the file has
    shown: Callable[[str, int], str]  # a cell of a column in words, for errors
    booleans: dict[str, np.ndarray] = field(default_factory=dict)  # column -> cells that are true or false
    not_text: dict[str, np.ndarray] = field(default_factory=dict)  # column -> cells that cannot be ids
    not_utf8: dict[str, np.ndarray] = field(default_factory=dict)  # column -> cells that are not UTF-8


def quoted(text: str) -> str:
    """Returns text in quotes, for errors. Long text is cut."""
    return json.dumps(text[:MOST_CHARACTERS], ensure_ascii=False)
