"""The MIND importer on files in its exact format, and on real samples if there are any."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data.importers.mind import new_clicks
from data.reading.errors import LogError
from testbed.importing import rows_of, run, sample, written


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
def test_a_list_adds_its_new_entries(known, listed, new):
    assert new_clicks(known.split(), listed.split()) == new.split()


def test_mind_counts_unreadable_lines_and_refuses_the_test_set(tmp_path):
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
