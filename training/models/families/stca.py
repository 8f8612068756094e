"""STCA: stacked attention from the candidate to the history. Source: arXiv 2511.06077.

Every layer attends to the same positions. The first layer's query comes from the candidate alone. A further layer's
query comes from the candidate and the outputs of the layers below. Keys and values of all layers are linear in S. So
one cache holds all layers, each in columns of its own, and one set of cluster means serves them all.

Two things differ from the source. There, each layer passes the history through a feed-forward network. Here it reads S
itself, because cluster means need keys and values that are linear in S. And a further layer's query is made from the
sum of the candidate and a network's output, not from a norm of that output. So every layer begins by matching equal
items with each other.

Shapes as in family.py. L layers; keys and values of all layers are L * D wide.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.caches.cluster_means import ClusterMeans
from models.caches.history_cache import Cached
from models.config import ModelConfig
from models.families.family import Attention
from models.families.one_cache import OneCacheFamily, OneCacheOracle
from models.families.softmax import Pair, attend, attend_to_clusters, write_fused, write_logits, write_pooled
from models.families.target import attend_by_head
from models.graphs.builder import Graph
from models.graphs.explained import HISTORY, WeighedRows
from models.graphs.rows import HistoryRows, Rows
from models.layer_sample import query_metric
from models.oracle_math import Vector, silu

METRIC_POSITIONS = 512  # positions of the history with which the key metric finds the queries of further layers


class Fusion(nn.Module):
    """What a further layer's query is made from: the candidate, plus a gated network over it and the outputs below."""

    def __init__(self, embedding: int, below: int):
        super().__init__()
        self.gate = nn.Linear(embedding + below, embedding)
        self.up = nn.Linear(embedding + below, embedding)
        self.down = nn.Linear(embedding, embedding)

    def forward(self, item: Tensor, outputs: list[Tensor]) -> Tensor:
        """Item embeddings [..., E] and the outputs of the layers below, each [..., D] -> [..., E]."""
        x = torch.cat([item, *outputs], -1)
        return item + self.down(F.silu(self.gate(x)) * self.up(x))

    def write(self, g: Graph, prefix: str, item: str, outputs: list[str]) -> str:
        """Adds the same to a graph: [C, E]."""
        x = g.add("Concat", item, *outputs, axis=1)
        gate = g.linear(x, f"{prefix}gate", self.gate)
        gated = g.add("Mul", g.add("Mul", gate, g.add("Sigmoid", gate)), g.linear(x, f"{prefix}up", self.up))
        return g.add("Add", item, g.linear(gated, f"{prefix}down", self.down))


