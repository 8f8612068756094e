"""Pool rows, user dims, and the gate and losses of the published recipe."""

import math

import numpy as np
import pytest
import torch

from conversion.convert import with_new_pool
from models.caches.shared import SharedKV
from models.compression import CODES, Compression
from testbed.small_models import (
    caches_of,
    compress,
    sample_of,
    small_full,
)


def test_the_last_head_has_pool_rows_followed_by_user_dims() -> None:
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


def test_int8_user_dims_beyond_the_range_of_the_sample_are_clamped() -> None:
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


def test_the_gate_scales_pool_rows_in_training_and_not_in_evaluation() -> None:
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
