"""Small models and histories that the tests share."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from conversion.convert import convert, without_pool
from data.features import Feature
from data.history import Candidates, History
from models.compression import Compression
from models.config import ModelConfig
from models.families.registry import FAMILIES
from models.ranker import Ranker
from testbed.random_models import random_full, random_history, with_user_head

HISTORY_FEATURES = [Feature("watch_ratio")]
CANDIDATE_FEATURES = [Feature("price", 0, 50, 20)]
CONTEXT_FEATURES = [Feature("hour", 0, 24, 12, period=True)]


def small_config(family: str, **changes) -> ModelConfig:
    """Returns sizes for the tests. Searches and the short part keep fewer positions than the tests' histories have."""
    config = ModelConfig(
        family,
        items=31,
        actions=4,
        interaction_features=HISTORY_FEATURES,
        candidate_features=CANDIDATE_FEATURES,
        context_features=CONTEXT_FEATURES,
        embedding=8,
        d_model=16,
        heads=4,
        layers=2 if FAMILIES[family].default_layers else 1,
        hidden=8,
        top_k=5,
        recent=3,
        recent_heads=2,
        hash_bits=16,
        hashes=6,
        bits_per_hash=2,
        max_positions=40,
    )
    return replace(config, **changes)


def small_full(family: str, seed: int = 1, **changes) -> Ranker:
    return random_full(small_config(family, **changes), seed).eval()


SAMPLE_SEED = 1  # also of `compress`


def sample_of(model: Ranker) -> History:
    """Returns the histories [20, 40] that `compress` converts a model with."""
    return random_history(model.config, 20, 40, SAMPLE_SEED)


def compress(full: Ranker, c: Compression, seed: int = SAMPLE_SEED) -> Ranker:
    """Returns the conversion of a full model. The user head affects the scores."""
    sample = random_history(full.config, 20, 40, seed)
    return with_user_head(convert(full, sample, c, seed), sample, seed)


def user_dims_alone(full: Ranker, c: Compression, seed: int = 1) -> Ranker:
    return with_user_head(without_pool(full, c, seed), random_history(full.config, 20, 40, seed), seed)


def caches_of(model: Ranker) -> list:
    return [holder.cache for holder in model.cache_holders()]


def padded_histories(config: ModelConfig, lengths: Sequence[int], seed: int, tokens: int = 8) -> History:
    """Returns one history for each length, padded on the left by random positions, which must not count.

    There are `tokens` different positions, so some of them tie.
    """
    random = np.random.default_rng(seed)
    history = random_history(config, len(lengths), max(lengths), seed)
    kinds = random.integers(0, tokens, (len(lengths), max(lengths)))
    history.item[:] = torch.from_numpy(random.permutation(np.arange(1, config.items))[:tokens][kinds])
    history.action[:] = torch.from_numpy(random.integers(1, config.actions, tokens)[kinds])
    history.features[:] = torch.from_numpy(random.random((tokens, history.features.shape[2]), np.float32)[kinds])
    for row, length in enumerate(lengths):
        history.valid[row, : max(lengths) - length] = False
    return history


def random_candidates(config: ModelConfig, now: torch.Tensor, seed: int) -> Candidates:
    """Returns random candidates at the places `now` [B, C]."""
    random = np.random.default_rng(seed)

    def features(wanted: list[Feature]) -> torch.Tensor:
        low, high = (np.array([getattr(f, side) for f in wanted]) for side in ("low", "high"))
        return torch.from_numpy((low + (high - low) * random.random((*now.shape, len(wanted)))).astype(np.float32))

    item = torch.from_numpy(random.integers(1, config.items, now.shape))
    return Candidates(item, features(config.candidate_features), features(config.context_features), now)


def doubled(model: Ranker) -> Ranker:
    return copy.deepcopy(model).double()
