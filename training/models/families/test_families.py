"""A family is one module and one entry of the registry: nothing else in training knows the families."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bundle.export import Export, export_bundle
from bundle.golden_drawer import Drawer, as_double, score
from models.caches.history_cache import Cached
from models.compression import Compression
from models.config import ModelConfig
from models.families.family import Attention
from models.families.one_cache import OneCacheFamily, OneCacheOracle
from models.families.registry import FAMILIES
from models.graphs.builder import Graph
from models.graphs.rows import HistoryRows, counts_of
from models.oracle import Oracle
from models.oracle_math import Vector
from testbed.built_bundles import interactions_of, request_of
from testbed.random_models import catalogue_log
from testbed.served_bundle import ServedBundle
from testbed.small_logs import planted_log, train_briefly
from testbed.small_models import compress, doubled, padded_histories, random_candidates, small_full

TRAINING = Path(__file__).parents[2]


class MeanAttention(Attention):
    """The mean of the values of all visible positions and the null position, the same for every candidate."""

    def __init__(self, c: ModelConfig):
        super().__init__()
        self.null_key = nn.Parameter(torch.zeros(c.d_model))
        self.null_value = nn.Parameter(torch.zeros(c.d_model))
        self.out = nn.Linear(c.d_model, c.embedding)

    def forward(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        weights = visible.to(kv.value.dtype)
        return self.out((weights @ kv.value + self.null_value) / (weights.sum(-1, keepdim=True) + 1))

    def write_parts(self, g: Graph, history: HistoryRows, item: str) -> list[tuple[str, Tensor]]:
        count = counts_of(g, history.rows)  # [S]
        summed = g.add("MatMul", g.add("Reshape", count, g.constant(1, -1)), history.rows.value)  # [1, D]
        total = g.add("Add", g.add("ReduceSum", count, keepdims=1), g.number(1.0))
        mean = g.add("Div", g.add("Add", summed, g.tensor("null_value", self.null_value[None])), total)
        rows = g.add("Concat", g.add("Shape", item, start=0, end=1), g.constant(1), axis=0)
        return [(g.add("Expand", mean, rows), self.out.weight)]


class MeanOracle(OneCacheOracle):
    def long(self, keys: list[Vector], values: list[Vector], item: Vector) -> Vector:
        mean = sum([*values, self.p["attention.null_value"]]) / (len(values) + 1)
        return self.p.linear("attention.out", mean)


@pytest.fixture
def mean_family(monkeypatch: pytest.MonkeyPatch) -> str:
    family = OneCacheFamily("mean", "mean", "mean", "The mean of the values", MeanAttention, MeanOracle)
    monkeypatch.setitem(FAMILIES, "mean", family)
    return "mean"


def test_a_new_entry_of_the_registry_is_trained_converted_exported_and_served(mean_family: str, tmp_path: Path) -> None:
    log = planted_log(users=10, positions=20)
    none = {"interaction_features": [], "candidate_features": [], "context_features": []}
    full = small_full(mean_family, items=len(log.items), actions=len(log.actions), **none)
    train_briefly(full, log, 1)
    model = compress(full, Compression(slots=8))
    history = padded_histories(model.config, (9, 4, 0), seed=3, tokens=5)
    candidates = random_candidates(model.config, torch.full((3, 2), 9), seed=4)
    with torch.no_grad():
        scored = doubled(model)(as_double(history), as_double(candidates))
    oracle = Oracle(model)
    expected = [[oracle.logit(history, candidates, user, place) for place in range(2)] for user in range(3)]
    np.testing.assert_allclose(scored.numpy(), expected, atol=1e-9)
    log = catalogue_log(model.config)
    log.actions = log.actions[: model.config.actions]
    export_bundle(model, log, tmp_path / "bundle", Export("mean", "none", max_positions=40))
    bundle = ServedBundle(tmp_path / "bundle")
    assert (bundle.manifest["family"], bundle.manifest["description"][:22]) == ("mean", "The mean of the values")
    draw = Drawer(model, np.random.default_rng(1))
    one = draw.history(12)
    wanted = draw.candidates(one, 5)
    fields = bundle.encode(interactions_of(log, model, one))
    request = fields, *request_of(log, model, wanted)
    padded = bundle.rank_batch([(bundle.empty(), *request[1:]), request])
    for found in (bundle.rank(*request), bundle.rank_kv(*request), padded[1]):
        np.testing.assert_allclose(found, score(model, one, wanted).numpy(), atol=1e-5)


def test_a_family_with_several_layers_has_a_default_and_the_others_have_one() -> None:
    counts = {name: (family.layers_of(0), family.layers_of(3)) for name, family in FAMILIES.items()}
    assert (counts["stca"], counts["hstu"], counts["target"][0]) == ((2, 3), (1, 3), 1)


def test_no_module_asks_for_the_class_of_a_model_an_attention_or_a_cache() -> None:
    sources = [path for path in TRAINING.rglob("*.py") if "mutants" not in path.parts]
    own = {
        node.name
        for path in sources
        if path.is_relative_to(TRAINING / "models")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    for path in sources:
        if path.name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass", "type"):
                named = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                assert not named & own, f"{path.relative_to(TRAINING)}, line {node.lineno}: asks for a class"
