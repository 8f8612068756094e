"""The kinds of log files, the rows that are counted, and the files that are refused."""

import gzip
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.log_file import read_table, write_table
from data.log_rows import SCHEMA
from data.table_file import LogError

HEADER = "user_id,item_id,timestamp_ms,action,label,watch_ratio\n"
KINDS = ["csv", "tsv", "jsonl", "parquet", "csv.gz", "csv.xz", "tsv.gz", "tsv.xz", "jsonl.gz", "jsonl.xz"]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def a_log() -> pa.Table:
    schema = pa.schema([*SCHEMA, pa.field("watch_ratio", pa.float32())])
    rows = [
        {"user_id": "u1", "item_id": 'a,"b', "timestamp_ms": 1_700_000_000_123, "action": "like", "label": 1.0},
        {"user_id": "u2", "item_id": "ø", "timestamp_ms": 1_700_000_000_001, "action": "", "watch_ratio": 0.25},
        {"user_id": "u1", "item_id": "b", "timestamp_ms": 1_600_000_000_000, "action": "skip", "label": 0.0},
    ]
    return pa.Table.from_pylist(rows, schema)


@pytest.mark.parametrize("kind", KINDS)
def test_a_written_log_is_read_again_in_the_same_order(tmp_path, kind):
    path = tmp_path / f"log.{kind}"
    write_table(a_log(), path)
    table, report = read_table(path)
    assert table.schema == a_log().schema
    assert table.to_pylist() == a_log().to_pylist()
    assert (report.rows, report.users, report.items, report.labelled, report.positives) == (3, 2, 3, 2, 1)
    assert list(tmp_path.iterdir()) == [path]


def test_the_fixture_of_the_services_is_a_log_of_ours():
    table, _ = read_table(Path(__file__).parents[2] / "packages" / "dev-stack" / "fixtures" / "log.parquet")
    assert table.schema.remove_metadata() == a_log().schema
    assert table["timestamp_ms"].to_pylist() == a_log()["timestamp_ms"].to_pylist()


def test_unreadable_rows_are_counted_by_reason_with_their_first_line(tmp_path):
    good = "u,i,1700000000000,like,1,0.5\n"
    lines = [",i,1700000000000,like,1,1", "u,,1700000000000,like,1,1", "u,i,1700000000000", "u,i,soon,like,1,1", ""]
    lines += ["u,i,,like,1,1", "u,,1700000000000,like,1,1"]
    table, report = read_table(written(tmp_path / "log.csv", HEADER + good * 9 + "\n".join(lines) + "\n" + good))
    assert table.num_rows == report.rows == 10
    assert report.skipped == {
        "not 6 cells": 1,
        "no user_id": 1,
        "no item_id": 2,
        "timestamp_ms is not a number": 1,
        "no timestamp_ms": 1,
    }
    assert report.first["no user_id"] == "log.csv, line 11"
    assert report.first["no item_id"] == "log.csv, line 12"
    assert report.first["not 6 cells"] == "log.csv, line 13"
    assert report.first["timestamp_ms is not a number"] == "log.csv, line 14"
    assert "skipped 2: no item_id, first at log.csv, line 12" in report.lines()


def test_lines_that_are_not_json_objects_are_counted(tmp_path):
    good = '{"userId": 7, "itemId": "i", "timestampMs": 1700000000000, "label": true}\n'
    table, report = read_table(written(tmp_path / "log.jsonl", good * 3 + "\n{]\n[1]\n" + good))
    assert table.to_pylist()[3] == {
        "user_id": "7",
        "item_id": "i",
        "timestamp_ms": 1_700_000_000_000,
        "action": "",
        "label": 1.0,
    }
    assert (report.skipped, report.first) == ({"not a JSON object": 2}, {"not a JSON object": "log.jsonl, line 5"})


@pytest.mark.parametrize("bad", ["[" * 100_000, '{"a": ' + "[" * 100_000, r'{"user_id": "\ud800"}', r'{"\ud800": 1}'])
def test_json_lines_that_are_nested_too_deeply_or_not_text_are_counted(tmp_path, bad):
    good = '{"user_id": "u", "item_id": "i", "timestamp_ms": 1600000000000}\n'
    table, report = read_table(written(tmp_path / "log.jsonl", good * 2 + bad + "\n" + good))
    assert (len(table), report.first) == (3, {"not a JSON object": "log.jsonl, line 3"})


def test_action_and_label_are_optional_and_a_text_column_is_not_a_feature(tmp_path):
    content = (
        "event_id,user_id,video_id,time_ms,title,hour\n1,u,i,1.7e12,Up,3\n2,u,j,1.7e12,Jaws,late\n3,u,j,1.7e12,,4\n"
    )
    table, report = read_table(written(tmp_path / "log.csv", content))
    assert table.column_names == [*SCHEMA.names, "hour"]
    assert table["hour"].to_pylist() == [3, None, 4]
    assert table["timestamp_ms"].to_pylist() == [1_700_000_000_000] * 3
    assert {
        "no column action",
        "no column label",
        "column title left out: not numeric, first 'Up' at log.csv, line 2",
    } <= set(report.notes)
    assert "1 cells of column hour are not numeric, first 'late' at log.csv, line 3: left empty" in report.notes


