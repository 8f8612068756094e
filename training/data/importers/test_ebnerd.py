"""The EBNeRD importer on files in its exact format, and on real samples if there are any."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.reading.errors import LogError
from testbed.importing import counts, rows_of, run, sample

DAY_MS = 86_400_000
START_MS = 1_684_000_000_000


def times(*ms: int) -> pa.Array:
    return pa.array([START_MS + one for one in ms], pa.timestamp("ms")).cast(pa.timestamp("us"))


def write_ebnerd(folder: Path, optional: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    ints = pa.large_list(pa.int32())
    behaviors = {
        "impression_id": pa.array([1, 2], pa.uint32()),
        "user_id": pa.array([7, 9], pa.uint32()),
        "impression_time": times(DAY_MS, 2 * DAY_MS),
        "article_ids_inview": pa.array([[100, 101], [101, 102, 103]], ints),
        "article_ids_clicked": pa.array([[101], [103, 104]], ints),
        "next_read_time": pa.array([8, None], pa.float32()),
        "next_scroll_percentage": pa.array([30, None], pa.float32()),
    }
    history = {
        "user_id": pa.array([7, 8], pa.uint32()),
        "impression_time_fixed": pa.array([times(0, 1).to_pylist(), []], pa.large_list(pa.timestamp("us"))),
        "article_id_fixed": pa.array([[90, 100], []], ints),
        "read_time_fixed": pa.array([[13, 5], []], pa.large_list(pa.float32())),
        "scroll_percentage_fixed": pa.array([[None, 44], []], pa.large_list(pa.float32())),
    }
    if not optional:
        del behaviors["next_read_time"], history["scroll_percentage_fixed"]
    pq.write_table(pa.table(behaviors), folder / "behaviors.parquet")
    pq.write_table(pa.table(history), folder / "history.parquet")
    return folder


def test_ebnerd_gives_its_history_and_every_article_in_view(tmp_path):
    articles = {"article_id": pa.array([101, 100], pa.int32()), "published_time": times(DAY_MS - 7_200_000, -3_600_000)}
    pq.write_table(pa.table(articles), tmp_path / "articles.parquet")
    table, report = run("ebnerd", write_ebnerd(tmp_path / "train"))
    names = ["user_id", "item_id", "timestamp_ms", "action", "label", "read_time_s", "scroll_percent", "article_age_h"]
    assert rows_of(table, *names) == [
        ("7", "90", START_MS, "click", None, 13, None, None),
        ("7", "100", START_MS + 1, "click", None, 5, 44, pytest.approx(1)),
        ("7", "100", START_MS + DAY_MS, "impression", 0, None, None, pytest.approx(25)),
        ("7", "101", START_MS + DAY_MS, "click", 1, 8, 30, pytest.approx(2)),
        ("9", "101", START_MS + 2 * DAY_MS, "impression", 0, None, None, pytest.approx(26)),
        ("9", "102", START_MS + 2 * DAY_MS, "impression", 0, None, None, None),
        ("9", "103", START_MS + 2 * DAY_MS, "click", 1, None, None, None),
    ]
    assert "1 clicked articles were not in view: left out" in report.notes
    assert "1 of 2 users with labels have no row before their first labelled one" in report.notes


def test_ebnerd_says_which_optional_columns_are_missing(tmp_path):
    table, report = run("ebnerd", write_ebnerd(tmp_path / "train", optional=False))
    assert {
        "behaviors.parquet has no column next_read_time: read_time_s is unknown there",
        "history.parquet has no column scroll_percentage_fixed: scroll_percent is unknown there",
        "no articles.parquet: article_age_h is unknown",
    } <= set(report.notes)
    assert table["read_time_s"].null_count == 5
    with pytest.raises(LogError, match=r"has no behaviors\.parquet; give the folder of one split"):
        run("ebnerd", tmp_path)


def test_ebnerd_real_sample():
    _, report = run("ebnerd", sample("ebnerd-test-fixture"))
    assert counts(report) == (8_303 + 10_848, 44, 3_376, 10_848, 1_047)
    assert "1,046 impressions, 8,303 events of history" in report.notes
    assert "0 of 38 users with labels have no row before their first labelled one" in report.notes
