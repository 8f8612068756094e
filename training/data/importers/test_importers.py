"""Every importer on files in its exact format, and on the real samples where they are."""

import lzma
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from data.importers.files import EPOCH_MS
from data.importers.mind import new_clicks
from data.importers.registry import IMPORTERS
from data.log_file import read_table
from data.log_rows import LogReport
from data.table_file import LogError, quiet

SAMPLES = Path(os.environ.get("CKV_DATA_SAMPLES", "data"))  # samples of the published files, where there are any
IMPORT_LOG = Path(__file__).parents[2] / "import_log.py"


def run(name: str, source: Path) -> tuple[pa.Table, LogReport]:
    return IMPORTERS[name].read(source, quiet)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(text.encode()) if path.suffix == ".xz" else text.encode())
    return path


def rows_of(table: pa.Table, *names: str) -> list[tuple]:
    return list(zip(*(table[name].to_pylist() for name in names)))


def counts(report: LogReport) -> tuple[int, int, int, int, int]:
    return report.rows, report.users, report.items, report.labelled, report.positives


def sample(*path: str) -> Path:
    found = SAMPLES.joinpath(*path)
    if not found.exists():
        pytest.skip(f"{found} is not there")
    return found


# BARS

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
def test_a_sample_of_bars_sees_the_clicks_that_its_seq_len_says(tmp_path, name, label):
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


def test_samples_of_bars_that_point_nowhere_are_counted(tmp_path):
    write_bars(tmp_path, "click")
    columns = {"user_index": [0, 2, 0, 0, 0], "item_index": [1, 1, 0, 100, 2], "seq_len": [0, 0, 0, 0, -1]}
    pq.write_table(pa.table(columns | {"click": [0.0] * 5}), tmp_path / "test.parquet")
    _, report = run("ebnerd-x1", tmp_path)
    assert report.skipped == {
        "user_index is no row of user_info": 1,
        "item_index is padding or no row of item_info": 2,
        "seq_len is negative or missing": 1,
    }
    assert report.first["user_index is no row of user_info"] == "test.parquet, row 2"


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
    with pytest.raises(LogError, match=r"valid\.parquet: is cut short or no Parquet file .*; fetch it again"):
        run("ebnerd-x1", tmp_path)
    (tmp_path / "item_info.parquet").unlink()
    with pytest.raises(LogError, match=r"has no item_info\.parquet; unpack the whole data set there"):
        run("ebnerd-x1", tmp_path)


# EBNeRD

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


# MovieLens


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ratings.dat", "1::50::5::978300760\n1::60::3::978302109\n2::50::4::978301968\n"),
        ("u.data", "1\t50\t5\t978300760\n1\t60\t3\t978302109\n2\t50\t4\t978301968\n"),
        (
            "ratings.csv",
            "userId,movieId,rating,timestamp\n1,50,5.0,978300760\n1,60,3.5,978302109\n2,50,4.0,978301968\n",
        ),
        ("ratings_ordered.csv.xz", "user,pos,item,rating\n1,0,50,5\n1,1,60,3\n2,0,50,4\n"),
    ],
)
def test_every_form_of_movielens_is_told_apart(tmp_path, name, text):
    table, report = run("movielens", written(tmp_path / name, text).parent)
    ms = [EPOCH_MS, EPOCH_MS + 1000, EPOCH_MS] if "pos" in text else [978_300_760_000, 978_302_109_000, 978_301_968_000]
    middle = "rated-3.5" if "3.5" in text else "rated-3"
    assert rows_of(table, "user_id", "item_id", "timestamp_ms", "action", "label") == [
        ("1", "50", ms[0], "rated-5", 1),
        ("1", "60", ms[1], middle, 0),
        ("2", "50", ms[2], "rated-4", 1),
    ]
    assert counts(report) == (3, 2, 2, 3, 2)


