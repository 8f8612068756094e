"""Small logs for the tests."""

import numpy as np

from data.log import Log
from fitting.fit import FitConfig, fit
from models.ranker import Ranker


def random_log(seed: int, users: int = 9, longest: int = 40, items: int = 31, actions: int = 4) -> Log:
    """Returns a log of random users.

    Some have no positions, some no queries. Queries lie anywhere between positions.
    """
    random = np.random.default_rng(seed)
    positions, queries = random.integers(0, longest + 1, users), random.integers(0, longest + 1, users)
    positions[random.integers(users)] = 0
    queries[random.integers(users)] = 0
    n, q = positions.sum(), queries.sum()
    return Log(
        items=["", *(f"i{i}" for i in range(1, items))],
        actions=["", "skip", "click", "like"][:actions],
        starts=np.append(0, positions.cumsum()),
        item=random.integers(1, items, n),
        action=random.integers(1, actions, n),
        features=random.random((n, 1)).astype(np.float32),
        query_starts=np.append(0, queries.cumsum()),
        query_item=random.integers(1, items, q),
        query_label=random.integers(0, 2, q).astype(np.float32),
        query_now=np.concatenate([np.sort(random.integers(0, n + 1, q)) for n, q in zip(positions, queries)]),
        query_time=np.concatenate([np.sort(random.integers(0, 1000, q)) for q in queries]),
        query_features=random.uniform(0, 50, (q, 1)).astype(np.float32),
        query_context=random.uniform(0, 24, (q, 1)).astype(np.float32),
    )


def train_briefly(model: Ranker, log: Log, steps: float = 1.0, **options) -> list[float]:
    return fit(model, log, np.ones(len(log.query_label), bool), FitConfig(steps, 1e-2, batch=128, block=16, **options))


def planted_log(users: int = 40, positions: int = 60, items: int = 20, signal: bool = True) -> Log:
    """Returns a log in which each user likes the items of one parity.

    Without `signal`, the labels are random instead.
    """
    random = np.random.default_rng(0)
    n = users * positions
    item, taste = random.integers(1, items + 1, (users, positions)), random.integers(0, 2, (users, 1))
    label = (item % 2 == taste) if signal else random.random((users, positions)) < 0.5
    starts, place = np.arange(users + 1) * positions, np.tile(np.arange(positions), users)
    none = np.zeros((n, 0), np.float32)
    return Log(
        items=["", *(f"i{i:02}" for i in range(items))],
        actions=["", "skip", "like"],
        starts=starts,
        item=item.ravel(),
        action=1 + label.ravel().astype(np.int64),
        features=none,
        query_starts=starts,
        query_item=item.ravel(),
        query_label=label.ravel().astype(np.float32),
        query_now=place,
        query_time=1_600_000_000_000 + 1000 * place,
        query_features=none,
        query_context=none,
    )
