"""The interface of a history cache: what a model keeps of a layer's positions.

| form | keeps of a position |
|---|---|
| `FullKV`, `ComputedKV` (full.py) | keys and values, D wide each, in float32: the full model |
| `FullInRecord` (full.py) | the same, in a form that a user record can hold; see `keep_full` |
| `SharedKV` (shared.py) | routes into a pool of keys and values, and user dims: CollectiveKV |
| `FactoredKV` (factored.py) | the item's index and the event's code; attention reads means over clusters of positions |
| `ClusteredInteractions` (clustered_interactions.py) | interactions, from which each request computes the same |
| `ResidualKV` (residual.py) | residual codes; attention reads means over clusters of positions |
| `UserDimsOnly` (user_dims_only.py) | user dims, no pool: an arm of the comparison |

Shapes as in models/ranker.py. A new form is a subclass of HistoryCache. If bundles are to serve it, the form also has a
RecordLayer.
"""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from data.history import History
from models.caches.oracles import CacheOracle
from models.caches.record_layer import ELEMENT_BYTES, RecordLayer
from models.caches.user_head import UserHead
from models.compression import Compression
from models.embeddings import Embeddings
from models.oracle_math import Parameters

NOT_SERVED = (
    "only a model that shares keys and values can be served; convert it with share='both', "
    "or keep the full model with keep_full"
)


@dataclass
class Cached:
    """A history as attention sees it."""

    key: Tensor | None  # [B, N, D]; None if only user dims are kept
    value: Tensor | None  # [B, N, D]
    user_key: Tensor | None = None  # [B, N, U], of a user head; None without one
    user_value: Tensor | None = None


class HistoryCache(nn.Module):
    """The keys and values of a layer's history, in one form."""

    compression: Compression | None = None  # None: the form has no pool
    in_record: bool = True  # False: the full model's keys and values, which no record holds
    cluster_count: int = 0  # of the clusters that attention reads the means of; 0: attention sees single positions
    user_head: UserHead | None  # None: user dims have no attention head of their own, or there are none

    @abstractmethod
    def forward(self, s: Tensor, x: Tensor) -> Cached:
        """Returns keys and values of positions, as the record gives them back.

        `s` [B, N, E] are the layer's inputs, `x` [B, N, any] the inputs of its routers. Both are the same tensor if K
        and V are linear in S; else `x` is [K, V], 2D wide.
        """

    def clusters_of(self, model: Embeddings, history: History) -> Tensor | None:
        """Returns the cluster of each position, [B, N]. None: attention sees single positions."""
        return None

    def user_dims_holder(self) -> "HistoryCache | None":
        """Returns the SharedPool whose user dims this form keeps. None: it keeps no user dims."""
        return None

    def in_record_as(self, kept: str, null: tuple[Tensor, Tensor]) -> "HistoryCache":
        """Returns a full cache in a form that records hold. `null` are the null position's key and value, [D] each.

        Raises ValueError if this form is not a full cache over S.
        """
        raise ValueError("only a full model with a FullKV cache can be kept in full; this one is converted already")

    def record_layer(self, prefix: str, model: Embeddings) -> RecordLayer:
        """Returns the layer as user records hold it. `prefix` begins the names of its fields and groups.

        Raises ValueError if no bundle can serve this form.
        """
        raise ValueError(NOT_SERVED)

    def row_bytes(self, model: Embeddings) -> int:
        """Returns the bytes of a position in a user record. Raises ValueError if no record holds this form."""
        return sum(ELEMENT_BYTES[f["type"]] * f["width"] for f in self.record_layer("", model).fields())

    @abstractmethod
    def oracle(self, parameters: Parameters, name: str) -> CacheOracle:
        """Returns the same cache in plain loops. `name` is the module's name in the model's state."""
