"""Graph nodes of a shared layer: they write its record fields, and read a history's rows from these.

Shapes: T interactions, N positions, S rows (distinct slots, or positions), C candidates, E embedding, D = d_model,
U user width, M slots.
"""

import math
from dataclasses import replace

from models.caches.record_layer import Table, WrittenFields
from models.caches.shared_layer import SharedLayer
from models.graphs.builder import Graph
from models.graphs.explained import USER, WeighedRows
from models.graphs.rows import HistoryRows, Rows, log_counts, present


def write_routes(g: Graph, layer: SharedLayer, x: str) -> list[str]:
    """Adds the routes of the routers' inputs `x` [T, any] as output fields.

    Returns the names of the routes, each [T].
    """
    found = []
    for name, router in zip(layer.routes, layer.pool.routers()):
        scores = g.linear(x, f"{name}_router", router)  # [T, M]
        route = g.add("ArgMax", scores, axis=1, keepdims=1)  # [T, 1]
        g.output(route, name, "int64", ["batch", 1], "field", field=name)
        found.append(g.add("Reshape", route, g.constant(-1)))
    return found


def user_dims(g: Graph, layer: SharedLayer, s: str) -> str | None:
    """Adds [K_u, V_u] of rows [T, E], not quantised: [T, 2U]. None without user dims."""
    if layer.pool.user is None:
        return None
    return g.add("Tanh", g.linear(s, f"{layer.group}_user", layer.pool.user))


def write_user(g: Graph, layer: SharedLayer, user: str | None) -> str | None:
    """Writes user dims [T, 2U] as output fields. Returns the codes [T]; None if the user dims have no codes."""
    if user is None:
        return None
    pool, u = layer.pool, layer.user_width
    if layer.user_code:
        scores = g.add(
            "Gemm",
            user,
            g.tensor(f"{layer.user_code}_codes", pool.codes.T),
            g.tensor(f"{layer.user_code}_bias", -pool.codes.square().sum(1) / 2),
        )
        code = g.add("ArgMax", scores, axis=1, keepdims=1)
        g.output(code, layer.user_code, "int64", ["batch", 1], "field", field=layer.user_code)
        return g.add("Reshape", code, g.constant(-1))
    parts = g.add("Split", user, g.constant(u, u), outputs=2, axis=1)
    for name, part in zip((layer.user_key, layer.user_value), parts):
        g.output(part, name, "float32", ["batch", u], "field", field=name)
    return None


def pool_tables(layer: SharedLayer) -> dict[str, tuple[Table, Table]]:
    """Returns the key table and the value table of each group."""
    pool = layer.pool
    found = {layer.group: ((f"pool_{layer.group}_key", pool.pool_key), (f"pool_{layer.group}_value", pool.pool_value))}
    if layer.user_group:
        key, value = pool.codes.chunk(2, 1)
        found[layer.user_group] = ((f"pool_{layer.user_group}_key", key), (f"pool_{layer.user_group}_value", value))
    return found


def gathered(g: Graph, layer: SharedLayer, group: str, key_route: str, value_route: str) -> Rows:
    """Returns the pool rows of routes [S]."""
    key, value = pool_tables(layer)[group]
    return Rows(g.add("Gather", g.tensor(*key), key_route), g.add("Gather", g.tensor(*value), value_route))


def of_positions(g: Graph, layer: SharedLayer, group: str, key_route: str, value_route: str) -> Rows:
    """Returns the same for inputs that have a route for each position."""
    return replace(gathered(g, layer, group, key_route, value_route), count=present(g, key_route))


def rows_from_record(g: Graph, layer: SharedLayer, collapse: bool, recent: int, count_codes: bool) -> HistoryRows:
    """See RecordLayer.rows_from_record."""

    def counted(field: str, group: str, names: tuple[str, str]) -> Rows:
        slots = g.input(names[0], "int64", [names[0]], "distinct_slots", field=field)
        count = g.input(names[1], "float32", [names[0]], "slot_counts", field=field)
        rows = gathered(g, layer, group, slots, slots)
        return replace(rows, count=count)

    def each(field: str, last: int = 0) -> str:
        prefix, axis = ("recent_", {"last": last}) if last else ("", {})
        return g.input(f"{prefix}{field}s", "int64", [f"{prefix}positions"], "routes", field=field, **axis)

    if collapse:
        rows = counted(layer.key_route, layer.group, ("slots", "slot_counts"))
    else:
        rows = of_positions(g, layer, layer.group, each(layer.key_route), each(layer.value_route))
    user = None
    if layer.user_code and layer.own_head and count_codes:
        user = counted(layer.user_code, layer.user_group, (f"{layer.user_code}_slots", f"{layer.user_code}_counts"))
    elif layer.user_code:
        user = of_positions(g, layer, layer.user_group, each(layer.user_code), each(layer.user_code))
    elif layer.user_key:
        names, shape = (layer.user_key, layer.user_value), ["positions", layer.user_width]
        key, value = (g.input(f"{name}s", "float32", shape, "user", field=name) for name in names)
        user = Rows(key, value, present(g, key))
    newest = None
    if recent and collapse:
        newest = of_positions(g, layer, layer.group, each(layer.key_route, recent), each(layer.value_route, recent))
    return with_last_head(g, layer, HistoryRows(rows, user, newest))


