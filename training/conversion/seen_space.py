"""Distances between position embeddings that queries and outputs see, for families whose attention reads clusters."""

import torch
from torch import Tensor

from conversion.kmeans import kmeans, nearest_centroid
from conversion.share_layer import metric_of, weigh
from data.history import History
from models.caches.full import FullKV
from models.families.registry import family_of
from models.ranker import Ranker

ITERATIONS = 30  # of k-means


def seen_space(model: Ranker, sample: History) -> Tensor:
    """Returns [E, A]: an error e of a position's embedding costs |e A|^2, through the keys and through the values.

    `model` is a full model. Raises ValueError if its attention cannot read cluster means.
    """
    family = family_of(model)
    if not family.reads_clusters:
        raise ValueError(f"the attention of {family.title} cannot read cluster means; keep a pool of keys and values")
    (layer,) = family.layer_samples(model, sample)
    cache: FullKV = model.cache
    key = weigh(layer.key, metric_of(layer.key_metric, layer.key))
    value = weigh(layer.value, metric_of(layer.value_metric, layer.value))
    return torch.cat([cache.key.weight.T @ key.map, cache.value.weight.T @ value.map], 1)


def clustered(rows: Tensor, at: Tensor, clusters: int, seed: int) -> Tensor:
    """Returns the cluster of each row [M, A], by k-means over the rows at positions [P]."""
    return nearest_centroid(rows, kmeans(rows[at], clusters, ITERATIONS, seed))[1]
