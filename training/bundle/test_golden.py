"""Golden tensors and requests repeat, and are clear of ties."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bundle.export import Export, export_bundle
from bundle.golden_drawer import Drawer
from conversion.convert import calibrate
from data.history import History
from errors import UserError
from models.compression import Compression
from testbed.built_bundles import ROUNDED, TOLERANCE, VARIANTS, Built, build
from testbed.random_models import catalogue_log, random_history
from testbed.small_models import compress, small_full


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


def test_golden_requests_repeat_from_ids_through_the_graphs(built: Built) -> None:
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


def test_golden_histories_and_candidates_are_clear_of_decisions_that_rounding_could_turn() -> None:
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


def test_user_dims_that_lie_close_together_do_not_count_as_ties() -> None:
    model = compress(small_full("target"), Compression(slots=16))
    clear = [int(Drawer(model, np.random.default_rng(1)).clear(random_history(model.config, 1, 200, 2)).sum())]
    with torch.no_grad():
        for part in model.cache.user.parameters():
            part.mul_(1e-3)
    calibrate(model, random_history(model.config, 40, 30, 1), 1)
    clear.append(int(Drawer(model, np.random.default_rng(1)).clear(random_history(model.config, 1, 200, 2)).sum()))
    assert clear[1] > clear[0] / 2 > 50


def only_items(monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """Makes one item of every `share` items clear, and no other."""
    monkeypatch.setattr(Drawer, "clear", lambda self, history: history.item[0] % share == 1)


@pytest.mark.parametrize(("share", "enough"), [(3, True), (30, False)])
def test_a_golden_history_is_drawn_again_if_too_few_positions_are_clear_and_is_shorter_after_that(
    share: int, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_items(monkeypatch, share)
    model = small_full("target", items=31, max_positions=50)
    found = Drawer(model, np.random.default_rng(1)).history(50)
    assert (found.item % share == 1).all()
    assert found.item.shape[1] == 50 if enough else 0 < found.item.shape[1] < 50
    assert found.features.shape == (1, found.item.shape[1], 1)


def test_an_export_fails_for_ties_only_if_no_position_is_clear(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