def rows_assembled(g: Graph, layer: SharedLayer) -> HistoryRows:
    """Returns rows of assembled keys and values: [pool row, user dims] of each position."""
    d, u = layer.pool.pool_key.shape[1], layer.user_width
    inside = layer.user_key is not None  # user dims follow the pool row
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
    return with_last_head(g, layer, HistoryRows(Rows(parts[0][0], parts[1][0]), user))


def rows_written(g: Graph, layer: SharedLayer, written: WrittenFields) -> HistoryRows:
    """See RecordLayer.rows_written."""
    rows, user = gathered(g, layer, layer.group, written.routes[0], written.routes[-1]), None
    if layer.user_code:
        user = gathered(g, layer, layer.user_group, written.code, written.code)
    elif layer.user_key:
        user = quantised(g, layer, written.user)
    return with_last_head(g, layer, HistoryRows(rows, user))


def quantised(g: Graph, layer: SharedLayer, user: str) -> Rows:
    """Returns user dims [T, 2U] as the record will give them back."""
    pool, u = layer.pool, layer.user_width
    if pool.compression.user_type == "int8":
        scale = g.tensor(f"{layer.group}_scale", pool.scale)
        steps = g.add("Round", g.add("Div", user, scale))
        user = g.add("Mul", g.add("Clip", steps, g.number(-127.0), g.number(127.0)), scale)
    else:
        user = g.add("Cast", g.add("Cast", user, to=10), to=1)
    return Rows(*g.add("Split", user, g.constant(u, u), outputs=2, axis=1))


def with_last_head(g: Graph, layer: SharedLayer, history: HistoryRows) -> HistoryRows:
    """If user dims have no head of their own, joins them to the keys and values as their last columns."""
    if history.user is None or layer.own_head:
        return history
    key = g.add("Concat", history.rows.key, history.user.key, axis=1)
    value = g.add("Concat", history.rows.value, history.user.value, axis=1)
    return HistoryRows(Rows(key, value, history.rows.count))


def write_user_part(g: Graph, layer: SharedLayer, rows: Rows, x: str, seen: str | None = None) -> str:
    """See RecordLayer.write_user_part."""
    return g.add("MatMul", *user_weights(g, layer, rows, x, seen))


def write_user_weights(g: Graph, layer: SharedLayer, rows: Rows, x: str) -> WeighedRows:
    """See RecordLayer.write_user_weights."""
    weights, value = (g.add("Unsqueeze", part, g.constant(0)) for part in user_weights(g, layer, rows, x))
    head = layer.pool.user_head
    return WeighedRows(USER, USER, weights, value, 1, head.null_value, head.out.weight)


def user_weights(g: Graph, layer: SharedLayer, rows: Rows, x: str, seen: str | None = None) -> tuple[str, str]:
    """Adds the weights [C, S + 1] and the values [S + 1, U] of the user head, the null position's last."""
    head, prefix = layer.pool.user_head, f"{layer.group}_user"
    query = g.linear(x, f"{prefix}_query", head.query)  # [C, U]
    key = g.add("Concat", rows.key, g.tensor(f"{prefix}_null_key", head.null_key[None]), axis=0)  # [S + 1, U]
    value = g.add("Concat", rows.value, g.tensor(f"{prefix}_null_value", head.null_value[None]), axis=0)
    mask = None
    if seen:  # the null position is always seen
        mask = g.add("Where", seen, g.number(0.0), g.number(-math.inf))
        mask = g.add("Pad", mask, g.constant(0, 0, 0, 1))
    logits = g.add("Gemm", query, key, transB=1)  # [C, S + 1]
    if mask:
        logits = g.add("Add", logits, mask)
    if rows.count:
        logits = g.add("Add", logits, g.add("Reshape", log_counts(g, rows), g.constant(1, -1)))
    return g.add("Softmax", logits, axis=-1), value
