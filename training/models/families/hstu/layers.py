"""HSTU: stacked layers of pointwise SiLU attention, each with a cache of its own.

    U, V, Q, K = SiLU(Norm(X) W);  A = SiLU(Q K^T / sqrt(D/H) + bias);  Y = X + (Norm(A V) * U) W_o

A position attends to itself and to earlier positions. A candidate passes through the same layers as the next position
would, and attends to the cached keys and values of each layer. The bias depends on the head and on the logarithm of the
distance in positions, not on times. Source: arXiv 2402.17152. Letters in shapes as in models/ranker.py; T rows of
positions or candidates.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.history import Candidates, History
from models.caches.full import ComputedKV, FullKV
from models.caches.history_cache import Cached, HistoryCache
from models.config import ModelConfig
from models.heads import merge_heads, split_heads
from models.ranker import Ranker, visible_positions

DISTANCES = 16  # buckets of the position bias: distance 0, 1, 2-3, 4-7, ...
NORM_EPSILON = 1e-5
SCALE = 16.0  # divides the sum over positions before its norm


class HstuLayer(nn.Module):
    """One layer, and its cache."""

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
        self.cache: HistoryCache = ComputedKV(d)

    def keys_and_values(self, x: Tensor) -> Tensor:
        """Returns a router's input: [..., E] -> [..., 2D]."""
        return F.silu(self.key_value(self.norm(x)))

    def queries(self, normed: Tensor) -> Tensor:
        """Returns the queries of normed rows: [..., E] -> [..., D]."""
        return F.silu(self.query_gate(normed)).chunk(2, -1)[0]

    def cached(self, x: Tensor) -> Cached:
        """Returns keys and values of positions [B, N, E], as the record gives them back."""
        return self.cache(self.norm(x), self.keys_and_values(x))

    def forward(self, x: Tensor, kv: Cached, visible: Tensor, now: Tensor, own: Tensor | None = None) -> Tensor:
        """Passes rows [B, T, E] at places `now` [B, T] over a cache [B, N, D], visible [B, T, N] -> [B, T, E].

        `own` are the rows' own keys and values [B, T, 2D]. Candidates have them, since they also attend to themselves.
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
        return y if kv.user_key is None else y + self.cache.user_head(normed, kv.user_key, kv.user_value, visible)

    def position_bias(self, now: Tensor, n: int) -> Tensor:
        """Returns [B, H, T, N]: the bias of positions 0 .. N - 1 for rows at places `now` [B, T]."""
        place = torch.arange(n + 1, device=now.device)
        table = F.embedding(bucket(place[:, None] - place[:n]), self.bias.T)  # [N + 1, N, H], a row for each place
        rows = F.embedding(now, table.transpose(1, 2).flatten(1))  # [B, T, H * N]
        return rows.unflatten(-1, (self.config.heads, n)).transpose(1, 2)


class HstuRanker(Ranker):
    """A ranker whose attention is a stack of layers with a cache each."""

    def __init__(self, c: ModelConfig):
        super().__init__(c)
        FullKV(c.embedding, c.d_model)  # unused; its random draws keep the weights that a seed has always given
        self.add_scorer()
        self.candidate = nn.Parameter(torch.randn(c.embedding) * 0.1)  # takes the place of a candidate's action
        self.stack = nn.ModuleList(HstuLayer(c) for _ in range(c.layers))

    def cache_holders(self) -> list[nn.Module]:
        return list(self.stack)

    def layers(self, history: History) -> Iterator[tuple[HistoryCache, Tensor, Tensor]]:
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
    """Returns 0 for distances up to 0, else 1 + floor(log2(distance)), at most DISTANCES - 1."""
    _, exponent = torch.frexp(distance.clamp(min=0).float())  # distance = m 2^exponent, m in [1/2, 1)
    return exponent.clamp(max=DISTANCES - 1).long()
