"""The commands, end to end on small logs: a bundle from a CSV file, and rows of results from a data set."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import train
from fitting import arms as arms_module
from fitting.command_line import HELP, parse_arguments
from fitting.train_config import DEMO, TrainConfig
from models.families.registry import FAMILIES
from testbed.served_bundle import ServedBundle
from testbed.small_logs import planted_log
from testbed.training_runs import POOL, Interrupted, leftovers, small_train
from train import main

ARMS = ["", "fullBeforeFineTune", "converted", "noHistory", "userDimsOnly", "full"]


@pytest.mark.parametrize(
    ("changes", "made", "record_fields"),
    [
        ({"clusters": 5}, "5 clusters", ["item", "event"]),
        ({"clusters": 5, "family": "stca"}, "5 clusters", ["item", "event"]),
        ({"clusters": 64, "family": "twin"}, "64 clusters", ["item", "event"]),
        (POOL, "16 slots", ["route", "user_code"]),
        (
            {"family": "hstu", "layers": 2, "slots": 16},
            "16 slots",
            ["layer0_route", "layer0_user_code", "layer1_route", "layer1_user_code"],
        ),
        (
            {"record": "residual", "clusters": 5, "stages": 2},
            "5 clusters, 2 stages of codes",
            ["stage_1", "stage_2"],
        ),
    ],
)
def test_a_log_becomes_a_bundle_with_the_figures_of_every_arm(
    changes: dict, made: str, record_fields: list[str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_train(root, **changes)
    metrics = main(config)
    assert f"small conversion: k-means for {made}" in capsys.readouterr().out
    assert set(metrics) == {"testQueries"} | {
        name + measure if not name else name + measure.capitalize()
        for name in ARMS
        for measure in ("auc", "gauc", "logloss")
    }
    assert metrics["testQueries"] == 12 * 8
    assert metrics["auc"] > 0.7 and metrics["fullAuc"] > 0.7 and metrics["noHistoryAuc"] < 0.65
    bundle = ServedBundle(config.out)
    training = bundle.manifest["training"]
    assert training.keys() == {"command", "metrics", "slotUsage"}
    assert (training["command"], training["metrics"]) == ("python training/train.py log", metrics)
    assert list(bundle.fields) == record_fields
    assert (bundle.manifest["name"], bundle.manifest["maxPositions"]) == ("small", 50)
    assert bundle.manifest["actions"] == ["<unknown>", "like", "skip"] and len(bundle.items) == 31
    for case in json.loads((config.out / "golden" / "served.json").read_text())["cases"]:
        request = case["candidateIds"], case["candidateFeatures"], case["contextFeatures"]
        found = bundle.rank(bundle.encode(case["interactions"]), *request)
        np.testing.assert_allclose(found, case["scores"], atol=1e-5, err_msg=case["name"])
    assert leftovers(root) == []


@pytest.mark.parametrize(("family", "given", "layers"), [("stca", 0, 2), ("stca", 3, 3), ("target", 0, 1)])
def test_a_model_has_the_layers_of_the_option_or_of_its_family(
    family: str, given: int, layers: int, tmp_path: Path
) -> None:
    config = small_train(tmp_path, family=family, layers=given)
    none = {kind: [] for kind in train.KINDS}
    assert train.arms_of(config, planted_log(), none).config.layers == layers


def test_a_served_bundle_ranks_items_of_the_liked_parity_first(root: Path) -> None:
    config = small_train(root, comparisons=False, epochs=12)
    main(config)
    bundle = ServedBundle(config.out)
    for parity in (0, 1):
        actions = ["like" if i % 2 == parity else "skip" for i in range(1, 21)]
        past = [{"itemId": f"i{i:02}", "action": a, "features": {}} for i, a in enumerate(actions, 1)]
        scores = bundle.rank(bundle.encode(past), [f"i{i:02}" for i in range(21, 31)], {}, {})
        liked = np.arange(21, 31) % 2 == parity
        assert scores[liked].mean() > scores[~liked].mean() + 0.1


@pytest.mark.parametrize("step", ["small full", "small collectivekv", "small full-again"])
def test_an_interrupted_command_goes_on_to_the_same_bundle(
    step: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_train(root)
    expected = main(config)
    whole = (config.out / "bundle.json").read_bytes()
    trained: list[str] = []
    fit = arms_module.fit

    def interrupted(model, log, chosen, c, name, *rest):
        if name == step:
            raise Interrupted
        trained.append(name)
        return fit(model, log, chosen, c, name, *rest)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(arms_module, "fit", interrupted)
        main(config)
    before = list(trained)
    monkeypatch.setattr(arms_module, "fit", lambda *given: (trained.append(given[4]), fit(*given))[1])
    assert main(config) == expected
    assert len(trained) == len(set(trained)) and step in trained[len(before) :]
    assert (config.out / "bundle.json").read_bytes() == whole
    assert leftovers(root) == []


def test_other_settings_and_a_fresh_start_do_not_use_the_checkpoints_of_another_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_train(root, comparisons=False)
    trained: list[str] = []
    fit = arms_module.fit

    def last_fails(model, log, chosen, c, name, *rest):
        trained.append(name)
        if name == "small collectivekv":
            raise Interrupted
        return fit(model, log, chosen, c, name, *rest)

    monkeypatch.setattr(arms_module, "fit", last_fails)
    for again in (config, replace(config, rate=1e-2), replace(config, fresh=True)):
        with pytest.raises(Interrupted):
            main(again)
        assert trained == ["small full", "small collectivekv"]
        trained.clear()
    with pytest.raises(Interrupted):
        main(config)
    assert trained == ["small collectivekv"]


def test_the_published_recipe_and_a_model_without_user_dims_become_bundles_too(root: Path) -> None:
    metrics = main(small_train(root, recipe="published", slots=16, out=root / "published", separate_routes=True))
    assert set(metrics) == {"auc", "gauc", "logloss", "testQueries"}
    assert {f["name"] for f in ServedBundle(root / "published").manifest["record"]["fields"]} == {
        "key_route",
        "value_route",
        "user_code",
    }
    metrics = main(small_train(root, user_width=0, out=root / "none", **POOL))
    assert "fullAuc" in metrics and "userDimsOnlyAuc" not in metrics
    assert [f["name"] for f in ServedBundle(root / "none").manifest["record"]["fields"]] == ["route"]


def test_undefined_figures_are_left_out_of_the_bundle(root: Path) -> None:
    """Where each user has one tested query there is no GAUC."""
    metrics = main(small_train(root, split="position:0.025", comparisons=False))
    assert "auc" in metrics and "gauc" not in metrics
    assert "NaN" not in (root / "bundle" / "bundle.json").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "My_bundle"}, "name"),
        ({"candidate_features": ["freshness:1:0"]}, "freshness:1:0"),
        ({"interaction_features": ["dwell"]}, "no column dwell"),
        ({"context_features": ["freshness"]}, "freshness.*duplicated"),
        ({"split": "time"}, "split 'time'"),
        ({"split": "position:0.001"}, "to test on"),
        ({"history_actions": ["liked"]}, "no action liked"),
    ],
)
def test_options_that_cannot_become_a_bundle_are_refused_before_training(
    changes: dict, message: str, root: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        main(small_train(root, **changes))
    assert leftovers(root) == []


def arguments(*given: str, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.setattr(train.sys, "argv", ["train.py", *given])
    return parse_arguments(train.__doc__)


def test_options_become_the_config_and_the_demo_has_its_own_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "log --log a.csv --name demo --family sim --epochs 0.5 --history-actions like click --separate-routes"
    config = arguments(*given.split(), "--no-comparisons", "--out", "x", monkeypatch=monkeypatch)
    assert config == TrainConfig(
        "log", Path("a.csv"), Path("x"), "demo", "sim", epochs=0.5, history_actions=["like", "click"],
        separate_routes=True, comparisons=False
    )  # fmt: skip
    demo = arguments("--seed", "3", "demo", monkeypatch=monkeypatch)
    assert demo == TrainConfig("demo", seed=3, **DEMO)
    assert arguments("demo", "--clusters", "7", monkeypatch=monkeypatch).clusters == 7


def test_the_record_is_factored_by_default_wherever_the_family_and_the_recipe_can_have_it(root: Path) -> None:
    for name, family in FAMILIES.items():
        assert small_train(root, family=name).chosen_record == ("factored" if family.reads_clusters else "pool")
        assert small_train(root, family=name, recipe="published").chosen_record == "pool"
        assert small_train(root, family=name, record="residual").chosen_record == "residual"
    assert any(family.reads_clusters for family in FAMILIES.values())


@pytest.mark.parametrize("command", ["train.py", "quality.py", "import_log.py"])
def test_a_command_has_help(command: str) -> None:
    folder = Path(train.__file__).parent
    done = subprocess.run([sys.executable, folder / command, "--help"], capture_output=True, text=True, check=True)
    assert command in done.stdout and "usage" in done.stdout


def test_every_option_is_explained_and_every_example_of_the_help_keeps_its_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(HELP) == {f.name for f in fields(TrainConfig)} - {"source"}
    with pytest.raises(SystemExit):
        arguments("--help", monkeypatch=monkeypatch)
    said = capsys.readouterr().out
    assert all(len(line) <= 120 for line in said.splitlines()) and "price:0:500:20 \\\n" in said
    assert all(form in said for form in ("position:SHARE", "time:SHARE", "users:SHARE", "NAME[:LOW:HIGH"))


def test_without_history_a_log_has_queries_and_no_positions() -> None:
    log = planted_log()
    none = arms_module.without_history(log)
    assert len(none.item) == 0 and not none.query_now.any() and (none.query_label == log.query_label).all()
    assert not none.starts.any() and none.users == log.users
