"""Families with a long part over selected positions and a short part over the newest ones."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.caches.history_cache import Cached
from models.config import ModelConfig
from models.families.target import TargetAttention, TargetOracle, attend_by_head
from models.graphs.builder import Graph
from models.graphs.explained import RECENT, WeighedRows
from models.graphs.rows import HistoryRows, log_counts, newest
from models.oracle_math import Vector

LEAST_HEADS = 2  # ModelConfig.recent_heads: the short part reads the columns of that many heads


class RecentAttention(nn.Module):
    """Target attention over the `recent` newest visible positions, with the first heads of the same cache."""

    def __init__(self, c: ModelConfig):
        super().__init__()
        self.config = c
        self.query = nn.Linear(c.embedding, c.recent_width)
        self.null_key = nn.Parameter(torch.zeros(c.recent_width))
        self.null_value = nn.Parameter(torch.zeros(c.recent_width))
        self.out = nn.Linear(c.recent_width, c.embedding, bias=False)

    def forward(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        """Shapes are those of Attention.forward. In the comments, R recent positions and h heads of the short part."""
        b, n, _ = kv.key.shape
        count, width = min(self.config.recent, n), self.config.recent_width
        place = now[..., None] - count + torch.arange(count, device=now.device)  # [B, C, R]
        seen = (place >= 0) & visible.gather(2, place.clamp(0, max(n - 1, 0))) if n else place.bool()
        flat = (place.clamp(min=0) + n * torch.arange(b, device=now.device)[:, None, None]).flatten()
        shape = (*place.shape, self.config.recent_heads, self.config.head_width)  # [B, C, R, h, D/H]
        k = F.embedding(flat, kv.key[..., :width].reshape(b * n, width)).view(shape)
        v = F.embedding(flat, kv.value[..., :width].reshape(b * n, width)).view(shape)
        q = self.query(item).unflatten(-1, shape[-2:])  # [B, C, h, D/H]
        logits = torch.einsum("bchd,bcrhd->bchr", q, k).masked_fill(~seen[:, :, None], -torch.inf)
        null = torch.einsum("bchd,hd->bch", q, self.null_key.view(shape[-2:]))[..., None]
        weights = (torch.cat([logits, null], -1) / math.sqrt(self.config.head_width)).softmax(-1)  # [B, C, h, R + 1]
        attended = torch.einsum("bchr,bcrhd->bchd", weights[..., :-1], v)
        attended = attended + weights[..., -1:] * self.null_value.view(shape[-2:])
        return self.out(attended.flatten(-2))  # [B, C, E]

    def write(self, g: Graph, history: HistoryRows, item: str) -> str:
        """Adds the short part to a graph, before its output projection: [C, recent width]."""
        weights, value = self.write_weights(g, history, item)
        attended = g.add("Transpose", g.add("MatMul", weights, value), perm=[1, 0, 2])
        return g.add("Reshape", attended, g.constant(-1, self.config.recent_width))

    def write_weights(self, g: Graph, history: HistoryRows, item: str) -> tuple[str, str]:
        """Adds the short part's weights [h, C, R + 1] and values [h, R + 1, D/H], the null position's last."""
        c = self.config
        heads, width, columns = c.recent_heads, c.head_width, c.recent_width
        rows = history.recent
        if rows is None:  # every position is a row
            rows = newest(g, history.rows, c.recent)
        split = []
        for name, x, null, order in (
            ("recent_null_key", rows.key, self.null_key, [1, 2, 0]),
            ("recent_null_value", rows.value, self.null_value, [1, 0, 2]),
        ):
            x = g.add("Slice", x, g.constant(0), g.constant(columns), g.constant(1))  # [R, recent width]
            x = g.add("Concat", x, g.tensor(name, null[None]), axis=0)
            split.append(g.add("Transpose", g.add("Reshape", x, g.constant(-1, heads, width)), perm=order))
        query = g.add("Mul", g.linear(item, "recent_query", self.query), g.number(1 / math.sqrt(width)))
        query = g.add("Transpose", g.add("Reshape", query, g.constant(-1, heads, width)), perm=[1, 0, 2])
        logits = g.add("MatMul", query, split[0])  # [h, C, R + 1]
        if rows.count:
            logits = g.add("Add", logits, log_counts(g, rows))
        return g.add("Softmax", logits, axis=-1), split[1]


class LongAndRecent(TargetAttention):
    """A long part over selected positions, and a short part over the newest positions."""

    def __init__(self, c: ModelConfig):
        super().__init__(c)
        self.recent = RecentAttention(c)

    @property
    def recent_positions(self) -> int:
        return self.config.recent

    def forward(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        long = super().forward(item, kv, visible, now)
        return long if kv.key is None else long + self.short(item, kv, visible, now)

    def short(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        return self.recent(item, kv, visible, now)

    def write_parts(self, g: Graph, history: HistoryRows, item: str) -> list[tuple[str, Tensor]]:
        parts = super().write_parts(g, history, item)
        return [*parts, (self.recent.write(g, history, item), self.recent.out.weight)]

    def by_fixed_weights(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        return self.long(item, kv, visible)

    def write_weights(self, g: Graph, history: HistoryRows, item: str) -> list[WeighedRows]:
        weights, value = self.recent.write_weights(g, history, item)
        part, heads = self.recent, self.config.recent_heads
        recent = WeighedRows(RECENT, RECENT, weights, value, heads, part.null_value, part.out.weight)
        return [*super().write_weights(g, history, item), recent]


class LongAndRecentOracle(TargetOracle):
    """The long part, and softmax attention over the newest positions with the first heads' columns."""

    def short(self, keys: list[Vector], values: list[Vector], item: Vector) -> Vector:
        rows = list(zip(keys, values))[-self.c.recent :]
        rows.append((self.p["attention.recent.null_key"], self.p["attention.recent.null_value"]))
        query = self.p.linear("attention.recent.query", item)
        attended = attend_by_head(query, rows, self.c.d_model // self.c.heads)
        return self.p.linear("attention.recent.out", attended)
