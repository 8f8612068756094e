"""Collects the rows of a log batch by batch: casts the cells, skips unreadable rows and counts them by reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from data.reading.errors import LogError
from data.reading.log_checks import EARLIEST_MS, LATEST_MS
from data.table_file import Batch

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("timestamp_ms", pa.int64()),
        ("action", pa.string()),
        ("label", pa.float32()),
    ]
)
REQUIRED = ("user_id", "item_id", "timestamp_ms")
STRINGS = ("user_id", "item_id", "action")
MOST_SKIPPED = 0.5  # a log with a larger share of unreadable rows is refused
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


@dataclass
class LogReport:
    """The figures of a log, and the rows and columns that were skipped."""

    rows: int
    users: int
    items: int
    labelled: int
    positives: int
    skipped: dict[str, int] = field(default_factory=dict)  # unreadable rows by reason
    first: dict[str, str] = field(default_factory=dict)  # the first place of each reason
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # columns that are not features, with the reason

    def lines(self) -> list[str]:
        """Returns the report in words."""
        share = f" ({self.positives / self.labelled:.1%})" if self.labelled else ""
        return [
            f"{self.rows:,} rows, {self.users:,} users, {self.items:,} items",
            f"{self.labelled:,} rows with a label, {self.positives:,} of them positive{share}",
            *(f"skipped {n:,}: {reason}, first at {self.first[reason]}" for reason, n in self.skipped.items()),
            *self.notes,
        ]


class LogRows:
    """A log under construction. Importers add their rows, and `finish` gives the table."""

    def __init__(self, path: Path):
        self.path = path
        self.seen = 0
        self.kept = 0
        self.skipped: dict[str, int] = {}
        self.first: dict[str, str] = {}
        self.notes: list[str] = []
        self.parts: list[dict[str, pa.Array]] = []
        self.met: set[str] = set()  # our columns that some batch had
        self.filled: dict[str, int] = {}  # feature -> filled cells
        self.wrong: dict[str, int] = {}  # feature -> cells that are not numeric
        self.first_wrong: dict[str, str] = {}  # feature -> the first such cell and its place

    def skip(self, reason: str, batch: Batch, places: Sequence[int]) -> None:
        """Counts rows that the caller has left out, by reason. `places` are their places in the batch."""
        self.seen += len(places)
        self._count(reason, batch, places)

    def add(
        self, columns: Mapping[str, pa.Array], batch: Batch, features: Mapping[str, pa.Array] | None = None
    ) -> np.ndarray:
        """Adds rows. Cells of our columns and of features are strings or typed. Returns the kept rows: [rows] bool."""
        if batch.has_header:
            self._require(columns, batch.columns)
        self.met.update(columns)
        if batch.broken:
            self.skip(batch.broken_reason, batch, batch.broken)
        rows = len(batch.places)
        self.seen += rows
        keep = np.ones(rows, bool)

        def reject(reason: str, mask: np.ndarray) -> None:
            mask = mask & keep
            if mask.any():
                self._count(reason, batch, batch.places[mask])
                keep[mask] = False

        part = {name: text(columns.get(name), rows, f"{batch.path}: column {name}") for name in STRINGS}
        for name in ("user_id", "item_id"):
            reject(f"no {name}", as_mask(pc.equal(part[name], "")))
        time, filled, wrong = numbers(columns.get("timestamp_ms"), rows)
        reject("no timestamp_ms", ~filled)
        reject("timestamp_ms is not a number", wrong)
        ms = time.fill_null(0).to_numpy(zero_copy_only=False)
        early = keep & (ms < EARLIEST_MS)
        if early.any():
            row = int(early.argmax())
            raise LogError(
                f"{batch.path}, {batch.unit} {batch.places[row]}: timestamp_ms {ms[row]:.0f} is before 1973; "
                "are these seconds? Multiply by 1,000: the column is Unix milliseconds"
            )
        reject("timestamp_ms is after 2099", ms >= LATEST_MS)
        part["timestamp_ms"] = pa.array(np.where(keep, ms, 0).round().astype(np.int64))
        label, _, wrong = numbers(columns.get("label"), rows)
        given = label.fill_null(0).to_numpy(zero_copy_only=False)
        bad = keep & (wrong | ((given != 0) & (given != 1)))
        if bad.any():
            row = int(bad.argmax())
            cell = str(columns["label"][row])[:40]
            raise LogError(
                f"{batch.path}, {batch.unit} {batch.places[row]}: the label {cell!r} is neither 0 nor 1; "
                "write 1 for the outcome to predict, 0 for any other, and nothing if the row is only history"
            )
        part["label"] = label.cast(pa.float32(), safe=False)
        self._add_features(features or {}, part, batch, keep)
        self._append(part, keep)
        return keep

    def add_checked(
        self, columns: Mapping[str, pa.Array], batch: Batch, keep: np.ndarray, features: Mapping[str, pa.Array]
    ) -> None:
        """Adds rows whose cells were checked, with the types of `SCHEMA`. `keep` masks the rows to add."""
        self.met.update(columns)
        self.seen += len(keep)
        part = dict(columns)
        if "action" not in part:
            part["action"] = pa.array([""] * len(keep), pa.string())
        self._add_features(features, part, batch, keep)
        self._append(part, keep)

    def _add_features(
        self, features: Mapping[str, pa.Array], part: dict[str, pa.Array], batch: Batch, keep: np.ndarray
    ) -> None:
        """Adds features to the part, and counts their cells. Cells that are not numeric become empty."""
        for name, column in features.items():
            value, filled, wrong = numbers(column, len(keep))
            self.filled[name] = self.filled.get(name, 0) + int(filled[keep].sum())
            self.wrong[name] = self.wrong.get(name, 0) + int(wrong[keep].sum())
            if name not in self.first_wrong and (wrong & keep).any():
                row = int((wrong & keep).argmax())
                self.first_wrong[name] = f"{str(column[row])[:40]!r} at {batch.place(int(batch.places[row]))}"
            part[name] = value.cast(pa.float32(), safe=False)

    def _append(self, part: dict[str, pa.Array], keep: np.ndarray) -> None:
        self.kept += int(keep.sum())
        self.parts.append(part if keep.all() else {n: c.filter(pa.array(keep)) for n, c in part.items()})

    def drop(self, rows: np.ndarray) -> None:
        """Drops rows that were added. `rows` masks them, in the order of adding."""
        start = 0
        for i, part in enumerate(self.parts):
            end = start + len(part["user_id"])
            kept = pa.array(~rows[start:end])
            self.parts[i] = {name: column.filter(kept) for name, column in part.items()}
            start = end
        self.kept -= int(rows.sum())

    def finish(self) -> tuple[pa.Table, LogReport]:
        """Returns the log's table and its report. Raises LogError if too many rows are unreadable, or none is left."""
        self._require(self.met, self.met)
        lost = sum(self.skipped.values())
        if lost > MOST_SKIPPED * self.seen:
            reasons = "; ".join(f"{n:,}: {reason}, first at {self.first[reason]}" for reason, n in self.skipped.items())
            raise LogError(
                f"{self.path}: {lost:,} of {self.seen:,} rows cannot be read ({reasons}); "
                "correct the file, or give its right kind and format"
            )
        if not self.kept:
            raise LogError(f"{self.path}: has no rows; give a log with at least one interaction")
        left_out: dict[str, str] = {}
        for name, filled in self.filled.items():
            if not filled:
                left_out[name] = "empty"
            elif self.wrong[name] > MOST_SKIPPED * filled:
                left_out[name] = f"not numeric, first {self.first_wrong[name]}"
            elif self.wrong[name]:
                wrong = f"{self.wrong[name]:,} cells of column {name} are not numeric"
                self.notes.append(f"{wrong}, first {self.first_wrong[name]}: left empty")
        self.notes += [f"column {name} left out: {why}" for name, why in left_out.items()]
        features = [name for name in self.filled if name not in left_out]
        schema = pa.schema([*SCHEMA, *(pa.field(name, pa.float32()) for name in features)])
        batches = [
            pa.record_batch(
                [part[f.name] if f.name in part else pa.nulls(len(part["user_id"]), f.type) for f in schema], schema
            )
            for part in self.parts
        ]
        table = pa.Table.from_batches(batches, schema)
        missing = [f"no column {name}" for name in ("action", "label") if name not in self.met]
        report = summarise(table, self.skipped, self.first, [*missing, *self.notes])
        return table, replace(report, left_out=left_out)

    def _require(self, columns: Sequence[str] | set[str] | Mapping[str, pa.Array], have: Sequence[str]) -> None:
        for name in REQUIRED:
            if name not in columns:
                raise LogError(
                    f"{self.path}: has no column {name}; it has {', '.join(have) or 'none'}. Name it {name} in the file"
                )

    def _count(self, reason: str, batch: Batch, places: Sequence[int]) -> None:
        if len(places):
            self.first.setdefault(reason, batch.place(int(places[0])))
            self.skipped[reason] = self.skipped.get(reason, 0) + len(places)


