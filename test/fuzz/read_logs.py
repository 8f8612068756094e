"""Reads the log files whose paths come on standard input, one a line, as training does.

Prints for each a line of JSON: the rows, or the error text. Any other failure ends the process. The surface of logs in
test/fuzz compares the answers with those of the replay.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "training"))

from data.log_file import read_table  # noqa: E402
from data.reading.errors import LogError  # noqa: E402

COLUMNS = ("user_id", "item_id", "timestamp_ms", "action", "watch_ratio")

for line in sys.stdin:
    try:
        table, _ = read_table(Path(line.rstrip("\n")), features=("watch_ratio",))
        cells = [table[name].to_pylist() if name in table.column_names else [None] * len(table) for name in COLUMNS]
        answer = {"rows": list(zip(*cells, strict=True))}
    except LogError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