def test_movielens_counts_bad_ratings_and_refuses_other_files(tmp_path):
    text = (
        "1::50::5::978300760\n1::51::6::978300760\n1::52::x::978300760\n1::53::4::soon\n" + "1::54::4::978300761\n" * 4
    )
    _, report = run("movielens", written(tmp_path / "ratings.dat", text))
    assert report.skipped == {"rating is not 0.5 to 5 stars": 2, "time is no number": 1}
    assert report.first["time is no number"] == "ratings.dat, line 4"
    with pytest.raises(LogError, match=r"line 1: 'Toy Story' is no line of ratings\.dat"):
        run("movielens", written(tmp_path / "ratings.dat", "Toy Story\n"))
    with pytest.raises(LogError, match=r"has no column timestamp; it has userId, movieId, rating, tag"):
        run("movielens", written(tmp_path / "ratings.csv", "userId,movieId,rating,tag\n1,2,3,fun\n"))
    path = written(tmp_path / "ratings_ordered.csv.xz", "user,pos,item,rating\n" + "1,0,50,5\n" * 99)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(LogError, match=r"ratings_ordered\.csv\.xz: is cut short; fetch it again"):
        run("movielens", path)


@pytest.mark.parametrize(
    ("path", "rows", "users", "items", "positive"),
    [
        (("ml-1m-ordered", "ratings_ordered.csv.xz"), 1_000_209, 6_040, 3_706, 348_971 + 226_310),
        (("movielens-small", "ml-100k_u.data"), 100_000, 943, 1_682, 55_375),
        (("movielens-small", "ml-latest-small_ratings.csv"), 100_836, 610, 9_724, 48_580),
    ],
)
def test_movielens_real_samples(path, rows, users, items, positive):
    _, report = run("movielens", sample(*path))
    assert counts(report) == (rows, users, items, rows, positive)
    assert not report.skipped


# KuaiRand

KUAIRAND = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)
EXPOSURES = [  # video, time, click, like, long view, played, duration
    (11, 1_650_000_000_000, 1, 1, 1, 9_000, 6_000),
    (12, 1_650_000_001_000, 1, 0, 1, 3_000, 6_000),
    (13, 1_650_000_002_000, 1, 0, 0, 1_500, 6_000),
    (14, 1_650_000_003_000, 0, 0, 0, 0, 0),
]


def kuairand_line(video: int, time: int, click: int, like: int, long_view: int, played: int, duration: int) -> str:
    return f"7,{video},20220415,400,{time},{click},{like},0,0,0,0,{long_view},{played},{duration},0,0,0,0,1\n"


def write_kuairand(folder: Path, size: str) -> Path:
    first, second, third, fourth = (kuairand_line(*exposure) for exposure in EXPOSURES)
    written(folder / "data" / f"log_standard_4_08_to_4_21_{size}.csv", KUAIRAND + first + second)
    written(folder / "data" / f"log_standard_4_22_to_5_08_{size}.csv", KUAIRAND + third)
    written(folder / "data" / f"log_random_4_22_to_5_08_{size}.csv", KUAIRAND + fourth)
    return folder


@pytest.mark.parametrize("size", ["pure", "1k"])
def test_kuairand_names_the_strongest_action_of_an_exposure(tmp_path, size):
    table, report = run("kuairand", write_kuairand(tmp_path, size))
    assert rows_of(table, "item_id", "timestamp_ms", "action", "label", "watch_ratio") == [
        ("11", 1_650_000_000_000, "like", 1, 1),
        ("12", 1_650_000_001_000, "long_view", 1, 0.5),
        ("13", 1_650_000_002_000, "click", 1, 0.25),
        ("14", 1_650_000_003_000, "skip", 0, None),
    ]
    assert f"log_random_4_22_to_5_08_{size}.csv: 1 exposures" in report.notes


def test_kuairand_says_what_is_missing(tmp_path):
    write_kuairand(tmp_path, "pure")
    log = tmp_path / "data" / "log_random_4_22_to_5_08_pure.csv"
    written(log, "user_id,video_id,time_ms,is_click\n7,9,1650000000000,1\n")
    _, report = run("kuairand", tmp_path)
    missing = "is_like, long_view, play_time_ms, duration_ms"
    assert f"{log.name} has no column {missing}: actions or watch_ratio lack them" in report.notes
    written(log, "user_id,video_id,time_ms,long_view\n7,9,1650000000000,1\n")
    with pytest.raises(LogError, match=r"log_random_.*: has no column is_click; it has user_id, video_id"):
        run("kuairand", tmp_path)
    written(log, KUAIRAND)
    with pytest.raises(LogError, match=r"log_random_.*: has no rows"):
        run("kuairand", tmp_path)
    log.unlink()
    with pytest.raises(LogError, match=r"has no log_random_4_22_to_5_08_\*\.csv; unpack the whole data set there"):
        run("kuairand", tmp_path)


