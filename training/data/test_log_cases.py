"""The files of test/fixtures/interaction-logs: both readers of logs read them alike.

packages/interaction-log/src/log-cases.test.ts runs them with the reader of the replay.
"""

import json
from pathlib import Path

import pytest

from data.log_file import read_table
from data.reading.errors import LogError

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "interaction-logs"
CASES = json.loads((FOLDER / "cases.json").read_text())


def test_every_file_has_a_case() -> None:
    assert sorted(case["file"] for case in CASES) == sorted(
        path.name for path in FOLDER.iterdir() if path.name != "cases.json"
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
def test_a_file_gives_its_rows_or_its_error(case, monkeypatch) -> None:
    monkeypatch.chdir(FOLDER)  # errors name the file as it is given
    path, columns = Path(case["file"]), case.get("columns")
    if "error" in case:
        with pytest.raises(LogError) as refused:
            read_table(path, features=["watch_ratio"], columns=columns)
        assert str(refused.value) == case["error"]
        return
    table, report = read_table(path, features=["watch_ratio"], columns=columns)
    names = ("user_id", "item_id", "timestamp_ms", "action")
    assert [[row[name] for name in names] for row in table.to_pylist()] == [row[:4] for row in case["rows"]]
    ratios = table["watch_ratio"].to_pylist() if "watch_ratio" in table.column_names else [None] * len(table)
    assert ratios == [row[4] if row[4] is None else pytest.approx(row[4]) for row in case["rows"]]
    repeated = case.get("repeated", 0)
    assert (f"left out {repeated} rows that repeat an earlier event of the same user" in report.notes) == bool(repeated)
