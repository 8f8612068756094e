"""The commands, end to end on small logs: a bundle from a CSV file, and rows of results from a data set."""

import json
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import arms as arms_module
import quality
import train
from arguments import DEMO, HELP, TrainConfig, parse_arguments
from cache import Compression
from errors import UserError
from record import bytes_per_position
from served_bundle import ServedBundle
from testbed import planted_log
from train import main

START = 1_600_000_000_000


def write_log(path: Path, users: int = 12, positions: int = 40) -> Path:
    """Each user likes the items of one parity."""
    random = np.random.default_rng(0)
    lines = ["user_id,item_id,timestamp_ms,action,label,watch_ratio,freshness,hour"]
    for user in range(users):
        for position in range(positions):
            item, watched, fresh = int(random.integers(1, 31)), random.random(), random.random()
            label = int(item % 2 == user % 2)
            action = "like" if label else "skip"
            cells = (f"u{user}", f"i{item:02}", START + 1000 * position, action, label)
            lines.append(",".join(map(str, (*cells, round(watched, 3), round(fresh, 3), position % 24))))
    path.write_text("\n".join(lines) + "\n")
    return path


def small_train(tmp_path: Path, **changes) -> TrainConfig:
    config = TrainConfig(
        "log",
        log=write_log(tmp_path / "log.csv"),
        name="small",
        out=tmp_path / "bundle",
        split="position:0.2",
        interaction_features=["watch_ratio"],
        candidate_features=["freshness"],
        context_features=["hour:0:24:12:period"],
        epochs=3,
        rate=2e-2,
        tune_epochs=1,
        batch=256,
        block=16,
        slots=16,
        embedding=8,
        d_model=16,
        heads=2,
        max_positions=50,
    )
    return replace(config, **changes)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(train, "ROOT", tmp_path)
    monkeypatch.setattr(train.sys, "argv", ["train.py"])
    return tmp_path


def leftovers(root: Path) -> list[Path]:
    return [path for path in (root / ".ckv").rglob("*") if path.is_file()]


ARMS = ["", "twinBeforeFineTune", "converted", "noHistory", "userDimsOnly", "twin"]