PARTIAL = (
    "user_id\tvideo_id\ttime_ms\tis_click\tis_like\tis_follow\tis_comment\tis_forward\tis_hate\tlong_view\t"
    "play_time_ms\tduration_ms\tis_rand\ttab\tauthor_id\ttag\n"
)


def test_kuairand_in_part_counts_the_times_of_its_sequences_back(tmp_path):
    sequences = "user_id\thistory_len\tlast_time_ms\twatch_seq\tlike_seq\tlong_watch_seq\n"
    sequences += "7\t9\t1650000000000\t3 4 3\t\t4\n8\t0\t\t\t\t\n9\t1\tsoon\t5\t\t\n"
    written(tmp_path / "user_sequences.tsv.xz", sequences)
    written(tmp_path / "val.tsv.xz", PARTIAL + "7\t11\t1650500000000\t1\t0\t0\t0\t0\t0\t1\t3000\t6000\t0\t1\t5\t39\n")
    written(
        tmp_path / "test.tsv.xz", PARTIAL + "8\t12\t1651500000000\t0\t0\t0\t0\t0\t0\t0\t0\t6000\t0\t1\t5\tunknown\n"
    )
    table, report = run("kuairand-partial", tmp_path)
    assert rows_of(table, "user_id", "item_id", "timestamp_ms", "action", "label", "watch_ratio") == [
        ("7", "3", 1_649_999_998_000, "exposed", None, None),
        ("7", "4", 1_649_999_999_000, "exposed", None, None),
        ("7", "3", 1_650_000_000_000, "exposed", None, None),
        ("7", "11", 1_650_500_000_000, "long_view", 1, 0.5),
        ("8", "12", 1_651_500_000_000, "skip", 0, 0),
    ]
    assert (report.skipped, report.first) == (
        {"last_time_ms is no number": 1},
        {"last_time_ms is no number": "user_sequences.tsv.xz, line 4"},
    )
    assert "1 of 2 users with labels have no row before their first labelled one" in report.notes
    (tmp_path / "val.tsv.xz").write_bytes((tmp_path / "val.tsv.xz").read_bytes()[:-9])
    with pytest.raises(LogError, match=r"val\.tsv\.xz: is cut short; fetch it again"):
        run("kuairand-partial", tmp_path)


def test_kuairand_in_part_real_sample():
    table, report = run("kuairand-partial", sample("kuairand-pure-partial"))
    assert report.labelled == 133_545 + 94_784
    assert pc.sum(pc.equal(table["action"], "exposed")).as_py() == 817_187 == report.rows - report.labelled
    assert round(report.positives / report.labelled, 3) == 0.442
    assert not report.skipped


# MIND


def mind_line(user: str, time: str, history: str, candidates: str) -> str:
    return f"1\t{user}\t11/{time}\t{history}\t{candidates}\n"


