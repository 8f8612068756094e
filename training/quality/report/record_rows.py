"""The arms of factored.json by data set and family: the full model, the recommended record, pools, other clusters."""

from collections.abc import Iterable
from dataclasses import dataclass

from models.families.registry import FAMILIES
from quality.factored import FIRST, SAMPLES
from quality.report.verdicts import (
    LEAST_NOISE,
    METRICS,
    ROUNDING,
    Arm,
    Verdict,
    amount,
    dataset_title,
    difference,
    family_title,
    noise,
    paired,
    places,
)

FORMER_SLOTS = 10_000  # of the pool that the factored pool is compared with
SEARCH_LOSS = 0.002  # that families which select whole clusters may lose
SEARCHING = ("sim", "eta", "twin")


@dataclass(frozen=True, eq=False)
class Pair:
    """The arms of a data set and a family, as converted from the same full models."""

    dataset: str
    family: str
    arms: dict[tuple[str, int], Arm]  # by variant, and clusters of a factored pool or slots of a pool

    @property
    def full(self) -> Arm:
        return self.arms.get(("full", 0), Arm({}))

    @property
    def recommended(self) -> Arm:
        """The factored pool with the default clusters; the pool of a family that can have none."""
        pools = [arm for (variant, _), arm in self.arms.items() if variant == "pool"]
        return self.arms.get(("factored", self.clusters)) or (pools[-1] if pools else Arm({}))

    @property
    def factored(self) -> bool:
        return ("factored", self.clusters) in self.arms

    @property
    def clusters(self) -> int:
        """The default number of clusters of the family."""
        return FAMILIES[self.family].clusters

    @property
    def titles(self) -> list[str]:
        return [dataset_title(self.dataset), family_title(self.family)]

    def pool(self, slots: int) -> Arm:
        return self.arms.get(("pool", slots), Arm({}))

    def first(self, field: str) -> int:
        """Returns a field that all rows of the pair share."""
        return next(iter(next(iter(self.arms.values())).rows.values()))[field]

    def record(self) -> str:
        """The recommended record in words."""
        slots = next(iter(self.recommended.rows.values()))["slots"]
        return f"factored, {self.clusters:,} clusters" if self.factored else f"pool of {slots:,}"

    def allowed(self, metric: str) -> float:
        """The largest loss that meets the target: the full model's spread over seeds, or a fixed number if more."""
        return max(noise(self.full, metric), SEARCH_LOSS if self.family in SEARCHING and self.factored else LEAST_NOISE)

    def verdict(self) -> Verdict:
        short = {n: -difference(self.recommended, self.full, m) - self.allowed(m) for m, n in METRICS.items()}
        return Verdict(tuple(f"{name} by {amount(by)}" for name, by in short.items() if by > ROUNDING))

    def holds_all(self, slots: int) -> bool:
        """True if a pool of so many slots could hold a row for every token.

        It is the same for a stacked family, though its keys depend on the whole history: the stricter rule.
        """
        return self.first("tokens") <= slots


def judged(rows: Iterable[dict]) -> list[Pair]:
    """The pairs of data set and family with a full model and a recommended record, without the small samples."""
    return [pair for pair in pairs_of(rows) if pair.dataset not in SAMPLES]


def pairs_of(rows: Iterable[dict]) -> list[Pair]:
    """The same, with the small samples."""
    found: dict[tuple[str, str], dict[tuple[str, int], dict[int, dict]]] = {}
    for row in sorted(rows, key=lambda r: (r["variant"], r["slots"], r["clusters"])):
        size = {"full": 0, "pool": row["slots"]}.get(row["variant"], row["clusters"])
        arms = found.setdefault((row["dataset"], row["family"]), {})
        arms.setdefault((row["variant"], size), {})[row["seed"]] = row
    pairs = [Pair(*name, {key: Arm(by_seed) for key, by_seed in found[name].items()}) for name in found]
    ordered = sorted(pairs, key=lambda pair: (places(pair.dataset), pair.family != FIRST, places(pair.family)))
    return [pair for pair in ordered if pair.full and pair.recommended and paired(pair.full, pair.recommended)]
