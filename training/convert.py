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
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from batches import Block, make_batch
from cache import CODES, Compression, FullKV, SharedKV, UserDimsOnly
from families import Sdim
from hstu import HstuRanker
from log import Log
from model import History, Ranker
from router import Router

POSITIONS = 60_000  # of real histories, that a pool is made from
ITERATIONS = 8
NEVER = -1e30  # the router's bias of a slot that is not to be chosen
FAR = 10.0  # times the largest coordinate: where centroids are that no point needs
SERVED = 1e-6  # of the mean squared length: a squared distance that is none


@dataclass
class LayerSample:
    """What a layer computes at positions of real histories."""

    inputs: Tensor  # [P, E], what the user dims are a function of
    key: Tensor  # [P, D]
    value: Tensor  # [P, D]
    key_metric: Tensor | None = None  # [D, D]: a key's error e counts as |e A|^2; None counts |e|^2
    value_metric: Tensor | None = None  # [D, any]: the same for values


@torch.no_grad()
def share_layer(sample: LayerSample, c: Compression, seed: int, outputs: int | None = None) -> SharedKV:
    """A pool, a frozen router over [K, V], and user dims that begin at what the pool leaves out."""
    embedding, d = sample.inputs.shape[1], sample.key.shape[1]
    torch.manual_seed(seed)
    shared = SharedKV(c, embedding, d, embedding if outputs is None else outputs, 2 * d).to(sample.key.device)
    cut = shared.pool_key.shape[1]  # user dims in the last head take the last columns
    key = weigh(sample.key[:, :cut], metric_of(sample.key_metric, sample.key)[:cut], c.key_weight)
    value = weigh(sample.value[:, :cut], metric_of(sample.value_metric, sample.value)[:cut])
    maps = [(1.0, 0.0), (0.0, 1.0)] if not c.tied else [(1.0, 1.0)]
    routers = [shared.router] if c.tied else [shared.router, shared.value_router]
    full = torch.cat([sample.key, sample.value], 1)  # [P, 2D]
    chosen = []
    for (with_key, with_value), router in zip(maps, routers):
        if c.tied:
            with_key, with_value = float(c.share != "values"), float(c.share != "keys")
        points = torch.cat([key.points * with_key, value.points * with_value], 1)
        centroids = kmeans(points, c.slots, ITERATIONS, seed)  # [M, K + V]
        left = torch.zeros(2 * d, points.shape[1], device=points.device)  # points = [K, V] left
        left[:cut, : key.points.shape[1]] = key.map * with_key
        left[d : d + cut, key.points.shape[1] :] = value.map * with_value
        router.weight.copy_(centroids @ left.T)
        router.bias.copy_(-centroids.square().sum(1) / 2)
        for part in router.parameters():
            part.requires_grad_(False)
        route = router(full).argmax(-1)
        router.bias[torch.bincount(route, minlength=c.slots) == 0] = NEVER  # its pool row is nobody's mean
        chosen.append(route)
    shared.pool_key.copy_(cluster_means(sample.key[:, :cut], chosen[0], c.slots))
    shared.pool_value.copy_(cluster_means(sample.value[:, :cut], chosen[-1], c.slots))
    if shared.user is not None:
        rest_key = sample.key[:, :cut] - shared.pool_key[chosen[0]]
        rest_value = sample.value[:, :cut] - shared.pool_value[chosen[-1]]
        if c.user_form == "last_head":
            rest_key, rest_value = sample.key[:, cut:], sample.value[:, cut:]
        fit_user_dims(shared.user, sample.inputs, rest_key, rest_value, c.user_width)
    return shared


@dataclass
class Weighted:
    points: Tensor  # [P, K]
    map: Tensor  # [D, K], points = part map


def metric_of(metric: Tensor | None, part: Tensor) -> Tensor:
    return torch.eye(part.shape[1], device=part.device) if metric is None else metric


def weigh(part: Tensor, metric: Tensor, weight: float = 1.0) -> Weighted:
    """Scales to a total variance of `weight` squared, and drops directions in which the points do not vary."""
    points = part @ metric
    variance, directions = torch.linalg.eigh(torch.cov(points.T).double().reshape(points.shape[1], -1))
    keep = variance > variance.sum() * 1e-6
    map_ = metric @ (directions[:, keep] * weight / variance.sum().clamp(min=1e-12).sqrt()).float()
    return Weighted(part @ map_, map_)


