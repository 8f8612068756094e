"""Finds the files of a data set, and turns lists into rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.reading.errors import LogError

EPOCH_MS = 946_684_800_000  # 2000-01-01: the first time in logs that have an order but no times
SECOND_MS = 1000


def find_file(source: Path, *names: str, within: Sequence[str] = ("",), remedy: str = "") -> Path:
    """Returns the source itself if it is a file; else the first of `names`, packed or not, in its folders `within`."""
    if source.is_file():
        return source
    if not source.exists():
        raise LogError(f"{source}: does not exist; check the path")
    for folder in within:
        for name in names:
            for packed in (name, f"{name}.xz", f"{name}.gz"):
                if (source / folder / packed).is_file():
                    return source / folder / packed
    raise LogError(f"{source}: has no {' or '.join(names)}; {remedy or 'unpack the whole data set there'}")


def find_files(source: Path, pattern: str, within: Sequence[str] = ("",)) -> list[Path]:
    """Returns the files of a folder that match the pattern, packed or not. Raises LogError if there is none."""
    if not source.exists():
        raise LogError(f"{source}: does not exist; check the path")
    for folder in within:
        if found := sorted(path for end in ("", ".xz", ".gz") for path in (source / folder).glob(f"{pattern}{end}")):
            return found
    raise LogError(f"{source}: has no {pattern}; unpack the whole data set there")


def flatten(lists: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Returns the values of all lists, one after another, and the index of each value's list."""
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    return pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()


def strings(numbers: np.ndarray) -> pa.Array:
    """Returns numbers as text."""
    return pa.array(numbers).cast(pa.string())
