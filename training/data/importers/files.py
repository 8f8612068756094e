"""Finds the files of a data set, and makes rows of lists."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.table_file import LogError

EPOCH_MS = 946_684_800_000  # 2000-01-01: where logs begin that have an order and no times
SECOND_MS = 1000


def find_file(source: Path, *names: str, within: Sequence[str] = ("",), remedy: str = "") -> Path:
    """The source itself where it is a file; else the first of `names`, packed or not, in it or its folders `within`."""
    if source.is_file():
        return source
    if not source.exists():
        raise LogError(f"{source}: is not there; check the path")
    for folder in within:
        for name in names:
            for packed in (name, f"{name}.xz", f"{name}.gz"):
                if (source / folder / packed).is_file():
                    return source / folder / packed
    raise LogError(f"{source}: has no {' or '.join(names)}; {remedy or 'unpack the whole data set there'}")


def find_files(source: Path, pattern: str, within: Sequence[str] = ("",)) -> list[Path]:
    """All files of a folder that match, at least one."""
    if not source.exists():
        raise LogError(f"{source}: is not there; check the path")
    for folder in within:
        if found := sorted(path for end in ("", ".xz", ".gz") for path in (source / folder).glob(f"{pattern}{end}")):
            return found
    raise LogError(f"{source}: has no {pattern}; unpack the whole data set there")


def flatten(lists: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """The lists' values one after another, and the list that each is from."""
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    return pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()


def strings(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())
