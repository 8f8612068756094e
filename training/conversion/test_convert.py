"""A converted model: its scores, its frozen modules, and the other arms."""

import copy

import pytest
import torch
from torch import nn

from conversion.convert import calibrate, convert, with_new_pool, without_pool
from conversion.share_layer import share_layer
from models.caches.full import FullKV
from models.caches.user_dims_only import UserDimsOnly
from models.compression import Compression
from models.families.registry import FAMILIES, family_of
from models.ranker import Ranker
from testbed.small_logs import random_log, train_briefly
from testbed.small_models import caches_of, compress, padded_histories, random_candidates, sample_of, small_full


def tokens_only(family: str, **changes) -> Ranker:
    """A full model with few kinds of positions."""
    return small_full(family, items=6, interaction_features=[], layers=1, **changes)


@pytest.mark.parametrize("share", ["both", "keys", "values"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_slot_for_every_kind_of_position_gives_the_scores_of_the_full_model(
    family: str, tied: bool, share: str
) -> None:
    full_model = tokens_only(family)
    model = convert(full_model, sample_of(full_model), Compression(slots=24, tied=tied, share=share), seed=1)
    history = padded_histories(full_model.config, (30, 7, 0), seed=3, tokens=5)
    candidates = random_candidates(full_model.config, torch.full((3, 8), 30), seed=4)
    with torch.no_grad():
        expected, found = full_model(history, candidates), model(history, candidates)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.01


@pytest.mark.parametrize("share", ["keys", "values"])
@pytest.mark.parametrize("family", ["target", "hstu"])
def test_the_part_that_is_not_shared_is_kept_in_full(family: str, share: str) -> None:
    full_model = small_full(family, layers=1)
    sample = sample_of(full_model)
    model = convert(full_model, sample, Compression(slots=4, share=share), seed=1)
    with torch.no_grad():
        (full_cache, _, full_input), (cache, s, x) = next(full_model.layers(sample)), next(model.layers(sample))
        full = full_cache(full_input) if family == "target" else full_cache(s, full_input)
        shared = cache(s, x)
    kept, other = ("value", "key") if share == "keys" else ("key", "value")
    torch.testing.assert_close(getattr(shared, kept), getattr(full, kept), atol=1e-6, rtol=0)
    assert (getattr(shared, other) - getattr(full, other)).abs().mean() > 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_a_converted_model_scores_as_its_pool_alone(family: str) -> None:
    full_model = small_full(family)
    model = convert(full_model, sample_of(full_model), Compression(slots=12), seed=1)
    history = padded_histories(full_model.config, (30, 7), seed=3)
    candidates = random_candidates(full_model.config, torch.full((2, 8), 30), seed=4)
    with torch.no_grad():
        before = model(history, candidates)
        for shared in caches_of(model):
            nn.init.normal_(shared.user.weight)
            nn.init.normal_(shared.user_head.query.weight)
            nn.init.normal_(shared.user_head.null_value)
        assert torch.equal(before, model(history, candidates))
        for shared in caches_of(model):
            nn.init.normal_(shared.user_head.out.weight)
        assert not torch.equal(before, model(history, candidates))


@pytest.mark.parametrize("family", ["target", "hstu"])
def test_more_slots_give_scores_closer_to_the_full_model(family: str) -> None:
    full_model = small_full(family)
    history = padded_histories(full_model.config, (30,) * 8, seed=3, tokens=20)
    candidates = random_candidates(full_model.config, torch.full((8, 8), 30), seed=4)
    with torch.no_grad():
        exact = full_model(history, candidates)
        errors = [
            (convert(full_model, sample_of(full_model), Compression(slots=m), seed=1)(history, candidates) - exact)
            .abs()
            .mean()
            for m in (1, 12, 300)
        ]
    assert errors[0] > errors[1] > errors[2]


def test_a_conversion_does_not_change_the_full_model() -> None:
    full_model = small_full("sim")
    before = copy.deepcopy(full_model.state_dict())
    compress(full_model, Compression(slots=12))
    assert all(torch.equal(before[name], value) for name, value in full_model.state_dict().items())
    assert all(p.requires_grad for p in full_model.parameters()) and isinstance(full_model.cache, FullKV)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_modules_that_routes_depend_on_are_frozen_and_the_rest_learns(family: str) -> None:
    full_model = small_full(family, layers=1)
    model = convert(full_model, sample_of(full_model), Compression(slots=12, tied=False), seed=1)
    before = copy.deepcopy(model)
    log = random_log(3, users=20)
    train_briefly(model, log, 2)
    sample = sample_of(full_model)
    (_, _, x), (_, _, y) = next(model.layers(sample)), next(before.layers(sample))
    assert torch.equal(x, y)
    for route, same in zip(caches_of(model)[0].routes(x), caches_of(before)[0].routes(y)):
        assert torch.equal(route, same)
    moved = {
        name
        for (name, value), old in zip(model.state_dict().items(), before.state_dict().values())
        if not torch.equal(value, old)
    }
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert not moved & frozen
    prefix = "stack.0.cache" if family == "hstu" else "cache"
    assert {f"{prefix}.pool_key", f"{prefix}.pool_value", f"{prefix}.user.weight", "scorer.mix.weight"} <= moved
    routers = {f"{prefix}.{router}.{part}" for router in ("router", "value_router") for part in ("weight", "bias")}
    read = {"stack.0.key_value.weight", "stack.0.norm.weight"} if family == "hstu" else set()
    assert {"item.weight", "action.weight", "interaction_features.weight"} | routers | read <= frozen


def test_the_arm_without_a_pool_keeps_user_dims_only() -> None:
    for family in ("target", "hstu"):
        model = without_pool(small_full(family), Compression(user_type="int8"), seed=1)
        calibrate(model, sample_of(model), seed=1)
        caches = [layer.cache for layer in model.stack] if family == "hstu" else [model.cache]
        for cache in caches:
            assert isinstance(cache, UserDimsOnly)
            kv = cache(torch.randn(2, 5, 8))
            assert kv.key is None and kv.value is None and kv.user_key.shape == (2, 5, 2)


@pytest.mark.parametrize("family", ["target", "hstu"])
def test_a_new_pool_of_one_part_leaves_the_other_in_full(family: str) -> None:
    full_model = small_full(family)
    sample = sample_of(full_model)
    _, s, full_input = next(full_model.layers(sample))
    (full_cache, *_) = caches_of(full_model)
    full = full_cache(full_input) if family == "target" else full_cache(s, full_input)
    model = with_new_pool(full_model, Compression(slots=12, share="values", gate=True), seed=1)
    cache, s, x = next(model.layers(sample))
    kv = cache(s, x)
    assert torch.equal(kv.key, full.key) and not torch.equal(kv.value, full.value)


def test_a_new_pool_learns_its_router_through_the_gate() -> None:
    model = with_new_pool(small_full("target"), Compression(slots=12, gate=True), seed=1)
    before = copy.deepcopy(model.cache)
    train_briefly(model, random_log(3, users=20), 1)
    assert not torch.equal(model.cache.router.weight, before.router.weight)
    assert not torch.equal(model.cache.pool_key, before.pool_key)


def test_layers_have_seeds_of_their_own_and_only_the_lowest_remembers_its_routes() -> None:
    full = small_full("hstu")
    c = Compression(slots=12, tied=False)
    model = convert(full, sample_of(full), c, seed=5)
    for depth, layer in enumerate(model.stack):
        again = share_layer(list(family_of(full).layer_samples(model, sample_of(full)))[depth], c, 5 + depth)
        assert torch.equal(layer.cache.pool_key, again.pool_key)
        assert [router.remembers for router in layer.cache.routers()] == [depth == 0] * 2
    assert convert(small_full("sim"), sample_of(small_full("sim")), c, seed=5).cache.router.remembers


@pytest.mark.parametrize("family", ["target", "hstu"])
def test_a_model_that_shares_both_parts_keeps_no_full_map(family: str) -> None:
    full = small_full(family)
    for model in (
        convert(full, sample_of(full), Compression(slots=12), 1),
        with_new_pool(full, Compression(slots=12), 1),
    ):
        assert all(cache.full is None for cache in caches_of(model))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_pool_has_rows_as_wide_as_the_keys_of_the_full_model(family: str) -> None:
    full = small_full(family)
    model = with_new_pool(small_full(family), Compression(slots=12), seed=1)
    for (cache, s, x), new in zip(full.layers(sample_of(full)), caches_of(model)):
        assert new.pool_key.shape == new.pool_value.shape == (12, cache(s, x).key.shape[-1])


def test_a_new_pool_has_rows_of_about_unit_length() -> None:
    pool = with_new_pool(small_full("target", embedding=64), Compression(slots=1000), 1).cache.pool_key
    assert pool.std().item() == pytest.approx(64**-0.5, rel=0.02)


def test_the_arm_without_a_pool_leaves_the_full_model_as_it_is() -> None:
    full = small_full("target")
    cache = full.cache
    without_pool(full, Compression(), seed=1)
    assert full.cache is cache
