"""What the graphs of all families are made of: a history's rows by slot or by position, fields of the record.

Shapes in the comments as in graphs.py.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bundle.graph_builder import Graph
from bundle.record import LayerFields, layer_fields
from bundle.twin_record import twin_tables
from models.history_cache import KeptTwin, SharedKV
from models.ranker import Ranker


def write_routes(g: Graph, layer: LayerFields, x: str) -> list[str]:
    """Routes of rows [T, ...]; returns their names, each [T]."""
    routers = [layer.shared.router, layer.shared.value_router]
    found = []
    for name, router in zip(layer.routes, routers):
        scores = g.linear(x, f"{name}_router", router)  # [T, M]
        route = g.add("ArgMax", scores, axis=1, keepdims=1)  # [T, 1]
        g.output(route, name, "int64", ["batch", 1], "field", field=name)
        found.append(g.add("Reshape", route, g.constant(-1)))
    return found


def user_dims(g: Graph, layer: LayerFields, s: str) -> str | None:
    """[K_u, V_u] of rows [T, E], not quantised."""
    if layer.shared.user is None:
        return None
    return g.add("Tanh", g.linear(s, f"{layer.group}_user", layer.shared.user))  # [T, 2U]


def write_user(g: Graph, layer: LayerFields, user: str | None) -> str | None:
    """Writes user dims [T, 2U] as the record's fields; returns the codes [T] where they are coded."""
    if user is None:
        return None
    shared, u = layer.shared, layer.shared.compression.user_width
    if layer.user_code:
        scores = g.add(
            "Gemm",
            user,
            g.tensor(f"{layer.user_code}_codes", shared.codes.T),
            g.tensor(f"{layer.user_code}_bias", -shared.codes.square().sum(1) / 2),
        )
        code = g.add("ArgMax", scores, axis=1, keepdims=1)
        g.output(code, layer.user_code, "int64", ["batch", 1], "field", field=layer.user_code)
        return g.add("Reshape", code, g.constant(-1))
    for name, part in zip(
        (layer.user_key, layer.user_value), g.add("Split", user, g.constant(u, u), outputs=2, axis=1)
    ):
        g.output(part, name, "float32", ["batch", u], "field", field=name)
    return None


def pool_tables(layer: LayerFields) -> dict[str, tuple[tuple[str, torch.Tensor], ...]]:
    """Group -> its key and its value table, each a parameter's name and values."""
    shared = layer.shared
    found = {
        layer.group: ((f"pool_{layer.group}_key", shared.pool_key), (f"pool_{layer.group}_value", shared.pool_value))
    }
    if layer.user_group:
        key, value = shared.codes.chunk(2, 1)
        found[layer.user_group] = ((f"pool_{layer.user_group}_key", key), (f"pool_{layer.user_group}_value", value))
    return found


def model_tables(model: Ranker) -> dict[str, tuple[tuple[str, torch.Tensor], ...]]:
    """Those of every KV group."""
    if isinstance(model.cache, KeptTwin):
        return twin_tables(model)
    return {name: tables for layer in layer_fields(model) for name, tables in pool_tables(layer).items()}


@dataclass
class Rows:
    """Keys and values, each row standing for `count` positions; None: for one."""

    key: str  # [S, width]
    value: str  # [S, width]
    count: str | None = None  # [S]


@dataclass
class Kept:
    """What a rank graph knows of one layer's history."""

    rows: Rows
    user: Rows | None  # of the user head, where there is one
    recent: Rows | None = None  # the newest positions


def collapses(shared: SharedKV) -> bool:
    """Whether a layer's positions with equal slots are alike to the pool heads."""
    return shared.compression.tied and shared.compression.user_form == "own_head"


def gathered(g: Graph, layer: LayerFields, group: str, key_route: str, value_route: str) -> Rows:
    key, value = pool_tables(layer)[group]
    return Rows(g.add("Gather", g.tensor(*key), key_route), g.add("Gather", g.tensor(*value), value_route))


