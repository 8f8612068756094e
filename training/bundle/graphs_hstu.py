"""HSTU's part of the  Every position is a row, since a position's weight depends on its place.

Shapes in the comments as in graphs.py; R rows that attend: T new interactions, or C candidates.
"""

import math

import numpy as np
import torch

from bundle.graph_builder import Graph
from bundle.graph_parts import (
    Kept,
    Rows,
    from_record,
    gathered,
    user_dims,
    user_part,
    with_last_head,
    write_routes,
    write_user,
)
from bundle.record import LayerFields, layer_fields
from models.hstu import NORM_EPSILON, SCALE, HstuLayer, HstuRanker, bucket

Places = tuple[str, str | None]  # distances [R, S], and which positions are seen [R, S]; None: all


def encode_hstu(g: Graph, model: HstuRanker, x: str) -> None:
    """Interactions [T, E] of one user, which follow the positions given and see each other causally -> their fields."""
    for layer, names in zip(model.stack, layer_fields(model)):
        prefix = f"layer{names.layer}"
        normed = norm(g, f"{prefix}_norm", layer.norm, x)
        key_value = silu(g, g.linear(normed, f"{prefix}_key_value", layer.key_value))  # [T, 2D]
        routes = write_routes(g, names, key_value)
        user = user_dims(g, names, normed)
        code = write_user(g, names, user)
        if layer is model.stack[-1]:
            return
        cached = from_record(g, names, collapse=False, count_codes=False)
        new = gathered(g, names, names.group, routes[0], routes[-1])
        new_user = None
        if names.user_code:
            new_user = gathered(g, names, names.user_group, code, code)
        elif names.user_key:
            new_user = quantised(g, names, user)
        new = with_last_head(g, names, Kept(new, new_user))
        rows = join(g, cached.rows, new.rows)
        user_rows = join(g, cached.user, new.user) if new.user else None
        place = places(g, count(g, cached.rows.key), count(g, normed))
        x = attend(g, layer, prefix, x, normed, rows, place)
        if user_rows:
            x = g.add("Add", x, user_attention(g, names, user_rows, normed, place[1]))


def rank_hstu(g: Graph, model: HstuRanker, item: str, history: list[Kept]) -> str:
    """Candidates [C, E] through the layers, each as if it came next -> [C, E]."""
    x = g.add("Add", item, g.tensor("candidate", model.candidate))
    for layer, names, kept in zip(model.stack, layer_fields(model), history):
        prefix = f"layer{names.layer}"
        normed = norm(g, f"{prefix}_norm", layer.norm, x)
        own = silu(g, g.linear(normed, f"{prefix}_key_value", layer.key_value))  # [C, 2D]
        place = places(g, count(g, kept.rows.key), None)
        attended = attend(g, layer, prefix, x, normed, kept.rows, place, own)
        if kept.user:
            part = user_part(g, names, kept.user, normed)
            out = g.tensor(f"{prefix}_user_out", names.shared.user_head.out.weight.T)
            attended = g.add("Add", attended, g.add("MatMul", part, out))
        x = attended
    return x


def attend(
    g: Graph, layer: HstuLayer, prefix: str, x: str, normed: str, rows: Rows, place: Places, own: str | None = None
) -> str:
    """One layer: rows [R, E] over keys and values [S, D] -> [R, E]."""
    c = layer.config
    d, heads, width = c.d_model, c.heads, c.head_width
    query_gate = silu(g, g.linear(normed, f"{prefix}_query_gate", layer.query_gate))
    query, gate = g.add("Split", query_gate, g.constant(d, d), outputs=2, axis=1)
    query = g.add("Mul", query, g.number(1 / math.sqrt(width)))
    q = by_head(g, query, heads, width, [1, 0, 2])  # [H, R, D/H]
    logits = g.add("MatMul", q, by_head(g, rows.key, heads, width, [1, 2, 0]))  # [H, R, S]
    distance, seen = place
    reach = np.arange(c.max_positions + 1024)
    buckets = g.tensor("distance_buckets", bucket(torch.from_numpy(reach)).numpy())
    distance = g.add("Min", distance, g.tensor("reach", np.array(len(reach) - 1)))
    bias = g.add("Gather", g.tensor(f"{prefix}_bias", layer.bias), g.add("Gather", buckets, distance), axis=1)
    weights = silu(g, g.add("Add", logits, bias))  # [H, R, S]
    if seen:
        weights = g.add("Mul", weights, g.add("Cast", seen, to=1))
    attended = g.add("MatMul", weights, by_head(g, rows.value, heads, width, [1, 0, 2]))  # [H, R, D/H]
    if own:
        k, v = g.add("Split", own, g.constant(d, d), outputs=2, axis=1)
        k, v = by_head(g, k, heads, width, [1, 0, 2]), by_head(g, v, heads, width, [1, 0, 2])
        near = g.add("Reshape", g.tensor(f"{prefix}_own_bias", layer.bias[:, 0]), g.constant(-1, 1, 1))
        weight = g.add("ReduceSum", g.add("Mul", q, k), g.constant(2), keepdims=1)  # [H, R, 1]
        attended = g.add("Add", attended, g.add("Mul", silu(g, g.add("Add", weight, near)), v))
    attended = g.add("Reshape", g.add("Transpose", attended, perm=[1, 0, 2]), g.constant(-1, d))
    attended = norm(g, f"{prefix}_attended_norm", layer.attended_norm, g.add("Div", attended, g.number(SCALE)))
    return g.add("Add", x, g.linear(g.add("Mul", attended, gate), f"{prefix}_out", layer.out))


