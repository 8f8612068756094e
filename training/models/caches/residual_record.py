"""User records and graphs of residual codes: a position is one code per stage."""

import torch
from torch import Tensor, nn

from data.history import History
from models.caches.clustered_record import CLUSTERING, ClusteredRecord
from models.caches.record_layer import Encoded, Tables, WrittenFields, pool_of, route_field
from models.embeddings import Embeddings
from models.graphs.builder import Graph

MARGIN_UNIT = 0.1  # of the distance that k-means measures, in which positions have a variance of 2


class ResidualRecord(ClusteredRecord):
    """Routes into the rows of each stage."""

    note = "; a position is residual codes of its embedding, attention reads means over clusters of positions"

    def __init__(self, model: Embeddings, key: nn.Linear, value: nn.Linear):
        self.codes, self.coder = model.position_codes, model.encoder.position_codes
        super().__init__(model, key, value, len(self.codes.rows[0]))

    def names(self) -> list[str]:
        """Returns the names of the stages, which are record fields and KV groups."""
        return [f"stage_{j + 1}" for j in range(len(self.codes.rows))]

    def fields(self) -> list[dict]:
        return [route_field(name, len(rows)) for name, rows in zip(self.names(), self.codes.rows)]

    def groups(self) -> list[dict]:
        return [
            {"name": name, "pool": pool_of(*rows.shape), "key": {"route": name}}
            for name, rows in zip(self.names(), self.codes.rows)
        ]

    def tables(self) -> dict[str, Tables]:
        return {name: ((f"pool_{name}", rows), None) for name, rows in zip(self.names(), self.codes.rows)}

    def clusterings(self) -> list[dict]:
        """S is the sum of a row of each stage, averaged over the positions with the same first code."""
        first, *_ = names = self.names()
        return [
            {
                "name": CLUSTERING,
                "width": self.model.config.embedding,
                "by": [{"field": first, "clusters": self.cluster_count}],
                "terms": [{"field": name, "rows": {"group": name, "part": "key"}} for name in names],
            }
        ]

    def encode(self, history: History, s: Tensor, x: Tensor) -> Encoded:
        fields, margin = {}, torch.full(history.item.shape, torch.inf)
        coder, exact = self.coder, self.model.encoder.exact(history)
        stages = zip(self.names(), coder.scores(exact), coder.routers, coder.rows)
        for name, scores, router, rows in stages:
            best = scores.topk(min(2, scores.shape[-1]), -1)
            fields[name] = best.indices[..., :1]
            if scores.shape[-1] > 1:
                margin = margin.minimum(distance_to_tie(best.values, best.indices, router.weight, rows) / MARGIN_UNIT)
        return Encoded(fields, margin, torch.full(history.item.shape, torch.inf))

    def coded(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        code = torch.cat([encoded.fields[name][0] for name in self.names()], -1)  # [N, stages]
        return self.codes.sums(code), code[:, 0]

    def write_fields(self, g: Graph, s: str, x: str) -> WrittenFields:
        routes = []
        for name, router, rows in zip(self.names(), self.coder.routers, self.coder.rows):
            code = g.add("ArgMax", g.linear(s, f"{name}_router", router), axis=1, keepdims=0)  # [T]
            s = g.add("Sub", s, g.add("Gather", g.tensor(f"pool_{name}", rows), code))
            field = g.add("Reshape", code, g.constant(-1, 1))
            g.output(field, name, "int64", ["batch", 1], "field", field=name)
            routes.append(code)
        return WrittenFields(routes)


def distance_to_tie(scores: Tensor, code: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
    """Returns how far each position is from a tie of its two best rows, [B, N], in the distance of k-means.

    Scores and codes of the two, [B, N, 2]; `weight` [codes, E] = rows M, where an error e costs e M e.
    """
    best, second = code.unbind(-1)
    apart = ((rows[best] - rows[second]) * (weight[best] - weight[second])).sum(-1).clamp(min=1e-30).sqrt()
    return (scores[..., 0] - scores[..., 1]) / apart
