"""Graphs of a twin that is served as it is: what is encoded, and a history's keys and values.

Shapes in the comments as in graphs.py.
"""

from bundle.graph_builder import Graph
from bundle.graph_embed import embed, embed_interactions, interaction_inputs
from bundle.graph_parts import Kept, Rows
from bundle.twin_record import ACTION, HISTORY, ITEM
from models.history_cache import KeptTwin
from models.ranker import Ranker


def encode_twin(g: Graph, model: Ranker) -> None:
    """Interactions -> keys and values, not yet rounded; or their indices again: features are raw fields."""
    cache: KeptTwin = model.cache
    if cache.kept == "interactions":
        for name, x in zip((ITEM, ACTION), interaction_inputs(g)):
            g.output(g.add("Reshape", x, g.constant(-1, 1)), name, "int64", ["batch", 1], "field", field=name)
        return
    s, d = embed_interactions(g, model), model.config.d_model
    for name, x in zip(("key", "value"), project(g, cache, s)):
        g.output(x, name, "float32", ["batch", d], "field", field=name)


def project(g: Graph, cache: KeptTwin, s: str) -> tuple[str, str]:
    """K and V of rows [T, E], each [T, D]."""
    return g.linear(s, "full_key", cache.full.key), g.linear(s, "full_value", cache.full.value)


def twin_rows(g: Graph, model: Ranker, assembled: bool) -> Kept:
    """A history's keys and values, from the record or assembled by the services."""
    cache: KeptTwin = model.cache
    if cache.kept == "interactions":
        return Kept(Rows(*project(g, cache, embed_history(g, model, assembled))), None)
    rows, shape = [], ["positions", model.config.d_model]
    for part in ("key", "value"):
        if assembled:
            rows.append(g.input(f"{HISTORY}_{part}", "float32", shape, part, group=HISTORY))
        else:
            x = g.input(part, cache.kept, shape, "user", field=part)
            rows.append(g.add("Cast", x, to=1) if cache.kept == "float16" else x)
    return Kept(Rows(*rows), None)


def embed_history(g: Graph, model: Ranker, assembled: bool) -> str:
    """S of every position, [N, E]."""
    found = []
    for name, table in ((ITEM, model.item.weight), (ACTION, model.action.weight)):
        if assembled:
            halves = (
                g.input(f"{name}_{part}", "float32", ["positions", half.shape[1]], part, group=name)
                for part, half in zip(("key", "value"), table.chunk(2, 1))
            )
            found.append(g.add("Concat", *halves, axis=1))
        else:
            routes = g.input(f"history_{name}s", "int64", ["positions"], "routes", field=name)
            found.append(g.add("Gather", g.tensor(f"{name}_table", table), routes))
    given = [
        g.input(f"history_{f.name}", "float32", ["positions", 1], "raw", field=f.name)
        for f in model.config.interaction_features
    ]
    return embed(g, model, *found, given)
