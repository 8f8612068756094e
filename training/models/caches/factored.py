"""The factored pool: one row per item, and a code for what happened.

A position's embedding is S = item * (1 + g) + h. The shared part is the table of items, whose slot is the item's index.
The user's part is the code of [g, h], see models/event_codes.py. K and V are linear in S, and attention reads their
means over a few clusters of positions, see cluster_means.py. A position's cluster is a pair: the cluster of its item
and the cluster of its event's code. Both are tables of the bundle; a record holds neither.
"""

from torch import Tensor, nn

from data.history import History
from models.caches.cluster_pairs import ClusterPairs
from models.caches.factored_record import FactoredRecord
from models.caches.history_cache import Cached, HistoryCache
from models.caches.oracles import FactoredOracle
from models.embeddings import Embeddings
from models.oracle_math import Parameters


class FactoredKV(HistoryCache):
    """K = S W_k + b_k, V = S W_v + b_v of coded positions, and the clusters of items and of codes."""

    user_head = None

    def __init__(self, key: nn.Linear, value: nn.Linear, pairs: ClusterPairs):
        super().__init__()
        self.key, self.value, self.pairs = key, value, pairs
        self.cluster_count = pairs.count

    def forward(self, s: Tensor, x: Tensor | None = None) -> Cached:
        return Cached(self.key(s), self.value(s))

    def clusters_of(self, model: Embeddings, history: History) -> Tensor:
        return self.pairs.of(history.item, model.codes_of(history))

    def record_layer(self, prefix: str, model: Embeddings) -> FactoredRecord:
        return FactoredRecord(model, self.key, self.value, self.pairs)

    def oracle(self, parameters: Parameters, name: str) -> FactoredOracle:
        return FactoredOracle(parameters, name)
