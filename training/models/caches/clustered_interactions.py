"""A factored pool without its record: records hold interactions, and every request computes what the pool would tell.

From each position's item, action and features, the rank graph computes the event's code, S, the cluster, and then the
means over clusters. Scores are those of the factored pool. The form shows what its record saves: see `recompute` in
docs/benchmarks.md, which does the same without clusters.
"""

import copy

import numpy as np
from onnx import TensorProto
from torch import Tensor

from data.history import History
from models.caches.factored import FactoredKV
from models.caches.factored_record import FactoredRecord
from models.caches.full_record import ITEM, FullRecord
from models.caches.record_layer import Encoded, Tables, pool_of
from models.embeddings import Embeddings
from models.graphs.builder import Graph
from models.graphs.embed import turned
from models.graphs.rows import HistoryRows, Rows
from models.ranker import Ranker

CLUSTERS = "item_clusters"  # the KV group of one number for each item


def keep_interactions(factored: Ranker) -> Ranker:
    """Returns a model with a factored pool with the cache whose records hold interactions. It shares the parameters."""
    copied = copy.copy(factored)
    pool: FactoredKV = factored.cache
    copied._modules = factored._modules | {"cache": ClusteredInteractions(pool.key, pool.value, pool.pairs)}
    return copied.eval()


class ClusteredInteractions(FactoredKV):
    """The codes, clusters and means of a factored pool, computed from interactions."""

    def record_layer(self, prefix: str, model: Embeddings) -> "ClusteredInteractionsRecord":
        return ClusteredInteractionsRecord(model, self)


class ClusteredInteractionsRecord(FullRecord):
    """The interactions, and the graph from them to cluster means."""

    explains = False  # a cluster is known inside the graph alone
    batches = False  # and so is the number of clusters

    def __init__(self, model: Embeddings, cache: ClusteredInteractions):
        super().__init__(model, cache.key, cache.value, "interactions")
        self.pairs, self.codes = cache.pairs, model.event_codes
        self.first = (self.pairs.item * self.pairs.code_count).float()  # [items]: the first cluster of each item
        self.coded = FactoredRecord(model, cache.key, cache.value, cache.pairs)
        self.note = "; codes and cluster means are computed from the interactions at every request"

    def groups(self) -> list[dict]:
        pool = pool_of(self.model.config.items, 1)
        return [*super().groups(), {"name": CLUSTERS, "pool": pool, "key": {"route": ITEM}}]

    def tables(self) -> dict[str, Tables]:
        return super().tables() | {CLUSTERS: (("pool_item_clusters", self.first[:, None]), None)}

    def encode(self, history: History, s: Tensor, x: Tensor) -> Encoded:
        encoded = super().encode(history, s, x)
        encoded.route_margin = self.coded.encode(history, s, x).route_margin
        return encoded

    def computed_rows(self, g: Graph, assembled: bool, recent: int) -> HistoryRows:
        """Returns the mean keys and values of visited clusters, [G, D] each, and their counts.

        The `recent` newest positions are rows of their own.
        """
        item, event = self.item_and_event(g, assembled)  # [N, E], [N, 2E]
        code = g.add("ArgMax", g.linear(event, "event_router", self.codes.router), axis=1, keepdims=0)  # [N]
        s = turned(g, self.model, item, g.add("Gather", g.tensor("event_rows", self.codes.rows), code))  # [N, E]
        event_cluster = g.add("Gather", g.tensor("code_clusters", self.pairs.code), code)
        cluster = g.add("Add", self.first_clusters(g, assembled), g.add("Unsqueeze", event_cluster, g.constant(1)))
        e, clusters = self.model.config.embedding, self.pairs.count
        sums = self.added(g, np.zeros((clusters, e)), cluster, s)  # [clusters, E]
        ones = g.add("Expand", g.number(1.0), g.add("Shape", cluster, start=0, end=1))
        counts = self.added(g, np.zeros(clusters), cluster, ones)  # [clusters]
        visited = g.add("Squeeze", g.add("NonZero", counts), g.constant(0))  # [G]
        sums, count = g.add("Gather", sums, visited), g.add("Gather", counts, visited)
        mean = g.add("Div", sums, g.add("Unsqueeze", count, g.constant(1)))
        newest = None
        if recent:
            newest = g.add("Slice", s, g.constant(-recent), g.constant(2**31), g.constant(0))  # [R, E]
            newest = Rows(*self.project(g, newest))
        return HistoryRows(Rows(*self.project(g, mean), count), recent=newest)

    def first_clusters(self, g: Graph, assembled: bool) -> str:
        """Adds the first cluster of every position's item, [N, 1]."""
        if assembled:
            found = g.input(f"{CLUSTERS}_key", "float32", ["positions", 1], "key", group=CLUSTERS)
        else:
            routes = g.input(f"history_{ITEM}s", "int64", ["positions"], "routes", field=ITEM)
            found = g.add("Gather", g.tensor("pool_item_clusters", self.first[:, None]), routes)
        return g.add("Cast", found, to=TensorProto.INT64)

    def added(self, g: Graph, zeros: np.ndarray, cluster: str, x: str) -> str:
        """Adds up the rows of `x` [N, ...] by cluster [N, 1], from `zeros` [clusters, ...]."""
        return g.add("ScatterND", g.tensor(f"zeros_{zeros.ndim}", zeros), cluster, x, reduction="add")
