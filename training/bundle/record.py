"""User records of a model: fields, KV groups and pool tables, asked of its history caches."""

import torch

from data.history import History
from models.caches.record_layer import Encoded, RecordLayer, Tables
from models.ranker import Ranker


def record_layers(model: Ranker) -> list[RecordLayer]:
    """Returns the model's layers as user records hold them, lowest first.

    Raises ValueError if no bundle can serve the model.
    """
    holders = model.cache_holders()
    prefixes = [f"layer{i}_" if len(holders) > 1 else "" for i in range(len(holders))]
    return [holder.cache.record_layer(prefix, model) for prefix, holder in zip(prefixes, holders)]


def record_fields(model: Ranker) -> list[dict]:
    """Returns the manifest's record fields, in the order of a row."""
    return [field for layer in record_layers(model) for field in layer.fields()]


def kv_groups(model: Ranker) -> list[dict]:
    """Returns the manifest's KV groups."""
    return [group for layer in record_layers(model) for group in layer.groups()]


def clusterings(model: Ranker) -> list[dict]:
    """Returns the manifest's clusterings."""
    return [clustering for layer in record_layers(model) for clustering in layer.clusterings()]


def pool_tables(model: Ranker) -> dict[str, Tables]:
    """Returns the pool, by KV group."""
    return {name: tables for layer in record_layers(model) for name, tables in layer.tables().items()}


def row_bytes(model: Ranker) -> int:
    """Returns the bytes of a position in a user record, over all layers."""
    return sum(holder.cache.row_bytes(model) for holder in model.cache_holders())


@torch.no_grad()
def encode(model: Ranker, history: History) -> Encoded:
    """Returns the record fields of histories [B, N], as encode.onnx gives them."""
    found = [layer.encode(history, s, x) for layer, (_, s, x) in zip(record_layers(model), model.layers(history))]
    return Encoded(
        fields={name: values for encoded in found for name, values in encoded.fields.items()},
        route_margin=torch.stack([encoded.route_margin for encoded in found]).amin(0),
        rounding_margin=torch.stack([encoded.rounding_margin for encoded in found]).amin(0),
    )
