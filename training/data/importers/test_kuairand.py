"""The KuaiRand importer on files in its exact format, and on real samples if there are any."""

from pathlib import Path

import pyarrow.compute as pc
import pytest

from data.reading.errors import LogError
from testbed.importing import rows_of, run, sample, written

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
def test_kuairand_gives_an_exposure_its_strongest_action(tmp_path, size):
    table, report = run("kuairand", write_kuairand(tmp_path, size))
    assert rows_of(table, "item_id", "timestamp_ms", "action", "label", "watch_ratio") == [
        ("11", 1_650_000_000_000, "like", 1, 1),
        ("12", 1_650_000_001_000, "long_view", 1, 0.5),
        ("13", 1_650_000_002_000, "click", 1, 0.25),
        ("14", 1_650_000_003_000, "skip", 0, None),
    ]
    assert f"log_random_4_22_to_5_08_{size}.csv: 1 exposures" in report.notes


def test_kuairand_names_missing_files_and_columns(tmp_path):
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


def test_kuairand_in_part_counts_times_back_from_the_last_one(tmp_path):
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
        {"last_time_ms is not a number": 1},
        {"last_time_ms is not a number": "user_sequences.tsv.xz, line 4"},
    )
    assert "1 of 2 users with labels have no row before their first labelled one" in report.notes
    (tmp_path / "val.tsv.xz").write_bytes((tmp_path / "val.tsv.xz").read_bytes()[:-9])
    with pytest.raises(LogError, match=r"val\.tsv\.xz: is cut short after line 2; fetch or pack it again"):
        run("kuairand-partial", tmp_path)


def test_kuairand_in_part_real_sample():
    table, report = run("kuairand-partial", sample("kuairand-pure-partial"))
    assert report.labelled == 133_545 + 94_784
    assert pc.sum(pc.equal(table["action"], "exposed")).as_py() == 817_187 == report.rows - report.labelled
    assert round(report.positives / report.labelled, 3) == 0.442
    assert not report.skipped
