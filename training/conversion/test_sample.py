"""The histories that a pool is made from."""

import numpy as np
import torch

from conversion.sample import sample_history
from testbed.small_logs import planted_log, random_log


def test_a_sample_has_only_positions_that_learned_queries_see() -> None:
    log = random_log(4, users=30)
    learned = np.random.default_rng(1).random(len(log.query_label)) < 0.3
    last = np.zeros(log.users, int)
    for query in np.flatnonzero(learned):
        last[log.query_user()[query]] = max(last[log.query_user()[query]], log.query_now[query])
    log.item[:] = np.arange(len(log.item)) % 10_000  # a position is known by its item
    sample = sample_history(log, learned, seed=1, users=1000, longest=15)
    expected = [
        log.item[log.starts[u] : log.starts[u] + min(last[u], 15)].tolist() for u in range(log.users) if last[u] > 0
    ]
    found = [item[valid].tolist() for item, valid in zip(sample.item, sample.valid)]
    assert sorted(found) == sorted(expected) and len(found) < log.users


def test_a_sample_has_up_to_400_users_with_256_positions_each_and_repeats_by_its_seed() -> None:
    log = planted_log(users=410, positions=260)
    learned = np.ones(len(log.query_label), bool)
    samples = [sample_history(log, learned, seed) for seed in (1, 1, 2)]
    assert samples[0].item.shape == (400, 256) and samples[0].valid.all() == (log.query_now.max() >= 256)
    assert torch.equal(samples[0].item, samples[1].item) and not torch.equal(samples[0].item, samples[2].item)


def test_the_newest_sample_ends_at_the_last_learned_query() -> None:
    log = planted_log(users=5, positions=60)
    learned = np.ones(len(log.query_label), bool)
    last = np.zeros(log.users, int)
    np.maximum.at(last, log.query_user(), log.query_now)
    log.item[:] = np.arange(len(log.item)) % 10_000  # a position is known by its item
    sample = sample_history(log, learned, seed=1, users=5, longest=15, newest=True)
    expected = [log.item[log.starts[u] + last[u] - 15 : log.starts[u] + last[u]].tolist() for u in range(log.users)]
    found = [item[valid].tolist() for item, valid in zip(sample.item, sample.valid)]
    assert sorted(found) == sorted(expected)
