"""The BARS importer on files in its exact format, and on real samples if there are any."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.importers.files import EPOCH_MS
from data.reading.errors import LogError
from testbed.importing import counts, rows_of, run

SEQUENCES = [[11, 12, 13, 14, 15], [21, 0, 23]]
SAMPLES_OF = {  # user_index, item_index, seq_len, clicked
    "train": [(0, 11, 0, 1), (0, 91, 0, 0), (0, 13, 1, 1), (0, 12, 1, 1), (1, 92, 3, 0)],
    "valid": [(0, 93, 3, 0), (0, 93, 3, 1)],
    "test": [(0, 15, 4, 1), (1, 24, 3, 1)],
}


def write_bars(folder: Path, label: str) -> Path:
    for name, rows in SAMPLES_OF.items():
        user, item, seq_len, clicked = zip(*rows)
        columns = {"user_index": user, "item_index": item, "seq_len": seq_len}
        ints = {name: pa.array(values, pa.int64()) for name, values in columns.items()}
        pq.write_table(
            pa.table({**ints, label: pa.array(map(float, clicked), pa.float64())}), folder / f"{name}.parquet"
        )
    sequences = pa.array(SEQUENCES, pa.list_(pa.int64()))
    pq.write_table(pa.table({"full_item_seq": sequences}), folder / "user_info.parquet")
    items = {"item_index": pa.array(range(100)), "item_id": pa.array(i % 7 for i in range(100))}
    pq.write_table(pa.table(items), folder / "item_info.parquet")
    return folder


@pytest.mark.parametrize(
    ("name", "label"), [("microvideo", "is_click"), ("kuaivideo", "is_click"), ("ebnerd-x1", "click")]
)
def test_a_sample_of_bars_sees_the_first_seq_len_clicks(tmp_path, name, label):
    table, report = run(name, write_bars(tmp_path, label))
    clicks = sorted(
        (user, time, int(item))
        for user, time, item, action in rows_of(table, "user_id", "timestamp_ms", "item_id", "action")
        if action == "click"
    )
    for user, item, seq_len, _ in (sample for rows in SAMPLES_OF.values() for sample in rows):
        now = EPOCH_MS + seq_len * 1000 - 500
        assert (str(user), str(item), now) in rows_of(table, "user_id", "item_id", "timestamp_ms")
        seen = [clicked for who, time, clicked in clicks if who == str(user) and time < now and clicked != 93]
        assert sorted(seen) == sorted(i for i in SEQUENCES[user][:seq_len] if i)
    # 4 clicked samples are entries; 93 and 24 are not
    assert counts(report) == (9 + 7 - 4, 2, 11, 9, 6)
    assert "4 of 6 clicked samples are entries of full_item_seq: one row each" in report.notes
    assert "1 entries of full_item_seq are padding: left out" in report.notes
    assert "test.parquet: 2 samples" in report.notes
    assert set(rows_of(table, "action", "label")) == {("click", None), ("click", 1), ("impression", 0)}


def test_bars_counts_samples_that_point_to_no_row(tmp_path):
    write_bars(tmp_path, "click")
    columns = {"user_index": [0, 2, 0, 0, 0], "item_index": [1, 1, 0, 100, 2], "seq_len": [0, 0, 0, 0, -1]}
    pq.write_table(pa.table(columns | {"click": [0.0] * 5}), tmp_path / "test.parquet")
    _, report = run("ebnerd-x1", tmp_path)
    assert report.skipped == {
        "user_index is not a row of user_info": 1,
        "item_index is padding or not a row of item_info": 2,
        "seq_len is negative or missing": 1,
    }
    assert report.first["user_index is not a row of user_info"] == "test.parquet, row 2"


def test_bars_names_the_file_that_is_missing_or_damaged(tmp_path):
    write_bars(tmp_path, "click")
    with pytest.raises(LogError, match=r"train\.parquet: has no column is_click; it has user_index, .*this format\?"):
        run("kuaivideo", tmp_path)
    pq.write_table(pa.table({"full_item_seq": ["1^2"]}), tmp_path / "user_info.parquet")
    with pytest.raises(LogError, match=r"user_info\.parquet: column full_item_seq is string, not lists"):
        run("ebnerd-x1", tmp_path)
    whole = (tmp_path / "valid.parquet").read_bytes()
    (tmp_path / "valid.parquet").write_bytes(whole[: len(whole) // 2])
    write_info = pa.table({"full_item_seq": pa.array(SEQUENCES)})
    pq.write_table(write_info, tmp_path / "user_info.parquet")
    with pytest.raises(LogError, match=r"valid\.parquet: is cut short or not a Parquet file .*; fetch it again"):
        run("ebnerd-x1", tmp_path)
    (tmp_path / "item_info.parquet").unlink()
    with pytest.raises(LogError, match=r"has no item_info\.parquet; unpack the whole data set there"):
        run("ebnerd-x1", tmp_path)