def test_parquet_may_have_numbers_for_ids_and_times_for_timestamps(tmp_path):
    ms = 1_700_000_000_123
    columns = {
        "user_id": pa.array([7, 8]),
        "item_id": pa.array([1, 2], pa.int32()),
        "timestamp_ms": pa.array([ms * 1000, ms * 1000], pa.timestamp("us")),
        "label": pa.array([1, float("nan")]),
        "hour": pa.array([float("nan"), 3]),
    }
    pq.write_table(pa.table(columns), tmp_path / "log.parquet", compression="zstd")
    table, _ = read_table(tmp_path / "log.parquet")
    assert table.drop_columns("action").to_pydict() == {
        "user_id": ["7", "8"],
        "item_id": ["1", "2"],
        "timestamp_ms": [ms, ms],
        "label": [1, None],
        "hour": [None, 3],
    }


def test_the_report_counts_users_without_history(tmp_path):
    rows = (
        "u,i,1700000000000,click,,\nu,i,1700000000001,click,1,\nv,i,1700000000000,click,0,\nv,i,1700000000000,click,,\n"
    )
    _, report = read_table(written(tmp_path / "log.csv", HEADER + rows))
    assert "1 of 2 users with labels have no row before their first labelled one" in report.notes


GOOD = HEADER + "u,i,1700000000000,like,1,0.5\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.csv", "", r"log\.csv: is empty; "),
        ("log.csv", HEADER, r"log\.csv: has no rows; "),
        (
            "log.csv",
            "user_id,item_id,when\nu,i,1\n",
            r"no column timestamp_ms; it has user_id, item_id, when\. Name it",
        ),
        ("log.csv", "user_id,item_id,item_id,timestamp_ms\n", r"line 1: the column 'item_id' is duplicated; rename"),
        (
            "log.csv",
            GOOD + "u,i,1700000000000,like,,1\nu,i,1700000000000,like,2,1\n",
            r"log\.csv, line 4: the label '2' is neither 0 nor 1; write 1 for the outcome to predict",
        ),
        ("log.csv", GOOD + "u,i,1700000000000,like,yes,1\n", r"line 3: the label 'yes' is neither 0 nor 1"),
        ("log.csv", GOOD + "u,i,1700000000,like,1,0.5\n", r"line 3: timestamp_ms 1700000000 is .* seconds\? Multiply"),
        (
            "log.csv",
            GOOD + "u,i,soon,like,1,\n" * 2,
            r"2 of 3 rows cannot be read .*not a number, first at log\.csv, line 3",
        ),
        ("log.csv", GOOD.encode() + b"u,\xff,1700000000000,like,1,0.5\n", r"is not UTF-8 text .*; convert the file"),
        ("log.csv", b"PAR1\x00\xff\xfe", r"log\.csv, line 1: is not text; "),
        ("log.csv.gz", gzip.compress(GOOD.encode() * 999)[:-9], r"log\.csv\.gz: is cut short; fetch it again"),
        ("log.csv.xz", lzma.compress(GOOD.encode() * 999)[:-9], r"log\.csv\.xz: is cut short; fetch it again"),
        ("log.csv.xz", GOOD, r"log\.csv\.xz: cannot be read as xz .*; fetch it again"),
        ("log.csv.gz", GOOD, r"log\.csv\.gz: cannot be read as gz .*; fetch it again"),
        ("log.parquet", GOOD, r"log\.parquet: is cut short or not a Parquet file .*; fetch it again"),
        ("log.jsonl", '{"user_id": "u"}\n', r"has no column item_id"),
        ("log.txt", GOOD, r"log\.txt: unknown kind of file; use \.csv"),
    ],
)
def test_a_file_that_cannot_become_a_log_is_refused_with_a_remedy(tmp_path, name, content, said):
    with pytest.raises(LogError, match=said):
        read_table(written(tmp_path / name, content))


def test_a_missing_file_and_a_parquet_file_cut_short_are_refused(tmp_path):
    with pytest.raises(LogError, match=r"log\.csv: does not exist; check the path"):
        read_table(tmp_path / "log.csv")
    write_table(a_log(), tmp_path / "log.parquet")
    whole = (tmp_path / "log.parquet").read_bytes()
    with pytest.raises(LogError, match=r"is cut short or not a Parquet file"):
        read_table(written(tmp_path / "log.parquet", whole[:-20]))
    with pytest.raises(LogError, match=r"log\.parquet: is damaged after row 0"):
        read_table(written(tmp_path / "log.parquet", b"PAR1" + b"\xff" * 200 + whole[204:]))


@pytest.mark.parametrize("name", ["folder.csv", "file/log.csv", "file/below/log.parquet", "full.csv", "full.parquet"])
def test_a_failed_write_is_refused_with_a_remedy_and_leaves_no_file(tmp_path, name, monkeypatch):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("kept")

    def full(table, file, *_, **__):
        (Path(file).write_text if isinstance(file, Path) else file.write)("half" if isinstance(file, Path) else b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.csv.write_csv", full)
    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(LogError, match=name.split("/")[0] + ".*; "):
        write_table(a_log(), tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder.csv"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_table_without_the_columns_of_a_log_is_not_written(tmp_path):
    with pytest.raises(LogError, match="no column label of type float"):
        write_table(a_log().drop_columns("label"), tmp_path / "log.parquet")
    with pytest.raises(LogError, match="unknown kind of file"):
        write_table(a_log(), tmp_path / "log.parquet.gz")
    assert not list(tmp_path.iterdir())
