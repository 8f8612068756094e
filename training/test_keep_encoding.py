"""train.py --keep-encoding: new weights that read the records of an older bundle, or a refusal before training."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bundle.encoding_id import encoding_id
from bundle.kept_bundle import read_kept_bundle
from errors import UserError
from fitting import arms as arms_module
from fitting.train_config import TrainConfig
from testbed.served_bundle import ServedBundle
from testbed.training_runs import POOL, small_train, write_log
from train import main

KINDS = {
    "factored": {"clusters": 5},
    "factored-search": {"clusters": 64, "family": "twin"},
    "factored-layers": {"clusters": 5, "family": "stca"},
    "residual": {"record": "residual", "clusters": 5, "stages": 2},
    "pool": POOL,
    "pool-int8": POOL | {"user_type": "int8"},
    "pool-float16": POOL | {"user_type": "float16", "family": "sdim"},
    "pool-separate": POOL | {"separate_routes": True},
    "pool-alone": POOL | {"user_width": 0},
}


@pytest.fixture(scope="module")
def old_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles that were trained before, by kind; each is made once."""
    return {}


def trained(kind: str, root: Path, bundles: dict[str, Path], keep: pytest.TempPathFactory) -> TrainConfig:
    """Returns the options of a bundle of this kind, and trains it into `out`."""
    config = small_train(root, comparisons=False, **KINDS[kind])
    if kind not in bundles:
        main(config)
        bundles[kind] = keep.mktemp("old") / kind
        shutil.move(config.out, bundles[kind])
    shutil.copytree(bundles[kind], config.out, dirs_exist_ok=True)
    return config


