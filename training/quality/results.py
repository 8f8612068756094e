"""The rows of training/results: what quality.py has measured."""

import json
from dataclasses import asdict
from pathlib import Path

from errors import UserError
from quality.protocol import DATASETS, GRID, ROOT, dataset_of

RESULTS = ROOT / "training" / "results"
ORDER = (
    "dataset",
    "family",
    "seed",
    "variant",
    "knob",
    "value",
    "slots",
    "clusters",
    "size",
    "unknown",
    "encoding",
)  # of rows in a file
FORMER_NAMES = {"twin": "full", "twin_before": "full_before"}  # of variants and knobs in older results


def read_result_file(path: Path) -> dict:
    """Returns the content of a results file; without rows if there is no such file.

    Raises UserError if the rows have names that older versions gave to variants and knobs.
    """
    if not path.exists():
        return {"rows": []}
    content = json.loads(path.read_text())
    for row in content.get("rows", []):
        for key in ("variant", "knob"):
            if row.get(key) in FORMER_NAMES:
                raise UserError(
                    f"{path}: {key} {row[key]!r} is a name of an older version; "
                    f"rename it {FORMER_NAMES[row[key]]!r} in the file, or remove the file and measure again"
                )
    return content


def read_rows(name: str = "quality") -> list[dict]:
    """Returns the rows of one file: quality, knobs, structure, factored, frontier, unknown, kept or times."""
    return read_result_file(RESULTS / f"{name}.json")["rows"]


def write_rows(rows: list[dict], name: str = "quality") -> None:
    """Replaces the rows of one file, in a fixed order."""
    RESULTS.mkdir(exist_ok=True)
    rows = sorted(rows, key=lambda r: [str(r.get(k)) for k in ORDER])
    lines = ",\n".join(json.dumps(row) for row in rows)
    names = list(DATASETS | dict.fromkeys(name for name in GRID if name in {row["dataset"] for row in rows}))
    datasets = json.dumps({name: asdict(dataset_of(name)) for name in names})
    (RESULTS / f"{name}.json").write_text(f'{{"datasets": {datasets},\n"rows": [\n{lines}\n]}}\n')
