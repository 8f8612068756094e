"""Reads the tables of public data sets batch by batch: delimited text, which may be packed, and Parquet.

Cells of text files are returned as strings. So a reader can count a cell that does not parse, with its line, and go on.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from data.reading.errors import LogError, first_line
from data.reading.log_columns import repeated_name
from data.reading.packed_text import check_file, text_blocks
from data.reading.progress import Progress, Say, quiet

BATCH_ROWS = 1 << 18  # Parquet rows of a batch


@dataclass
class Batch:
    """Some rows of a table."""

    path: Path
    unit: str  # of `places`: "line" of text, from 1 and with the header; or "row" of Parquet, from 1
    columns: dict[str, pa.Array]
    places: np.ndarray  # [rows] int64
    broken: list[int] = field(default_factory=list)  # places of lines that are not rows
    broken_reason: str = ""
    has_header: bool = True  # every row has the same columns

    def place(self, place: int) -> str:
        """Returns a place in words: `log.csv, line 3`."""
        return f"{self.path.name}, {self.unit} {place}"


def bare_suffix(path: Path) -> str:
    """Returns the suffix without the suffix of the packing: `.csv` for log.csv.xz."""
    return (path.with_suffix("") if path.suffix in (".gz", ".xz") else path).suffix


def read_delimited(
    path: Path,
    delimiter: str,
    *,
    names: Sequence[str] | None = None,
    quote: str | bool = '"',
    say: Say = quiet,
) -> Iterator[Batch]:
    """Reads delimited text. `names` are the columns of a file without a header line."""
    separator = delimiter if len(delimiter) == 1 else "\x1f"
    line = first = 1
    for block in text_blocks(path, say):
        if len(delimiter) > 1:
            block = block.replace(delimiter.encode(), separator.encode())
        if names is None:
            head, _, block = block.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
            names = header(path, head, separator)
            line = first = 2
        if block:
            batch = parse_block(path, block, line, list(names), separator, quote)
            line += block.count(b"\n")
            yield batch
    if line == first:
        raise LogError(f"{path}: has no rows; fetch or write it again")


def header(path: Path, head: bytes, separator: str) -> list[str]:
    """Returns the column names of a header line."""
    try:
        names = [name.strip() for name in next(csv.reader([head.decode()], delimiter=separator), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise LogError(f"{path}, line 1: is not text; the file's name must tell its kind") from error
    twice = repeated_name(names)
    if twice is not None:
        raise LogError(f"{path}, line 1: the column {twice!r} is duplicated; rename one of them")
    return names


def parse_block(path: Path, block: bytes, line: int, names: list[str], separator: str, quote: str | bool) -> Batch:
    """Returns the rows of a block of whole lines, which begins at `line`. Blank lines are skipped."""
    broken: list[int] = []  # lines of the block, from 1

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        broken.extend(
            row.number + i for i in range(1 + row.text.count("\n"))
        )  # a row with an open quote spans several lines
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=len(block) + 1),
            pyarrow.csv.ParseOptions(
                delimiter=separator, quote_char=quote, ignore_empty_lines=False, invalid_row_handler=skip
            ),
            pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise LogError(f"{path}, after line {line}: is not UTF-8 text ({error}); convert the file to UTF-8") from error
    columns = {name: table[name].combine_chunks() for name in names}
    lines = np.setdiff1d(np.arange(1, table.num_rows + len(broken) + 1), broken)[: table.num_rows]
    filled = np.zeros(table.num_rows, bool)
    for column in columns.values():
        filled |= pc.binary_length(column).to_numpy() > 0
    if not filled.all():  # blank lines
        columns = {name: column.filter(pa.array(filled)) for name, column in columns.items()}
    places = lines[filled] + line - 1
    return Batch(path, "line", columns, places, [n + line - 1 for n in broken], f"not {len(names)} cells")


def read_parquet(path: Path, columns: Sequence[str] | None = None, say: Say = quiet) -> Iterator[Batch]:
    """Reads a Parquet file; None reads all columns."""
    file = open_parquet(path)
    progress = Progress(path, say)
    row = 1
    try:
        for batch in file.iter_batches(BATCH_ROWS, columns=None if columns is None else list(columns)):
            yield Batch(
                path,
                "row",
                {name: batch.column(name) for name in batch.schema.names},
                np.arange(row, row + batch.num_rows),
            )
            row += batch.num_rows
            progress.at(row / (file.metadata.num_rows + 1))
    except (pa.ArrowException, OSError) as error:
        raise LogError(f"{path}: is damaged after row {row - 1} ({first_line(error)}); fetch it again") from error


def read_parquet_table(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> pa.Table:
    """Reads whole columns of a Parquet file, without the optional ones that it does not have."""
    file = open_parquet(path)
    names = file.schema_arrow.names
    require_columns(path, names, required)
    try:
        return file.read([name for name in [*required, *optional] if name in names])
    except (pa.ArrowException, OSError) as error:
        raise LogError(f"{path}: is damaged ({first_line(error)}); fetch it again") from error


def open_parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    check_file(path)
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise LogError(f"{path}: is cut short or not a Parquet file ({first_line(error)}); fetch it again") from error


def require_columns(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    """Raises LogError if a required column is missing."""
    missing = [name for name in required if name not in names]
    if missing:
        have = ", ".join(names) or "no columns"
        raise LogError(f"{path}: has no column {', '.join(missing)}; it has {have}. Is it the file of this format?")
