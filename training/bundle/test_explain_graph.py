"""What an explain graph says equals what plain loops over the oracle find, and adds up to the score."""

from collections.abc import Iterator

import numpy as np
import pytest

from bundle.golden_drawer import Drawer
from data.history import Candidates, History
from models.caches.oracles import CacheOracle
from models.families.family import SeenPositions
from models.families.one_cache import OneCacheOracle, one_row_each
from models.oracle import Oracle
from models.oracle_math import Vector, expand
from testbed.built_bundles import Built, K, Variant, interactions_of, request_of
from testbed.random_models import catalogue_log

POINTS = 4096  # of the oracle's way from no history to the history
STEP = 1e-6  # of its numeric derivatives


@pytest.mark.parametrize("positions", [0, 1, K, 60])
def test_contributions_add_up_to_the_score_and_weights_to_at_most_one(built: Built, positions: int) -> None:
    if "explain" not in built.bundle.manifest["graphs"]:
        pytest.skip("the model explains no scores")
    found, scores, base = explained(built, positions)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-5)
    np.testing.assert_allclose(found["base_scores"], base, atol=1e-5)
    np.testing.assert_allclose(base + found["contributions"].sum(1), scores, atol=1e-5)
    assert found["attention"].min(initial=0) >= 0
    assert found["attention"].sum(2).max(initial=0) <= 1 + 1e-5
    if positions >= K:
        assert np.abs(found["contributions"]).max() > 1e-4


def test_models_without_an_explain_graph_are_hstu_and_clusters_that_the_graph_makes(built: Built) -> None:
    made_in_the_graph = built.variant.clustered is not None and "item_clusters" in built.bundle.groups()
    expected = built.variant.family != "hstu" and not made_in_the_graph
    assert ("explain" in built.bundle.manifest["graphs"]) == expected


def test_contributions_equal_those_of_plain_loops(built: Built) -> None:
    if "explain" not in built.bundle.manifest["graphs"]:
        pytest.skip("the model explains no scores")
    model = built.model
    draw = Drawer(model, np.random.default_rng(3))
    history = draw.history(min(17, built.variant.max_positions))
    candidates = draw.candidates(history, 2)
    log = catalogue_log(model.config)
    fields = built.bundle.encode(interactions_of(log, model, history))
    found = built.bundle.explain(fields, *request_of(log, model, candidates))
    oracle = Oracle(model)
    for c in range(2):
        naive, naive_own = naive_contributions(oracle, history, candidates, c, built.variant)
        np.testing.assert_allclose(found["contributions"][c], naive, atol=2e-5)
        np.testing.assert_allclose(found["own_contributions"][c], naive_own, atol=2e-5)