def summarise(table: pa.Table, skipped: dict[str, int], first: dict[str, str], notes: Sequence[str] = ()) -> LogReport:
    """Returns the report of a finished table."""
    labelled = len(table) - table["label"].null_count
    users = table.select(["user_id", "timestamp_ms"]).group_by("user_id").aggregate([("timestamp_ms", "min")])
    notes = list(notes)
    actions = table["action"].value_counts().to_pylist()
    actions.sort(key=lambda count: -count["counts"])
    named = [f"{a['values'] or '(none)'} {a['counts']:,}" for a in actions[:12]]
    notes.append(f"actions: {', '.join(named)}" + (f" and {len(actions) - 12} more" if len(actions) > 12 else ""))
    for name in table.schema.names[len(SCHEMA) :]:
        notes.append(f"feature {name} in {1 - table[name].null_count / len(table):.1%} of the rows")
    if labelled:
        examples = table.select(["user_id", "timestamp_ms"]).filter(pc.is_valid(table["label"]))
        starts = examples.group_by("user_id").aggregate([("timestamp_ms", "min")])
        starts = starts.rename_columns(["user_id", "first_labelled"]).join(users, "user_id")
        bare = pc.sum(pc.greater_equal(starts["timestamp_ms_min"], starts["first_labelled"])).as_py()
        notes.append(f"{bare:,} of {len(starts):,} users with labels have no row before their first labelled one")
    return LogReport(
        rows=len(table),
        users=len(users),
        items=pc.count_distinct(table["item_id"]).as_py(),
        labelled=labelled,
        positives=int(pc.sum(table["label"]).as_py() or 0),
        skipped=skipped,
        first=first,
        notes=notes,
    )


