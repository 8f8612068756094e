"""Jobs of quality.py on a small data set: rows of results for every arm and knob."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.record_bytes import bytes_per_position
from errors import UserError
from fitting import arms as arms_module
from models.compression import Compression
from quality import knobs, measure, protocol, results, runs
from quality.report.page import read_results
from testbed.training_runs import write_log

KEYS = {"dataset", "family", "variant", "seed", "auc", "gauc", "logloss", "bytesPerPosition", "ratio", "m", "du"} | {
    "routes",
    "trainSeconds",
    "losses",
}


@pytest.fixture
def tiny_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_log(tmp_path / "tiny.csv")
    dataset = protocol.Dataset("log", "tiny.csv", "position:0.2", 1, 1e-2, 1, 1e-3)
    for name in list(protocol.DATASETS):
        monkeypatch.delitem(protocol.DATASETS, name)
    monkeypatch.setitem(protocol.DATASETS, "tiny", dataset)
    monkeypatch.setitem(protocol.DATASETS, "frozen", replace(dataset, frozen=True))
    monkeypatch.setattr(protocol, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    config = protocol.model_config
    small = {"embedding": 8, "d_model": 16, "heads": 2, "hidden": 8, "max_positions": 20}
    monkeypatch.setattr(protocol, "model_config", lambda *given: replace(config(*given), **small))
    return tmp_path


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
