"""Routes of a converted model lead to the slot with the least error."""

import pytest
import torch
from torch import nn

from conversion import share_layer as share_layer_module
from conversion.convert import convert
from models.compression import Compression
from models.ranker import Ranker
from testbed.small_models import caches_of, sample_of, small_full


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """k-means runs until no centroid moves. Then each centroid is the mean of the points nearest to it."""
    monkeypatch.setattr(share_layer_module, "ITERATIONS", 200)


def squared_errors(part: torch.Tensor, pool: torch.Tensor, seen_by: list[torch.Tensor]) -> torch.Tensor:
    """[P, M]: the error of each slot [M, D] in place of each point [P, D], relative to the variance of the points.

    An error's size is the sum of its squared products with the matrices [D, any] of `seen_by`.
    """
    cut = part.shape[1]

    def size(error: torch.Tensor) -> torch.Tensor:
        """[..., D] -> [...]."""
        return sum((error @ block[:cut]).square().sum(-1) for block in seen_by)

    errors = torch.stack([size(part - row) for row in pool], 1)
    return errors / (size(part - part.mean(0)).sum() / (len(part) - 1))


def metric_parts(full_model: Ranker, layer: int) -> tuple[torch.Tensor, torch.Tensor, list, list]:
    """Keys and values [P, D] of the sample, and the matrices [D, any] that keys and values are multiplied with."""
    sample, heads, d = sample_of(full_model), full_model.config.heads, full_model.config.d_model
    with torch.no_grad():
        if full_model.config.family == "hstu":
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
        Compression(slots=12, share="keys"),
    ],
    ids=["tied", "separate", "tied, last head", "separate, last head", "keys weigh more", "values only", "keys only"],
)
@pytest.mark.parametrize("family", ["target", "sdim", "hstu"])
def test_the_router_chooses_the_slot_with_the_least_error_for_queries_and_output(
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
        errors = {"both": of_key + of_value, "keys": of_key, "values": of_value}
        assert_nearest(key_route, errors[c.share], c.slots)
    else:
        assert not torch.equal(key_route, value_route)
        assert_nearest(key_route, of_key, c.slots)
        assert_nearest(value_route, of_value, c.slots)


def assert_nearest(route: torch.Tensor, errors: torch.Tensor, slots: int) -> None:
    chosen = errors.gather(1, route[:, None])[:, 0]
    assert (chosen <= errors.min(1).values + 1e-4).all()
    assert len(route.unique()) == slots and errors.std(1).mean() > 0.1


def test_a_slot_is_the_mean_of_its_positions() -> None:
    full_model = small_full("target")
    sample = sample_of(full_model)
    shared = convert(full_model, sample, Compression(slots=12, tied=False), seed=1).cache
    s = full_model.embed_history(sample)[sample.valid]
    for route, pool, part in zip(
        shared.routes(s), (shared.pool_key, shared.pool_value), (full_model.cache.key(s), full_model.cache.value(s))
    ):
        for slot in range(12):
            torch.testing.assert_close(pool[slot], part[route == slot].mean(0), atol=1e-5, rtol=0)


def test_a_slot_that_was_nearest_to_no_position_is_never_chosen() -> None:
    full_model = small_full("target", items=3, interaction_features=[])
    sample = sample_of(full_model)
    shared = convert(full_model, sample, Compression(slots=40), seed=1).cache
    used = shared.routes(full_model.embed_history(sample)[sample.valid])[0].unique()
    assert len(used) < 40
    other = torch.randn(5000, full_model.config.embedding) * 3
    assert torch.isin(shared.routes(other)[0], used).all()
