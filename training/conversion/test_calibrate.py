"""Scales and codebooks of user dims come from their values at real positions."""

import torch

from conversion.convert import calibrate, convert, without_pool
from conversion.kmeans import kmeans
from models.compression import CODES, Compression
from models.ranker import Ranker
from testbed.small_models import sample_of, small_full


def raw_user_dims(model: Ranker) -> list[torch.Tensor]:
    """The user dims of each layer before any quantisation, [P, 2U]."""
    sample = sample_of(model)
    holders = [(cache.user_dims_holder(), s) for cache, s, _ in model.layers(sample)]
    return [torch.tanh(holder.user(s[sample.valid])) for holder, s in holders]


@torch.no_grad()
def test_a_scale_maps_the_largest_value_of_its_dim_to_127_and_codes_are_centroids() -> None:
    full = small_full("target")
    for model in (convert(full, sample_of(full), Compression(slots=12), 1), without_pool(full, Compression(), 1)):
        calibrate(model, sample_of(model), seed=3)
        holder, (user,) = model.cache.user_dims_holder(), raw_user_dims(model)
        assert holder.quantised is True
        torch.testing.assert_close(holder.scale * 127, user.abs().amax(0))
        assert torch.equal(holder.codes, kmeans(user, CODES, 30, 3))


@torch.no_grad()
def test_a_dim_that_is_always_zero_has_a_scale_above_zero() -> None:
    full = small_full("target")
    model = convert(full, sample_of(full), Compression(slots=12, user_type="int8"), 1)
    for part in model.cache.user.parameters():
        part[0] = 0
    calibrate(model, sample_of(model), seed=3)
    assert 0 < model.cache.scale[0] < 1e-7 < model.cache.scale[1]


@torch.no_grad()
def test_a_second_calibration_ignores_the_first() -> None:
    full = small_full("target")
    model = convert(full, sample_of(full), Compression(slots=12, user_type="int8"), 1)
    calibrate(model, sample_of(model), seed=3)
    scale, codes = model.cache.scale.clone(), model.cache.codes.clone()
    model.cache.scale.fill_(0.5)
    calibrate(model, sample_of(model), seed=3)
    assert torch.equal(model.cache.scale, scale) and torch.equal(model.cache.codes, codes)


@torch.no_grad()
def test_every_layer_with_user_dims_is_calibrated_with_a_seed_of_its_own() -> None:
    full = small_full("hstu")
    model = convert(full, sample_of(full), Compression(slots=12, user_type="float16"), 1)
    calibrate(model, sample_of(model), seed=3)
    for depth, (layer, user) in enumerate(zip(model.stack, raw_user_dims(model))):
        assert torch.equal(layer.cache.codes, kmeans(user, CODES, 30, 3 + depth))
    without = convert(full, sample_of(full), Compression(slots=12, user_width=0), 1)
    model.stack[0].cache = without.stack[0].cache
    model.stack[1].cache.quantised = False
    calibrate(model, sample_of(model), seed=3)
    assert model.stack[1].cache.quantised and not model.stack[0].cache.quantised
