"""Runs importers on small files, and finds the samples of published files."""

import lzma
import os
from pathlib import Path

import pyarrow as pa
import pytest

from data.importers.registry import IMPORTERS
from data.log_rows import LogReport
from data.reading.progress import quiet

SAMPLES = Path(os.environ.get("CKV_DATA_SAMPLES", "data"))  # samples of the published files, if there are any


def run(name: str, source: Path) -> tuple[pa.Table, LogReport]:
    """Returns the log of an importer, and its report."""
    return IMPORTERS[name].read(source, quiet)


def written(path: Path, text: str) -> Path:
    """Writes a text file, packed if it ends in .xz. Returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(text.encode()) if path.suffix == ".xz" else text.encode())
    return path


def rows_of(table: pa.Table, *names: str) -> list[tuple]:
    """Returns the rows of these columns."""
    return list(zip(*(table[name].to_pylist() for name in names)))


def counts(report: LogReport) -> tuple[int, int, int, int, int]:
    """Returns the numbers of rows, users, items, labelled rows and positives."""
    return report.rows, report.users, report.items, report.labelled, report.positives


def sample(*path: str) -> Path:
    """Returns the sample at this path. Skips the test if it is not there."""
    found = SAMPLES.joinpath(*path)
    if not found.exists():
        pytest.skip(f"{found} is not there")
    return found
