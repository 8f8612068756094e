"""k-means for the rows of a pool and for the codes of user dims."""

import logging
import time

import torch
from torch import Tensor

logger = logging.getLogger(__name__)
SAY_EVERY_S = 2.0
FAR = 10.0  # spare centroids lie at this multiple of the largest coordinate
SERVED = 1e-6  # squared distances below this fraction of the mean squared norm count as zero


def kmeans(points: Tensor, count: int, iterations: int, seed: int) -> Tensor:
    """Returns centroids [count, width] by Lloyd's iterations.

    A centroid without points restarts at the point with the largest distance. If there are fewer distinct points than
    centroids, the spare centroids end far from all points.
    """
    points, weight = points.unique(dim=0, return_counts=True)  # many positions are equal
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(points), generator=generator)[torch.arange(count) % len(points)]
    centroids = points[chosen.to(points.device)].clone()
    said = time.monotonic()
    for done in range(iterations):
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            logger.info(
                "k-means of %s points, %s centroids: %d of %d", f"{len(points):,}", f"{count:,}", done, iterations
            )
        distance, nearest = nearest_centroid(points, centroids)
        sizes = torch.bincount(nearest, minlength=count)
        centroids = centroids_of(points, nearest, count, weight)
        restart(centroids, (sizes == 0).nonzero()[:, 0], points, distance)
    return centroids


def restart(centroids: Tensor, empty: Tensor, points: Tensor, distance: Tensor) -> None:
    """Moves the empty centroids, one after the other, to the point that is farthest from every centroid so far."""
    centroids[empty] = FAR * points.abs().max()
    length = points.square().sum(1)  # [P]
    for i in empty:
        worst = distance.argmax()
        if distance[worst] <= SERVED * length.mean():
            return
        centroids[i] = points[worst]
        distance = distance.minimum(length - 2 * points @ points[worst] + length[worst])


def centroids_of(points: Tensor, nearest: Tensor, count: int, weight: Tensor | None = None) -> Tensor:
    """Returns the mean of each cluster's points, [count, width]; zero for a cluster without points."""
    weight = torch.ones(len(points), device=points.device) if weight is None else weight.to(points.dtype)
    sums = torch.zeros(count, points.shape[1], device=points.device).index_add_(0, nearest, points * weight[:, None])
    sizes = torch.zeros(count, device=points.device).index_add_(0, nearest, weight)
    return sums / sizes.clamp(min=1)[:, None]


def nearest_centroid(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the squared distance to each point's nearest centroid, and its index.

    Works in pieces that fit the CPU's cache.
    """
    half = -centroids.square().sum(1) / 2
    best = [torch.addmm(half, part, centroids.T).max(1) for part in points.split(1024)]
    closeness = torch.cat([found.values for found in best])  # x c - |c|^2 / 2
    return points.square().sum(1) - 2 * closeness, torch.cat([found.indices for found in best])
