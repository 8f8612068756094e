"""The uncompressed twin and CollectiveKV: target attention of candidates over a user's history.

Letters in shapes: B histories, N positions, C candidates, E embedding, D = dModel, H heads, M slots, U user width.
A position's embedding is S = item + action + [watch, watch^2] W. A learned null position is always attended to, so an
empty history works.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class ModelConfig:
    items: int  # vocabulary, with the unknown item
    actions: int  # vocabulary, with the unknown action
    embedding: int = 64
    d_model: int = 256
    heads: int = 8
    slots: int = 256
    user_width: int = 2
    hidden: int = 128


@dataclass
class Candidates:
    item: Tensor  # [B, C] int64
    freshness: Tensor  # [B, C]
    hour: Tensor  # [B, C] of the request


@dataclass
class History:
    item: Tensor  # [B, N] int64
    action: Tensor  # [B, N] int64
    watch_ratio: Tensor  # [B, N]


class Ranker(nn.Module):
    """What the twin and CollectiveKV share: embeddings, queries, null position, output projection, MLP."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        e, d = config.embedding, config.d_model
        self.item = nn.Embedding(config.items, e)
        self.action = nn.Embedding(config.actions, e)
        self.watch = nn.Linear(2, e, bias=False)
        self.query = nn.Linear(e, d)
        self.null_key = nn.Parameter(torch.zeros(d))
        self.null_value = nn.Parameter(torch.zeros(d))
        self.out = nn.Linear(d, e)
        self.mix = nn.Linear(3 * e + 1, config.hidden)  # [attended, attended * item, item, freshness]
        self.mix_hour = nn.Linear(2, config.hidden, bias=False)
        self.deep = nn.Linear(config.hidden, config.hidden // 2)
        self.score = nn.Linear(config.hidden // 2, 1)
        for table in (self.item, self.action):
            nn.init.normal_(table.weight, std=0.1)

    def embed_history(self, history: History) -> Tensor:
        watch = torch.stack([history.watch_ratio, history.watch_ratio**2], -1)  # [B, N, 2]
        return self.item(history.item) + self.action(history.action) + self.watch(watch)  # [B, N, E]

    def split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.config.heads, -1)).transpose(-2, -3)  # [B, N, D] -> [B, H, N, D/H]

    def logits(self, candidates: Candidates, item: Tensor, attended: Tensor) -> Tensor:
        mixed = self.mix(torch.cat([attended, attended * item, item, candidates.freshness[..., None]], -1))
        angle = candidates.hour * (2 * math.pi / 24)
        mixed = mixed + self.mix_hour(torch.stack([angle.sin(), angle.cos()], -1))  # [B, C, hidden]
        return self.score(F.relu(self.deep(F.relu(mixed)))).squeeze(-1)  # [B, C]


