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
from models.families.softmax import Pair, attend, attend_to_clusters, write_fused, write_logits, write_pooled
from models.graphs.builder import Graph
from models.graphs.rows import HistoryRows, Rows, counts_of
from models.layer_sample import query_metric
from models.oracle_math import Vector, softmax_sum

CUT_MARGIN = 1e-5  # a score this little below the last kept one is kept as well: rounding may make ties differ


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
        maps = (key.weight, key.bias), (value.weight, value.bias)
        return self.out(attend_to_clusters(self.query(item), clusters, *maps, self.null, self.config.heads))

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

    def write_long(self, g: Graph, rows: Rows, item: str) -> str:
        """Adds the long part to a graph, before its output projection: [C, D]."""
        c = self.config
        if rows.count is None and not self.searches:
            return write_fused(g, item, self.query, rows, self.null, c.heads)
        logits, value = write_logits(g, item, self.query, rows, self.null, c.heads)
        if self.searches:
            scores = self.write_search_scores(g, rows, item)
            logits = g.add("Add", logits, write_mask(g, scores, rows, item, c.top_k))
        return write_pooled(g, logits, value, c.d_model)


def keep_top(score: Tensor, visible: Tensor, k: int) -> Tensor:
    """Returns the `k` visible positions with the highest scores, and all ties with the last: [B, C, N] bool."""
    if score.shape[-1] <= k:
        return visible
    cut = score.masked_fill(~visible, -torch.inf).topk(k, -1).values[..., -1:]
    return visible & (score >= cut - CUT_MARGIN * cut.abs().nan_to_num(posinf=0.0).clamp(min=1))


def write_mask(g: Graph, score: str, rows: Rows, item: str, top_k: int) -> str:
    """Returns the mask of `keep_top` for rows with scores [C, S]: [C, S + 1], 0 for a kept row, else -inf.

    The cut is the highest score at which the cumulative count reaches `top_k`. A last row has the lowest score and
    `top_k` as its count: it is the cut of histories of at most `top_k` positions.
    """
    k, lowest = g.number(float(top_k)), g.tensor("lowest", np.array([[-1e30]], np.float32))
    count = g.add("Concat", counts_of(g, rows), g.add("Reshape", k, g.constant(1)), axis=0)  # [S + 1]
    below = g.add("Expand", lowest, g.add("Concat", g.add("Shape", item, start=0, end=1), g.constant(1), axis=0))
    padded = g.add("Concat", score, below, axis=1)  # [C, S + 1]
    total = g.add("Shape", padded, start=1, end=2)
    best, index = g.add("TopK", padded, total, outputs=2, axis=1)
    before = g.add("CumSum", g.add("Gather", count, index), g.tensor("axis_1", np.array(1)), exclusive=1)
    needed = g.add("Where", g.add("Less", before, k), best, g.number(math.inf))
    cut = g.add("ReduceMin", needed, g.constant(1), keepdims=1)  # [C, 1]
    # The margin is that of keep_top. If all rows are kept, the cut is the lowest score and the margin does not matter.
    margin = g.add("Mul", g.add("Max", g.add("Abs", cut), g.number(1.0)), g.number(CUT_MARGIN))
    kept = g.add("GreaterOrEqual", score, g.add("Sub", cut, margin))
    mask = g.add("Where", kept, g.number(0.0), g.number(-math.inf))  # [C, S]
    return g.add("Pad", mask, g.constant(0, 0, 0, 1))


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
)
