"""Training learns from histories, repeats by its seed, and goes on after an interruption."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook

from conversion.convert import with_new_pool
from data.batches import batches, cut_blocks, pack_blocks
from data.history import Candidates, History
from data.log import Log, log_from_table
from data.split import split_log
from data.test_log import COLUMNS, table
from fitting import fit as fit_module
from fitting.fit import FitConfig, evaluate, fit, model_loss, predict, replace_some
from models.compression import Compression
from models.families.registry import FAMILIES, create_full
from models.ranker import Ranker
from testbed.small_logs import planted_log, random_log
from testbed.small_models import compress, small_config, small_full

SMALL = {"interaction_features": [], "candidate_features": [], "context_features": []}


def every(log: Log) -> np.ndarray:
    return np.ones(len(log.query_label), bool)


def same_weights(a: Ranker, b: Ranker) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


def fresh_model(family: str, log: Log, **changes) -> Ranker:
    torch.manual_seed(1)
    return create_full(small_config(family, items=len(log.items), actions=len(log.actions), **SMALL, **changes))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_learns_tastes_that_only_histories_tell(family: str) -> None:
    log = planted_log()
    split = split_log(log, "users:0.25")
    model = fresh_model(family, log)
    losses = fit(model, log, split.train, FitConfig(12, 2e-2, batch=256, block=32))
    assert evaluate(model, log, split.test).auc > 0.9 and evaluate(model, log, split.test).gauc > 0.9
    assert abs(evaluate(model, log, split.test, history=False).auc - 0.5) < 0.1
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_learns_random_labels_as_it_would_with_a_leak(family: str) -> None:
    log = planted_log(signal=False)
    split = split_log(log, "users:0.25")
    model = fresh_model(family, log)
    fit(model, log, split.train, FitConfig(12, 2e-2, batch=256, block=32))
    assert abs(evaluate(model, log, split.test).auc - 0.5) < 0.1


def test_a_prediction_does_not_depend_on_its_own_moment_or_later_ones() -> None:
    """The log's table has other actions, labels and features at a moment and at all later ones."""
    random = np.random.default_rng(1)
    users, items, actions = ("u0", "u1"), "abcde", ("like", "skip")
    rows = [
        (str(random.choice(users)), str(random.choice(list(items))), int(time), str(random.choice(actions)))
        + (float(random.integers(0, 2)), float(random.random()), 1.0, 1.0)
        for time in random.integers(0, 15, 60)
    ]
    model = small_full("target", items=6, actions=3)
    before = log_from_table(table(rows), COLUMNS)
    scores = predict(model, before, every(before))
    for moment in range(15):
        other = [
            row if row[2] < moment else (*row[:3], "like" if row[3] == "skip" else "skip", 1 - row[4], 1 - row[5], 1, 1)
            for row in rows
        ]
        after = log_from_table(table(other), COLUMNS)
        changed = predict(model, after, every(after)) != scores
        assert not changed[before.query_time <= moment].any()
        assert moment > 10 or changed.any()


def test_scores_of_a_split_do_not_depend_on_how_queries_share_blocks_and_batches() -> None:
    log = random_log(3, longest=300, users=5)
    model = small_full("hstu", max_positions=1000)
    together = predict(model, log, every(log))
    for query in range(0, len(together), 29):
        alone = predict(model, log, np.arange(len(together)) == query)
        np.testing.assert_allclose(alone, together[query], atol=1e-5)


def test_without_history_a_query_sees_no_position() -> None:
    log = random_log(3)
    model = small_full("target")
    blind = replace(log, query_now=np.zeros_like(log.query_now))
    np.testing.assert_array_equal(
        predict(model, log, every(log), history=False), predict(model, blind, every(blind), history=True)
    )


@pytest.mark.parametrize("family", ["target", "hstu"])
def test_equal_seeds_give_equal_weights_and_other_seeds_other_weights(family: str) -> None:
    log = random_log(5, users=12)
    models = [small_full(family, dropout=0.2) for _ in range(3)]
    losses = [
        fit(model, log, every(log), FitConfig(2, 1e-2, batch=64, block=16, seed=seed))
        for model, seed in zip(models, (1, 1, 2))
    ]
    assert same_weights(models[0], models[1]) and losses[0] == losses[1]
    assert not same_weights(models[0], models[2])


class Interrupted(Exception):
    pass


