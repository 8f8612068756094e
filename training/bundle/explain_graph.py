"""explain.onnx: what each position of a history adds to a score. docs/adr has the reasons.

The output of attention is linear in values: A = sum over rows of w V, projected. The weights w of the rows and of the
null position add up to 1. So A - A0 = sum over rows of w (V - V_null), projected, where A0 is the output without any
position. A row of n positions divides its weight by n; each position has a value of its own, whose mean is the row's.

The scorer f is not linear. On the straight way from A0 to A, a position adds its share of every step:

    f(A) - f(A0) = mean over steps of (slope of f in the step) . (A - A0)

A slope is that of the line through the step's ends, layer by layer, so the steps add up to f(A) - f(A0) exactly. With
finer steps the slopes become derivatives, and the shares integrated gradients (arXiv 1703.01365).

Shapes: C candidates, N positions, S rows, E embedding, W columns of a part, H heads of a part, K steps.
"""

import numpy as np
import torch
from torch import Tensor

from bundle.record import record_layers
from bundle.scorer_graph import Declared, declare_features, write_mix
from models.families.registry import family_of
from models.graphs.builder import Graph
from models.graphs.explained import RECENT, USER, ExplainedRows, WeighedRows
from models.graphs.rows import counts_of
from models.ranker import Ranker, Scorer

STEPS = 128
SHORT_STEP = 1e-2  # of the sigmoid: below it, its derivative is nearer to the slope than the rounded quotient
NO_STEP = 1e-6  # of a ReLU


def explains(model: Ranker) -> bool:
    """True if the model's bundle has an explain graph."""
    return family_of(model).explains and all(layer.explains for layer in record_layers(model))


def write_explain(g: Graph, model: Ranker) -> None:
    """Writes explain.onnx: candidates and a history -> scores, and what each position adds to them."""
    candidate = g.input("candidate_item", "int64", ["candidates"], "candidate_item")
    item = g.add("Gather", g.tensor("item_table", model.item.weight), candidate)  # [C, E]
    given = declare_features(g, model.scorer)
    rows, parts = family_of(model).write_weights(g, model, record_layers(model), item)
    base, attended = write_ends(g, model, item, parts)
    score, base_score, direction = write_path(g, model.scorer, item, (base, attended), given)
    for name, found in (("scores", score), ("base_scores", base_score)):
        g.output(found, name, "float32", ["candidates"], name)
    adds, own_adds = [], []
    for part in parts:
        weights, value = write_positions(g, rows, part)
        shape = ["candidates", part.heads, "positions"]
        by_candidate = g.add("Transpose", weights, perm=[1, 0, 2])
        g.output(by_candidate, f"attention_{part.name}", "float32", shape, "attention", part=part.name)
        toward = write_toward(g, part, direction)
        adds.append(write_added(g, weights, toward, value))
        own = own_mask(rows, part, len(model.attention.null_value))
        if own.any():
            mask = g.tensor(f"own_columns_{part.name}", own.reshape(part.heads, 1, -1))
            own_adds.append(write_added(g, weights, g.add("Mul", toward, mask), value))
    total = g.add("Sum", *adds)
    own_total = g.add("Sum", *own_adds) if own_adds else g.add("Mul", total, g.number(0.0))
    for name, found in (("contributions", total), ("own_contributions", own_total)):
        g.output(found, name, "float32", ["candidates", "positions"], name)


def write_ends(g: Graph, model: Ranker, item: str, parts: list[WeighedRows]) -> tuple[str, str]:
    """Adds the attention's output without any position, and with all: [C, E] each."""
    bias = model.attention.out.bias
    base = bias + sum(part.out @ part.null_value for part in parts)
    base = g.add("Expand", g.tensor("attended_without", base[None]), g.add("Shape", item))
    outputs = []
    for part in parts:
        width = part.out.shape[1]
        pooled = g.add("Transpose", g.add("MatMul", part.weights, part.value), perm=[1, 0, 2])  # [C, H, W/H]
        pooled = g.add("Reshape", pooled, g.constant(-1, width))
        outputs.append(g.add("MatMul", pooled, out_weight(g, part)))
    return base, g.add("Add", g.add("Sum", *outputs), g.tensor("out_bias", bias))


