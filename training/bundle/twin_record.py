"""What a user record holds of a position where the twin itself is served: K and V, or the interaction.

float16, float32   user fields `key` and `value`, D wide each. No route: the pool is the null position's one row.
interactions       routes into the tables of items and of actions, which are the pools, and features as raw fields.
                   A table's row is gathered in two halves, as key and value.
"""

import copy

import torch
from torch import Tensor

from bundle.record_parts import Encoded, pool_of, route_field
from data.history import History
from models.history_cache import FullKV, KeptTwin
from models.ranker import Ranker

MAX_SLOTS = 65_536  # that a route can name
HISTORY, ITEM, ACTION = "history", "item", "action"  # KV groups; the latter two are record fields as well
Tables = tuple[tuple[str, Tensor], tuple[str, Tensor]]  # of keys and of values: a parameter's name, its values


def keep_twin(twin: Ranker, kept: str) -> Ranker:
    """A twin whose records hold, of a position, what `kept` says: one of cache.KEPT. Shares the twin's parameters.

    Raises ValueError for a model that has no such cache, and for more items than a route can name.
    """
    if not isinstance(twin.cache, FullKV):
        raise ValueError("only a twin whose positions do not attend to each other can be kept: one with a FullKV cache")
    if kept == "interactions" and twin.config.items > MAX_SLOTS:
        raise ValueError(f"{twin.config.items} items, a record names at most {MAX_SLOTS}; keep keys and values instead")
    kept_twin = copy.copy(twin)
    kept_twin._modules = twin._modules | {"cache": KeptTwin(twin.cache, kept)}
    return kept_twin.eval()


def twin_fields(model: Ranker) -> list[dict]:
    c, kept = model.config, model.cache.kept
    if kept != "interactions":
        return [{"name": name, "kind": "user", "type": kept, "width": c.d_model} for name in ("key", "value")]
    raw = [
        {"name": f.name, "kind": "raw", "type": "float32", "width": 1, "source": f.name} for f in c.interaction_features
    ]
    return [route_field(ITEM, c.items), route_field(ACTION, c.actions), *raw]


def twin_groups(model: Ranker) -> list[dict]:
    groups = []
    for name, ((_, key), (_, value)) in twin_tables(model).items():
        pool = pool_of(len(key), key.shape[1], value.shape[1])
        parts = [{"user": "key"}, {"user": "value"}] if name == HISTORY else [{"route": name}, {"route": name}]
        groups.append({"name": name, "pool": pool, "key": parts[0], "value": parts[1]})
    return groups


def twin_tables(model: Ranker) -> dict[str, Tables]:
    """Group -> its key and its value table."""
    if model.cache.kept == "interactions":
        halves = {ITEM: model.item.weight.chunk(2, 1), ACTION: model.action.weight.chunk(2, 1)}
    else:
        halves = {HISTORY: (model.attention.null_key[None], model.attention.null_value[None])}
    return {
        name: ((f"pool_{name}_key", key.detach()), (f"pool_{name}_value", value.detach()))
        for name, (key, value) in halves.items()
    }


def encode_twin(model: Ranker, history: History) -> Encoded:
    if model.cache.kept == "interactions":
        names = [f.name for f in model.config.interaction_features]
        fields = dict(zip(names, history.features.split(1, -1)))
        fields |= {ITEM: history.item[..., None], ACTION: history.action[..., None]}
    else:
        kv = model.cache.full(model.embed_history(history))
        fields = {"key": kv.key, "value": kv.value}
    never = torch.full(history.item.shape, torch.inf)  # nothing is chosen, and float16 has no steps to speak of
    return Encoded(fields, never, never)