def from_record(g: Graph, layer: LayerFields, collapse: bool, recent: int = 0, count_codes: bool = True) -> Kept:
    """The history from routes, codes and user dims, with the pool inside the graph.

    `collapse`: the rows are distinct slots; `count_codes`: those of a user head are distinct codes.
    """

    def counted(field: str, group: str, names: tuple[str, str]) -> Rows:
        slots = g.input(names[0], "int64", [names[0]], "distinct_slots", field=field)
        count = g.input(names[1], "float32", [names[0]], "slot_counts", field=field)
        rows = gathered(g, layer, group, slots, slots)
        return Rows(rows.key, rows.value, count)

    def each(field: str, last: int = 0) -> str:
        prefix, axis = ("recent_", {"last": last}) if last else ("", {})
        return g.input(f"{prefix}{field}s", "int64", [f"{prefix}positions"], "routes", field=field, **axis)

    u = layer.shared.compression.user_width
    if collapse:
        rows = counted(layer.key_route, layer.group, ("slots", "slot_counts"))
    else:
        rows = gathered(g, layer, layer.group, each(layer.key_route), each(layer.value_route))
    user = None
    if layer.user_code and layer.own_head and count_codes:
        user = counted(layer.user_code, layer.user_group, (f"{layer.user_code}_slots", f"{layer.user_code}_counts"))
    elif layer.user_code:
        user = gathered(g, layer, layer.user_group, each(layer.user_code), each(layer.user_code))
    elif layer.user_key:
        names = (layer.user_key, layer.user_value)
        user = Rows(*(g.input(f"{name}s", "float32", ["positions", u], "user", field=name) for name in names))
    newest = None
    if recent and collapse:
        newest = gathered(g, layer, layer.group, each(layer.key_route, recent), each(layer.value_route, recent))
    return with_last_head(g, layer, Kept(rows, user, newest))


def from_assembled(g: Graph, layer: LayerFields) -> Kept:
    """The history from assembled keys and values, [pool row, user dims] a position."""
    d, u = layer.shared.pool_key.shape[1], layer.shared.compression.user_width
    inside = layer.user_key is not None  # user dims come behind the pool row
    parts = []
    for part in ("key", "value"):
        width = d + u if inside else d
        x = g.input(f"{layer.group}_{part}", "float32", ["positions", width], part, group=layer.group)
        parts.append(g.add("Split", x, g.constant(d, u), outputs=2, axis=1) if inside else [x])
    user = None
    if inside:
        user = Rows(parts[0][1], parts[1][1])
    elif layer.user_group:
        names = ((f"{layer.user_group}_{part}", part) for part in ("key", "value"))
        user = Rows(*(g.input(n, "float32", ["positions", u], p, group=layer.user_group) for n, p in names))
    return with_last_head(g, layer, Kept(Rows(parts[0][0], parts[1][0]), user))


def with_last_head(g: Graph, layer: LayerFields, kept: Kept) -> Kept:
    """User dims that have no head of their own are the last columns of the keys and values."""
    if kept.user is None or layer.own_head:
        return kept
    key, value = kept.rows.key, kept.rows.value
    return Kept(
        Rows(g.add("Concat", key, kept.user.key, axis=1), g.add("Concat", value, kept.user.value, axis=1)), None
    )


def log_counts(g: Graph, rows: Rows) -> str:
    """[1, 1, S + 1], the null position's 0 last."""
    zero = g.tensor("zero", np.zeros(1, np.float32))
    counts = rows.count or g.add("Expand", g.number(1.0), g.add("Shape", rows.key, start=0, end=1))
    logs = g.add("Log", counts)
    return g.add("Reshape", g.add("Concat", logs, zero, axis=0), g.constant(1, 1, -1))


def user_part(g: Graph, layer: LayerFields, rows: Rows, x: str) -> str:
    """The user head over codes or positions: [C, U]."""
    head, prefix = layer.shared.user_head, f"{layer.group}_user"
    query = g.linear(x, f"{prefix}_query", head.query)  # [C, U]
    key = g.add("Concat", rows.key, g.tensor(f"{prefix}_null_key", head.null_key[None]), axis=0)  # [S + 1, U]
    value = g.add("Concat", rows.value, g.tensor(f"{prefix}_null_value", head.null_value[None]), axis=0)
    logits = g.add("Gemm", query, key, transB=1)  # [C, S + 1]
    if rows.count:
        logits = g.add("Add", logits, g.add("Reshape", log_counts(g, rows), g.constant(1, -1)))
    return g.add("MatMul", g.add("Softmax", logits, axis=-1), value)
