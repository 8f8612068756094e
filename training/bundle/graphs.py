"""The four ONNX graphs of a bundle: encode, rank, rank_kv, gather. Those of HSTU's attention are in graphs_hstu.py,
those of a twin that is served as it is in graphs_twin.py.

Shapes in the comments: C candidates, N positions, S rows (distinct slots, or positions), T interactions, E embedding,
D = d_model, H heads, U user width.

rank.onnx works on the distinct slots of a history where it can: equal keys share one softmax term, whose logit takes
the logarithm of their count; the same of the codes of coded user dims. Otherwise every position is a row.
"""

import math
from pathlib import Path

import numpy as np
import torch

from bundle.graph_builder import ORT_DOMAIN, POOL, WEIGHTS, ExternalFile, Graph
from bundle.graph_embed import embed_interactions, feature_inputs, features
from bundle.graph_parts import (
    Kept,
    Rows,
    collapses,
    from_assembled,
    from_record,
    log_counts,
    model_tables,
    user_dims,
    user_part,
    write_routes,
    write_user,
)
from bundle.graphs_hstu import encode_hstu, rank_hstu
from bundle.graphs_twin import encode_twin, twin_rows
from bundle.record import LayerFields, kv_groups, layer_fields
from models.families import CUT_MARGIN, Eta, LongAndRecent, Sdim, Sim, TargetAttention, Twin
from models.history_cache import KeptTwin
from models.hstu import HstuRanker
from models.ranker import Ranker, Scorer

GRAPHS = {"encode": "encode", "rank": "rank", "rankKv": "rank_kv", "gather": "gather"}


def write_graphs(model: Ranker, folder: Path) -> dict[str, dict]:
    """Writes the graphs and the two files of parameters that they share; returns the manifest's `graphs`."""
    files = {name: ExternalFile(name) for name in (WEIGHTS, POOL)}
    described = {}
    for role, name in GRAPHS.items():
        graph = Graph(name, files)
        if role == "encode":
            encode_graph(graph, model)
        elif role == "gather":
            gather_graph(graph, model)
        else:
            score_graph(graph, model, assembled=role == "rankKv")
        graph.write(folder)
        described[role] = graph.describe()
    for file in files.values():
        (folder / file.name).write_bytes(file.content)
    return described


def encode_graph(g: Graph, model: Ranker) -> None:
    """Interactions -> routes, and codes or user dims not yet quantised."""
    if isinstance(model.cache, KeptTwin):
        encode_twin(g, model)
        return
    s = embed_interactions(g, model)  # [T, E]
    if isinstance(model, HstuRanker):
        encode_hstu(g, model, s)
        return
    (layer,) = layer_fields(model)
    write_routes(g, layer, s)
    write_user(g, layer, user_dims(g, layer, s))


def gather_graph(g: Graph, model: Ranker) -> None:
    """Slots -> pool rows, of every KV group."""
    tables = model_tables(model)
    for group in kv_groups(model):
        for part, table in zip(("key", "value"), tables[group["name"]]):
            prefix = f"{group['name']}_{part}"
            where = {"group": group["name"], "part": part}
            slots = g.input(f"{prefix}_slots", "int64", [f"{prefix}_slots"], "slots", **where)
            rows = g.add("Gather", g.tensor(*table), slots)  # [S, width]
            width = group["pool"][f"{part}Width"]
            g.output(rows, f"{prefix}_rows", "float32", [f"{prefix}_slots", width], "rows", **where)


def score_graph(g: Graph, model: Ranker, assembled: bool) -> None:
    """Candidates and a history -> scores."""
    candidate = g.input("candidate_item", "int64", ["candidates"], "candidate_item")
    item = g.add("Gather", g.tensor("item_table", model.item.weight), candidate)  # [C, E]
    scorer = declare_features(g, model.scorer)
    if isinstance(model.cache, KeptTwin):
        attended = attend(g, model, None, twin_rows(g, model, assembled), item)
        score_candidates(g, model.scorer, item, attended, scorer)
        return
    layers = layer_fields(model)
    if isinstance(model, HstuRanker):
        attended = rank_hstu(g, model, item, [history_rows(g, layer, assembled, False) for layer in layers])
    else:
        recent = model.config.recent if isinstance(model.attention, LongAndRecent) else 0
        kept = history_rows(g, layers[0], assembled, collapses(layers[0].shared), recent)
        attended = attend(g, model, layers[0], kept, item)
    score_candidates(g, model.scorer, item, attended, scorer)