def test_mind_counts_a_history_once_however_often_it_is_listed(tmp_path):
    text = (
        mind_line("U1", "11/2019 12:00:10 AM", "N1 N2", "N3-1 N4-0")  # later than the next line
        + mind_line("U1", "10/2019 11:59:10 PM", "N1 N2", "N5-1")
        + mind_line("U1", "11/2019 12:00:13 AM", "N1 N2 N5 N3 N6 N7 N8", "N9-0")
        + mind_line("U2", "11/2019 2:14:46 PM", "", "N1-0 N2-1")
    )
    table, report = run("mind", written(tmp_path / "behaviors.tsv.xz", text).parent)
    first = 1_573_430_350_000  # 2019-11-10 23:59:10 UTC
    assert rows_of(table, "user_id", "item_id", "timestamp_ms", "action", "label") == [
        ("U1", "N3", first + 60_000, "click", 1),
        ("U1", "N4", first + 60_000, "impression", 0),
        ("U1", "N5", first, "click", 1),
        ("U1", "N9", first + 63_000, "impression", 0),
        ("U2", "N1", first + 51_336_000, "impression", 0),
        ("U2", "N2", first + 51_336_000, "click", 1),
        ("U1", "N1", first - 2_000, "click", None),
        ("U1", "N2", first - 1_000, "click", None),
        ("U1", "N6", first + 63_000 - 3 * 750, "click", None),  # between the impressions, which are 3 s apart
        ("U1", "N7", first + 63_000 - 2 * 750, "click", None),
        ("U1", "N8", first + 63_000 - 750, "click", None),
    ]
    assert {"4 impressions", "5 clicks of history"} <= set(report.notes)
    assert "1 of 2 users with labels have no row before their first labelled one" in report.notes


@pytest.mark.parametrize(
    ("known", "listed", "new"),
    [
        ("", "a b", "a b"),
        ("a b", "a b", ""),
        ("a b", "a b a", "a"),
        ("a b c", "b c d", "d"),
        ("a b a c", "b a c a", "a"),
        ("a b c", "x a b c", "x"),
        ("a b c", "b", ""),
    ],
)
def test_a_list_that_follows_another_adds_what_is_new(known, listed, new):
    assert new_clicks(known.split(), listed.split()) == new.split()


def test_mind_counts_what_it_cannot_read_and_refuses_the_test_set(tmp_path):
    good = mind_line("U1", "11/2019 2:14:46 PM", "N1", "N3-1 N4-0")
    bad = mind_line("U1", "11/2019 25:14", "N1", "N3-1") + "1\tU1\n" + good.replace("N4-0", "N4")
    _, report = run("mind", written(tmp_path / "behaviors.tsv", good * 3 + bad))
    assert report.skipped == {
        "time is not like 11/15/2019 10:22:32 AM": 1,
        "not 5 cells": 1,
        "candidate does not end in -0 or -1, as in the test set": 1,
    }
    assert report.first["not 5 cells"] == "behaviors.tsv, line 5"
    with pytest.raises(LogError, match="rows cannot be read .*candidate does not end in -0 or -1, as in the test set"):
        run("mind", written(tmp_path / "behaviors.tsv", mind_line("U1", "11/2019 2:14:46 PM", "N1", "N3 N4 N5")))
    with pytest.raises(LogError, match=r"behaviors\.tsv: is empty; "):
        run("mind", written(tmp_path / "behaviors.tsv", ""))


def test_mind_real_sample():
    table, report = run("mind", sample("mind-small-sample"))
    assert (report.users, report.labelled, report.positives) == (4_637, 189_359, 7_542)
    labelled = table.filter(pc.is_valid(table["label"]))
    assert pc.count_distinct(pa.concat_arrays(table["item_id"].chunks)).as_py() == report.items == 22_592
    assert labelled.group_by(["user_id", "timestamp_ms"]).aggregate([]).num_rows <= 5_000
    assert "5,000 impressions" in report.notes
    assert not report.skipped


# The command


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, IMPORT_LOG, *arguments], capture_output=True, text=True)


def test_the_command_writes_a_log_or_says_in_one_line_why_not(tmp_path):
    source = written(tmp_path / "ratings.dat", "1::50::5::978300760\n1::60::3::978302109\n")
    done = command("movielens", str(source), "--out", str(tmp_path / "log.csv.gz"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [
        "2 rows, 1 users, 2 items",
        "2 rows with a label, 1 of them positive (50.0%)",
    ]
    assert read_table(tmp_path / "log.csv.gz")[0].num_rows == 2
    failed = command("movielens", str(tmp_path / "none.dat"), "--out", str(tmp_path / "log.csv"))
    assert failed.returncode == command().returncode == 2
    assert failed.stderr == f"error: {tmp_path}/none.dat: is not there; check the path\n"
    listed = command("--help").stdout
    assert all(f"  {name} " in listed for name in IMPORTERS)
