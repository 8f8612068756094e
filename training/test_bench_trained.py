"""The benchmark's bundles of a trained model."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import bench_trained
from bench_trained import KEPT, Source, write_bundles
from data.log import Columns, log_from_table
from data.log_file import read_table
from data.split import split_log
from fitting.arms import Arms
from fitting.fit import FitConfig
from models.compression import Compression
from models.config import ModelConfig
from testbed.served_bundle import ServedBundle

USERS, ITEMS = 30, 250  # more distinct tokens than the pool has slots


def small_table() -> pa.Table:
    """Returns a log in which user u has 40 + u rows, and mostly likes items by parity."""
    random = np.random.default_rng(1)
    user = np.repeat(np.arange(USERS), 40 + np.arange(USERS))
    item, time = random.integers(0, ITEMS, len(user)), random.permutation(len(user))
    like = ((item + user) % 2 == 0) ^ (random.random(len(user)) < 0.2)
    return pa.table(
        {
            "user_id": pa.array([f"u{x:02}" for x in user]),
            "item_id": pa.array([f"i{x:03}" for x in item]),
            "timestamp_ms": pa.array(1_600_000_000_000 + time),
            "action": pa.array(np.where(like, "like", "skip")),
            "label": pa.array(like.astype(np.float32)),
        }
    )


def small_source(folder: Path) -> Source:
    table = small_table()
    log = log_from_table(table, Columns())
    config = ModelConfig("target", len(log.items), len(log.actions), embedding=8, d_model=16, heads=4, hidden=8)
    fit = FitConfig(15, 1e-2, batch=256, block=16)
    compression = Compression(slots=8, user_width=0)
    arms = Arms(log, split_log(log, "position:0.2"), config, fit, fit, compression, folder)
    return Source(table, arms, "a small log", "interactions")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_trained, "HISTORY_POSITIONS", 150)
        write_bundles(small_source(folder / "checkpoints"), folder / "out")
    return folder / "out"


def test_every_bundle_is_of_the_same_full_model_and_its_manifest_has_the_quality_of_both(out: Path) -> None:
    bundles = {path.name: ServedBundle(path) for path in out.iterdir() if path.is_dir()}
    assert bundles.keys() == {"factored", "recompute_clusters", "pool", *KEPT}
    metrics = {name: bundle.manifest["training"]["metrics"] for name, bundle in bundles.items()}
    assert len({(found["fullAuc"], found["fullGauc"], found["testQueries"]) for found in metrics.values()}) == 1
    for name in ("full_fp32", "recompute"):
        assert metrics[name]["auc"] == metrics[name]["fullAuc"]
    assert 0.6 < metrics["factored"]["auc"] <= 1  # the model has learned, and the conversion has kept it
    assert {name: bundle.row_bytes() for name, bundle in bundles.items()} == {
        "factored": 2,
        "pool": 1,
        "full_fp16": 64,
        "full_fp32": 128,
        "recompute": 2,
        "recompute_clusters": 2,
    }
    assert all(bundle.manifest["maxPositions"] == bench_trained.MAX_POSITIONS for bundle in bundles.values())


def test_the_histories_are_those_of_the_longest_users_in_the_order_of_time(out: Path) -> None:
    table, _ = read_table(out / "histories.parquet")
    counts = {user.as_py(): n.as_py() for user, n in (x.values() for x in table["user_id"].value_counts())}
    assert counts == {"u29": 69, "u28": 68, "u27": 67}  # 150 or more in all
    times = table["timestamp_ms"].to_pylist()
    assert times == sorted(times)


def test_the_data_are_told_in_words(out: Path) -> None:
    about = json.loads((out / "about.json").read_text())
    assert about["trainedOn"] == "a small log: 1,635 interactions of 30 users, 250 items"
