"""ETA: the search compares SimHash fingerprints. Source: arXiv 2108.04468."""

import torch
from torch import Tensor

from models.config import ModelConfig
from models.families.one_cache import OneCacheFamily
from models.families.recent import LEAST_HEADS, LongAndRecent, LongAndRecentOracle
from models.families.target import SEARCHED_CLUSTERS
from models.graphs.builder import Graph
from models.graphs.rows import Rows
from models.oracle_math import Vector


class Eta(LongAndRecent):
    """The search keeps the top k positions by the Hamming distance between the fingerprints of query and key."""

    searches = True

    def __init__(self, c: ModelConfig):
        super().__init__(c)
        self.register_buffer("planes", torch.randn(c.d_model, c.hash_bits))

    def search_scores(self, item: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return signs(query @ self.planes) @ signs(key @ self.planes).mT

    def write_search_scores(self, g: Graph, rows: Rows, item: str) -> str:
        query = g.linear(item, "fingerprint_query", self.query)
        query = g.add("MatMul", query, g.tensor("planes", self.planes))
        key = rows.projected(g, "fingerprint_key", self.planes)
        return g.add("Gemm", write_signs(g, query), write_signs(g, key), transB=1)


def signs(x: Tensor) -> Tensor:
    """Returns 1 where x is positive, else -1."""
    return (x > 0).to(x.dtype) * 2 - 1


def write_signs(g: Graph, x: str) -> str:
    return g.add("Where", g.add("Greater", x, g.number(0.0)), g.number(1.0), g.number(-1.0))


class EtaOracle(LongAndRecentOracle):
    def scores(self, keys: list[Vector], query: Vector, item: Vector) -> list[float]:
        planes = self.p["attention.planes"]
        return [-2 * hamming(query @ planes > 0, key @ planes > 0) for key in keys]


def hamming(a: Vector, b: Vector) -> int:
    return int((a != b).sum())


ETA = OneCacheFamily(
    name="eta",
    title="ETA",
    bundle_family="eta",
    description="ETA: target attention over the nearest positions by SimHash, and over the most recent ones",
    attention=Eta,
    attention_oracle=EtaOracle,
    least_heads=LEAST_HEADS,
    reads_clusters=True,
    explains=True,
    clusters=SEARCHED_CLUSTERS,
)
