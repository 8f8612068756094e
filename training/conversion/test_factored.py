"""A full model becomes a factored pool: its scores, its codebook of events, and its clusters."""

import pytest
import torch

from conversion.factored import convert_factored, event_codes
from data.history import History
from models.families.registry import FAMILIES, family_of
from models.ranker import Ranker
from testbed.small_models import padded_histories, random_candidates, sample_of, small_full

READERS = [name for name, family in FAMILIES.items() if family.reads_clusters]
ITEMS, ACTIONS = 6, 4  # of tokens_only


def tokens_only(family: str = "target") -> Ranker:
    """A full model with 24 kinds of positions."""
    return small_full(family, items=ITEMS, actions=ACTIONS, interaction_features=[])


def scores(model: Ranker, history: History) -> torch.Tensor:
    candidates = random_candidates(model.config, torch.full((len(history.item), 8), history.item.shape[1]), seed=4)
    with torch.no_grad():
        return model(history, candidates)


@pytest.mark.parametrize("family", READERS)
def test_a_cluster_for_every_kind_of_position_gives_the_scores_of_the_full_model(family: str) -> None:
    full = tokens_only(family)
    model = convert_factored(full, sample_of(full), seed=1, clusters=ITEMS * ACTIONS)
    history = padded_histories(full.config, (30, 7, 0), seed=3, tokens=5)
    expected = scores(full, history)
    torch.testing.assert_close(scores(model, history), expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.01
    coarse = convert_factored(full, sample_of(full), seed=1, clusters=2)
    assert (scores(coarse, history) - expected).abs().max() > 1e-3


def test_a_conversion_leaves_the_full_model_as_it_was() -> None:
    full = tokens_only()
    before = {name: x.clone() for name, x in full.state_dict().items()}
    model = convert_factored(full, sample_of(full), seed=1, clusters=8)
    assert all(torch.equal(x, before[name]) for name, x in full.state_dict().items())
    assert full.event_codes is None and model.event_codes is not None


def test_what_routes_depend_on_is_frozen_and_the_items_are_not() -> None:
    model = convert_factored(small_full("target"), sample_of(small_full("target")), seed=1, clusters=8)
    frozen = {name for name, x in model.named_parameters() if not x.requires_grad}
    assert {"action.weight", "interaction_features.weight", "event_codes.router.weight"} <= frozen
    assert not {"item.weight", "event_codes.rows", "cache.key.weight", "attention.query.weight"} & frozen


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in READERS])
def test_a_family_whose_attention_cannot_read_cluster_means_is_refused(family: str) -> None:
    full = small_full(family)
    with pytest.raises(ValueError, match=f"the attention of {family_of(full).title} cannot read cluster means"):
        convert_factored(full, sample_of(full), seed=1, clusters=8)


# The codebook


def test_256_distinct_events_stay_exact() -> None:
    distinct = torch.randn(256, 8, generator=torch.Generator().manual_seed(1))
    events = distinct[torch.arange(600) % 256]
    book = event_codes(events, torch.eye(8), codes=256, seed=1)
    torch.testing.assert_close(book(events), events)
    assert len(book.router.route(events).unique()) == 256


def test_the_code_of_more_events_is_the_nearest_centroid_and_its_row_the_mean() -> None:
    events = torch.randn(500, 4, generator=torch.Generator().manual_seed(1))
    space = torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0]))  # distances ignore the last two columns
    book = event_codes(events, space, codes=8, seed=1)
    code = book.router.route(events)
    assert len(book.rows) == 8 and len(code.unique()) == 8
    for c in range(8):
        torch.testing.assert_close(book.rows[c], events[code == c].mean(0))
    distance = (events @ space)[:, None] - book.rows @ space
    assert torch.equal(distance.square().sum(-1).argmin(-1), code)


# The clusters


@pytest.mark.parametrize(("alike", "counts"), [("events", (16, 1)), ("items", (1, 16))])
def test_clusters_go_to_items_or_events_by_the_spread_that_is_left(alike: str, counts: tuple[int, int]) -> None:
    full = small_full("target")
    with torch.no_grad():
        if alike == "items":
            full.item.weight.zero_()
        else:
            full.action.weight.zero_()
            full.interaction_features.weight.zero_()
    pairs = convert_factored(full, sample_of(full), seed=1, clusters=16).cache.pairs
    assert (pairs.item_count, pairs.code_count) == counts


def test_every_item_and_every_code_has_a_cluster_and_unseen_items_have_the_nearest() -> None:
    full = small_full("target")
    sample = sample_of(full)
    unseen = 30
    sample.item[sample.item == unseen] = 7
    with torch.no_grad():
        full.item.weight[unseen] = full.item.weight[9]
    model = convert_factored(full, sample, seed=1, clusters=12)
    pairs = model.cache.pairs
    assert pairs.item.shape == (full.config.items,) and pairs.code.shape == (len(model.event_codes.rows),)
    assert set(pairs.item.tolist()) <= set(range(pairs.item_count))
    assert set(pairs.code.tolist()) <= set(range(pairs.code_count))
    assert pairs.count <= 12 and pairs.item_count > 1
    assert pairs.item[unseen] == pairs.item[9]
