"""The graph of a batch of users gives each user what the graph of one user gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models.graphs.builder import ExternalFiles, Graph
from models.graphs.users import of_users

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def numbered(g: Graph, value: int) -> str:
    return g.tensor(f"axis_{value}", np.array(value))


# Nodes over each user's rows x [N, 3] and indices [2, 2], and how many axes their value has for one user.
NODES: dict[str, tuple[Callable[[Graph, str, str], str], int]] = {
    "rows of a table": (lambda g, x, i: g.add("Gather", g.tensor("table", TABLE), i), 3),
    "own rows": (lambda g, x, i: g.add("Gather", x, i), 3),
    "a product with more axes": (lambda g, x, i: g.add("MatMul", x, g.tensor("maps", np.ones((2, 3, 5)))), 3),
    "a product with own rows": (lambda g, x, i: g.add("Gemm", x, x, transB=1, alpha=0.5), 2),
    "a bias for each column": (lambda g, x, i: g.add("Gemm", x, g.tensor("map", TABLE.T), g.number(3.0)), 2),
    "columns with own values of fewer axes": (
        lambda g, x, i: g.add("Mul", x, g.add("ReduceSum", x, g.constant(0), keepdims=0)),
        2,
    ),
    "the sum of all elements": (lambda g, x, i: g.add("ReduceSum", x, keepdims=0), 0),
    "the sum from the back": (lambda g, x, i: g.add("ReduceSum", x, g.constant(-1), keepdims=1), 2),
    "a row of all users behind own rows": (lambda g, x, i: g.add("Concat", x, g.tensor("row", TABLE[:1]), axis=0), 2),
    "own columns beside each other": (lambda g, x, i: g.add("Concat", x, x, axis=-1), 2),
    "two columns": (lambda g, x, i: g.add("Slice", x, g.constant(1), g.constant(3), g.constant(1)), 2),
    "every second row": (lambda g, x, i: g.add("Slice", x, *map(g.constant, (0, 9, 0, 2))), 2),
    "padding in front of rows": (lambda g, x, i: g.add("Pad", x, g.constant(1, 0, 0, 2), g.number(7.0)), 2),
    "another order of axes": (lambda g, x, i: g.add("Transpose", x, perm=[1, 0]), 2),
    "one long row": (lambda g, x, i: g.add("Reshape", x, g.constant(1, -1)), 2),
    "as many axes as a shape": (lambda g, x, i: g.add("Expand", x, g.constant(2, 1, 1)), 3),
    "the number of rows": (
        lambda g, x, i: g.add("Add", i, g.add("Squeeze", g.add("Shape", x, start=0, end=1), g.constant(0))),
        2,
    ),
    "sums from the last row": (lambda g, x, i: g.add("CumSum", x, numbered(g, 0), reverse=1), 2),
    "the best of a column": (lambda g, x, i: g.add("TopK", x, g.constant(2), outputs=2, axis=0)[0], 2),
    "the second part": (lambda g, x, i: g.add("Split", x, g.constant(1, 2), outputs=2, axis=1)[1], 2),
    "weights of rows": (lambda g, x, i: g.add("Softmax", x, axis=0), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("users", [1, 3])
def test_each_user_gets_what_the_graph_of_one_user_gives(name: str, users: int, tmp_path: Path) -> None:
    write, rank = NODES[name]
    graph = Graph("one.onnx", ExternalFiles())
    x, i = graph.input("x", "float32", ["rows", 3], "user"), graph.input("i", "int64", [2, 2], "routes")
    value = write(graph, x, i)
    type_ = "int64" if name == "the number of rows" else "float32"
    graph.output(value, "y", type_, [f"axis{k}" for k in range(rank)], "scores")
    batch = of_users(graph)
    assert [x["shape"][0] for x in (*batch.inputs, *batch.outputs)] == ["users"] * 3
    graph.write(tmp_path)
    batch.path = Path("many.onnx")
    batch.write(tmp_path)
    one, many = (onnxruntime.InferenceSession(tmp_path / file) for file in ("one.onnx", "many.onnx"))
    random = np.random.default_rng(users)
    feeds = {"x": random.random((users, 5, 3), np.float32), "i": random.integers(0, 4, (users, 2, 2))}
    expected = [one.run(None, {key: given[user] for key, given in feeds.items()})[0] for user in range(users)]
    (found,) = many.run(None, feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert users == 1 or not np.array_equal(found[0], found[1]) or name == "the number of rows"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda g, x: g.add("Cast", g.add("NonZero", x), to=1), "NonZero has no form for a batch of users"),
        (lambda g, x: g.add("Gather", x, g.constant(0), axis=1), "gathers no rows of each user"),
        (lambda g, x: g.add("Gather", x, g.constant(0)), "gathers no rows of each user"),
    ],
)
def test_a_node_without_a_form_for_users_is_refused(write: Callable[[Graph, str], str], message: str) -> None:
    graph = Graph("rank_batch.onnx", ExternalFiles())
    graph.output(write(graph, graph.input("x", "float32", ["rows", 3], "user")), "y", "float32", ["a", "b"], "scores")
    with pytest.raises(ValueError, match=f"rank_batch.onnx: .*{message}"):
        of_users(graph)
