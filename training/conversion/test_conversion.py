"""Conversion to CollectiveKV: the pool, its router, the user dims, and what stays as it was."""

import copy
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from conversion import share_layer as share_layer_module
from conversion.convert import calibrate, convert, with_new_pool, without_pool
from conversion.kmeans import kmeans, nearest_centroid, restart
from conversion.sample import sample_history
from conversion.share_layer import LayerSample, share_layer
from data.history import History
from models.caches.full import FullKV
from models.caches.shared import SharedKV
from models.caches.user_dims_only import UserDimsOnly
from models.compression import CODES, Compression
from models.families.hstu.layers import HstuRanker
from models.families.registry import FAMILIES
from models.ranker import Ranker
from testbed.random_models import random_history
from testbed.small_logs import random_log, train_briefly
from testbed.small_models import caches_of, compress, padded_histories, random_candidates, small_config, small_full

SAMPLE_SEED = 1  # of testbed.compress


def sample_of(model: Ranker) -> History:
    return random_history(model.config, 20, 40, SAMPLE_SEED)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """k-means runs until nothing moves, so that each centroid is the mean of the points nearest to it."""
    monkeypatch.setattr(share_layer_module, "ITERATIONS", 200)


# k-means.


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tokens", [8, 20, 300])
def test_kmeans_leaves_no_centroid_without_points_where_enough_points_differ(tokens: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    often = 1 / np.arange(1, tokens + 1) ** 1.5  # some points many times, some seldom
    draws = np.append(np.arange(tokens), random.choice(tokens, 2000, p=often / often.sum()))
    points = torch.from_numpy(random.normal(size=(tokens, 3)).astype(np.float32))[draws]
    _, nearest = nearest_centroid(points, kmeans(points, 8, 15, seed))
    assert len(nearest.unique()) == 8


@pytest.mark.parametrize("count", [30, 45])
def test_kmeans_with_a_centroid_for_every_distinct_point_is_exact_and_the_rest_is_out_of_the_way(count: int) -> None:
    random = np.random.default_rng(0)
    points = torch.from_numpy(random.normal(size=(30, 3)).astype(np.float32))[random.integers(0, 30, 500)]
    centroids = kmeans(points, count, 15, seed=0)
    distance, nearest = nearest_centroid(points, centroids)
    assert distance.max() < 1e-5 and len(nearest.unique()) == len(points.unique(dim=0))
    free = centroids[~torch.isin(torch.arange(count), nearest)]
    assert len(free) == 0 or torch.cdist(free, points).min() > 2 * torch.cdist(points, points).max()


def test_empty_centroids_restart_one_after_the_other_where_points_are_served_worst() -> None:
    points = torch.tensor([[0.0], [10.0], [10.1], [-7.0], [3.0]])
    centroids = torch.tensor([[0.0], [50.0], [50.0], [50.0]])
    empty = torch.tensor([1, 2, 3])
    restart(centroids, empty, points, (points - centroids[0]).square().sum(1))
    torch.testing.assert_close(centroids, torch.tensor([[0.0], [10.1], [-7.0], [3.0]]))  # 10 is near 10.1
    restart(centroids, empty, points[[0, 0, 3]], torch.tensor([0.0, 0.0, 49.0]))
    assert centroids[1] == -7 and centroids[2:].min() > 50  # two points are enough


def test_kmeans_weighs_a_point_by_how_often_it_occurs() -> None:
    points = torch.tensor([[0.0], [0.0], [0.0], [4.0], [100.0]])
    assert sorted(kmeans(points, 2, 15, seed=0)[:, 0].tolist()) == [1.0, 100.0]


def test_kmeans_finds_clusters_better_than_its_starting_points_were() -> None:
    torch.manual_seed(0)
    points = torch.randn(2000, 4)
    before, _ = nearest_centroid(points, kmeans(points, 20, 0, seed=1))
    after, _ = nearest_centroid(points, kmeans(points, 20, 15, seed=1))
    assert after.mean() < 0.9 * before.mean()


def test_the_nearest_centroid_is_the_nearest() -> None:
    torch.manual_seed(0)
    points, centroids = torch.randn(3000, 5), torch.randn(40, 5)
    exact = torch.cdist(points.double(), centroids.double()) ** 2
    distance, nearest = nearest_centroid(points, centroids)
    torch.testing.assert_close(distance.double(), exact.min(1).values, atol=1e-4, rtol=0)
    assert (nearest == exact.argmin(1)).float().mean() > 0.999


# The router.


def squared_errors(part: torch.Tensor, pool: torch.Tensor, seen_by: torch.Tensor) -> torch.Tensor:
    """[P, M] what a slot in place of a point moves: the mean over `seen_by`'s blocks of the squared products, in units
    of what the points themselves vary."""
    cut = part.shape[1]

    def size(error: torch.Tensor) -> torch.Tensor:
        """[..., D] -> [...]."""
        return sum((error @ block[:cut]).square().sum(-1) for block in seen_by)

    errors = torch.stack([size(part - row) for row in pool], 1)
    return errors / (size(part - part.mean(0)).sum() / (len(part) - 1))


def metric_parts(full_model: Ranker, layer: int) -> tuple[torch.Tensor, torch.Tensor, list, list]:
    """Keys, values [P, D] of the sample, and what keys and values meet: matrices [D, any] each."""
    sample, heads, d = sample_of(full_model), full_model.config.heads, full_model.config.d_model
    with torch.no_grad():
        if isinstance(full_model, HstuRanker):
            _, rows, both = list(full_model.layers(sample))[layer]
            key, value = both[sample.valid].chunk(2, -1)
            queries = nn.functional.silu(full_model.stack[layer].query_gate(rows[sample.valid])).chunk(2, -1)[0]
            values_meet = [torch.eye(d)]
        else:
            s = full_model.embed_history(sample)[sample.valid]
            key, value = full_model.cache.key(s), full_model.cache.value(s)
            queries = full_model.attention.query(full_model.item.weight[1:])
            values_meet = [full_model.attention.out.weight.T]
        if full_model.config.family == "sdim":  # its hashes see the key as it is
            return key.double(), value.double(), [torch.eye(d).double()], [x.double() for x in values_meet]
        keys_meet = []
        for block in torch.arange(d).chunk(heads):
            masked = torch.zeros(d, len(queries))
            masked[block] = queries[:, block].T
            keys_meet.append(masked.double())
    return key.double(), value.double(), keys_meet, [x.double() for x in values_meet]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "compression",
    [
        Compression(slots=12),
        Compression(slots=12, tied=False),
        Compression(slots=12, user_form="last_head"),
        Compression(slots=12, tied=False, user_form="last_head"),
        Compression(slots=12, key_weight=3.0),
        Compression(slots=12, share="values"),
    ],
    ids=["tied", "separate", "tied, last head", "separate, last head", "keys weigh more", "values alone"],
)
@pytest.mark.parametrize("family", ["target", "sdim", "hstu"])
def test_the_router_chooses_the_slot_that_queries_and_output_tell_least_from_the_position(
    family: str, compression: Compression
) -> None:
    c = compression
    full_model = small_full(family, layers=1)
    sample = sample_of(full_model)
    (shared,) = caches_of(convert(full_model, sample, c, seed=1))
    key, value, keys_meet, values_meet = metric_parts(full_model, 0)
    cut = shared.pool_key.shape[1]
    assert cut == (16 - c.user_width if c.user_form == "last_head" else 16)
    of_key = c.key_weight**2 * squared_errors(key[:, :cut], shared.pool_key.double(), keys_meet)
    of_value = squared_errors(value[:, :cut], shared.pool_value.double(), values_meet)
    # A folded router reads S, one of HSTU [K, V].
    router_input = (
        full_model.embed_history(sample)[sample.valid] if family != "hstu" else torch.cat([key, value], 1).float()
    )
    assert shared.router.in_features == router_input.shape[1]
    key_route, value_route = shared.routes(router_input)
    if c.tied:
        assert torch.equal(key_route, value_route)
        assert_nearest(key_route, of_value if c.share == "values" else of_key + of_value, c.slots)
    else:
        assert not torch.equal(key_route, value_route)
        assert_nearest(key_route, of_key, c.slots)
        assert_nearest(value_route, of_value, c.slots)


