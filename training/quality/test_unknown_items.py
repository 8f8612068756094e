"""Unknown items on small data: what is hidden, and what stands in for it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.compression import Compression
from quality import protocol, unknown_items
from quality.unknown_items import arms_without, cases, hidden_items, measure_unknown_items, without_positions
from testbed.small_logs import random_log

JOB = protocol.Job("tiny", "target", 1)


def test_a_tenth_of_the_items_is_hidden_by_the_seed_and_never_the_unknown_item() -> None:
    log = random_log(1, items=5000)
    for seed in range(1, 20):
        hidden = hidden_items(log, seed)
        assert not hidden[0] and 400 < hidden.sum() < 600
        assert np.array_equal(hidden, hidden_items(log, seed))
    assert not np.array_equal(hidden_items(log, 1), hidden_items(log, 2))


@pytest.mark.parametrize("seed", range(6))
def test_a_query_sees_the_positions_of_other_items_alone_in_their_order(seed: int) -> None:
    log = random_log(seed)
    hidden = np.random.default_rng(seed).random(len(log.items)) < 0.4
    rest = without_positions(log, hidden)
    assert len(rest.item) == len(rest.action) == len(rest.features) == rest.starts[-1] < len(log.item)
    for query, user in enumerate(log.query_user()):
        before = slice(log.starts[user], log.starts[user] + log.query_now[query])
        kept = ~hidden[log.item[before]]
        found = slice(rest.starts[user], rest.starts[user] + rest.query_now[query])
        for column in ("item", "action", "features"):
            assert np.array_equal(getattr(rest, column)[found], getattr(log, column)[before][kept])
    assert np.array_equal(rest.query_item, log.query_item)


def test_every_record_is_measured_with_every_stand_in_on_queries_of_known_items(
    tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unknown_items, "HIDDEN_SHARE", 0.3)
    rows = measure_unknown_items(JOB, tiny_dataset)
    log, split = protocol.read_dataset("tiny", tiny_dataset)
    hidden = hidden_items(log, 1)
    named = [(row["variant"], row["unknown"]) for row in rows]
    assert named == [
        (record, becomes)
        for record in ("full", "factored", "residual")
        for becomes in ("known", "unknown item", "mean item", "left out")
    ]
    for row in rows:
        assert (row["dataset"], row["seed"], row["hiddenItems"]) == ("tiny", 1, hidden.sum())
        assert row["hiddenShare"] == round(hidden[log.item].mean(), 4)
        assert row["testQueries"] == (split.test & ~hidden[log.query_item]).sum() < split.test.sum()
    for record in ("full", "factored", "residual"):
        assert len({row["logloss"] for row in rows if row["variant"] == record}) == 4
    json.dumps(rows, allow_nan=False)


def test_no_training_meets_a_hidden_item_and_histories_of_tests_have_what_stands_in_for_it(tiny_dataset: Path) -> None:
    log, split = protocol.read_dataset("tiny", tiny_dataset)
    hidden = np.isin(np.arange(len(log.items)), [3, 8, 20])
    known, arms = protocol.arms_of(JOB, log, split, Compression()), arms_without(JOB, log, split, hidden)
    learned = {*arms.log.item.tolist(), *arms.log.query_item[arms.split.train].tolist()}
    assert learned == set(range(1, len(log.items))) - {3, 8, 20}
    for _, becomes, model, seen in cases(known, arms, log, hidden):
        if becomes == "left out":
            assert set(seen.item.tolist()) == learned
        else:
            stand_in = {3, 8, 20} if becomes == "known" else {0}
            assert set(seen.item[hidden[log.item]].tolist()) == stand_in
            assert np.array_equal(seen.item[~hidden[log.item]], log.item[~hidden[log.item]])
        if becomes == "unknown item":
            before = model.item.weight
        if becomes == "mean item":
            sample = arms.sample()
            torch.testing.assert_close(model.item.weight[0], before[sample.item[sample.valid]].mean(0))
            assert torch.equal(model.item.weight[1:], before[1:]) and not torch.equal(model.item.weight[0], before[0])