@pytest.mark.parametrize("family", ["target", "hstu"])
def test_a_log_becomes_a_bundle_with_the_figures_of_every_arm(
    family: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_train(root, family=family, layers=2)
    metrics = main(config)
    assert "small conversion: k-means for 16 slots" in capsys.readouterr().out
    assert set(metrics) == {"testQueries"} | {
        name + measure if not name else name + measure.capitalize()
        for name in ARMS
        for measure in ("auc", "gauc", "logloss")
    }
    assert metrics["testQueries"] == 12 * 8
    assert metrics["auc"] > 0.7 and metrics["twinAuc"] > 0.7 and metrics["noHistoryAuc"] < 0.65
    bundle = ServedBundle(config.out)
    assert bundle.manifest["training"] == {"command": "python training/train.py log", "metrics": metrics}
    assert (bundle.manifest["name"], bundle.manifest["maxPositions"]) == ("small", 50)
    assert bundle.manifest["actions"] == ["<unknown>", "like", "skip"] and len(bundle.items) == 31
    for case in json.loads((config.out / "golden" / "served.json").read_text())["cases"]:
        request = case["candidateIds"], case["candidateFeatures"], case["contextFeatures"]
        found = bundle.rank(bundle.encode(case["interactions"]), *request)
        np.testing.assert_allclose(found, case["scores"], atol=1e-5, err_msg=case["name"])
    assert leftovers(root) == []


def test_a_served_bundle_ranks_what_a_history_likes_first(root: Path) -> None:
    config = small_train(root, comparisons=False, epochs=12)
    main(config)
    bundle = ServedBundle(config.out)
    for parity in (0, 1):
        actions = ["like" if i % 2 == parity else "skip" for i in range(1, 21)]
        past = [{"itemId": f"i{i:02}", "action": a, "features": {}} for i, a in enumerate(actions, 1)]
        scores = bundle.rank(bundle.encode(past), [f"i{i:02}" for i in range(21, 31)], {}, {})
        liked = np.arange(21, 31) % 2 == parity
        assert scores[liked].mean() > scores[~liked].mean() + 0.1


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("step", ["small twin", "small collectivekv", "small twin-again"])
def test_the_same_command_goes_on_where_it_was_interrupted_to_the_same_bundle(
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


def test_other_settings_or_a_fresh_start_do_not_go_on_from_anothers_checkpoints(
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
        assert trained == ["small twin", "small collectivekv"]
        trained.clear()
    with pytest.raises(Interrupted):
        main(config)
    assert trained == ["small collectivekv"]


def test_the_published_recipe_and_a_model_without_user_dims_become_bundles_too(root: Path) -> None:
    metrics = main(small_train(root, recipe="published", out=root / "published", separate_routes=True))
    assert set(metrics) == {"auc", "gauc", "logloss", "testQueries"}
    assert {f["name"] for f in ServedBundle(root / "published").manifest["record"]["fields"]} == {
        "key_route",
        "value_route",
        "user_code",
    }
    metrics = main(small_train(root, user_width=0, out=root / "none"))
    assert "twinAuc" in metrics and "userDimsOnlyAuc" not in metrics
    assert [f["name"] for f in ServedBundle(root / "none").manifest["record"]["fields"]] == ["route"]


def test_figures_that_do_not_exist_are_left_out_of_the_bundle(root: Path) -> None:
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
        ({"context_features": ["freshness"]}, "freshness.*twice"),
        ({"split": "time"}, "split 'time'"),
        ({"split": "position:0.001"}, "to test on"),
        ({"history_actions": ["liked"]}, "no action liked"),
    ],
)
def test_what_could_not_become_a_bundle_is_told_before_training(changes: dict, message: str, root: Path) -> None:
    with pytest.raises(ValueError, match=message):
        main(small_train(root, **changes))
    assert leftovers(root) == []


def arguments(*given: str, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.setattr(train.sys, "argv", ["train.py", *given])
    return parse_arguments(train.__doc__)


def test_options_become_the_config_and_the_demo_has_defaults_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "log --log a.csv --name demo --family sim --epochs 0.5 --history-actions like click --separate-routes"
    config = arguments(*given.split(), "--no-comparisons", "--out", "x", monkeypatch=monkeypatch)
    assert config == TrainConfig(
        "log", Path("a.csv"), Path("x"), "demo", "sim", epochs=0.5, history_actions=["like", "click"],
        separate_routes=True, comparisons=False
    )  # fmt: skip
    demo = arguments("--seed", "3", "demo", monkeypatch=monkeypatch)
    assert demo == TrainConfig("demo", seed=3, **DEMO)
    assert arguments("demo", "--slots", "7", monkeypatch=monkeypatch).slots == 7


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


# quality.py


@pytest.fixture
def tiny_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_log(tmp_path / "tiny.csv")
    dataset = quality.Dataset("log", "tiny.csv", "position:0.2", 1, 1e-2, 1, 1e-3)
    monkeypatch.setattr(quality, "DATASETS", {"tiny": dataset, "frozen": replace(dataset, frozen=True)})
    monkeypatch.setattr(quality, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(quality, "RESULTS", tmp_path / "results")
    config = quality.model_config
    small = {"embedding": 8, "d_model": 16, "heads": 2, "hidden": 8, "max_positions": 20}
    monkeypatch.setattr(quality, "model_config", lambda *given: replace(config(*given), **small))
    return tmp_path


KEYS = {"dataset", "family", "variant", "seed", "auc", "gauc", "logloss", "bytesPerPosition", "ratio", "m", "du"} | {
    "routes",
    "trainSeconds",
    "losses",
}


@pytest.mark.parametrize("family", ["sim", "hstu"])
def test_a_job_gives_a_row_of_every_variant_with_its_figures_and_bytes(family: str, tiny_dataset: Path) -> None:
    job = quality.Job("tiny", family, 1)
    found = quality.run_job(job, tiny_dataset, Compression(slots=16, user_width=1), quality.VARIANTS)
    rows = {row["variant"]: row for row in found}
    assert set(rows) == {"twin_before", "converted", "collectivekv", "user_dims_only", "twin"}
    layers, full = (2, 2 * 2 * 16 * 4) if family == "hstu" else (1, 2 * 16 * 4)
    for variant, row in rows.items():
        assert set(row) == KEYS and (row["dataset"], row["family"], row["seed"]) == ("tiny", family, 1)
        assert 0 <= row["auc"] <= 1 and row["logloss"] > 0
        shared = variant in ("converted", "collectivekv")
        assert (row["m"], row["routes"]) == ((16, "tied") if shared else (0, "none"))
        assert row["du"] == (1 if shared or variant == "user_dims_only" else 0)
        row_bytes = {"twin": None, "twin_before": None, "user_dims_only": 2}.get(variant, 1 + 1)
        # Histories of 40 positions are kept up to max_positions.
        used = full if row_bytes is None else bytes_per_position(layers * row_bytes, [20])
        assert row["bytesPerPosition"] == pytest.approx(used, abs=0.01)
        assert row["ratio"] == pytest.approx(used / full, abs=1e-4)
    json.dumps(list(rows.values()), allow_nan=False)
    before = rows["twin_before"]["losses"]
    assert len(before) > 0 and rows["twin"]["losses"][: len(before)] == before
    assert len(rows["twin"]["losses"]) == 2 * len(before)


def test_a_job_without_history_gives_its_one_row(tiny_dataset: Path) -> None:
    (row,) = quality.run_job(quality.Job("tiny", "none", 1), tiny_dataset, Compression(slots=16), ["no_history"])
    assert set(row) == KEYS and row["variant"] == "no_history"
    assert row["bytesPerPosition"] == row["ratio"] == row["m"] == 0


def test_a_job_that_was_done_is_not_trained_again(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = quality.Job("tiny", "sim", 1)
    first = quality.run_job(job, tiny_dataset, Compression(slots=16), quality.VARIANTS)
    monkeypatch.setattr(arms_module, "fit", lambda *_: pytest.fail("trained again"))
    assert quality.run_job(job, tiny_dataset, Compression(slots=16), quality.VARIANTS) == first
    asked = ["twin", "converted"]
    found = quality.run_job(job, tiny_dataset, Compression(slots=16), asked)
    assert found == [row for variant in asked for row in first if row["variant"] == variant]


@pytest.mark.parametrize(
    ("knob", "value", "stages"),
    [
        ("slots", 8, ["converted", "tuned"]),
        ("user_width", 0, ["converted", "tuned"]),
        ("tied", False, ["converted", "tuned"]),
        ("user_form", "last_head", ["converted", "tuned"]),
        ("share", "values", ["converted", "tuned"]),
        ("recipe", "published", ["published"]),
    ],
)
@pytest.mark.parametrize("family", ["sim", "hstu"])
def test_a_knob_gives_a_row_as_converted_and_one_as_tuned(
    family: str, knob: str, value: object, stages: list[str], tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "HISTORY_LENGTHS", (5, 20, 1000))
    rows = quality.measure_knob(quality.Job("tiny", family, 1), tiny_dataset, knob, value)
    assert [row["stage"] for row in rows] == stages
    for row in rows:
        assert set(row) == KEYS - {"variant", "losses"} | {"knob", "value", "stage", "distinctSlots"}
        assert (row["knob"], row["value"]) == (knob, value)
        assert row["m"] == (8 if knob == "slots" else Compression().slots)
        assert row["du"] == (0 if knob == "user_width" else 2)
        assert row["routes"] == ("separate" if knob == "tied" else "tied")
        distinct = row["distinctSlots"]
        assert set(distinct) == {"5", "20"} and 1 <= distinct["5"] <= 5 and distinct["5"] <= distinct["20"] <= 20


@pytest.mark.parametrize("act", [lambda *a: quality.run(*a, ["twin"]), quality.knobs, quality.structures])
@pytest.mark.parametrize("name", ["foo/bar", "foo", "tiny/sim/9", "tiny/sim/one"])
def test_a_name_of_no_job_is_told_with_those_that_there_are(act, name: str, tiny_dataset: Path) -> None:
    with pytest.raises(UserError, match=f"--only {name}: .*tiny, frozen / .*sim.* / 1, 2, 3"):
        act(tiny_dataset, [name], 1)


def test_jobs_are_those_named_or_all(tiny_dataset: Path) -> None:
    assert [str(job) for job in quality.jobs_named(["tiny/sim/2", "frozen/eta/1"], ["sim", "eta"])] == [
        "frozen/eta/1",
        "tiny/sim/2",
    ]
    assert len(quality.jobs_named([], ["sim", "eta"])) == 2 * 2 * 3


def test_ctrl_c_is_left_to_the_process_that_started_the_jobs() -> None:
    with quality.worker_pool(1) as pool:
        assert pool.apply(signal.getsignal, (signal.SIGINT,)) == signal.SIG_IGN


def test_rows_that_are_measured_again_replace_the_old_ones(tiny_dataset: Path) -> None:
    rows = [{"dataset": "tiny", "family": f, "variant": v, "seed": 1} for f in ("sim", "eta") for v in ("twin", "b")]
    quality.write_rows(rows)
    assert sorted(map(str, quality.read_rows())) == sorted(map(str, rows))
    assert json.loads((tiny_dataset / "results" / "quality.json").read_text())["rows"] == quality.read_rows()


def test_a_frozen_data_sets_test_queries_see_no_tested_label(tiny_dataset: Path) -> None:
    log, split = quality.read_dataset("frozen", tiny_dataset)
    assert split.test.sum() == 12 * 8
    assert (log.query_now[split.test] == 32).all() and log.query_now[split.train].max() == 31
    open_log, _ = quality.read_dataset("tiny", tiny_dataset)
    assert open_log.query_now[split.test].max() == 39


def test_without_history_no_arm_has_any() -> None:
    log = planted_log()
    none = arms_module.without_history(log)
    assert len(none.item) == 0 and not none.query_now.any() and (none.query_label == log.query_label).all()
    assert not none.starts.any() and none.users == log.users
