"""The training side's claims, on a small model: `pytest training` (needs requirements.txt and pytest, no node)."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from convert import convert, kmeans, nearest_centroid
from export import export_bundle
from golden import draw_candidates, draw_history, score
from log import ACTIONS, COLUMNS, Log, read_log
from model import Candidates, CollectiveKV, History, ModelConfig, Twin
from train import TrainConfig, auc, calibrate, evaluate, fit

ITEMS = 60


def write_small_log(path: Path, users: int = 12, positions: int = 90) -> None:
    """Each user likes the items of one parity: history decides."""
    random = np.random.default_rng(0)
    lines = [",".join(COLUMNS)]
    for user in range(users):
        for position in range(positions):
            item = int(random.integers(1, ITEMS + 1))
            label = int(item % 2 == user % 2) if random.random() < 0.9 else int(random.random() < 0.5)
            action = ("click" if random.random() < 0.5 else "like") if label else "skip"
            watch = round(0.2 + 0.6 * label + 0.2 * random.random(), 3)
            lines.append(
                f"u{user},i{item:04},{position},{action},{label},{watch},{random.random():.3f},{position % 24}"
            )
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    path = tmp_path_factory.mktemp("log") / "log.csv"
    write_small_log(path)
    return read_log(path)


@pytest.fixture(scope="module")
def sample(log: Log) -> History:
    return History(*(torch.from_numpy(column)[None] for column in (log.item, log.action, log.watch_ratio)))


@pytest.fixture(scope="module")
def twin(log: Log) -> Twin:
    torch.manual_seed(0)
    twin = Twin(ModelConfig(items=len(log.items), actions=len(ACTIONS), embedding=16, d_model=32, heads=4, slots=24))
    config = TrainConfig("log", batch=16, candidates=8)
    fit(twin, log, np.arange(log.users), config, steps=120, rate=5e-3)
    return twin


@pytest.fixture(scope="module")
def model(twin: Twin, log: Log, sample: History) -> CollectiveKV:
    model = convert(twin, sample, seed=0)
    torch.nn.init.normal_(model.user_out.weight)  # so that the user head takes part in the parity checks
    torch.nn.init.normal_(model.user_null_value)
    torch.nn.init.normal_(model.user_null_key)
    calibrate(model, sample)
    return model


@pytest.fixture(scope="module")
def bundle(model: CollectiveKV, log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "small"
    export_bundle(model, log, folder, "small", 100, "none", {"auc": 0.5})
    return folder


def session(bundle: Path, graph: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(bundle / f"{graph}.onnx", providers=["CPUExecutionProvider"])


def naive_scores(model: CollectiveKV, history: History, candidates: Candidates) -> list[float]:
    """Attention over assembled keys and values, one candidate, head and position at a time."""
    p = {name: tensor.detach().double() for name, tensor in model.state_dict().items()}
    routes, user_key, user_value = model.encode(history)
    user_key, user_value = (x.detach().double() for x in model.quantise(user_key, user_value))
    keys = torch.cat([p["pool_key"][routes], p["null_key"][None]])
    values = torch.cat([p["pool_value"][routes], p["null_value"][None]])
    user_keys = torch.cat([user_key, p["user_null_key"][None]])
    user_values = torch.cat([user_value, p["user_null_value"][None]])
    width = model.config.d_model // model.config.heads
    scores = []
    for item_index, freshness, hour in zip(candidates.item, candidates.freshness.double(), candidates.hour.double()):
        item = p["item.weight"][item_index]
        query = p["query.weight"] @ item + p["query.bias"]
        attended = []
        for begin in range(0, model.config.d_model, width):
            part = slice(begin, begin + width)
            weights = torch.stack([query[part] @ key[part] / width**0.5 for key in keys]).exp()
            attended.append(sum(w * value[part] for w, value in zip(weights / weights.sum(), values)))
        query = p["user_query.weight"] @ item + p["user_query.bias"]
        weights = torch.stack([query @ key for key in user_keys]).exp()
        user = sum(w * value for w, value in zip(weights / weights.sum(), user_values))
        x = p["out.weight"] @ torch.cat(attended) + p["out.bias"] + p["user_out.weight"] @ user
        x = p["mix.weight"] @ torch.cat([x, x * item, item, freshness[None]]) + p["mix.bias"]
        angle = hour * 2 * torch.pi / 24
        x = (x + p["mix_hour.weight"] @ torch.stack([angle.sin(), angle.cos()])).relu()
        x = (p["deep.weight"] @ x + p["deep.bias"]).relu()
        scores.append(torch.sigmoid(p["score.weight"] @ x + p["score.bias"]).item())
    return scores


def test_the_log_reads_users_vocabulary_and_columns(log: Log) -> None:
    assert log.users == 12 and set(log.lengths()) == {90}
    assert log.items[0] == "" and log.items[1:] == [f"i{i:04}" for i in range(1, ITEMS + 1)]
    assert set(log.action) == {1, 2, 3}


def test_a_log_with_other_columns_or_scattered_users_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item\nu1,i1\n")
    with pytest.raises(ValueError, match="expected the columns"):
        read_log(path)
    line = "i1,0,skip,0,0.1,0.1,1"
    path.write_text("\n".join([",".join(COLUMNS), f"u1,{line}", f"u2,{line}", f"u1,{line}"]))
    with pytest.raises(ValueError, match="together"):
        read_log(path)


def test_auc_counts_ties_as_half() -> None:
    assert auc(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0, 1, 1])) == 1
    assert auc(np.array([0.5, 0.5, 0.5, 0.5]), np.array([0, 1, 0, 1])) == 0.5


def test_the_converted_router_chooses_the_nearest_centroid(twin: Twin, sample: History) -> None:
    model = convert(twin, sample, seed=0)
    s = twin.embed_history(sample)[0]
    points, pool = torch.cat([twin.key(s), twin.value(s)], 1), torch.cat([model.pool_key, model.pool_value], 1)
    half = twin.config.d_model
    scale = torch.cat([(1 / part.std(0).mean()).expand(half) for part in points.chunk(2, 1)])
    distance = torch.cdist((points * scale).double(), (pool * scale).double())
    chosen = distance.gather(1, model.encode(sample)[0][0][:, None])[:, 0]
    assert (chosen <= distance.min(1).values + 1e-5).all()


def test_a_converted_model_scores_as_its_pool_alone(twin: Twin, sample: History, log: Log) -> None:
    model = convert(twin, sample, seed=0)
    history = History(sample.item[:, :50], sample.action[:, :50], sample.watch_ratio[:, :50])
    candidates = Candidates(torch.arange(8)[None], torch.full((1, 8), 0.5), torch.full((1, 8), 7.0))
    before = model(history, candidates)
    torch.nn.init.normal_(model.user_query.weight)
    assert torch.equal(before, model(history, candidates))
    assert abs(evaluate(twin, log, np.arange(12))["auc"] - evaluate(model, log, np.arange(12))["auc"]) < 0.05


def test_kmeans_leaves_no_centroid_without_points() -> None:
    points = torch.cat([torch.zeros(50, 2), torch.randn(50, 2) + 10])
    _, nearest = nearest_centroid(points, kmeans(points, 8, 20, seed=0))
    assert len(nearest.unique()) >= 7


@pytest.mark.parametrize("positions", [0, 1, 40])
def test_collapsed_rank_equals_assembled_rank_and_the_naive_oracle(
    bundle: Path, model: CollectiveKV, positions: int
) -> None:
    random = np.random.default_rng(positions)
    history, candidates = draw_history(model, positions, random), draw_candidates(model, 9, random)
    route, key, value = (x.detach() for x in model.encode(history))
    key, value = model.quantise(key, value)
    slots, counts = route.unique(return_counts=True)
    request = {"candidate_item": candidates.item, "freshness": candidates.freshness, "hour": candidates.hour[:1]}
    collapsed = {**request, "slots": slots, "slot_counts": counts.float(), "user_key": key, "user_value": value}
    assembled = {
        **request,
        "history_key": torch.cat([model.pool_key.detach()[route], key], 1),
        "history_value": torch.cat([model.pool_value.detach()[route], value], 1),
    }
    expected = naive_scores(model, history, candidates)
    for graph, inputs in (("rank", collapsed), ("rank_kv", assembled)):
        (scores,) = session(bundle, graph).run(None, {name: x.numpy() for name, x in inputs.items()})
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(score(model, history, candidates).numpy(), expected, atol=1e-5)


def test_every_graph_repeats_its_golden_tensors(bundle: Path) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    golden = json.loads((bundle / manifest["golden"]["tensors"]).read_text())
    packed = (bundle / golden["file"]).read_bytes()

    def unpack(entry: dict) -> np.ndarray:
        assert entry["offset"] % 8 == 0
        part = packed[entry["offset"] : entry["offset"] + entry["bytes"]]
        return np.frombuffer(part, entry["type"]).reshape(entry["shape"])

    for case in golden["cases"]:
        graph = manifest["graphs"][case["graph"]]
        run = session(bundle, graph["file"].removesuffix(".onnx"))
        assert [x.name for x in run.get_inputs()] == [x["name"] for x in graph["inputs"]]
        outputs = run.run(None, {name: unpack(entry) for name, entry in case["inputs"].items()})
        for tensor, output in zip(graph["outputs"], outputs):
            expected = unpack(case["outputs"][tensor["name"]])
            np.testing.assert_allclose(output, expected, atol=1e-5, err_msg=f"{case['graph']}: {case['name']}")
    assert {case["graph"] for case in golden["cases"]} == set(manifest["graphs"])


def test_served_cases_repeat_from_ids_through_the_graphs(bundle: Path) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    item_index = {item: i for i, item in enumerate(json.loads((bundle / "items.json").read_text())["ids"])}
    action_index = {action: i for i, action in enumerate(manifest["actions"])}
    scale = {f["name"]: np.array(f["scale"], np.float32) for f in manifest["record"]["fields"] if "scale" in f}
    encode, rank = session(bundle, "encode"), session(bundle, "rank")
    cases = json.loads((bundle / "golden" / "served.json").read_text())["cases"]
    assert len(cases) >= 4 and cases[0]["interactions"] == []
    for case in cases:
        past, ids = case["interactions"], case["candidateIds"]
        inputs = {
            "item_index": np.array([item_index.get(x["itemId"], 0) for x in past], np.int64),
            "action_index": np.array([action_index.get(x["action"], 0) for x in past], np.int64),
            "watch_ratio": np.array([x["features"].get("watch_ratio", 0.5) for x in past], np.float32),
        }
        route, *user = encode.run(None, inputs)
        slots, counts = np.unique(route, return_counts=True)
        inputs = {
            "candidate_item": np.array([item_index.get(x, 0) for x in ids], np.int64),
            "freshness": np.array(case["candidateFeatures"].get("freshness", [0.5] * len(ids)), np.float32),
            "hour": np.array([case["contextFeatures"].get("hour", 12)], np.float32),
            "slots": slots.astype(np.int64),
            "slot_counts": counts.astype(np.float32),
        }
        for name, x in zip(("user_key", "user_value"), user):
            inputs[name] = np.clip(np.round(x / scale[name]), -127, 127).astype(np.int8) * scale[name]
        np.testing.assert_allclose(rank.run(None, inputs)[0], case["scores"], atol=1e-5, err_msg=case["name"])


def test_the_manifest_lists_every_file_with_its_digest(bundle: Path) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    for file in manifest["files"]:
        content = (bundle / file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    written = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {file["path"] for file in manifest["files"]} == written - {"bundle.json"}


def test_the_same_model_gives_the_same_bytes(bundle: Path, model: CollectiveKV, log: Log, tmp_path: Path) -> None:
    export_bundle(model, log, tmp_path / "again", "small", 100, "none", {"auc": 0.5})
    assert (tmp_path / "again" / "bundle.json").read_bytes() == (bundle / "bundle.json").read_bytes()
