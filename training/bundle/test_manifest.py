"""The manifest describes the bundle, and the same model gives the same bytes."""

import hashlib
import json
from pathlib import Path

import pytest

import make_fixtures
from bundle.export import Export, export_bundle
from bundle.record import row_bytes
from models.compression import Compression
from testbed.built_bundles import (
    Built,
    build,
    export,
)
from testbed.random_models import catalogue_log
from testbed.small_models import compress, small_full


def test_a_record_row_has_the_reported_bytes(built: Built) -> None:
    assert built.bundle.row_bytes() == row_bytes(built.model)


def test_the_manifest_describes_the_model(built: Built) -> None:
    manifest, config = built.bundle.manifest, built.model.config
    layers = config.layers if config.family == "stca" else 1  # side by side
    assert (manifest["dModel"], manifest["heads"]) == (layers * config.d_model, layers * config.heads)
    assert manifest["maxPositions"] == built.variant.max_positions
    assert manifest["actions"] == ["<unknown>", "skip", "click", "like"]
    assert manifest["items"]["count"] == config.items == len(built.bundle.items)
    for kind in ("interaction", "candidate", "context"):
        assert manifest["features"][kind] == [
            {"name": f.name, "default": f.default, "min": f.low, "max": f.high}
            for f in getattr(config, f"{kind}_features")
        ]


def test_the_manifest_describes_the_shared_pool(built_shared: Built) -> None:
    manifest, config, c = built_shared.bundle.manifest, built_shared.model.config, built_shared.variant.compression
    fields = built_shared.bundle.fields.values()
    coded = c.user_type == "codebook" and c.user_width > 0
    # STCA has one record layer: its pool rows hold all attention layers.
    layers, attention_layers = (1, config.layers) if config.family == "stca" else (config.layers, 1)
    assert sum(f["kind"] == "route" for f in fields) == layers * ((1 if c.tied else 2) + coded)
    plain = [f for f in fields if f["kind"] == "user"]
    assert len(plain) == (0 if coded or not c.user_width else 2 * layers)
    assert all(f["type"] == c.user_type and f["width"] == c.user_width for f in plain)
    routes = [f for f in fields if f["kind"] == "route"]
    assert all(f["type"] == ("uint8" if f["slots"] <= 256 else "uint16") for f in routes)
    width = attention_layers * config.d_model - (c.user_width if c.user_form == "last_head" else 0)
    pools = [group["pool"] for group in manifest["groups"]]
    assert pools.count({"slots": c.slots, "keyWidth": width, "valueWidth": width}) == layers
    assert len(pools) == layers * (1 + coded)


def test_the_manifest_lists_every_file_with_its_digest(built: Built) -> None:
    folder = built.bundle.folder
    for file in built.bundle.manifest["files"]:
        content = (folder / file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {file["path"] for file in built.bundle.manifest["files"]} == written - {"bundle.json"}
    content = (folder / "bundle.json").read_bytes()
    assert built.bundle_id == hashlib.sha256(content).hexdigest()[:16]


def test_the_same_model_gives_the_same_bytes_in_place_of_an_older_bundle(built: Built, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "old").write_text("of another bundle")
    (tmp_path / "again" / "bundle.json").write_text("{}")
    assert export(built.variant, build(built.variant), tmp_path / "again") == built.bundle_id
    assert [path.name for path in tmp_path.iterdir()] == ["again"]
    assert not (tmp_path / "again" / "old").exists()


@pytest.mark.parametrize("family", ["target", "hstu"])
def test_a_model_that_does_not_share_both_keys_and_values_is_refused_with_the_remedy(
    family: str, tmp_path: Path
) -> None:
    full = small_full(family)
    for model in (full, *(compress(full, Compression(slots=12, share=share)) for share in ("keys", "values"))):
        with pytest.raises(ValueError, match="share='both'"):
            export_bundle(model, catalogue_log(model.config), tmp_path / "bundle", Export("small", "none"))
        assert not (tmp_path / "bundle").exists()


def test_a_bundle_with_another_encoding_than_the_required_one_is_not_written(tmp_path: Path) -> None:
    model = compress(small_full("target"), Compression(slots=12))
    about = Export("small", "none", encoding_id="0" * 16)
    with pytest.raises(RuntimeError, match="not 0000000000000000"):
        export_bundle(model, catalogue_log(model.config), tmp_path / "bundle", about)
    assert list(tmp_path.iterdir()) == []


def test_make_fixtures_writes_the_committed_fixtures(tmp_path: Path) -> None:
    make_fixtures.main(tmp_path)
    families = sorted(path.name for path in tmp_path.iterdir())
    assert families == sorted(
        [*make_fixtures.VARIANTS, *make_fixtures.FACTORED, make_fixtures.RESIDUAL, *make_fixtures.FULL_FORMS]
    )
    assert families == sorted(path.name for path in make_fixtures.FOLDER.iterdir())
    for family in families:
        made, kept = (
            json.loads((folder / family / "bundle.json").read_text()) for folder in (tmp_path, make_fixtures.FOLDER)
        )
        for manifest in (made, kept):  # figures may differ from machine to machine in their last digits
            manifest["files"] = [file["path"] for file in manifest["files"]]
            for record_field in manifest["record"]["fields"]:
                record_field["scale"] = len(record_field.get("scale", []))
        assert made == kept
        names = [
            [(case["graph"], case["name"], sorted(case["inputs"])) for case in golden["cases"]]
            for golden in (
                json.loads((folder / family / "golden" / "tensors.json").read_text())
                for folder in (tmp_path, make_fixtures.FOLDER)
            )
        ]
        assert names[0] == names[1]
