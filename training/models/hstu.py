"""HSTU: stacked layers of pointwise SiLU attention, each with a cache of its own.

    U, V, Q, K = SiLU(Norm(X) W);  A = SiLU(Q K^T / sqrt(D/H) + bias);  Y = X + (Norm(A V) * U) W_o

Positions attend to themselves and to what came before; a candidate passes through the same layers as if it came next,
and attends to the cached keys and values of each. The bias depends on the head and on the logarithm of the distance in
positions. Source: arXiv 2402.17152. Letters in shapes as in model.py; T rows of either kind.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.history import Candidates, History
from models.config import ModelConfig
from models.history_cache import Cache, Cached, UserHead
from models.ranker import Ranker, merge_heads, split_heads, visible_positions

DISTANCES = 16  # buckets of the position bias: distance 0, 1, 2-3, 4-7, ...
NORM_EPSILON = 1e-5
SCALE = 16.0  # of the sum over positions, before its norm


class KeepKV(nn.Module):
    """The uncompressed cache of a layer: its keys and values as they are."""

    user_head: UserHead | None = None

    def forward(self, x: Tensor, key_value: Tensor) -> Cached:
        return Cached(*key_value.chunk(2, -1))


class HstuLayer(nn.Module):
    def __init__(self, c: ModelConfig):
        super().__init__()
        self.config = c
        e, d = c.embedding, c.d_model
        self.norm = nn.LayerNorm(e, eps=NORM_EPSILON)
        self.query_gate = nn.Linear(e, 2 * d)  # Q, U
        self.key_value = nn.Linear(e, 2 * d)  # K, V
        self.bias = nn.Parameter(torch.zeros(c.heads, DISTANCES))
        self.attended_norm = nn.LayerNorm(d, eps=NORM_EPSILON)
        self.out = nn.Linear(d, e)
        self.cache: Cache | KeepKV = KeepKV()

    def keys_and_values(self, x: Tensor) -> Tensor:
        """[..., E] -> [..., 2D], what a router sees."""
        return F.silu(self.key_value(self.norm(x)))

    def cached(self, x: Tensor) -> Cached:
        """Keys and values of positions [B, N, E], as the record gives them back."""
        return self.cache(self.norm(x), self.keys_and_values(x))

    def forward(self, x: Tensor, kv: Cached, visible: Tensor, now: Tensor, own: Tensor | None = None) -> Tensor:
        """Rows [B, T, E] at places `now` [B, T] over a cache [B, N, D], visible [B, T, N] -> [B, T, E].

        `own` are the rows' own keys and values [B, T, 2D], for candidates, which also attend to themselves.
        """
        heads, root = self.config.heads, math.sqrt(self.config.head_width)
        normed = self.norm(x)
        query, gate = F.silu(self.query_gate(normed)).chunk(2, -1)  # [B, T, D]
        q = split_heads(query, heads) / root
        attended = torch.zeros_like(gate)
        if kv.key is not None:
            k, v = split_heads(kv.key, heads), split_heads(kv.value, heads)
            weights = F.silu(q @ k.mT + self.position_bias(now, k.shape[2])) * visible[:, None]  # [B, H, T, N]
            attended = merge_heads(weights @ v)
        if own is not None:
            k, v = own.chunk(2, -1)
            weight = F.silu((q * split_heads(k, heads)).sum(-1) + self.bias[:, :1])  # [B, H, T]
            attended = attended + merge_heads(weight[..., None] * split_heads(v, heads))
        y = x + self.out(self.attended_norm(attended / SCALE) * gate)
        return y if kv.user_key is None else y + self.cache.user_head(normed, kv, visible)

    def position_bias(self, now: Tensor, n: int) -> Tensor:
        """[B, H, T, N], of rows at places `now` [B, T] for positions 0 .. N - 1: a row of a table for each place."""
        place = torch.arange(n + 1, device=now.device)
        table = F.embedding(bucket(place[:, None] - place[:n]), self.bias.T)  # [N + 1, N, H]
        rows = F.embedding(now, table.transpose(1, 2).flatten(1))  # [B, T, H * N]
        return rows.unflatten(-1, (self.config.heads, n)).transpose(1, 2)


class HstuRanker(Ranker):
    """A ranker whose attention is a stack of layers with a cache each."""

    cache = None  # each layer has its own

    def __init__(self, c: ModelConfig):
        super().__init__(c, nn.Identity())
        del self.cache, self.attention
        self.candidate = nn.Parameter(torch.randn(c.embedding) * 0.1)  # stands in for a candidate's action
        self.stack = nn.ModuleList(HstuLayer(c) for _ in range(c.layers))

    def layers(self, history: History) -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
        """A cache that is replaced while it is the caller's turn is what the layers above are computed with."""
        x = self.embed_history(history)
        place = torch.arange(x.shape[1], device=x.device)
        earlier = (place[:, None] >= place) & history.valid[:, None]  # [B, N, N]
        for i, layer in enumerate(self.stack):
            yield layer.cache, layer.norm(x), layer.keys_and_values(x)
            if i + 1 < len(self.stack):
                x = layer(x, layer.cached(x), earlier, place.expand(len(x), -1))

    def forward(self, history: History, candidates: Candidates) -> Tensor:
        item = self.item(candidates.item)  # [B, C, E]
        visible = visible_positions(history.valid, candidates.now, self.config.max_positions)
        place = torch.arange(visible.shape[2], device=visible.device)
        earlier = (place[:, None] >= place) & history.valid[:, None]  # [B, N, N]
        x, y = self.embed_history(history), item + self.candidate
        for i, layer in enumerate(self.stack):
            kv = layer.cached(x)
            y = layer(y, kv, visible, candidates.now, layer.keys_and_values(y))
            if i + 1 < len(self.stack):
                x = layer(x, kv, earlier, place.expand(len(x), -1))
        return self.scorer(item, y, candidates)


def bucket(distance: Tensor) -> Tensor:
    """0 for distances up to 0, else 1 + floor(log2(distance)), at most DISTANCES - 1."""
    _, exponent = torch.frexp(distance.clamp(min=0).float())  # distance = m 2^exponent, m in [1/2, 1)
    return exponent.clamp(max=DISTANCES - 1).long()
