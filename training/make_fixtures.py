"""Writes test/fixtures/bundles: small bundles with random weights, for the tests of other parts.

One bundle for each family, four with a factored pool, one with residual codes, and three of an uncompressed model, in
each form that records can hold.

    python training/make_fixtures.py            # remakes all of them; on one machine, always the same bytes
"""

from pathlib import Path

import torch

from bundle.export import Export, export_bundle
from conversion.factored import convert_factored
from conversion.residual import convert_residual
from data.features import Feature
from models.compression import Compression
from models.config import ModelConfig
from models.families.registry import FAMILIES
from models.keep_full import keep_full
from models.ranker import Ranker
from testbed.random_models import ACTIONS, catalogue_log, random_full, random_history, random_model

FOLDER = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "bundles"
ITEMS, POSITIONS = 120, 400
VARIANTS = {
    "target": Compression(slots=256),
    "sim": Compression(slots=48),
    "sdim": Compression(slots=48, user_type="float16"),
    "eta": Compression(slots=300, user_type="int8"),
    "twin": Compression(slots=48, tied=False, user_form="last_head", user_type="int8"),
    "hstu": Compression(slots=48),
}
FACTORED = {"factored": "target", "factored_sdim": "sdim", "factored_stca": "stca", "factored_sim": "sim"}
RESIDUAL = "residual"
FULL_FORMS = {
    "full_fp16": "float16",
    "full_fp32": "float32",
    "recompute": "interactions",
}  # of one full model, kept in full


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
        layers=2 if FAMILIES[family].default_layers else 1,
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
        write(random_model(random_full(fixture_config(family)), compression), folder / family)
    sample = random_history(fixture_config("target"), 40, 100, seed=1)
    for name, family in FACTORED.items():
        full = random_full(fixture_config(family))
        write(convert_factored(full, sample, seed=1, clusters=16, codes=32), folder / name)
    full = random_full(fixture_config("target"))
    write(convert_residual(full, sample, seed=1, stages=3, clusters=16, codes=32), folder / RESIDUAL)
    full = random_full(fixture_config("target", d_model=72))  # wide rows: the stride needs both of its bytes
    for name, kept in FULL_FORMS.items():
        write(keep_full(full, kept), folder / name, golden_positions=40)


def write(model: Ranker, folder: Path, golden_positions: int | None = None) -> None:
    name = f"fixture-{folder.name.replace('_', '-')}"
    about = Export(name, "python training/make_fixtures.py", {}, POSITIONS, golden_positions)
    print(folder.name, export_bundle(model, catalogue_log(model.config), folder, about), flush=True)


if __name__ == "__main__":
    main(FOLDER)
