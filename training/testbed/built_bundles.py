"""Small bundles of every family and form, built once for all tests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from bundle.export import Export, export_bundle
from conversion.factored import convert_factored
from conversion.residual import convert_residual
from data.features import Feature
from data.history import Candidates, History
from data.log import Log
from models.caches.clustered_interactions import keep_interactions
from models.compression import Compression
from models.keep_full import keep_full
from models.ranker import Ranker
from testbed.random_models import catalogue_log, random_history
from testbed.served_bundle import ServedBundle
from testbed.small_models import CANDIDATE_FEATURES, CONTEXT_FEATURES, HISTORY_FEATURES, compress, small_full


@dataclass(frozen=True)
class Variant:
    family: str
    compression: Compression
    changes: dict = field(default_factory=dict)
    max_positions: int = 300
    kept: str | None = None  # of a full model: its form in records
    clustered: Callable[..., Ranker] | None = None  # of a model that reads cluster means: its conversion


@dataclass
class Built:
    variant: Variant
    model: Ranker
    bundle: ServedBundle
    bundle_id: str


K = 5  # positions that searches keep
TOLERANCE = 1e-5
ROUNDED = 1e-4  # where a last digit decides how a key or value rounds to float16
NO_FEATURES = {"interaction_features": [], "candidate_features": [], "context_features": []}
MANY_FEATURES = {
    "interaction_features": [*HISTORY_FEATURES, Feature("weekday", 0, 7, 3, period=True)],
    "candidate_features": [*CANDIDATE_FEATURES, Feature("age", -1, 1, 0)],
    "context_features": [*CONTEXT_FEATURES, Feature("battery", 0, 100, 50)],
}
LAST, SEPARATE = {"user_form": "last_head"}, {"tied": False}
# Every family meets tied and separate routes, both forms of user dims, and each type; not every combination.
VARIANTS = {
    "target": Variant("target", Compression(slots=12)),
    "target-int8": Variant("target", Compression(slots=12, user_type="int8"), MANY_FEATURES),
    "target-separate-last": Variant("target", Compression(slots=12, **SEPARATE, **LAST)),
    "target-none": Variant("target", Compression(slots=12, user_width=0), NO_FEATURES),
    "sim": Variant("sim", Compression(slots=12)),
    "sim-last-float16": Variant("sim", Compression(slots=12, user_type="float16", **LAST)),
    "sim-separate-none": Variant("sim", Compression(slots=12, user_width=0, **SEPARATE)),
    "sdim-float16": Variant("sdim", Compression(slots=300, user_type="float16", user_width=3)),
    "sdim-separate": Variant("sdim", Compression(slots=12, **SEPARATE)),
    "sdim-last-int8": Variant("sdim", Compression(slots=12, user_type="int8", **LAST)),
    "eta-int8": Variant("eta", Compression(slots=300, user_type="int8"), MANY_FEATURES),
    "eta-separate-last": Variant("eta", Compression(slots=12, user_type="float16", **SEPARATE, **LAST)),
    "eta-few-positions": Variant("eta", Compression(slots=12), max_positions=9),
    "twin": Variant("twin", Compression(slots=12, user_width=1)),
    "twin-separate-int8": Variant("twin", Compression(slots=12, user_type="int8", **SEPARATE)),
    "twin-last": Variant("twin", Compression(slots=12, **LAST)),
    "stca": Variant("stca", Compression(slots=12)),
    "stca-separate-last-int8": Variant(
        "stca", Compression(slots=12, user_type="int8", **SEPARATE, **LAST), {"layers": 3}
    ),
    "hstu": Variant("hstu", Compression(slots=12), {"layers": 3}),
    "hstu-separate-last-int8": Variant("hstu", Compression(slots=12, user_type="int8", **SEPARATE, **LAST)),
    "hstu-float16": Variant("hstu", Compression(slots=12, user_type="float16"), MANY_FEATURES),
    "hstu-int8": Variant("hstu", Compression(slots=300, user_type="int8")),
    "hstu-last": Variant("hstu", Compression(slots=12, **LAST)),
    "hstu-none-separate": Variant("hstu", Compression(slots=12, user_width=0, **SEPARATE), NO_FEATURES),
    "hstu-one-layer": Variant("hstu", Compression(slots=12), {"layers": 1}),
    "hstu-few-positions": Variant("hstu", Compression(slots=12), max_positions=9),
}


def kept_interactions(full: Ranker, sample: History, **sizes) -> Ranker:
    return keep_interactions(convert_factored(full, sample, **sizes))


WHOLE = Compression()  # of a full model, which has none
FULL_FORMS = {
    "target-kept-float16": Variant("target", WHOLE, kept="float16"),
    "target-kept-float32": Variant("target", WHOLE, MANY_FEATURES, kept="float32"),
    "target-kept-interactions": Variant("target", WHOLE, MANY_FEATURES, kept="interactions"),
    "target-kept-interactions-none": Variant("target", WHOLE, NO_FEATURES, kept="interactions"),
    "sim-kept-float32": Variant("sim", WHOLE, kept="float32"),
    "sdim-kept-interactions": Variant("sdim", WHOLE, kept="interactions"),
    "eta-kept-interactions": Variant("eta", WHOLE, max_positions=9, kept="interactions"),
    "twin-kept-float32": Variant("twin", WHOLE, kept="float32"),
    "stca-kept-float16": Variant("stca", WHOLE, kept="float16"),
    "stca-kept-interactions": Variant("stca", WHOLE, {"layers": 3}, kept="interactions"),
}
CLUSTERED = {
    "target-factored": Variant("target", WHOLE, clustered=partial(convert_factored, clusters=9, codes=16)),
    "target-factored-many": Variant(
        "target", WHOLE, MANY_FEATURES, clustered=partial(convert_factored, clusters=300, codes=200)
    ),
    "target-factored-none": Variant(
        "target", WHOLE, NO_FEATURES, clustered=partial(convert_factored, clusters=1, codes=1)
    ),
    "target-interactions": Variant("target", WHOLE, clustered=partial(kept_interactions, clusters=9, codes=16)),
    "target-interactions-many": Variant("target", WHOLE, MANY_FEATURES, clustered=partial(kept_interactions, codes=40)),
    "sdim-interactions": Variant("sdim", WHOLE, clustered=partial(kept_interactions, clusters=9, codes=16)),
    "sim-interactions": Variant("sim", WHOLE, clustered=partial(kept_interactions, clusters=9, codes=16)),
    "target-interactions-none": Variant("target", WHOLE, NO_FEATURES, clustered=kept_interactions),
    "stca-factored": Variant("stca", WHOLE, {"layers": 3}, clustered=partial(convert_factored, clusters=9, codes=16)),
    "stca-factored-one-layer": Variant(
        "stca", WHOLE, NO_FEATURES | {"layers": 1}, clustered=partial(convert_factored, clusters=9, codes=16)
    ),
    "stca-residual": Variant("stca", WHOLE, clustered=partial(convert_residual, stages=2, clusters=9, codes=16)),
    "target-residual": Variant("target", WHOLE, clustered=partial(convert_residual, stages=3, clusters=9, codes=16)),
    "target-residual-many": Variant("target", WHOLE, MANY_FEATURES, clustered=partial(convert_residual, stages=6)),
    "target-residual-none": Variant(
        "target", WHOLE, NO_FEATURES, clustered=partial(convert_residual, stages=2, clusters=1)
    ),
    "sdim-factored": Variant("sdim", WHOLE, clustered=partial(convert_factored, clusters=9, codes=16)),
    "sim-factored": Variant("sim", WHOLE, clustered=partial(convert_factored, clusters=9, codes=16)),
    "eta-factored": Variant("eta", WHOLE, clustered=partial(convert_factored, clusters=200, codes=60)),
    "twin-factored": Variant("twin", WHOLE, MANY_FEATURES, clustered=partial(convert_factored, clusters=60, codes=30)),
    "sdim-residual": Variant("sdim", WHOLE, clustered=partial(convert_residual, stages=2, clusters=9, codes=16)),
}
HSTU = [name for name in VARIANTS if name.startswith("hstu") and name != "hstu-one-layer"]
BUILT: dict[str, Built] = {}


def build(variant: Variant) -> Ranker:
    changes = variant.changes | {"max_positions": variant.max_positions, "items": 61}
    full = small_full(variant.family, **changes)
    if variant.clustered:
        return variant.clustered(full, random_history(full.config, 20, 40, seed=1), seed=1)
    return keep_full(full, variant.kept) if variant.kept else compress(full, variant.compression)


def export(variant: Variant, model: Ranker, folder: Path) -> str:
    about = Export("small", "none", {"auc": 0.5}, variant.max_positions)
    return export_bundle(model, catalogue_log(model.config), folder, about)


def built_once(name: str, tmp_path_factory: pytest.TempPathFactory) -> Built:
    if name not in BUILT:
        variant = (VARIANTS | FULL_FORMS | CLUSTERED)[name]
        model, folder = build(variant), tmp_path_factory.mktemp("bundles") / name
        bundle_id = export(variant, model, folder)
        BUILT[name] = Built(variant, model, ServedBundle(folder), bundle_id)
    return BUILT[name]


def interactions_of(log: Log, model: Ranker, history: History) -> list[dict]:
    return [
        {
            "itemId": log.items[item],
            "action": log.actions[action],
            "features": {f.name: float(x) for f, x in zip(model.config.interaction_features, features)},
        }
        for item, action, features in zip(history.item[0], history.action[0], history.features[0])
    ]


def request_of(log: Log, model: Ranker, candidates: Candidates) -> tuple[list[str], dict, dict]:
    own = {f.name: candidates.features[0, :, i].tolist() for i, f in enumerate(model.config.candidate_features)}
    context = {f.name: float(candidates.context[0, 0, i]) for i, f in enumerate(model.config.context_features)}
    return [log.items[item] for item in candidates.item[0]], own, context