def places(g: Graph, before: str, new: str | None) -> Places:
    """Distances from rows to positions and which are seen: [T, N + T] both for `new` rows after `before` positions; for
    candidates, which all come next and see every position, [1, N] and None."""
    zero, one = g.tensor("place_0", np.array(0)), g.tensor("place_1", np.array(1))
    if new is None:
        place = g.add("Range", zero, before, one)  # [N]
        return g.add("Unsqueeze", g.add("Sub", before, place), g.constant(0)), None
    place = g.add("Range", zero, g.add("Add", before, new), one)  # [N + T]
    own = g.add("Unsqueeze", g.add("Range", before, g.add("Add", before, new), one), g.constant(1))  # [T, 1]
    between = g.add("Sub", own, g.add("Unsqueeze", place, g.constant(0)))  # [T, N + T]
    return g.add("Max", between, zero), g.add("GreaterOrEqual", between, zero)


def user_attention(g: Graph, names: LayerFields, rows: Rows, x: str, seen: str) -> str:
    """The user head of new rows, which see [T, N + T]: [T, E]."""
    head, prefix = names.shared.user_head, f"{names.group}_user"
    query = g.linear(x, f"{prefix}_query", head.query)  # [T, U]
    key = g.add("Concat", rows.key, g.tensor(f"{prefix}_null_key", head.null_key[None]), axis=0)
    value = g.add("Concat", rows.value, g.tensor(f"{prefix}_null_value", head.null_value[None]), axis=0)
    mask = g.add("Where", seen, g.number(0.0), g.number(-math.inf))
    mask = g.add("Pad", mask, g.constant(0, 0, 0, 1))  # the null position is always seen
    weights = g.add("Softmax", g.add("Add", g.add("Gemm", query, key, transB=1), mask), axis=-1)
    return g.add("MatMul", g.add("MatMul", weights, value), g.tensor(f"layer{names.layer}_user_out", head.out.weight.T))


def quantised(g: Graph, names: LayerFields, user: str) -> Rows:
    """User dims [T, 2U] as the record will give them back."""
    shared, u = names.shared, names.shared.compression.user_width
    if shared.compression.user_type == "int8":
        scale = g.tensor(f"{names.group}_scale", shared.scale)
        user = g.add(
            "Mul", g.add("Clip", g.add("Round", g.add("Div", user, scale)), g.number(-127.0), g.number(127.0)), scale
        )
    else:
        user = g.add("Cast", g.add("Cast", user, to=10), to=1)
    return Rows(*g.add("Split", user, g.constant(u, u), outputs=2, axis=1))


def join(g: Graph, cached: Rows, new: Rows) -> Rows:
    return Rows(*(g.add("Concat", a, b, axis=0) for a, b in ((cached.key, new.key), (cached.value, new.value))))


def count(g: Graph, rows: str) -> str:
    """The number of rows, a scalar."""
    return g.add("Squeeze", g.add("Shape", rows, start=0, end=1), g.constant(0))


def by_head(g: Graph, x: str, heads: int, width: int, order: list[int]) -> str:
    return g.add("Transpose", g.add("Reshape", x, g.constant(-1, heads, width)), perm=order)


def silu(g: Graph, x: str) -> str:
    return g.add("Mul", x, g.add("Sigmoid", x))


def norm(g: Graph, name: str, layer: torch.nn.LayerNorm, x: str) -> str:
    weight, bias = g.tensor(f"{name}_weight", layer.weight), g.tensor(f"{name}_bias", layer.bias)
    return g.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=NORM_EPSILON)
