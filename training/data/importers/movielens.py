"""MovieLens (https://grouplens.org/datasets/movielens): ratings, in any of the published forms.

| file | form |
|---|---|
| ratings.dat (1M, 10M) | `UserID::MovieID::Rating::Timestamp`, no header; seconds |
| u.data (100K) | user, item, rating, timestamp between tabs, no header; seconds |
| ratings.csv (latest, 20M, 25M, 32M) | header `userId,movieId,rating,timestamp`; seconds |
| ratings_ordered.csv | header `user,pos,item,rating`: pos is the place in the user's order, from 0; without times |

Each file may be packed as .gz or .xz. The README of GroupLens beside each file describes its form. The ordered form
comes from a source without times.

The log: each rating becomes a row with the action `rated-1` to `rated-5` (half stars: `rated-3.5`), and the label 1 for
4 stars or more. Without times, rating number pos happens pos seconds after 2000-01-01.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.importers.files import EPOCH_MS, SECOND_MS, find_file
from data.log_rows import LogReport, LogRows, numbers
from data.reading.errors import LogError
from data.reading.progress import Say, quiet
from data.table_file import read_delimited, require_columns, text_blocks

NAMES = ("ratings.dat", "u.data", "ratings.csv", "ratings_ordered.csv")
COLUMNS = ["user", "item", "rating", "seconds"]
HEADER = {
    "userId": "user",
    "movieId": "item",
    "item": "item",
    "user": "user",
    "rating": "rating",
    "timestamp": "seconds",
}
LIKED = 4


def import_movielens(source: Path, say: Say = quiet) -> tuple[pa.Table, LogReport]:
    path = find_file(source, *NAMES, remedy="give the file of ratings itself")
    rows = LogRows(path)
    delimiter, names = form_of(path)
    for batch in read_delimited(path, delimiter, names=names, say=say):
        found = {HEADER.get(name, name): column for name, column in batch.columns.items()}
        require_columns(path, list(found), ["user", "item", "rating"])
        if "seconds" not in found and "pos" not in found:
            require_columns(path, list(batch.columns), ["timestamp"])
        stars, _, _ = numbers(found["rating"], len(batch.places))
        time, given, wrong = numbers(found.get("seconds", found.get("pos")), len(batch.places))
        ms = pc.multiply(time, SECOND_MS) if "seconds" in found else pc.add(pc.multiply(time, SECOND_MS), EPOCH_MS)
        unread = np.zeros(len(batch.places), bool)
        value = stars.fill_null(0).to_numpy(zero_copy_only=False)
        for reason, mask in (
            ("rating is not 0.5 to 5 stars", (value < 0.5) | (value > 5)),
            ("time is not a number", wrong | ~given),
        ):
            rows.skip(reason, batch, batch.places[mask & ~unread])
            unread |= mask
        columns = {
            "user_id": found["user"],
            "item_id": found["item"],
            "timestamp_ms": ms,
            "action": pc.binary_join_element_wise("rated", stars_text(value), "-"),
            "label": pc.greater_equal(stars, LIKED).cast(pa.float32()),
        }
        keep = pa.array(~unread)
        columns = {name: column.filter(keep) for name, column in columns.items()}
        rows.add(columns, replace(batch, columns=columns, places=batch.places[~unread]))
    return rows.finish()


def form_of(path: Path) -> tuple[str, list[str] | None]:
    """Returns the delimiter, and the columns of a file without a header."""
    line = next(text_blocks(path, quiet), b"").partition(b"\n")[0].decode(errors="replace").strip()
    if line.count("::") == 3:
        return "::", COLUMNS
    if line.count("\t") == 3:
        return "\t", COLUMNS
    if line.count(",") >= 3:
        return ",", None
    raise LogError(
        f"{path}, line 1: {line[:60]!r} is not a line of ratings.dat, u.data or ratings.csv; give one of these"
    )


def stars_text(stars: np.ndarray) -> pa.Array:
    """Returns a number of stars as text: 4 for 4.0, 3.5 for 3.5."""
    whole = pa.array(stars.astype(np.int64)).cast(pa.string())
    return pc.if_else(pa.array(stars % 1 == 0), whole, pa.array(stars).cast(pa.string()))
