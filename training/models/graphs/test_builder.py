"""The graph builder: names are unique, and big parameters are written once."""

from pathlib import Path

import numpy as np
import onnx

from models.graphs.builder import POOL, WEIGHTS, ExternalFiles, Graph


def test_a_shape_node_and_a_constant_never_share_a_name(tmp_path: Path) -> None:
    for constants_first in (True, False):
        g = Graph("graph.onnx", ExternalFiles())
        x = g.input("x", "float32", ["rows", 2], "user")
        for number in range(4):
            axes = g.constant(number + 1) if constants_first else None
            shape = g.add("Shape", x)
            flat = g.add("Reshape", x, g.constant(-1))
            assert g.constant(number + 1) == (axes or g.constant(number + 1))
            g.add("Concat", shape, g.add("Shape", flat), axis=0)
        names = [output for node in g.nodes for output in node.output] + list(g.initializers)
        assert len(names) == len(set(names))
        g.output(x, "y", "float32", ["rows", 2], "user")
        g.write(tmp_path)
        onnx.checker.check_model(tmp_path / "graph.onnx", full_check=True)


def test_a_big_parameter_is_written_once_for_all_graphs_and_names() -> None:
    files = ExternalFiles()
    table, rows = np.arange(1000, dtype=np.float32), np.ones(500, np.float32)
    for path in ("one.onnx", "other.onnx"):
        g = Graph(path, files)
        g.tensor("pool_rows", rows)
        g.tensor("table", table)
        g.tensor("rows_again", rows[:, None])
        g.tensor("small", table[:4])
        assert [t.external_data[0].value for t in g.initializers.values() if t.external_data] == [POOL, WEIGHTS, POOL]
    assert files.contents == {WEIGHTS: table.tobytes(), POOL: rows.tobytes()}


def test_a_graph_of_a_folder_has_its_big_parameters_in_this_folder_and_later_graphs_read_them_there() -> None:
    files = ExternalFiles()
    table, rows = np.arange(1000, dtype=np.float32), np.ones(500, np.float32)
    places = {}
    for path in ("encode/encode.onnx", "rank.onnx"):
        g = Graph(path, files)
        g.tensor("pool_rows", rows)
        g.tensor("table", table)
        places[path] = [t.external_data[0].value for t in g.initializers.values()]
    assert places == {"encode/encode.onnx": ["encode.bin"] * 2, "rank.onnx": ["encode/encode.bin"] * 2}
    assert list(files.contents) == ["encode/encode.bin"]