class Twin(Ranker):
    """Target attention over full-width keys and values, one of each per position."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.key = nn.Linear(config.embedding, config.d_model)
        self.value = nn.Linear(config.embedding, config.d_model)
        with torch.no_grad():  # attention starts by matching like with like
            self.key.weight.copy_(self.query.weight)
            self.query.weight.mul_(4)

    def forward(self, history: History, candidates: Candidates) -> Tensor:
        s = self.embed_history(history)  # [B, N, E]
        null = (len(s), 1, self.config.d_model)
        k = torch.cat([self.key(s), self.null_key.expand(null)], 1)  # [B, N + 1, D]
        v = torch.cat([self.value(s), self.null_value.expand(null)], 1)  # [B, N + 1, D]
        item = self.item(candidates.item)  # [B, C, E]
        q, k, v = self.split_heads(self.query(item)), self.split_heads(k), self.split_heads(v)
        attended = F.scaled_dot_product_attention(q, k, v)  # [B, H, C, D/H]
        return self.logits(candidates, item, self.out(attended.transpose(1, 2).flatten(2)))  # [B, C]


class CollectiveKV(Ranker):
    """Shared keys and values from a pool by route, user KV in a small attention head of its own.

    `user_out` starts at zero, so a freshly converted model scores as its pool alone does.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        e, d, u = config.embedding, config.d_model, config.user_width
        self.pool_key = nn.Parameter(torch.zeros(config.slots, d))
        self.pool_value = nn.Parameter(torch.zeros(config.slots, d))
        self.router = nn.Linear(e, config.slots)
        self.user_key = nn.Linear(e, u)
        self.user_value = nn.Linear(e, u)
        self.user_query = nn.Linear(e, u)
        self.user_null_key = nn.Parameter(torch.zeros(u))
        self.user_null_value = nn.Parameter(torch.zeros(u))
        self.user_out = nn.Linear(u, e, bias=False)
        nn.init.zeros_(self.user_out.weight)
        self.register_buffer("key_scale", torch.full((u,), 1 / 127))
        self.register_buffer("value_scale", torch.full((u,), 1 / 127))

    def encode(self, history: History) -> tuple[Tensor, Tensor, Tensor]:
        """Routes [B, N] and user keys and values [B, N, U] as encode.onnx gives them, not yet quantised."""
        s = self.embed_history(history)  # [B, N, E]
        return self.router(s).argmax(-1), torch.tanh(self.user_key(s)), torch.tanh(self.user_value(s))

    def quantise(self, user_key: Tensor, user_value: Tensor) -> tuple[Tensor, Tensor]:
        """Through int8 and back, as a record does; gradients pass straight through."""
        return fake_int8(user_key, self.key_scale), fake_int8(user_value, self.value_scale)

    def forward(self, history: History, candidates: Candidates, use_pool: bool = True) -> Tensor:
        routes, user_key, user_value = self.encode(history)
        user_key, user_value = self.quantise(user_key, user_value)
        counts = torch.zeros(len(routes), self.config.slots)  # [B, M]
        if use_pool:
            counts.scatter_add_(1, routes, torch.ones_like(routes, dtype=counts.dtype))
        return self.rank(counts, user_key, user_value, candidates)

    def rank(self, counts: Tensor, user_key: Tensor, user_value: Tensor, candidates: Candidates) -> Tensor:
        """Logits [B, C]; the pool heads attend over slots, each weighted by how many positions chose it [B, M]."""
        item = self.item(candidates.item)  # [B, C, E]
        q = self.split_heads(self.query(item))  # [B, H, C, D/H]
        k = self.split_heads(torch.cat([self.pool_key, self.null_key[None]]))  # [H, M + 1, D/H]
        v = self.split_heads(torch.cat([self.pool_value, self.null_value[None]]))  # [H, M + 1, D/H]
        log_counts = F.pad(counts, (0, 1), value=1.0).log()[:, None, None]  # [B, 1, 1, M + 1] -inf where unused
        weights = (q @ k.mT / math.sqrt(k.shape[-1]) + log_counts).softmax(-1)  # [B, H, C, M + 1]
        shared = self.out((weights @ v).transpose(1, 2).flatten(2))  # [B, C, E]
        return self.logits(candidates, item, shared + self.user_out(self.attend_user(user_key, user_value, item)))

    def attend_user(self, user_key: Tensor, user_value: Tensor, item: Tensor) -> Tensor:
        null = (len(user_key), 1, self.config.user_width)
        k = torch.cat([user_key, self.user_null_key.expand(null)], 1)  # [B, N + 1, U]
        v = torch.cat([user_value, self.user_null_value.expand(null)], 1)  # [B, N + 1, U]
        return (self.user_query(item) @ k.mT).softmax(-1) @ v  # [B, C, U]


def fake_int8(x: Tensor, scale: Tensor) -> Tensor:
    """clamp(round(x / scale), -127, 127) * scale, with the gradient of x."""
    return x + ((x / scale).round().clamp(-127, 127) * scale - x).detach()
