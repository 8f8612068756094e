"""Models with random weights, for fixtures, tests and the benchmark. Every part of a model affects its scores."""

import copy

import numpy as np
import torch
from torch import Tensor

from conversion.convert import calibrate, convert
from data.history import History
from data.log import Log
from models.caches.full import FullKV
from models.caches.shared import SharedKV
from models.compression import Compression
from models.config import ModelConfig
from models.families.registry import create_full
from models.ranker import Ranker
from models.router import Router

ACTIONS = ["", "skip", "click", "like"]


def random_history(config: ModelConfig, users: int, positions: int, seed: int) -> History:
    random = np.random.default_rng(seed)
    item = torch.from_numpy(random.integers(1, config.items, (users, positions)))
    action = torch.from_numpy(random.integers(1, config.actions, (users, positions)))
    features = torch.from_numpy(random.random((users, positions, len(config.interaction_features)), np.float32))
    return History(item, action, features, torch.ones_like(item, dtype=torch.bool))


def random_full(config: ModelConfig, seed: int = 1) -> Ranker:
    """Returns a full model. Every part of it affects its scores."""
    torch.manual_seed(seed)
    full = create_full(config)
    with torch.no_grad():
        for name, parameter in full.named_parameters():
            if parameter.dim() == 2 and "norm" not in name:
                parameter.mul_(1.5)
        for table in (full.item, full.action):
            torch.nn.init.normal_(table.weight, std=0.7)
        for name, parameter in full.named_parameters():
            if "null" in name or (parameter.dim() == 2 and name.endswith(".bias")):  # HSTU has one bias for each place
                torch.nn.init.normal_(parameter, std=0.5)
    return full


def random_model(full: Ranker, c: Compression, seed: int = 1) -> Ranker:
    """Returns the conversion of a full model. The user head affects the scores as well."""
    sample = random_history(full.config, 40, 100, seed)
    return with_user_head(convert(full, sample, c, seed), sample, seed)


@torch.no_grad()
def sampled_model(full: Ranker, c: Compression, seed: int = 1) -> Ranker:
    """Like `random_model`, but the centroids are positions drawn at random. So a pool of any size needs no k-means.

    User dims must have a head of their own.
    """
    model = copy.deepcopy(full).eval()
    config, cache = model.config, model.cache
    torch.manual_seed(seed)
    shared = SharedKV(c, config.embedding, cache.width, config.embedding, config.embedding)
    drawn = [model.embed_history(random_history(config, 1, c.slots, seed + i))[0] for i in range(2)]  # each [M, E]
    key_rows, value_rows = drawn[0], drawn[0 if c.tied else 1]
    shared.pool_key.copy_(cache.key(key_rows))
    shared.pool_value.copy_(cache.value(value_rows))
    shared.router = nearest_router(key_rows, cache)
    if not c.tied:
        shared.value_router = nearest_router(value_rows, cache)
    model.cache = shared
    return with_user_head(model, random_history(config, 40, 100, seed), seed)


def nearest_router(rows: Tensor, full: FullKV) -> Router:
    """Returns a router from S to the nearest row [M, E] by [K, V].

    argmin_j |x - c_j|^2 = argmax_j x c_j - |c_j|^2 / 2.
    """
    centroids = torch.cat([full.key(rows), full.value(rows)], 1)  # [M, 2D]
    router = Router(centroids.shape[1], len(rows))
    router.weight.copy_(centroids)
    router.bias.copy_(-centroids.square().sum(1) / 2)
    return full.fold(router)


def with_user_head(model: Ranker, sample: History, seed: int) -> Ranker:
    """Gives the user heads random weights, and calibrates the user dims by `sample`. Returns the model."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "user_head" in name:
                torch.nn.init.normal_(parameter, std=0.7)
    calibrate(model, sample, seed)
    return model


def catalogue_log(config: ModelConfig) -> Log:
    """Returns a log with vocabularies and no rows; an export needs no more."""
    none = np.zeros(0, np.int64)
    empty = np.zeros((0, 1), np.float32)
    items = ["", *(f"i{i:04}" for i in range(config.items - 1))]
    return Log(items, ACTIONS, none, none, none, empty, none, none, none, none, none, empty, empty)
