"""The interface of a layer that bundles serve: its part of user records, KV groups and graphs."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from data.history import History
from models.embeddings import Embeddings
from models.graphs.builder import Graph
from models.graphs.embed import embed_interactions
from models.graphs.explained import ExplainedRows, WeighedRows
from models.graphs.rows import HistoryRows, Rows

ELEMENT_BYTES = {"uint8": 1, "uint16": 2, "uint24": 3, "int8": 1, "float16": 2, "float32": 4}
ROUTE_TYPES = {"uint8": 256, "uint16": 65_536, "uint24": 16_777_216}  # by type, the most slots that a route names
Table = tuple[str, Tensor]  # a parameter's name in the graphs, and its values [M, width]
Tables = tuple[Table, Table | None]  # of a KV group: its key table, and its value table; None: the group has none


@dataclass
class Encoded:
    """Record fields of positions, as encode.onnx gives them, and each position's distance from another outcome."""

    fields: dict[str, Tensor]  # each [B, N, width]
    route_margin: Tensor  # [B, N]: score of the best slot or code minus that of the second; the least of all fields
    rounding_margin: Tensor  # [B, N]: int8 steps between a user dim and the middle of two steps


@dataclass
class WrittenFields:
    """Names of the field values that the encode graph has just computed; None: the layer has no such field."""

    routes: list[str]  # each [T]
    code: str | None = None  # [T]
    user: str | None = None  # [T, 2U], not quantised


class RecordLayer(ABC):
    """A served layer: its record fields and KV groups, and the nodes that graphs write and read them with.

    Shapes in the graphs: T interactions, S rows (distinct slots, or positions), C candidates.
    """

    note: str = ""  # ends the manifest's description
    collapses: bool = False  # True if positions with equal routes are alike to attention
    explains: bool = False  # True if explain graphs can read the layer, see rows_explained
    batches: bool = True  # True if rows_from_record can write a padded graph

    @abstractmethod
    def fields(self) -> list[dict]:
        """Returns the manifest's record fields, in the order of a row."""

    @abstractmethod
    def groups(self) -> list[dict]:
        """Returns the manifest's KV groups."""

    @abstractmethod
    def tables(self) -> dict[str, Tables]:
        """Returns the pool, by group."""

    def clusterings(self) -> list[dict]:
        """Returns the manifest's clusterings."""
        return []

    def files(self) -> dict[str, bytes]:
        """Returns further files of the bundle, by path."""
        return {}

    def cluster_rows(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Returns the counts [G] and the mean embeddings [G, E] of one user's visited clusters, ascending.

        For layers with a clustering; `encoded` is the history of a batch of one.
        """
        raise NotImplementedError(f"{type(self).__name__} has no clustering")

    def cluster_places(self, encoded: Encoded) -> Tensor:
        """Returns the place of each position's cluster among those of `cluster_rows`, [N]."""
        raise NotImplementedError(f"{type(self).__name__} has no clustering")

    def position_rows(self, encoded: Encoded) -> Tensor:
        """Returns the embeddings [N, E] of one user's positions, for layers with a clustering."""
        raise NotImplementedError(f"{type(self).__name__} has no clustering")

    @abstractmethod
    def encode(self, history: History, s: Tensor, x: Tensor) -> Encoded:
        """Returns the fields of a history, with `s` and `x` as in HistoryCache.forward."""

    @abstractmethod
    def stored(self, name: str, values: Tensor) -> Tensor:
        """Returns user dims [N, width] of a field, through the record's type and back."""

    def write_encode(self, g: Graph, model: Embeddings) -> None:
        """Encodes the graph's interactions as fields, in a model whose routers read S."""
        s = embed_interactions(g, model.encoder)  # [T, E]
        self.write_fields(g, s, s)

    @abstractmethod
    def write_fields(self, g: Graph, s: str, x: str) -> WrittenFields:
        """Declares the fields of rows as outputs. `s` [T, E] and `x` [T, any] as in HistoryCache.forward."""

    @abstractmethod
    def rows_from_record(
        self, g: Graph, collapse: bool = False, recent: int = 0, count_codes: bool = True
    ) -> HistoryRows:
        """Adds the history, read from record fields, with the pool inside the graph.

        With `collapse`, the rows are distinct slots or clusters with their counts; and then the `recent` newest
        positions are rows of their own. With `count_codes`, the rows of a user head are distinct codes.
        """

    @abstractmethod
    def rows_assembled(self, g: Graph, recent: int = 0) -> HistoryRows:
        """Adds the history, read from what the services have assembled: keys and values, and a row is a position.

        Or cluster means, and then the `recent` newest positions are rows of their own.
        """

    def rows_written(self, g: Graph, written: WrittenFields) -> HistoryRows:
        """Adds the rows of interactions that were just encoded, as the record will give them back.

        Families whose positions attend to each other need it.
        """
        raise NotImplementedError(f"{type(self).__name__} serves no stacked family")

    def write_user_part(self, g: Graph, rows: Rows, x: str, seen: str | None = None) -> str:
        """Adds the output of the user head for queries `x` [C, E] over its rows: [C, U].

        `seen` [C, S] bool: the rows that each query sees; None: all of them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no user head")

    def rows_explained(self, g: Graph, recent: int = 0) -> ExplainedRows:
        """Adds the history as the rank graph reads it from record fields, and how positions read its rows."""
        raise NotImplementedError(f"{type(self).__name__} explains no scores")

    def write_user_weights(self, g: Graph, rows: Rows, x: str) -> WeighedRows:
        """Adds the user head as weights of its rows, for queries `x` [C, E]."""
        raise NotImplementedError(f"{type(self).__name__} has no user head")

    def user_out(self) -> Tensor:
        """Returns the user head's output projection, [E, U]."""
        raise NotImplementedError(f"{type(self).__name__} has no user head")


def route_field(name: str, slots: int) -> dict:
    """Returns a record field that holds a route into `slots` slots.

    Raises ValueError for more slots than a route names.
    """
    for type_, most in ROUTE_TYPES.items():
        if slots <= most:
            return {"name": name, "kind": "route", "type": type_, "width": 1, "slots": slots}
    raise ValueError(f"{name}: {slots} slots, a route names at most {most}")


def pool_of(slots: int, key_width: int, value_width: int | None = None) -> dict:
    """Returns the manifest's `pool` of a KV group; without a value width, of a group that has keys only."""
    pool = {"slots": slots, "keyWidth": key_width}
    return pool if value_width is None else pool | {"valueWidth": value_width}
