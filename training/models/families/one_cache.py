"""Families whose positions do not attend to each other: one cache, and an attention over it."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data.history import Candidates, History
from models.caches.cluster_means import cluster_means
from models.caches.full import FullKV
from models.caches.history_cache import HistoryCache
from models.caches.oracles import CacheOracle
from models.caches.record_layer import RecordLayer
from models.config import ModelConfig
from models.families.family import Attention, AttentionOracle, Family, SeenPositions
from models.graphs.builder import Graph
from models.graphs.explained import ExplainedRows, WeighedRows
from models.layer_sample import MOST_POSITIONS, LayerSample
from models.oracle_math import Parameters, Vector
from models.ranker import Ranker, visible_positions

CANDIDATES_TOGETHER = 256  # candidates whose cluster means are in memory at a time


class OneCacheRanker(Ranker):
    """A ranker with one cache and a family's attention over it. A learned null position makes an empty history work."""

    def __init__(self, config: ModelConfig, attention: Attention):
        super().__init__(config)
        self.cache: HistoryCache = FullKV(config.embedding, len(attention.null_key))
        self.attention = attention
        self.add_scorer()

    def forward(self, history: History, candidates: Candidates) -> Tensor:
        item = self.item(candidates.item)  # [B, C, E]
        visible = visible_positions(history.valid, candidates.now, self.config.max_positions)  # [B, C, N]
        s = self.embed_history(history)
        cluster = None if self.training else self.cache.clusters_of(self, history)
        if cluster is not None:
            attended = self.attend_to_clusters(item, s, cluster, visible)
            if self.attention.recent_positions:
                attended = attended + self.attention.short(item, self.cache(s, s), visible, candidates.now)
            return self.scorer(item, attended, candidates)
        kv = self.cache(s, s)
        attended = self.attention(item, kv, visible, candidates.now)  # [B, C, E]
        if kv.user_key is not None:
            attended = attended + self.cache.user_head(item, kv.user_key, kv.user_value, visible)
        return self.scorer(item, attended, candidates)

    def attend_to_clusters(self, item: Tensor, s: Tensor, cluster: Tensor, visible: Tensor) -> Tensor:
        """Returns the long part [B, C, E] by cluster means, as a bundle serves it. Training sees single positions.

        Item embeddings [B, C, E], position embeddings [B, N, E], each position's cluster [B, N], visible [B, C, N].
        """
        parts = []
        for user in range(len(item)):
            visited, at = cluster[user].unique(return_inverse=True)
            for some in torch.arange(item.shape[1]).split(CANDIDATES_TOGETHER):
                means = cluster_means(s[user], at, len(visited), visible[user, some])
                parts.append(self.attention.over_clusters(item[user, some], means, self.cache.key, self.cache.value))
        return torch.cat(parts).view_as(item) if parts else torch.zeros_like(item)

    def cache_holders(self) -> list[nn.Module]:
        return [self]

    def layers(self, history: History) -> Iterator[tuple[HistoryCache, Tensor, Tensor]]:
        s = self.embed_history(history)
        yield self.cache, s, s


