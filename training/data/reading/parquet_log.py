"""Reads a log of Parquet."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from data.reading.cells import Rows, quoted
from data.reading.errors import LogError
from data.reading.log_columns import IDS, find_columns, repeated_name
from data.reading.progress import Progress, Say
from data.reading.published_files import refuse_published_columns

BATCH_ROWS = 1 << 18


def read_parquet_log(path: Path, wanted: Sequence[str], columns: Mapping[str, str], say: Say) -> Iterator[Rows]:
    """Yields the rows of a file, a batch at a time.

    Raises LogError for a missing column, a column of another type, and a damaged file.
    """
    row = 0
    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
        refuse_published_columns(path, schema.names)
        twice = repeated_name(schema.names)
        if twice is not None:
            raise LogError(f"{path}: has the column {twice} twice; rename or remove one of them")
        names = find_columns(wanted, schema.names, columns, str(path))
        for ours, name in names.items():
            if fault := type_fault(ours, schema.field(name).type):
                raise LogError(f"{path}, column {name}: {fault}")
        progress = Progress(path, say)
        for batch in file.iter_batches(BATCH_ROWS):
            yield batch_rows(batch, row, names)
            row += batch.num_rows
            progress.at(row / max(1, file.metadata.num_rows))
    except (pa.ArrowException, OSError) as error:
        raise LogError(f"{path}: is cut short or damaged after row {row}; fetch or write it again") from error


def type_fault(ours: str, found: pa.DataType) -> str | None:
    """Returns the problem of a column's type, with the remedy."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    text = pa.types.is_string(found) or pa.types.is_large_string(found) or is_bytes(found)
    if text or pa.types.is_null(found) or pa.types.is_integer(found):
        return None
    if ours in IDS:
        return "holds neither text nor whole numbers; write one of these"
    if pa.types.is_floating(found):
        return None
    if ours == "timestamp_ms":
        return None if pa.types.is_timestamp(found) else "holds neither numbers nor times; write Unix milliseconds"
    return None if pa.types.is_boolean(found) else "does not hold numbers; write numbers"


def is_bytes(found: pa.DataType) -> bool:
    return pa.types.is_binary(found) or pa.types.is_large_binary(found)


def batch_rows(batch: pa.RecordBatch, before: int, names: dict[str, str]) -> Rows:
    """Returns the rows of a batch. Times become Unix milliseconds. Text that is not UTF-8 is empty, and masked."""
    places = np.arange(before + 1, before + 1 + batch.num_rows)
    columns, wrong = {}, {}
    ours_of = {name: ours for ours, name in names.items()}
    for name in batch.schema.names:
        column = batch.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if name in ours_of:
            if pa.types.is_timestamp(column.type):
                column = column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
            elif is_bytes(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                column, wrong[name] = sound_text(column)
            elif ours_of[name] in IDS:
                column = column.cast(pa.string())
        columns[name] = column
    return Rows(places, columns, names, lambda name, row: shown(columns[name][row].as_py()), not_utf8=wrong)


def sound_text(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Returns a column as text, and a mask of the cells that are not UTF-8. These are empty in the column."""
    try:
        text = column.cast(pa.string())
        text.validate(full=True)
        return text, np.zeros(len(text), bool)
    except pa.ArrowInvalid:
        cells = [decoded(cell) for cell in column.cast(pa.binary()).to_pylist()]
        return pa.array([cell or "" for cell in cells], pa.string()), np.array([cell is None for cell in cells])


def decoded(cell: bytes | None) -> str | None:
    """Returns the text of a cell, empty for null; None if it is not UTF-8."""
    try:
        return (cell or b"").decode()
    except UnicodeDecodeError:
        return None


def shown(cell: object) -> str:
    """Returns a cell in words, for errors."""
    if isinstance(cell, str):
        return quoted(cell)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        if cell in (float("inf"), float("-inf")):
            return "Infinity" if cell > 0 else "-Infinity"
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e21 else repr(cell)
    return str(cell)