class Stca(Attention):
    """Layers of multi-head softmax attention, with a null position each. The output joins those of all layers."""

    def __init__(self, c: ModelConfig):
        super().__init__()
        self.config = c
        e, d = c.embedding, c.d_model
        self.queries = nn.ModuleList(nn.Linear(e, d) for _ in range(c.layers))
        self.fusions = nn.ModuleList(Fusion(e, depth * d) for depth in range(1, c.layers))
        self.null_key = nn.Parameter(torch.zeros(c.layers * d))
        self.null_value = nn.Parameter(torch.zeros(c.layers * d))
        self.out = nn.Linear(c.layers * d, e)

    def part(self, depth: int) -> slice:
        """Returns a layer's columns of keys and values."""
        return slice(depth * self.config.d_model, (depth + 1) * self.config.d_model)

    def null(self, depth: int) -> Pair:
        return self.null_key[self.part(depth)], self.null_value[self.part(depth)]

    def match_keys(self, key: nn.Linear) -> None:
        """Sets the weights so that every layer begins by matching equal items with each other."""
        with torch.no_grad():
            for depth, query in enumerate(self.queries):
                key.weight[self.part(depth)] = query.weight
                query.weight.mul_(4)

    def key_metric(self, items: Tensor, kv: Cached) -> Tensor:
        some = slice(None, None, max(1, len(kv.key) // METRIC_POSITIONS))
        one = Cached(kv.key[None, some], kv.value[None, some])  # a history of positions of many users
        visible = torch.ones(1, len(items), one.key.shape[1], dtype=torch.bool, device=items.device)
        queries: list[Tensor] = []

        def attend_and_keep(depth: int, query: Tensor) -> Tensor:
            queries.append(query[0])
            return self.over_positions(depth, query, one, visible)

        self.chain(items[None], attend_and_keep)
        return query_metric(torch.cat(queries, -1), self.config.layers * self.config.heads)

    def forward(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        if kv.key is None:
            return self.out(self.null_value).expand_as(item)
        return self.out(self.chain(item, lambda depth, query: self.over_positions(depth, query, kv, visible)))

    def by_fixed_weights(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        return self.out(self.chain(item, lambda depth, query: self.over_positions(depth, query.detach(), kv, visible)))

    def over_clusters(self, item: Tensor, clusters: ClusterMeans, key: nn.Linear, value: nn.Linear) -> Tensor:
        def attend_to_means(depth: int, query: Tensor) -> Tensor:
            part = self.part(depth)
            maps = ((x.weight[part], x.bias[part]) for x in (key, value))
            return attend_to_clusters(query, clusters, *maps, self.null(depth), self.config.heads)

        return self.out(self.chain(item, attend_to_means))

    def chain(self, item: Tensor, attend: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Returns the outputs of all layers, [..., C, L * D]. `attend` maps a depth and its query to the output."""
        outputs: list[Tensor] = []
        for depth, query in enumerate(self.queries):
            x = self.fusions[depth - 1](item, outputs) if depth else item
            outputs.append(attend(depth, query(x)))
        return torch.cat(outputs, -1)

    def over_positions(self, depth: int, query: Tensor, kv: Cached, visible: Tensor) -> Tensor:
        """Attends in one layer to visible [B, C, N] positions: queries [B, C, D] -> [B, C, D]."""
        part = self.part(depth)
        own = Cached(kv.key[..., part], kv.value[..., part])
        return attend(query, own, self.null(depth), visible, self.config.heads)

    def write_parts(self, g: Graph, history: HistoryRows, item: str) -> list[tuple[str, Tensor]]:
        outputs: list[str] = []
        for depth in range(self.config.layers):
            prefix = f"layer{depth}_"
            x = self.fusions[depth - 1].write(g, prefix, item, outputs) if depth else item
            outputs.append(self.write_layer(g, prefix, depth, x, history.rows))
        return [(output, self.out.weight[:, self.part(depth)]) for depth, output in enumerate(outputs)]

    def write_layer(self, g: Graph, prefix: str, depth: int, x: str, rows: Rows) -> str:
        """Adds one layer, whose query is made from `x` [C, E], over its columns of the rows [S, L * D]: [C, D]."""
        c = self.config
        own = self.write_columns(g, depth, rows)
        layer = (g, x, self.queries[depth], own, self.null(depth), c.heads, prefix)
        return write_fused(*layer) if rows.count is None else write_pooled(g, *write_logits(*layer), c.d_model)

    def write_columns(self, g: Graph, depth: int, rows: Rows) -> Rows:
        """Adds a layer's columns of the rows, [S, D] each."""
        part = self.part(depth)
        cut = g.constant(part.start), g.constant(part.stop), g.constant(1)
        return Rows(*(g.add("Slice", whole, *cut) for whole in (rows.key, rows.value)), rows.count)

    def write_weights(self, g: Graph, history: HistoryRows, item: str) -> list[WeighedRows]:
        heads, outputs, parts = self.config.heads, [], []
        for depth in range(self.config.layers):
            prefix, part = f"layer{depth}_", self.part(depth)
            x = self.fusions[depth - 1].write(g, prefix, item, outputs) if depth else item
            own = self.write_columns(g, depth, history.rows)
            logits, value = write_logits(g, x, self.queries[depth], own, self.null(depth), heads, prefix)
            outputs.append(write_pooled(g, logits, value, self.config.d_model))
            weights = g.add("Softmax", logits, axis=-1)
            null, out = self.null(depth)[1], self.out.weight[:, part]
            parts.append(WeighedRows(f"layer{depth}", HISTORY, weights, value, heads, null, out, part.start))
        return parts


class StcaOracle(OneCacheOracle):
    def long(self, keys: list[Vector], values: list[Vector], item: Vector) -> Vector:
        d = self.c.d_model
        rows = [*zip(keys, values), (self.p["attention.null_key"], self.p["attention.null_value"])]
        outputs: list[Vector] = []
        for depth in range(self.c.layers):
            x = item + self.fused(depth, np.concatenate([item, *outputs])) if depth else item
            own = [(key[depth * d : (depth + 1) * d], value[depth * d : (depth + 1) * d]) for key, value in rows]
            query = self.p.linear(f"attention.queries.{depth}", x)
            outputs.append(attend_by_head(query, own, d // self.c.heads))
        return self.p.linear("attention.out", np.concatenate(outputs))

    def fused(self, depth: int, x: Vector) -> Vector:
        name = f"attention.fusions.{depth - 1}"
        return self.p.linear(f"{name}.down", silu(self.p.linear(f"{name}.gate", x)) * self.p.linear(f"{name}.up", x))


STCA = OneCacheFamily(
    name="stca",
    title="STCA",
    bundle_family="stca",
    description="STCA: stacked target attention; each layer's query comes from the candidate and the layers below",
    attention=Stca,
    attention_oracle=StcaOracle,
    default_layers=2,
    reads_clusters=True,
    explains=True,
)
