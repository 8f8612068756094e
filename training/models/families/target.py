"""Target attention: candidates attend to every position, by multi-head softmax. The base of most families."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from models.caches.cluster_means import ClusterMeans
from models.caches.history_cache import Cached
from models.config import ModelConfig
from models.families.family import Attention
from models.families.one_cache import OneCacheFamily, OneCacheOracle
from models.families.search_cut import CUT_MARGIN, write_cut, write_kept, write_mask
from models.families.softmax import Pair, attend, attend_to_clusters, write_fused, write_logits, write_pooled
from models.graphs.builder import Graph
from models.graphs.explained import HISTORY, WeighedRows
from models.graphs.rows import HistoryRows, Rows
from models.layer_sample import query_metric
from models.oracle_math import Vector, softmax_sum

SEARCHED_CLUSTERS = 2048  # of a family with a search: it keeps whole clusters, so these must be fine


class TargetAttention(Attention):
    """Multi-head softmax attention over the visible positions and a learned null position.

    A family with a search overrides `search_scores` and `write_search_scores`, and sets `searches`. The `top_k`
    positions with the highest scores are kept, with all that tie with the last of them.
    """

    searches = False

    def __init__(self, c: ModelConfig):
        super().__init__()
        self.config = c
        self.query = nn.Linear(c.embedding, c.d_model)
        self.null_key = nn.Parameter(torch.zeros(c.d_model))
        self.null_value = nn.Parameter(torch.zeros(c.d_model))
        self.out = nn.Linear(c.d_model, c.embedding)

    def match_keys(self, key: nn.Linear) -> None:
        """Sets the weights so that attention begins by matching equal items with each other."""
        with torch.no_grad():
            key.weight.copy_(self.query.weight)
            self.query.weight.mul_(4)

    def key_metric(self, items: Tensor, kv: Cached) -> Tensor | None:
        return query_metric(self.query(items), self.config.heads)

    def forward(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        if kv.key is None:
            return self.out(self.null_value).expand_as(item)
        return self.long(item, kv, visible)

    @property
    def null(self) -> Pair:
        return self.null_key, self.null_value

    def long(self, item: Tensor, kv: Cached, visible: Tensor) -> Tensor:
        """Returns the long part, over the kept positions: [B, C, E]."""
        query = self.query(item)  # [B, C, D]
        kept = self.select(item, query, kv.key, visible)  # [B, C, N]
        return self.out(attend(query, kv, self.null, kept, self.config.heads))

    def over_clusters(self, item: Tensor, clusters: ClusterMeans, key: nn.Linear, value: nn.Linear) -> Tensor:
        query = self.query(item)  # [C, D]
        if self.searches:
            clusters = self.select_clusters(item, query, clusters, key)
        maps = (key.weight, key.bias), (value.weight, value.bias)
        return self.out(attend_to_clusters(query, clusters, *maps, self.null, self.config.heads))

    @torch.no_grad()
    def select_clusters(self, item: Tensor, query: Tensor, clusters: ClusterMeans, key: nn.Linear) -> ClusterMeans:
        """Returns the clusters that attention keeps: whole ones, by the scores of their mean keys. Others count 0."""
        scores = self.search_scores(item[:, None], query[:, None], key(clusters.mean))[:, 0]  # [C, G]
        kept = keep_top_clusters(scores, clusters.count, self.config.top_k)
        return ClusterMeans(clusters.mean, clusters.count * kept)

    @torch.no_grad()
    def select(self, item: Tensor, query: Tensor, key: Tensor, visible: Tensor) -> Tensor:
        """Returns the positions that attention keeps: [B, C, N] bool."""
        if not self.searches:
            return visible
        return keep_top(self.search_scores(item, query, key), visible, self.config.top_k)

    def search_scores(self, item: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Scores [B, C, N] of keys [B, N, D], for item embeddings [B, C, E] and the attention's queries [B, C, D]."""
        raise NotImplementedError

    def write_search_scores(self, g: Graph, rows: Rows, item: str) -> str:
        """Adds the same scores to a graph, [C, S]."""
        raise NotImplementedError

    def write_parts(self, g: Graph, history: HistoryRows, item: str) -> list[tuple[str, Tensor]]:
        return [(self.write_long(g, history.rows, item), self.out.weight)]

    def write_weights(self, g: Graph, history: HistoryRows, item: str) -> list[WeighedRows]:
        weights, value, heads = self.write_long_weights(g, history.rows, item)
        return [WeighedRows(HISTORY, HISTORY, weights, value, heads, self.null_value, self.out.weight)]

    def write_long_weights(self, g: Graph, rows: Rows, item: str) -> tuple[str, str, int]:
        """Adds the long part's weights [H, C, S + 1] and values [H, S + 1, D/H]. Returns them and H."""
        heads = self.config.heads
        logits, value = write_logits(g, item, self.query, rows, self.null, heads)
        if self.searches:
            cut = write_cut(g, self.write_search_scores(g, rows, item), rows, item, self.config.top_k)
            logits = g.add("Add", logits, write_mask(g, cut))
        return g.add("Softmax", logits, axis=-1), value, heads

    def write_long(self, g: Graph, rows: Rows, item: str) -> str:
        """Adds the long part to a graph, before its output projection: [C, D]."""
        c = self.config
        if rows.count is None and not self.searches:
            return write_fused(g, item, self.query, rows, self.null, c.heads)
        if not self.searches:
            logits, value = write_logits(g, item, self.query, rows, self.null, c.heads)
            return write_pooled(g, logits, value, c.d_model)
        cut = write_cut(g, self.write_search_scores(g, rows, item), rows, item, c.top_k)
        if rows.embedding and not g.padded:
            return write_kept(g, item, self.query, rows, cut, self.null, c.heads)
        logits, value = write_logits(g, item, self.query, rows, self.null, c.heads)
        return write_pooled(g, g.add("Add", logits, write_mask(g, cut)), value, c.d_model)


