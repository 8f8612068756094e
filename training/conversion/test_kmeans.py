"""k-means: exact, well spread, and blind to the order of equal points."""

import numpy as np
import pytest
import torch

from conversion import kmeans as kmeans_module
from conversion.kmeans import kmeans, nearest_centroid, restart


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tokens", [8, 20, 300])
def test_kmeans_leaves_no_centroid_without_points_if_enough_points_differ(tokens: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    often = 1 / np.arange(1, tokens + 1) ** 1.5  # some points many times, some seldom
    draws = np.append(np.arange(tokens), random.choice(tokens, 2000, p=often / often.sum()))
    points = torch.from_numpy(random.normal(size=(tokens, 3)).astype(np.float32))[draws]
    _, nearest = nearest_centroid(points, kmeans(points, 8, 15, seed))
    assert len(nearest.unique()) == 8


@pytest.mark.parametrize("count", [30, 45])
def test_kmeans_with_a_centroid_for_every_distinct_point_is_exact_and_puts_spare_centroids_far_away(count: int) -> None:
    random = np.random.default_rng(0)
    points = torch.from_numpy(random.normal(size=(30, 3)).astype(np.float32))[random.integers(0, 30, 500)]
    centroids = kmeans(points, count, 15, seed=0)
    distance, nearest = nearest_centroid(points, centroids)
    assert distance.max() < 1e-5 and len(nearest.unique()) == len(points.unique(dim=0))
    free = centroids[~torch.isin(torch.arange(count), nearest)]
    assert len(free) == 0 or torch.cdist(free, points).min() > 2 * torch.cdist(points, points).max()


def test_empty_centroids_restart_one_after_the_other_at_the_farthest_point() -> None:
    points = torch.tensor([[0.0], [10.0], [10.1], [-7.0], [3.0]])
    centroids = torch.tensor([[0.0], [50.0], [50.0], [50.0]])
    empty = torch.tensor([1, 2, 3])
    restart(centroids, empty, points, (points - centroids[0]).square().sum(1))
    torch.testing.assert_close(centroids, torch.tensor([[0.0], [10.1], [-7.0], [3.0]]))  # 10 is near 10.1
    restart(centroids, empty, points[[0, 0, 3]], torch.tensor([0.0, 0.0, 49.0]))
    assert centroids[1] == -7 and centroids[2:].min() > 50  # two points are enough


def test_kmeans_weighs_a_point_by_how_often_it_occurs() -> None:
    points = torch.tensor([[0.0], [0.0], [0.0], [4.0], [100.0]])
    assert sorted(kmeans(points, 2, 15, seed=0)[:, 0].tolist()) == [1.0, 100.0]


def test_kmeans_improves_on_its_starting_points() -> None:
    torch.manual_seed(0)
    points = torch.randn(2000, 4)
    before, _ = nearest_centroid(points, kmeans(points, 20, 0, seed=1))
    after, _ = nearest_centroid(points, kmeans(points, 20, 15, seed=1))
    assert after.mean() < 0.9 * before.mean()


def test_nearest_centroid_agrees_with_pairwise_distances() -> None:
    torch.manual_seed(0)
    points, centroids = torch.randn(3000, 5), torch.randn(40, 5)
    exact = torch.cdist(points.double(), centroids.double()) ** 2
    distance, nearest = nearest_centroid(points, centroids)
    torch.testing.assert_close(distance.double(), exact.min(1).values, atol=1e-4, rtol=0)
    assert (nearest == exact.argmin(1)).float().mean() > 0.999


def test_kmeans_depends_on_its_seed_and_not_on_the_global_random_generator() -> None:
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    found = []
    for global_seed, seed in ((1, 5), (2, 5), (1, 6)):
        torch.manual_seed(global_seed)
        found.append(kmeans(points, 10, 3, seed))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_a_restart_measures_the_distance_to_the_centroids_placed_before() -> None:
    points = torch.tensor([[6.0], [9.0], [-3.0], [10.0]])
    centroids = torch.tensor([[0.0], [50.0], [50.0]])
    restart(centroids, torch.tensor([1, 2]), points, points.square()[:, 0])
    assert centroids[1:, 0].tolist() == [10, 6]  # 6 is 4 away from 10, 9 only 1; -3 is 3 away from 0


def test_a_restart_leaves_a_point_alone_that_differs_only_by_rounding() -> None:
    points = torch.tensor([[1000.0], [1000.0001]])
    centroids = torch.tensor([[1000.0], [0.0]])
    restart(centroids, torch.tensor([1]), points, (points - 1000).square()[:, 0])
    assert centroids[1] > 2 * points.max()


def test_a_long_run_says_how_far_it_is(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans_module, "SAY_EVERY_S", -1.0)
    with caplog.at_level("INFO"):
        kmeans(torch.eye(3), 2, 2, 1)
    assert caplog.messages == [f"k-means of 3 points, 2 centroids: {done} of 2" for done in (0, 1)]
