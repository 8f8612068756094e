"""The interface of a model family.

A family tells how candidates attend over cached keys and values. Everything else in training asks it through `Family`:
conversion, export, golden tensors, the oracle, option checks and reports.

To add a family:

1. Write a module of this folder. If positions do not attend to each other, subclass `Attention` and `AttentionOracle`,
   and describe the family as a `OneCacheFamily` (one_cache.py). sim.py is an example. Else subclass `Ranker` and
   `Family`, as hstu/ does.
2. Name it in `FAMILIES` of registry.py. The tests then train it, convert it, export it and compare it with its oracle.
3. It writes graphs of one user. If models/graphs/users.py has no rule for one of its nodes, add the rule there.

Shapes: B users, N positions of a history, C candidates, P positions of a sample. Widths: E embedding, D = d_model, U
user width. S rows of a graph are distinct slots or positions.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data.history import History
from models.caches.cluster_means import ClusterMeans
from models.caches.history_cache import Cached
from models.caches.record_layer import RecordLayer
from models.config import ModelConfig
from models.graphs.builder import Graph
from models.graphs.explained import ExplainedRows, WeighedRows
from models.graphs.rows import HistoryRows
from models.layer_sample import LayerSample
from models.oracle_math import Parameters, Vector
from models.ranker import Ranker


class Family(ABC):
    """What the rest of training asks of a family."""

    name: str  # the value of --family, and of `family` in results
    title: str  # in tables and plots
    bundle_family: str  # `family` in a bundle's manifest
    description: str  # begins the manifest's description; no final stop
    least_heads: int = 1  # attention heads that the family needs
    default_layers: int | None = None  # None: the family has one layer, and --layers is not for it
    stacked: bool = False  # True: positions attend to each other, in layers with a cache each
    reads_clusters: bool = False  # True: its attention can read cluster means, see caches/factored.py
    clusters: int = 256  # of a user's positions, if its attention reads cluster means
    explains: bool = False  # True: bundles get a graph that explains scores, see bundle/explain_graph.py

    def layers_of(self, given: int) -> int:
        """Returns the layers of attention of a model with the option `--layers given`."""
        return given or self.default_layers or 1

    def layers_in_a_cache(self, layers: int) -> int:
        """Returns how many of a model's layers have their keys and values in one cache, side by side."""
        return 1 if self.stacked else layers

    @abstractmethod
    def create(self, config: ModelConfig) -> Ranker:
        """Returns a full model with new weights, from torch's random generator."""

    @abstractmethod
    def layer_samples(self, model: Ranker, sample: History) -> Iterator[LayerSample]:
        """Yields the layers of a full model at the positions of `sample` [B, N], lowest first.

        A conversion replaces a layer's cache before it asks for the next layer. The next layer's sample then is
        the output of the converted layers below.
        """

    def route_modules(self, model: Ranker) -> list[nn.Module]:
        """Returns the modules that routes depend on. A conversion freezes them: a route must keep its meaning."""
        return [part for part in (model.item, model.action, model.interaction_features) if part is not None]

    def keep_full(self, full: Ranker, kept: str) -> Ranker:
        """Returns a copy of a full model that shares its parameters. Its cache has the form `kept` of keep_full.py."""
        raise ValueError(
            "only a full model with one FullKV cache can be kept: its positions must not attend to each other"
        )

    @abstractmethod
    def write_encode(self, g: Graph, model: Ranker, layers: list[RecordLayer]) -> None:
        """Adds the nodes of encode.onnx: T interactions -> the record fields of every layer."""

    @abstractmethod
    def write_attention(self, g: Graph, model: Ranker, layers: list[RecordLayer], item: str, assembled: bool) -> str:
        """Adds the attention nodes of a rank graph: candidates' item embeddings [C, E] -> [C, E].

        With `assembled`, the graph reads assembled keys and values; else it reads record fields.
        """

    def write_weights(
        self, g: Graph, model: Ranker, layers: list[RecordLayer], item: str
    ) -> tuple[ExplainedRows, list[WeighedRows]]:
        """Adds the attention to an explain graph, part by part: item embeddings [C, E] -> weights.

        For families that explain scores. The output of the attention is linear in the values of each part.
        """
        raise NotImplementedError(f"{self.name} explains no scores")

    @abstractmethod
    def oracle(self, model: Ranker, parameters: Parameters) -> "AttentionOracle":
        """Returns the family's attention in plain loops."""


class AttentionOracle(ABC):
    """A family's attention for one user and one candidate, in plain loops and float64. See models/oracle.py."""

    @abstractmethod
    def attended(self, item: Vector, seen: "SeenPositions", now: int) -> Vector:
        """Returns the attention's output [E] for the candidate with the embedding `item` [E], at the place `now`."""


@dataclass
class SeenPositions:
    """All valid positions before a candidate, oldest first."""

    s: list[Vector]  # embeddings, [E] each
    slots: list[tuple[int, int]]  # the item's index, and the event's code or 0
    places: list[int]  # indices in the history


class Attention(nn.Module):
    """The attention of a family whose positions do not attend to each other.

    The short part of some families reads the newest positions; `recent_positions` is their number, 0 without one.
    """

    out: nn.Linear  # the long part's output projection, D -> E; its bias is added once
    null_key: nn.Parameter  # of the learned null position, which every candidate sees; as wide as the cache's keys
    null_value: nn.Parameter
    recent_positions: int = 0

    @abstractmethod
    def forward(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        """Item embeddings [B, C, E], keys and values [B, N, D], visible [B, C, N], now [B, C] -> [B, C, E].

        `kv.key` is None if the cache keeps user dims only; attention then sees the null position alone.
        """

    def over_clusters(self, item: Tensor, clusters: ClusterMeans, key: nn.Linear, value: nn.Linear) -> Tensor:
        """The long part over the cluster means of one user: item embeddings [C, E] -> [C, E].

        `key` and `value` map embeddings to keys and to values, E -> D. For families that read clusters.
        """
        raise NotImplementedError(f"{type(self).__name__} reads no clusters")

    def short(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        """The short part over the newest positions, with the shapes of `forward`. For families that have one."""
        raise NotImplementedError(f"{type(self).__name__} has no short part")

    def by_fixed_weights(self, item: Tensor, kv: Cached, visible: Tensor, now: Tensor) -> Tensor:
        """The long part, with the shapes of `forward`. Its derivatives by values leave the weights as they are."""
        return self(item, kv, visible, now)

    def match_keys(self, key: nn.Linear) -> None:
        """Sets the first weights by those of the cache's key map, E -> D. Default: leaves them."""
        return None

    def key_metric(self, items: Tensor, kv: Cached) -> Tensor | None:
        """Returns A [D, any]: an error e of a key costs |e A|^2; None: |e|^2.

        `items` [I, E] is the item table; `kv` are keys and values [P, D] at positions of real histories.
        """
        return None

    def value_metric(self) -> Tensor | None:
        """Returns [D, any]: the same for values."""
        return self.out.weight.T

    @abstractmethod
    def write_parts(self, g: Graph, history: HistoryRows, item: str) -> list[tuple[str, torch.Tensor]]:
        """Adds the nodes of each part: its output [C, width] before the projection, and the projection [E, width]."""

    def write_weights(self, g: Graph, history: HistoryRows, item: str) -> list[WeighedRows]:
        """Adds the same parts as `write_parts`, as weights of rows. For families that explain scores."""
        raise NotImplementedError(f"{type(self).__name__} explains no scores")
