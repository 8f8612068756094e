"""The scores of every family, full and as CollectiveKV, equal those of the oracle and ignore the future."""

from dataclasses import replace

import pytest
import torch

from bundle.golden_drawer import as_double
from conversion.factored import convert_factored
from conversion.residual import convert_residual
from data.history import Candidates, History
from models.caches.clustered_interactions import keep_interactions
from models.caches.full import KEPT
from models.compression import Compression
from models.families.registry import FAMILIES
from models.keep_full import keep_full
from models.oracle import Oracle
from models.ranker import Ranker
from testbed.random_models import random_history
from testbed.small_models import compress, doubled, padded_histories, random_candidates, small_full, user_dims_alone

FULL, ALONE = "full", "user dims alone"
FORMS = {
    FULL: None,
    "tied, coded": Compression(slots=12),
    "separate, int8, last head": Compression(slots=12, tied=False, user_form="last_head", user_type="int8"),
    "tied, coded, last head": Compression(slots=12, user_form="last_head"),
    "separate, float16": Compression(slots=12, tied=False, user_type="float16", user_width=3),
    "no user dims": Compression(slots=12, user_width=0),
    "keys alone shared": Compression(slots=12, share="keys", user_type="int8"),
    "values alone shared": Compression(slots=12, share="values", tied=False, user_form="last_head"),
    ALONE: Compression(user_type="int8", user_width=4),
}
FACTORED, INTERACTIONS, RESIDUAL = "factored pool", "clustered interactions", "residual codes"
CLUSTERED = (FACTORED, INTERACTIONS, RESIDUAL)
KEPT_FORMS = {f"full, kept as {kept}": kept for kept in KEPT}
LENGTHS = (0, 1, 4, 5, 6, 23, 30)


def in_form(full_model: Ranker, form: str) -> Ranker:
    if form == FULL:
        return full_model
    if form in (FACTORED, INTERACTIONS):
        sample = random_history(full_model.config, 20, 40, seed=1)
        factored = convert_factored(full_model, sample, seed=1, clusters=5, codes=16)
        return keep_interactions(factored) if form == INTERACTIONS else factored
    if form == RESIDUAL:
        sample = random_history(full_model.config, 20, 40, seed=1)
        return convert_residual(full_model, sample, seed=1, stages=3, clusters=5, codes=8)
    if form in KEPT_FORMS:
        return keep_full(full_model, KEPT_FORMS[form])
    return user_dims_alone(full_model, FORMS[form]) if form == ALONE else compress(full_model, FORMS[form])


def places(counts: list[list[int]]) -> torch.Tensor:
    return torch.tensor(counts)


