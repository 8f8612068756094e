"""User records of CollectiveKV.

Each layer has one KV group. If user dims are coded, a second group holds the codebook.
"""

import torch
from torch import Tensor

from data.history import History
from models.caches import shared_graph
from models.caches.record_layer import Encoded, RecordLayer, Tables, WrittenFields, pool_of, route_field
from models.caches.shared_layer import shared_layer
from models.caches.shared_pool import SharedPool
from models.compression import CODES
from models.graphs.builder import Graph
from models.graphs.explained import ExplainedRows, WeighedRows
from models.graphs.rows import HistoryRows, Rows


class SharedRecord(RecordLayer):
    """A record layer. Each row has routes into the shared pool, and a code or the user dims.

    shared_graph.py has its graph nodes.
    """

    explains = True

    def __init__(self, pool: SharedPool, prefix: str):
        self.pool, self.names = pool, shared_layer(pool, prefix)
        c = pool.compression
        self.collapses = c.tied and c.user_form == "own_head"

    def fields(self) -> list[dict]:
        c, names = self.pool.compression, self.names
        fields = [route_field(route, c.slots) for route in names.routes]
        if names.user_code:
            fields.append(route_field(names.user_code, CODES))
        for name, scale in zip((names.user_key, names.user_value), self.pool.scale.chunk(2)):
            if name:
                scaled = {"scale": scale.tolist()} if c.user_type == "int8" else {}
                fields.append({"name": name, "kind": "user", "type": c.user_type, "width": c.user_width, **scaled})
        return fields

    def groups(self) -> list[dict]:
        c, names, width = self.pool.compression, self.names, self.pool.pool_key.shape[1]
        key, value = {"route": names.key_route}, {"route": names.value_route}
        if names.user_key:
            key["user"], value["user"] = names.user_key, names.user_value
        groups = [{"name": names.group, "pool": pool_of(c.slots, width, width), "key": key, "value": value}]
        if names.user_group:
            code, pool = {"route": names.user_code}, pool_of(CODES, c.user_width, c.user_width)
            groups.append({"name": names.user_group, "pool": pool, "key": code, "value": code})
        return groups

    def tables(self) -> dict[str, Tables]:
        return shared_graph.pool_tables(self.names)

    def encode(self, history: History, s: Tensor, x: Tensor) -> Encoded:
        pool, names = self.pool, self.names
        fields: dict[str, Tensor] = {}
        scores = [router(x) for router in pool.routers()]
        rounding_margin = torch.full(history.item.shape, torch.inf)
        if pool.user is not None:
            user = torch.tanh(pool.user(s))  # [B, N, 2U]
            if names.user_code:
                scores.append(pool.code_scores(user))
            else:
                fields[names.user_key], fields[names.user_value] = user.chunk(2, -1)
                if pool.compression.user_type == "int8":
                    steps = user / pool.scale
                    rounding_margin = (steps - steps.floor() - 0.5).abs().amin(-1)
        route_margin = torch.full(history.item.shape, torch.inf)
        for name, score in zip([*names.routes, names.user_code], scores):
            best = score.topk(2, -1)
            fields[name] = best.indices[..., :1]
            margin = best.values[..., 0] - best.values[..., 1]
            route_margin = route_margin.minimum(margin / code_scale(pool) if name == names.user_code else margin)
        return Encoded(fields, route_margin, rounding_margin)

    def stored(self, name: str, values: Tensor) -> Tensor:
        u = self.names.user_width
        part = slice(0, u) if name == self.names.user_key else slice(u, 2 * u)
        both = torch.zeros(len(values), 2 * u)  # keys and values have scales of their own
        both[:, part] = values
        return self.pool.quantise(both)[:, part]

    def write_fields(self, g: Graph, s: str, x: str) -> WrittenFields:
        routes = shared_graph.write_routes(g, self.names, x)
        user = shared_graph.user_dims(g, self.names, s)
        return WrittenFields(routes, shared_graph.write_user(g, self.names, user), user)

    def rows_from_record(
        self, g: Graph, collapse: bool = False, recent: int = 0, count_codes: bool = True
    ) -> HistoryRows:
        return shared_graph.rows_from_record(g, self.names, collapse, recent, count_codes)

    def rows_assembled(self, g: Graph, recent: int = 0) -> HistoryRows:
        return shared_graph.rows_assembled(g, self.names)

    def rows_written(self, g: Graph, written: WrittenFields) -> HistoryRows:
        return shared_graph.rows_written(g, self.names, written)

    def write_user_part(self, g: Graph, rows: Rows, x: str, seen: str | None = None) -> str:
        return shared_graph.write_user_part(g, self.names, rows, x, seen)

    def rows_explained(self, g: Graph, recent: int = 0) -> ExplainedRows:
        names = self.names
        history = self.rows_from_record(g, self.collapses, recent)

        def places(field: str) -> str:
            return g.input(f"{field}_places", "int64", ["positions"], "slot_places", field=field)

        return ExplainedRows(
            history,
            place=places(names.key_route) if self.collapses else None,
            user_place=places(names.user_code) if names.user_code and names.own_head else None,
            own_columns=0 if names.own_head else names.user_width,
        )

    def write_user_weights(self, g: Graph, rows: Rows, x: str) -> WeighedRows:
        return shared_graph.write_user_weights(g, self.names, rows, x)

    def user_out(self) -> Tensor:
        return self.pool.user_head.out.weight


def code_scale(pool: SharedPool) -> float:
    """Returns the scale that makes margins between codes comparable to margins between routes.

    Score gaps grow with the square of the codes' spread; rounding errors grow with the spread.
    """
    spread = float(pool.codes.std(0).norm())
    return min(1.0, 4 * spread**2 + 0.01 * spread)
