"""User records and graphs of a factored pool: a position is the item's index and the event's code."""

import torch
from torch import Tensor, nn

from data.history import History
from models.caches.cluster_pairs import ClusterPairs
from models.caches.clustered_record import CLUSTERING, ClusteredRecord
from models.caches.record_layer import Encoded, Tables, WrittenFields, pool_of, route_field
from models.embeddings import Embeddings
from models.graphs.builder import Graph
from models.graphs.embed import embed_event, interaction_inputs

ITEM, EVENT = "item", "event"  # record fields
ITEMS, EVENTS = "items", "events"  # KV groups: rows of items; rows g and h of events, as key and value
MARGIN_UNIT = 0.01  # of the spread of the scores: 256 codes share it, and rounding is far finer
MAPS = {ITEM: "clusters-item.bin", EVENT: "clusters-event.bin"}


class FactoredRecord(ClusteredRecord):
    """Routes into the items and into the codes of events."""

    note = "; a position is its item and a code for its event, attention reads means over clusters of positions"

    def __init__(self, model: Embeddings, key: nn.Linear, value: nn.Linear, pairs: ClusterPairs):
        super().__init__(model, key, value, pairs.count)
        self.pairs, self.codes = pairs, model.event_codes

    def fields(self) -> list[dict]:
        return [route_field(ITEM, self.model.config.items), route_field(EVENT, len(self.codes.rows))]

    def groups(self) -> list[dict]:
        e = self.model.config.embedding
        item, event = {"route": ITEM}, {"route": EVENT}
        return [
            {"name": ITEMS, "pool": pool_of(self.model.config.items, e), "key": item},
            {"name": EVENTS, "pool": pool_of(len(self.codes.rows), e, e), "key": event, "value": event},
        ]

    def tables(self) -> dict[str, Tables]:
        turn, shift = self.codes.rows.chunk(2, 1)
        return {
            ITEMS: (("pool_items", self.model.item.weight), None),
            EVENTS: (("pool_events_key", turn), ("pool_events_value", shift)),
        }

    def clusterings(self) -> list[dict]:
        """S = item * (1 + g) + h, averaged over the pairs of an item's cluster and an event's cluster."""
        scale = {"field": EVENT, "rows": {"group": EVENTS, "part": "key"}}
        counts = {ITEM: self.pairs.item_count, EVENT: self.pairs.code_count}
        return [
            {
                "name": CLUSTERING,
                "width": self.model.config.embedding,
                "by": [{"field": field, "clusters": count, "map": MAPS[field]} for field, count in counts.items()],
                "terms": [
                    {"field": ITEM, "rows": {"group": ITEMS, "part": "key"}, "scale": scale},
                    {"field": EVENT, "rows": {"group": EVENTS, "part": "value"}},
                ],
            }
        ]

    def files(self) -> dict[str, bytes]:
        """Returns the cluster of every slot: uint8 for at most 256 clusters, else uint16, little-endian."""
        pairs = self.pairs
        maps = {ITEM: (pairs.item, pairs.item_count), EVENT: (pairs.code, pairs.code_count)}
        return {
            MAPS[field]: clusters.numpy().astype("u1" if count <= 256 else "<u2").tobytes()
            for field, (clusters, count) in maps.items()
        }

    def encode(self, history: History, s: Tensor, x: Tensor) -> Encoded:
        scores = self.codes.router(self.model.encoder.events(history))  # [B, N, codes]
        best = scores.topk(min(2, scores.shape[-1]), -1)
        margin = torch.full(history.item.shape, torch.inf)
        if scores.shape[-1] > 1:
            spread = scores.amax(-1) - scores.amin(-1)
            margin = (best.values[..., 0] - best.values[..., 1]) / (MARGIN_UNIT * spread).clamp(max=1)
        fields = {ITEM: history.item[..., None], EVENT: best.indices[..., :1]}
        return Encoded(fields, margin, torch.full(history.item.shape, torch.inf))

    def coded(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        item, event = encoded.fields[ITEM][0, :, 0], encoded.fields[EVENT][0, :, 0]
        turn, shift = self.codes.rows[event].chunk(2, -1)
        return self.model.item(item) * (1 + turn) + shift, self.pairs.of(item, event)

    def write_encode(self, g: Graph, model: Embeddings) -> None:
        item, action = interaction_inputs(g)
        encoder = model.encoder
        event = embed_event(g, encoder, g.add("Gather", g.tensor("action_table", encoder.action.weight), action))
        code = g.add("ArgMax", g.linear(event, "event_router", self.codes.router), axis=1, keepdims=1)  # [T, 1]
        for name, x in ((ITEM, g.add("Reshape", item, g.constant(-1, 1))), (EVENT, code)):
            g.output(x, name, "int64", ["batch", 1], "field", field=name)

    def write_fields(self, g: Graph, s: str, x: str) -> WrittenFields:
        raise NotImplementedError("a factored pool serves no stacked family")