def kmeans(points: Tensor, count: int, iterations: int, seed: int) -> Tensor:
    """Centroids [count, width] by Lloyd's iterations. One without points restarts where points are served worst; those
    for which no distinct point is left end far from all points."""
    points, weight = points.unique(dim=0, return_counts=True)  # many positions are the same
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(points), generator=generator)[torch.arange(count) % len(points)]
    centroids = points[chosen.to(points.device)].clone()
    for _ in range(iterations):
        distance, nearest = nearest_centroid(points, centroids)
        sizes = torch.bincount(nearest, minlength=count)
        centroids = cluster_means(points, nearest, count, weight)
        restart(centroids, (sizes == 0).nonzero()[:, 0], points, distance)
    return centroids


def restart(centroids: Tensor, empty: Tensor, points: Tensor, distance: Tensor) -> None:
    """Places the empty centroids one after the other: many points may be the same, and need but one of them."""
    centroids[empty] = FAR * points.abs().max()
    length = points.square().sum(1)  # [P]
    for i in empty:
        worst = distance.argmax()
        if distance[worst] <= SERVED * length.mean():
            return
        centroids[i] = points[worst]
        distance = distance.minimum(length - 2 * points @ points[worst] + length[worst])


def cluster_means(points: Tensor, nearest: Tensor, count: int, weight: Tensor | None = None) -> Tensor:
    """Mean of each cluster's points [count, width]; zero where there are none."""
    weight = torch.ones(len(points), device=points.device) if weight is None else weight.to(points.dtype)
    sums = torch.zeros(count, points.shape[1], device=points.device).index_add_(0, nearest, points * weight[:, None])
    sizes = torch.zeros(count, device=points.device).index_add_(0, nearest, weight)
    return sums / sizes.clamp(min=1)[:, None]


def nearest_centroid(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to, and index of, each point's nearest centroid, in pieces that fit the processor's cache."""
    half = -centroids.square().sum(1) / 2
    best = [torch.addmm(half, part, centroids.T).max(1) for part in points.split(1024)]
    closeness = torch.cat([found.values for found in best])  # x c - |c|^2 / 2
    return points.square().sum(1) - 2 * closeness, torch.cat([found.indices for found in best])


def fit_user_dims(user: nn.Linear, inputs: Tensor, rest_key: Tensor, rest_value: Tensor, width: int) -> None:
    """The linear functions of the inputs that best give the main directions of what the pool leaves out.

    In float64: LAPACK's last digits differ from run to run, and the same model is to give the same bytes.
    """
    design = torch.cat([inputs, torch.ones(len(inputs), 1, device=inputs.device)], 1).double()
    for i, rest in enumerate((rest_key, rest_value)):
        rest = rest.double() - rest.double().mean(0)
        _, _, directions = torch.linalg.svd(rest[:8192], full_matrices=False)
        target = rest @ directions[:width].T  # [P, U]
        target = target / (2 * target.std(0)).clamp(min=1e-6)  # most of it where tanh is nearly linear
        if target.shape[1] < width:
            target = nn.functional.pad(target, (0, width - target.shape[1]))
        # A norm before the layer makes one direction depend on the others but for rounding: it counts as none.
        solved = torch.linalg.pinv(design.T @ design, rtol=1e-10, hermitian=True) @ (design.T @ target)  # [E + 1, U]
        user.weight[i * width : (i + 1) * width] = solved[:-1].T
        user.bias[i * width : (i + 1) * width] = solved[-1]


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


def sample_history(
    log: Log, learned: np.ndarray, seed: int, users: int = 400, longest: int = 256, device: str = "cpu"
) -> History:
    """The first positions of some users, up to their last query that is learned from."""
    random = np.random.default_rng(seed)
    last = np.zeros(log.users, np.int64)  # positions that learned queries see
    np.maximum.at(last, log.query_user()[learned], log.query_now[learned])
    chosen = random.permutation(np.flatnonzero(last))[:users]
    blocks = [Block(int(log.starts[u]), int(log.starts[u] + min(last[u], longest)), 0, 0) for u in chosen]
    return make_batch(log, learned, blocks, device).history
