"""The graph nodes of a search: where its scores are cut, and attention over the rows that it keeps.

A row is `count` positions. A search keeps the rows with the highest scores until they have `top_k` positions, and all
rows that tie with the last of them. Shapes: C candidates, S rows, K kept rows, H heads, W = D / H.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.graphs.builder import Graph
from models.graphs.rows import Rows, counts_of, linear_of

CUT_MARGIN = 1e-5  # a score this little below the last kept one is kept as well: rounding may make ties differ


@dataclass
class Cut:
    """A search's scores and their cut. Behind the rows there is one more, with the lowest score."""

    score: str  # [C, S + 1]
    best: str  # [C, K1], the highest scores, descending
    index: str  # [C, K1], their rows
    lowest: str  # [C, 1], of the kept scores


def write_cut(g: Graph, score: str, rows: Rows, item: str, top_k: int) -> Cut:
    """Adds the cut of scores [C, S]: the highest score at which the cumulative count reaches `top_k`.

    It is one of the `top_k` highest scores, since no count is below 1. The last row has `top_k` as its count: it is the
    cut of histories of at most `top_k` positions.
    """
    k, lowest = g.number(float(top_k)), g.tensor("lowest", np.array([[-1e30]], np.float32))
    if g.padded:  # its rows count 0, and come after all others
        score = g.add("Where", g.add("Greater", rows.count, g.number(0.0)), score, lowest)
    count = g.add("Concat", counts_of(g, rows), g.add("Reshape", k, g.constant(1)), axis=0)  # [S + 1]
    below = g.add("Expand", lowest, g.add("Concat", g.add("Shape", item, start=0, end=1), g.constant(1), axis=0))
    padded = g.add("Concat", score, below, axis=1)  # [C, S + 1]
    most = g.add("Min", g.add("Shape", padded, start=1, end=2), g.constant(top_k))
    best, index = g.add("TopK", padded, most, outputs=2, axis=1)
    before = g.add("CumSum", g.add("Gather", count, index), g.tensor("axis_1", np.array(1)), exclusive=1)
    needed = g.add("Where", g.add("Less", before, k), best, g.number(math.inf))
    cut = g.add("ReduceMin", needed, g.constant(1), keepdims=1)  # [C, 1]
    # The margin is that of keep_top. If all rows are kept, the cut is the lowest score and the margin does not matter.
    margin = g.add("Mul", g.add("Max", g.add("Abs", cut), g.number(1.0)), g.number(CUT_MARGIN))
    return Cut(padded, best, index, g.add("Sub", cut, margin))


def write_mask(g: Graph, cut: Cut) -> str:
    """Adds a mask [C, S + 1]: 0 for a kept row and for the null position behind the rows, else -inf."""
    kept = g.add("GreaterOrEqual", cut.score, cut.lowest)
    rows = g.add("Slice", kept, g.constant(0), g.constant(-1), g.constant(1))  # [C, S]
    return g.add("Pad", g.add("Where", rows, g.number(0.0), g.number(-math.inf)), g.constant(0, 0, 0, 1))