def history_rows(g: Graph, layer: LayerFields, assembled: bool, collapse: bool, recent: int = 0) -> Kept:
    return from_assembled(g, layer) if assembled else from_record(g, layer, collapse, recent)


def declare_features(g: Graph, scorer: Scorer) -> tuple[str | None, str | None]:
    c = scorer.config
    found = []
    for wanted, rows, role in (
        (c.candidate_features, "candidates", "candidate_feature"),
        (c.context_features, 1, "context_feature"),
    ):
        found.append(features(g, wanted, feature_inputs(g, wanted, rows, role)) if wanted else None)
    return found[0], found[1]


def score_candidates(g: Graph, scorer: Scorer, item: str, attended: str, given: tuple[str | None, str | None]) -> None:
    c = scorer.config
    own, context = given
    of_context = sum(f.width for f in c.context_features)
    weight = scorer.mix.weight.T  # [inputs, hidden]
    mixed = [attended, g.add("Mul", attended, item), item, *([own] if own else [])]
    bias = g.tensor("mix_bias", scorer.mix.bias)
    if context:  # the same for every candidate
        bias = g.add("Gemm", context, g.tensor("mix_context_weight", weight[len(weight) - of_context :]), bias)
    weight = g.tensor("mix_weight", weight[: len(weight) - of_context])
    hidden = g.add("Relu", g.add("Gemm", g.add("Concat", *mixed, axis=1), weight, bias))  # [C, hidden]
    hidden = g.add("Relu", g.linear(hidden, "deep", scorer.deep))
    score = g.add("Sigmoid", g.linear(hidden, "score", scorer.score))  # [C, 1]
    g.output(g.add("Reshape", score, g.constant(-1)), "scores", "float32", ["candidates"], "scores")


def attend(g: Graph, model: Ranker, layer: LayerFields | None, kept: Kept, item: str) -> str:
    """Long part, recent part and user head, through one output projection: [C, E]."""
    attention = model.attention
    parts, weights = [], []
    if isinstance(attention, Sdim):
        parts.append(sdim(g, attention, kept.rows, item))
    else:
        parts.append(target(g, attention, kept.rows, item))
    weights.append(attention.out.weight)
    if isinstance(attention, LongAndRecent):
        parts.append(recent_part(g, attention, kept, item))
        weights.append(attention.recent.out.weight)
    if kept.user:
        parts.append(user_part(g, layer, kept.user, item))
        weights.append(layer.shared.user_head.out.weight)
    joined = parts[0] if len(parts) == 1 else g.add("Concat", *parts, axis=1)
    weight = g.tensor("out_weight", torch.cat(weights, 1).T)
    return g.add("Gemm", joined, weight, g.tensor("out_bias", attention.out.bias))


