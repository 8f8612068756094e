"""The options of train.py and their defaults."""

from dataclasses import dataclass, field
from pathlib import Path

from models.families.registry import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
# The defaults of the demo that differ: its log and features, and a test on users of their own.
DEMO = {
    "log": ROOT / ".ckv" / "training" / "demo-log.csv",
    "out": ROOT / "bundles" / "demo",
    "name": "demo",
    "interaction_features": ["watch_ratio"],
    "candidate_features": ["freshness"],
    "context_features": ["hour:0:24:12:period"],
    "split": "users:0.1",
    "epochs": 1.5,
}


@dataclass
class TrainConfig:
    """The options of train.py; HELP in command_line.py describes them. `source` is demo or log."""

    source: str
    log: Path
    out: Path
    name: str = "model"
    family: str = "target"
    split: str = "position:0.1"
    history_actions: list[str] = field(default_factory=list)
    interaction_features: list[str] = field(default_factory=list)
    candidate_features: list[str] = field(default_factory=list)
    context_features: list[str] = field(default_factory=list)
    seed: int = 1
    epochs: float = 2.25
    rate: float = 6e-3
    tune_epochs: float = 0.4
    tune_rate: float = 3e-4
    batch: int = 4096
    block: int = 128
    record: str = "auto"
    clusters: int = 0
    stages: int = 4
    slots: int = 10_000
    user_width: int = 2
    user_type: str = "codebook"
    user_form: str = "own_head"
    separate_routes: bool = False
    recipe: str = "convert"
    keep_encoding: str = ""
    embedding: int = 64
    d_model: int = 256
    heads: int = 8
    layers: int = 0
    max_positions: int = 1000
    comparisons: bool = True
    users: int = 1500
    threads: int = 0
    device: str = "cpu"
    fresh: bool = False

    @property
    def chosen_record(self) -> str:
        """Returns `record`; for auto, factored if the family and the recipe can have it, else pool."""
        if self.record != "auto":
            return self.record
        return "factored" if self.recipe == "convert" and FAMILIES[self.family].reads_clusters else "pool"

    @property
    def chosen_clusters(self) -> int:
        """Returns `clusters`; for 0, as many as the family needs."""
        return self.clusters or FAMILIES[self.family].clusters


def flag(name: str) -> str:
    """Returns the command-line option of a field: d_model becomes --d-model."""
    return f"--{name.replace('_', '-')}"
