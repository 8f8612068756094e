"""Converts a trained model to CollectiveKV: its keys and values are clustered, not learned again.

k-means over the [K, V] of real positions gives the pool. The nearest centroid is linear in what is clustered:
argmin_j |x - c_j|^2 = argmax_j x c_j - |c_j|^2 / 2, and where K and V are linear in S, in S as well; so the router is
written down, and stays frozen. Distances are those that the model sees: a key's error through the queries that meet it,
a value's through the output projection.

`convert` does this to a model of ours. `share_layer` is for an attention layer of any PyTorch model:

    shared = share_layer(LayerSample(inputs=s, key=layer.k(s), value=layer.v(s)), Compression(slots=1024), seed=1)
    kv = shared(s, torch.cat([layer.k(s), layer.v(s)], -1))     # in place of layer.k(s) and layer.v(s)

with `s` [rows, width] the layer's inputs at positions of real histories: some tens of thousands are enough.
"""

import copy

import torch
from torch import Tensor, nn

from conversion.kmeans import kmeans
from conversion.share_layer import LayerSample, share_layer
from data.history import History
from models.families import Sdim
from models.history_cache import CODES, Compression, FullKV, SharedKV, UserDimsOnly
from models.hstu import HstuRanker
from models.ranker import Ranker
from models.router import Router

POSITIONS = 60_000  # of real histories, that a pool is made from


@torch.no_grad()
def convert(twin: Ranker, sample: History, c: Compression, seed: int) -> Ranker:
    """A CollectiveKV copy of a trained model; `sample` has histories of real users."""
    model = copy.deepcopy(twin).eval()
    if isinstance(model, HstuRanker):
        return convert_hstu(model, sample, c, seed)
    s = model.embed_history(sample)[sample.valid][:POSITIONS]  # [P, E]
    full: FullKV = model.cache
    attention = model.attention
    hashed = isinstance(attention, Sdim)
    queries = attention.query(model.item.weight[1:])  # [items, D]
    layer = LayerSample(
        s,
        full.key(s),
        full.value(s),
        None if hashed else query_metric(queries, model.config.heads),
        attention.out.weight.T,
    )
    shared = share_layer(layer, c, seed, model.config.embedding)
    for name in ("router", "value_router"):
        router = getattr(shared, name)
        if router is not None:  # [K, V] = S W + b: the router reads S itself
            setattr(shared, name, fold(router, full))
    if c.share != "both":
        shared.full = full
    model.cache = shared
    freeze_embeddings(model)
    return model


def freeze_embeddings(model: Ranker) -> None:
    """Routes depend on these; a route must mean the same before and after the fine-tune."""
    for part in (model.item, model.action, model.interaction_features):
        if part is not None:
            part.requires_grad_(False)


def convert_hstu(model: HstuRanker, sample: History, c: Compression, seed: int) -> HstuRanker:
    """Layer by layer, each on what the layers below give once they are converted."""
    freeze_embeddings(model)
    for depth, (layer, (_, rows, key_value)) in enumerate(zip(model.stack, model.layers(sample))):
        rows, key_value = rows[sample.valid][:POSITIONS], key_value[sample.valid][:POSITIONS]
        queries = torch.nn.functional.silu(layer.query_gate(rows)).chunk(2, -1)[0]
        found = LayerSample(rows, *key_value.chunk(2, -1), query_metric(queries, model.config.heads))
        layer.cache = share_layer(found, c, seed + depth)
        for router in (layer.cache.router, layer.cache.value_router):
            if router is not None:
                router.remembers = depth == 0  # the layers above see whole histories, and few rows twice
        for part in (layer.norm, layer.key_value):
            part.requires_grad_(False)
    return model


def query_metric(queries: Tensor, heads: int) -> Tensor:
    """[D, D] block-diagonal A with A A^T = E[q q^T] per head: a key's error e moves logits by |e A|^2 on average."""
    d = queries.shape[1]
    metric = torch.zeros(d, d, device=queries.device)
    for block in torch.arange(d).chunk(heads):
        second = queries[:, block].T.double() @ queries[:, block].double() / len(queries)
        values, vectors = torch.linalg.eigh(second)
        metric[block[:, None], block] = (vectors * values.clamp(min=0).sqrt()).float()
    return metric


def fold(router: Router, full: FullKV) -> Router:
    """The same router over S instead of [K, V] = S W + b."""
    weight = torch.cat([full.key.weight, full.value.weight])  # [2D, E]
    folded = Router(weight.shape[1], router.out_features, weight.device)
    folded.weight.copy_(router.weight @ weight)
    folded.bias.copy_(router.weight @ torch.cat([full.key.bias, full.value.bias]) + router.bias)
    folded.remembers = True
    return folded.requires_grad_(False)


@torch.no_grad()
def without_pool(twin: Ranker, c: Compression, seed: int) -> Ranker:
    """The arm that keeps user dims alone."""
    torch.manual_seed(seed)
    model = copy.deepcopy(twin)
    e = model.config.embedding
    if isinstance(model, HstuRanker):
        for layer in model.stack:
            layer.cache = UserDimsOnly(c, e, e)
    else:
        model.cache = UserDimsOnly(c, e, e)
    return model


@torch.no_grad()
def with_new_pool(model: Ranker, c: Compression, seed: int) -> Ranker:
    """A model that has learned nothing yet, with a pool and routers to learn: the published recipe."""
    torch.manual_seed(seed)
    e, d = model.config.embedding, model.config.d_model
    holders = list(model.stack) if isinstance(model, HstuRanker) else [model]
    for holder in holders:
        seen = 2 * d if isinstance(model, HstuRanker) else e
        full = holder.cache
        holder.cache = SharedKV(c, e, d, e, seen).to(model.item.weight.device)
        if c.share != "both" and isinstance(full, FullKV):
            holder.cache.full = full
        for pool in (holder.cache.pool_key, holder.cache.pool_value):
            nn.init.normal_(pool, std=e**-0.5)
    return model


@torch.no_grad()
def calibrate(model: Ranker, sample: History, seed: int) -> None:
    """Sets the scales or the codebook of the user dims from what real histories have of them."""
    model.eval()
    for depth, (cache, s, _) in enumerate(model.layers(sample)):
        shared = cache.shared if isinstance(cache, UserDimsOnly) else cache
        if shared.user is None:
            continue
        shared.quantised = False
        x = shared.user_dims(s[sample.valid])[:POSITIONS]  # [P, 2U]
        shared.scale.copy_(x.abs().amax(0).clamp(min=1e-6) / 127)
        shared.codes.copy_(kmeans(x, CODES, 30, seed + depth))
        shared.quantised = True
