"""A history's keys and values inside a graph."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor, nn

from models.graphs.builder import Graph

PADDING_LOGIT = -1e9


@dataclass
class Rows:
    """Keys and values. A row is `count` positions; or one position, if `count` is None."""

    key: str  # [S, width]
    value: str  # [S, width]
    count: str | None = None  # [S]; padding counts 0, and all rows of a padded graph have counts
    embedding: str | None = None  # [S, E], if keys and values are linear in embeddings: see EmbeddedRows

    def products(self, g: Graph, x: str, name: str, query: nn.Linear) -> str:
        """Adds the inner products of queries with the keys, [C, S], up to a number for each query.

        `query` maps `x` [C, any] to queries; `name` is that of its parameters.
        """
        return g.add("Gemm", g.linear(x, name, query), self.key, transB=1)

    def projected(self, g: Graph, name: str, planes: Tensor) -> str:
        """Adds the products of the keys with `planes` [D, bits]: [S, bits]. `name` is for parameters that it needs."""
        return g.add("MatMul", self.key, g.tensor("planes", planes))


class EmbeddedRows(Rows):
    """Rows whose keys and values are linear in embeddings. Their nodes are added when a family reads them.

    A family may also work on the embeddings, which are narrower: q (s W + b) = (q W^T) s + q b.
    """

    def __init__(self, g: Graph, embedding: str, maps: tuple[nn.Linear, nn.Linear], count: str | None = None):
        """`maps` make keys and values of embeddings, E -> D."""
        self.g, self.embedding, self.maps, self.count = g, embedding, maps, count

    @cached_property
    def key(self) -> str:
        return self.g.linear(self.embedding, "cluster_key", self.maps[0])

    @cached_property
    def value(self) -> str:
        return self.g.linear(self.embedding, "cluster_value", self.maps[1])

    def products(self, g: Graph, x: str, name: str, query: nn.Linear) -> str:
        to_key = self.maps[0].weight  # [D, E]
        folded = linear_of(to_key.T @ query.weight, to_key.T @ query.bias)
        return g.add("Gemm", g.linear(x, name, folded), self.embedding, transB=1)

    def projected(self, g: Graph, name: str, planes: Tensor) -> str:
        key = self.maps[0]
        return g.linear(self.embedding, name, linear_of(planes.T @ key.weight, key.bias @ planes))


def linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Returns the linear layer with these parameters, [out, in] and [out]."""
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = (nn.Parameter(x.detach(), requires_grad=False) for x in (weight, bias))
    return layer


@dataclass
class HistoryRows:
    """A layer's history in a rank graph."""

    rows: Rows
    user: Rows | None = None  # rows of the user head; None: there is no user head
    recent: Rows | None = None  # the newest positions; None: they are the last of `rows`


def present(g: Graph, x: str) -> str | None:
    """Returns 1 for each row of the input `x` [N, ...], and 0 for each row of padding: [N].

    None if the graph has no padding. One input tells the rows of all inputs with the same axis.
    """
    if not g.padded:
        return None
    axis = next(known["shape"][0] for known in g.inputs if known["name"] == x)
    count = g.input(f"{axis}_count", "int64", [], "row_count", axis=axis)
    zero, one = g.tensor("row_0", np.array(0)), g.tensor("row_1", np.array(1))
    place = g.add("Range", zero, g.add("Squeeze", g.add("Shape", x, start=0, end=1), g.constant(0)), one)  # [N]
    return g.add("Cast", g.add("Less", place, count), to=1)


def newest(g: Graph, rows: Rows, most: int) -> Rows:
    """Returns the newest positions, at most `most`, of rows that are positions."""
    if rows.count is None:
        cut = g.constant(-most), g.constant(2**31), g.constant(0)
        return Rows(*(g.add("Slice", x, *cut) for x in (rows.key, rows.value)))
    from_here = g.add("CumSum", rows.count, g.tensor("axis_0", np.array(0)), reverse=1)  # [N]: the last is 1
    new = g.add("Cast", g.add("LessOrEqual", from_here, g.number(float(most))), to=1)
    return Rows(rows.key, rows.value, g.add("Mul", rows.count, new))


def counts_of(g: Graph, rows: Rows) -> str:
    """Returns the number of positions of each row, [S]."""
    return rows.count or g.add("Expand", g.number(1.0), g.add("Shape", rows.key, start=0, end=1))


def log_counts(g: Graph, rows: Rows) -> str:
    """Returns the logarithms of the counts, and a 0 for the null position at the end: [1, 1, S + 1].

    That of padding is low enough to weigh nothing, and finite: products of matrices may be computed in parts.
    """
    zero = g.tensor("zero", np.zeros(1, np.float32))
    logs = g.add("Log", counts_of(g, rows))
    if g.padded:
        logs = g.add("Max", logs, g.number(PADDING_LOGIT))
    return g.add("Reshape", g.add("Concat", logs, zero, axis=0), g.constant(1, 1, -1))
