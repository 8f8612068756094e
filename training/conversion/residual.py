"""Converts a trained full model to residual codes. Nothing is learned again.

The rows of the first stage come from k-means over the embeddings of real positions. Those of the next stage come from
k-means over what the first stage left over, and so on. Distances are those that queries and outputs see.
"""

import copy

import torch
from torch import Tensor

from conversion.kmeans import SERVED, centroids_of, kmeans, nearest_centroid
from conversion.seen_space import ITERATIONS, seen_space
from conversion.share_layer import NEVER
from data.history import History
from models.caches.full import FullKV
from models.caches.residual import ResidualKV
from models.compression import CODES
from models.families.registry import family_of
from models.layer_sample import MOST_POSITIONS
from models.ranker import Ranker
from models.residual_codes import ResidualCodes


@torch.no_grad()
def convert_residual(
    full: Ranker, sample: History, seed: int, stages: int, clusters: int = CODES, codes: int = CODES
) -> Ranker:
    """Returns a copy of a full model with residual codes. `sample` holds histories of real users.

    The first stage has `clusters` rows, the others `codes`. Raises ValueError if the model's attention cannot read
    cluster means.
    """
    model = copy.deepcopy(full).eval()
    seen = seen_space(model, sample)  # [E, A]
    s = model.embed_history(sample)[sample.valid][:MOST_POSITIONS]  # [P, E]
    model.position_codes = residual_codes(s, seen, [clusters, *[codes] * (stages - 1)], seed)
    cache: FullKV = model.cache
    model.cache = ResidualKV(cache.key, cache.value, clusters)
    for module in family_of(model).route_modules(model):
        module.requires_grad_(False)
    return model


def residual_codes(s: Tensor, space: Tensor, codes: list[int], seed: int) -> ResidualCodes:
    """Returns the stages for embeddings [P, E], with distances in `space` [E, A]. `codes` are the rows of each."""
    found = ResidualCodes(codes, s.shape[1]).to(s.device)
    least = SERVED * (s @ space).square().sum(1).mean()
    for router, rows in zip(found.routers, found.rows):
        points = s @ space  # [P, A]
        points[points.square().sum(1) <= least] = 0  # what is left of a position that is exact is rounding
        _, chosen = nearest_centroid(points, kmeans(points, len(rows), ITERATIONS, seed))
        rows.copy_(centroids_of(s, chosen, len(rows)))
        centroids = rows @ space
        router.weight.copy_(centroids @ space.T)  # argmin |x - c|^2 = argmax x c - |c|^2 / 2
        router.bias.copy_(-centroids.square().sum(1) / 2)
        router.bias[torch.bincount(chosen, minlength=len(rows)) == 0] = NEVER  # no position has this row
        s = s - rows[router(s).argmax(-1)]
    return found
