"""The MovieLens importer on files in its exact format, and on real samples if there are any."""

import pytest

from data.importers.files import EPOCH_MS
from data.reading.errors import LogError
from testbed.importing import counts, rows_of, run, sample, written


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
def test_movielens_recognises_every_form(tmp_path, name, text):
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
    assert report.skipped == {"rating is not 0.5 to 5 stars": 2, "time is not a number": 1}
    assert report.first["time is not a number"] == "ratings.dat, line 4"
    with pytest.raises(LogError, match=r"line 1: 'Toy Story' is not a line of ratings\.dat"):
        run("movielens", written(tmp_path / "ratings.dat", "Toy Story\n"))
    with pytest.raises(LogError, match=r"has no column timestamp; it has userId, movieId, rating, tag"):
        run("movielens", written(tmp_path / "ratings.csv", "userId,movieId,rating,tag\n1,2,3,fun\n"))
    path = written(tmp_path / "ratings_ordered.csv.xz", "user,pos,item,rating\n" + "1,0,50,5\n" * 99)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(LogError, match=r"ordered\.csv\.xz: is cut short after line 100; fetch or pack it again"):
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
