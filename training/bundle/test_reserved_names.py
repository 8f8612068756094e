"""Names of tensors in graphs are reserved."""

import re
from pathlib import Path

import onnx
import pytest

from bundle.graphs import write_graphs
from bundle.reserved_names import is_reserved
from models.compression import Compression
from models.ranker import Ranker
from testbed.built_bundles import CLUSTERED, FULL_FORMS, build
from testbed.small_models import compress, small_full


@pytest.mark.parametrize("family", ["target", "sim", "sdim", "eta", "twin", "stca", "hstu"])
@pytest.mark.parametrize(
    "options", [{}, {"user_type": "int8", "tied": False}, {"user_type": "int8", "user_form": "last_head"}]
)
def test_every_tensor_name_of_a_graph_is_reserved(family: str, options: dict, tmp_path: Path) -> None:
    assert_reserved(compress(small_full(family), Compression(slots=16, **options)), tmp_path)


@pytest.mark.parametrize("name", [*CLUSTERED, *FULL_FORMS])
def test_every_tensor_name_of_a_graph_without_a_pool_of_keys_and_values_is_reserved(name: str, tmp_path: Path) -> None:
    assert_reserved(build((CLUSTERED | FULL_FORMS)[name]), tmp_path)


def assert_reserved(model: Ranker, tmp_path: Path) -> None:
    write_graphs(model.requires_grad_(False), tmp_path)
    names = set()
    for file in tmp_path.glob("*.onnx"):
        graph = onnx.load(file, load_external_data=False).graph
        names |= {x.name for x in (*graph.input, *graph.output, *graph.initializer)}
        names |= {output for node in graph.node for output in node.output}
    possible = {name for name in names if re.fullmatch("[a-z0-9][a-z0-9_-]{0,63}", name)}
    c = model.config
    features = (*c.interaction_features, *c.candidate_features, *c.context_features)
    assert {name for name in possible if not is_reserved(name)} <= {feature.name for feature in features}