def target(g: Graph, attention: TargetAttention, rows: Rows, item: str) -> str:
    """Multi-head attention [C, D]. The query's last column is the constant 1, which meets the log counts as a last row
    of the keys: one product instead of a product and a pass over [H, C, S]."""
    if rows.count is None and type(attention) is TargetAttention:
        return fused_target(g, attention, rows, item)
    c = attention.config
    width = c.head_width
    by_head = attention.query.weight.reshape(c.heads, width, c.embedding).transpose(1, 2) / math.sqrt(width)
    weight = torch.cat([by_head, torch.zeros(c.heads, c.embedding, 1)], 2)  # [H, E, D/H + 1]
    bias = attention.query.bias.reshape(c.heads, 1, width) / math.sqrt(width)
    bias = torch.cat([bias, torch.ones(c.heads, 1, 1)], 2)
    query = g.add("MatMul", item, g.tensor("query_weight", weight))  # [H, C, D/H + 1]
    query = g.add("Add", query, g.tensor("query_bias", bias))
    key = g.add("Concat", rows.key, g.tensor("null_key", attention.null_key[None]), axis=0)  # [S + 1, D]
    key = g.add("Transpose", g.add("Reshape", key, g.constant(-1, c.heads, width)), perm=[1, 2, 0])
    key = g.add("Concat", key, g.add("Expand", log_counts(g, rows), g.constant(c.heads, 1, 1)), axis=1)
    value = g.add("Concat", rows.value, g.tensor("null_value", attention.null_value[None]), axis=0)
    value = g.add("Transpose", g.add("Reshape", value, g.constant(-1, c.heads, width)), perm=[1, 0, 2])
    logits = g.add("MatMul", query, key)  # [H, C, S + 1]
    mask = select(g, attention, rows, item)
    if mask:
        logits = g.add("Add", logits, mask)
    pooled = g.add("MatMul", g.add("Softmax", logits, axis=-1), value)  # [H, C, D/H]
    return g.add("Reshape", g.add("Transpose", pooled, perm=[1, 0, 2]), g.constant(-1, c.d_model))


def fused_target(g: Graph, attention: TargetAttention, rows: Rows, item: str) -> str:
    """The same over single positions, by onnxruntime's own operator: a sixth less time over 10,000 of them."""
    query = g.linear(item, "fused_query", attention.query)  # [C, D]
    key = g.add("Concat", rows.key, g.tensor("null_key", attention.null_key[None]), axis=0)  # [S + 1, D]
    value = g.add("Concat", rows.value, g.tensor("null_value", attention.null_value[None]), axis=0)
    batch = (g.add("Unsqueeze", x, g.constant(0)) for x in (query, key, value))
    heads = attention.config.heads
    return g.add("Squeeze", g.add("MultiHeadAttention", *batch, num_heads=heads, domain=ORT_DOMAIN), g.constant(0))


def select(g: Graph, attention: TargetAttention, rows: Rows, item: str) -> str | None:
    """[C, S + 1], 0 where a row is attended to and -inf where not; None where all are."""
    c = attention.config
    if isinstance(attention, Sim | Twin):
        search = attention.search_query if isinstance(attention, Sim) else attention.query
        score = g.add("Gemm", g.linear(item, "search_query", search), rows.key, transB=1)  # [C, S]
    elif isinstance(attention, Eta):
        query, key = (
            g.add("MatMul", x, g.tensor("planes", attention.planes))
            for x in (g.linear(item, "fingerprint_query", attention.query), rows.key)
        )
        score = g.add("Gemm", signs(g, query), signs(g, key), transB=1)  # [C, S]
    else:
        return None
    # The cut is the score at which the counts of what scores at least as high reach k. A last row, below all others and
    # as often as k, is the cut of histories no longer than k.
    k, lowest = g.number(float(c.top_k)), g.tensor("lowest", np.array([[-1e30]], np.float32))
    count = rows.count or g.add("Expand", g.number(1.0), g.add("Shape", rows.key, start=0, end=1))
    count = g.add("Concat", count, g.add("Reshape", k, g.constant(1)), axis=0)  # [S + 1]
    below = g.add("Expand", lowest, g.add("Concat", g.add("Shape", item, start=0, end=1), g.constant(1), axis=0))
    padded = g.add("Concat", score, below, axis=1)  # [C, S + 1]
    total = g.add("Shape", padded, start=1, end=2)
    best, index = g.add("TopK", padded, total, outputs=2, axis=1)
    before = g.add("CumSum", g.add("Gather", count, index), g.tensor("axis_1", np.array(1)), exclusive=1)
    needed = g.add("Where", g.add("Less", before, k), best, g.number(math.inf))
    cut = g.add("ReduceMin", needed, g.constant(1), keepdims=1)  # [C, 1]
    # As in families.keep_top; where all are kept the cut is lowest and the margin does not matter.
    margin = g.add("Mul", g.add("Max", g.add("Abs", cut), g.number(1.0)), g.number(CUT_MARGIN))
    kept = g.add("GreaterOrEqual", score, g.add("Sub", cut, margin))
    mask = g.add("Where", kept, g.number(0.0), g.number(-math.inf))  # [C, S]
    return g.add("Pad", mask, g.constant(0, 0, 0, 1))


