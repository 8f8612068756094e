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
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from data.log_rows import SCHEMA, LogReport, LogRows
from data.table_file import LogError, Say, bare_suffix, first_line, quiet, read_batches

# Other names of our columns in existing logs. `npm start -- --data` knows the same names.
USUAL_NAMES = {
    "user_id": ("user_id", "userId"),
    "item_id": ("item_id", "itemId", "video_id"),
    "timestamp_ms": ("timestamp_ms", "timestampMs", "time_ms"),
    "action": ("action",),
    "label": ("label",),
}
NO_FEATURES = ("event_id", "eventId")

ROW_GROUP = 100_000  # rows; readers keep one group in memory


def read_table(path: Path, say: Say = quiet) -> tuple[pa.Table, LogReport]:
    """Reads a log file and reports on it. Raises LogError, with the remedy, if the file cannot become a log."""
    rows = LogRows(path)
    for batch in read_batches(path, say):
        names = {name: next((n for n in usual if n in batch.columns), None) for name, usual in USUAL_NAMES.items()}
        ours = {name: batch.columns[found] for name, found in names.items() if found}
        other = {n: c for n, c in batch.columns.items() if n not in (*names.values(), *NO_FEATURES)}
        rows.add(ours, batch, features=other)
    return rows.finish()


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
