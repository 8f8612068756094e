"""The rows of training/results."""

import json
from dataclasses import asdict

from quality.protocol import DATASETS, ROOT

RESULTS = ROOT / "training" / "results"


def read_rows(name: str = "quality") -> list[dict]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def write_rows(rows: list[dict], name: str = "quality") -> None:
    RESULTS.mkdir(exist_ok=True)
    rows = sorted(
        rows, key=lambda r: [str(r.get(k)) for k in ("dataset", "family", "seed", "variant", "knob", "value")]
    )
    lines = ",\n".join(json.dumps(row) for row in rows)
    datasets = json.dumps({key: asdict(dataset) for key, dataset in DATASETS.items()})
    (RESULTS / f"{name}.json").write_text(f'{{"datasets": {datasets},\n"rows": [\n{lines}\n]}}\n')
