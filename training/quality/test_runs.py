"""Jobs of quality.py on a small data set: rows of results for every arm and knob."""

import json
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bundle.record_bytes import bytes_per_position
from conversion.sample import sample_history
from errors import UserError
from fitting import arms as arms_module
from models.compression import Compression
from models.families import registry
from quality import factored, knobs, measure, protocol, results, runs, times
from quality.report.page import read_results
from testbed.training_runs import START

KEYS = {"dataset", "family", "variant", "seed", "auc", "gauc", "logloss", "bytesPerPosition", "ratio", "m", "du"} | {
    "routes",
    "trainSeconds",
    "losses",
}


@pytest.mark.parametrize("family", ["sim", "hstu"])
def test_a_job_gives_a_row_of_every_variant_with_its_figures_and_bytes(family: str, tiny_dataset: Path) -> None:
    job = protocol.Job("tiny", family, 1)
    found = measure.run_job(job, tiny_dataset, Compression(slots=16, user_width=1), protocol.VARIANTS)
    rows = {row["variant"]: row for row in found}
    assert set(rows) == {"full_before", "converted", "collectivekv", "user_dims_only", "full"}
    layers, full = (2, 2 * 2 * 16 * 4) if family == "hstu" else (1, 2 * 16 * 4)
    for variant, row in rows.items():
        assert set(row) == KEYS and (row["dataset"], row["family"], row["seed"]) == ("tiny", family, 1)
        assert 0 <= row["auc"] <= 1 and row["logloss"] > 0
        shared = variant in ("converted", "collectivekv")
        assert (row["m"], row["routes"]) == ((16, "tied") if shared else (0, "none"))
        assert row["du"] == (1 if shared or variant == "user_dims_only" else 0)
        row_bytes = {"full": None, "full_before": None, "user_dims_only": 2}.get(variant, 1 + 1)
        # Histories of 40 positions are kept up to max_positions.
        used = full if row_bytes is None else bytes_per_position(layers * row_bytes, [20])
        assert row["bytesPerPosition"] == pytest.approx(used, abs=0.01)
        assert row["ratio"] == pytest.approx(used / full, abs=1e-4)
    json.dumps(list(rows.values()), allow_nan=False)
    before = rows["full_before"]["losses"]
    assert len(before) > 0 and rows["full"]["losses"][: len(before)] == before
    assert len(rows["full"]["losses"]) == 2 * len(before)


def test_the_job_without_history_gives_one_row(tiny_dataset: Path) -> None:
    (row,) = measure.run_job(protocol.Job("tiny", "none", 1), tiny_dataset, Compression(slots=16), ["no_history"])
    assert set(row) == KEYS and row["variant"] == "no_history"
    assert row["bytesPerPosition"] == row["ratio"] == row["m"] == 0


