"""The protocol of the comparison: data sets, jobs, and the settings of every arm."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from data.features import Feature
from data.importers.registry import IMPORTERS
from data.log import Columns, Log, log_from_table
from data.simulated import Simulation
from data.split import Split, freeze_history, split_log
from errors import UserError
from fitting.arms import Arms
from fitting.fit import FitConfig
from models.compression import Compression
from models.config import ModelConfig

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / ".ckv" / "training" / "quality"
SIMULATED = ROOT / ".ckv" / "training" / "simulated"  # logs; remove one to simulate it again
SEEDS = [1, 2, 3]
HOUR_MS = 3_600_000
VARIANTS = ["full_before", "converted", "collectivekv", "full", "user_dims_only"]


@dataclass(frozen=True)
class FamilySettings:
    """The settings of a family that differ from the defaults of ModelConfig and Compression."""

    sizes: dict[str, int] = field(default_factory=dict)  # fields of ModelConfig
    slots: int = Compression().slots
    tune_share: float = 1.0  # share of a data set's epochs after the conversion


# HSTU has two layers of half the width, so its full cache has the same bytes. Its routers read [K, V] in training too,
# so a smaller pool saves time. Its layers disturb each other, so it trains for half as long after the conversion.
FAMILIES = {
    "hstu": FamilySettings({"d_model": 128, "heads": 4, "layers": 2}, slots=4096, tune_share=0.5),
    "sim": FamilySettings(),
    "twin": FamilySettings(),
    "eta": FamilySettings(),
    "sdim": FamilySettings(),
}
# Of families that only quality/factored.py measures. STCA's layers have half the width, so its full cache has the same
# bytes as that of the others.
FACTORED_ALONE = {"stca": FamilySettings({"d_model": 128, "heads": 4, "layers": 2})}
WITHOUT_HISTORY = "none"  # the family of the arm without history: target attention over nothing


@dataclass(frozen=True)
class Dataset:
    """A data set, and the settings of training on it."""

    importer: str
    source: str  # within DIR
    split: str
    epochs: float  # of the full model, before the conversion
    rate: float
    tune_epochs: float  # of every arm, after the conversion
    tune_rate: float
    start: float = 1.5  # length of the first item embeddings, see starting_items.py; 0: random ones
    frozen: bool = False  # histories of test queries end at the first test query
    features: Sequence[Feature] = ()  # of positions; those of TIME_FEATURES come from the timestamps
    simulation: Simulation | None = None  # the log is simulated, and `source` its file's name


HOUR, WEEKDAY = Feature("hour_of_day", 0, 24, 12, period=True), Feature("day_of_week", 0, 7, 3, period=True)
TIME_FEATURES = [HOUR, WEEKDAY]

DATASETS = {
    "ml-1m": Dataset("movielens", "ml-1m-ordered/ratings_ordered.csv.xz", "position:0.1", 2.25, 6e-3, 0.4, 3e-4),
    "kuairand": Dataset(
        "kuairand-partial", "kuairand-pure-partial", "time:0.25", 1.5, 2e-3, 0.3, 3e-4, start=0.0, frozen=True
    ),
}
# Data sets for quality/factored.py alone: more distinct tokens than slots, or small samples.
HARDER = {
    "kuairand-hours": replace(DATASETS["kuairand"], features=TIME_FEATURES),
    "ml-100k-hours": Dataset(
        "movielens", "movielens-small/ml-100k_u.data", "position:0.1", 8, 6e-3, 0.4, 3e-4, features=TIME_FEATURES
    ),
    "simulated": Dataset(
        "log",
        "simulated-200000-items.csv",
        "position:0.1",
        3,
        4e-3,
        0.4,
        3e-4,
        features=[Feature("watch_ratio")],
        simulation=Simulation(users=800, positions=800, items=200_000, repeats=0.5),
    ),
    "mind": Dataset("mind", "mind-small-sample", "time:0.25", 3, 2e-3, 0.3, 3e-4, start=0.0),
    "ebnerd": Dataset("ebnerd", "ebnerd-test-fixture", "time:0.25", 3, 2e-3, 0.3, 3e-4, start=0.0),
}
GRID = DATASETS | HARDER


@dataclass(frozen=True)
class Job:
    """One training of a family, with its arms."""

    dataset: str
    family: str  # a family, or WITHOUT_HISTORY
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.family}/{self.seed}"


def dataset_of(name: str) -> Dataset:
    """Returns the data set of this name."""
    return GRID[name]


def jobs_named(only: Sequence[str], families: Sequence[str]) -> list[Job]:
    """Returns the jobs of these names, on DATASETS; all jobs if no name is given. Raises as `named_jobs`."""
    return named_jobs(only, [Job(d, f, s) for s in SEEDS for f in families for d in DATASETS])


def named_jobs(only: Sequence[str], jobs: Sequence[Job]) -> list[Job]:
    """Returns those of `jobs` with these names, in their order; all of them if no name is given.

    Raises UserError for an unknown name.
    """
    known = {str(job): job for job in jobs}
    for name in only:
        if name not in known:
            parts = (dict.fromkeys(str(part) for part in parts) for parts in zip(*map(astuple, jobs)))
            raise UserError(
                f"--only {name}: no such job; give DATASET/FAMILY/SEED with one of "
                f"{' / '.join(', '.join(part) for part in parts)}"
            )
    return [job for name, job in known.items() if not only or name in only]


def model_config(family: str, log: Log, features: Sequence[Feature] = ()) -> ModelConfig:
    """Returns the sizes of a family's model, for positions with these features."""
    model = "target" if family == WITHOUT_HISTORY else family
    sizes = settings_of(family).sizes
    return ModelConfig(
        model, len(log.items), len(log.actions), interaction_features=list(features), dropout=0.2, **sizes
    )