def explained(built: Built, positions: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Returns the explain graph's outputs, and the rank graph's scores with the history and without."""
    model, bundle, log = built.model, built.bundle, catalogue_log(built.model.config)
    draw = Drawer(model, np.random.default_rng(positions))
    history = draw.history(positions)
    request = request_of(log, model, draw.candidates(history, 3))
    fields = bundle.encode(interactions_of(log, model, history))
    return bundle.explain(fields, *request), bundle.rank(fields, *request), bundle.rank(bundle.empty(), *request)


def naive_contributions(
    oracle: Oracle, history: History, candidates: Candidates, c: int, variant: Variant
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what positions add to the score of candidate `c`, in all and through the user KV, [N] each."""
    now = int(candidates.now[0, c])
    item = oracle.p["item.weight"][int(candidates.item[0, c])]
    own, context = candidates.features[0, c].double().numpy(), candidates.context[0, c].double().numpy()
    seen = oracle.seen(history, 0, now)
    attention = oracle.attention
    attention.__dict__.pop("fused", None)  # which hold_queries has set for another candidate
    near = attention.attended(item, SeenPositions([], [], []), now)
    far = attention.attended(item, seen, now)

    features = expand(oracle.c.candidate_features, own) + expand(oracle.c.context_features, context)
    rest = np.array([*item, *features])

    def scores(attended: Vector) -> Vector:  # [points, E] -> [points]
        x = np.concatenate([attended, attended * item, np.broadcast_to(rest, (len(attended), len(rest)))], 1)
        for name in ("mix", "deep"):
            x = np.maximum(x @ oracle.p[f"scorer.{name}.weight"].T + oracle.p[f"scorer.{name}.bias"], 0)
        return 1 / (1 + np.exp(-(x @ oracle.p["scorer.score.weight"][0] + oracle.p["scorer.score.bias"])))

    assert abs(scores(far[None])[0] - 1 / (1 + np.exp(-oracle.score(item, far, own, context)))) < 1e-12
    changes = list(changes_by_position(attention, item, seen, variant))
    total = sum((change for change, _ in changes), near)
    np.testing.assert_allclose(total, far, atol=1e-9)  # the attention's output is the sum
    way = near + (np.arange(POINTS)[:, None] + 0.5) / POINTS * (far - near)
    slope = np.array([(scores(way + e) - scores(way - e)).mean() / (2 * STEP) for e in STEP * np.eye(len(near))])
    return np.array([change @ slope for change, _ in changes]), np.array([user @ slope for _, user in changes])


def changes_by_position(
    attention: OneCacheOracle, item: Vector, seen: SeenPositions, variant: Variant
) -> Iterator[tuple[Vector, Vector]]:
    """Yields how the attention's output changes by the value of each position, in all and by its user KV.

    A value is put in place of the null position's, while every key stays.
    """
    cache, p = attention.cache, attention.p
    kept = [cache.kept(s) for s in seen.s]
    keys, values, users = ([row[part] for row in kept] for part in range(3))
    rows, places = (keys, values), list(range(len(keys)))
    if (clusters := cache.clusters(seen.s, seen.slots)) is not None:
        rows, places = one_row_each(*clusters), row_of_each(cache, seen, clusters[2])
    hold_queries(attention, item, rows)
    null, recent_null = p["attention.null_value"], p.get("attention.recent.null_value")
    own = own_columns(variant, len(null))

    def long(place: int, value: Vector) -> Vector:
        return attention.long(rows[0], [value if i == place else v for i, v in enumerate(rows[1])], item)

    def short(place: int, value: Vector) -> Vector | float:
        return attention.short(keys, [value if i == place else v for i, v in enumerate(values)], item)

    def head(place: int, value: Vector) -> Vector | float:
        u = len(value)
        changed = [np.append(v[:u], value) if i == place else v for i, v in enumerate(users)]
        return cache.user_head(item, changed)

    for i, place in enumerate(places):
        nothing = null.copy()
        if recent_null is not None:
            nothing = np.concatenate([recent_null, null[len(recent_null) :]])
        change = long(place, values[i]) - long(place, null) + short(i, values[i]) - short(i, nothing)
        user = long(place, mixed(values[i], null, own)) - long(place, null)
        user = user + short(i, mixed(values[i], nothing, own)) - short(i, nothing)
        if users[i] is not None:
            u = len(users[i]) // 2
            by_head = head(i, users[i][u:]) - head(i, p[f"{cache.name}.user_head.null_value"])
            change, user = change + by_head, user + by_head
        yield change, user


def mixed(value: Vector, null: Vector, own: int) -> Vector:
    """Returns the null position's value with the last `own` columns of another value."""
    cut = len(value) - own
    return np.concatenate([null[:cut], value[cut:]])


def own_columns(variant: Variant, width: int) -> int:
    """Returns how many of the last columns of values are user KV."""
    if variant.kept:
        return 0 if variant.kept == "interactions" else width
    c = variant.compression
    return c.user_width if c.user_form == "last_head" and not variant.clustered else 0


def row_of_each(cache: CacheOracle, seen: SeenPositions, counts: list[int]) -> list[int]:
    """Returns the first row of each position's cluster among the rows of `one_row_each`."""
    names = [cache.cluster(*slots) for slots in seen.slots]
    order = list(dict.fromkeys(names))
    return [sum(counts[: order.index(name)]) for name in names]


def hold_queries(attention: OneCacheOracle, item: Vector, rows: tuple[list[Vector], list[Vector]]) -> None:
    """Keeps the queries of further layers as they are with the whole history, where a family has layers."""
    if not hasattr(attention, "fused"):
        return
    fused, held = attention.fused, {}
    attention.fused = lambda depth, x: held.setdefault(depth, fused(depth, x))
    attention.long(*rows, item)
