"""Splits the queries of a log into those to learn from and those to test on."""

from dataclasses import dataclass, replace

import numpy as np

from data.log import Log
from errors import UserError


@dataclass
class Split:
    """Which queries are learned from and which are tested on."""

    train: np.ndarray  # [queries] bool
    test: np.ndarray


def split_log(log: Log, how: str) -> Split:
    """`position:0.1`: the last tenth of each user's queries are the test. `time:0.1`: the last tenth in time.
    `users:0.1`: all of the last tenth of the users. `...:0.1/1`: the tenth before, to tune on; the rest is left out."""
    kind, _, rest = how.partition(":")
    share, _, earlier = rest.partition("/")
    try:
        width, back = float(share), int(earlier or 0)
    except ValueError:
        width, back = 0.0, 0
    if kind not in ("position", "time", "users") or not 0 < width < 1 or not 0 <= back < 1 / width - 1:
        raise UserError(
            f"split {how!r}: position:SHARE, time:SHARE or users:SHARE is required, such as position:0.1 or "
            "position:0.1/1, with something before it to learn from"
        )
    counts = np.diff(log.query_starts)
    if kind == "position":
        place = np.arange(counts.sum()) - np.repeat(log.query_starts[:-1], counts)
        rank = place / np.repeat(counts, counts)
    elif kind == "time":
        rank = np.empty(len(log.query_time))
        rank[np.argsort(log.query_time, kind="stable")] = np.arange(len(rank)) / len(rank)
        # A moment is on one side of the cut as a whole.
        moments, index = np.unique(log.query_time, return_inverse=True)
        first = np.full(len(moments), np.inf)
        np.minimum.at(first, index, rank)
        rank = first[index]
    else:
        rank = log.query_user() / log.users
    low, high = 1 - width * (back + 1), 1 - width * back
    split = Split(train=rank < low, test=(rank >= low) & (rank < high))
    for purpose, chosen in (("learn from", split.train), ("test on", split.test)):
        if not chosen.any():
            raise UserError(f"split {how!r} leaves none of {len(rank)} labelled rows to {purpose}; try time:0.1")
    return split


def freeze_history(log: Log, test: np.ndarray) -> Log:
    """Each test query sees what its user's first test query sees, so that no tested label is in any history.

    Otherwise a tested label moves the scores of the queries behind it, and where a user has few of them GAUC falls
    however good the model: a like raises the score of the dislike that follows, a dislike lowers that of the like.
    """
    user = log.query_user()
    first = np.full(log.users, np.iinfo(np.int64).max)
    np.minimum.at(first, user[test], log.query_now[test])
    return replace(log, query_now=np.where(test, np.minimum(log.query_now, first[user]), log.query_now))
