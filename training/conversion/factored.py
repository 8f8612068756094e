"""Converts a trained full model to a factored pool. Nothing is learned again.

The rows of the pool are the model's items. k-means over the events of real positions gives the codebook. k-means over
the items and over the codes gives their clusters. Distances are those that queries and outputs see.
"""

import copy

import torch
from torch import Tensor

from conversion.kmeans import centroids_of, kmeans, nearest_centroid
from conversion.seen_space import ITERATIONS, clustered, seen_space
from data.history import History
from models.caches.cluster_pairs import ClusterPairs
from models.caches.factored import FactoredKV
from models.caches.full import FullKV
from models.compression import CODES
from models.event_codes import EventCodes
from models.families.family import Family
from models.families.registry import family_of
from models.layer_sample import MOST_POSITIONS
from models.ranker import Ranker

EVENT_CLUSTERS = (1, 2, 4, 8, 16)  # the numbers that a conversion tries: the one with the least spread within clusters


@torch.no_grad()
def convert_factored(
    full: Ranker, sample: History, seed: int, clusters: int = Family.clusters, codes: int = CODES
) -> Ranker:
    """Returns a copy of a full model with a factored pool. `sample` holds histories of real users.

    Raises ValueError if the model's attention cannot read cluster means.
    """
    seen = seen_space(full, sample)  # [E, A]
    item = sample.item[sample.valid][:MOST_POSITIONS]  # [P]
    events = full.events(sample)[sample.valid][:MOST_POSITIONS]  # [P, 2E]
    space = event_space(full.item(item), seen)
    model = copy.deepcopy(full).eval()
    model.event_codes = event_codes(events, space, codes, seed)
    share_items(model, sample, seen, space, seed, clusters)
    return model


def share_items(model: Ranker, sample: History, seen: Tensor, space: Tensor, seed: int, clusters: int) -> None:
    """Makes the items the pool of a full model that has event codes. Finds the clusters of items and of codes.

    Distances are in `seen` [E, A], of events in `space` [2E, 2A].
    """
    item = sample.item[sample.valid][:MOST_POSITIONS]  # [P]
    code = model.codes_of(sample)[sample.valid][:MOST_POSITIONS]  # [P]
    s = model.embed_history(sample)[sample.valid][:MOST_POSITIONS] @ seen  # [P, A]
    found = []
    for code_count in EVENT_CLUSTERS:
        item_count = max(1, clusters // code_count)
        pairs = ClusterPairs(
            clustered(model.item.weight @ seen, item, item_count, seed),
            clustered(model.event_codes.rows @ space, code, code_count, seed),
            item_count,
            code_count,
        )
        at = pairs.of(item, code)
        found.append((float((s - centroids_of(s, at, pairs.count)[at]).square().sum()), pairs))
    _, best = min(found, key=lambda pair: pair[0])
    cache: FullKV = model.cache
    model.cache = FactoredKV(cache.key, cache.value, best)
    for module in family_of(model).route_modules(model):
        if module is not model.item:  # a record has the item's index: its row may change
            module.requires_grad_(False)


def event_space(items: Tensor, seen: Tensor) -> Tensor:
    """Returns [2E, 2A]: an error e of an event [g, h] costs |e A|^2, with items of the embeddings [P, E].

    An error of g counts times the item, an error of h as it is.
    """
    size = items.square().mean(0).sqrt()[:, None]  # [E, 1]
    return torch.block_diag(size * seen, seen)


@torch.no_grad()
def event_codes(events: Tensor, space: Tensor, codes: int, seed: int) -> EventCodes:
    """Returns the codebook of events [P, 2E] = [g, h], with distances in `space`.

    Up to `codes` distinct events stay exact.
    """
    distinct = events.unique(dim=0)
    book = EventCodes(min(codes, len(distinct)), events.shape[1] // 2).to(events.device)
    points = events @ space
    centroids = distinct @ space if len(distinct) <= codes else kmeans(points, codes, ITERATIONS, seed)
    book.router.weight.copy_(centroids @ space.T)  # argmin |x - c|^2 = argmax x c - |c|^2 / 2
    book.router.bias.copy_(-centroids.square().sum(1) / 2)
    _, chosen = nearest_centroid(points, centroids)
    book.rows.copy_(centroids_of(events, chosen, len(centroids)))
    return book
