"""Converts a trained twin into CollectiveKV.

k-means over the twin's [K, V] of real positions gives the pool. The nearest centroid is linear in S: with
[K, V] = S W + b and centroids c, argmin_j |S W + b - c_j|^2 = argmax_j S W c_j + b c_j - |c_j|^2 / 2, so the router is
written down, not learned, and stays frozen.
"""

import torch
from torch import Tensor

from model import CollectiveKV, History, Twin


@torch.no_grad()
def convert(twin: Twin, sample: History, seed: int, key_weight: float = 1.0, iterations: int = 30) -> CollectiveKV:
    """A pool-only equivalent of the twin; `sample` holds [1, positions] from real histories.

    Keys count `key_weight` times as much as values in the distance, after both are scaled to the same variance.
    """
    s = twin.embed_history(sample)[0]  # [P, E]
    k, v = twin.key(s), twin.value(s)  # [P, D]
    scale = torch.cat([key_weight / k.std(0).mean() * torch.ones(k.shape[1]), torch.ones(v.shape[1]) / v.std(0).mean()])
    centroids = kmeans(torch.cat([k, v], 1) * scale, twin.config.slots, iterations, seed)  # [M, 2D]

    torch.manual_seed(seed)
    model = CollectiveKV(twin.config)
    model.load_state_dict(twin.state_dict(), strict=False)
    pool_key, pool_value = (centroids / scale).chunk(2, 1)  # [M, D] each
    model.pool_key.copy_(pool_key)
    model.pool_value.copy_(pool_value)
    weight = torch.cat([twin.key.weight, twin.value.weight]) * scale[:, None]  # [2D, E]
    bias = torch.cat([twin.key.bias, twin.value.bias]) * scale  # [2D]
    model.router.weight.copy_(centroids @ weight)
    model.router.bias.copy_(centroids @ bias - centroids.square().sum(1) / 2)
    # Routes depend on these alone; a route must mean the same before and after the fine-tune.
    for part in (model.item, model.action, model.watch, model.router):
        part.requires_grad_(False)
    return model


def kmeans(points: Tensor, count: int, iterations: int, seed: int) -> Tensor:
    """Centroids [count, width] by Lloyd's iterations; a centroid without points restarts at the worst-served point."""
    generator = torch.Generator().manual_seed(seed)
    centroids = points[torch.randperm(len(points), generator=generator)[:count]].clone()
    for _ in range(iterations):
        distance, nearest = nearest_centroid(points, centroids)
        sums = torch.zeros_like(centroids).index_add_(0, nearest, points)
        sizes = torch.bincount(nearest, minlength=len(centroids))
        centroids = sums / sizes.clamp(min=1)[:, None]
        empty = (sizes == 0).nonzero()[:, 0]
        centroids[empty] = points[distance.topk(len(empty)).indices]
    return centroids


def nearest_centroid(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to, and index of, each point's nearest centroid."""
    distance = points.square().sum(1, keepdim=True) - 2 * points @ centroids.T + centroids.square().sum(1)
    return distance.min(1)
