"""Means over seeds, differences to the full model beside its noise, and verdicts on targets."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean

from models.families import registry

METRICS = {"auc": "AUC", "gauc": "GAUC"}
LEAST_NOISE = 0.001  # smaller differences never count
BYTES_SHARE = 0.008  # largest share of the bytes of full keys and values
BYTES_SHARE_AIM = 0.0045
FAMILIES_AIM = 3  # families that should reach it
TIME_SHARE = 0.4  # largest share of the full model's training time
STRONG_FULL = {"ml-1m": 0.825}  # least AUC of the best full model, so that the comparison is with a good model
ROUNDING = 1e-9

DATASETS = {"ml-1m": "ML-1M", "kuairand": "KuaiRand"}  # in the order of the tables
HARDER_TITLES = {  # of data sets that only records as converted are measured on
    "kuairand-hours": "KuaiRand with hours",
    "ml-100k-hours": "ML-100K with hours",
    "simulated": "simulated, 200,000 items",
    "mind": "MIND sample",
    "ebnerd": "EBNeRD fixture",
}
FAMILIES = {name: registry.FAMILIES[name].title for name in ("sim", "sdim", "eta", "twin", "hstu")}


def dataset_title(name: str) -> str:
    return (DATASETS | HARDER_TITLES).get(name, name)


def family_title(name: str) -> str:
    return registry.FAMILIES[name].title if name in registry.FAMILIES else name


def places(name: str) -> tuple[int, str]:
    """Returns what sorts data sets or families in the order of the tables."""
    order = [*DATASETS, *HARDER_TITLES, *registry.FAMILIES]
    return order.index(name) if name in order else len(order), name


def datasets_in(rows: Iterable[dict]) -> list[str]:
    """The data sets with rows, in the order of the tables."""
    return sorted({row["dataset"] for row in rows}, key=places)


def pairs_in(rows: Iterable[dict]) -> list[tuple[str, str]]:
    """Returns the pairs of data set and family that have rows, in the order of the tables."""
    found = {(row["dataset"], row["family"]) for row in rows if row["family"] != "none"}
    return sorted(found, key=lambda pair: [places(name) for name in pair])


@dataclass(frozen=True)
class Arm:
    """The rows of one arm, by seed."""

    rows: dict[int, dict]

    def __bool__(self) -> bool:
        return bool(self.rows)

    def mean(self, field: str) -> float:
        return fmean(row[field] for row in self.rows.values())

    def spread(self, field: str) -> float:
        values = [row[field] for row in self.rows.values()]
        return max(values) - min(values)


def arm(rows: Iterable[dict], dataset: str, family: str, variant: str) -> Arm:
    """Returns one arm of a pair. The arm without history is the same for all families."""
    wanted = (dataset, "none" if variant == "no_history" else family, variant)
    return Arm({row["seed"]: row for row in rows if (row["dataset"], row["family"], row["variant"]) == wanted})


def difference(one: Arm, other: Arm, field: str) -> float:
    """Returns `one` minus `other`, as a mean over the seeds that both have."""
    return fmean(
        one.rows[seed][field] - other.rows[seed][field] for seed in sorted(one.rows.keys() & other.rows.keys())
    )


def paired(one: Arm, other: Arm) -> bool:
    """True if both have a row of the same seed."""
    return bool(one.rows.keys() & other.rows.keys())


def noise(full: Arm, field: str) -> float:
    """Returns the largest difference that does not count: its spread over seeds, or LEAST_NOISE if more."""
    return max(LEAST_NOISE, full.spread(field))


@dataclass(frozen=True)
class Verdict:
    """Met, or the figures that miss the target, and by how much."""

    misses: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        return not self.misses

    def __str__(self) -> str:
        return "met" if self.met else f"**missed**: {', '.join(self.misses)}"


def parity(shared: Arm, full: Arm) -> Verdict:
    """Met if CollectiveKV is no worse than the full model by more than noise, at most at BYTES_SHARE of its bytes."""
    over = shared.mean("ratio") - BYTES_SHARE
    late = (f"bytes by {100 * over:.2f} points",) if over > ROUNDING else ()
    return Verdict((*below_noise(shared, full), *late))


def parity_with_both(shared: Arm, full: Arm, before: Arm) -> bool:
    """True if there is parity also with the full model before conversion, since more training can make it worse."""
    return parity(shared, full).met and parity(shared, before).met


def small(shared: Arm) -> bool:
    """True if the arm reaches the smaller share of the bytes."""
    return shared.mean("ratio") <= BYTES_SHARE_AIM + ROUNDING


def below_noise(one: Arm, full: Arm) -> tuple[str, ...]:
    """Returns the metrics of `one` that are below the full model's by more than noise, and by how much more."""
    short = {METRICS[m]: -difference(one, full, m) - noise(full, m) for m in METRICS}
    return tuple(f"{name} by {amount(by)}" for name, by in short.items() if by > ROUNDING)


