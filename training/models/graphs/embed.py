"""Graph nodes that compute the embeddings S of interactions, and numeric features. Shapes as in bundle/graphs.py."""

import math

from data.features import Feature
from models.embeddings import Embeddings
from models.graphs.builder import Graph


def embed_interactions(g: Graph, model: Embeddings) -> str:
    """Adds the nodes that embed the encode graph's interactions. Returns S, [T, E]."""
    item, action = interaction_inputs(g)
    item = g.add("Gather", g.tensor("item_table", model.item.weight), item)  # [T, E]
    event = g.add("Gather", g.tensor("action_table", model.action.weight), action)  # [T, 2E]
    return turned(g, model, item, embed_event(g, model, event))


def embed_event(g: Graph, model: Embeddings, event: str) -> str:
    """Declares the features of interactions. Rows of the action table [T, 2E] -> [turn, shift], [T, 2E]."""
    given = feature_inputs(g, model.config.interaction_features, "batch", "interaction_feature")
    return with_features(g, model, event, given)


def interaction_inputs(g: Graph) -> tuple[str, str]:
    """Declares the inputs: indices of items and indices of actions, each [T]."""
    item = g.input("item_index", "int64", ["batch"], "interaction_item")
    action = g.input("action_index", "int64", ["batch"], "interaction_action")
    return item, action


def with_features(g: Graph, model: Embeddings, event: str, given: list[str]) -> str:
    """Adds [turn, shift] of events, [T, 2E]: rows of the action table, plus the part of the features."""
    if model.interaction_features is None:
        return event
    x = features(g, model.config.interaction_features, given)
    x = g.add("Concat", x, g.add("Mul", x, x), axis=1)
    return g.add("Add", event, g.linear(x, "interaction_features", model.interaction_features))


def turned(g: Graph, model: Embeddings, item: str, event: str) -> str:
    """Returns item * (1 + turn) + shift, [T, E]."""
    e = model.config.embedding
    turn, shift = g.add("Split", event, g.constant(e, e), outputs=2, axis=1)
    return g.add("Add", g.add("Mul", item, g.add("Add", turn, g.number(1.0))), shift)


def feature_inputs(g: Graph, wanted: list[Feature], rows: str | int, role: str) -> list[str]:
    """Declares an input [rows] for each feature. The features of a request have one row."""
    return [g.input(f.name, "float32", [rows], role, feature=f.name) for f in wanted]


def features(g: Graph, wanted: list[Feature], given: list[str]) -> str:
    """Scales features and joins them as columns: [rows, sum of widths]. See Feature.expand."""
    columns = []
    for f, x in zip(wanted, given):
        if (f.low, f.high) != (0.0, 1.0):
            x = g.add("Div", g.add("Sub", x, g.number(f.low)), g.number(f.high - f.low))
        if f.period:
            x = g.add("Mul", x, g.number(2 * math.pi))
            parts = [g.add("Sin", x), g.add("Cos", x)]
        else:
            parts = [x]
        columns += [g.add("Reshape", part, g.constant(-1, 1)) for part in parts]
    return columns[0] if len(columns) == 1 else g.add("Concat", *columns, axis=1)
