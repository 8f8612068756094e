"""HSTU as a family: positions attend to each other, in layers with a cache each."""

from collections.abc import Iterator

from torch import nn

from data.history import History
from models.caches.record_layer import RecordLayer
from models.config import ModelConfig
from models.families.family import Family
from models.families.hstu import graph
from models.families.hstu.layers import HstuRanker
from models.families.hstu.oracle import HstuOracle
from models.graphs.builder import Graph
from models.graphs.embed import embed_interactions
from models.layer_sample import MOST_POSITIONS, LayerSample, query_metric
from models.oracle_math import Parameters


class Hstu(Family):
    """Layers of pointwise attention. K and V are not linear in S, so a router reads [K, V]."""

    name = "hstu"
    title = "HSTU"
    bundle_family = "hstu"
    description = "HSTU: stacked self-attention, candidates attend over each layer's cached keys and values"
    default_layers = 1
    stacked = True

    def create(self, config: ModelConfig) -> HstuRanker:
        return HstuRanker(config)

    def layer_samples(self, model: HstuRanker, sample: History) -> Iterator[LayerSample]:
        for layer, (_, rows, key_value) in zip(model.stack, model.layers(sample)):
            rows, key_value = rows[sample.valid][:MOST_POSITIONS], key_value[sample.valid][:MOST_POSITIONS]
            metric = query_metric(layer.queries(rows), model.config.heads)
            yield LayerSample(rows, *key_value.chunk(2, -1), metric)

    def route_modules(self, model: HstuRanker) -> list[nn.Module]:
        read = [part for layer in model.stack for part in (layer.norm, layer.key_value)]
        return [*super().route_modules(model), *read]

    def write_encode(self, g: Graph, model: HstuRanker, layers: list[RecordLayer]) -> None:
        graph.write_encode(g, model, layers, embed_interactions(g, model))

    def write_attention(
        self, g: Graph, model: HstuRanker, layers: list[RecordLayer], item: str, assembled: bool
    ) -> str:
        history = [layer.rows_assembled(g) if assembled else layer.rows_from_record(g) for layer in layers]
        return graph.write_attention(g, model, layers, item, history)

    def oracle(self, model: HstuRanker, parameters: Parameters) -> HstuOracle:
        caches = [layer.cache.oracle(parameters, f"stack.{i}.cache") for i, layer in enumerate(model.stack)]
        return HstuOracle(model.config, parameters, caches)


HSTU = Hstu()
