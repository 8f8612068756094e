"""A small data set that the tests of this folder measure."""

from dataclasses import replace
from pathlib import Path

import pytest

from quality import protocol, results
from testbed.training_runs import write_log


@pytest.fixture
def tiny_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_log(tmp_path / "tiny.csv")
    dataset = protocol.Dataset("log", "tiny.csv", "position:0.2", 1, 1e-2, 1, 1e-3)
    frozen, timed = replace(dataset, frozen=True), replace(dataset, features=protocol.TIME_FEATURES)
    for known in (protocol.DATASETS, protocol.GRID):
        for name in list(known):
            monkeypatch.delitem(known, name)
        monkeypatch.setitem(known, "tiny", dataset)
        monkeypatch.setitem(known, "frozen", frozen)
    monkeypatch.setitem(protocol.GRID, "tiny-hours", timed)
    monkeypatch.setattr(protocol, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    config = protocol.model_config
    small = {"embedding": 8, "d_model": 16, "heads": 2, "hidden": 8, "max_positions": 20}
    monkeypatch.setattr(protocol, "model_config", lambda *given: replace(config(*given), **small))
    return tmp_path
