"""HSTU's nodes in the encode and rank graphs. Every position is a row, since its weight depends on its place.

Shapes in the comments as in bundle/graphs.py; R rows that attend: T new interactions, or C candidates.
"""

import math

import numpy as np
import torch

from models.caches.record_layer import RecordLayer
from models.families.hstu.layers import NORM_EPSILON, SCALE, HstuLayer, HstuRanker, bucket
from models.graphs.builder import Graph
from models.graphs.rows import HistoryRows, Rows

Places = tuple[str, str | None]  # distances [R, S], and which positions are seen [R, S]; None: all of them


def write_encode(g: Graph, model: HstuRanker, layers: list[RecordLayer], x: str) -> None:
    """Encodes interactions [T, E] of one user, which follow the user's history and see each other causally."""
    for depth, (layer, record) in enumerate(zip(model.stack, layers)):
        prefix = f"layer{depth}"
        normed = norm(g, f"{prefix}_norm", layer.norm, x)
        key_value = silu(g, g.linear(normed, f"{prefix}_key_value", layer.key_value))  # [T, 2D]
        written = record.write_fields(g, normed, key_value)
        if layer is model.stack[-1]:
            return
        cached = record.rows_from_record(g, count_codes=False)
        new = record.rows_written(g, written)
        rows = join(g, cached.rows, new.rows)
        user_rows = join(g, cached.user, new.user) if new.user else None
        place = places(g, count(g, cached.rows.key), count(g, normed))
        x = attend(g, layer, prefix, x, normed, rows, place)
        if user_rows:
            x = g.add("Add", x, user_head(g, prefix, record, user_rows, normed, place[1]))


def write_attention(
    g: Graph, model: HstuRanker, layers: list[RecordLayer], item: str, history: list[HistoryRows]
) -> str:
    """Adds the layers, through which candidates [C, E] pass as the next position would -> [C, E]."""
    x = g.add("Add", item, g.tensor("candidate", model.candidate))
    for depth, (layer, record, kept) in enumerate(zip(model.stack, layers, history)):
        prefix = f"layer{depth}"
        normed = norm(g, f"{prefix}_norm", layer.norm, x)
        own = silu(g, g.linear(normed, f"{prefix}_key_value", layer.key_value))  # [C, 2D]
        place = places(g, count(g, kept.rows.key), None)
        attended = attend(g, layer, prefix, x, normed, kept.rows, place, own)
        if kept.user:
            attended = g.add("Add", attended, user_head(g, prefix, record, kept.user, normed, None))
        x = attended
    return x


def attend(
    g: Graph, layer: HstuLayer, prefix: str, x: str, normed: str, rows: Rows, place: Places, own: str | None = None
) -> str:
    """Adds one layer: rows [R, E] over keys and values [S, D] -> [R, E]. `own` as in HstuLayer.forward, [R, 2D]."""
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
    """Returns distances from rows to positions, and which positions are seen.

    For `new` rows after `before` positions, both are [T, N + T]. Candidates (None) all come next and see every
    position: [1, N] and None.
    """
    zero, one = g.tensor("place_0", np.array(0)), g.tensor("place_1", np.array(1))
    if new is None:
        place = g.add("Range", zero, before, one)  # [N]
        return g.add("Unsqueeze", g.add("Sub", before, place), g.constant(0)), None
    place = g.add("Range", zero, g.add("Add", before, new), one)  # [N + T]
    own = g.add("Unsqueeze", g.add("Range", before, g.add("Add", before, new), one), g.constant(1))  # [T, 1]
    between = g.add("Sub", own, g.add("Unsqueeze", place, g.constant(0)))  # [T, N + T]
    return g.add("Max", between, zero), g.add("GreaterOrEqual", between, zero)


def user_head(g: Graph, prefix: str, record: RecordLayer, rows: Rows, x: str, seen: str | None) -> str:
    """Returns the user head's output for queries [R, E], after its projection: [R, E]."""
    part = record.write_user_part(g, rows, x, seen)
    return g.add("MatMul", part, g.tensor(f"{prefix}_user_out", record.user_out().T))


def join(g: Graph, cached: Rows, new: Rows) -> Rows:
    """Returns the rows of a history and, behind them, the new rows."""
    return Rows(*(g.add("Concat", a, b, axis=0) for a, b in ((cached.key, new.key), (cached.value, new.value))))


def count(g: Graph, rows: str) -> str:
    """Returns the number of rows, a scalar."""
    return g.add("Squeeze", g.add("Shape", rows, start=0, end=1), g.constant(0))


def by_head(g: Graph, x: str, heads: int, width: int, order: list[int]) -> str:
    """Returns [R, D] as [R, H, D/H], with its axes in the order given."""
    return g.add("Transpose", g.add("Reshape", x, g.constant(-1, heads, width)), perm=order)


def silu(g: Graph, x: str) -> str:
    return g.add("Mul", x, g.add("Sigmoid", x))


def norm(g: Graph, name: str, layer: torch.nn.LayerNorm, x: str) -> str:
    """Returns the layer norm of rows [R, any]."""
    weight, bias = g.tensor(f"{name}_weight", layer.weight), g.tensor(f"{name}_bias", layer.bias)
    return g.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=NORM_EPSILON)