def out_weight(g: Graph, part: WeighedRows) -> str:
    """Returns the projection of a part, [W, E]."""
    return g.tensor(f"{part.name}_out_weight", part.out.T)


def write_positions(g: Graph, rows: ExplainedRows, part: WeighedRows) -> tuple[str, str]:
    """Adds each position's weight, [H, C, N], and its value less the null position's, [H, W/H, N]."""
    of_rows = g.constant(0), g.constant(-1)
    weights = g.add("Slice", part.weights, *of_rows, g.constant(2))  # [H, C, S]
    null = g.add("Slice", part.value, g.constant(-1), g.constant(2**31), g.constant(1))  # [H, 1, W/H]
    value = g.add("Slice", part.value, *of_rows, g.constant(1))  # [H, S, W/H]
    place, counted = rows.place, rows.history.rows
    if part.rows == USER:
        place, counted = rows.user_place, rows.history.user
    if part.rows == RECENT:
        missing = g.add("Sub", position_count(g, rows), g.add("Shape", value, start=1, end=2))  # older positions
        zeros = g.constant(0, 0)
        weights = g.add("Pad", weights, g.add("Concat", zeros, missing, g.constant(0, 0, 0), axis=0))
        value = g.add("Pad", value, g.add("Concat", g.constant(0), missing, g.constant(0, 0, 0, 0), axis=0))
    elif place:
        weights = g.add("Gather", g.add("Div", weights, counts_of(g, counted)), place, axis=2)
        if rows.value and part.rows != USER:
            value = write_own_values(g, rows.value, part)
        else:
            value = g.add("Gather", value, place, axis=1)
    return weights, g.add("Transpose", g.add("Sub", value, null), perm=[0, 2, 1])


