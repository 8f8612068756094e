"""An attention layer of any PyTorch model can be converted."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from conversion import share_layer as share_layer_module
from conversion.share_layer import LayerSample, fit_user_dims, share_layer
from models.compression import Compression


@pytest.mark.parametrize("form", ["own_head", "last_head"])
def test_user_dims_begin_at_the_residual_of_the_pool(form: str) -> None:
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


def test_user_dims_in_the_last_head_predict_the_columns_that_the_pool_does_not_have() -> None:
    torch.manual_seed(0)
    s = torch.randn(4000, 3)
    columns = torch.cat(
        [s[:, :1].repeat(1, 7), s[:, 1:2]], 1
    )  # the pool's residual depends on s0, the last column on s1
    c = Compression(slots=2, user_width=1, user_form="last_head")
    shared = share_layer(LayerSample(s, columns, columns), c, seed=1)
    for dims in shared.user_dims(s).detach().chunk(2, 1):
        assert abs(np.corrcoef(dims[:, 0], s[:, 1])[0, 1]) > 0.95


def user_map(inputs: torch.Tensor, residual: torch.Tensor, width: int) -> torch.Tensor:
    """The outputs [P, 2 * width] of user dims fitted to the same residual of keys and values, before tanh."""
    user = nn.Linear(inputs.shape[1], 2 * width)
    with torch.no_grad():
        fit_user_dims(user, inputs, residual, residual, width)
        return user(inputs)


def test_each_user_dim_has_mean_0_and_standard_deviation_a_half() -> None:
    torch.manual_seed(0)
    s = torch.randn(5000, 6) + 3  # the offset makes the bias matter
    residual = s @ torch.randn(6, 8) * torch.tensor([10.0, 1, 1, 1, 1, 1, 1, 1])
    found = user_map(s, residual, 2)
    torch.testing.assert_close(found.mean(0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.std(0), torch.full((4,), 0.5), atol=1e-3, rtol=0)


def test_the_mean_of_the_residual_is_not_one_of_its_directions() -> None:
    torch.manual_seed(0)
    s = torch.randn(5000, 2)
    residual = torch.cat([s[:, :1], 100 + 0.1 * s[:, 1:]], 1)  # the largest variance is in the first column
    found = user_map(s, residual, 1)
    assert abs(np.corrcoef(found[:, 0], s[:, 0])[0, 1]) > 0.99


def test_more_user_dims_than_the_residual_has_columns_are_zero() -> None:
    torch.manual_seed(0)
    s = torch.randn(500, 3)
    for found in user_map(s, s[:, :2], 5).chunk(2, 1):
        assert found.shape == (500, 5)
        assert (found[:, :2].std(0) > 0.4).all() and (found[:, 2:].abs() < 1e-6).all()


def test_inputs_that_depend_on_each_other_except_for_rounding_get_no_large_weights() -> None:
    torch.manual_seed(0)
    s = torch.randn(2000, 4)
    s = torch.cat([s, -s.sum(1, keepdim=True) + 1e-5 * torch.randn(2000, 1)], 1)
    user = nn.Linear(5, 2)
    with torch.no_grad():
        fit_user_dims(user, s, torch.randn(2000, 3), torch.randn(2000, 3), 1)
    assert user.weight.abs().max() < 1


def test_the_user_head_is_as_wide_as_asked_or_as_the_inputs() -> None:
    torch.manual_seed(0)
    sample = LayerSample(torch.randn(100, 7), torch.randn(100, 4), torch.randn(100, 4))
    assert share_layer(sample, Compression(slots=3), seed=1).user_head.out.out_features == 7
    assert share_layer(sample, Compression(slots=3), seed=1, outputs=5).user_head.out.out_features == 5


def test_a_slot_of_a_single_position_can_be_chosen() -> None:
    points = torch.tensor([[0.0, 0.0]] * 50 + [[9.0, 9.0]])
    shared = share_layer(LayerSample(points, points, points), Compression(slots=2, user_width=0), seed=1)
    routes, _ = shared.routes(torch.cat([points, points], 1))
    assert (routes[:50] == routes[0]).all() and routes[50] != routes[0]


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
