"""Writes test/fixtures/bundles: small bundles with random weights, one a family and the twin in full, for other tests.

python training/make_fixtures.py            # remakes all; the same bytes every time on one machine
"""

from pathlib import Path

import torch

from bundle.export import Export, export_bundle
from bundle.twin_record import keep_twin
from data.features import Feature
from models.config import ModelConfig
from models.history_cache import Compression
from models.ranker import Ranker
from testbed.random_models import ACTIONS, catalogue_log, random_model, random_twin

FOLDER = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "bundles"
ITEMS, POSITIONS = 120, 400
VARIANTS = {
    "sim": Compression(slots=48),
    "sdim": Compression(slots=48, user_type="float16"),
    "eta": Compression(slots=300, user_type="int8"),
    "twin": Compression(slots=48, tied=False, user_form="last_head", user_type="int8"),
    "hstu": Compression(slots=48),
}
TWINS = {"full_fp16": "float16", "full_fp32": "float32", "recompute": "interactions"}  # of one twin, kept in full


def fixture_config(family: str, d_model: int = 32) -> ModelConfig:
    return ModelConfig(
        family,
        ITEMS + 1,
        len(ACTIONS),
        [Feature("watch_ratio")],
        [Feature("freshness")],
        [Feature("hour", 0, 24, 12, period=True)],
        embedding=16,
        d_model=d_model,
        heads=4,
        layers=2 if family == "hstu" else 1,
        hidden=16,
        top_k=20,
        recent=8,
        hash_bits=32,
        hashes=12,
        bits_per_hash=2,
        max_positions=POSITIONS,
    )


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for family, compression in VARIANTS.items():
        write(random_model(random_twin(fixture_config(family)), compression), folder / family)
    twin = random_twin(fixture_config("target", d_model=72))  # rows that need both bytes of the stride
    for name, kept in TWINS.items():
        write(keep_twin(twin, kept), folder / name, golden_positions=40)


def write(model: Ranker, folder: Path, golden_positions: int | None = None) -> None:
    name = f"fixture-{folder.name.replace('_', '-')}"
    about = Export(name, "python training/make_fixtures.py", {}, POSITIONS, golden_positions)
    print(folder.name, export_bundle(model, catalogue_log(model.config), folder, about), flush=True)


if __name__ == "__main__":
    main(FOLDER)
