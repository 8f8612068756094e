"""Converts a trained full model for the records of an older bundle. The rows of records keep their meaning.

What an encode graph reads is taken over: tables of items and events, routers, codebooks. What a rank graph looks up is
made again, from the new model's embeddings, keys and values:

factored pool   the event codes stay; their rows are the means of the new events, and the clusters are found again
residual codes  the codes stay; the rows of the stages are fitted to the new embeddings
pool            routes and user dims stay; a pool row is the mean of new keys and values at the positions of its slot
"""

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from conversion.factored import event_space, share_items
from conversion.kmeans import centroids_of
from conversion.seen_space import seen_space
from data.history import History
from errors import UserError
from models.caches.full import FullKV
from models.caches.residual import ResidualKV
from models.caches.shared import SharedKV
from models.caches.shared_layer import shared_layer
from models.compression import Compression
from models.config import ModelConfig
from models.embeddings import Embeddings
from models.event_codes import EventCodes
from models.families.registry import family_of
from models.layer_sample import MOST_POSITIONS
from models.ranker import Ranker
from models.residual_codes import ResidualCodes

SWEEPS = 8  # over the stages of residual codes, each fitted to what the others leave over


@dataclass
class KeptEncoding:
    """What a bundle's encode graph computes rows with."""

    parameters: dict[str, Tensor]  # of the graph, by name
    scales: dict[str, list[float]]  # of int8 user dims, by record field

    def fill(self, parameter: Tensor, name: str, transposed: bool = False) -> None:
        """Copies a parameter of the graph. Raises UserError if it is missing or has another shape."""
        found = self.parameters.get(name)
        if found is not None and transposed:
            found = found.T
        if found is None or found.shape != parameter.shape:
            had = "none" if found is None else " x ".join(map(str, found.shape))
            raise UserError(
                f"--keep-encoding: {name} of the encode graph would be {' x '.join(map(str, parameter.shape))}, "
                f"the bundle has {had}; give the options and features that the bundle was trained with"
            )
        with torch.no_grad():
            parameter.copy_(found)

    def fill_linear(self, layer: nn.Linear, name: str) -> None:
        self.fill(layer.weight, f"{name}_weight", transposed=True)
        self.fill(layer.bias, f"{name}_bias")

    def rows_of(self, name: str) -> int:
        """Returns the outputs of a router; 0 if the graph has no such router."""
        bias = self.parameters.get(f"{name}_bias")
        return 0 if bias is None else len(bias)

    def encoder(self, config: ModelConfig, items: bool) -> Embeddings:
        """Returns the embeddings that the graph computes rows from, frozen. `items` False: of events alone."""
        encoder = Embeddings(config if items else replace(config, items=1))
        if items:
            self.fill(encoder.item.weight, "item_table")
        self.fill(encoder.action.weight, "action_table")
        if encoder.interaction_features is not None:
            self.fill(encoder.interaction_features.weight, "interaction_features_weight", transposed=True)
        return encoder.requires_grad_(False)


@torch.no_grad()
def keep_factored(full: Ranker, sample: History, kept: KeptEncoding, seed: int, clusters: int) -> Ranker:
    """Returns a copy of a full model with a factored pool, and with the event codes of an older bundle."""
    seen = seen_space(full, sample)  # [E, A]
    item = sample.item[sample.valid][:MOST_POSITIONS]  # [P]
    events = full.events(sample)[sample.valid][:MOST_POSITIONS]  # [P, 2E]
    model = copy.deepcopy(full).eval()
    codes = EventCodes(max(1, kept.rows_of("event_router")), full.config.embedding)
    kept.fill_linear(codes.router, "event_router")
    model.event_codes = codes
    model.kept_encoder = kept.encoder(full.config, items=False)
    model.to(item.device)
    code = model.codes_of(sample)[sample.valid][:MOST_POSITIONS]  # [P]
    codes.rows.copy_(centroids_of(events, code, len(codes.rows)))
    share_items(model, sample, seen, event_space(full.item(item), seen), seed, clusters)
    return model


@torch.no_grad()
def keep_residual(full: Ranker, sample: History, kept: KeptEncoding) -> Ranker:
    """Returns a copy of a full model with residual codes: those of an older bundle."""
    s = full.exact(sample)[sample.valid][:MOST_POSITIONS]  # [P, E]
    model = copy.deepcopy(full).eval()
    model.kept_encoder = encoder = kept.encoder(full.config, items=True)
    names: list[str] = []
    while kept.rows_of(f"stage_{len(names) + 1}_router"):
        names.append(f"stage_{len(names) + 1}")
    names = names or ["stage_1"]  # which `fill` then misses
    counts = [max(1, kept.rows_of(f"{name}_router")) for name in names]
    encoder.position_codes = ResidualCodes(counts, full.config.embedding)
    for name, router, rows in zip(names, encoder.position_codes.routers, encoder.position_codes.rows):
        kept.fill_linear(router, f"{name}_router")
        kept.fill(rows, f"pool_{name}")
    model.position_codes = ResidualCodes(counts, full.config.embedding)
    model.to(s.device)
    code = encoder.position_codes.route(encoder.exact(sample)[sample.valid][:MOST_POSITIONS])  # [P, stages]
    fit_rows(model.position_codes, s, code)
    cache: FullKV = model.cache
    model.cache = ResidualKV(cache.key, cache.value, counts[0])
    freeze_events(model)
    return model


def fit_rows(codes: ResidualCodes, s: Tensor, code: Tensor) -> None:
    """Fits the sums of rows to embeddings [P, E] with given codes [P, stages], stage by stage."""
    rest = s.clone()
    for _ in range(SWEEPS):
        for rows, at in zip(codes.rows, code.unbind(1)):
            rest += rows[at]
            rows.copy_(centroids_of(rest, at, len(rows)))
            rest -= rows[at]


@torch.no_grad()
def keep_pool(full: Ranker, sample: History, c: Compression, kept: KeptEncoding, seed: int) -> Ranker:
    """Returns a copy of a full model with a new pool, and with the routes and user dims of an older bundle."""
    (layer,) = family_of(full).layer_samples(full, sample)
    model = copy.deepcopy(full).eval()
    model.kept_encoder = kept.encoder(full.config, items=True)
    e = full.config.embedding
    torch.manual_seed(seed)
    shared = SharedKV(c, e, layer.key.shape[1], e, e)
    names = shared_layer(shared, "")
    for name, router in zip(names.routes, shared.routers()):
        kept.fill_linear(router.requires_grad_(False), f"{name}_router")
        router.remembers = True
    if shared.user is not None:
        kept.fill_linear(shared.user.requires_grad_(False), f"{names.group}_user")
        shared.quantised = True
    if names.user_code:
        kept.fill(shared.codes, f"{names.user_code}_codes", transposed=True)
    if kept.scales:
        shared.scale.copy_(torch.tensor([x for name in (names.user_key, names.user_value) for x in kept.scales[name]]))
    model.cache = shared
    model.to(layer.key.device)
    routes = shared.routes(model.embed_history(sample)[sample.valid][:MOST_POSITIONS])  # [P] each
    for pool, part, route in zip((shared.pool_key, shared.pool_value), (layer.key, layer.value), routes):
        pool.copy_(centroids_of(part, route, c.slots))
        pool[torch.bincount(route, minlength=c.slots) == 0] = part.mean(0)  # a record may have it all the same
    freeze_events(model)
    return model


def freeze_events(model: Ranker) -> None:
    """Freezes what only an encoder would read. The items are read by candidates, and may change."""
    for module in family_of(model).route_modules(model):
        if module is not model.item:
            module.requires_grad_(False)
