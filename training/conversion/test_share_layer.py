"""An attention layer of any PyTorch model can be converted."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from conversion import share_layer as share_layer_module
from conversion.share_layer import LayerSample, share_layer
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
