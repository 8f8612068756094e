"""The rank_batch graph of every family scores a batch of users as the rank graph scores them one by one."""

import numpy as np
import pytest

from bundle.golden_drawer import Drawer, score
from testbed.built_bundles import ROUNDED, TOLERANCE, Built, K, interactions_of, request_of
from testbed.random_models import catalogue_log

LENGTHS = (0, 1, K - 1, K, 9, 40, 0, 2)  # positions of the users, again and again


@pytest.fixture
def batched(built: Built) -> Built:
    if "rankBatch" not in built.bundle.manifest["graphs"]:
        pytest.skip("the family has no graph for a batch of users")
    return built


def requests_of(built: Built, users: int) -> tuple[list[tuple], list[np.ndarray]]:
    """Returns requests of users with histories and candidates of many lengths, and the scores of each by PyTorch."""
    model, log = built.model, catalogue_log(built.model.config)
    draw = Drawer(model, np.random.default_rng(users))
    drawn = []
    for i, length in enumerate(LENGTHS[:users]):
        history = draw.history(min(length, built.variant.max_positions))
        candidates = draw.candidates(history, 1 + i % 4)
        fields = built.bundle.encode(interactions_of(log, model, history))
        drawn.append(((fields, *request_of(log, model, candidates)), score(model, history, candidates).numpy()))
    requests, expected = zip(*(drawn[i % len(drawn)] for i in range(users)))
    return list(requests), list(expected)


@pytest.mark.parametrize("users", [1, 3, 64])
def test_a_batch_of_users_with_histories_of_many_lengths_scores_as_they_do_one_by_one(
    batched: Built, users: int
) -> None:
    requests, expected = requests_of(batched, users)
    scores = batched.bundle.rank_batch(requests)
    assert scores.shape == (users, max(map(len, expected))) and not np.isnan(scores).any()
    tolerance = ROUNDED if batched.variant.kept == "float16" else TOLERANCE
    for found, wanted, request in zip(scores, expected, requests):
        np.testing.assert_allclose(found[: len(wanted)], wanted, atol=tolerance)
        np.testing.assert_allclose(found[: len(wanted)], batched.bundle.rank(*request), atol=tolerance)
    if users == 64:
        assert np.concatenate(expected).std() > 1e-3


def test_a_history_of_padding_alone_scores_as_an_empty_one(batched: Built) -> None:
    bundle = batched.bundle
    ((_, *request),), _ = requests_of(batched, 1)
    requests, _ = requests_of(batched, 8)
    alone = bundle.rank(bundle.empty(), *request)
    beside_long = bundle.rank_batch([*requests, (bundle.empty(), *request)])[-1, : len(alone)]
    np.testing.assert_allclose(beside_long, alone, atol=TOLERANCE)
    np.testing.assert_allclose(bundle.rank_batch([(bundle.empty(), *request)])[0], alone, atol=TOLERANCE)


def test_the_graph_takes_the_inputs_of_the_rank_graph_with_an_axis_of_users_and_counts_of_rows(batched: Built) -> None:
    graphs = batched.bundle.manifest["graphs"]
    inputs = {x["name"]: x for x in graphs["rankBatch"]["inputs"]}
    counts = [x for x in inputs.values() if x["role"] == "row_count"]
    for x in graphs["rank"]["inputs"]:
        assert inputs[x["name"]] == x | {"shape": ["users", *x["shape"]]}
    assert len(inputs) == len(graphs["rank"]["inputs"]) + len(counts)
    counted = {x["shape"][0] for x in graphs["rank"]["inputs"] if x["role"] in ("slot_counts", "cluster_counts")}
    axes = {x["shape"][0] for x in graphs["rank"]["inputs"]} - {"candidates", 1}
    assert {x["axis"] for x in counts} == axes - counted


def test_only_families_whose_rows_depend_on_each_other_or_are_made_in_the_graph_have_no_such_graph(
    built: Built,
) -> None:
    stacked, made = built.variant.family == "hstu", built.bundle.manifest["description"].count("computed from the")
    clustered = built.variant.clustered is not None
    assert ("rankBatch" in built.bundle.manifest["graphs"]) == (not stacked and not (made and clustered))


def test_the_graph_adds_few_bytes_to_a_bundle_because_it_shares_the_parameters(batched: Built) -> None:
    folder, graphs = batched.bundle.folder, batched.bundle.manifest["graphs"]
    batch, single = ((folder / graphs[name]["file"]).stat().st_size for name in ("rankBatch", "rank"))
    assert batch < 2.5 * single