def keep_top(score: Tensor, visible: Tensor, k: int) -> Tensor:
    """Returns the `k` visible positions with the highest scores, and all ties with the last: [B, C, N] bool."""
    if score.shape[-1] <= k:
        return visible
    cut = score.masked_fill(~visible, -torch.inf).topk(k, -1).values[..., -1:]
    return visible & (score >= cut - CUT_MARGIN * cut.abs().nan_to_num(posinf=0.0).clamp(min=1))


def keep_top_clusters(score: Tensor, count: Tensor, k: int) -> Tensor:
    """Returns the clusters with the highest scores that have `k` positions together, and all ties with the last.

    This is `keep_top` if every position has the score of its cluster: scores and counts [C, G] -> [C, G] bool.
    """
    if score.shape[-1] == 0:
        return count > 0
    best, index = score.masked_fill(count == 0, -torch.inf).sort(-1, descending=True)
    sizes = count.gather(-1, index)
    before = sizes.cumsum(-1) - sizes
    cut = best.masked_fill(before >= k, torch.inf).amin(-1, keepdim=True)  # -inf if there are fewer positions
    return (count > 0) & (score >= cut - CUT_MARGIN * cut.abs().nan_to_num(posinf=0.0).clamp(min=1))


class TargetOracle(OneCacheOracle):
    """Softmax attention, head by head, over the positions that the search keeps and the null position."""

    MARGIN = 1e-5  # written down once more, so that a wrong CUT_MARGIN shows

    def long(self, keys: list[Vector], values: list[Vector], item: Vector) -> Vector:
        query = self.p.linear("attention.query", item)
        chosen = self.search(keys, query, item)
        null = (self.p["attention.null_key"], self.p["attention.null_value"])
        rows = [*((keys[i], values[i]) for i in chosen), null]
        return self.p.linear("attention.out", attend_by_head(query, rows, self.c.d_model // self.c.heads))

    def search(self, keys: list[Vector], query: Vector, item: Vector) -> list[int]:
        """Returns the indices of the kept positions."""
        scores = self.scores(keys, query, item)
        if scores is None or len(keys) <= self.c.top_k:
            return list(range(len(keys)))
        cut = sorted(scores, reverse=True)[self.c.top_k - 1]
        return [i for i, x in enumerate(scores) if x >= cut - self.MARGIN * max(1, abs(cut))]

    def scores(self, keys: list[Vector], query: Vector, item: Vector) -> list[float] | None:
        """Returns the search's score of every key; None: nothing is searched."""
        return None


def attend_by_head(query: Vector, rows: list[tuple[Vector, Vector]], width: int) -> Vector:
    """Adds softmax attention over keys and values, in heads of `width` columns: as wide as the query."""
    attended = []
    for begin in range(0, len(query), width):
        part = slice(begin, begin + width)
        logits = [query[part] @ key[part] / math.sqrt(width) for key, _ in rows]
        attended.append(softmax_sum(logits, [value[part] for _, value in rows]))
    return np.concatenate(attended)


TARGET = OneCacheFamily(
    name="target",
    title="target attention",
    bundle_family="target-attention",
    description="Target attention over a user's history",
    attention=TargetAttention,
    attention_oracle=TargetOracle,
    reads_clusters=True,
    explains=True,
)
