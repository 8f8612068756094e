"""Checks the cells of a log, by the rules of docs/interaction-log.md.

packages/interaction-log/src/row-checks.ts has the same checks.
"""

import json
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.reading.cells import Rows
from data.reading.log_columns import IDS, LOG_COLUMNS
from data.reading.problem_list import ProblemList

EARLIEST_MS = 1e11  # smaller timestamps are taken for seconds
LATEST_MS = 4_102_444_800_000  # 2100-01-01: later ones are a wrong unit or a wrong clock
MOST_FLOAT32 = 3.4028234663852886e38
NUMBER = r"^[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*$"
MS = "write Unix milliseconds"
EMPTY = "is empty; fill it in, or remove the row"

Faults = list[tuple[str, np.ndarray, Callable[[int], str] | str]]  # kind, mask of rows, text for a row


class Checks:
    """Checks rows, and collects their sound cells."""

    def __init__(self, problems: ProblemList, features: Sequence[str]):
        self.problems, self.features = problems, features
        self.unreadable_rows = 0

    def check(self, rows: Rows) -> tuple[dict[str, pa.Array], np.ndarray]:
        """Returns the cells of our columns and of the features, and a mask of the rows without a problem."""
        keep = np.ones(len(rows.places), bool)
        found: dict[str, pa.Array] = {}
        for order, ours in enumerate((*LOG_COLUMNS, *self.features)):
            name = rows.names.get(ours)  # a file may have a column without a name
            if name is None and ours not in ("user_id", "item_id", "timestamp_ms"):
                continue
            found[ours], faults = self.column(rows, ours, name)
            left = np.ones(len(keep), bool)
            for kind, mask, text in faults:
                mask = mask & left
                if mask.any():
                    left &= ~mask
                    where = np.flatnonzero(mask)
                    first = int(where[0])
                    said = text if isinstance(text, str) else text(first)
                    self.problems.add(kind, rows.places[where].tolist(), said, ours if name is None else name, order)
            keep &= left
        self.unreadable_rows += int((~keep).sum())
        return found, keep

    def column(self, rows: Rows, ours: str, name: str | None) -> tuple[pa.Array, Faults]:
        """Returns the cells of a column, and its faults in the order in which they are tried."""
        count = len(rows.places)
        none = np.zeros(count, bool)
        cells = rows.columns[name] if name in rows.columns else pa.array([""] * count, pa.string())
        faults: Faults = []
        if name in rows.not_utf8:
            faults.append(("encoding", rows.not_utf8[name], "is not UTF-8; write UTF-8"))

        def shown(row: int) -> str:
            return rows.shown(name, row)

        def bare(row: int) -> str:
            cell = shown(row)
            return json.loads(cell).strip(" \t") if cell.startswith('"') else cell

        if ours in IDS:
            faults += id_faults(cells, rows.not_text.get(name, none), IDS[ours], shown, ours in ("event_id", "action"))
            return cells.fill_null(""), faults
        value, filled, wrong = numbers(cells)
        if ours == "timestamp_ms":
            wrong = wrong | rows.booleans.get(name, none)
            return value, [*faults, *timestamp_faults(value, filled, wrong, shown, bare)]
        if ours == "label":
            remedy = "write 1 for the outcome to predict, 0 for any other, and nothing if the row is only history"
            bad = filled & (wrong | ~np.isin(value, (0, 1)))
            return value, [*faults, ("label", bad, lambda row: f"is {shown(row)}, neither 0 nor 1; {remedy}")]
        remedy = "write a number with a decimal point, or nothing if it is unknown"
        large = filled & ~wrong & (np.abs(value) > MOST_FLOAT32)
        return value, [
            *faults,
            ("number", wrong, lambda row: f"is {shown(row)}, not a number; {remedy}"),
            ("float32", large, lambda row: f"is {bare(row)}, too large for float32; write a smaller number"),
        ]


def id_faults(
    cells: pa.Array, not_text: np.ndarray, most_bytes: int, shown: Callable[[int], str], optional: bool
) -> Faults:
    """Returns the faults of a column of ids. `not_text` masks the cells that are neither text nor whole numbers."""
    sizes = pc.binary_length(cells).fill_null(0).to_numpy()
    blank = sizes == 0
    edge = np.zeros(len(blank), bool)
    for space in (" ", "\t"):
        edge |= as_mask(pc.starts_with(cells, space)) | as_mask(pc.ends_with(cells, space))
    if edge.any():
        blank |= matches(cells, r"^[ \t]*$")
    return [
        ("type", not_text, lambda row: f"is {shown(row)}, neither text nor a whole number; write one of these"),
        ("empty", np.zeros(len(blank), bool) if optional else blank, EMPTY),
        ("nul", nuls(cells), "has a NUL character; remove it"),
        ("space", edge & ~blank, "begins or ends with a space; remove it"),
        (
            "size",
            sizes > most_bytes,
            lambda row: f"has {sizes[row]:,} bytes, at most {most_bytes} are allowed; write a shorter one",
        ),
    ]


def timestamp_faults(
    value: np.ndarray, filled: np.ndarray, wrong: np.ndarray, shown: Callable[[int], str], bare: Callable[[int], str]
) -> Faults:
    """Returns the faults of timestamps."""
    return [
        ("empty", ~filled, EMPTY),
        ("number", wrong, lambda row: f"is {shown(row)}, not a number; {MS}"),
        ("early", value < EARLIEST_MS, lambda row: f"is {bare(row)}, before 1973; are these seconds? W{MS[1:]}"),
        ("late", value >= LATEST_MS, lambda row: f"is {bare(row)}, after 2099; correct the clock, or {MS}"),
        ("whole", filled & (value != np.floor(value)), lambda row: f"is {bare(row)}, not a whole number; {MS}"),
    ]


def numbers(cells: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a column as float64 with NaN for other cells, a mask of the filled cells, and of those without a number.

    NaN of Parquet counts as empty.
    """
    if pa.types.is_string(cells.type):
        sound = matches(cells, NUMBER)
        text = cells if sound.all() else pc.if_else(pa.array(sound), cells, None)
        value = pc.utf8_trim(text, " \t").cast(pa.float64()).fill_null(float("nan")).to_numpy(zero_copy_only=False)
        filled = sound if sound.all() else sound | ~matches(cells.fill_null(""), r"^[ \t]*$")
        return value, filled, filled & ~sound
    value = cells.cast(pa.float64(), safe=False).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    return value, ~np.isnan(value), np.zeros(len(value), bool)


def nuls(cells: pa.Array) -> np.ndarray:
    """Returns a mask of the cells with a NUL."""
    bytes_of = cells.buffers()[2]
    if bytes_of is None or b"\0" not in bytes_of.to_pybytes():  # much faster, and there is none as a rule
        return np.zeros(len(cells), bool)
    return as_mask(pc.match_substring(cells, "\0"))


def matches(cells: pa.Array, pattern: str) -> np.ndarray:
    """Returns a mask of the cells that match. Null does not."""
    return as_mask(pc.match_substring_regex(cells, pattern))


def as_mask(column: pa.Array) -> np.ndarray:
    return column.fill_null(False).to_numpy(zero_copy_only=False)
