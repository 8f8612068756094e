"""The history caches of a full model, the uncompressed one."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from models.caches.full_record import FullRecord
from models.caches.history_cache import Cached, HistoryCache
from models.caches.oracles import FullOracle
from models.embeddings import Embeddings
from models.oracle_math import Parameters
from models.router import Router


class FullCache(HistoryCache):
    """Keys and values as they are: what a conversion replaces."""

    in_record = False
    user_head = None
    width: int  # of a key, and of a value
    route_inputs: int  # width of the input that a router of this layer reads

    @abstractmethod
    def fold(self, router: Router) -> Router:
        """Converts a router over [K, V], 2D wide, to a router over this layer's `x`."""

    @abstractmethod
    def beside_pool(self) -> "FullKV | None":
        """Returns the layer that computes the part that a pool does not hold. None: a router's input has this part."""


class FullKV(FullCache):
    """K = S W_k + b_k, V = S W_v + b_v."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.width, self.route_inputs = width, inputs
        self.key = nn.Linear(inputs, width)
        self.value = nn.Linear(inputs, width)

    def forward(self, s: Tensor, x: Tensor | None = None) -> Cached:
        return Cached(self.key(s), self.value(s))

    @torch.no_grad()
    def fold(self, router: Router) -> Router:
        """Converts the router to read S: [K, V] = S W + b is linear."""
        weight = torch.cat([self.key.weight, self.value.weight])  # [2D, E]
        folded = Router(weight.shape[1], router.out_features, weight.device)
        folded.weight.copy_(router.weight @ weight)
        folded.bias.copy_(router.weight @ torch.cat([self.key.bias, self.value.bias]) + router.bias)
        folded.remembers = True
        return folded.requires_grad_(False)

    def beside_pool(self) -> "FullKV":
        return self

    def in_record_as(self, kept: str, null: tuple[Tensor, Tensor]) -> "FullInRecord":
        return FullInRecord(self, kept, null)

    def oracle(self, parameters: Parameters, name: str) -> FullOracle:
        return FullOracle(parameters, name)


class ComputedKV(FullCache):
    """The keys and values that the layer has computed already: a cache of stacked layers. `x` is [K, V]."""

    def __init__(self, d_model: int):
        super().__init__()
        self.width, self.route_inputs = d_model, 2 * d_model

    def forward(self, s: Tensor, x: Tensor) -> Cached:
        return Cached(*x.chunk(2, -1))

    def fold(self, router: Router) -> Router:
        return router

    def beside_pool(self) -> None:
        return None

    def oracle(self, parameters: Parameters, name: str) -> FullOracle:
        return FullOracle(parameters, name)


KEPT = ("float16", "float32", "interactions")


class FullInRecord(HistoryCache):
    """A full model's cache in a form that records hold, so that a bundle can serve the full model.

    `kept` is one of KEPT. The float types hold keys and values. `interactions` holds item, action and features; every
    request then computes keys and values from them. `null` are the null position's key and value, [D] each.
    """

    user_head = None

    def __init__(self, full: FullKV, kept: str, null: tuple[Tensor, Tensor]):
        super().__init__()
        if kept not in KEPT:
            raise ValueError(f"kept is {kept!r}, one of {', '.join(KEPT)} is required")
        self.full, self.kept, self.null = full, kept, null

    def forward(self, s: Tensor, x: Tensor | None = None) -> Cached:
        kv = self.full(s)
        return Cached(self.stored(kv.key), self.stored(kv.value))

    def stored(self, x: Tensor) -> Tensor:
        """Returns keys or values, through the record's type and back."""
        return x.half().to(x.dtype) if self.kept == "float16" else x

    def record_layer(self, prefix: str, model: Embeddings) -> FullRecord:
        return FullRecord(model, self.full.key, self.full.value, self.kept, self.null)

    def oracle(self, parameters: Parameters, name: str) -> FullOracle:
        return FullOracle(parameters, f"{name}.full", float16=self.kept == "float16")
