"""Bytes against quality on a small data set."""

import json
from pathlib import Path

import pytest

from bundle.record_bytes import bytes_per_position
from quality import factored, frontier, protocol


def test_the_records_of_one_full_model_are_measured_with_their_bytes(
    tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontier, "POOLS", [4, 300])
    monkeypatch.setattr(frontier, "STAGES", [1, 3])
    monkeypatch.setattr(frontier, "CLUSTERS", 6)
    monkeypatch.setattr(factored, "LONG", 20)
    rows = frontier.measure_frontier(protocol.Job("tiny", "target", 1), tiny_dataset)
    log, _ = protocol.read_dataset("tiny", tiny_dataset)
    expected = {
        ("full", 0): (2 * 16 * 4, 0),
        ("pool", 4): (1, 4 * 4 * 2 * 16),
        ("pool", 300): (2, 4 * 300 * 2 * 16),
        ("residual", 1): (1, 4 * 8 * 6),
        ("residual", 3): (3, 4 * 8 * (6 + 2 * 256)),
        ("factored", len(log.items)): (2, 4 * 8 * (len(log.items) + 2 * 2)),  # two actions
    }
    assert [(row["variant"], row["size"]) for row in rows] == list(expected)
    for row in rows:
        row_bytes, table_bytes = expected[row["variant"], row["size"]]
        assert (row["rowBytes"], row["tableBytes"]) == (row_bytes, table_bytes)
        if row["variant"] != "full":
            assert row["bytesAt1000"] == round(bytes_per_position(row_bytes, [20]), 2)
        assert (row["dataset"], row["seed"]) == ("tiny", 1) and 0 <= row["auc"] <= 1
    json.dumps(rows, allow_nan=False)
