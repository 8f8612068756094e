"""import_log.py on a small log."""

import subprocess
import sys
from pathlib import Path

from data.importers.registry import IMPORTERS
from data.log_file import read_table
from testbed.importing import written

IMPORT_LOG = Path(__file__).with_name("import_log.py")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, IMPORT_LOG, *arguments], capture_output=True, text=True)


def test_import_log_writes_a_log_or_prints_one_line_with_the_reason(tmp_path):
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
    assert failed.stderr == f"error: {tmp_path}/none.dat: does not exist; check the path\n"
    listed = command("--help").stdout
    assert all(f"  {name} " in listed for name in IMPORTERS)


def test_bad_rows_and_other_names_are_options_of_the_format_log(tmp_path):
    rows = "uid,item_id,timestamp_ms\nu,a,1700000000000\nu,b,1700000000001\nu,c,soon\n"
    source, out = str(written(tmp_path / "my.csv", rows)), str(tmp_path / "log.csv")
    assert "has no column user_id; it has uid" in command("log", source, "--out", out).stderr
    named = ("log", source, "--columns", "user_id=uid", "--out", out)
    assert 'line 4, column timestamp_ms: is "soon", not a number' in command(*named).stderr
    done = command(*named, "--skip-bad-rows")
    assert done.returncode == 0, done.stderr
    assert 'skipped 1: column timestamp_ms is "soon", not a number' in done.stdout
    assert read_table(tmp_path / "log.csv")[0]["user_id"].to_pylist() == ["u", "u"]
    for wrong in ("user_id", "user_id=", "user_id=a,user_id=b", "uid=a"):
        refused = command("log", source, "--columns", wrong, "--out", out)
        assert (refused.returncode, "argument --columns:" in refused.stderr) == (2, True)
    assert "have no meaning for the format mind" in command("mind", source, "--skip-bad-rows", "--out", out).stderr
