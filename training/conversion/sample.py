"""Draws the histories of real users that a pool is made from."""

import numpy as np

from data.batches import Block, make_batch
from data.history import History
from data.log import Log


def sample_history(
    log: Log,
    learned: np.ndarray,
    seed: int,
    users: int = 400,
    longest: int = 256,
    device: str = "cpu",
    newest: bool = False,
) -> History:
    """Returns the first positions of up to `users` users, at most `longest` each; with `newest`, their last ones.

    A history ends before the user's last learned query: no position behind it is used.
    """
    random = np.random.default_rng(seed)
    last = np.zeros(log.users, np.int64)  # positions that the learned queries see
    np.maximum.at(last, log.query_user()[learned], log.query_now[learned])
    chosen = random.permutation(np.flatnonzero(last))[:users]
    first = np.maximum(last - longest, 0) if newest else np.zeros_like(last)
    blocks = [
        Block(int(log.starts[u] + first[u]), int(log.starts[u] + min(last[u], first[u] + longest)), 0, 0)
        for u in chosen
    ]
    return make_batch(log, learned, blocks, device).history