def write_own_values(g: Graph, value: str, part: WeighedRows) -> str:
    """Adds the part's columns of the positions' own values [N, D]: [H, N, W/H]."""
    width = part.out.shape[1]
    cut = g.constant(part.first_column), g.constant(part.first_column + width)
    value = g.add("Slice", value, *cut, g.constant(1))
    by_head = g.add("Reshape", value, g.constant(-1, part.heads, width // part.heads))
    return g.add("Transpose", by_head, perm=[1, 0, 2])


def position_count(g: Graph, rows: ExplainedRows) -> str:
    """Adds the number of positions, [1]."""
    return g.add("Shape", rows.place or rows.history.rows.value, start=0, end=1)


def own_mask(rows: ExplainedRows, part: WeighedRows, width: int) -> Tensor:
    """Returns 1 for the part's columns that are user KV, [W]. `width` is that of the history's values."""
    if part.rows == USER:
        return torch.ones(part.out.shape[1])
    column = torch.arange(part.out.shape[1]) + part.first_column
    return (column >= width - rows.own_columns).float()


def write_toward(g: Graph, part: WeighedRows, direction: str) -> str:
    """Adds what a change of the part's pooled values adds to the score: direction [C, E] -> [H, C, W/H]."""
    toward = g.add("Gemm", direction, out_weight(g, part), transB=1)  # [C, W]
    by_head = g.add("Reshape", toward, g.constant(-1, part.heads, part.out.shape[1] // part.heads))
    return g.add("Transpose", by_head, perm=[1, 0, 2])


def write_added(g: Graph, weights: str, toward: str, value: str) -> str:
    """Adds what positions add to scores: [C, N], from [H, C, N], [H, C, W/H] and [H, W/H, N]."""
    return g.add("ReduceSum", g.add("Mul", weights, g.add("MatMul", toward, value)), g.constant(0), keepdims=0)


def write_path(g: Graph, scorer: Scorer, item: str, ends: tuple[str, str], given: Declared) -> tuple[str, str, str]:
    """Adds the scores at both ends of the way, and the mean slope on it.

    Item embeddings [C, E], and the attention's outputs at the ends, [C, E] each. Returns the score at the far end [C],
    that at the near end [C], and the slope [C, E].
    """
    e, steps = scorer.config.embedding, g.tensor("steps", np.linspace(0, 1, STEPS + 1).reshape(-1, 1, 1))
    near, far = (write_mix(g, scorer, item, end, given) for end in ends)  # [C, hidden]
    mix = g.add("Add", near, g.add("Mul", steps, g.add("Sub", far, near)))  # [K + 1, C, hidden]; it is linear
    mixed = g.add("Relu", mix)
    deep = linear(g, mixed, "deep", scorer.deep)
    deepened = g.add("Relu", deep)
    logit = linear(g, deepened, "score", scorer.score)  # [K + 1, C, 1]
    score = g.add("Sigmoid", logit)
    slope = g.add("Mul", sigmoid_slope(g, logit, score), g.add("Transpose", weight_of(g, "score", scorer.score)))
    slope = g.add("Mul", slope, relu_slope(g, deep, deepened))  # [K, C, hidden / 2]
    slope = g.add("MatMul", slope, g.add("Transpose", weight_of(g, "deep", scorer.deep)))
    slope = g.add("Mul", slope, relu_slope(g, mix, mixed))
    slope = g.add("ReduceMean", slope, g.constant(0), keepdims=0)  # [C, hidden]
    of_context = sum(f.width for f in scorer.config.context_features)
    weight = scorer.mix.weight.T
    weight = g.tensor("mix_weight", weight[: len(weight) - of_context])
    slope = g.add("MatMul", slope, g.add("Transpose", weight))  # [C, inputs]
    alone = g.add("Slice", slope, g.constant(0), g.constant(e), g.constant(1))
    product = g.add("Slice", slope, g.constant(e), g.constant(2 * e), g.constant(1))
    direction = g.add("Add", alone, g.add("Mul", product, item))
    at = (g.add("Gather", score, g.tensor(f"step_{step}", np.array(step)), axis=0) for step in (STEPS, 0))
    far_score, near_score = (g.add("Reshape", x, g.constant(-1)) for x in at)
    return far_score, near_score, direction


def linear(g: Graph, x: str, name: str, layer: torch.nn.Linear) -> str:
    """Adds a linear layer over the last axis."""
    return g.add("Add", g.add("MatMul", x, weight_of(g, name, layer)), g.tensor(f"{name}_bias", layer.bias))


def weight_of(g: Graph, name: str, layer: torch.nn.Linear) -> str:
    """Returns the weight of a linear layer as Graph.linear stores it, [in, out]."""
    return g.tensor(f"{name}_weight", layer.weight.T)


def relu_slope(g: Graph, x: str, y: str) -> str:
    """Adds the slope of y = ReLU(x) in each step: [K + 1, ...] -> [K, ...]."""
    before, _ = ends_of(g, x)
    derivative = g.add("Cast", g.add("Greater", before, g.number(0.0)), to=1)
    return quotient(g, x, y, derivative, NO_STEP)


def sigmoid_slope(g: Graph, x: str, y: str) -> str:
    """Adds the slope of y = sigmoid(x) in each step: [K + 1, ...] -> [K, ...]."""
    middle = g.add("Sigmoid", g.add("Mul", g.add("Add", *ends_of(g, x)), g.number(0.5)))
    derivative = g.add("Mul", middle, g.add("Sub", g.number(1.0), middle))
    return quotient(g, x, y, derivative, SHORT_STEP)


def quotient(g: Graph, x: str, y: str, derivative: str, short: float) -> str:
    """Adds the difference of y divided by that of x in each step; the derivative where x changes less than `short`."""
    change_x, change_y = (g.add("Sub", after, before) for before, after in (ends_of(g, x), ends_of(g, y)))
    long = g.add("Greater", g.add("Abs", change_x), g.number(short))
    return g.add("Where", long, g.add("Div", change_y, g.add("Where", long, change_x, g.number(1.0))), derivative)


def ends_of(g: Graph, x: str) -> tuple[str, str]:
    """Returns the values before and after each step: [K + 1, ...] -> [K, ...] each."""
    axis = g.constant(0)
    before = g.add("Slice", x, g.constant(0), g.constant(STEPS), axis)
    return before, g.add("Slice", x, g.constant(1), g.constant(STEPS + 1), axis)
