"""User records and graphs of caches whose graphs read cluster means, see cluster_means.py."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from models.caches.cluster_means import cluster_means
from models.caches.record_layer import Encoded, RecordLayer
from models.embeddings import Embeddings
from models.graphs.builder import Graph
from models.graphs.explained import ExplainedRows
from models.graphs.rows import EmbeddedRows, HistoryRows, Rows, present

CLUSTERING = "history"


class ClusteredRecord(RecordLayer):
    """Routes without user dims. Graphs read means over clusters of positions; a row is a cluster.

    Families with a short part read the embeddings of the newest positions as well.
    """

    collapses = True
    explains = True

    def __init__(self, model: Embeddings, key: nn.Linear, value: nn.Linear, cluster_count: int):
        self.model, self.key, self.value, self.cluster_count = model, key, value, cluster_count

    @abstractmethod
    def coded(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Returns what the fields of one user's history tell: S of each position, [N, E], and its cluster, [N]."""

    def cluster_rows(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        s, cluster = self.coded(encoded)
        seen = torch.ones(1, len(s), dtype=torch.bool)
        found = cluster_means(s, cluster, self.cluster_count, seen)
        visited = found.count[0] > 0
        return found.count[0][visited], found.mean[0][visited]

    def cluster_places(self, encoded: Encoded) -> Tensor:
        return self.coded(encoded)[1].unique(return_inverse=True)[1]

    def position_rows(self, encoded: Encoded) -> Tensor:
        return self.coded(encoded)[0]

    def stored(self, name: str, values: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} keeps no user dims")

    def rows_from_record(
        self, g: Graph, collapse: bool = False, recent: int = 0, count_codes: bool = True
    ) -> HistoryRows:
        return self.rows_assembled(g, recent)

    def rows_assembled(self, g: Graph, recent: int = 0) -> HistoryRows:
        return HistoryRows(self.cluster_inputs(g), recent=self.newest_positions(g, recent) if recent else None)

    def rows_explained(self, g: Graph, recent: int = 0) -> ExplainedRows:
        """A position has the weight of its cluster, divided by the count, and a value of its own."""
        history = self.rows_assembled(g, recent)
        place = g.input("cluster_places", "int64", ["positions"], "cluster_places", clustering=CLUSTERING)
        shape = ["positions", self.model.config.embedding]
        s = g.input("position_embeddings", "float32", shape, "position_embeddings", clustering=CLUSTERING)
        return ExplainedRows(history, place, EmbeddedRows(g, s, (self.key, self.value)).value)

    def newest_positions(self, g: Graph, count: int) -> Rows:
        """Returns the keys and values of the newest positions, [R, D] each."""
        shape = ["recent_positions", self.model.config.embedding]
        where = {"clustering": CLUSTERING, "last": count}
        s = g.input("recent_embeddings", "float32", shape, "position_embeddings", **where)
        return EmbeddedRows(g, s, (self.key, self.value), present(g, s))

    def cluster_inputs(self, g: Graph) -> Rows:
        """Returns the mean keys and values of visited clusters, [G, D] each, and their counts."""
        count = g.input("cluster_counts", "float32", ["clusters"], "cluster_counts", clustering=CLUSTERING)
        shape = ["clusters", self.model.config.embedding]
        mean = g.input("cluster_means", "float32", shape, "cluster_means", clustering=CLUSTERING)
        return EmbeddedRows(g, mean, (self.key, self.value), count)
