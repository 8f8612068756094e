"""AUC, GAUC and logloss equal their definitions."""

import numpy as np
import pytest

from fitting.metrics import auc, gauc, logloss


def naive_auc(score: np.ndarray, label: np.ndarray) -> float:
    won = [float(a > b) + 0.5 * float(a == b) for a in score[label == 1] for b in score[label == 0]]
    return sum(won) / len(won)


def test_auc_is_the_share_of_ordered_pairs_and_half_of_the_ties() -> None:
    assert auc(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0, 1, 1])) == 1
    assert auc(np.array([0.5, 0.5, 0.5, 0.5]), np.array([0, 1, 0, 1])) == 0.5
    random = np.random.default_rng(1)
    for digits in (0, 1, 5):
        score, label = random.random(60).round(digits), random.integers(0, 2, 60)
        assert auc(score, label) == pytest.approx(naive_auc(score, label))


def test_gauc_is_the_auc_within_users_with_both_labels_weighted_by_their_rows() -> None:
    random = np.random.default_rng(2)
    for digits in (1, 5):
        user, score = random.integers(0, 12, 80), random.random(80).round(digits)
        label = random.integers(0, 2, 80) * (user != 3)  # user 3 has one label
        parts = [(user == u) for u in range(12) if len(set(label[user == u])) == 2]
        expected = sum(m.sum() * naive_auc(score[m], label[m]) for m in parts) / sum(m.sum() for m in parts)
        assert 3 not in user[np.any(parts, 0)]
        assert gauc(score, label, user) == pytest.approx(expected)


def test_logloss_equals_that_of_the_probabilities_and_does_not_overflow() -> None:
    logit, label = np.array([-2.0, 0.5, 3.0]), np.array([0, 1, 0])
    p = 1 / (1 + np.exp(-logit))
    assert logloss(logit, label) == pytest.approx(-np.mean(label * np.log(p) + (1 - label) * np.log(1 - p)))
    assert logloss(np.array([800.0, -800.0]), np.array([0, 0])) == pytest.approx(400)
