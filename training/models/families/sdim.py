"""SDIM: hash collisions with the candidate weigh the positions. Source: arXiv 2205.10249."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.caches.cluster_means import ClusterMeans
from models.caches.history_cache import Cached
from models.config import ModelConfig
from models.families.one_cache import OneCacheFamily
from models.families.recent import LEAST_HEADS, LongAndRecent, LongAndRecentOracle
from models.graphs.builder import Graph
from models.graphs.rows import Rows
from models.oracle_math import Vector


class Sdim(LongAndRecent):
    """The weight of a position is the share of hash functions that put its key into the query's bucket.

    Over random planes, this share estimates (1 - angle / pi)^bits. Training takes the gradient of that estimate,
    because the hash itself has none.
    """

    def __init__(self, c: ModelConfig):
        super().__init__(c)
        self.register_buffer("planes", torch.randn(c.d_model, c.hashes * c.bits_per_hash))
        self.null_key.requires_grad_(False)  # the null position has weight 1

    def key_metric(self, items: Tensor, kv: Cached) -> None:
        """Returns None: the hashes see the key as it is."""
        return None

    def long(self, item: Tensor, kv: Cached, visible: Tensor) -> Tensor:
        c = self.config
        query = self.query(item)
        weights = self.collisions(query, kv.key)  # [B, C, N]
        if torch.is_grad_enabled():
            cosine = F.normalize(query, dim=-1) @ F.normalize(kv.key, dim=-1).mT
            soft = (1 - cosine.clamp(-0.999, 0.999).arccos() / math.pi) ** c.bits_per_hash
            weights = soft + (weights - soft).detach()
        weights = weights * visible
        return self.out((weights @ kv.value + self.null_value) / (weights.sum(-1, keepdim=True) + 1))

    def over_clusters(self, item: Tensor, clusters: ClusterMeans, key: nn.Linear, value: nn.Linear) -> Tensor:
        """Weighs the mean values. The weight of a cluster is its count times the collisions of its mean key."""
        weights = self.collisions(self.query(item)[:, None], key(clusters.mean))[:, 0] * clusters.count  # [C, G]
        total = weights.sum(-1, keepdim=True)
        mean = (weights[:, None] @ clusters.mean)[:, 0]  # [C, E], times `total`
        summed = mean @ value.weight.T + total * value.bias
        return self.out((summed + self.null_value) / (total + 1))

    @torch.no_grad()
    def collisions(self, query: Tensor, key: Tensor) -> Tensor:
        """Returns the share of hashes in which queries [B, C, D] and keys [B, N, D] collide: [B, C, N]."""
        return self.buckets(query) @ self.buckets(key).mT / self.config.hashes

    def buckets(self, x: Tensor) -> Tensor:
        """Returns [..., D] -> [..., hashes * 2^bits], with a one in each hash's bucket."""
        bits = (x @ self.planes > 0).unflatten(-1, (self.config.hashes, -1))  # [..., hashes, bits]
        bucket = (bits * 2 ** torch.arange(bits.shape[-1], device=x.device)).sum(-1)  # [..., hashes]
        return F.one_hot(bucket, 2 ** bits.shape[-1]).flatten(-2).to(x.dtype)

    def write_long(self, g: Graph, rows: Rows, item: str) -> str:
        """Returns the values, weighed by collisions; the null position's weight is 1. [C, D]."""
        weights = self.write_collisions(g, rows, item)
        summed = g.add("Add", g.add("MatMul", weights, rows.value), g.tensor("null_value", self.null_value[None]))
        total = g.add("ReduceSum", weights, g.constant(1), keepdims=1)
        return g.add("Div", summed, g.add("Add", total, g.number(1.0)))

    def write_long_weights(self, g: Graph, rows: Rows, item: str) -> tuple[str, str, int]:
        weights = self.write_collisions(g, rows, item)
        weights = g.add("Pad", weights, g.constant(0, 0, 0, 1), g.number(1.0))  # of the null position
        weights = g.add("Div", weights, g.add("ReduceSum", weights, g.constant(1), keepdims=1))
        value = g.add("Concat", rows.value, g.tensor("null_value", self.null_value[None]), axis=0)
        return g.add("Unsqueeze", weights, g.constant(0)), g.add("Unsqueeze", value, g.constant(0)), 1

    def write_collisions(self, g: Graph, rows: Rows, item: str) -> str:
        """Adds the weight of every row, its count times its share of collisions: [C, S]."""
        query = self.write_buckets(g, g.linear(item, "hash_query", self.query))  # [C, hashes * 2^bits]
        key = self.write_buckets(g, rows.key)  # [S, hashes * 2^bits]
        weights = g.add("Gemm", query, key, transB=1, alpha=1 / self.config.hashes)
        return g.add("Mul", weights, rows.count) if rows.count else weights

    def write_buckets(self, g: Graph, x: str) -> str:
        """Adds [R, D] -> [R, hashes * 2^bits], as in `buckets`."""
        c = self.config
        size = 2**c.bits_per_hash
        bits = g.add("Greater", g.add("MatMul", x, g.tensor("planes", self.planes)), g.number(0.0))
        bits = g.add("Reshape", g.add("Cast", bits, to=1), g.constant(-1, c.hashes, c.bits_per_hash))
        powers = g.tensor("powers", 2.0 ** np.arange(c.bits_per_hash).reshape(-1, 1))
        bucket = g.add("MatMul", bits, powers)  # [R, hashes, 1]
        hot = g.add("Equal", bucket, g.tensor("bucket_numbers", np.arange(size, dtype=np.float32)))
        return g.add("Reshape", g.add("Cast", hot, to=1), g.constant(-1, c.hashes * size))


class SdimOracle(LongAndRecentOracle):
    def long(self, keys: list[Vector], values: list[Vector], item: Vector) -> Vector:
        """Returns the mean of the values.

        A value counts once for each hash whose bits are the same for key and query.
        """
        planes, bits = self.p["attention.planes"], self.c.bits_per_hash
        query = self.p.linear("attention.query", item) @ planes > 0
        summed, total = self.p["attention.null_value"].copy(), 1.0
        for key, value in zip(keys, values):
            mine = key @ planes > 0
            collisions = 0
            for h in range(self.c.hashes):
                part = slice(h * bits, (h + 1) * bits)
                collisions += bool((mine[part] == query[part]).all())
            summed += collisions / self.c.hashes * value
            total += collisions / self.c.hashes
        return self.p.linear("attention.out", summed / total)


SDIM = OneCacheFamily(
    name="sdim",
    title="SDIM",
    bundle_family="sdim",
    description="SDIM: positions weighed by hash collisions, and target attention over the most recent ones",
    attention=Sdim,
    attention_oracle=SdimOracle,
    least_heads=LEAST_HEADS,
    reads_clusters=True,
    explains=True,
)
