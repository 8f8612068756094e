"""A full model becomes residual codes: its scores, and the rows of the stages."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from conversion.residual import convert_residual, residual_codes
from data.history import History
from models.families.registry import FAMILIES, family_of
from models.ranker import Ranker
from testbed.small_models import padded_histories, random_candidates, sample_of, small_full

READERS = [name for name, family in FAMILIES.items() if family.reads_clusters]
ITEMS, ACTIONS = 6, 4  # of tokens_only


def tokens_only(family: str = "target") -> Ranker:
    """A full model with 24 kinds of positions."""
    return small_full(family, items=ITEMS, actions=ACTIONS, interaction_features=[])


def scores(model: Ranker, history: History) -> Tensor:
    candidates = random_candidates(model.config, torch.full((len(history.item), 8), history.item.shape[1]), seed=4)
    with torch.no_grad():
        return model(history, candidates)


@pytest.mark.parametrize("stages", [1, 3])
@pytest.mark.parametrize("family", READERS)
def test_a_row_for_every_kind_of_position_gives_the_scores_of_the_full_model(family: str, stages: int) -> None:
    full = tokens_only(family)
    model = convert_residual(full, sample_of(full), seed=1, stages=stages, clusters=ITEMS * ACTIONS)
    history = padded_histories(full.config, (30, 7, 0), seed=3, tokens=5)
    expected = scores(full, history)
    torch.testing.assert_close(scores(model, history), expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.01
    coarse = convert_residual(full, sample_of(full), seed=1, stages=1, clusters=2)
    assert (scores(coarse, history) - expected).abs().max() > 1e-3


def test_more_stages_give_scores_nearer_to_those_of_the_full_model() -> None:
    full = small_full("target")
    history = padded_histories(full.config, (30, 20), seed=3)
    expected = scores(full, history)
    found = [convert_residual(full, sample_of(full), 1, stages, clusters=256) for stages in (1, 2, 4)]
    error = [float((scores(model, history) - expected).abs().mean()) for model in found]
    assert error[0] > 1.5 * error[1] and error[1] > 1.5 * error[2]


def test_a_conversion_leaves_the_full_model_as_it_was_and_freezes_what_codes_depend_on() -> None:
    full = small_full("target")
    before = {name: x.clone() for name, x in full.state_dict().items()}
    model = convert_residual(full, sample_of(full), seed=1, stages=2, clusters=8, codes=8)
    assert all(torch.equal(x, before[name]) for name, x in full.state_dict().items())
    assert full.position_codes is None
    learned = {name for name, x in model.named_parameters() if x.requires_grad}
    assert {"cache.key.weight", "attention.query.weight", "scorer.mix.weight"} <= learned
    assert not [name for name in learned if name.startswith(("item", "action", "interaction", "position_codes"))]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in READERS])
def test_a_family_whose_attention_cannot_read_cluster_means_is_refused(family: str) -> None:
    full = small_full(family)
    with pytest.raises(ValueError, match=f"the attention of {family_of(full).title} cannot read cluster means"):
        convert_residual(full, sample_of(full), seed=1, stages=2)


# The stages

SPACE = torch.diag(torch.tensor([1.0, 2.0, 0.0]))  # distances ignore the last column


def embeddings(count: int = 400) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(1))


def test_a_code_is_the_nearest_row_to_what_is_left_and_a_row_is_the_mean_of_what_it_was_made_from() -> None:
    s = embeddings()
    found = residual_codes(s, SPACE, [8, 4, 4], seed=1)
    code, left = found.route(s), s
    for j, rows in enumerate(found.rows):
        distance = ((left[:, None] - rows) @ SPACE).square().sum(-1)
        assert torch.equal(distance.argmin(-1), code[:, j])
        for c in range(len(rows)):  # one more step of k-means hardly moves a row
            torch.testing.assert_close(rows[c], left[code[:, j] == c].mean(0), atol=0.05, rtol=0)
        left = left - rows[code[:, j]]
    torch.testing.assert_close(found.sums(code), s - left)


def test_each_stage_leaves_less_over() -> None:
    s = embeddings()
    stages = [residual_codes(s, SPACE, [16] * count, seed=1) for count in (1, 2, 3, 4)]
    left = [((s - found.sums(found.route(s))) @ SPACE).square().mean() for found in stages]
    assert all(after < 0.4 * before for before, after in pairwise(left))


def test_stages_behind_an_exact_one_have_one_row_that_changes_nothing() -> None:
    s = embeddings(10)[torch.arange(300) % 10]
    found = residual_codes(s, SPACE, [16, 16], seed=1)
    torch.testing.assert_close(found.sums(found.route(s))[:, :2], s[:, :2])
    assert len(found.route(s)[:, 0].unique()) == 10 and len(found.route(s)[:, 1].unique()) == 1
    nudged = s * (1 + 1e-6)
    assert torch.equal(found.route(nudged), found.route(s))


def test_a_row_that_no_position_has_is_never_chosen() -> None:
    found = residual_codes(embeddings(5), SPACE, [16], seed=1)
    assert set(found.route(10 * embeddings(4000))[:, 0].tolist()) == set(found.route(embeddings(5))[:, 0].tolist())
