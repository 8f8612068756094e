"""The protocol of the comparison: data sets, jobs, and the settings of every arm."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from data.features import Feature
from data.importers.registry import IMPORTERS
from data.log import Columns, Log, log_from_table
from data.split import Split, freeze_history, split_log
from errors import UserError
from fitting.arms import Arms
from fitting.fit import FitConfig
from models.compression import Compression
from models.config import ModelConfig

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / ".ckv" / "training" / "quality"
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
    timed: bool = False  # a position has TIME_FEATURES
    frozen: bool = False  # histories of test queries end at the first test query


DATASETS = {
    "ml-1m": Dataset("movielens", "ml-1m-ordered/ratings_ordered.csv.xz", "position:0.1", 2.25, 6e-3, 0.4, 3e-4),
    "kuairand": Dataset(
        "kuairand-partial", "kuairand-pure-partial", "time:0.25", 1.5, 2e-3, 0.3, 3e-4, start=0.0, frozen=True
    ),
}
TIMED = {"kuairand-hours": "kuairand"}  # a data set with TIME_FEATURES -> the one without, for quality/factored.py
TIME_FEATURES = [Feature("hour_of_day", 0, 24, 12, period=True), Feature("day_of_week", 0, 7, 3, period=True)]


@dataclass(frozen=True)
class Job:
    """One training of a family, with its arms."""

    dataset: str
    family: str  # a family, or WITHOUT_HISTORY
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.family}/{self.seed}"


def dataset_of(name: str) -> Dataset:
    """Returns the data set of this name, from DATASETS or TIMED."""
    return replace(DATASETS[TIMED[name]], timed=True) if name in TIMED else DATASETS[name]


def jobs_named(only: Sequence[str], families: Sequence[str], datasets: Sequence[str] = ()) -> list[Job]:
    """Returns the jobs of these names; all jobs if no name is given. `datasets` are those of DATASETS by default.

    Raises UserError for an unknown name.
    """
    datasets = datasets or list(DATASETS)
    known = {str(job): job for job in (Job(d, f, s) for s in SEEDS for f in families for d in datasets)}
    for name in only:
        if name not in known:
            raise UserError(
                f"--only {name}: no such job; give DATASET/FAMILY/SEED with one of {', '.join(datasets)} / "
                f"{', '.join(families)} / {', '.join(map(str, SEEDS))}"
            )
    return [job for name, job in known.items() if not only or name in only]


def model_config(family: str, log: Log) -> ModelConfig:
    """Returns the sizes of a family's model."""
    model = "target" if family == WITHOUT_HISTORY else family
    features = TIME_FEATURES if log.features.shape[1] else []
    sizes = settings_of(family).sizes
    return ModelConfig(model, len(log.items), len(log.actions), interaction_features=features, dropout=0.2, **sizes)


def settings_of(family: str) -> FamilySettings:
    """Returns the settings of a family of FAMILIES; the defaults for another one."""
    return FAMILIES.get(family, FamilySettings())


def compression(family: str) -> Compression:
    """Returns the settings of a family's conversion."""
    return Compression(slots=settings_of(family).slots)


def read_dataset(name: str, data: Path) -> tuple[Log, Split]:
    """Returns the log of a data set, and its split."""
    dataset = dataset_of(name)
    table, _ = IMPORTERS[dataset.importer].read(data / dataset.source, lambda *_: None)
    log = log_from_table(*((with_time(table), Columns(TIME_FEATURES)) if dataset.timed else (table, Columns())))
    split = split_log(log, dataset.split)
    return (freeze_history(log, split.test) if dataset.frozen else log), split


def with_time(table: pa.Table) -> pa.Table:
    """Returns the table with TIME_FEATURES: the hour of the day and the day of the week of each row, in UTC."""
    hours = table["timestamp_ms"].to_numpy() // HOUR_MS
    hour_of_day, day_of_week = (feature.name for feature in TIME_FEATURES)
    return table.append_column(hour_of_day, pa.array(hours % 24)).append_column(day_of_week, pa.array(hours // 24 % 7))


def arms_of(job: Job, log: Log, split: Split, c: Compression, folder: str = "") -> Arms:
    """Returns the arms of a job, with their checkpoints in `folder`, or in a folder of the job's name."""
    dataset = dataset_of(job.dataset)
    tune_epochs = dataset.tune_epochs * settings_of(job.family).tune_share
    return Arms(
        log,
        split,
        model_config(job.family, log),
        FitConfig(dataset.epochs, dataset.rate, weight_decay=0.1, seed=job.seed),
        FitConfig(tune_epochs, dataset.tune_rate, weight_decay=0.1, seed=job.seed + 100),
        c,
        CHECKPOINTS / (folder or str(job)),
        str(job),
        start=dataset.start,
    )
