"""The ranking model, in two forms that differ in their cache alone: the uncompressed twin and CollectiveKV.

Letters in shapes: B users, N positions of a history, C candidates, E embedding, D = d_model, H heads, M slots, U user
width. A position's embedding is S = item * (1 + g) + h, where what happened there gives [g, h] = action + [x, x^2] W,
with x the position's features scaled to [0, 1]: a like can turn an item's direction round, which a sum could not.

One forward pass serves training and serving alike: candidate c of user b sees the positions before `now[b, c]`. In
training the candidates are the user's own later interactions, so that one pass over a sequence scores all of them.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.history import Candidates, History
from models.config import ModelConfig
from models.history_cache import Cache, Cached, FullKV


class Attention(nn.Module):
    """Attention of candidates over a history's keys and values: what tells the families apart. See families.py."""

    def forward(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        """Item embeddings [B, C, E], keys and values [B, N, D], visible [B, C, N] -> [B, C, E]."""
        raise NotImplementedError


class Ranker(nn.Module):
    """Embeddings, a cache of keys and values, a family's attention over it, and an MLP that scores.

    `cache` is a FullKV in the twin and a SharedKV in CollectiveKV; a learned null position is always attended to, so an
    empty history works.
    """

    def __init__(self, config: ModelConfig, attention: Attention):
        super().__init__()
        self.config = config
        e, d = config.embedding, config.d_model
        self.item = nn.Embedding(config.items, e)
        self.action = nn.Embedding(config.actions, 2 * e)
        width = 2 * sum(f.width for f in config.interaction_features)
        self.interaction_features = nn.Linear(width, 2 * e, bias=False) if width else None
        self.cache: Cache = FullKV(e, d)
        self.attention = attention
        self.scorer = Scorer(config)
        for table in (self.item, self.action):
            nn.init.normal_(table.weight, std=0.1)

    def embed_history(self, history: History) -> Tensor:
        event = self.action(history.action)  # [B, N, 2E]
        if self.interaction_features is not None:
            features = enumerate(self.config.interaction_features)
            x = torch.cat([f.expand(history.features[..., i]) for i, f in features], -1)
            event = event + self.interaction_features(torch.cat([x, x**2], -1))
        turn, shift = event.chunk(2, -1)
        return self.item(history.item) * (1 + turn) + shift  # [B, N, E]

    def forward(self, history: History, candidates: Candidates) -> Tensor:
        """Logits [B, C]."""
        item = self.item(candidates.item)  # [B, C, E]
        visible = visible_positions(history.valid, candidates.now, self.config.max_positions)  # [B, C, N]
        attended = self.attend(self.embed_history(history), item, visible, candidates.now)
        return self.scorer(item, attended, candidates)

    def layers(self, history: History) -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
        """The caches, lowest first, each with what its user dims [B, N, E] and its router [B, N, ...] read."""
        s = self.embed_history(history)
        yield self.cache, s, s

    def attend(self, s: Tensor, item: Tensor, visible: Tensor, now: Tensor) -> Tensor:
        kv = self.cache(s)
        attended = self.attention(item, kv, visible, now)  # [B, C, E]
        return attended if kv.user_key is None else attended + self.cache.user_head(item, kv, visible)


class Scorer(nn.Module):
    """An MLP over the attention's output, its product with the candidate, the candidate, and the features."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        inputs = sum(f.width for f in config.candidate_features) + sum(f.width for f in config.context_features)
        self.mix = nn.Linear(3 * config.embedding + inputs, config.hidden)
        self.deep = nn.Linear(config.hidden, config.hidden // 2)
        self.score = nn.Linear(config.hidden // 2, 1)

    def forward(self, item: Tensor, attended: Tensor, candidates: Candidates) -> Tensor:
        x = [attended, attended * item, item]
        x += [f.expand(candidates.features[..., i]) for i, f in enumerate(self.config.candidate_features)]
        x += [f.expand(candidates.context[..., i]) for i, f in enumerate(self.config.context_features)]
        p, training = self.config.dropout, self.training
        hidden = F.relu(self.mix(F.dropout(torch.cat(x, -1), p, training)))
        hidden = F.relu(self.deep(F.dropout(hidden, p, training)))
        return self.score(hidden).squeeze(-1)  # [B, C]


def visible_positions(valid: Tensor, now: Tensor, max_positions: int) -> Tensor:
    """[B, C, N] bool: the last `max_positions` positions before `now`."""
    place = torch.arange(valid.shape[1], device=valid.device)
    age = now[..., None] - place  # [B, C, N]
    return (age > 0) & (age <= max_positions) & valid[:, None]


def split_heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)  # [B, N, D] -> [B, H, N, D/H]


def merge_heads(x: Tensor) -> Tensor:
    return x.transpose(-2, -3).flatten(-2)  # [B, H, C, D/H] -> [B, C, D]
