"""The simulated log: written by the feed simulator in node, complete or not at all."""

import shutil
import subprocess
from pathlib import Path

import pytest

from data import simulated
from data.log_file import read_table
from data.simulated import Simulation
from errors import UserError

SMALL = Simulation(users=3, positions=40, first_user=7, items=500, topics=4, repeats=0.5)
built = pytest.mark.skipif(
    not (simulated.WRITER.exists() and shutil.which("node")), reason="needs npm ci && npm run build"
)


@built
def test_a_log_has_the_users_and_positions_of_its_options_and_the_same_bytes_again(tmp_path: Path) -> None:
    first, second, other = (tmp_path / "folder" / name for name in ("first.csv", "second.csv", "other.csv"))
    SMALL.write(first)
    SMALL.write(second)
    Simulation(users=3, positions=40, first_user=7, items=500, topics=4).write(other)
    table, _ = read_table(first)
    users = table["user_id"].to_pylist()
    assert {user: users.count(user) for user in users} == dict.fromkeys(["u000007", "u000008", "u000009"], 40)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    visits = [set(zip(users, read_table(path)[0]["item_id"].to_pylist())) for path in (first, other)]
    assert len(visits[0]) < len(visits[1])  # with repeats, users meet fewer items


@built
def test_a_simulation_that_fails_leaves_no_log(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        Simulation(users=3, positions=40, items=1).write(tmp_path / "log.csv")
    assert not (tmp_path / "log.csv").exists()


def test_a_simulator_that_is_not_built_is_an_error_with_its_remedy(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(simulated, "WRITER", tmp_path / "write-log.js")
    with pytest.raises(UserError, match="write-log.js: does not exist; build .* npm run build"):
        SMALL.write(tmp_path / "log.csv")