def text(column: pa.Array | None, rows: int, what: str) -> pa.Array:
    """Returns a column as strings without surrounding spaces. Missing cells are empty."""
    if column is None:
        return pa.array([""] * rows, pa.string())
    try:
        return pc.utf8_trim_whitespace(column.cast(pa.string()).fill_null(""))
    except pa.ArrowException as error:
        raise LogError(f"{what} is of type {column.type}; give strings or whole numbers") from error


def numbers(column: pa.Array | None, rows: int) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Returns a column as float64 with nulls, a mask of its filled cells, and a mask of its non-numeric cells."""
    if column is None:
        return pa.nulls(rows, pa.float64()), np.zeros(rows, bool), np.zeros(rows, bool)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
        filled = as_mask(pc.not_equal(pc.utf8_trim_whitespace(column), ""))
        sound = pc.match_substring_regex(column, NUMBER).fill_null(False)
        value = pc.utf8_trim_whitespace(pc.if_else(sound, column, None)).cast(pa.float64())
        return value, filled, filled & ~as_mask(sound)
    try:
        value = column.cast(pa.float64(), safe=False)
    except pa.ArrowException:  # lists and other types without a number
        return pa.nulls(rows, pa.float64()), as_mask(column.is_valid()), as_mask(column.is_valid())
    filled, sound = as_mask(pc.invert(pc.is_null(value, nan_is_null=True))), as_mask(pc.is_finite(value))
    return pc.if_else(pa.array(sound), value, None), filled, filled & ~sound


def as_mask(column: pa.Array) -> np.ndarray:
    """Returns a boolean column as an array; null is False."""
    return column.fill_null(False).to_numpy(zero_copy_only=False)
