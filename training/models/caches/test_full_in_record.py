"""Full models that bundles serve: the bytes of their records, and their scores."""

from pathlib import Path

import numpy as np
import pytest
import torch

import bench_bundles
from bundle.golden_drawer import Drawer, score
from bundle.record import record_fields, row_bytes
from models.caches.full import KEPT
from models.keep_full import keep_full
from testbed.built_bundles import interactions_of, request_of
from testbed.random_models import catalogue_log
from testbed.served_bundle import ServedBundle
from testbed.small_models import small_full


def test_a_kept_full_model_scores_as_before_except_for_float16() -> None:
    full_model = small_full("target")
    draw = Drawer(keep_full(full_model, "float32"), np.random.default_rng(1))
    history = draw.history(30)
    candidates = draw.candidates(history, 10)
    whole = score(full_model, history, candidates)
    for kept in ("float32", "interactions"):
        assert torch.equal(score(keep_full(full_model, kept), history, candidates), whole)
    rounded = score(keep_full(full_model, "float16"), history, candidates)
    assert 0 < (rounded - whole).abs().max() < 1e-3


def test_keep_full_does_not_change_the_full_model() -> None:
    full_model = small_full("target")
    full = full_model.cache
    for kept in KEPT:
        keep_full(full_model, kept)
    assert full_model.cache is full


@pytest.mark.parametrize(
    ("kept", "bytes_"), [("float16", 2 * 2 * 16), ("float32", 2 * 4 * 16), ("interactions", 1 + 1 + 4)]
)
def test_a_row_has_the_bytes_of_its_form(kept: str, bytes_: int) -> None:
    assert row_bytes(keep_full(small_full("target"), kept)) == bytes_


def test_more_than_256_items_take_two_bytes_and_more_than_a_route_names_are_refused() -> None:
    item, *_ = record_fields(keep_full(small_full("target", items=257), "interactions"))
    assert (item["type"], item["slots"]) == ("uint16", 257)
    many = small_full("target", items=65_537)
    with pytest.raises(ValueError, match="65537 items, a record names at most 65536; keep keys and values"):
        keep_full(many, "interactions")
    keep_full(many, "float16")


@pytest.mark.parametrize(
    ("family", "kept", "problem"), [("hstu", "float16", "FullKV"), ("target", "int4", "one of float16")]
)
def test_keep_full_refuses_a_stacked_family_and_an_unknown_form(family: str, kept: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        keep_full(small_full(family), kept)


SMALL = [
    "--d-model",
    "24",
    "--heads",
    "3",
    "--embedding",
    "8",
    "--hidden",
    "8",
    "--items",
    "60",
    "--positions",
    "70000",
]


def test_bench_bundles_have_the_sizes_of_the_options_and_the_full_ones_agree(tmp_path: Path) -> None:
    bench_bundles.main(["--out", str(tmp_path), *SMALL, "--slots", "64", "--separate-slots", "300"])
    bundles = {path.name: ServedBundle(path) for path in tmp_path.iterdir()}
    assert set(bundles) == {"shared", "shared_int8", "shared_separate", "full_fp16", "full_fp32", "recompute"}
    rows = {name: bundle.row_bytes() for name, bundle in bundles.items()}
    assert rows == {
        "shared": 2,
        "shared_int8": 5,
        "shared_separate": 5,
        "full_fp16": 96,
        "full_fp32": 192,
        "recompute": 6,
    }
    pools = {name: bundle.manifest["groups"][0]["pool"]["slots"] for name, bundle in bundles.items()}
    assert (pools["shared"], pools["shared_int8"], pools["shared_separate"]) == (64, 64, 300)
    for bundle in bundles.values():
        assert bundle.manifest["maxPositions"] == 70_000
        assert (bundle.manifest["dModel"], bundle.manifest["heads"]) == (24, 3)
    full_model = bench_bundles.bench_config(bench_bundles.parse_args(["--out", "", *SMALL]))
    model = keep_full(bench_bundles.random_full(full_model, 1), "float32")
    draw, log = Drawer(model, np.random.default_rng(5)), catalogue_log(full_model)
    history = draw.history(120)
    candidates = draw.candidates(history, 20)
    expected = score(model, history, candidates).numpy()
    found = {}
    for name, bundle in bundles.items():
        fields = bundle.encode(interactions_of(log, model, history))
        found[name] = bundle.rank(fields, *request_of(log, model, candidates))
    for name, tolerance in (("full_fp32", 1e-5), ("recompute", 1e-5), ("full_fp16", 1e-3)):
        np.testing.assert_allclose(found[name], expected, atol=tolerance, err_msg=name)
    for name in ("shared", "shared_int8", "shared_separate"):
        assert 0.1 > np.abs(found[name] - expected).max() > 1e-3, name


def test_a_bundle_made_alone_has_the_same_bytes(tmp_path: Path) -> None:
    for folder, names in (("all", ["shared_int8", "full_fp16"]), ("one", ["full_fp16"])):
        only = [word for name in names for word in ("--only", name)]
        bench_bundles.main(["--out", str(tmp_path / folder), *SMALL, *only])
    written = [(tmp_path / folder / "full_fp16" / "bundle.json").read_bytes() for folder in ("all", "one")]
    assert written[0] == written[1]
    assert not (tmp_path / "one" / "shared_int8").exists()


def test_bench_bundles_refuses_impossible_sizes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for options, problem in ((["--heads", "7"], "multiple of --heads 7"), (["--slots", "70000"], "--slots must be")):
        with pytest.raises(SystemExit):
            bench_bundles.main(["--out", str(tmp_path), *options])
        assert problem in capsys.readouterr().err
