"""The counts of slots that a bundle has of its training."""

import hashlib
import json
from pathlib import Path

import numpy as np

from bundle.encoding_id import encoding_id
from bundle.export import Export, export_bundle
from bundle.record import encode
from bundle.slot_usage import count_slots
from make_fixtures import fixture_config
from models.compression import Compression
from testbed.random_models import catalogue_log, random_full, random_history, random_model


def test_counts_are_those_of_the_encoded_positions(tmp_path: Path) -> None:
    config = fixture_config("target")
    model = random_model(random_full(config), Compression(slots=48))
    sample = random_history(config, 40, 30, seed=3)
    counts = count_slots(model, sample)
    assert counts
    for name, values in encode(model, sample).fields.items():
        if name not in counts:
            continue
        slots = values[sample.valid].flatten().long().numpy()
        assert counts[name].tolist() == np.bincount(slots, minlength=len(counts[name])).tolist()


def test_a_bundle_lists_its_counts_and_keeps_its_encoding(tmp_path: Path) -> None:
    config = fixture_config("target")
    model = random_model(random_full(config), Compression(slots=48))
    sample = random_history(config, 40, 30, seed=3)
    manifests = []
    for name, given in (("plain", None), ("counted", sample)):
        export_bundle(model, catalogue_log(config), tmp_path / name, Export(name, "test", {}, 40, sample=given))
        manifests.append(json.loads((tmp_path / name / "bundle.json").read_text()))
    plain, counted = manifests
    assert "slotUsage" not in plain["training"]
    assert encoding_id(plain) == encoding_id(counted)
    files = {file["path"]: file for file in counted["files"]}
    routes = [field["name"] for field in counted["record"]["fields"] if field["kind"] == "route"]
    assert [entry["field"] for entry in counted["training"]["slotUsage"]] == routes
    for entry in counted["training"]["slotUsage"]:
        content = (tmp_path / "counted" / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == files[entry["file"]]["sha256"]
        assert int(np.frombuffer(content, "<u4").sum()) == entry["positions"] == int(sample.valid.sum())
