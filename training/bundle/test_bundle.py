"""Bundles of every family: the graphs score as PyTorch does, and serve as their manifest says."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import make_fixtures
from bundle.export import Export, export_bundle
from bundle.golden_drawer import Drawer, score
from bundle.graphs import check_graph
from bundle.record import row_bytes
from conversion.convert import calibrate
from data.features import Feature
from data.history import Candidates, History
from data.log import Log
from errors import UserError
from models.compression import Compression
from models.families.target import TargetAttention
from models.graphs.builder import Graph
from models.keep_full import keep_full
from models.ranker import Ranker
from testbed.random_models import catalogue_log, random_history
from testbed.served_bundle import Fields, ServedBundle, joined
from testbed.small_models import CANDIDATE_FEATURES, CONTEXT_FEATURES, HISTORY_FEATURES, compress, small_full

K = 5  # positions that searches keep
TOLERANCE = 1e-5
ROUNDED = 1e-4  # where a last digit decides how a key or value rounds to float16


@dataclass(frozen=True)
class Variant:
    family: str
    compression: Compression
    changes: dict = field(default_factory=dict)
    max_positions: int = 300
    kept: str | None = None  # the full model itself, as a record keeps it


NO_FEATURES = {"interaction_features": [], "candidate_features": [], "context_features": []}
MANY_FEATURES = {
    "interaction_features": [*HISTORY_FEATURES, Feature("weekday", 0, 7, 3, period=True)],
    "candidate_features": [*CANDIDATE_FEATURES, Feature("age", -1, 1, 0)],
    "context_features": [*CONTEXT_FEATURES, Feature("battery", 0, 100, 50)],
}
LAST, SEPARATE = {"user_form": "last_head"}, {"tied": False}
# Every family meets tied and separate routes, both forms of user dims, and each type; not every combination.
VARIANTS = {
    "target": Variant("target", Compression(slots=12)),
    "target-int8": Variant("target", Compression(slots=12, user_type="int8"), MANY_FEATURES),
    "target-separate-last": Variant("target", Compression(slots=12, **SEPARATE, **LAST)),
    "target-none": Variant("target", Compression(slots=12, user_width=0), NO_FEATURES),
    "sim": Variant("sim", Compression(slots=12)),
    "sim-last-float16": Variant("sim", Compression(slots=12, user_type="float16", **LAST)),
    "sim-separate-none": Variant("sim", Compression(slots=12, user_width=0, **SEPARATE)),
    "sdim-float16": Variant("sdim", Compression(slots=300, user_type="float16", user_width=3)),
    "sdim-separate": Variant("sdim", Compression(slots=12, **SEPARATE)),
    "sdim-last-int8": Variant("sdim", Compression(slots=12, user_type="int8", **LAST)),
    "eta-int8": Variant("eta", Compression(slots=300, user_type="int8"), MANY_FEATURES),
    "eta-separate-last": Variant("eta", Compression(slots=12, user_type="float16", **SEPARATE, **LAST)),
    "eta-few-positions": Variant("eta", Compression(slots=12), max_positions=9),
    "twin": Variant("twin", Compression(slots=12, user_width=1)),
    "twin-separate-int8": Variant("twin", Compression(slots=12, user_type="int8", **SEPARATE)),
    "twin-last": Variant("twin", Compression(slots=12, **LAST)),
    "hstu": Variant("hstu", Compression(slots=12), {"layers": 3}),
    "hstu-separate-last-int8": Variant("hstu", Compression(slots=12, user_type="int8", **SEPARATE, **LAST)),
    "hstu-float16": Variant("hstu", Compression(slots=12, user_type="float16"), MANY_FEATURES),
    "hstu-int8": Variant("hstu", Compression(slots=300, user_type="int8")),
    "hstu-last": Variant("hstu", Compression(slots=12, **LAST)),
    "hstu-none-separate": Variant("hstu", Compression(slots=12, user_width=0, **SEPARATE), NO_FEATURES),
    "hstu-one-layer": Variant("hstu", Compression(slots=12), {"layers": 1}),
    "hstu-few-positions": Variant("hstu", Compression(slots=12), max_positions=9),
}
WHOLE = Compression()  # of a full model that is kept
FULL_FORMS = {
    "target-kept-float16": Variant("target", WHOLE, kept="float16"),
    "target-kept-float32": Variant("target", WHOLE, MANY_FEATURES, kept="float32"),
    "target-kept-interactions": Variant("target", WHOLE, MANY_FEATURES, kept="interactions"),
    "target-kept-interactions-none": Variant("target", WHOLE, NO_FEATURES, kept="interactions"),
    "sim-kept-float32": Variant("sim", WHOLE, kept="float32"),
    "sdim-kept-interactions": Variant("sdim", WHOLE, kept="interactions"),
    "eta-kept-interactions": Variant("eta", WHOLE, max_positions=9, kept="interactions"),
    "twin-kept-float32": Variant("twin", WHOLE, kept="float32"),
}
HSTU = [name for name in VARIANTS if name.startswith("hstu") and name != "hstu-one-layer"]


def build(variant: Variant) -> Ranker:
    changes = variant.changes | {"max_positions": variant.max_positions, "items": 61}
    full = small_full(variant.family, **changes)
    return keep_full(full, variant.kept) if variant.kept else compress(full, variant.compression)


def export(variant: Variant, model: Ranker, folder: Path) -> str:
    about = Export("small", "none", {"auc": 0.5}, variant.max_positions)
    return export_bundle(model, catalogue_log(model.config), folder, about)


@dataclass
class Built:
    variant: Variant
    model: Ranker
    bundle: ServedBundle
    bundle_id: str


BUILT: dict[str, Built] = {}


@pytest.fixture(params=[*VARIANTS, *FULL_FORMS])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_once(request.param, tmp_path_factory)


@pytest.fixture(params=VARIANTS)
def built_shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_once(request.param, tmp_path_factory)


@pytest.fixture(params=HSTU)
def built_hstu(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_once(request.param, tmp_path_factory)


def built_once(name: str, tmp_path_factory: pytest.TempPathFactory) -> Built:
    if name not in BUILT:
        variant = (VARIANTS | FULL_FORMS)[name]
        model, folder = build(variant), tmp_path_factory.mktemp("bundles") / name
        bundle_id = export(variant, model, folder)
        BUILT[name] = Built(variant, model, ServedBundle(folder), bundle_id)
    return BUILT[name]


def interactions_of(log: Log, model: Ranker, history: History) -> list[dict]:
    return [
        {
            "itemId": log.items[item],
            "action": log.actions[action],
            "features": {f.name: float(x) for f, x in zip(model.config.interaction_features, features)},
        }
        for item, action, features in zip(history.item[0], history.action[0], history.features[0])
    ]


def request_of(log: Log, model: Ranker, candidates: Candidates) -> tuple[list[str], dict, dict]:
    own = {f.name: candidates.features[0, :, i].tolist() for i, f in enumerate(model.config.candidate_features)}
    context = {f.name: float(candidates.context[0, 0, i]) for i, f in enumerate(model.config.context_features)}
    return [log.items[item] for item in candidates.item[0]], own, context


@pytest.mark.parametrize("positions", [0, 1, K - 1, K, 40, 300])
def test_both_rank_graphs_score_as_pytorch_from_what_the_encode_graph_gave(built: Built, positions: int) -> None:
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
def test_slots_that_tie_but_for_rounding_are_kept_together_as_in_pytorch(
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
    assert len(graphs) == 4
    for path in graphs:
        check_graph(path)


def test_an_export_stops_at_a_graph_that_the_checker_of_onnx_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: TargetAttention, g: Graph, *_: object) -> str:
        return g.add("MatMul", "candidate_item", "no_such_value")

    monkeypatch.setattr("bundle.graphs.declare_features", lambda *_: (None, None))
    monkeypatch.setattr("models.families.target.TargetAttention.write_long", wrong)
    model = compress(small_full("target"), Compression(slots=12))
    with pytest.raises(onnx.checker.ValidationError, match="no_such_value"):
        export_bundle(model, catalogue_log(model.config), tmp_path / "bundle", Export("small", "none"))
    assert not (tmp_path / "bundle").exists()


def test_every_graph_repeats_its_golden_tensors(built: Built) -> None:
    manifest, folder = built.bundle.manifest, built.bundle.folder
    golden = json.loads((folder / manifest["golden"]["tensors"]).read_text())
    packed = (folder / golden["file"]).read_bytes()

    def unpack(entry: dict) -> np.ndarray:
        assert entry["offset"] % 8 == 0
        part = packed[entry["offset"] : entry["offset"] + entry["bytes"]]
        return np.frombuffer(part, np.dtype(entry["type"]).newbyteorder("<")).reshape(entry["shape"])

    for case in golden["cases"]:
        found = built.bundle.run(case["graph"], {name: unpack(entry) for name, entry in case["inputs"].items()})
        for tensor in manifest["graphs"][case["graph"]]["outputs"]:
            expected = unpack(case["outputs"][tensor["name"]])
            assert str(expected.dtype) == tensor["type"]
            np.testing.assert_allclose(
                found[tensor["name"]], expected, atol=TOLERANCE, err_msg=f"{case['graph']}: {case['name']}"
            )
    names = {
        case["graph"]: [c["name"] for c in golden["cases"] if c["graph"] == case["graph"]] for case in golden["cases"]
    }
    assert set(names) == set(manifest["graphs"])
    assert any(name.startswith("0 positions") for name in names["rank"])
    assert any(name.startswith(f"{built.variant.max_positions} positions") for name in names["rank"])


def test_served_cases_repeat_from_ids_through_the_graphs(built: Built) -> None:
    cases = json.loads((built.bundle.folder / "golden" / "served.json").read_text())["cases"]
    assert len(cases) >= 5 and cases[0]["interactions"] == []
    for case in cases:
        assert len(case["interactions"]) <= built.variant.max_positions
        fields = built.bundle.encode(case["interactions"])
        request = case["candidateIds"], case["candidateFeatures"], case["contextFeatures"]
        for scores in (built.bundle.rank(fields, *request), built.bundle.rank_kv(fields, *request)):
            tolerance = ROUNDED if built.variant.kept == "float16" else TOLERANCE
            np.testing.assert_allclose(scores, case["scores"], atol=tolerance, err_msg=case["name"])
    said = json.dumps(cases)
    assert "not-in-the-catalogue" in said and "not-in-the-vocabulary" in said


def test_interactions_encoded_at_once_or_one_by_one_behind_their_history_are_the_same(built_hstu: Built) -> None:
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


def test_only_hstu_encodes_with_history(built: Built) -> None:
    roles = {x["role"] for x in built.bundle.manifest["graphs"]["encode"]["inputs"]}
    assert ("routes" in roles) == (built.variant.family == "hstu" and built.model.config.layers > 1)


def test_where_routes_are_tied_and_user_dims_have_a_head_the_graph_sees_distinct_slots_alone(
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


def test_the_records_rows_are_as_long_as_the_bytes_that_are_reported(built: Built) -> None:
    assert built.bundle.row_bytes() == row_bytes(built.model)


def test_the_manifest_describes_the_model(built: Built) -> None:
    manifest, config = built.bundle.manifest, built.model.config
    assert (manifest["dModel"], manifest["heads"]) == (config.d_model, config.heads)
    assert manifest["maxPositions"] == built.variant.max_positions
    assert manifest["actions"] == ["<unknown>", "skip", "click", "like"]
    assert manifest["items"]["count"] == config.items == len(built.bundle.items)
    for kind in ("interaction", "candidate", "context"):
        assert manifest["features"][kind] == [
            {"name": f.name, "default": f.default, "min": f.low, "max": f.high}
            for f in getattr(config, f"{kind}_features")
        ]


def test_the_manifest_describes_what_is_shared(built_shared: Built) -> None:
    manifest, config, c = built_shared.bundle.manifest, built_shared.model.config, built_shared.variant.compression
    fields = built_shared.bundle.fields.values()
    coded = c.user_type == "codebook" and c.user_width > 0
    layers = config.layers
    assert sum(f["kind"] == "route" for f in fields) == layers * ((1 if c.tied else 2) + coded)
    plain = [f for f in fields if f["kind"] == "user"]
    assert len(plain) == (0 if coded or not c.user_width else 2 * layers)
    assert all(f["type"] == c.user_type and f["width"] == c.user_width for f in plain)
    routes = [f for f in fields if f["kind"] == "route"]
    assert all(f["type"] == ("uint8" if f["slots"] <= 256 else "uint16") for f in routes)
    width = config.d_model - (c.user_width if c.user_form == "last_head" else 0)
    pools = [group["pool"] for group in manifest["groups"]]
    assert pools.count({"slots": c.slots, "keyWidth": width, "valueWidth": width}) == layers
    assert len(pools) == layers * (1 + coded)


def test_the_manifest_lists_every_file_with_its_digest(built: Built) -> None:
    folder = built.bundle.folder
    for file in built.bundle.manifest["files"]:
        content = (folder / file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {file["path"] for file in built.bundle.manifest["files"]} == written - {"bundle.json"}
    content = (folder / "bundle.json").read_bytes()
    assert built.bundle_id == hashlib.sha256(content).hexdigest()[:16]


def test_the_same_model_gives_the_same_bytes_in_the_place_of_what_was_there(built: Built, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "old").write_text("of another bundle")
    (tmp_path / "again" / "bundle.json").write_text("{}")
    assert export(built.variant, build(built.variant), tmp_path / "again") == built.bundle_id
    assert [path.name for path in tmp_path.iterdir()] == ["again"]
    assert not (tmp_path / "again" / "old").exists()


@pytest.mark.parametrize("family", ["target", "hstu"])
def test_a_model_that_does_not_share_both_keys_and_values_is_refused_with_the_remedy(
    family: str, tmp_path: Path
) -> None:
    full = small_full(family)
    for model in (full, *(compress(full, Compression(slots=12, share=share)) for share in ("keys", "values"))):
        with pytest.raises(ValueError, match="share='both'"):
            export_bundle(model, catalogue_log(model.config), tmp_path / "bundle", Export("small", "none"))
        assert not (tmp_path / "bundle").exists()


def test_the_fixtures_are_what_make_fixtures_writes(tmp_path: Path) -> None:
    make_fixtures.main(tmp_path)
    families = sorted(path.name for path in tmp_path.iterdir())
    assert families == sorted([*make_fixtures.VARIANTS, *make_fixtures.FULL_FORMS])
    assert families == sorted(path.name for path in make_fixtures.FOLDER.iterdir())
    for family in families:
        made, kept = (
            json.loads((folder / family / "bundle.json").read_text()) for folder in (tmp_path, make_fixtures.FOLDER)
        )
        for manifest in (made, kept):  # figures may differ from machine to machine in their last digits
            manifest["files"] = [file["path"] for file in manifest["files"]]
            for record_field in manifest["record"]["fields"]:
                record_field["scale"] = len(record_field.get("scale", []))
        assert made == kept
        names = [
            [(case["graph"], case["name"], sorted(case["inputs"])) for case in golden["cases"]]
            for golden in (
                json.loads((folder / family / "golden" / "tensors.json").read_text())
                for folder in (tmp_path, make_fixtures.FOLDER)
            )
        ]
        assert names[0] == names[1]


def test_golden_histories_and_candidates_are_clear_of_what_rounding_could_turn() -> None:
    model = build(VARIANTS["twin"])
    draw = Drawer(model, np.random.default_rng(1))
    history = draw.history(60)
    with torch.no_grad():
        routes, _ = model.cache.routes(model.embed_history(history))
        for flip in (1 - 1e-6, 1 + 1e-6):
            nudged = History(history.item, history.action, history.features * flip, history.valid)
            assert torch.equal(model.cache.routes(model.embed_history(nudged))[0], routes)
    candidates = draw.candidates(history, 30)
    assert len(candidates.item[0].unique()) == candidates.item.shape[1] >= 15
    assert (candidates.now == 60).all()


def test_user_dims_that_lie_close_together_are_not_taken_for_ties() -> None:
    model = compress(small_full("target"), Compression(slots=16))
    clear = [int(Drawer(model, np.random.default_rng(1)).clear(random_history(model.config, 1, 200, 2)).sum())]
    with torch.no_grad():
        for part in model.cache.user.parameters():
            part.mul_(1e-3)
    calibrate(model, random_history(model.config, 40, 30, 1), 1)
    clear.append(int(Drawer(model, np.random.default_rng(1)).clear(random_history(model.config, 1, 200, 2)).sum()))
    assert clear[1] > clear[0] / 2 > 50


def only_items(monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """Only each `share`th item is clear."""
    monkeypatch.setattr(Drawer, "clear", lambda self, history: history.item[0] % share == 1)


@pytest.mark.parametrize(("share", "enough"), [(3, True), (30, False)])
def test_a_golden_history_is_drawn_again_where_too_little_is_clear_and_else_shorter(
    share: int, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_items(monkeypatch, share)
    model = small_full("target", items=31, max_positions=50)
    found = Drawer(model, np.random.default_rng(1)).history(50)
    assert (found.item % share == 1).all()
    assert found.item.shape[1] == 50 if enough else 0 < found.item.shape[1] < 50
    assert found.features.shape == (1, found.item.shape[1], 1)


def test_an_export_fails_for_ties_only_where_nothing_is_clear(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = compress(small_full("target"), Compression(slots=16)).requires_grad_(False)
    log = catalogue_log(model.config)
    only_items(monkeypatch, 30)
    export_bundle(model, log, tmp_path / "bundle", Export("small", "test", {}, 40))
    cases = json.loads((tmp_path / "bundle" / "golden" / "served.json").read_text())["cases"]
    (short,) = [case for case in cases if case["name"].startswith("50 ")]
    assert short["name"].endswith(f"; {len(short['interactions'])} clear of ties")
    monkeypatch.setattr(Drawer, "clear", lambda self, history: history.item[0] < 0)
    with pytest.raises(UserError, match="none of .* golden interactions are clear"):
        export_bundle(model, log, tmp_path / "none", Export("small", "test", {}, 40))
