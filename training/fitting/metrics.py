"""AUC, GAUC and logloss."""

import math

import numpy as np


def auc(score: np.ndarray, label: np.ndarray) -> float:
    """Returns the area under the ROC curve; tied scores count as half. NaN if all labels are equal."""
    _, index, size = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - (size - 1) / 2)[index]  # tied scores share their mean rank
    positive = label.sum()
    if positive in (0, len(label)):
        return math.nan
    return float((rank[label == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive)))


def gauc(score: np.ndarray, label: np.ndarray, user: np.ndarray) -> float:
    """Returns the AUC within each user who has both labels, weighted by the user's number of rows.

    NaN without such a user.
    """
    order = np.lexsort((score, user))
    score, label, user = score[order], label[order].astype(np.float64), user[order]
    first = np.flatnonzero(np.append(True, user[1:] != user[:-1]))
    size = np.diff(np.append(first, len(user)))
    tie = np.cumsum(np.append(False, (score[1:] != score[:-1]) | (user[1:] != user[:-1])))
    place = np.arange(len(user)) - np.repeat(first, size) + 1.0
    rank = (np.bincount(tie, place) / np.bincount(tie))[tie]
    positive = np.add.reduceat(label, first)
    negative = size - positive
    both = (positive > 0) & (negative > 0)
    if not both.any():
        return math.nan
    rank_sum = np.add.reduceat(rank * label, first)
    area = (rank_sum - positive * (positive + 1) / 2)[both] / (positive * negative)[both]
    return float(np.average(area, weights=size[both]))


def logloss(logit: np.ndarray, label: np.ndarray) -> float:
    """Returns the mean cross-entropy of labels and logits, in nats."""
    return float(np.mean(np.logaddexp(0, logit) - label * logit))
