"""Reads, checks and writes interaction logs. docs/interaction-log.md describes the log.

    table, report = read_table(Path("log.parquet"))
    print(*report.lines(), sep="\\n")

Columns: user_id, item_id and action (string), timestamp_ms (int64), label (float32: 0, 1, or null if a row is only
history), then numeric features (float32, null if unknown). Rows keep the file's order. Readers of histories sort them
stably by (user, timestamp, order in the file).
"""

import contextlib
import gzip
import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from data.log_rows import MOST_SKIPPED, SCHEMA, LogReport, LogRows
from data.reading.cells import Rows
from data.reading.delimited_log import read_delimited_log
from data.reading.errors import LogError, first_line
from data.reading.file_kind import file_form
from data.reading.json_log import read_json_log
from data.reading.log_checks import Checks
from data.reading.log_columns import LOG_COLUMNS
from data.reading.parquet_log import read_parquet_log
from data.reading.problem_list import ProblemList
from data.reading.progress import Say, quiet
from data.reading.published_files import refuse_published_name
from data.reading.repeated_events import repeated_rows
from data.table_file import Batch, bare_suffix

NO_FEATURES = ("event_id", "eventId")

ROW_GROUP = 100_000  # rows; readers keep one group in memory


def read_table(
    path: Path,
    say: Say = quiet,
    *,
    features: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    skip_bad_rows: bool = False,
) -> tuple[pa.Table, LogReport]:
    """Reads a log file by the rules of docs/interaction-log.md, and reports on it.

    Cells of `features` must be numbers or empty. Other columns are features if most of their cells are. `columns` maps
    our column names to the file's. Raises LogError with all problems, unless bad rows are to be skipped and are at most
    half of the rows.
    """
    refuse_published_name(path)
    form = file_form(path)
    problems = ProblemList(path, "row" if form == "parquet" else "line")
    checks = Checks(problems, features)
    rows = LogRows(path)
    events: list[pa.Array] = []
    places: list[np.ndarray] = []
    event_name = ""
    for batch in read_form(form, path, [*LOG_COLUMNS, *features], columns or {}, problems, say):
        found, keep = checks.check(batch)
        add_rows(rows, batch, found, keep, features)
        event_name = event_name or batch.names.get("event_id", "")
        ids = found["event_id"] if "event_id" in found else pa.array([""] * len(keep), pa.string())
        events.append(ids.filter(pa.array(keep)))
        places.append(batch.places[keep])
    if event_name:
        repeated = find_repeated(rows, events, places, event_name, problems)
        rows.drop(repeated)
        if repeated.any():
            rows.notes.append(f"left out {repeated.sum():,} rows that repeat an earlier event of the same user")
    lost = checks.unreadable_rows + problems.unreadable_rows
    if problems.count and not (skip_bad_rows and lost <= MOST_SKIPPED * (lost + rows.kept)):
        raise problems.error()
    for group in problems.sorted_groups():
        reason = f"column {group.column} {group.text}" if group.column else group.text
        rows.skipped[reason] = group.count
        rows.first[reason] = f"{path.name}, {problems.unit} {group.place}"
    if not rows.kept:
        raise LogError(f"{path}: has no rows; give a log with at least one interaction")
    return rows.finish()


def read_form(
    form: str, path: Path, wanted: Sequence[str], columns: Mapping[str, str], problems: ProblemList, say: Say
) -> Iterator[Rows]:
    """Reads a file of that form."""
    if form == "parquet":
        return read_parquet_log(path, wanted, columns, say)
    if form == "jsonl":
        return read_json_log(path, wanted, columns, problems, say)
    return read_delimited_log(path, "," if form == "csv" else "\t", wanted, columns, problems, say)


def add_rows(rows: LogRows, batch: Rows, found: dict[str, pa.Array], keep: np.ndarray, features: Sequence[str]) -> None:
    """Adds the rows without a problem to the log."""
    part = {name: found[name] for name in ("user_id", "item_id", "action") if name in found}
    part["timestamp_ms"] = pa.array(np.where(keep, found["timestamp_ms"], 0).astype(np.int64))
    if "label" in found:
        part["label"] = pa.array(found["label"], pa.float32(), from_pandas=True)
    read = {*batch.names.values(), *NO_FEATURES}
    other = {name: column for name, column in batch.columns.items() if name not in read}
    named = {name: pa.array(found[name], from_pandas=True) for name in features if name in found}
    about = Batch(rows.path, "row" if rows.path.suffix == ".parquet" else "line", batch.columns, batch.places)
    rows.add_checked(part, about, keep, named | other)


def find_repeated(
    rows: LogRows, events: list[pa.Array], places: list[np.ndarray], name: str, problems: ProblemList
) -> np.ndarray:
    """Returns a mask of the rows that repeat an earlier event of the same user."""
    users = pa.chunked_array([part["user_id"] for part in rows.parts], pa.string())
    contents = {
        column: pa.chunked_array([part.get(column, pa.nulls(len(part["user_id"]), kind)) for part in rows.parts], kind)
        for column, kind in [
            *((field.name, field.type) for field in SCHEMA if field.name != "user_id"),
            *((feature, pa.float32()) for feature in rows.filled),
        ]
    }
    table = pa.table({"user_id": users, "event_id": pa.chunked_array(events, pa.string())})
    return repeated_rows(table, pa.table(contents), np.concatenate(places), name, problems)


def write_table(table: pa.Table, path: Path) -> None:
    """Writes a log file of the kind that its name tells. Replaces an existing file once the new one is complete.

    Raises LogError if it cannot be written. No partial file remains then.
    """
    kind = kind_to_write(path)
    for column in SCHEMA:
        if column.name not in table.schema.names or table.schema.field(column.name).type != column.type:
            raise LogError(f"the table for {path} has no column {column.name} of type {column.type}")
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_kind(table, part, kind, path.suffix)
        part.replace(path)
    except OSError as error:
        raise LogError(f"{path}: cannot be written ({first_line(error)}); make room, or give another place") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_kind(table: pa.Table, part: Path, kind: str, suffix: str) -> None:
    """Writes a file of that kind. If `suffix` is .gz or .xz, the text is packed."""
    if kind == ".parquet":
        pyarrow.parquet.write_table(table, part, row_group_size=ROW_GROUP)
    else:
        with {".gz": gzip.open, ".xz": lzma.open}.get(suffix, open)(part, "wb") as file:
            if kind == ".jsonl":
                for batch in table.to_batches(ROW_GROUP):
                    rows = ({name: v for name, v in row.items() if v is not None} for row in batch.to_pylist())
                    file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
            else:
                options = pyarrow.csv.WriteOptions(delimiter="\t" if kind == ".tsv" else ",")
                pyarrow.csv.write_csv(table, file, options)


def kind_to_write(path: Path) -> str:
    """Returns the kind of file that the name's ending means. Raises LogError if the log could not be written there."""
    kind = bare_suffix(path)
    if kind not in (".csv", ".tsv", ".jsonl", ".parquet") or (kind == ".parquet" and path.suffix != kind):
        raise LogError(f"{path}: unknown kind of file; use .csv, .tsv, .jsonl (each also .gz or .xz) or .parquet")
    if path.is_dir():
        raise LogError(f"{path}: is a folder; give the name of a file")
    nearest = next((parent for parent in path.parents if parent.exists()), None)
    if nearest and not nearest.is_dir():
        raise LogError(f"{path}: {nearest} is not a folder; give another place")
    return kind
