"""User records and graphs of a full model.

float16, float32   user fields `key` and `value`, D wide each. No route: the pool is the null position's one row.
interactions       routes into the tables of items and actions, which are the pool, and features as raw fields.
                   A table's row is gathered in two halves, as key and as value.
"""

import torch
from torch import Tensor, nn

from data.history import History
from models.caches.record_layer import Encoded, RecordLayer, Tables, WrittenFields, pool_of, route_field
from models.embeddings import Embeddings
from models.graphs.builder import Graph
from models.graphs.embed import embed_interactions, interaction_inputs, turned, with_features
from models.graphs.explained import ExplainedRows
from models.graphs.rows import HistoryRows, Rows, present

HISTORY, ITEM, ACTION = "history", "item", "action"  # KV groups; the latter two are record fields as well


class FullRecord(RecordLayer):
    """The keys and values of a full model, or the interactions that they are computed from.

    `kept` is a form of full.KEPT. The float types need `null`, the null position's key and value, [D] each.
    """

    explains = True

    def __init__(
        self,
        model: Embeddings,
        key: nn.Linear,
        value: nn.Linear,
        kept: str,
        null: tuple[Tensor, Tensor] | None = None,
    ):
        self.model, self.key, self.value, self.kept, self.null = model, key, value, kept, null
        self.interactions, self.width = kept == "interactions", key.out_features
        self.note = "; not compressed: " + (
            "keys and values are computed from the interactions at every request"
            if self.interactions
            else f"keys and values are kept in {kept}"
        )

    def fields(self) -> list[dict]:
        c = self.model.config
        if not self.interactions:
            return [{"name": x, "kind": "user", "type": self.kept, "width": self.width} for x in ("key", "value")]
        raw = [
            {"name": f.name, "kind": "raw", "type": "float32", "width": 1, "source": f.name}
            for f in c.interaction_features
        ]
        return [route_field(ITEM, c.items), route_field(ACTION, c.actions), *raw]

    def groups(self) -> list[dict]:
        groups = []
        for name, ((_, key), (_, value)) in self.own_tables().items():
            pool = pool_of(len(key), key.shape[1], value.shape[1])
            parts = [{"user": "key"}, {"user": "value"}] if name == HISTORY else [{"route": name}, {"route": name}]
            groups.append({"name": name, "pool": pool, "key": parts[0], "value": parts[1]})
        return groups

    def tables(self) -> dict[str, Tables]:
        return self.own_tables()

    def own_tables(self) -> dict[str, Tables]:
        """Returns the tables of groups that have keys and values."""
        if self.interactions:
            halves = {ITEM: self.model.item.weight.chunk(2, 1), ACTION: self.model.action.weight.chunk(2, 1)}
        else:
            key, value = self.null
            halves = {HISTORY: (key[None], value[None])}
        return {
            name: ((f"pool_{name}_key", key.detach()), (f"pool_{name}_value", value.detach()))
            for name, (key, value) in halves.items()
        }

    def encode(self, history: History, s: Tensor, x: Tensor) -> Encoded:
        if self.interactions:
            names = [f.name for f in self.model.config.interaction_features]
            fields = dict(zip(names, history.features.split(1, -1)))
            fields |= {ITEM: history.item[..., None], ACTION: history.action[..., None]}
        else:
            fields = {"key": self.key(s), "value": self.value(s)}
        never = torch.full(history.item.shape, torch.inf)  # no route is chosen, and float16 steps are small
        return Encoded(fields, never, never)

    def stored(self, name: str, values: Tensor) -> Tensor:
        return values.half().to(values.dtype) if self.kept == "float16" else values

    def write_encode(self, g: Graph, model: Embeddings) -> None:
        """Writes keys and values, not yet rounded; or the indices unchanged, since features are raw fields."""
        if not self.interactions:
            s = embed_interactions(g, model)  # [T, E]
            self.write_fields(g, s, s)
            return
        for name, x in zip((ITEM, ACTION), interaction_inputs(g)):
            g.output(g.add("Reshape", x, g.constant(-1, 1)), name, "int64", ["batch", 1], "field", field=name)

    def write_fields(self, g: Graph, s: str, x: str) -> WrittenFields:
        for name, part in zip(("key", "value"), self.project(g, s)):
            g.output(part, name, "float32", ["batch", self.width], "field", field=name)
        return WrittenFields([])

    def project(self, g: Graph, s: str) -> tuple[str, str]:
        """Adds K and V of rows [T, E]; returns their names, each [T, D]."""
        return g.linear(s, "full_key", self.key), g.linear(s, "full_value", self.value)

    def rows_from_record(
        self, g: Graph, collapse: bool = False, recent: int = 0, count_codes: bool = True
    ) -> HistoryRows:
        if self.interactions:
            return self.computed_rows(g, False, recent)
        rows, shape = [], ["positions", self.width]
        for part in ("key", "value"):
            x = g.input(part, self.kept, shape, "user", field=part)
            rows.append(g.add("Cast", x, to=1) if self.kept == "float16" else x)
        return HistoryRows(Rows(*rows, present(g, "key")))

    def rows_assembled(self, g: Graph, recent: int = 0) -> HistoryRows:
        if self.interactions:
            return self.computed_rows(g, True, recent)
        shape = ["positions", self.width]
        parts = ((f"{HISTORY}_{part}", part) for part in ("key", "value"))
        return HistoryRows(Rows(*(g.input(name, "float32", shape, part, group=HISTORY) for name, part in parts)))

    def rows_explained(self, g: Graph, recent: int = 0) -> ExplainedRows:
        return ExplainedRows(self.rows_from_record(g), own_columns=0 if self.interactions else self.width)

    def computed_rows(self, g: Graph, assembled: bool, recent: int) -> HistoryRows:
        """Returns keys and values, computed from every position's item, action and features.

        A row is a position, so the `recent` newest ones need no rows of their own.
        """
        s = turned(g, self.model, *self.item_and_event(g, assembled))
        return HistoryRows(Rows(*self.project(g, s), present(g, f"history_{ITEM}s")))

    def item_and_event(self, g: Graph, assembled: bool) -> tuple[str, str]:
        """Returns the item's row [N, E] and the event [turn, shift] [N, 2E] of every position."""
        found = []
        for name, table in ((ITEM, self.model.item.weight), (ACTION, self.model.action.weight)):
            if assembled:
                halves = (
                    g.input(f"{name}_{part}", "float32", ["positions", half.shape[1]], part, group=name)
                    for part, half in zip(("key", "value"), table.chunk(2, 1))
                )
                found.append(g.add("Concat", *halves, axis=1))
            else:
                routes = g.input(f"history_{name}s", "int64", ["positions"], "routes", field=name)
                found.append(g.add("Gather", g.tensor(f"{name}_table", table), routes))
        given = [
            g.input(f"history_{f.name}", "float32", ["positions", 1], "raw", field=f.name)
            for f in self.model.config.interaction_features
        ]
        item, event = found
        return item, with_features(g, self.model, event, given)
