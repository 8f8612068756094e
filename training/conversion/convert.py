"""Converts a trained full model to CollectiveKV, and makes the other arms of a comparison.

k-means clusters the model's keys and values; nothing is learned again. See share_layer.py for the method. A layer of
any PyTorch model can be converted by `share_layer` alone.
"""

import copy

import torch
from torch import nn

from conversion.kmeans import kmeans
from conversion.share_layer import share_layer
from data.history import History
from models.caches.full import FullCache
from models.caches.shared import SharedKV
from models.caches.user_dims_only import UserDimsOnly
from models.compression import CODES, Compression
from models.families.registry import family_of
from models.layer_sample import MOST_POSITIONS
from models.ranker import Ranker


def convert(full: Ranker, sample: History, c: Compression, seed: int) -> Ranker:
    """Returns a CollectiveKV copy of a trained full model. `sample` holds histories of real users.

    Layers are converted from the lowest up, each on the output of the converted layers below.
    """
    with torch.no_grad():
        model = copy.deepcopy(full).eval()
        family = family_of(model)
        for depth, (holder, layer) in enumerate(zip(model.cache_holders(), family.layer_samples(model, sample))):
            cache: FullCache = holder.cache
            shared = share_layer(layer, c, seed + depth)
            for name in ("router", "value_router"):
                router = getattr(shared, name)
                if router is not None:
                    folded = cache.fold(router)
                    folded.remembers = depth == 0  # above, a row depends on the whole history and rarely repeats
                    setattr(shared, name, folded)
            if c.share != "both":
                shared.full = cache.beside_pool()
            holder.cache = shared
        for module in family.route_modules(model):
            module.requires_grad_(False)
        return model


def without_pool(full: Ranker, c: Compression, seed: int) -> Ranker:
    """Returns the arm that keeps user dims only, with new user dims."""
    with torch.no_grad():
        torch.manual_seed(seed)
        model = copy.deepcopy(full)
        e = model.config.embedding
        for holder in model.cache_holders():
            holder.cache = UserDimsOnly(c, e, e)
        return model


def with_new_pool(model: Ranker, c: Compression, seed: int) -> Ranker:
    """Gives an untrained model a new pool and new routers, for training by the published recipe."""
    with torch.no_grad():
        torch.manual_seed(seed)
        e = model.config.embedding
        for holder in model.cache_holders():
            cache: FullCache = holder.cache
            holder.cache = SharedKV(c, e, cache.width, e, cache.route_inputs).to(model.item.weight.device)
            if c.share != "both":
                holder.cache.full = cache.beside_pool()
            for pool in (holder.cache.pool_key, holder.cache.pool_value):
                nn.init.normal_(pool, std=e**-0.5)
        return model


def calibrate(model: Ranker, sample: History, seed: int) -> None:
    """Sets the scales and the codebooks of the user dims by their values at the positions of `sample`."""
    with torch.no_grad():
        model.eval()
        for depth, (cache, s, _) in enumerate(model.layers(sample)):
            holder = cache.user_dims_holder()
            if holder is None:
                continue
            holder.quantised = False
            x = holder.user_dims(s[sample.valid])[:MOST_POSITIONS]  # [P, 2U]
            holder.scale.copy_(x.abs().amax(0).clamp(min=1e-6) / 127)
            holder.codes.copy_(kmeans(x, CODES, 30, seed + depth))
            holder.quantised = True