def assert_nearest(route: torch.Tensor, errors: torch.Tensor, slots: int) -> None:
    chosen = errors.gather(1, route[:, None])[:, 0]
    assert (chosen <= errors.min(1).values + 1e-4).all()
    assert len(route.unique()) == slots and errors.std(1).mean() > 0.1


def test_a_slot_is_the_mean_of_the_positions_that_are_routed_to_it() -> None:
    full_model = small_full("target")
    sample = sample_of(full_model)
    shared = convert(full_model, sample, Compression(slots=12, tied=False), seed=1).cache
    s = full_model.embed_history(sample)[sample.valid]
    for route, pool, part in zip(
        shared.routes(s), (shared.pool_key, shared.pool_value), (full_model.cache.key(s), full_model.cache.value(s))
    ):
        for slot in range(12):
            torch.testing.assert_close(pool[slot], part[route == slot].mean(0), atol=1e-5, rtol=0)


def test_a_slot_that_no_position_was_nearest_to_is_never_chosen() -> None:
    full_model = small_full("target", items=3, interaction_features=[])
    sample = sample_of(full_model)
    shared = convert(full_model, sample, Compression(slots=40), seed=1).cache
    used = shared.routes(full_model.embed_history(sample)[sample.valid])[0].unique()
    assert len(used) < 40
    other = torch.randn(5000, full_model.config.embedding) * 3
    assert torch.isin(shared.routes(other)[0], used).all()


