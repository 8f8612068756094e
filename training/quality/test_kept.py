"""What a kept encoding costs, on small data: who learns from what, and whose rows each model reads."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from quality import kept, protocol
from quality.kept import cases, early_queries, kept_encoding, known_items, measure_kept
from testbed.small_logs import random_log

JOB = protocol.Job("tiny", "target", 1)


def test_the_older_model_learns_from_the_earlier_half_of_the_training(tiny_dataset: Path) -> None:
    log, split = protocol.read_dataset("tiny", tiny_dataset)
    early = early_queries(log, split)
    late = split.train & ~early
    assert 0 < early.sum() <= late.sum() and not (early & split.test).any()
    assert log.query_time[early].max() < log.query_time[late].min()


@pytest.mark.parametrize("seed", range(6))
def test_the_older_catalogue_has_the_items_of_the_early_queries_and_histories_alone(seed: int) -> None:
    log = random_log(seed)
    early = np.random.default_rng(seed).random(len(log.query_item)) < 0.3
    wanted = {0}
    for query, user in enumerate(log.query_user()):
        if early[query]:
            history = log.item[log.starts[user] : log.starts[user] + log.query_now[query]]
            wanted |= {int(log.query_item[query]), *history.tolist()}
    assert known_items(log, early) == [log.items[i] for i in sorted(wanted)]


def test_every_record_is_measured_with_every_encoding_on_the_same_queries(
    tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "known_items", lambda log, _: log.items[:-8])
    rows = measure_kept(JOB, tiny_dataset)
    named = [(row["variant"], row["encoding"]) for row in rows]
    encodings = ("new", "new, older catalogue", "kept", "not retrained")
    assert named == [(record, encoding) for record in ("factored", "residual") for encoding in encodings]
    for record, distinct in (("residual", 4), ("factored", 3)):  # so few events that any codes are exact
        assert len({(row["auc"], row["logloss"]) for row in rows if row["variant"] == record}) >= distinct
    assert {row["laterItems"] for row in rows} == {8} and all(row["laterShare"] > 0 for row in rows)
    assert len({row["earlyQueries"] for row in rows}) == 1 and rows[0]["earlyQueries"] < rows[0]["trainQueries"]
    json.dumps(rows, allow_nan=False)


def test_the_kept_encoding_gives_the_rows_of_the_older_model_and_a_new_one_does_not(tiny_dataset: Path) -> None:
    log, split = protocol.read_dataset("tiny", tiny_dataset)
    early = early_queries(log, split)
    adopted = log.with_vocabularies(known_items(log, early), log.actions)
    models = {(record, encoding): model for record, encoding, model, _ in cases(JOB, log, adopted, split, early)}
    arms = protocol.arms_of(JOB, adopted, split, kept.Compression())
    for record in kept.RECORDS:
        found = {encoding: kept_encoding(models[record, encoding], arms).parameters for _, encoding in models}
        older, same, other = (found[name] for name in ("not retrained", "kept", "new, older catalogue"))
        assert older.keys() == same.keys() == other.keys() and older
        assert all(torch.equal(older[name], same[name]) for name in older)
        assert not all(torch.equal(older[name], other[name]) for name in older)
