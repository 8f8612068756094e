"""The model families: how candidates attend over cached keys and values. HSTU, whose positions attend to each other,
is in hstu.py.

Each sees keys and values only, full or shared alike, and treats positions with equal keys alike, so that a served graph
may work on the distinct slots of a history and how often each occurs. The short part of SIM, SDIM and ETA, over the
most recent positions, reads the first columns of the same cache.

Sources: SIM arXiv 2006.05639, SDIM 2205.10249, ETA 2108.04468, TWIN 2302.02352.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig
from models.history_cache import Cached
from models.hstu import HstuRanker
from models.ranker import Attention, Ranker, merge_heads, split_heads

CUT_MARGIN = 1e-5  # positions that score as much below the last one kept are kept as well: they may be ties


class TargetAttention(Attention):
    """Multi-head softmax attention over the visible positions and a learned null position."""

    def __init__(self, c: ModelConfig):
        super().__init__()
        self.config = c
        self.query = nn.Linear(c.embedding, c.d_model)
        self.null_key = nn.Parameter(torch.zeros(c.d_model))
        self.null_value = nn.Parameter(torch.zeros(c.d_model))
        self.out = nn.Linear(c.d_model, c.embedding)

    def match_keys(self, key: nn.Linear) -> None:
        """Attention starts by matching like with like."""
        with torch.no_grad():
            key.weight.copy_(self.query.weight)
            self.query.weight.mul_(4)

    def forward(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        if kv.key is None:
            return self.out(self.null_value).expand_as(item)
        return self.long(item, kv, visible)

    def long(self, item: Tensor, kv: Cached, visible: Tensor) -> Tensor:
        query = self.query(item)  # [B, C, D]
        kept = self.select(item, query, kv.key, visible)  # [B, C, N]
        mask = F.pad(torch.zeros_like(kept, dtype=query.dtype).masked_fill_(~kept, -torch.inf), (0, 1))[:, None]
        null = (len(item), 1, -1)
        k = torch.cat([kv.key, self.null_key.expand(null)], 1)  # [B, N + 1, D]
        v = torch.cat([kv.value, self.null_value.expand(null)], 1)  # [B, N + 1, D]
        q, k, v = (split_heads(x, self.config.heads) for x in (query, k, v))
        return self.out(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)))  # [B, C, E]

    def select(self, item: Tensor, query: Tensor, key: Tensor, visible: Tensor) -> Tensor:
        """The positions that are attended to: [B, C, N] bool."""
        return visible


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


class LongAndRecent(TargetAttention):
    """A long part over what is selected of the history, and a short part over its newest positions."""

    def __init__(self, c: ModelConfig):
        super().__init__(c)
        self.recent = RecentAttention(c)

    def forward(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        long = super().forward(item, kv, visible, now)
        return long if kv.key is None else long + self.recent(item, kv, visible, now)


class Sim(LongAndRecent):
    """A soft search unit with a query of its own keeps the top k positions by inner product; it learns by an
    auxiliary loss: a softmax over its scores must predict the label as well."""

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

    @torch.no_grad()
    def select(self, item: Tensor, query: Tensor, key: Tensor, visible: Tensor) -> Tensor:
        return keep_top(self.search_query(item) @ key.mT, visible, self.config.top_k)


class Twin(TargetAttention):
    """The search unit scores with the attention's own queries: the sum over heads of its inner products."""

    @torch.no_grad()
    def select(self, item: Tensor, query: Tensor, key: Tensor, visible: Tensor) -> Tensor:
        return keep_top(query @ key.mT, visible, self.config.top_k)


class Eta(LongAndRecent):
    """Keeps the top k positions by the Hamming distance of SimHash fingerprints of query and key."""

    def __init__(self, c: ModelConfig):
        super().__init__(c)
        self.register_buffer("planes", torch.randn(c.d_model, c.hash_bits))

    @torch.no_grad()
    def select(self, item: Tensor, query: Tensor, key: Tensor, visible: Tensor) -> Tensor:
        return keep_top(signs(query @ self.planes) @ signs(key @ self.planes).mT, visible, self.config.top_k)


class Sdim(LongAndRecent):
    """Weighs a position by the share of hash functions under which its key falls into the query's bucket.

    Over random planes that share estimates (1 - angle / pi)^bits, whose gradient stands in for the hash's own.
    """

    def __init__(self, c: ModelConfig):
        super().__init__(c)
        self.register_buffer("planes", torch.randn(c.d_model, c.hashes * c.bits_per_hash))
        self.null_key.requires_grad_(False)  # the null position has weight 1

    def long(self, item: Tensor, kv: Cached, visible: Tensor) -> Tensor:
        c = self.config
        query = self.query(item)
        weights = self.collisions(query, kv.key)  # [B, C, N]
        if torch.is_grad_enabled():
            cosine = F.normalize(query, dim=-1) @ F.normalize(kv.key, dim=-1).mT
            soft = (1 - cosine.clamp(-0.999, 0.999).arccos() / math.pi) ** c.bits_per_hash
            weights = soft + (weights - soft).detach()
        weights = weights * visible
        return self.out((weights @ kv.value + self.null_value) / (weights.sum(-1, keepdim=True) + 1))

    @torch.no_grad()
    def collisions(self, query: Tensor, key: Tensor) -> Tensor:
        return self.buckets(query) @ self.buckets(key).mT / self.config.hashes

    def buckets(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., hashes * 2^bits] with a one in each hash's bucket."""
        bits = (x @ self.planes > 0).unflatten(-1, (self.config.hashes, -1))  # [..., hashes, bits]
        bucket = (bits * 2 ** torch.arange(bits.shape[-1], device=x.device)).sum(-1)  # [..., hashes]
        return F.one_hot(bucket, 2 ** bits.shape[-1]).flatten(-2).to(x.dtype)


def keep_top(score: Tensor, visible: Tensor, k: int) -> Tensor:
    """The `k` visible positions that score highest, with all that tie with the last of them: [B, C, N] bool."""
    if score.shape[-1] <= k:
        return visible
    cut = score.masked_fill(~visible, -torch.inf).topk(k, -1).values[..., -1:]
    return visible & (score >= cut - CUT_MARGIN * cut.abs().nan_to_num(posinf=0.0).clamp(min=1))


def signs(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype) * 2 - 1


FAMILIES: dict[str, type[TargetAttention]] = {
    "target": TargetAttention,
    "sim": Sim,
    "sdim": Sdim,
    "eta": Eta,
    "twin": Twin,
}


def create_twin(config: ModelConfig) -> Ranker:
    """The uncompressed model of a family, with new weights."""
    if config.family == "hstu":
        return HstuRanker(config)
    attention = FAMILIES[config.family](config)
    model = Ranker(config, attention)
    attention.match_keys(model.cache.key)
    return model