# What a converted model scores.


def tokens_only(family: str, **changes) -> Ranker:
    """A model whose positions are of few kinds."""
    return small_full(family, items=6, interaction_features=[], layers=1, **changes)


@pytest.mark.parametrize("share", ["both", "keys", "values"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_with_a_slot_for_every_kind_of_position_it_scores_as_the_full(family: str, tied: bool, share: str) -> None:
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
def test_more_slots_come_closer_to_the_full(family: str) -> None:
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


def test_the_full_itself_is_not_touched() -> None:
    full_model = small_full("sim")
    before = copy.deepcopy(full_model.state_dict())
    compress(full_model, Compression(slots=12))
    assert all(torch.equal(before[name], value) for name, value in full_model.state_dict().items())
    assert all(p.requires_grad for p in full_model.parameters()) and isinstance(full_model.cache, FullKV)


# What stays frozen.


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_route_depends_on_is_frozen_and_the_rest_learns(family: str) -> None:
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


# User dims.


@pytest.mark.parametrize("form", ["own_head", "last_head"])
def test_user_dims_begin_at_what_the_pool_leaves_out(form: str) -> None:
    torch.manual_seed(0)
    kinds, own = 3 * torch.randn(2, 6), torch.randn(4000, 1)
    s = torch.cat([kinds[torch.randint(0, 2, (4000,))], own], 1)  # [P, 7]
    layer = nn.Linear(7, 8)
    with torch.no_grad():
        layer.weight[:, 6] *= 0.2  # the two slots are the two kinds, and miss the user's own part
        if form == "last_head":
            layer.weight[-1] = torch.tensor([0.0] * 6 + [1.0])  # the last column, which the pool does not have
        both = layer(s)
    shared = share_layer(LayerSample(s, both, both), Compression(slots=2, user_width=1, user_form=form), seed=1)
    assert shared.pool_key.shape == ((2, 8) if form == "own_head" else (2, 7))
    for dims in shared.user_dims(s).detach().chunk(2, 1):
        found = np.corrcoef(dims[:, 0], own[:, 0])[0, 1]
        assert abs(found) > 0.95 and 0.2 < dims.abs().mean() < 0.6


def test_the_last_head_has_pool_rows_and_the_user_dims_behind_them() -> None:
    full_model = small_full("target")
    model = compress(full_model, Compression(slots=12, user_form="last_head", user_width=3, user_type="int8"))
    s = model.embed_history(sample_of(full_model))
    kv = model.cache(s)
    assert kv.user_key is None and kv.key.shape[-1] == kv.value.shape[-1] == 16
    user_key, user_value = model.cache.user_dims(s).chunk(2, -1)
    slot, _ = model.cache.routes(s)
    assert torch.equal(kv.key, torch.cat([model.cache.pool_key[slot], user_key], -1))
    assert torch.equal(kv.value, torch.cat([model.cache.pool_value[slot], user_value], -1))


@pytest.mark.parametrize("family", ["target", "hstu"])
@pytest.mark.parametrize("user_type", ["int8", "float16", "codebook"])
def test_user_dims_are_quantised_as_the_record_stores_them(family: str, user_type: str) -> None:
    full_model = small_full(family)
    model = compress(full_model, Compression(slots=12, user_type=user_type))
    sample = sample_of(full_model)
    for shared, (_, s, _) in zip(caches_of(model), model.layers(sample)):
        x = torch.tanh(shared.user(s[sample.valid])).detach()
        found = shared.user_dims(s[sample.valid]).detach().numpy()
        if user_type == "int8":
            scale = shared.scale.numpy()
            stored = np.clip(np.rint(x.numpy() / scale), -127, 127).astype(np.int8)
            assert set(np.abs(stored).max(0)) == {127}  # the sample fills the range
            np.testing.assert_allclose(found, stored * scale, atol=1e-6)
            assert np.abs(found - x.numpy()).max() <= scale.max() / 2 + 1e-6
        elif user_type == "float16":
            np.testing.assert_allclose(found, x.numpy().astype(np.float16).astype(np.float32), atol=1e-6)
        else:
            nearest = torch.cdist(x.double(), shared.codes.double()).argmin(1)
            np.testing.assert_allclose(found, shared.codes[nearest].numpy(), atol=1e-4)
            assert len(shared.codes) == CODES and len(nearest.unique()) > 200
            assert np.abs(found - x.numpy()).mean() < 0.1


def test_int8_user_dims_beyond_what_the_sample_had_are_clamped() -> None:
    shared = SharedKV(Compression(slots=2, user_type="int8"), 4, 8, 4, 4)
    shared.scale.fill_(0.5 / 127)
    found = shared.quantise(torch.tensor([0.9, -0.9, 0.25, 0.0]))
    torch.testing.assert_close(found, torch.tensor([0.5, -0.5, 0.252, 0.0]), atol=1e-3, rtol=0)


def test_gradients_pass_through_the_rounding() -> None:
    shared = compress(small_full("target"), Compression(slots=12, user_type="codebook")).cache
    s = torch.randn(1, 6, 8)
    shared.user_dims(s).sum().backward()
    rounded = shared.user.weight.grad.clone()
    shared.user.weight.grad = None
    torch.tanh(shared.user(s)).sum().backward()
    torch.testing.assert_close(rounded, shared.user.weight.grad)


def test_the_arm_without_a_pool_keeps_user_dims_alone() -> None:
    for family in ("target", "hstu"):
        model = without_pool(small_full(family), Compression(user_type="int8"), seed=1)
        calibrate(model, sample_of(model), seed=1)
        caches = [layer.cache for layer in model.stack] if family == "hstu" else [model.cache]
        for cache in caches:
            assert isinstance(cache, UserDimsOnly)
            kv = cache(torch.randn(2, 5, 8))
            assert kv.key is None and kv.value is None and kv.user_key.shape == (2, 5, 2)


# The published recipe.


def test_the_gate_weighs_rows_in_training_and_not_in_evaluation() -> None:
    torch.manual_seed(0)
    model = with_new_pool(small_full("target"), Compression(slots=12, gate=True, user_width=0), seed=1)
    shared, s = model.cache, torch.randn(2, 5, 8)
    score = s @ shared.router.weight.T + shared.router.bias
    rows = shared.pool_key[score.argmax(-1)], shared.pool_value[score.argmax(-1)]
    gate = 1 / (1 + torch.exp(-score.max(-1).values))[..., None]
    kv = shared.train()(s)
    torch.testing.assert_close(kv.key, gate * rows[0])
    torch.testing.assert_close(kv.value, gate * rows[1])
    kv = shared.eval()(s)
    assert torch.equal(kv.key, rows[0]) and torch.equal(kv.value, rows[1])


@pytest.mark.parametrize("tied", [True, False])
def test_the_peak_and_balance_losses_are_those_of_the_recipe(tied: bool) -> None:
    c = Compression(slots=3, tied=tied, gate=True, balance=0.7, peak=0.3, user_width=0)
    torch.manual_seed(0)
    shared = SharedKV(c, 2, 4, 2, 2).train()
    s = torch.tensor([[[1.0, 2.0], [-1.0, 0.5]]])
    shared(s)
    expected = 0.0
    for router in [shared.router] if tied else [shared.router, shared.value_router]:
        peaks, shares = [], [0.0, 0.0, 0.0]
        for position in s[0].tolist():
            scores = [
                sum(w * x for w, x in zip(row, position)) + b
                for row, b in zip(router.weight.tolist(), router.bias.tolist())
            ]
            peaks.append(-math.log(1 / (1 + math.exp(-max(scores)))))
            total = sum(math.exp(x) for x in scores)
            shares = [share + math.exp(x) / total / 2 for share, x in zip(shares, scores)]
        expected += 0.3 * sum(peaks) / 2 + 0.7 * sum(share * math.log(share * 3) for share in shares)
    assert shared.auxiliary_loss.item() == pytest.approx(expected, abs=1e-6)


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


# A layer of another's model.


def test_an_attention_layer_of_any_model_is_shared_as_the_docstring_shows() -> None:
    torch.manual_seed(0)
    layer = nn.ModuleDict({"k": nn.Linear(12, 16), "v": nn.Linear(12, 16)})
    kinds = torch.randn(40, 12)
    s = kinds[torch.randint(0, 40, (3000,))]
    with torch.no_grad():
        shared = share_layer(LayerSample(inputs=s, key=layer.k(s), value=layer.v(s)), Compression(slots=64), seed=1)
        kv = shared(s, torch.cat([layer.k(s), layer.v(s)], -1))
        torch.testing.assert_close(kv.key, layer.k(s), atol=1e-5, rtol=0)
        torch.testing.assert_close(kv.value, layer.v(s), atol=1e-5, rtol=0)
    assert kv.user_key.shape == kv.user_value.shape == (3000, 2)
    assert "shared = share_layer(LayerSample(inputs=s, key=layer.k(s), value=layer.v(s))" in share_layer_module.__doc__
    assert "kv = shared(s, torch.cat([layer.k(s), layer.v(s)], -1))" in share_layer_module.__doc__


def test_the_example_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Path(__file__).parents[1]
    (example,) = re.findall("```python\n(.*?)```", (training / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(training.parent)
    monkeypatch.setattr("sys.path", list(sys.path))
    names: dict = {}
    exec(example.replace("20_000", "2_000"), names)
    assert names["kv"].key.shape == names["kv"].value.shape == (2_000, 256)
    assert names["slots"].shape == (2_000,)


# Whose positions a pool is made from.


def test_a_pool_is_made_from_positions_that_learned_queries_see() -> None:
    log = random_log(4, users=30)
    learned = np.random.default_rng(1).random(len(log.query_label)) < 0.3
    last = np.zeros(log.users, int)
    for query in np.flatnonzero(learned):
        last[log.query_user()[query]] = max(last[log.query_user()[query]], log.query_now[query])
    log.item[:] = np.arange(len(log.item)) % 10_000  # a position is known by its item
    sample = sample_history(log, learned, seed=1, users=1000, longest=15)
    expected = [
        log.item[log.starts[u] : log.starts[u] + min(last[u], 15)].tolist() for u in range(log.users) if last[u] > 0
    ]
    found = [item[valid].tolist() for item, valid in zip(sample.item, sample.valid)]
    assert sorted(found) == sorted(expected) and len(found) < log.users


def test_a_config_of_the_tests_searches_less_than_the_histories_have() -> None:
    config = small_config("sim")
    assert config.recent < config.top_k < 30 < config.max_positions
