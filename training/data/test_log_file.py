"""The kinds of log files, the rows that are counted, and the files that are refused."""

import gzip
import lzma
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.log_file import read_table, write_table
from data.log_rows import SCHEMA
from data.reading.errors import LogError
from data.reading.packed_text import CHUNK_BYTES, unpacked

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
    table, _ = read_table(Path(__file__).parents[2] / "packages" / "interaction-log" / "fixtures" / "log.parquet")
    assert table.schema.remove_metadata() == a_log().schema
    assert table["timestamp_ms"].to_pylist() == a_log()["timestamp_ms"].to_pylist()


def test_bad_rows_are_left_out_on_demand_and_counted_by_reason_with_their_first_line(tmp_path):
    good = "u,i,1700000000000,like,1,0.5\n"
    lines = [",i,1700000000000,like,1,1", "u,,1700000000000,like,1,1", "u,i,1700000000000", "u,i,soon,like,1,1", ""]
    lines += ["u,i,,like,1,1", "u,,1700000000000,like,1,1"]
    path = written(tmp_path / "log.csv", HEADER + good * 9 + "\n".join(lines) + "\n" + good)
    table, report = read_table(path, skip_bad_rows=True)
    assert table.num_rows == report.rows == 10
    empty = "is empty; fill it in, or remove the row"
    assert report.skipped == {
        f"column user_id {empty}": 1,
        f"column item_id {empty}": 2,
        "has 3 cells, but the header has 6; write as many, and quote a cell that has the separator": 1,
        'column timestamp_ms is "soon", not a number; write Unix milliseconds': 1,
        f"column timestamp_ms {empty}": 1,
    }
    assert report.first[f"column item_id {empty}"] == "log.csv, line 12"
    assert f"skipped 2: column item_id {empty}, first at log.csv, line 12" in report.lines()
    with pytest.raises(LogError, match="has 6 problems"):
        read_table(path)


def test_a_log_with_more_bad_rows_than_good_ones_is_refused_also_on_demand(tmp_path):
    path = written(tmp_path / "log.csv", GOOD + "u,i,soon,like,1,\n" * 2)
    with pytest.raises(LogError, match=r"log\.csv, line 3, column timestamp_ms: is \"soon\".* \(also line 4\)"):
        read_table(path, skip_bad_rows=True)
    assert len(read_table(written(path, GOOD + "u,i,soon,like,1,\n"), skip_bad_rows=True)[0]) == 1


def test_a_named_feature_must_be_numeric_and_another_column_need_not(tmp_path):
    content = "user_id,item_id,timestamp_ms,title,hour\nu,i,1.7e12,Up,3\nu,j,1.7e12,Jaws,late\nu,j,1.7e12,,4\n"
    path = written(tmp_path / "log.csv", content)
    assert len(read_table(path)[0]) == 3
    with pytest.raises(LogError, match=r'line 3, column hour: is "late", not a number; write a number with'):
        read_table(path, features=["hour"])


def test_one_name_of_a_column_is_used_in_a_whole_file_of_json_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("data.reading.packed_text.BLOCK_BYTES", 64)  # so that the names are in several blocks
    monkeypatch.setattr("data.reading.packed_text.CHUNK_BYTES", 64)
    good = '{"userId": 7, "itemId": "i", "timestampMs": 1700000000000, "label": true}\n'
    table, _ = read_table(written(tmp_path / "log.jsonl", good * 9))
    assert table["user_id"].to_pylist() == ["7"] * 9 and table["label"].to_pylist() == [1] * 9
    with pytest.raises(LogError, match=r"line 10: has the columns userId and user_id, which both mean user_id"):
        read_table(written(tmp_path / "log.jsonl", good * 9 + good.replace("userId", "user_id")))


@pytest.mark.parametrize("block", [64, 100, 1000, 1 << 24])
def test_problems_have_the_same_lines_with_blocks_of_any_size(tmp_path, monkeypatch, block):
    monkeypatch.setattr("data.reading.packed_text.BLOCK_BYTES", block)
    monkeypatch.setattr("data.reading.packed_text.CHUNK_BYTES", block)
    rows = [f"u{i},i,{1_700_000_000_000 + i},,," for i in range(99)]
    rows[7], rows[50], rows[70], rows[98] = "u,i", 'u"x,i,,,,', "# no", "ü" * 129 + ",i,soon,,,"
    with pytest.raises(LogError) as refused:
        read_table(written(tmp_path / "log.csv", HEADER + "\n".join(rows)))
    places = [line.split(":")[0].strip() for line in str(refused.value).splitlines()[1:-1]]
    assert places == ["line 9", "line 52", "line 72", "line 100, column user_id", "line 100, column timestamp_ms"]


def test_a_line_of_more_than_a_mebibyte_is_refused(tmp_path):
    with pytest.raises(LogError, match=r"log\.csv, line 3: has more than 1,048,576 bytes"):
        read_table(written(tmp_path / "log.csv", GOOD + "u" * ((1 << 20) + 1) + "\n" + GOOD))
    longest = "u,i,1700000000000,like,1,0.5," + "x" * ((1 << 20) - 29) + "\n"
    with pytest.raises(LogError, match=r"line 3: has 7 cells, but the header has 6"):
        read_table(written(tmp_path / "log.csv", GOOD + longest + GOOD))


def test_gz_that_is_cut_anywhere_names_the_last_whole_line(tmp_path):
    text = HEADER + "".join(f"u{i * i},i{i},{1_700_000_000_000 + i * i},,,\n" for i in range(300))
    packed = gzip.compress(text.encode())
    for size in range(20, len(packed), 7):
        whole = zlib.decompressobj(31).decompress(packed[:size]).count(b"\n")
        with pytest.raises(LogError, match=rf"is cut short after line {whole}; fetch or pack it again"):
            read_table(written(tmp_path / "log.csv.gz", packed[:size]))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_small_file_is_unpacked_in_pieces_of_a_bounded_size(tmp_path, pack):
    path = written(tmp_path / "bomb", pack(bytes(1 << 24)) + pack(b"end"))
    with path.open("rb") as packed:
        sizes = [len(piece) for piece in unpacked(packed)]
    assert sum(sizes) == (1 << 24) + 3
    assert max(sizes) == CHUNK_BYTES


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
        ("log.csv.xz", lzma.compress(GOOD.encode() * 999)[:-9], r"log\.csv\.xz: is cut short after line \d+; fetch"),
        ("log.csv.xz", lzma.compress(GOOD.encode() * 999)[:99] + b"x" * 99, r"log\.csv\.xz: is damaged; fetch"),
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
    with pytest.raises(LogError, match=r"log\.parquet: is cut short or damaged after row 0"):
        read_table(written(tmp_path / "log.parquet", whole[:-20]))
    with pytest.raises(LogError, match=r"log\.parquet: is cut short or damaged after row 0"):
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