def signs(g: Graph, x: str) -> str:
    return g.add("Where", g.add("Greater", x, g.number(0.0)), g.number(1.0), g.number(-1.0))


def sdim(g: Graph, attention: Sdim, rows: Rows, item: str) -> str:
    """Values weighed by the share of hashes in which a row meets the candidate, the null position's by 1: [C, D]."""
    c = attention.config
    query = buckets(g, attention, g.linear(item, "hash_query", attention.query))  # [C, hashes * 2^bits]
    weights = g.add("Gemm", query, buckets(g, attention, rows.key), transB=1, alpha=1 / c.hashes)  # [C, S]
    if rows.count:
        weights = g.add("Mul", weights, rows.count)
    summed = g.add("Add", g.add("MatMul", weights, rows.value), g.tensor("null_value", attention.null_value[None]))
    total = g.add("ReduceSum", weights, g.constant(1), keepdims=1)
    return g.add("Div", summed, g.add("Add", total, g.number(1.0)))


def buckets(g: Graph, attention: Sdim, x: str) -> str:
    """[R, D] -> [R, hashes * 2^bits] with a one in each hash's bucket."""
    c = attention.config
    size = 2**c.bits_per_hash
    bits = g.add("Greater", g.add("MatMul", x, g.tensor("planes", attention.planes)), g.number(0.0))
    bits = g.add("Reshape", g.add("Cast", bits, to=1), g.constant(-1, c.hashes, c.bits_per_hash))
    powers = g.tensor("powers", 2.0 ** np.arange(c.bits_per_hash).reshape(-1, 1))
    bucket = g.add("MatMul", bits, powers)  # [R, hashes, 1]
    hot = g.add("Equal", bucket, g.tensor("bucket_numbers", np.arange(size, dtype=np.float32)))  # [R, hashes, size]
    return g.add("Reshape", g.add("Cast", hot, to=1), g.constant(-1, c.hashes * size))


def recent_part(g: Graph, attention: LongAndRecent, kept: Kept, item: str) -> str:
    """Attention over the newest positions with the first heads' columns: [C, recent width]."""
    c, recent = attention.config, attention.recent
    heads, width, columns = c.recent_heads, c.head_width, c.recent_width
    rows = kept.recent
    if rows is None:  # every position is a row: the newest are the last
        rows = Rows(*(g.add("Slice", x, g.constant(-c.recent), g.constant(2**31), g.constant(0))
                      for x in (kept.rows.key, kept.rows.value)))  # fmt: skip
    split = []
    for x, null, order in ((rows.key, recent.null_key, [1, 2, 0]), (rows.value, recent.null_value, [1, 0, 2])):
        name = "recent_null_key" if null is recent.null_key else "recent_null_value"
        x = g.add("Slice", x, g.constant(0), g.constant(columns), g.constant(1))  # [R, recent width]
        x = g.add("Concat", x, g.tensor(name, null[None]), axis=0)
        split.append(g.add("Transpose", g.add("Reshape", x, g.constant(-1, heads, width)), perm=order))
    query = g.add("Mul", g.linear(item, "recent_query", recent.query), g.number(1 / math.sqrt(width)))
    query = g.add("Transpose", g.add("Reshape", query, g.constant(-1, heads, width)), perm=[1, 0, 2])
    weights = g.add("Softmax", g.add("MatMul", query, split[0]), axis=-1)  # [h, C, R + 1]
    attended = g.add("Transpose", g.add("MatMul", weights, split[1]), perm=[1, 0, 2])
    return g.add("Reshape", attended, g.constant(-1, columns))
