"""The shared pool of keys and values: routes into it, and user dims beside it.

    CollectiveKV: K_c[i] = P_k[I_k[i]], V_c[i] = P_v[I_v[i]], I[i] = argmax_j M[i, j], M = X W_r + b_r
    user dims: [K_u, V_u] = tanh(S W_u + b_u), quantised as the record stores them

Source of the equations: arXiv 2601.19178. Letters in shapes as in models/ranker.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.caches.full import FullKV
from models.caches.history_cache import Cached, HistoryCache
from models.caches.user_head import UserHead
from models.compression import CODES, Compression
from models.embeddings import Embeddings
from models.router import Router


class SharedPool(HistoryCache):
    """A pool of keys and values, one or two routers into it, and the user dims. SharedKV serves it.

    `route_inputs` is the width of the routers' input.
    """

    def __init__(self, c: Compression, embedding: int, d_model: int, outputs: int, route_inputs: int):
        super().__init__()
        self.compression = c
        self.d_model = d_model
        u = c.user_width
        in_head = u if c.user_form == "last_head" else 0  # columns of K and V that the user dims take
        self.pool_key = nn.Parameter(torch.zeros(c.slots, d_model - in_head))
        self.pool_value = nn.Parameter(torch.zeros(c.slots, d_model - in_head))
        self.router = Router(route_inputs, c.slots)
        self.value_router = None if c.tied else Router(route_inputs, c.slots)
        self.full: FullKV | None = None  # computes the part that is not shared; None: the router's input holds it
        self.user = nn.Linear(embedding, 2 * u) if u else None
        self.user_head = UserHead(embedding, u, outputs) if u and not in_head else None
        self.register_buffer("scale", torch.full((2 * u,), 1 / 127))
        self.register_buffer("codes", torch.zeros(CODES, 2 * u))
        self.quantised = False  # True once scale and codes are calibrated
        self.auxiliary_loss: Tensor | None = None  # the published recipe's losses, after a forward pass in training

    def user_dims_holder(self) -> "SharedPool | None":
        return self if self.user is not None else None

    def routers(self) -> list[Router]:
        """Returns the router; or the key router and the value router."""
        return [router for router in (self.router, self.value_router) if router is not None]

    def routes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the slots of keys and the slots of values, each [B, N]."""
        key = self.router.route(x)
        return key, (key if self.value_router is None else self.value_router.route(x))

    def user_dims(self, s: Tensor) -> Tensor:
        """Returns [K_u, V_u], [B, N, 2U], as the record gives them back. Gradients pass through the rounding."""
        x = torch.tanh(self.user(s))
        return x + (self.quantise(x) - x).detach() if self.quantised else x

    @torch.no_grad()
    def quantise(self, x: Tensor) -> Tensor:
        """Returns user dims [..., 2U] through the record's type and back."""
        if self.compression.user_type == "float16":
            return x.half().float()
        if self.compression.user_type == "int8":
            return (x / self.scale).round().clamp(-127, 127) * self.scale
        return self.codes[self.code_of(x)]

    def code_of(self, x: Tensor) -> Tensor:
        """Returns the nearest code of [..., 2U], by the scores of encode.onnx."""
        return self.code_scores(x).argmax(-1)

    def code_scores(self, x: Tensor) -> Tensor:
        """Returns scores, [..., 2U] -> [..., codes]: x c - |c|^2 / 2, highest for the nearest code c."""
        return x @ self.codes.T - self.codes.square().sum(1) / 2

    def forward(self, s: Tensor, x: Tensor | None = None) -> Cached:
        """Returns keys and values of positions.

        `s` [B, N, E]; the routers read `x` [B, N, route_inputs], or `s` if None.
        """
        x = s if x is None else x
        key, value = self.shared(x)
        if self.compression.share != "both":
            full = Cached(*x.chunk(2, -1)) if self.full is None else self.full(s, s)
            key, value = (key, full.value) if self.compression.share == "keys" else (full.key, value)
        if self.user is None:
            return Cached(key, value)
        user_key, user_value = self.user_dims(s).chunk(2, -1)
        if self.user_head is not None:
            return Cached(key, value, user_key, user_value)
        if self.compression.share != "values":
            key = torch.cat([key, user_key], -1)
        if self.compression.share != "keys":
            value = torch.cat([value, user_value], -1)
        return Cached(key, value)

    def shared(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns pool rows of keys and of values, each [B, N, columns of the pool]."""
        if self.compression.gate and self.training:
            return self.gated(x)
        key, value = self.routes(x)
        return F.embedding(key, self.pool_key), F.embedding(value, self.pool_value)

    def gated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """K_c[i] = sigmoid(M[i, I[i]]) P_k[I[i]]. The peak loss drives the gate to 1, the balance loss spreads use."""
        self.auxiliary_loss = x.new_zeros(())
        rows, gate = [], None
        for router, pool in ((self.router, self.pool_key), (self.value_router, self.pool_value)):
            if router is not None:
                scores = router(x)  # [B, N, M]
                best, route = scores.max(-1)
                gate = torch.sigmoid(best)
                mean = scores.flatten(0, -2).softmax(-1).mean(0)  # [M]
                balance = (mean * (mean * len(mean)).clamp(min=1e-9).log()).sum()  # KL(mean | uniform)
                peak = -F.logsigmoid(best).mean()
                self.auxiliary_loss = (
                    self.auxiliary_loss + self.compression.balance * balance + self.compression.peak * peak
                )
            rows.append(gate[..., None] * F.embedding(route, pool))
        return rows[0], rows[1]

    def row_bytes(self, model: Embeddings) -> int:
        c = self.compression
        routes = (1 if c.slots <= 256 else 2) * (1 if c.tied or c.share != "both" else 2)
        full_part = 0 if c.share == "both" else 2 * self.d_model  # the part that is not shared, in fp16
        return routes + full_part + user_bytes(c)


def user_bytes(c: Compression) -> int:
    """Returns the bytes of a position's user dims in a record."""
    if c.user_type == "codebook" and c.user_width:
        return 1
    return 2 * c.user_width * (2 if c.user_type == "float16" else 1)
