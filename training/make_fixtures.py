"""Writes test/fixtures/bundles: one small bundle a family, with random weights, for tests that need no Python.

python training/make_fixtures.py            # remakes all; the same bytes every time on one machine
"""

from pathlib import Path

import numpy as np
import torch

from cache import Compression
from convert import calibrate, convert
from export import Export, export_bundle
from families import create_twin
from features import Feature
from log import Log
from model import History, ModelConfig, Ranker

FOLDER = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "bundles"
ITEMS, ACTIONS, POSITIONS = 120, ["", "skip", "click", "like"], 400
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


def random_history(config: ModelConfig, users: int, positions: int, seed: int) -> History:
    random = np.random.default_rng(seed)
    item = torch.from_numpy(random.integers(1, config.items, (users, positions)))
    action = torch.from_numpy(random.integers(1, config.actions, (users, positions)))
    features = torch.from_numpy(random.random((users, positions, len(config.interaction_features)), np.float32))
    return History(item, action, features, torch.ones_like(item, dtype=torch.bool))


def random_twin(config: ModelConfig, seed: int = 1) -> Ranker:
    """A model whose every part takes part in its scores."""
    torch.manual_seed(seed)
    twin = create_twin(config)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if parameter.dim() == 2 and "norm" not in name:
                parameter.mul_(1.5)
        for table in (twin.item, twin.action):
            torch.nn.init.normal_(table.weight, std=0.7)
        for name, parameter in twin.named_parameters():
            if "null" in name or name.endswith("stack.0.bias") or name.endswith("stack.1.bias"):
                torch.nn.init.normal_(parameter, std=0.5)
    return twin


def random_model(twin: Ranker, c: Compression, seed: int = 1) -> Ranker:
    """Its conversion, with a user head that takes part as well."""
    sample = random_history(twin.config, 40, 100, seed)
    model = convert(twin, sample, c, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "user_head" in name:
                torch.nn.init.normal_(parameter, std=0.7)
    calibrate(model, sample, seed)
    return model


def fixture_log(config: ModelConfig) -> Log:
    """The vocabularies; an export needs no more of a log."""
    none = np.zeros(0, np.int64)
    empty = np.zeros((0, 1), np.float32)
    items = ["", *(f"i{i:04}" for i in range(config.items - 1))]
    return Log(items, ACTIONS, none, none, none, empty, none, none, none, none, none, empty, empty)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for family, compression in VARIANTS.items():
        model = random_model(random_twin(fixture_config(family)), compression)
        command = "python training/make_fixtures.py"
        about = Export(f"fixture-{family}", command, max_positions=POSITIONS)
        print(family, export_bundle(model, fixture_log(model.config), folder / family, about), flush=True)


if __name__ == "__main__":
    main(FOLDER)
