"""Blocks and batches have every query once, with its own history."""

import numpy as np
import pytest

from data.batches import Batch, batches, cut_blocks, pack_blocks
from data.log import Log
from models.ranker import visible_positions
from testbed.small_logs import random_log

SEEDS = range(5)


def some_queries(log: Log, seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 100).random(len(log.query_label)) < 0.6


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("queries", "context"), [(1, 0), (4, 4), (16, 100), (1000, 7)])
def test_every_chosen_query_is_in_exactly_one_block(seed: int, queries: int, context: int) -> None:
    log = random_log(seed)
    chosen = some_queries(log, seed)
    found = np.zeros(len(chosen), int)
    user = log.query_user()
    for b in cut_blocks(log, chosen, queries, context):
        mine = np.arange(b.query_begin, b.query_end)
        found[mine] += chosen[mine]
        assert 0 < chosen[mine].sum() <= queries
        assert len(set(user[mine])) == 1
        assert log.starts[user[mine[0]]] <= b.begin <= b.end <= log.starts[user[mine[0]] + 1]
    assert (found == chosen).all()


def test_a_log_without_chosen_queries_has_no_blocks() -> None:
    log = random_log(1)
    assert cut_blocks(log, np.zeros(len(log.query_label), bool), 4, 4) == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_block_is_packed_once_into_batches_that_fit(seed: int, shuffled: bool) -> None:
    log = random_log(seed)
    blocks = cut_blocks(log, some_queries(log, seed), 8, 8)
    groups = pack_blocks(blocks, 64, np.random.default_rng(seed) if shuffled else None)
    assert sorted(i for group in groups for i in group) == list(range(len(blocks)))
    for group in groups:
        size = max(max(blocks[i].end - blocks[i].begin, blocks[i].query_end - blocks[i].query_begin) for i in group)
        assert len(group) == 1 or size * len(group) <= 64
    assert max(len(group) for group in groups) > 1


def row(log: Log, place: int) -> tuple:
    return int(log.item[place]), int(log.action[place]), round(float(log.features[place, 0]), 6)


def naive_history(log: Log, query: int, limit: int) -> list[tuple]:
    """The newest `limit` positions that a query sees, by a plain loop."""
    user = int(log.query_user()[query])
    end = int(log.starts[user] + log.query_now[query])
    return [row(log, place) for place in range(max(int(log.starts[user]), end - limit), end)]


def shown(batch: Batch, max_positions: int) -> dict[int, list[tuple]]:
    """By query, the positions that the model lets it see."""
    h = batch.history
    visible = visible_positions(h.valid, batch.candidates.now, max_positions)
    return {
        int(batch.query[b, c]): [
            (int(h.item[b, i]), int(h.action[b, i]), round(float(h.features[b, i, 0]), 6))
            for i in visible[b, c].nonzero()[:, 0]
        ]
        for b, c in batch.chosen.nonzero().tolist()
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("max_positions", [3, 1000])
def test_a_query_sees_the_positions_that_a_plain_loop_finds(seed: int, max_positions: int) -> None:
    log = random_log(seed)
    chosen = some_queries(log, seed)
    blocks = cut_blocks(log, chosen, 5, max_positions)
    found: dict[int, list[tuple]] = {}
    for batch in batches(log, chosen, blocks, 64, np.random.default_rng(seed), "cpu"):
        found |= shown(batch, max_positions)
    assert found == {int(q): naive_history(log, q, max_positions) for q in np.flatnonzero(chosen)}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_learned_query_sees_at_least_the_newest_positions_of_its_block(seed: int) -> None:
    log = random_log(seed)
    chosen = some_queries(log, seed)
    for batch in batches(log, chosen, cut_blocks(log, chosen, 5, 8), 64, None, "cpu"):
        for query, positions in shown(batch, 1000).items():
            everything = naive_history(log, query, 1000)
            assert len(positions) >= min(8, len(everything))
            assert positions == everything[len(everything) - len(positions) :]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_batch_has_the_columns_of_each_query_and_its_padding_never_counts(seed: int) -> None:
    log = random_log(seed)
    chosen = some_queries(log, seed)
    for batch in batches(log, chosen, cut_blocks(log, chosen, 5, 8), 64, None, "cpu"):
        real = batch.query >= 0
        mine = batch.query[real]
        assert (batch.chosen.numpy() == real & chosen[batch.query.clip(0)]).all()
        assert (batch.candidates.item.numpy()[real] == log.query_item[mine]).all()
        assert (batch.candidates.features.numpy()[real] == log.query_features[mine]).all()
        assert (batch.candidates.context.numpy()[real] == log.query_context[mine]).all()
        assert (batch.label.numpy()[real] == log.query_label[mine]).all()
        visible = visible_positions(batch.history.valid, batch.candidates.now, 1000).numpy()
        assert not visible[~real].any()  # a padded query sees nothing
        assert not (visible & ~batch.history.valid.numpy()[:, None]).any()


def test_batches_of_histories_without_positions_are_possible() -> None:
    log = random_log(2)
    chosen = log.query_now == 0
    for batch in batches(log, chosen, cut_blocks(log, chosen, 5, 0), 64, None, "cpu"):
        assert batch.history.item.shape[1] == 0 and not batch.candidates.now.any()