def test_a_job_that_was_done_is_not_trained_again(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = protocol.Job("tiny", "sim", 1)
    first = measure.run_job(job, tiny_dataset, Compression(slots=16), protocol.VARIANTS)
    monkeypatch.setattr(arms_module, "fit", lambda *_: pytest.fail("trained again"))
    assert measure.run_job(job, tiny_dataset, Compression(slots=16), protocol.VARIANTS) == first
    asked = ["full", "converted"]
    found = measure.run_job(job, tiny_dataset, Compression(slots=16), asked)
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
    monkeypatch.setattr(knobs, "HISTORY_LENGTHS", (5, 20, 1000))
    rows = knobs.measure_knob(protocol.Job("tiny", family, 1), tiny_dataset, knob, value)
    assert [row["stage"] for row in rows] == stages
    for row in rows:
        assert set(row) == KEYS - {"variant", "losses"} | {"knob", "value", "stage", "distinctSlots"}
        assert (row["knob"], row["value"]) == (knob, value)
        assert row["m"] == (8 if knob == "slots" else Compression().slots)
        assert row["du"] == (0 if knob == "user_width" else 2)
        assert row["routes"] == ("separate" if knob == "tied" else "tied")
        distinct = row["distinctSlots"]
        assert set(distinct) == {"5", "20"} and 1 <= distinct["5"] <= 5 and distinct["5"] <= distinct["20"] <= 20


@pytest.mark.parametrize("act", [lambda *a: runs.run(*a, ["full"]), runs.knobs, runs.structures])
@pytest.mark.parametrize("name", ["foo/bar", "foo", "tiny/sim/9", "tiny/sim/one"])
def test_an_unknown_job_is_refused_with_the_known_ones(act, name: str, tiny_dataset: Path) -> None:
    with pytest.raises(UserError, match=f"--only {name}: .*tiny, frozen / .*sim.* / 1, 2, 3"):
        act(tiny_dataset, [name], 1)


SWEEP = [("pool", 4, 0), ("pool", 300, 0), ("factored", 0, 6), ("factored", 0, 256)]


@pytest.mark.parametrize(
    ("name", "family", "seed", "arms"),
    [
        ("tiny", "target", 1, SWEEP),
        ("tiny-hours", "target", 1, SWEEP),
        ("tiny", "target", 2, SWEEP[1::2]),
        ("tiny-hours", "hstu", 1, SWEEP[1:2]),
        ("tiny", "sdim", 1, [("factored", 0, 9), SWEEP[-1]]),
        ("tiny-hours", "stca", 1, SWEEP[3:]),
    ],
)
def test_records_are_measured_beside_the_full_model(
    name: str, family: str, seed: int, arms: list, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factored, "POOLS", {"target": [4]})
    monkeypatch.setattr(factored, "CLUSTER_COUNTS", {"target": [6], "sdim": [9]})
    monkeypatch.setattr(factored, "compression", lambda _: Compression(slots=300))
    monkeypatch.setattr(factored, "LONG", 20)
    monkeypatch.setattr(sample_history, "__defaults__", (3, *sample_history.__defaults__[1:]))  # 3 users
    full, *rows = factored.measure_factored(protocol.Job(name, family, seed), tiny_dataset)
    log, split = protocol.read_dataset(name, tiny_dataset)
    assert full["variant"] == "full"
    wanted = [(variant, slots or len(log.items), clusters) for variant, slots, clusters in arms]
    assert [(row["variant"], row["slots"], row["clusters"]) for row in rows] == wanted
    tokens = [(item, action, *values) for item, action, values in zip(log.item, log.action, log.features.tolist())]
    sample = sample_history(log, split.train, seed, users=3)
    columns = (sample.item[sample.valid], sample.action[sample.valid], sample.features[sample.valid])
    sampled = {(item, action, *values) for item, action, values in zip(*(column.tolist() for column in columns))}
    for row in (full, *rows):
        assert (row["dataset"], row["family"], row["seed"], row["tokens"]) == (name, family, seed, len(set(tokens)))
        assert row["sampleTokens"] == len(sampled) < len(set(tokens))
        assert row["coveredShare"] == round(np.mean([token in sampled for token in tokens]), 4) < 1
        assert (row["users"], row["positions"], row["items"]) == (12, 480, len(set(log.item.tolist())))
        assert (row["trainQueries"], row["testQueries"]) == (int(split.train.sum()), 12 * 8)
        assert 0 <= row["auc"] <= 1
    layers = 2 if family in ("hstu", "stca") else 1
    assert full["bytesPerPosition"] == full["fullBytes"] == layers * 2 * 16 * 4
    for row in rows:
        # A route and a code; a uint16 route and a code; the item and the event.
        width = (1 if family == "stca" else layers) * (3 if row["slots"] == 300 else 2)
        assert row["bytesPerPosition"] == row["bytesAt1000"] == round(bytes_per_position(width, [20]), 2)
        if row["variant"] == "factored":
            codes = row["eventCodes"]
            assert codes == len({token[1:] for token in tokens})
            assert row["tableBytes"] == 4 * 8 * (len(log.items) + 2 * codes)
            assert row["itemClusters"] * row["eventClusters"] <= row["clusters"]
        else:
            assert row["tableBytes"] >= 4 * layers * 2 * 16 * row["slots"]
    json.dumps([full, *rows], allow_nan=False)


@pytest.mark.parametrize("family", ["target", "hstu"])
def test_trainings_and_conversions_are_timed_with_checkpoints_of_their_own(family: str, tiny_dataset: Path) -> None:
    job = protocol.Job("tiny", family, 1)
    factored.measure_factored(job, tiny_dataset)  # its training may have been on another device
    (row,) = times.measure_times(job, tiny_dataset)
    assert (row["dataset"], row["family"], row["seed"]) == ("tiny", family, 1)
    assert row["trainSeconds"] > 0 and row["conversionSeconds"] > 0
    assert (protocol.CHECKPOINTS / "times" / "tiny" / family / "1" / "full.pt").exists()


def test_small_samples_have_jobs_of_one_family_only(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factored, "SAMPLES", ("frozen",))
    assert {job.family for job in factored.grid_jobs() if job.dataset == "frozen"} == {"target"}


def test_the_jobs_of_one_family_come_first_and_the_others_seed_by_seed(tiny_dataset: Path) -> None:
    jobs = factored.grid_jobs()
    first = [job for job in jobs if job.family == "target"]
    assert jobs[: len(first)] == first and [job.seed for job in first] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    rest = [job.seed for job in jobs[len(first) :]]
    assert rest == sorted(rest) and {job.family for job in jobs} == set(registry.FAMILIES)


def test_positions_of_a_timed_data_set_have_the_hour_and_the_weekday(tiny_dataset: Path) -> None:
    plain, _ = protocol.read_dataset("tiny", tiny_dataset)
    timed, _ = protocol.read_dataset("tiny-hours", tiny_dataset)
    assert plain.features.shape == (480, 0) and timed.features.shape == (480, 2)
    features = protocol.dataset_of("tiny-hours").features
    assert protocol.model_config("target", timed, features).interaction_features == protocol.TIME_FEATURES
    at = START // 1000 // 3600  # every position is within this hour
    assert timed.features.tolist() == [[at % 24, at // 24 % 7]] * 480


@pytest.mark.parametrize(
    ("command", "name", "jobs"),
    [
        (lambda *given: runs.factored(*given, "cpu"), "factored", factored.grid_jobs),
        (lambda *given: runs.frontier(*given, "cpu"), "frontier", runs.first_jobs),
        (runs.unknown_items, "unknown", runs.first_jobs),
        (runs.times, "times", times.timed_jobs),
    ],
)
def test_a_command_measures_the_jobs_without_rows_in_their_order_and_writes_their_data_sets(
    command, name: str, jobs, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Pool:
        """Runs a job at once; its row names the job."""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def apply_async(self, _, args):
            asked.append(str(args[0]))
            rows = [{"dataset": args[0].dataset, "family": args[0].family, "seed": args[0].seed, "variant": "full"}]
            return SimpleNamespace(get=lambda: rows)

    monkeypatch.setattr(runs, "worker_pool", lambda workers: Pool())
    first = "tiny-hours/target/1"
    command(tiny_dataset, [first], 1)
    command(tiny_dataset, [], 1)
    command(tiny_dataset, [], 1)
    assert asked == [first, *(str(job) for job in jobs() if str(job) != first)]
    written = json.loads((tiny_dataset / "results" / f"{name}.json").read_text())
    assert len(written["rows"]) == len(asked)
    assert written["datasets"]["tiny-hours"]["features"] and not written["datasets"]["tiny"]["features"]
    with pytest.raises(UserError, match="--only tiny/sim/9: .*tiny, frozen, tiny-hours / target.* / 1"):
        command(tiny_dataset, ["tiny/sim/9"], 1)


def test_the_jobs_are_the_named_ones_or_all(tiny_dataset: Path) -> None:
    assert [str(job) for job in protocol.jobs_named(["tiny/sim/2", "frozen/eta/1"], ["sim", "eta"])] == [
        "frozen/eta/1",
        "tiny/sim/2",
    ]
    assert len(protocol.jobs_named([], ["sim", "eta"])) == 2 * 2 * 3


def test_workers_ignore_ctrl_c() -> None:
    with runs.worker_pool(1) as pool:
        assert pool.apply(signal.getsignal, (signal.SIGINT,)) == signal.SIG_IGN


def test_written_rows_are_read_again(tiny_dataset: Path) -> None:
    rows = [{"dataset": "tiny", "family": f, "variant": v, "seed": 1} for f in ("sim", "eta") for v in ("full", "b")]
    results.write_rows(rows)
    assert sorted(map(str, results.read_rows())) == sorted(map(str, rows))
    assert json.loads((tiny_dataset / "results" / "quality.json").read_text())["rows"] == results.read_rows()


def test_test_queries_of_a_frozen_data_set_see_no_tested_label(tiny_dataset: Path) -> None:
    log, split = protocol.read_dataset("frozen", tiny_dataset)
    assert split.test.sum() == 12 * 8
    assert (log.query_now[split.test] == 32).all() and log.query_now[split.train].max() == 31
    open_log, _ = protocol.read_dataset("tiny", tiny_dataset)
    assert open_log.query_now[split.test].max() == 39


def test_results_with_the_names_of_an_older_version_are_refused_with_the_new_names(tiny_dataset: Path) -> None:
    for former, name in (("twin", "full"), ("twin_before", "full_before")):
        results.write_rows([{"dataset": "tiny", "family": "sim", "variant": former, "seed": 1}])
        with pytest.raises(UserError, match=f"quality.json: variant '{former}' .*rename it '{name}'"):
            results.read_rows()
        with pytest.raises(UserError, match="older version"):
            read_results(tiny_dataset / "results")