@pytest.mark.parametrize(
    ("family", "form"),
    [
        *((name, form) for name, family in FAMILIES.items() for form in FORMS),
        *((name, form) for name, family in FAMILIES.items() for form in KEPT_FORMS if not family.stacked),
        *((name, form) for form in CLUSTERED for name, family in FAMILIES.items() if family.reads_clusters),
    ],
)
def test_a_family_scores_as_its_oracle(family: str, form: str) -> None:
    model = in_form(small_full(family, max_positions=16), form)
    history = padded_histories(model.config, LENGTHS, seed=3)
    longest = max(LENGTHS)
    now = places([[longest - length // 2, longest, longest] for length in LENGTHS])
    candidates = random_candidates(model.config, now, seed=4)
    with torch.no_grad():
        found = doubled(model)(as_double(history), as_double(candidates))
        close = model(history, candidates)
    oracle = Oracle(model)
    expected = torch.tensor(
        [[oracle.logit(history, candidates, b, c) for c in range(now.shape[1])] for b in range(len(LENGTHS))],
        dtype=torch.float64,
    )
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    # In float32, a few searches may cut at another position.
    assert ((close - expected).abs() < 1e-4).float().mean() > 0.9
    assert expected.std() > 0.01


def changed(history: History, where: torch.Tensor, items: int) -> History:
    """The history with other items, actions and features at `where` [B, N]."""
    return History(
        torch.where(where, (history.item + 5) % items, history.item),
        torch.where(where, (history.action + 1) % 4, history.action),
        torch.where(where[..., None], 1 - history.features, history.features),
        history.valid,
    )


def scored(model: Ranker, history: History, candidates: Candidates) -> torch.Tensor:
    with torch.no_grad():
        return model(history, candidates)


@pytest.mark.parametrize("form", [FULL, "tied, coded", "separate, int8, last head"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_score_ignores_padding_and_positions_at_or_after_its_place(family: str, form: str) -> None:
    model = in_form(small_full(family), form)
    history = padded_histories(model.config, (12, 20), seed=3)
    now = places([[14, 15], [3, 15]])
    candidates = random_candidates(model.config, now, seed=4)
    before = scored(model, history, candidates)
    for c in range(2):
        unseen = (torch.arange(20) >= now[:, c, None]) | ~history.valid
        after = scored(model, changed(history, unseen, model.config.items), candidates)
        assert torch.equal(after[:, c], before[:, c])
    shown = replace(history, valid=torch.ones_like(history.valid))
    assert not torch.equal(scored(model, shown, candidates)[0], before[0])  # padding counts if it is marked valid


@pytest.mark.parametrize("form", [FULL, "tied, coded"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_score_depends_on_every_kept_position_before_its_place(family: str, form: str) -> None:
    model = doubled(in_form(small_full(family), form))
    history = as_double(padded_histories(model.config, (12,), seed=3))
    candidates = as_double(random_candidates(model.config, places([[12, 10]]), seed=4))
    before = scored(model, history, candidates)
    kept = kept_positions(model, history, candidates)  # [1, C, N]
    for place in range(12):
        after = scored(model, changed(history, torch.arange(12)[None] == place, model.config.items), candidates)
        moved = (after - before).abs() > 1e-9
        assert (moved | ~kept[..., place]).all()
    assert kept.any(-1).all()


def kept_positions(model: Ranker, history: History, candidates: Candidates) -> torch.Tensor:
    """The positions [B, C, N] that the search keeps; without a search, the visible positions."""
    visible = torch.arange(history.item.shape[1]) < candidates.now[..., None]
    if model.config.family in ("hstu", "stca"):
        return visible
    item, attention = model.item(candidates.item), model.attention
    key = model.cache(model.embed_history(history)).key
    if model.config.family == "sdim":
        return visible & (attention.collisions(attention.query(item), key) > 0)
    return attention.select(item, attention.query(item), key, visible)


@pytest.mark.parametrize("family", ["sim", "twin", "eta"])
def test_a_search_keeps_the_top_k_and_all_that_tie_with_the_last_of_them(family: str) -> None:
    model = small_full(family)
    history = padded_histories(model.config, (30, 30, 30), seed=3)
    candidates = random_candidates(model.config, torch.full((3, 6), 30), seed=4)
    kept = kept_positions(model, history, candidates).sum(-1)
    assert (kept >= model.config.top_k).all() and (kept > model.config.top_k).any() and (kept < 30).all()


@pytest.mark.parametrize("form", [FULL, "tied, coded", "separate, int8, last head"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_query_scores_the_same_alone_and_within_its_sequence(family: str, form: str) -> None:
    model = doubled(in_form(small_full(family), form))
    lengths, longest = (3, 9, 14), 14
    history = as_double(padded_histories(model.config, lengths, seed=5))
    now = torch.stack([torch.arange(longest - length, longest + 1)[-4:] for length in lengths])
    now[2] = places([[0, 1, 6, 14]])
    candidates = as_double(random_candidates(model.config, now, seed=6))
    together = scored(model, history, candidates)
    for b, length in enumerate(lengths):
        for c in range(now.shape[1]):
            begin, end = longest - length, int(now[b, c])
            columns = (value[b : b + 1, begin:end] for value in vars(history).values())
            alone = Candidates(*(value[b : b + 1, c : c + 1] for value in vars(candidates).values()))
            alone.now = torch.tensor([[end - begin]])
            torch.testing.assert_close(
                scored(model, History(*columns), alone)[0, 0], together[b, c], atol=1e-10, rtol=0
            )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_candidate_sees_at_most_the_newest_max_positions(family: str) -> None:
    model = small_full(family, max_positions=6, layers=1)
    history = padded_histories(model.config, (20,), seed=3)
    candidates = random_candidates(model.config, torch.full((1, 5), 20), seed=4)
    older = torch.arange(20)[None] < 14
    before = scored(model, history, candidates)
    assert torch.equal(scored(model, changed(history, older, model.config.items), candidates), before)
    oldest_seen = torch.arange(20)[None] == 14
    assert not torch.equal(scored(model, changed(history, oldest_seen, model.config.items), candidates), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_that_a_candidate_does_not_see_get_no_gradient(family: str) -> None:
    model = small_full(family, items=40).train()
    history = padded_histories(model.config, (20,), seed=3)
    history.item[0] = torch.arange(1, 21)
    candidates = random_candidates(model.config, places([[12]]), seed=4)
    candidates.item[:] = 39
    loss = model(history, candidates).sum()
    if family == "sim":
        loss = loss + model.attention.auxiliary_logits.sum()
    loss.backward()
    learned = model.item.weight.grad.abs().sum(1) > 0  # [items]
    assert not learned[13:21].any() and learned[10:13].any()
