"""train.py refuses options, features and labels that cannot become a bundle."""

from pathlib import Path

import numpy as np
import pytest

from data.features import parse_feature
from errors import UserError
from fitting.option_checks import check_features, check_log, check_options
from fitting.train_config import TrainConfig


def a_config(**changes) -> TrainConfig:
    return TrainConfig("log", Path("log.csv"), Path("out"), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"slots": 1},
        {"slots": 65_537},
        {"user_width": -1},
        {"user_width": 16_384, "user_type": "float16", "record": "pool"},
        {"user_width": 32, "user_form": "last_head", "record": "pool"},
        {"slots": 256},
        {"user_width": 3},
        {"separate_routes": True, "record": "factored"},
        {"clusters": 64, "record": "pool"},
        {"clusters": 64, "recipe": "published"},
        {"max_positions": 0},
        {"max_positions": -1},
        {"layers": -1},
        {"layers": 2},
        {"layers": 2, "family": "twin"},
        {"layers": 5, "family": "stca", "d_model": 4096},
        {"layers": 9, "family": "stca", "heads": 32},
        {"layers": 20, "family": "hstu"},
        {"clusters": -1, "record": "factored"},
        {"record": "factored", "family": "hstu"},
        {"record": "factored", "recipe": "published"},
        {"stages": 0, "record": "residual"},
        {"stages": 7, "record": "residual"},
        {"record": "residual", "family": "hstu"},
        {"record": "residual", "family": "sim"},
        {"clusters": 257, "record": "residual"},
        {"heads": 0},
        {"heads": 3},
        {"heads": 1, "family": "sim"},
        {"d_model": 0},
        {"embedding": 0},
        {"block": 0},
        {"batch": 0},
        {"epochs": float("nan")},
        {"epochs": 0.0},
        {"tune_epochs": -1.0},
        {"rate": float("inf")},
        {"tune_rate": 100.0},
        {"threads": -1},
        {"seed": -1},
        {"name": "My_bundle"},
    ],
)
def test_an_option_beyond_its_limits_is_refused_with_its_value(changes: dict) -> None:
    check_options(a_config())
    name = next(iter(changes))
    with pytest.raises(UserError, match=rf"--{name.replace('_', '-')} '?{changes[name]}'?: .*;"):
        check_options(a_config(**changes))


def test_cuda_is_refused_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda"):
        check_options(a_config(device="cuda"))


@pytest.mark.parametrize("text", ["user_id", "label", "timestamp_ms", "event_id", "scores", "route", "user_code",
                                  "candidate_item", "item_index", "a:0:1e39", "a:1:1.0000000001", "a:0:1e-40",
                                  "a:nan:1", "a:-inf:inf"])  # fmt: skip
def test_a_feature_that_is_a_log_column_or_a_graph_name_is_refused(text: str) -> None:
    check_features({"candidate": [parse_feature("price:0:500:20")], "context": [], "interaction": []})
    with pytest.raises(UserError, match=text.split(":")[0]):
        check_features({"candidate": [parse_feature(text)], "context": [], "interaction": []})


def test_labels_that_are_all_equal_are_refused_to_learn_from_and_reported_to_test_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    label, first = np.array([1, 1, 1, 0], np.float32), np.array([True, True, False, False])
    with pytest.raises(UserError, match="all 2 labels to learn from are 1"):
        check_log([""], label, first, ~first)
    check_log([""], label, ~first, first)
    assert "no AUC" in capsys.readouterr().out
    with pytest.raises(UserError, match="1,024 actions"):
        check_log([""] * 1025, label, ~first, first)