def later(config: TrainConfig, **changes) -> TrainConfig:
    """Returns the options of a training on a later log: other users, an item that is new, and one that is gone."""
    log = write_log(config.log.with_name("later.csv"), users=14, positions=30)
    lines = [line.replace(",i07,", ",brand-new,") for line in log.read_text().splitlines() if ",i09," not in line]
    log.write_text("\n".join(lines) + "\n")
    kept = {"keep_encoding": str(config.out), "out": config.out.with_name("next")}
    return replace(config, log=log, seed=5, **kept | changes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_bundle_scores_the_rows_of_the_old_one_as_pytorch_does(
    kind: str, root: Path, old_bundles: dict, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture
) -> None:
    config = trained(kind, root, old_bundles, tmp_path_factory)
    after = later(config)
    main(after)
    assert "unknown to" in capsys.readouterr().out
    old, new = ServedBundle(config.out), ServedBundle(after.out)
    assert encoding_id(old.manifest) == encoding_id(new.manifest)
    bundle_ids = [hashlib.sha256((b.folder / "bundle.json").read_bytes()).hexdigest() for b in (old, new)]
    assert bundle_ids[0] != bundle_ids[1]
    for path in ["items.json", *sorted(p.relative_to(old.folder) for p in (old.folder / "encode").iterdir())]:
        assert (old.folder / path).read_bytes() == (new.folder / path).read_bytes(), path
    cases = json.loads((new.folder / "golden" / "served.json").read_text())["cases"]
    moved = 0.0
    for case in cases:
        request = case["candidateIds"], case["candidateFeatures"], case["contextFeatures"]
        rows = old.encode(case["interactions"])
        np.testing.assert_allclose(new.rank(rows, *request), case["scores"], atol=1e-4, err_msg=case["name"])
        np.testing.assert_allclose(new.rank_kv(rows, *request), case["scores"], atol=1e-4, err_msg=case["name"])
        moved = max(moved, float(np.abs(old.rank(rows, *request) - case["scores"]).max()))
    assert moved > 0.01  # the weights are new
    assert {"i07", "i09"} <= new.items.keys() and "brand-new" not in new.items


def test_an_item_that_the_log_no_longer_has_scores_as_an_unknown_one(
    root: Path, old_bundles: dict, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = trained("factored", root, old_bundles, tmp_path_factory)
    after = later(config, tune_epochs=0.01)
    main(after)
    bundle = ServedBundle(after.out)
    history = bundle.encode([{"itemId": "i01", "action": "like", "features": {}}])
    gone, unknown, other = bundle.rank(history, ["i09", "never-seen", "i01"], {}, {})
    assert gone == pytest.approx(unknown, abs=1e-3)
    assert other != pytest.approx(unknown, abs=1e-3)


CHANGES = {
    "a longer row": ("pool", {"slots": 20}, "route_router_weight"),
    "another type of user dims": ("pool", {"user_type": "int8"}, "fields would differ"),
    "other user dims": ("pool", {"user_width": 3}, "history_user_weight"),
    "another record": ("pool", {"record": "factored", "slots": 10_000}, "event_router_weight"),
    "longer records": ("factored", {"max_positions": 60}, "maxPositions would differ.*--max-positions"),
    "another bound of a feature": (
        "factored",
        {"interaction_features": ["watch_ratio:0:2"]},
        "features would differ.*--interaction-features",
    ),
    "no feature": ("factored", {"interaction_features": []}, "features would differ"),
    "another family": ("factored", {"family": "sdim"}, "--family sdim .* of target-attention"),
    "a family that encodes with history": ("pool", {"family": "hstu"}, "--family hstu encodes behind"),
    "another width": ("pool", {"embedding": 12}, "item_table"),
    "learned routes": ("pool", {"recipe": "published"}, "--recipe published learns the routes"),
    "user dims in the last head": ("pool", {"user_form": "last_head"}, "last_head"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_would_give_rows_another_meaning_is_refused_before_training(
    change: str,
    root: Path,
    old_bundles: dict,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind, changes, problem = CHANGES[change]
    config = trained(kind, root, old_bundles, tmp_path_factory)
    monkeypatch.setattr(arms_module, "fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match=problem):
        main(later(config, **changes))
    assert not config.out.with_name("next").exists()


def test_a_log_with_an_action_that_the_bundle_does_not_know_is_refused(
    root: Path, old_bundles: dict, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = trained("factored", root, old_bundles, tmp_path_factory)
    after = later(config)
    after.log.write_text(after.log.read_text().replace(",skip,", ",share,", 1))
    with pytest.raises(UserError, match="the log has the action 'share', the bundle has like, skip"):
        main(after)


def test_a_model_with_another_catalogue_is_refused(
    root: Path, old_bundles: dict, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = trained("factored", root, old_bundles, tmp_path_factory)
    monkeypatch.setattr("bundle.kept_bundle.KeptBundle.adopt", lambda _, log: log)
    with pytest.raises(UserError, match="items would differ.*its catalogue must stay"):
        main(later(config))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: shutil.rmtree(folder), "cannot be read"),
        (lambda folder: (folder / "bundle.json").write_text("{}"), "no manifest"),
        (lambda folder: (folder / "encode" / "encode.onnx").unlink(), "cannot be read"),
        (lambda folder: (folder / "items.json").write_text('{"ids": [""]}'), "items.json is damaged"),
        (lambda folder: as_exported_before(folder), "no folder of its own"),
        (lambda folder: as_if_it_read_the_history(folder), "depend on the rows before"),
    ],
)
def test_a_bundle_whose_encoding_cannot_be_kept_is_refused_with_the_reason(
    damage, problem: str, root: Path, old_bundles: dict, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = trained("factored", root, old_bundles, tmp_path_factory)
    damage(config.out)
    with pytest.raises(UserError, match=problem):
        read_kept_bundle(config.out)


def test_the_generation_of_a_renewed_bundle_is_kept(
    root: Path, old_bundles: dict, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = trained("factored", root, old_bundles, tmp_path_factory)
    first = encoding_id(ServedBundle(config.out).manifest)
    edited(config.out, lambda manifest: manifest["record"].update(generation=2))  # as ckv bundle renew does
    after = later(config, tune_epochs=0.01)
    main(after)
    old, new = (ServedBundle(folder).manifest for folder in (config.out, after.out))
    assert new["record"]["generation"] == 2
    assert encoding_id(new) == encoding_id(old) != first


def edited(folder: Path, edit) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    edit(manifest)
    (folder / "bundle.json").write_text(json.dumps(manifest))


def as_exported_before(folder: Path) -> None:
    edited(folder, lambda manifest: manifest["graphs"]["encode"].update(file="encode.onnx"))


def as_if_it_read_the_history(folder: Path) -> None:
    more = {"name": "items", "role": "routes", "field": "item", "type": "int64", "shape": ["positions"]}
    edited(folder, lambda manifest: manifest["graphs"]["encode"]["inputs"].append(more))
