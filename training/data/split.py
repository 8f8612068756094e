"""Splits the queries of a log into those to learn from and those to test on."""

from dataclasses import dataclass, replace

import numpy as np

from data.log import Log
from errors import UserError


@dataclass
class Split:
    """The queries to learn from and the queries to test on."""

    train: np.ndarray  # [queries] bool
    test: np.ndarray


def split_log(log: Log, how: str) -> Split:
    """Splits the queries by `how`.

    `position:0.1` tests on the last tenth of each user's queries, and `time:0.1` on the last tenth in time.
    `users:0.1` tests on all queries of the last tenth of the users. `...:0.1/1` tests on the tenth before that, to
    choose settings, and leaves the last tenth out. Raises UserError for another form, and for an empty side.
    """
    kind, _, rest = how.partition(":")
    share, _, earlier = rest.partition("/")
    try:
        width, back = float(share), int(earlier or 0)
    except ValueError:
        width, back = 0.0, 0
    if kind not in ("position", "time", "users") or not 0 < width < 1 or not 0 <= back < 1 / width - 1:
        raise UserError(
            f"split {how!r}: position:SHARE, time:SHARE or users:SHARE is required, such as position:0.1 or "
            "position:0.1/1, with an earlier part to learn from"
        )
    counts = np.diff(log.query_starts)
    if kind == "position":
        place = np.arange(counts.sum()) - np.repeat(log.query_starts[:-1], counts)
        rank = place / np.repeat(counts, counts)
    elif kind == "time":
        rank = np.empty(len(log.query_time))
        rank[np.argsort(log.query_time, kind="stable")] = np.arange(len(rank)) / len(rank)
        # All queries of a moment are on the same side of the cut.
        moments, index = np.unique(log.query_time, return_inverse=True)
        first = np.full(len(moments), np.inf)
        np.minimum.at(first, index, rank)
        rank = first[index]
    else:
        rank = log.query_user() / log.users
    if not len(rank):
        raise UserError("no row has a label to learn from; give the rows of the log a column label of 0 and 1")
    low, high = 1 - width * (back + 1), 1 - width * back
    split = Split(train=rank < low, test=(rank >= low) & (rank < high))
    for purpose, chosen in (("learn from", split.train), ("test on", split.test)):
        if not chosen.any():
            raise UserError(f"split {how!r} leaves none of {len(rank)} labelled rows to {purpose}; try time:0.1")
    return split


def freeze_history(log: Log, test: np.ndarray) -> Log:
    """Returns the log in which every test query sees the history of its user's first test query.

    So no tested label is in any history. Otherwise a tested label moves the scores of later queries: a like raises the
    score of the dislike that follows, and a dislike lowers the score of a like. With few queries per user, GAUC then
    falls even for a good model.
    """
    user = log.query_user()
    first = np.full(log.users, np.iinfo(np.int64).max)
    np.minimum.at(first, user[test], log.query_now[test])
    return replace(log, query_now=np.where(test, np.minimum(log.query_now, first[user]), log.query_now))
