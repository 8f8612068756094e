"""Writes test/fixtures/bundles: one small bundle a family, with random weights, for tests that need no Python.

python training/make_fixtures.py            # remakes all; the same bytes every time on one machine
"""

from pathlib import Path

import torch

from cache import Compression
from export import Export, export_bundle
from features import Feature
from model import ModelConfig
from random_models import ACTIONS, catalogue_log, random_model, random_twin

FOLDER = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "bundles"
ITEMS, POSITIONS = 120, 400
VARIANTS = {
    "sim": Compression(slots=48),
    "sdim": Compression(slots=48, user_type="float16"),
    "eta": Compression(slots=300, user_type="int8"),
    "twin": Compression(slots=48, tied=False, user_form="last_head", user_type="int8"),
    "hstu": Compression(slots=48),
}


def fixture_config(family: str) -> ModelConfig:
    return ModelConfig(
        family,
        ITEMS + 1,
        len(ACTIONS),
        [Feature("watch_ratio")],
        [Feature("freshness")],
        [Feature("hour", 0, 24, 12, period=True)],
        embedding=16,
        d_model=32,
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
        model = random_model(random_twin(fixture_config(family)), compression)
        command = "python training/make_fixtures.py"
        about = Export(f"fixture-{family}", command, max_positions=POSITIONS)
        print(family, export_bundle(model, catalogue_log(model.config), folder / family, about), flush=True)


if __name__ == "__main__":
    main(FOLDER)
