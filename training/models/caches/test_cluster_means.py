"""Cluster means against plain loops."""

import torch

from models.caches.cluster_means import cluster_means
from models.caches.cluster_pairs import ClusterPairs

CLUSTERS = 5


def test_means_and_counts_are_those_of_plain_loops_over_visible_positions() -> None:
    random = torch.Generator().manual_seed(1)
    s = torch.randn(20, 3, generator=random)
    cluster = torch.randint(0, CLUSTERS - 1, (20,), generator=random)  # the last cluster has no position
    visible = torch.rand(7, 20, generator=random) < 0.4
    visible[0] = False
    found = cluster_means(s, cluster, CLUSTERS, visible)
    assert found.mean.shape == (7, CLUSTERS, 3) and found.count.shape == (7, CLUSTERS)
    for c in range(7):
        for g in range(CLUSTERS):
            members = [s[i] for i in range(20) if visible[c, i] and cluster[i] == g]
            assert found.count[c, g] == len(members)
            expected = torch.stack(members).mean(0) if members else torch.zeros(3)
            torch.testing.assert_close(found.mean[c, g], expected)


def test_a_cluster_is_a_pair_and_the_code_is_its_last_digit() -> None:
    pairs = ClusterPairs(torch.tensor([2, 0, 1]), torch.tensor([1, 0, 1, 3]), item_count=3, code_count=4)
    assert pairs.count == 12
    found = pairs.of(torch.tensor([[0, 1], [2, 2]]), torch.tensor([[3, 0], [1, 2]]))
    assert found.tolist() == [[2 * 4 + 3, 0 * 4 + 1], [1 * 4 + 0, 1 * 4 + 1]]
