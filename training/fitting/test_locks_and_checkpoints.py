"""Locks end with their process, and damaged checkpoints are refused."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import train
from errors import UserError
from fitting.checkpoints import read_checkpoint, write_checkpoint
from fitting.locks import locked

HOLD = """
import sys
from pathlib import Path
from fitting.locks import locked
with locked(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    sys.stdin.read()  # until it is killed
"""


def test_a_cut_checkpoint_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "full.part"
    write_checkpoint({"step": 1}, path)
    assert read_checkpoint(path) == {"step": 1} and [p.name for p in tmp_path.iterdir()] == ["full.part"]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="full.part.*damaged.*--fresh"):
        read_checkpoint(path)


def test_a_lock_names_its_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(train.__file__).parent,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"it: already running as pid {holder.pid};"), locked(path, "it"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    finally:
        holder.kill()
        holder.communicate()
    with locked(path, "it"):
        assert path.read_text() == str(os.getpid())
    assert not path.exists()
