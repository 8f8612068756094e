from pathlib import Path

import pytest
import torch

import train

torch.set_num_threads(1)

collect_ignore = ["mutants"]  # copies that mutmut leaves


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """train.py keeps its checkpoints and locks in this folder."""
    monkeypatch.setattr(train, "ROOT", tmp_path)
    monkeypatch.setattr(train.sys, "argv", ["train.py"])
    return tmp_path
