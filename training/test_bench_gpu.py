"""The graphs of the benchmark on a GPU, and its arms in PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import bench_gpu
from bench_gpu import TINY
from data.history import Candidates
from models.caches.history_cache import Cached
from models.compression import Compression
from testbed.random_models import random_full, sampled_model

ROOT = Path(__file__).resolve().parent.parent
FIXTURE = ROOT / "test" / "fixtures" / "gpu"
TORCH_ARMS = ROOT / "test" / "bench" / "gpu" / "torch_arms.py"
USERS, POSITIONS, COUNT = 3, 20, 5


@pytest.fixture(scope="module")
def batch() -> tuple[np.ndarray, np.ndarray]:
    """Pool rows of positions and candidates."""
    random = np.random.default_rng(1)
    return random.integers(0, TINY.slots, (USERS, POSITIONS)), random.integers(1, TINY.items, (USERS, COUNT))


@pytest.fixture(scope="module")
def wanted(batch: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The scores of the model in PyTorch, whose keys and values are the pool's rows at the routes."""
    routes, items = map(torch.from_numpy, batch)
    with torch.no_grad():
        full = random_full(TINY.target(), TINY.seed).eval()
        model = sampled_model(full, Compression(slots=TINY.slots, user_width=0), TINY.seed)
        kv = Cached(model.cache.pool_key[routes], model.cache.pool_value[routes])
        item = model.item(items)
        visible = torch.ones(USERS, COUNT, POSITIONS, dtype=torch.bool)
        attended = model.attention.long(item, kv, visible)
        none = torch.zeros(USERS, COUNT, 0)
        return torch.sigmoid(model.scorer(item, attended, Candidates(items, none, none, items))).numpy()


def test_the_fixture_has_the_graphs_that_the_command_writes(tmp_path: Path) -> None:
    bench_gpu.main(["--tiny", "--out", str(tmp_path)])
    graphs = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.onnx"))
    assert graphs == sorted(path.relative_to(FIXTURE) for path in FIXTURE.rglob("*.onnx"))
    assert json.loads((tmp_path / "about.json").read_text()) == json.loads((FIXTURE / "about.json").read_text())
    for path in graphs:
        made, kept = (declared(folder / path) for folder in (tmp_path, FIXTURE))
        assert made == kept


def declared(path: Path) -> list[list]:
    """Returns the operators of a graph, and its inputs with their shapes."""
    graph = onnx.load(path, load_external_data=False).graph
    return [[node.op_type for node in graph.node], [(x.name, str(x.type)) for x in graph.input]]


@pytest.mark.parametrize("type_", ["float32", "float16"])
def test_the_arms_score_as_the_model(batch: tuple[np.ndarray, np.ndarray], wanted: np.ndarray, type_: str) -> None:
    routes, items = batch
    places = routes + TINY.slots * (np.arange(routes.size).reshape(routes.shape) % TINY.repeats)
    route_bytes = np.stack([places % 256, places // 256], -1).astype(np.uint8)
    feeds = {"full": rows_of(routes, type_), "gathered": {"route_bytes": route_bytes}}
    for arm, given in feeds.items():
        session = onnxruntime.InferenceSession(FIXTURE / "arms" / f"{arm}_{type_}.onnx")
        (scores,) = session.run(None, {"candidate_item": items} | given)
        assert np.abs(scores.reshape(wanted.shape) - wanted).max() < (1e-5 if type_ == "float32" else 1e-3)


def rows_of(routes: np.ndarray, type_: str) -> dict[str, np.ndarray]:
    """Returns keys and values of every position, and behind them the null position's."""
    arrays = arrays_of()
    found = {}
    for part in ("key", "value"):
        rows = arrays[f"pool_{part}"][routes]
        null = np.broadcast_to(arrays[f"null_{part}"], (len(routes), 1, TINY.d_model))
        found[part] = np.concatenate([rows, null], 1).astype(type_)
    return found


def arrays_of() -> dict[str, np.ndarray]:
    content = np.fromfile(FIXTURE / "arrays.bin", np.float32)
    places = json.loads((FIXTURE / "about.json").read_text())["arrays"]
    return {name: content[x["offset"] // 4 :][: np.prod(x["shape"])].reshape(x["shape"]) for name, x in places.items()}


def ask_torch(batch: tuple[np.ndarray, np.ndarray], scores: np.ndarray) -> subprocess.CompletedProcess:
    asked = {
        "model": str(FIXTURE),
        "device": "cpu",
        "shapes": [{"users": 2, "positions": 7, "candidates": 3}],
        "repeats": {"warmUps": 0, "most": 1, "budgetMs": 0},
        "checked": {"routes": batch[0].tolist(), "items": batch[1].tolist(), "scores": scores.tolist()},
    }
    return subprocess.run([sys.executable, TORCH_ARMS], input=json.dumps(asked), capture_output=True, text=True)


def test_the_arms_in_pytorch_score_as_the_model_and_are_timed(
    batch: tuple[np.ndarray, np.ndarray], wanted: np.ndarray
) -> None:
    done = ask_torch(batch, wanted)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    kinds = [f"{kind}_{type_}" for type_ in ("float32", "float16") for kind in ("full", "resident", "gathered")]
    assert [row["arm"] for row in rows] == [*kinds, "collapsed"]
    assert all(row["p50Ms"] > 0 and row["difference"] < 1e-3 for row in rows)


def test_arms_in_pytorch_that_score_otherwise_are_refused(
    batch: tuple[np.ndarray, np.ndarray], wanted: np.ndarray
) -> None:
    done = ask_torch(batch, np.roll(wanted, 1, 0))  # of other users
    assert done.returncode == 1
    assert "full_float32: scores differ by" in done.stderr
