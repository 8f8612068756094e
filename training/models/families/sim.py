"""SIM: a soft search keeps the top k positions. Source: arXiv 2006.05639."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.caches.history_cache import Cached
from models.config import ModelConfig
from models.families.one_cache import OneCacheFamily
from models.families.recent import LEAST_HEADS, LongAndRecent, LongAndRecentOracle
from models.families.target import SEARCHED_CLUSTERS
from models.graphs.builder import Graph
from models.graphs.rows import Rows
from models.oracle_math import Vector


class Sim(LongAndRecent):
    """The search unit has a query of its own, and scores a position by the inner product with its key.

    The search unit learns by an auxiliary loss: the attention that a softmax over its scores gives must predict the
    label as well.
    """

    searches = True

    def __init__(self, c: ModelConfig):
        super().__init__(c)
        self.search_query = nn.Linear(c.embedding, c.d_model)
        self.search_out = nn.Linear(c.d_model, c.embedding)
        self.auxiliary_logits: Tensor | None = None  # [B, C] after a forward pass in training

    def match_keys(self, key: nn.Linear) -> None:
        super().match_keys(key)
        with torch.no_grad():
            self.search_query.weight.copy_(self.query.weight)

    def long(self, item: Tensor, kv: Cached, visible: Tensor) -> Tensor:
        if self.training:
            mask = torch.zeros_like(visible, dtype=item.dtype).masked_fill_(~visible, -torch.inf)
            null = torch.zeros_like(kv.key[:, :1])
            k, v = torch.cat([kv.key, null], 1), torch.cat([kv.value, null], 1)
            found = F.scaled_dot_product_attention(self.search_query(item), k, v, attn_mask=F.pad(mask, (0, 1)))
            self.auxiliary_logits = (self.search_out(found) * item).sum(-1)
        return super().long(item, kv, visible)

    def search_scores(self, item: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return self.search_query(item) @ key.mT

    def write_search_scores(self, g: Graph, rows: Rows, item: str) -> str:
        return rows.products(g, item, "search_query", self.search_query)


class SimOracle(LongAndRecentOracle):
    def scores(self, keys: list[Vector], query: Vector, item: Vector) -> list[float]:
        search_query = self.p.linear("attention.search_query", item)
        return [search_query @ key for key in keys]


SIM = OneCacheFamily(
    name="sim",
    title="SIM",
    bundle_family="sim",
    description="SIM: target attention over the positions that a soft search keeps, and over the most recent ones",
    attention=Sim,
    attention_oracle=SimOracle,
    least_heads=LEAST_HEADS,
    reads_clusters=True,
    explains=True,
    clusters=SEARCHED_CLUSTERS,
)
