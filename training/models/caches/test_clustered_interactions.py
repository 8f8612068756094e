"""Interactions in records, with the clusters and scores of a factored pool."""

import numpy as np
import torch

from bundle.golden_drawer import Drawer, score
from bundle.record import encode, record_fields
from conversion.factored import convert_factored
from models.caches.clustered_interactions import keep_interactions
from testbed.small_models import sample_of, small_full


def test_scores_and_ties_are_those_of_the_factored_pool_and_a_record_has_the_interaction() -> None:
    full = small_full("target")
    factored = convert_factored(full, sample_of(full), seed=1, clusters=9, codes=16)
    kept = keep_interactions(factored)
    draw = Drawer(kept, np.random.default_rng(1))
    history = draw.history(30)
    candidates = draw.candidates(history, 10)
    assert torch.equal(score(kept, history, candidates), score(factored, history, candidates))
    assert [field["name"] for field in record_fields(kept)] == ["item", "action", "watch_ratio"]
    drawn = draw.draw(200)
    assert torch.equal(encode(kept, drawn).route_margin, encode(factored, drawn).route_margin)
    assert factored.cache is not kept.cache