def interrupt_after(steps: int, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """Fails after `steps` steps. Writes only the checkpoints at multiples of `kept` steps."""
    taken = 0

    def failing(*arguments) -> torch.Tensor:
        nonlocal taken
        taken += 1
        if taken > steps:
            raise Interrupted
        return model_loss(*arguments)

    def some(path: Path, state: fit_module.Progress, *parts) -> None:
        if state.step % kept == 0:
            save(path, state, *parts)

    save = fit_module.save
    monkeypatch.setattr(fit_module, "model_loss", failing)
    monkeypatch.setattr(fit_module, "save", some)
    monkeypatch.setattr(fit_module, "SAVE_SECONDS", -1.0)


def model_to_interrupt(kind: str) -> Ranker:
    if kind == "published":
        return with_new_pool(small_full("target", dropout=0.2), Compression(slots=12, gate=True), seed=1)
    if kind == "converted":
        return compress(small_full("sdim", dropout=0.2), Compression(slots=12))
    return small_full(kind, dropout=0.2)


@pytest.mark.parametrize("kind", ["sim", "hstu", "published", "converted"])
@pytest.mark.parametrize(("steps", "kept"), [(0, 1), (4, 1), (8, 3)])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(
    kind: str, steps: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = random_log(5, users=12)
    config = FitConfig(3, 1e-2, batch=128, block=16, weight_decay=0.01, unknown=0.1, no_history=0.1)
    whole, parted = model_to_interrupt(kind), model_to_interrupt(kind)
    teacher = small_full("target") if kind == "converted" else None
    losses = fit(whole, log, every(log), config, teacher=teacher)
    path = tmp_path / "part"
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt_after(steps, patch, kept)
        fit(parted, log, every(log), config, checkpoint=path, teacher=teacher)
    assert path.exists() == (steps > 0)
    again = model_to_interrupt(kind)  # as a new process has it
    torch.manual_seed(99)
    assert fit(again, log, every(log), config, checkpoint=path, teacher=teacher) == losses
    assert same_weights(again, whole) and not same_weights(again, model_to_interrupt(kind))
    assert list(tmp_path.iterdir()) == []


def test_training_ends_even_if_a_later_shuffle_gives_fewer_batches() -> None:
    for seed in range(50):
        log = random_log(seed, users=30)
        blocks = cut_blocks(log, every(log), 128, 128)
        counts = [len(pack_blocks(blocks, 128, np.random.default_rng(x))) for x in (0, [1, 0], [1, 1])]
        if min(counts[1:]) < counts[0]:
            break
    assert min(counts[1:]) < counts[0]
    taken: list[int] = []
    model = small_full("target")
    model.register_forward_hook(lambda *_: taken.append(1))
    fit(model, log, every(log), FitConfig(2, 1e-3, batch=128, block=128))
    assert len(taken) == 2 * counts[0]


def test_every_epoch_has_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    log = random_log(5, users=30)
    seen: list[list[int]] = []

    def noted(model: Ranker, batch, *rest) -> torch.Tensor:
        seen.append(sorted(batch.query[batch.query >= 0].tolist()))
        return model_loss(model, batch, *rest)

    monkeypatch.setattr(fit_module, "model_loss", noted)
    fit(small_full("target"), log, every(log), FitConfig(2, 1e-3, batch=64, block=16))
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert len(first) == len(second) and first != second


@pytest.mark.parametrize("steps", [1, 2, 8, 9, 10, 19, 30])
def test_training_takes_the_steps_of_its_epochs_while_the_rate_rises_and_falls(steps: int) -> None:
    log = random_log(5, users=12)
    per_epoch = len(pack_blocks(cut_blocks(log, every(log), 16, 16), 128, np.random.default_rng(0)))
    model, rates = small_full("target"), []

    def noted(optimiser, *_) -> None:
        rates.append(optimiser.param_groups[0]["lr"])

    hook = register_optimizer_step_pre_hook(noted)
    losses = fit(model, log, every(log), FitConfig(steps / per_epoch, 1e-2, batch=128, block=16))
    hook.remove()
    assert len(rates) == len(losses) == steps
    assert max(rates) == pytest.approx(1e-2, rel=0.3) or steps == 1
    assert rates[-1] < 0.5 * max(rates) or steps < 3


def test_an_epoch_learns_from_every_chosen_query_and_from_no_other() -> None:
    log = random_log(5, users=12)
    chosen = np.random.default_rng(1).random(len(log.query_label)) < 0.5
    full = small_full("target")
    before = predict(full, log, every(log))

    def weights(labels: np.ndarray) -> Ranker:
        model = copy.deepcopy(full)
        fit(model, replace(log, query_label=labels), chosen, FitConfig(1, 1e-2, batch=10**6, block=10**6))
        return model

    learned = weights(log.query_label)
    assert not np.array_equal(predict(learned, log, every(log)), before)
    assert same_weights(weights(np.where(chosen, log.query_label, 1 - log.query_label)), learned)
    for query in np.flatnonzero(chosen)[::40]:
        labels = log.query_label.copy()
        labels[query] = 1 - labels[query]
        assert not same_weights(weights(labels), learned)


def one_batch(log: Log):
    chosen = every(log)
    (batch,) = batches(log, chosen, cut_blocks(log, chosen, 100, 100), 10**6, None, "cpu")
    return batch


def test_a_share_of_items_and_actions_becomes_unknown_and_of_histories_empty() -> None:
    torch.manual_seed(1)
    batch = one_batch(random_log(5, users=40))
    before = copy.deepcopy(batch)
    replace_some(batch, FitConfig(1, 1, unknown=0.3, no_history=0.1))
    for column, old in (
        (batch.history.item, before.history.item),
        (batch.history.action, before.history.action),
        (batch.candidates.item, before.candidates.item),
    ):
        lost = column != old
        assert abs(lost.float().mean() - 0.3) < 0.05 and not column[lost].any()
    lost = (batch.candidates.now != before.candidates.now)[before.candidates.now > 0]
    assert abs(lost.float().mean() - 0.1) < 0.05
    untouched = copy.deepcopy(before)
    replace_some(untouched, FitConfig(1, 1, unknown=0, no_history=0))
    assert torch.equal(untouched.history.item, before.history.item)
    assert torch.equal(untouched.candidates.now, before.candidates.now)


def test_the_loss_is_against_labels_or_against_labels_mixed_with_the_teachers_probabilities() -> None:
    batch = one_batch(random_log(5))
    model, teacher = small_full("target", seed=1).train(), small_full("target", seed=2)
    p = torch.sigmoid(model(batch.history, batch.candidates))[batch.chosen]
    taught = torch.sigmoid(teacher(batch.history, batch.candidates))[batch.chosen]
    label = batch.label[batch.chosen]
    for target, found in (
        (label, model_loss(model, batch)),
        (0.3 * label + 0.7 * taught, model_loss(model, batch, teacher, 0.7)),
    ):
        torch.testing.assert_close(found, -(target * p.log() + (1 - target) * (1 - p).log()).mean())


def test_the_loss_includes_those_of_the_search_unit_and_the_published_recipe() -> None:
    batch = one_batch(random_log(5))
    sim = small_full("sim").train()
    logits = sim(batch.history, batch.candidates)[batch.chosen]
    found = sim.attention.auxiliary_logits[batch.chosen]
    label = batch.label[batch.chosen]
    expected = F.binary_cross_entropy_with_logits(logits, label) + F.binary_cross_entropy_with_logits(found, label)
    torch.testing.assert_close(model_loss(sim, batch), expected)
    gated = with_new_pool(small_full("target"), Compression(slots=12, gate=True), seed=1).train()
    logits = gated(batch.history, batch.candidates)[batch.chosen]
    expected = F.binary_cross_entropy_with_logits(logits, label) + gated.cache.auxiliary_loss
    assert gated.cache.auxiliary_loss > 0.01
    torch.testing.assert_close(model_loss(gated, batch), expected)


def test_the_loss_of_the_search_unit_depends_only_on_visible_positions() -> None:
    sim = small_full("sim").train()
    ones = torch.ones(1, 8, dtype=torch.int64)
    history = History(torch.arange(1, 9)[None], ones, torch.rand(1, 8, 1), ones.bool())
    candidates = Candidates(torch.tensor([[20, 21]]), torch.ones(1, 2, 1), torch.ones(1, 2, 1), torch.tensor([[0, 4]]))
    sim(history, candidates)
    attention, kv, item = sim.attention, sim.cache(sim.embed_history(history)), sim.item(candidates.item)
    weights = (attention.search_query(item)[0, 1] @ kv.key[0, :4].T / 16**0.5).exp()
    found = (weights @ kv.value[0, :4]) / (weights.sum() + 1)  # beside a position of zeros
    expected = torch.stack([(attention.search_out(x) * y).sum() for x, y in zip((0 * found, found), item[0])])
    torch.testing.assert_close(attention.auxiliary_logits[0], expected, atol=1e-5, rtol=1e-4)
