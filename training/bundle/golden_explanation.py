"""The outputs of an explain graph by PyTorch, in float64, from derivatives of the model itself.

The graph writes out which weight each row has; here weights are derivatives of the attention's output by values. The
graph takes slopes over a few steps of the scorer's way; here they are derivatives at many points.

Shapes: C candidates, N positions, E embedding, W columns of a part's values.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bundle.record import kv_groups, record_fields
from data.history import Candidates, History
from models.caches.cluster_means import cluster_means
from models.caches.history_cache import Cached
from models.families.one_cache import OneCacheRanker
from models.ranker import visible_positions

POINTS, TOGETHER = 16384, 1024  # of the scorer's way; and how many of them are in memory


@dataclass
class Part:
    """A part of the attention. `out` projects its values, E x W, and `own` are the columns of user KV."""

    output: Callable[[Tensor, Tensor], Tensor]  # values [1, N, any], visible [1, C, N] -> [C, E]
    values: Tensor  # [1, N, any], of which the first W columns are read
    null_value: Tensor  # [W]
    out: Tensor  # [E, W]
    own: Tensor  # [W] bool


@torch.enable_grad()
def explanation(
    model: OneCacheRanker, history: History, candidates: Candidates, outputs: list[dict]
) -> dict[str, Tensor]:
    """Returns the explain graph's outputs for one user, by name. `outputs` is their list in the manifest.

    The model and the features are in float64, and the results are rounded to float32.
    """
    item = model.item(candidates.item)  # [1, C, E]
    visible = visible_positions(history.valid, candidates.now, model.config.max_positions)
    parts = parts_of(model, item, history, candidates.now)
    near, far = (
        sum((part.output(part.values, seen) for part in parts.values()), torch.zeros_like(item[0]))
        for seen in (torch.zeros_like(visible), visible)
    )
    slope = mean_slope(model, item, candidates, near, far)  # [C, E]
    adds = torch.zeros(2, *visible.shape[1:], dtype=item.dtype)  # of all columns, and of user KV alone: [2, C, N]
    for part in parts.values():
        width = len(part.null_value)
        changes = (part.values[0, :, :width] - part.null_value) * derivatives(part, visible, slope)  # [C, N, W]
        adds += torch.stack([changes.sum(-1), changes[..., part.own].sum(-1)])
    named = {"contributions": adds[0], "own_contributions": adds[1]}
    for role, attended in (("scores", far), ("base_scores", near)):
        named[role] = torch.sigmoid(model.scorer(item, attended[None], candidates))[0]
    for x in outputs:
        if x["role"] == "attention":
            named[x["name"]] = weights(parts, x["part"], visible, x["shape"][1], model.config.d_model)
    return {x["name"]: named[x["name"]].detach().float() for x in outputs}


def parts_of(model: OneCacheRanker, item: Tensor, history: History, now: Tensor) -> dict[str, Part]:
    """Returns the long part, the short part and the user head, as far as the model has them."""
    attention, s = model.attention, model.embed_history(history)
    kv = model.cache(s, s)
    own = torch.arange(kv.value.shape[-1]) >= kv.value.shape[-1] - own_columns(model, kv)
    key = kv.key
    cluster = model.cache.clusters_of(model, history)
    if cluster is not None:  # a position has the key of its cluster
        visited, at = cluster[0].unique(return_inverse=True)
        seen = torch.ones(1, len(at), dtype=torch.bool)
        key = model.cache.key(cluster_means(s[0], at, len(visited), seen).mean[0][at])[None]
    found = {
        "history": Part(
            lambda value, seen: attention.by_fixed_weights(item, Cached(key, value), seen, now)[0],
            kv.value,
            attention.null_value,
            attention.out.weight,
            own,
        )
    }
    if attention.recent_positions:
        width = len(attention.recent.null_value)
        found["recent"] = Part(
            lambda value, seen: attention.short(item, Cached(kv.key, value), seen, now)[0],
            kv.value,
            attention.recent.null_value,
            attention.recent.out.weight,
            own[:width],
        )
    if kv.user_value is not None:
        head = model.cache.user_head
        found["user"] = Part(
            lambda value, seen: head(item, kv.user_key, value, seen)[0],
            kv.user_value,
            head.null_value,
            head.out.weight,
            torch.ones(len(head.null_value), dtype=torch.bool),
        )
    return found


def own_columns(model: OneCacheRanker, kv: Cached) -> int:
    """Returns how many of the last columns of the values are user KV."""
    if kv.user_value is not None:
        return 0
    if compression := getattr(model.cache, "compression", None):
        return compression.user_width  # the record may have codes instead, which have no width
    user = kv_groups(model)[0].get("value", {}).get("user")
    return 0 if user is None else next(field["width"] for field in record_fields(model) if field["name"] == user)


def mean_slope(model: OneCacheRanker, item: Tensor, candidates: Candidates, near: Tensor, far: Tensor) -> Tensor:
    """Returns the mean derivative of the score on the straight way from `near` to `far`, [C, E] each: [C, E]."""
    columns = {name: value.expand(TOGETHER, *value.shape[1:]) for name, value in vars(candidates).items()}
    slope = torch.zeros_like(near)
    for place in ((torch.arange(POINTS, dtype=item.dtype) + 0.5) / POINTS).split(TOGETHER):
        x = (near + place[:, None, None] * (far - near)).detach().requires_grad_()  # [points, C, E]
        score = torch.sigmoid(model.scorer(item.expand_as(x), x, replace(candidates, **columns)))
        slope += torch.autograd.grad(score.sum(), x)[0].sum(0) / POINTS
    return slope


def derivatives(part: Part, visible: Tensor, toward: Tensor) -> Tensor:
    """Returns the derivatives of each candidate's output, times its row of `toward` [C, E], by values: [C, N, W]."""
    values = part.values.detach().requires_grad_()
    output = (part.output(values, visible) * toward).sum(-1)  # [C]
    found = [torch.autograd.grad(one, values, retain_graph=True)[0][0] for one in output]
    return torch.stack(found)[..., : len(part.null_value)]


def weights(parts: dict[str, Part], name: str, visible: Tensor, heads: int, layer_width: int) -> Tensor:
    """Returns the weights of a part's heads, [C, H, N]. `layer_width` is that of each layer's values.

    A head's weight of a position times its projection of any direction is the derivative by the position's value.
    """
    part, columns = parts.get(name), slice(None)
    if part is None:  # a layer of several: its columns of the values
        part, depth = parts["history"], int(name.removeprefix("layer"))
        columns = slice(depth * layer_width, (depth + 1) * layer_width)
    toward = torch.linspace(1, 2, len(part.out), dtype=part.out.dtype)
    found = derivatives(part, visible, toward.expand(visible.shape[1], -1))[..., columns]
    projected = (toward @ part.out)[columns].unflatten(0, (heads, -1))  # [H, W/H]
    found = (found.unflatten(-1, (heads, -1)) * projected).sum(-1) / projected.square().sum(-1)
    return found.mT  # [C, H, N]
