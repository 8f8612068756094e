"""The log as positions and queries, its split, and the notation of features."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.features import Feature, parse_feature
from data.log import Columns, Log, log_from_table
from data.split import freeze_history, split_log
from testbed.small_logs import random_log

# Unsorted, with rows of u2 among those of u1. At moment 30, u1 has three rows: they were shown together.
ROWS = [
    # user, item, time, action, label, watch, price, hour
    ("u1", "c", 30, "click", 1.0, 0.9, 10.0, 6.0),
    ("u1", "a", 10, "like", 1.0, 0.5, 20.0, 1.0),
    ("u2", "a", 5, "skip", 0.0, None, 30.0, 2.0),
    ("u1", "d", 30, "skip", 0.0, 0.1, 40.0, 6.0),
    ("u1", "b", 20, "click", None, 7.0, None, 3.0),
    ("u2", "", 7, "", 1.0, -3.0, 990.0, 4.0),
    ("u1", "e", 30, "like", None, 0.2, 50.0, 6.0),
    ("u1", "a", 40, "like", 0.0, 0.3, 60.0, 5.0),
    ("u0", "a", 50, "like", None, 0.4, 70.0, 5.0),
]
NAMES = ("user_id", "item_id", "timestamp_ms", "action", "label", "watch", "price", "hour")
COLUMNS = Columns([Feature("watch")], [Feature("price", 0, 100, 25)], [Feature("hour", 0, 24, 12, True)])


def table(rows: list[tuple] = ROWS, without: tuple[str, ...] = ()) -> pa.Table:
    types = {"timestamp_ms": pa.int64(), **dict.fromkeys(("label", "watch", "price", "hour"), pa.float32())}
    columns = {n: pa.array([row[i] for row in rows], types.get(n, pa.string())) for i, n in enumerate(NAMES)}
    return pa.table({name: column for name, column in columns.items() if name not in without})


def named(log: Log, user: int) -> list[str]:
    return [log.items[i] for i in log.item[log.starts[user] : log.starts[user + 1]]]


def seen(log: Log) -> list[tuple[str, list[str]]]:
    """For each query, its item and the items that it sees."""
    positions = [named(log, user) for user in range(log.users)]
    return [
        (log.items[i], positions[user][:now]) for i, user, now in zip(log.query_item, log.query_user(), log.query_now)
    ]


def test_users_are_sorted_and_their_rows_by_time_and_then_by_place_in_the_file() -> None:
    log = log_from_table(table(), COLUMNS)
    assert (
        log.users == 3 and log.items == ["", "a", "b", "c", "d", "e"] and log.actions == ["", "click", "like", "skip"]
    )
    assert [named(log, user) for user in range(3)] == [["a"], ["a", "b", "c", "d", "e", "a"], ["a", ""]]
    assert [log.actions[i] for i in log.action[1:7]] == ["like", "click", "click", "skip", "like", "like"]
    assert log.query_time.tolist() == [10, 30, 30, 40, 5, 7]


def test_a_query_sees_earlier_rows_only_and_none_of_its_own_moment() -> None:
    log = log_from_table(table(), COLUMNS)
    assert seen(log) == [
        ("a", []),
        ("c", ["a", "b"]),
        ("d", ["a", "b"]),
        ("a", ["a", "b", "c", "d", "e"]),
        ("a", []),
        ("", ["a"]),
    ]
    assert log.query_label.tolist() == [1, 1, 0, 0, 0, 1]


def test_rows_without_a_label_are_history_only() -> None:
    log = log_from_table(table(), COLUMNS)
    assert len(log.query_item) == 6 and "b" not in [item for item, _ in seen(log)]
    assert np.diff(log.query_starts).tolist() == [0, 4, 2]


def test_with_history_actions_the_other_rows_are_queries_only() -> None:
    log = log_from_table(table(), COLUMNS, ["like", "click"])
    assert [named(log, user) for user in range(3)] == [["a"], ["a", "b", "c", "e", "a"], []]
    assert seen(log)[2:] == [("d", ["a", "b"]), ("a", ["a", "b", "c", "e"]), ("a", []), ("", [])]
    np.testing.assert_allclose(log.features[1:6, 0], [0.5, 1, 0.9, 0.2, 0.3])


def test_unknown_history_actions_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="action.*lik.*like"):
        log_from_table(table(), COLUMNS, ["lik"])


def test_features_keep_their_rows_are_clipped_and_default_if_unknown() -> None:
    log = log_from_table(table(), COLUMNS)
    np.testing.assert_allclose(log.features[:, 0], [0.4, 0.5, 1, 0.9, 0.1, 0.2, 0.3, 0.5, 0])
    np.testing.assert_allclose(log.query_features[:, 0], [20, 10, 40, 60, 30, 100])
    np.testing.assert_allclose(log.query_context[:, 0], [1, 6, 6, 5, 2, 4])
    none = log_from_table(table(), Columns())
    assert none.features.shape == (9, 0) and none.query_features.shape == (6, 0) == none.query_context.shape


def test_an_empty_feature_has_its_default() -> None:
    rows = [(*row[:6], None, row[7]) for row in ROWS]
    assert log_from_table(table(rows), COLUMNS).query_features[:, 0].tolist() == [25] * 6


def test_a_log_without_actions_has_the_unknown_action() -> None:
    log = log_from_table(table(without=("action",)), COLUMNS)
    assert log.actions == [""] and not log.action.any()


def test_missing_columns_and_labels_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no column price, hour; it has user_id"):
        log_from_table(table(without=("price", "hour")), COLUMNS)
    with pytest.raises(ValueError, match="no column label"):
        log_from_table(table(without=("label",)), COLUMNS)


# Splits.


def timed_log(times: list[list[int]]) -> Log:
    """A log with a query at each of these times, for each user."""
    rows = [(f"u{user}", "a", t, "like", 1.0, 0.5, 1.0, 1.0) for user, ts in enumerate(times) for t in ts]
    return log_from_table(table(rows), COLUMNS)


def test_a_log_takes_other_vocabularies_and_what_they_lack_becomes_unknown() -> None:
    log = random_log(3)
    items, actions = ["", "i9", "new", "i4"], ["", "like", "click"]
    adopted = log.with_vocabularies(items, actions)
    assert (adopted.items, adopted.actions) == (items, actions)
    for column, own, names in (
        ("item", log.items, items),
        ("query_item", log.items, items),
        ("action", log.actions, actions),
    ):
        expected = [names.index(own[i]) if own[i] in names else 0 for i in getattr(log, column)]
        assert getattr(adopted, column).tolist() == expected and len(set(expected)) > 2
    assert adopted.features is log.features and adopted.starts is log.starts


def test_a_split_by_position_tests_the_last_share_of_each_users_queries() -> None:
    log = timed_log([list(range(10)), list(range(100, 120)), [5]])
    split = split_log(log, "position:0.2")
    assert split.test.tolist() == [False] * 8 + [True] * 2 + [False] * 16 + [True] * 4 + [False]
    assert (split.train == ~split.test).all()


def test_a_split_by_users_tests_all_of_the_last_users() -> None:
    log = timed_log([[1, 2], [3], [4, 5], [6, 7], [8]])
    split = split_log(log, "users:0.4")
    assert split.test.tolist() == [False] * 5 + [True] * 3 and (split.train == ~split.test).all()


def test_a_split_by_time_has_no_moment_on_both_sides() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        log = timed_log([np.sort(random.integers(0, 12, 15)).tolist() for _ in range(4)])
        split = split_log(log, "time:0.3")
        assert (split.train ^ split.test).all() and split.train.any() and split.test.any()
        assert log.query_time[split.train].max() < log.query_time[split.test].min()
        assert abs(split.test.mean() - 0.3) < 0.2


@pytest.mark.parametrize("kind", ["position", "time", "users"])
def test_a_split_with_a_step_back_tests_on_the_share_before_and_leaves_the_last_share_out(kind: str) -> None:
    log = timed_log([list(range(10 * u, 10 * u + 10)) for u in range(10)])
    test, tuning = split_log(log, f"{kind}:0.1"), split_log(log, f"{kind}:0.1/1")
    assert test.test.sum() == tuning.test.sum() == 10 and tuning.train.sum() == 80
    assert not (tuning.test & test.test).any() and not (tuning.train & (tuning.test | test.test)).any()
    when = {"position": log.query_time % 10, "time": log.query_time, "users": log.query_user()}[kind]
    assert when[tuning.train].max() < when[tuning.test].min() and when[tuning.test].max() < when[test.test].min()


@pytest.mark.parametrize(
    "how", ["", "random:0.1", "position", "time:", "time:x", "users:0", "users:1", "time:nan", "time:0.1/x"]
    + ["time:0.1/-1", "time:0.5/1", "position:0.1/9"]
)  # fmt: skip
def test_a_bad_split_is_refused_with_a_good_example(how: str) -> None:
    with pytest.raises(ValueError, match="position:0.1"):
        split_log(timed_log([[1, 2, 3]]), how)


def test_a_log_without_labels_cannot_be_split_and_the_error_says_what_to_add() -> None:
    log = log_from_table(table([(*row[:4], None, *row[5:]) for row in ROWS]), COLUMNS)
    with pytest.raises(ValueError, match="no row has a label to learn from; give .* a column label of 0 and 1"):
        split_log(log, "position:0.1")


def test_frozen_histories_end_at_the_first_test_query_of_their_user() -> None:
    log = timed_log([[1, 2, 3, 4], [1, 2, 3], [7]])
    test = np.array([False, False, True, True, False, True, True, False])
    frozen = freeze_history(log, test)
    assert log.query_now.tolist() == [0, 1, 2, 3, 0, 1, 2, 0]
    assert frozen.query_now.tolist() == [0, 1, 2, 2, 0, 1, 1, 0]


# Features.


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("watch", Feature("watch", 0, 1, 0.5)),
        ("price:10:30", Feature("price", 10, 30, 20)),
        ("price:0:500:20", Feature("price", 0, 500, 20)),
        ("hour:0:24:12:period", Feature("hour", 0, 24, 12, True)),
        ("hour:0:24:period", Feature("hour", 0, 24, 12, True)),
        ("phase:period", Feature("phase", 0, 1, 0.5, True)),
        ("cold:-20:-5", Feature("cold", -20, -5, -12.5)),
    ],
)
def test_a_feature_is_a_name_with_optional_bounds_and_default(text: str, feature: Feature) -> None:
    assert parse_feature(text) == feature


@pytest.mark.parametrize("text", ["", ":0:1", "a:1", "a:0:1:2:3", "a:x:y", "a:0:1:half", "a:0:1:period:2", "Hour:0:24"])
def test_a_feature_in_another_form_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="NAME"):
        parse_feature(text)


@pytest.mark.parametrize("text", ["a:0:1:2", "a:1:0", "a:1:1", "a:0:nan"])
def test_bounds_and_default_of_a_feature_must_fit_each_other(text: str) -> None:
    with pytest.raises(ValueError, match="default must lie within"):
        parse_feature(text)


def test_a_feature_is_scaled_to_its_bounds_and_one_with_a_period_is_a_point_on_a_circle() -> None:
    assert Feature("price", 10, 30).expand(torch.tensor([10.0, 15.0])).tolist() == [[0], [0.25]]
    hour = Feature("hour", 0, 24, 12, True)
    torch.testing.assert_close(hour.expand(torch.tensor([0.0, 6.0, 24.0])), torch.tensor([[0.0, 1], [1, 0], [0, 1]]))
