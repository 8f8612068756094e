"""Residual codes: a position is one code per stage, and all positions share the rows of the stages.

See models/residual_codes.py. K and V are linear in S, and attention reads their means over clusters of positions, see
cluster_means.py. The first stage's code is a position's cluster.
"""

from torch import Tensor, nn

from data.history import History
from models.caches.history_cache import Cached, HistoryCache
from models.caches.oracles import ResidualOracle
from models.caches.residual_record import ResidualRecord
from models.embeddings import Embeddings
from models.oracle_math import Parameters


class ResidualKV(HistoryCache):
    """K = S W_k + b_k, V = S W_v + b_v of coded positions."""

    user_head = None

    def __init__(self, key: nn.Linear, value: nn.Linear, cluster_count: int):
        super().__init__()
        self.key, self.value, self.cluster_count = key, value, cluster_count

    def forward(self, s: Tensor, x: Tensor | None = None) -> Cached:
        return Cached(self.key(s), self.value(s))

    def clusters_of(self, model: Embeddings, history: History) -> Tensor:
        return model.encoder.position_codes.routers[0](model.encoder.exact(history)).argmax(-1)

    def record_layer(self, prefix: str, model: Embeddings) -> ResidualRecord:
        return ResidualRecord(model, self.key, self.value)

    def oracle(self, parameters: Parameters, name: str) -> ResidualOracle:
        return ResidualOracle(parameters, name)
