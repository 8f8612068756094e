"""The ONNX graphs of a bundle: encode, rank, rank_kv and gather, and for most models explain and rank_batch.

Families and caches write their own parts.

Shapes in the comments: C candidates, N positions, S rows (distinct slots, or positions), T interactions, E embedding,
D = d_model, H heads, U user width.

If positions with equal routes are alike to a model's attention, rank.onnx works on the distinct slots of a history.
Equal keys share one softmax term, whose logit adds the logarithm of their count. Distinct codes of user dims likewise.
Otherwise every position is a row.

rank_batch.onnx is rank.onnx for a batch of users, with the padding of their histories, see models/graphs/users.py.
"""

from pathlib import Path

import onnx

from bundle.explain_graph import explains, write_explain
from bundle.record import kv_groups, pool_tables, record_layers
from bundle.scorer_graph import declare_features, score_candidates
from models.families.registry import family_of
from models.graphs.builder import ExternalFiles, Graph
from models.graphs.users import of_users
from models.ranker import Ranker

# role -> file. The encode graph comes first and has a folder of its own, because it may read no file beside it: the
# encoding id has all files of this folder. Then gather: an item table that is the pool as well is then in pool.bin.
GRAPHS = {"encode": "encode/encode.onnx", "gather": "gather.onnx", "rank": "rank.onnx", "rankKv": "rank_kv.onnx"}
EXPLAIN = {"explain": "explain.onnx"}  # of models that can explain a score
BATCH = {"rankBatch": "rank_batch.onnx"}  # of models whose positions do not attend to each other


def write_graphs(model: Ranker, folder: Path) -> dict[str, dict]:
    """Writes and checks the graphs, and writes the files of parameters that they share.

    Returns the manifest's `graphs`.
    """
    files = ExternalFiles()
    described = {}
    graphs = GRAPHS | (EXPLAIN if explains(model) else {}) | (BATCH if batches(model) else {})
    for role, path in graphs.items():
        graph = Graph(path, files, padded=role in BATCH)
        if role == "encode":
            family_of(model).write_encode(graph, model, record_layers(model))
        elif role == "gather":
            write_gather(graph, model)
        elif role == "explain":
            write_explain(graph, model)
        else:
            write_scores(graph, model, assembled=role == "rankKv")
        if role in BATCH:
            graph = of_users(graph)
        graph.write(folder)
        described[role] = graph.describe()
    for name, content in files.contents.items():
        (folder / name).write_bytes(content)
    for path in graphs.values():
        check_graph(folder / path)
    return described


def batches(model: Ranker) -> bool:
    """True if the model's bundle has a graph that ranks for a batch of users."""
    return not family_of(model).stacked and all(layer.batches for layer in record_layers(model))


def check_graph(path: Path) -> None:
    """Checks a graph by onnx's checker and by strict shape inference. Its external files must be in its folder.

    Raises onnx.checker.ValidationError or onnx.shape_inference.InferenceError.
    """
    onnx.checker.check_model(path, full_check=True)


def write_gather(g: Graph, model: Ranker) -> None:
    """Writes gather.onnx: slots -> pool rows, for every KV group."""
    tables = pool_tables(model)
    for group in kv_groups(model):
        for part, table in zip(("key", "value"), tables[group["name"]]):
            if table is None:
                continue
            prefix = f"{group['name']}_{part}"
            where = {"group": group["name"], "part": part}
            slots = g.input(f"{prefix}_slots", "int64", [f"{prefix}_slots"], "slots", **where)
            rows = g.add("Gather", g.tensor(*table), slots)  # [S, width]
            width = group["pool"][f"{part}Width"]
            g.output(rows, f"{prefix}_rows", "float32", [f"{prefix}_slots", width], "rows", **where)


def write_scores(g: Graph, model: Ranker, assembled: bool) -> None:
    """Writes rank.onnx, or with `assembled` rank_kv.onnx: candidates and a history -> scores."""
    candidate = g.input("candidate_item", "int64", ["candidates"], "candidate_item")
    item = g.add("Gather", g.tensor("item_table", model.item.weight), candidate)  # [C, E]
    given = declare_features(g, model.scorer)
    attended = family_of(model).write_attention(g, model, record_layers(model), item, assembled)  # [C, E]
    score_candidates(g, model.scorer, item, attended, given)