def settings_of(family: str) -> FamilySettings:
    """Returns the settings of a family; the defaults for one without an entry."""
    return (FAMILIES | FACTORED_ALONE).get(family, FamilySettings())


def compression(family: str) -> Compression:
    """Returns the settings of a family's conversion."""
    return Compression(slots=settings_of(family).slots)


def read_dataset(name: str, data: Path) -> tuple[Log, Split]:
    """Returns the log of a data set, and its split."""
    dataset = dataset_of(name)
    path = data / dataset.source
    if dataset.simulation:
        path = SIMULATED / dataset.source
        if not path.exists():
            dataset.simulation.write(path)
    table, _ = IMPORTERS[dataset.importer].read(path, lambda *_: None)
    if any(feature in TIME_FEATURES for feature in dataset.features):
        table = with_time(table)
    log = log_from_table(table, Columns(dataset.features))
    split = split_log(log, dataset.split)
    return (freeze_history(log, split.test) if dataset.frozen else log), split


def with_time(table: pa.Table) -> pa.Table:
    """Returns the table with TIME_FEATURES: the hour of the day and the day of the week of each row, in UTC."""
    hours = table["timestamp_ms"].to_numpy() // HOUR_MS
    table = table.append_column(HOUR.name, pa.array(hours % 24))
    return table.append_column(WEEKDAY.name, pa.array(hours // 24 % 7))


def arms_of(job: Job, log: Log, split: Split, c: Compression, folder: str = "", device: str = "cpu") -> Arms:
    """Returns the arms of a job, with their checkpoints in `folder`, or in a folder of the job's name."""
    dataset = dataset_of(job.dataset)
    tune_epochs = dataset.tune_epochs * settings_of(job.family).tune_share
    return Arms(
        log,
        split,
        model_config(job.family, log, dataset.features),
        FitConfig(dataset.epochs, dataset.rate, weight_decay=0.1, seed=job.seed, device=device),
        FitConfig(tune_epochs, dataset.tune_rate, weight_decay=0.1, seed=job.seed + 100, device=device),
        c,
        CHECKPOINTS / (folder or str(job)),
        str(job),
        start=dataset.start,
    )
