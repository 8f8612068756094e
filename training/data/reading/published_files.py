"""Refuses the files of public data sets, and names their importer. They are not logs yet."""

import re
from collections.abc import Sequence
from pathlib import Path

from data.reading.errors import LogError

# Columns that only such files have together, the data set, the importer, and its source if it is not the file.
# packages/interaction-log/src/published-files.ts has the same.
COLUMNS = [
    (("userId", "movieId", "rating"), "MovieLens", "movielens", ""),
    (("user", "pos", "item", "rating"), "MovieLens", "movielens", ""),
    (("user_id", "video_id", "time_ms", "is_click", "long_view"), "KuaiRand", "kuairand", "FOLDER"),
    (("user_id", "history_len", "watch_seq"), "KuaiRand", "kuairand-partial", "FOLDER"),
    (("user_index", "item_index", "seq_len"), "BARS", "microvideo", "FOLDER"),
    (("impression_id", "user_id", "article_ids_inview"), "EBNeRD", "ebnerd", "FOLDER"),
]
NAMES = [  # files without a header
    (r"ratings\.dat(\.gz|\.xz)?", "MovieLens", "movielens"),
    (r"u\.data(\.gz|\.xz)?", "MovieLens", "movielens"),
    (r"behaviors\.tsv(\.gz|\.xz)?", "MIND", "mind"),
]


def refuse_published_name(path: Path) -> None:
    """Raises LogError if the name is that of a published file without a header."""
    for name, what, importer in NAMES:
        if re.fullmatch(name, path.name, re.IGNORECASE):
            raise published(path, what, importer, str(path))


def refuse_published_columns(path: Path, names: Sequence[str]) -> None:
    """Raises LogError if these are the columns of a published file."""
    for columns, what, importer, source in COLUMNS:
        if all(name in names for name in columns):
            raise published(path, what, importer, source or str(path))


def published(path: Path, what: str, importer: str, source: str) -> LogError:
    return LogError(
        f"{path}: is a file of {what}, not a log; make a log of it: "
        f".venv/bin/python training/import_log.py {importer} {source} --out log.parquet"
    )