def level(one: Arm, full: Arm) -> Verdict:
    """Met if no metric is below the full model's by more than LEAST_NOISE."""
    short = {name: -difference(one, full, metric) - LEAST_NOISE for metric, name in METRICS.items()}
    return Verdict(tuple(f"{name} by {amount(by)}" for name, by in short.items() if by > ROUNDING))


def beats(shared: Arm, alone: Arm, full: Arm) -> Verdict:
    """Met if CollectiveKV is better than the user dims alone by more than noise, at no more bytes."""
    short = {METRICS[m]: noise(full, m) - difference(shared, alone, m) for m in METRICS}
    misses = [f"{name} by {amount(by)}" for name, by in short.items() if by > ROUNDING]
    over = shared.mean("ratio") - alone.mean("ratio")
    return Verdict((*misses, *([f"bytes by {100 * over:.2f} points"] if over > ROUNDING else [])))


def time_share(part: Arm, before: Arm) -> float:
    """Returns the seconds of `part` divided by those of the full model before conversion.

    Counts the seeds for which both are timed. NaN without such a seed. A row has 0 seconds if its training was
    interrupted, or shared the machine with other work.
    """
    seeds = [s for s in part.rows.keys() & before.rows.keys() if before.rows[s]["trainSeconds"]]
    if not seeds:
        return math.nan
    return sum(part.rows[s]["trainSeconds"] for s in seeds) / sum(before.rows[s]["trainSeconds"] for s in seeds)


def quick(part: Arm, before: Arm) -> bool | None:
    """True if `part` took at most the share of time; None without timed seeds."""
    share = time_share(part, before)
    return None if math.isnan(share) else in_time(share).met


def quick_and_level(part: Arm, before: Arm, full: Arm) -> bool | None:
    """True if `part` took at most the share of time, and is below the full model by no more than noise."""
    in_little = quick(part, before)
    return None if in_little is None else in_little and not below_noise(part, full)


def in_time(share: float) -> Verdict:
    """Met if a share of the full model's training time is at most TIME_SHARE."""
    return Verdict() if share <= TIME_SHARE + ROUNDING else Verdict((f"by {100 * (share - TIME_SHARE):.0f} points",))


def amount(value: float) -> str:
    """Returns a number with four decimals, or with five if four would be zero."""
    return f"{value:.4f}" if value >= 0.00005 else f"{value:.5f}"


@dataclass(frozen=True)
class Tally:
    """The pairs that meet a target. The target is met if all pairs are measured and meet it."""

    met: int
    measured: int
    planned: int

    def __str__(self) -> str:
        if not self.measured:
            return "not measured yet"
        whole = "" if self.measured >= self.planned else f" measured, of {self.planned} planned"
        return f"{self.met} of {self.measured}{whole}"

    @property
    def verdict(self) -> str:
        if not self.measured:
            return "-"
        if self.met < self.measured:
            return "**missed**"
        return "met" if self.measured >= self.planned else "met so far"


def tally(rows: list[dict], needs: list[str], judge: Callable[..., bool | None]) -> Tally:
    """Counts the pairs with all arms in `needs`, and those for which `judge` of these arms is true.

    If `judge` gives None, the pair is not measured.
    """
    results = []
    for pair in pairs_in(rows):
        arms = [arm(rows, *pair, variant) for variant in needs]
        if all(arms) and all(paired(arms[0], other) for other in arms[1:]):
            results.append(judge(*arms))
    known = [met for met in results if met is not None]
    return Tally(sum(known), len(known), len(DATASETS) * len(FAMILIES))


# Rows of knobs.json are compared with the full model of the same job.


def job_of(row: dict) -> tuple[str, str, int]:
    return row["dataset"], row["family"], row["seed"]


def full_rows_of(quality: list[dict], knobs: list[dict]) -> dict[tuple[str, str, int], dict]:
    """Returns the full model's row of each job: the one in knobs.json, else the one in quality.json."""
    full_rows = {job_of(row): row for row in quality if row["variant"] == "full"}
    return full_rows | {job_of(row): row for row in knobs if row["knob"] == "full"}
