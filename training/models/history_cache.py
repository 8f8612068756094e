"""What a user's history is kept as: full keys and values, or routes into a shared pool and a few user dims.

    CollectiveKV: K_c[i] = P_k[I_k[i]], V_c[i] = P_v[I_v[i]], I[i] = argmax_j M[i, j], M = X W_r + b_r
    and the user dims [K_u, V_u] = tanh(S W_u + b_u), quantised as the record stores them.

Source of the equations: arXiv 2601.19178. Letters in shapes as in model.py.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.router import Router

CODES = 256  # entries of a codebook: one byte


@dataclass
class Compression:
    """How keys and values are shared. The defaults are those that docs/quality.md measures."""

    slots: int = 10_000
    user_width: int = 2  # dims of a user key, and of a user value; 0 has none
    tied: bool = True  # one route for key and value
    share: str = "both"  # both, keys, values: the part that is not shared is kept in full
    user_form: str = (
        "own_head"  # own_head: user dims are an attention head of their own; last_head: the last columns of K, V
    )
    user_type: str = "codebook"  # int8, float16, codebook: one joint code of 256 for user key and value
    key_weight: float = 1.0  # weight of the keys against the values when the pool is made
    gate: bool = False  # the published recipe: training weighs a pool row by sigmoid of its router score
    balance: float = 1.0  # weight of the published recipe's balance loss
    peak: float = 0.01  # and of its peak loss


@dataclass
class Cached:
    """A history as attention sees it."""

    key: Tensor | None  # [B, N, D]; None where nothing is shared and only user dims are kept
    value: Tensor | None  # [B, N, D]
    user_key: Tensor | None = None  # [B, N, U], of a user head of its own
    user_value: Tensor | None = None


class FullKV(nn.Module):
    """The uncompressed cache: K = S W_k + b_k, V = S W_v + b_v."""

    def __init__(self, inputs: int, d_model: int):
        super().__init__()
        self.key = nn.Linear(inputs, d_model)
        self.value = nn.Linear(inputs, d_model)

    def forward(self, s: Tensor) -> Cached:
        return Cached(self.key(s), self.value(s))


KEPT = ("float16", "float32", "interactions")


class KeptTwin(nn.Module):
    """The uncompressed cache as a record keeps it, for bundles that serve the twin: keys and values in float16 or
    float32, or interactions, from which every request computes them anew."""

    user_head: "UserHead | None" = None

    def __init__(self, full: FullKV, kept: str):
        super().__init__()
        if kept not in KEPT:
            raise ValueError(f"kept is {kept!r}, one of {', '.join(KEPT)} is required")
        self.full, self.kept = full, kept

    def forward(self, s: Tensor) -> Cached:
        kv = self.full(s)
        return Cached(self.stored(kv.key), self.stored(kv.value))

    def stored(self, x: Tensor) -> Tensor:
        """Through the record's type and back."""
        return x.half().to(x.dtype) if self.kept == "float16" else x


class UserHead(nn.Module):
    """An attention head over the user dims, with a softmax and rows of the output projection of its own.

    Its output projection starts at zero, so that a freshly converted model scores as its pool alone does.
    """

    def __init__(self, embedding: int, width: int, outputs: int):
        super().__init__()
        self.query = nn.Linear(embedding, width)
        self.null_key = nn.Parameter(torch.zeros(width))
        self.null_value = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, outputs, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, item: Tensor, kv: Cached, visible: Tensor) -> Tensor:
        """[B, C, E] over user dims [B, N, U] -> [B, C, outputs]."""
        query = self.query(item)  # [B, C, U]
        logits = (query @ kv.user_key.mT).masked_fill(~visible, -torch.inf)  # [B, C, N]
        logits = torch.cat([logits, (query @ self.null_key)[..., None]], -1)  # [B, C, N + 1]
        null = self.null_value.expand(len(item), 1, -1)
        return self.out(logits.softmax(-1) @ torch.cat([kv.user_value, null], 1))


class SharedKV(nn.Module):
    """A pool of keys and values, a router into it, and the user dims.

    `route_inputs` is the width of what the router sees: S itself where K and V are linear in S, else [K, V].
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
        self.full: FullKV | None = None  # what is not shared; None where the router sees keys and values themselves
        self.user = nn.Linear(embedding, 2 * u) if u else None
        self.user_head = UserHead(embedding, u, outputs) if u and not in_head else None
        self.register_buffer("scale", torch.full((2 * u,), 1 / 127))
        self.register_buffer("codes", torch.zeros(CODES, 2 * u))
        self.quantised = False  # True once scale and codes are calibrated
        self.auxiliary_loss: Tensor | None = None  # of the published recipe, after a forward pass in training

    def routes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Slots of keys and of values, each [B, N]."""
        key = self.router.route(x)
        return key, (key if self.value_router is None else self.value_router.route(x))

    def user_dims(self, s: Tensor) -> Tensor:
        """[K_u, V_u], [B, N, 2U], as the record gives them back; gradients pass through the rounding."""
        x = torch.tanh(self.user(s))
        return x + (self.quantise(x) - x).detach() if self.quantised else x

    @torch.no_grad()
    def quantise(self, x: Tensor) -> Tensor:
        """[..., 2U] through the record's type and back."""
        if self.compression.user_type == "float16":
            return x.half().float()
        if self.compression.user_type == "int8":
            return (x / self.scale).round().clamp(-127, 127) * self.scale
        return self.codes[self.code_of(x)]

    def code_of(self, x: Tensor) -> Tensor:
        """The nearest code of [..., 2U], as encode.onnx finds it."""
        return (x @ self.codes.T - self.codes.square().sum(1) / 2).argmax(-1)

    def forward(self, s: Tensor, x: Tensor | None = None) -> Cached:
        """`x` [B, N, route_inputs] is what the router sees, S where it is not given."""
        x = s if x is None else x
        key, value = self.shared(x)
        if self.compression.share != "both":
            full = Cached(*x.chunk(2, -1)) if self.full is None else self.full(s)
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
        if self.compression.gate and self.training:
            return self.gated(x)
        key, value = self.routes(x)
        return F.embedding(key, self.pool_key), F.embedding(value, self.pool_value)

    def gated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """K_c[i] = sigmoid(M[i, I[i]]) P_k[I[i]]; the peak loss drives the gate to 1, the balance loss spreads use."""
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


class UserDimsOnly(nn.Module):
    """The arm without a pool: what the user dims alone can do."""

    def __init__(self, c: Compression, embedding: int, outputs: int):
        super().__init__()
        self.shared = SharedKV(
            Compression(slots=1, user_width=c.user_width, user_type=c.user_type), embedding, 1, outputs, embedding
        )
        for part in (self.shared.pool_key, self.shared.pool_value, *self.shared.router.parameters()):
            part.requires_grad_(False)

    @property
    def user_head(self) -> UserHead:
        return self.shared.user_head

    def forward(self, s: Tensor, x: Tensor | None = None) -> Cached:
        user_key, user_value = self.shared.user_dims(s).chunk(2, -1)
        return Cached(None, None, user_key, user_value)


Cache = FullKV | KeptTwin | SharedKV | UserDimsOnly