@dataclass(frozen=True)
class OneCacheFamily(Family):
    """A family by its attention and the attention's oracle."""

    name: str
    title: str
    bundle_family: str
    description: str
    attention: Callable[[ModelConfig], Attention]
    attention_oracle: Callable[[ModelConfig, Parameters, CacheOracle], "OneCacheOracle"]
    least_heads: int = 1
    default_layers: int | None = None
    reads_clusters: bool = False
    clusters: int = Family.clusters
    explains: bool = False

    def create(self, config: ModelConfig) -> OneCacheRanker:
        attention = self.attention(config)
        model = OneCacheRanker(config, attention)
        attention.match_keys(model.cache.key)
        return model

    def layer_samples(self, model: OneCacheRanker, sample: History) -> Iterator[LayerSample]:
        s = model.embed_history(sample)[sample.valid][:MOST_POSITIONS]  # [P, E]
        kv = model.cache(s)
        attention = model.attention
        key_metric = attention.key_metric(model.item.weight[1:], kv)
        yield LayerSample(s, kv.key, kv.value, key_metric, attention.value_metric())

    def keep_full(self, full: OneCacheRanker, kept: str) -> OneCacheRanker:
        null = (full.attention.null_key, full.attention.null_value)
        copied = copy.copy(full)
        copied._modules = full._modules | {"cache": full.cache.in_record_as(kept, null)}
        return copied

    def write_encode(self, g: Graph, model: OneCacheRanker, layers: list[RecordLayer]) -> None:
        (layer,) = layers
        layer.write_encode(g, model)

    def write_attention(
        self, g: Graph, model: OneCacheRanker, layers: list[RecordLayer], item: str, assembled: bool
    ) -> str:
        """Adds all parts of the attention, and the user head, with one output projection. Returns the output's name."""
        (layer,), attention = layers, model.attention
        if assembled:
            history = layer.rows_assembled(g, attention.recent_positions)
        else:
            history = layer.rows_from_record(g, layer.collapses, attention.recent_positions)
        parts = attention.write_parts(g, history, item)
        if history.user:
            parts.append((layer.write_user_part(g, history.user, item), layer.user_out()))
        outputs, weights = zip(*parts)
        joined = outputs[0] if len(parts) == 1 else g.add("Concat", *outputs, axis=1)
        weight = g.tensor("out_weight", torch.cat(weights, 1).T)
        return g.add("Gemm", joined, weight, g.tensor("out_bias", attention.out.bias))

    def write_weights(
        self, g: Graph, model: OneCacheRanker, layers: list[RecordLayer], item: str
    ) -> tuple[ExplainedRows, list[WeighedRows]]:
        (layer,) = layers
        rows = layer.rows_explained(g, model.attention.recent_positions)
        parts = model.attention.write_weights(g, rows.history, item)
        if rows.history.user:
            parts.append(layer.write_user_weights(g, rows.history.user, item))
        return rows, parts

    def oracle(self, model: OneCacheRanker, parameters: Parameters) -> "OneCacheOracle":
        return self.attention_oracle(model.config, parameters, model.cache.oracle(parameters, "cache"))


class OneCacheOracle(AttentionOracle):
    """A family's attention over the positions that a candidate sees."""

    def __init__(self, config: ModelConfig, parameters: Parameters, cache: CacheOracle):
        self.c, self.p, self.cache = config, parameters, cache

    def attended(self, item: Vector, seen: SeenPositions, now: int) -> Vector:
        newest = [i for i, place in enumerate(seen.places) if now - place <= self.c.max_positions]
        kept = [self.cache.kept(seen.s[i]) for i in newest]
        keys, values, users = ([row[part] for row in kept] for part in range(3))
        clusters = self.cache.clusters([seen.s[i] for i in newest], [seen.slots[i] for i in newest])
        if self.cache.pool_less:
            attended = self.p.linear("attention.out", self.p["attention.null_value"])
        elif clusters is None:
            attended = self.long(keys, values, item) + self.short(keys, values, item)
        else:
            attended = self.long(*one_row_each(*clusters), item) + self.short(keys, values, item)
        return attended + self.cache.user_head(item, users)

    @abstractmethod
    def long(self, keys: list[Vector], values: list[Vector], item: Vector) -> Vector:
        """Returns the long part's output [E] over keys and values [D] of the positions seen, oldest first."""

    def short(self, keys: list[Vector], values: list[Vector], item: Vector) -> Vector | float:
        """Returns the same of the short part; 0 without one."""
        return 0.0


def one_row_each(keys: list[Vector], values: list[Vector], counts: list[int]) -> tuple[list[Vector], list[Vector]]:
    """Returns a key and a value for each position of the clusters: a cluster of n positions is n equal rows."""
    places = [g for g, count in enumerate(counts) for _ in range(count)]
    return [keys[g] for g in places], [values[g] for g in places]
