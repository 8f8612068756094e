"""Makes a pool, a frozen router and user dims from one attention layer, of any PyTorch model.

    shared = share_layer(LayerSample(inputs=s, key=layer.k(s), value=layer.v(s)), Compression(slots=1024), seed=1)
    kv = shared(s, torch.cat([layer.k(s), layer.v(s)], -1))     # in place of layer.k(s) and layer.v(s)

Here `s` [rows, width] are the layer's inputs at positions of real histories; some tens of thousands are enough.

k-means over the [K, V] of these positions gives the pool. The nearest centroid is linear in the clustered point x:
argmin_j |x - c_j|^2 = argmax_j x c_j - |c_j|^2 / 2. So the router is computed, not learned, and stays frozen. Distances
are those that the model sees: of a key, through the queries; of a value, through the output projection.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from conversion.kmeans import centroids_of, kmeans
from models.caches.shared import SharedKV
from models.compression import Compression
from models.layer_sample import LayerSample

__all__ = ["LayerSample", "share_layer"]

ITERATIONS = 8  # of k-means
NEVER = -1e30  # the router's bias of a slot that must not be chosen


def share_layer(sample: LayerSample, c: Compression, seed: int, outputs: int | None = None) -> SharedKV:
    """Returns a pool, a frozen router over [K, V], and user dims that begin at the residual of the pool.

    The user head's output is `outputs` wide, or as wide as the layer's inputs if None.
    """
    with torch.no_grad():
        embedding, d = sample.inputs.shape[1], sample.key.shape[1]
        torch.manual_seed(seed)
        shared = SharedKV(c, embedding, d, embedding if outputs is None else outputs, 2 * d).to(sample.key.device)
        cut = shared.pool_key.shape[1]  # user dims in the last head take the last columns
        key = weigh(sample.key[:, :cut], metric_of(sample.key_metric, sample.key)[:cut], c.key_weight)
        value = weigh(sample.value[:, :cut], metric_of(sample.value_metric, sample.value)[:cut])
        full = torch.cat([sample.key, sample.value], 1)  # [P, 2D]
        chosen = []
        for (with_key, with_value), router in zip(part_weights(c), shared.routers()):
            points = torch.cat([key.points * with_key, value.points * with_value], 1)
            centroids = kmeans(points, c.slots, ITERATIONS, seed)  # [M, K + V]
            map_ = torch.zeros(2 * d, points.shape[1], device=points.device)  # points = [K, V] map_
            map_[:cut, : key.points.shape[1]] = key.map * with_key
            map_[d : d + cut, key.points.shape[1] :] = value.map * with_value
            router.weight.copy_(centroids @ map_.T)
            router.bias.copy_(-centroids.square().sum(1) / 2)
            for part in router.parameters():
                part.requires_grad_(False)
            route = router(full).argmax(-1)
            router.bias[torch.bincount(route, minlength=c.slots) == 0] = (
                NEVER  # no position has this slot, so its pool row is no mean
            )
            chosen.append(route)
        shared.pool_key.copy_(centroids_of(sample.key[:, :cut], chosen[0], c.slots))
        shared.pool_value.copy_(centroids_of(sample.value[:, :cut], chosen[-1], c.slots))
        if shared.user is not None:
            residual_key = sample.key[:, :cut] - shared.pool_key[chosen[0]]
            residual_value = sample.value[:, :cut] - shared.pool_value[chosen[-1]]
            if c.user_form == "last_head":
                residual_key, residual_value = sample.key[:, cut:], sample.value[:, cut:]
            fit_user_dims(shared.user, sample.inputs, residual_key, residual_value, c.user_width)
        return shared


def part_weights(c: Compression) -> list[tuple[float, float]]:
    """Returns, for each router, the weights of keys and values in its distances; 0 for a part that is not shared."""
    if not c.tied:
        return [(1.0, 0.0), (0.0, 1.0)]
    return [(float(c.share != "values"), float(c.share != "keys"))]


@dataclass
class Weighted:
    """Keys or values in the space where k-means measures distances, K wide."""

    points: Tensor  # [P, K] = part [P, D] map
    map: Tensor  # [D, K]


def metric_of(metric: Tensor | None, part: Tensor) -> Tensor:
    """Returns the metric, or the identity if None."""
    return torch.eye(part.shape[1], device=part.device) if metric is None else metric


def weigh(part: Tensor, metric: Tensor, weight: float = 1.0) -> Weighted:
    """Scales part [P, D] to a total variance of `weight` squared. Drops directions in which it does not vary."""
    points = part @ metric
    variance, directions = torch.linalg.eigh(torch.cov(points.T).double().reshape(points.shape[1], -1))
    keep = variance > variance.sum() * 1e-6
    map_ = metric @ (directions[:, keep] * weight / variance.sum().clamp(min=1e-12).sqrt()).float()
    return Weighted(part @ map_, map_)


def fit_user_dims(user: nn.Linear, inputs: Tensor, residual_key: Tensor, residual_value: Tensor, width: int) -> None:
    """Sets user dims to the linear functions of the inputs [P, E] that best predict the residual's main directions.

    The residuals, each [P, D], are the keys and values minus their pool rows. Works in float64: in float32, LAPACK's
    last digits differ from run to run, and then the same model would give other bytes.
    """
    design = torch.cat([inputs, torch.ones(len(inputs), 1, device=inputs.device)], 1).double()
    for i, rest in enumerate((residual_key, residual_value)):
        rest = rest.double() - rest.double().mean(0)
        _, _, directions = torch.linalg.svd(rest[:8192], full_matrices=False)
        target = rest @ directions[:width].T  # [P, U]
        target = target / (2 * target.std(0)).clamp(min=1e-6)  # most targets lie where tanh is nearly linear
        if target.shape[1] < width:
            target = nn.functional.pad(target, (0, width - target.shape[1]))
        # Behind a norm, one direction depends on the others but for rounding. rtol drops it.
        solved = torch.linalg.pinv(design.T @ design, rtol=1e-10, hermitian=True) @ (design.T @ target)  # [E + 1, U]
        user.weight[i * width : (i + 1) * width] = solved[:-1].T
        user.bias[i * width : (i + 1) * width] = solved[-1]
