"""What users share and how the pool is used, on synthetic data with a known answer and on small models."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data.split import split_log
from fitting.arms import Arms
from fitting.fit import FitConfig
from models.compression import Compression
from quality.structure import RANKS, energy_in, similarities, spread_of, structure, usage
from testbed.small_logs import planted_log
from testbed.small_models import compress, small_config, small_full


def positions(users: int, directions: torch.Tensor, seed: int) -> list[torch.Tensor]:
    """40 random positions of each user, in the space of the directions [R, D]."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(40, len(directions), generator=generator) @ directions for _ in range(users)]


def test_users_who_share_their_directions_are_alike_and_explain_each_other() -> None:
    found = spread_of(positions(12, torch.eye(64)[:8], 1), seed=1)
    assert found["rank"] == 8
    assert found["others"][RANKS.index(8)] == found["oneOther"][RANKS.index(8)] == 1
    assert found["similarity"]["users"]["mean"] == pytest.approx(1, abs=1e-3)


def test_users_with_directions_of_their_own_have_little_in_common() -> None:
    users = [positions(1, torch.eye(64)[i * 8 : i * 8 + 8], i)[0] for i in range(8)]
    found = spread_of(users, seed=1)
    assert found["own"][RANKS.index(16)] > 0.99
    assert found["oneOther"][RANKS.index(8)] < 0.1
    assert found["similarity"]["users"]["mean"] < 0.1 < found["similarity"]["mixed"]["mean"]
    assert found["similarity"]["random"]["mean"] == pytest.approx(8 / 64, abs=0.02)


def test_energy_outside_the_directions_is_not_counted() -> None:
    rows = torch.tensor([[3.0, 4.0, 0.0]])
    assert energy_in(rows, torch.eye(3)[:1]) == [0.36] * len(RANKS)
    assert energy_in(rows, torch.eye(3)) == [0.36, *[1.0] * (len(RANKS) - 1)]


def test_similarity_is_the_mean_squared_cosine_of_all_pairs() -> None:
    eye = torch.eye(20)
    found = similarities([eye[:8], eye[4:12], eye[12:20]])  # half in common, nothing, nothing
    assert found["mean"] == pytest.approx(1 / 6, abs=1e-4)


def test_usage_counts_slots_and_their_evenness() -> None:
    shared = compress(small_full("target"), Compression(slots=8)).cache
    even = usage(shared, torch.arange(4).repeat(10)[:, None].expand(-1, 2))["tied"]
    assert (even["slots"], even["used"], even["dead"]) == (8, 4, 0.5)
    assert even["entropyBits"] == 2 and even["perplexity"] == 4 and even["upTo"][-1] == 1


def trained_arms(folder: Path, family: str, tied: bool = True) -> Arms:
    log = planted_log(users=30, positions=120)
    none = {"interaction_features": [], "candidate_features": [], "context_features": []}
    config = small_config(family, items=len(log.items), actions=len(log.actions), max_positions=1000, **none)
    c = Compression(slots=16, user_width=1, tied=tied)
    brief = FitConfig(0.02, 1e-3, seed=1)
    return Arms(log, split_log(log, "position:0.1"), config, brief, brief, c, folder)


class Job:
    dataset, family, seed = "ml-1m", "hstu", 1


@pytest.mark.parametrize(("family", "tied"), [("hstu", True), ("sim", False)])
def test_a_row_has_the_lowest_and_the_highest_layer_and_repeats(tmp_path: Path, family: str, tied: bool) -> None:
    arms = trained_arms(tmp_path, family, tied)
    full = arms.full()
    arms.collective_kv(arms.converted(full), full)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    row = structure(Job(), arms)
    assert row == structure(Job(), arms) and files == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert [layer["layer"] for layer in row["layers"]] == ([0, 1] if family == "hstu" else [0])
    for layer in row["layers"]:
        assert set(layer["slots"]) == set(layer["distinct"]) == ({"tied"} if tied else {"key", "value"})
        for part in (layer["key"], layer["value"]):
            assert np.all(np.diff(part["others"]) >= 0) and part["others"][-1] > 0.99
        for counts in layer["distinct"].values():
            assert list(counts) == ["50", "100"] and 1 <= counts["50"]["mean"] <= counts["100"]["mean"] <= 16


def test_structure_refuses_a_job_that_is_not_trained(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no full and no collectivekv yet"):
        structure(Job(), trained_arms(tmp_path, "sim"))
    assert not list(tmp_path.iterdir())
