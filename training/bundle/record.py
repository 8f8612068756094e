"""What a user record holds of a position: fields, KV groups, and the bytes that Redis takes for them.

A layer of a model is one KV group, and one more for the codebook where its user dims are coded. Twins that are kept as
they are have theirs in twin_record.py.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bundle.record_parts import Encoded, pool_of, route_field
from bundle.twin_record import encode_twin, twin_fields, twin_groups
from data.history import History
from models.history_cache import CODES, KeptTwin, SharedKV, UserDimsOnly
from models.hstu import HstuRanker
from models.ranker import Ranker


@dataclass
class LayerFields:
    """Names of one layer's record fields; None where it has no such field."""

    layer: int
    shared: SharedKV
    key_route: str
    value_route: str  # the same as key_route where routes are tied
    user_code: str | None
    user_key: str | None
    user_value: str | None
    group: str
    user_group: str | None

    @property
    def routes(self) -> list[str]:
        return list(dict.fromkeys([self.key_route, self.value_route]))

    @property
    def own_head(self) -> bool:
        return self.shared.user_head is not None


def layer_fields(model: Ranker) -> list[LayerFields]:
    caches = [layer.cache for layer in model.stack] if isinstance(model, HstuRanker) else [model.cache]
    found = []
    for i, shared in enumerate(caches):
        if not isinstance(shared, SharedKV) or shared.compression.share != "both":
            raise ValueError(
                "only a model that shares keys and values can be served; convert it with share='both', "
                "or keep its twin as it is with keep_twin"
            )
        c, prefix = shared.compression, f"layer{i}_" if len(caches) > 1 else ""
        coded = c.user_width > 0 and c.user_type == "codebook"
        plain = c.user_width > 0 and not coded
        found.append(
            LayerFields(
                layer=i,
                shared=shared,
                key_route=prefix + ("route" if c.tied else "key_route"),
                value_route=prefix + ("route" if c.tied else "value_route"),
                user_code=prefix + "user_code" if coded else None,
                user_key=prefix + "user_key" if plain else None,
                user_value=prefix + "user_value" if plain else None,
                group=prefix + "history",
                user_group=prefix + "user" if coded else None,
            )
        )
    return found


def record_fields(model: Ranker) -> list[dict]:
    """The manifest's record fields, in the order of a row."""
    if isinstance(model.cache, KeptTwin):
        return twin_fields(model)
    fields = []
    for layer in layer_fields(model):
        c = layer.shared.compression
        for route in layer.routes:
            fields.append(route_field(route, c.slots))
        if layer.user_code:
            fields.append(route_field(layer.user_code, CODES))
        for name, scale in zip((layer.user_key, layer.user_value), layer.shared.scale.chunk(2)):
            if name:
                scaled = {"scale": scale.tolist()} if c.user_type == "int8" else {}
                fields.append({"name": name, "kind": "user", "type": c.user_type, "width": c.user_width, **scaled})
    return fields


def kv_groups(model: Ranker) -> list[dict]:
    """The manifest's KV groups."""
    if isinstance(model.cache, KeptTwin):
        return twin_groups(model)
    groups = []
    for layer in layer_fields(model):
        width = layer.shared.pool_key.shape[1]
        key, value = {"route": layer.key_route}, {"route": layer.value_route}
        if layer.user_key:
            key["user"], value["user"] = layer.user_key, layer.user_value
        pool = pool_of(layer.shared.compression.slots, width, width)
        groups.append({"name": layer.group, "pool": pool, "key": key, "value": value})
        if layer.user_group:
            code = {"route": layer.user_code}
            u = layer.shared.compression.user_width
            pool = pool_of(CODES, u, u)
            groups.append({"name": layer.user_group, "pool": pool, "key": code, "value": code})
    return groups


@torch.no_grad()
def encode(model: Ranker, history: History) -> Encoded:
    if isinstance(model.cache, KeptTwin):
        return encode_twin(model, history)
    fields: dict[str, Tensor] = {}
    shape = history.item.shape
    route_margin, rounding_margin = torch.full(shape, torch.inf), torch.full(shape, torch.inf)
    for layer, (shared, s, x) in zip(layer_fields(model), model.layers(history)):
        scores = [router(x) for router in (shared.router, shared.value_router) if router is not None]
        if shared.user is not None:
            user = torch.tanh(shared.user(s))  # [B, N, 2U]
            if layer.user_code:
                scores.append(user @ shared.codes.T - shared.codes.square().sum(1) / 2)
            else:
                fields[layer.user_key], fields[layer.user_value] = user.chunk(2, -1)
                if shared.compression.user_type == "int8":
                    steps = user / shared.scale
                    rounding_margin = rounding_margin.minimum((steps - steps.floor() - 0.5).abs().amin(-1))
        for name, score in zip([*layer.routes, layer.user_code], scores):
            best = score.topk(2, -1)
            fields[name] = best.indices[..., :1]
            margin = best.values[..., 0] - best.values[..., 1]
            route_margin = route_margin.minimum(margin / code_scale(shared) if name == layer.user_code else margin)
    return Encoded(fields, route_margin, rounding_margin)


def code_scale(shared: SharedKV) -> float:
    """What a margin between codes is measured in: where user dims lie close together, so do the scores of their codes.

    Scores differ by the square of the codes' spread; rounding, which is of the dims' own size, by the spread itself.
    """
    spread = float(shared.codes.std(0).norm())
    return min(1.0, 4 * spread**2 + 0.01 * spread)


ELEMENT_BYTES = {"uint8": 1, "uint16": 2, "int8": 1, "float16": 2, "float32": 4}


def row_bytes(model: Ranker) -> int:
    """Bytes of a position's row, whatever the model keeps of it."""
    if isinstance(model.cache, KeptTwin):
        return sum(ELEMENT_BYTES[field["type"]] * field["width"] for field in twin_fields(model))
    caches = [layer.cache for layer in model.stack] if isinstance(model, HstuRanker) else [model.cache]
    total = 0
    for cache in caches:
        shared = cache.shared if isinstance(cache, UserDimsOnly) else cache
        c = shared.compression
        if not isinstance(cache, UserDimsOnly):
            total += (1 if c.slots <= 256 else 2) * (1 if c.tied or c.share != "both" else 2)
        if c.share != "both":
            total += 2 * shared.d_model  # the part that is not shared, in fp16
        total += (
            1 if c.user_type == "codebook" and c.user_width else 2 * c.user_width * ELEMENT_BYTES.get(c.user_type, 1)
        )
    return total