def write_kept(
    g: Graph, item: str, query: nn.Linear, rows: Rows, cut: Cut, null: tuple[Tensor, Tensor], heads: int
) -> str:
    """Adds softmax attention over the kept rows, gathered for each candidate, and the null position: [C, D].

    The rows are embeddings, and so is all that is gathered. Their key is s W_k + b_k. The term q b_k is the same for
    every row, so it is taken from the null position's logit instead.
    """
    best, index = write_kept_indices(g, cut)  # [C, K]
    s = g.add("Concat", rows.embedding, g.tensor("no_embedding", torch.zeros(1, query.in_features)), axis=0)
    s = g.add("Gather", s, index)  # [C, K, E]
    logs = g.add("Log", counts_of(g, rows))
    logs = g.add("Gather", g.add("Concat", logs, g.tensor("no_rows", np.array([-np.inf], np.float32)), axis=0), index)
    logs = g.add("Where", g.add("GreaterOrEqual", best, cut.lowest), logs, g.number(-math.inf))  # [C, K]
    folded, null_query, value = folded_maps(query, rows, null, heads)
    queries = g.add("MatMul", item, g.tensor("kept_query_weight", folded[0]))  # [H, C, E]
    queries = g.add("Add", queries, g.tensor("kept_query_bias", folded[1]))
    logits = g.add("MatMul", g.add("Transpose", queries, perm=[1, 0, 2]), g.add("Transpose", s, perm=[0, 2, 1]))
    logits = g.add("Add", logits, g.add("Unsqueeze", logs, g.constant(1)))  # [C, H, K]
    null_logit = g.add("Unsqueeze", g.linear(item, "kept_null", null_query), g.constant(2))  # [C, H, 1]
    weights = g.add("Softmax", g.add("Concat", logits, null_logit, axis=2), axis=-1)  # [C, H, K + 1]
    of_rows = g.add("Slice", weights, g.constant(0), g.constant(-1), g.constant(2))
    of_null = g.add("Slice", weights, g.constant(-1), g.constant(2**31), g.constant(2))
    mean = g.add("Transpose", g.add("MatMul", of_rows, s), perm=[1, 0, 2])  # [H, C, E]
    attended = g.add("MatMul", mean, g.tensor("kept_value_weight", value[0]))  # [H, C, W]
    attended = g.add("Add", attended, g.tensor("kept_value_bias", value[1]))
    of_null = g.add("Mul", g.add("Transpose", of_null, perm=[1, 0, 2]), g.tensor("kept_null_value", value[2]))
    attended = g.add("Transpose", g.add("Add", attended, of_null), perm=[1, 0, 2])
    return g.add("Reshape", attended, g.constant(-1, query.out_features))


def write_kept_indices(g: Graph, cut: Cut) -> tuple[str, str]:
    """Adds the scores and the rows that any candidate keeps at most: [C, K], best first.

    Ties can make them more than the search has looked at. Only then is a second look necessary.
    """
    kept = g.add("Cast", g.add("GreaterOrEqual", cut.score, cut.lowest), to=1)
    most = g.add("ReduceMax", g.add("ReduceSum", kept, g.constant(1), keepdims=1), keepdims=0)
    most = g.add("Reshape", g.add("Cast", most, to=7), g.constant(1))
    looked_at = g.add("Shape", cut.best, start=1, end=2)
    enough = g.add("Squeeze", g.add("LessOrEqual", most, looked_at))

    def first() -> list[str]:
        return [g.add("Slice", x, g.constant(0), most, g.constant(1)) for x in (cut.best, cut.index)]

    def again() -> list[str]:
        return g.add("TopK", cut.score, most, outputs=2, axis=1)

    best, index = g.choose(enough, first, again, ["float32", "int64"])
    return best, index


def folded_maps(query: nn.Linear, rows: Rows, null: tuple[Tensor, Tensor], heads: int):
    """Returns the maps of attention in the space of embeddings, head by head.

    First, weight [H, E, E] and bias [H, 1, E] of queries. Second, the layer of the null position's logits, E -> H.
    Third, weight [H, E, W] and bias [H, 1, W] of values, and the null position's value minus that bias.
    """
    key, value = rows.maps
    width = query.out_features // heads
    shape = (heads, width)
    by_head = query.weight.unflatten(0, shape) / math.sqrt(width)  # [H, W, E]
    bias = query.bias.view(heads, 1, width) / math.sqrt(width)
    to_key = key.weight.unflatten(0, shape)  # [H, W, E]
    null_key = (null[0] - key.bias).view(heads, width, 1)
    null_query = linear_of((by_head.transpose(1, 2) @ null_key)[..., 0], (bias @ null_key)[:, 0, 0])
    value_bias = value.bias.view(heads, 1, width)
    to_value = value.weight.unflatten(0, shape).transpose(1, 2)  # [H, E, W]
    queries = (by_head.transpose(1, 2) @ to_key, bias @ to_key)
    return queries, null_query, (to_value, value_bias, null[1].view(heads, 1, width) - value_bias)
