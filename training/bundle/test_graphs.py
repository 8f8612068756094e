"""The graphs of every family score as PyTorch does."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from bundle.export import Export, export_bundle
from bundle.golden_drawer import Drawer, score
from bundle.graphs import check_graph
from models.compression import Compression
from models.families.target import TargetAttention
from models.graphs.builder import Graph
from testbed.built_bundles import ROUNDED, TOLERANCE, Built, K, Variant, build, export, interactions_of, request_of
from testbed.random_models import catalogue_log
from testbed.served_bundle import Fields, ServedBundle, joined
from testbed.small_models import compress, small_full


@pytest.mark.parametrize("positions", [0, 1, K - 1, K, 40, 300])
def test_both_rank_graphs_score_as_pytorch_from_fields_of_the_encode_graph(built: Built, positions: int) -> None:
    model, bundle, log = built.model, built.bundle, catalogue_log(built.model.config)
    if positions > built.variant.max_positions:
        pytest.skip("more than a record of this bundle has")
    draw = Drawer(model, np.random.default_rng(positions))
    history = draw.history(positions)
    candidates = draw.candidates(history, 12)
    expected = score(model, history, candidates).numpy()
    fields = bundle.encode(interactions_of(log, model, history))
    request = request_of(log, model, candidates)
    tolerance = ROUNDED if built.variant.kept == "float16" else TOLERANCE
    np.testing.assert_allclose(bundle.rank(fields, *request), expected, atol=tolerance)
    np.testing.assert_allclose(bundle.rank_kv(fields, *request), expected, atol=tolerance)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("family", ["sim", "twin"])
@pytest.mark.parametrize("tied", [True, False])
def test_slots_that_tie_except_for_rounding_are_kept_together_as_in_pytorch(
    family: str, tied: bool, tmp_path: Path
) -> None:
    variant = Variant(family, Compression(slots=12, tied=tied))
    model = build(variant)
    with torch.no_grad():  # all keys are one, but for a last digit
        model.cache.pool_key.copy_(model.cache.pool_key[:1] * (1 + 1e-7 * torch.arange(12)[:, None]))
    export(variant, model, tmp_path / "bundle")
    bundle, log = ServedBundle(tmp_path / "bundle"), catalogue_log(model.config)
    draw = Drawer(model, np.random.default_rng(1))
    history = draw.history(40)
    candidates = draw.candidates(history, 12)
    assert candidates.item.shape[1] == 12
    expected = score(model, history, candidates).numpy()
    fields, request = bundle.encode(interactions_of(log, model, history)), request_of(log, model, candidates)
    np.testing.assert_allclose(bundle.rank(fields, *request), expected, atol=TOLERANCE)
    np.testing.assert_allclose(bundle.rank_kv(fields, *request), expected, atol=TOLERANCE)


def test_every_graph_passes_the_checker_of_onnx_and_its_strict_shape_inference(built: Built) -> None:
    graphs = [built.bundle.folder / graph["file"] for graph in built.bundle.manifest["graphs"].values()]
    optional = {"explain", "rankBatch"} & set(built.bundle.manifest["graphs"])
    assert len(graphs) == 4 + len(optional)
    for path in graphs:
        check_graph(path)


def test_an_export_stops_at_a_graph_that_the_checker_of_onnx_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: TargetAttention, g: Graph, *_: object) -> str:
        return g.add("MatMul", "candidate_item", "no_such_value")

    monkeypatch.setattr("bundle.graphs.declare_features", lambda *_: (None, None))
    monkeypatch.setattr("bundle.graphs.batches", lambda *_: False)  # it infers shapes before the check
    monkeypatch.setattr("models.families.target.TargetAttention.write_long", wrong)
    model = compress(small_full("target"), Compression(slots=12))
    with pytest.raises(onnx.checker.ValidationError, match="no_such_value"):
        export_bundle(model, catalogue_log(model.config), tmp_path / "bundle", Export("small", "none"))
    assert not (tmp_path / "bundle").exists()


def test_interactions_have_the_same_fields_whether_encoded_at_once_or_one_by_one_after_their_history(
    built_hstu: Built,
) -> None:
    model, bundle = built_hstu.model, built_hstu.bundle
    draw = Drawer(model, np.random.default_rng(7))
    interactions = interactions_of(catalogue_log(model.config), model, draw.history(40))
    together = bundle.encode(interactions)
    for cuts in ((1,) * 40, (3, 30, 7)):
        fields, done = bundle.empty(), 0
        for count in cuts:
            fields = joined(fields, bundle.encode(interactions[done : done + count], fields))
            done += count
        assert_same(fields, together, bundle)
    alone = [bundle.encode([interaction]) for interaction in interactions]
    with pytest.raises(AssertionError):
        assert_same(joined(*alone), together, bundle)


def assert_same(found: Fields, expected: Fields, bundle: ServedBundle) -> None:
    for name, values in expected.items():
        step = max(bundle.fields[name].get("scale", [1e-3]))
        assert found[name].shape == values.shape
        assert (np.abs(found[name] - values) <= (0 if values.dtype == np.int64 else step)).all(), name


def test_only_families_with_stacked_layers_encode_with_history(built: Built) -> None:
    roles = {x["role"] for x in built.bundle.manifest["graphs"]["encode"]["inputs"]}
    assert ("routes" in roles) == (built.variant.family == "hstu" and built.model.config.layers > 1)


def test_with_tied_routes_and_a_user_head_the_rank_graph_reads_distinct_slots_only(
    built_shared: Built,
) -> None:
    built, c, config = built_shared, built_shared.variant.compression, built_shared.model.config
    inputs = built.bundle.manifest["graphs"]["rank"]["inputs"]
    collapsed = c.tied and c.user_form == "own_head" and config.family != "hstu"
    routes = [x for x in inputs if x["role"] == "routes"]
    assert any(x["role"] == "distinct_slots" and x["field"] == "route" for x in inputs) == collapsed
    if collapsed:  # of single positions, the newest of the short part at most
        assert all(x["last"] == config.recent for x in routes)
        assert len(routes) == (2 if config.family in ("sim", "sdim", "eta") else 0) / 2
        assert any(x["role"] == "distinct_slots" and x["field"] == "user_code" for x in inputs) == (
            c.user_type == "codebook" and c.user_width > 0
        )
