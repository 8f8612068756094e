"""The section on the factored pool, from factored.json: its losses beside those of pools of keys and values."""

from collections.abc import Iterable
from statistics import fmean

from quality.report.text import ABSENT, Results, differences, means, table
from quality.report.verdicts import DATASETS, LEAST_NOISE, METRICS, Arm, Verdict, amount, dataset_title, difference

MEGABYTE = 1e6
ROUNDING = 1e-9

ABOUT = f"""A *factored pool* has one row per item. A position in a record is the item's index and a one-byte *event
code* for its action and features. K and V are linear in a position's embedding, item * (1 + g) + h; the code gives g
and h. Attention reads one mean key and one mean value per *cluster* of the user's positions, with the logarithm of the
cluster's size added to its logit. The cluster of a position follows from its item and its code. So the cost of
attention does not depend on the history's length, and clusters take no byte of a record.

The family is the one that attends to every position (`target`). All arms are conversions of the same full model,
without any further training, so a difference is due to the cache alone. Figures are means over the seeds of the first
table: AUC / GAUC of the full model, and those of the other arms minus the full model's. A loss of more than
{LEAST_NOISE} is a miss. Shared tables hold the rows that all users share, in fp32.

A *token* is a distinct combination of item, action and features. If a pool has a slot for every token, it is a table
of all keys and values and compresses nothing. Only data sets with more tokens than slots count. A conversion sees a
sample of the histories. If the pool has more slots than the sample has tokens, each token of the sample has a slot of
its own, and the other tokens share these slots."""


def factored(r: Results) -> str:
    if not r.factored:
        return ABSENT
    return f"{ABOUT}\n\n{data_table(r.factored)}\n\n{arm_table(r.factored)}"


def data_table(rows: list[dict]) -> str:
    """The tokens of each data set, and the pools that could hold them all."""
    slots = sorted({row["slots"] for row in rows if row["variant"] == "pool"})
    head = ["data set", "seeds", "tokens", "in the sample", "positions with a token of the sample"]
    lines = []
    for name in datasets_in(rows):
        own = [row for row in rows if row["dataset"] == name]
        tokens = own[0]["tokens"]
        sampled, covered = (fmean(row[field] for row in own) for field in ("sampleTokens", "coveredShare"))
        line = [dataset_title(name), str(len({row["seed"] for row in own})), f"{tokens:,}", f"{sampled:,.0f}"]
        holds = ["yes: does not count" if count >= tokens else "no: counts" for count in slots]
        lines.append([*line, f"{100 * covered:.0f} %", *holds])
    return table([*head, *(f"could a pool of {count:,} hold every token?" for count in slots)], lines)


def arm_table(rows: list[dict]) -> str:
    """AUC, GAUC and bytes of every arm, with its verdict."""
    head = ["data set", "arm", "AUC / GAUC", "bytes a position", "at 1,000 positions", "shared tables, MB", "verdict"]
    lines = []
    for name in datasets_in(rows):
        arms = arms_of([row for row in rows if row["dataset"] == name])
        full = arms.get(("full", 0, 0))
        for (variant, slots, clusters), arm in arms.items():
            line = ["" if variant != "full" and full else dataset_title(name), title(variant, slots, clusters)]
            loss = full is not None and variant != "full"
            line += [differences(arm, full) if loss else means(arm)]
            line += [f"{arm.mean('bytesPerPosition'):,.2f}", f"{arm.mean('bytesAt1000'):,.2f}"]
            line += [f"{arm.mean('tableBytes') / MEGABYTE:,.1f}" if variant != "full" else "-"]
            lines.append([*line, str(level(arm, full)) if loss else "-"])
    return table(head, lines)


def title(variant: str, slots: int, clusters: int) -> str:
    if variant == "full":
        return "full model"
    return f"pool of {slots:,} slots" if variant == "pool" else f"factored pool, {clusters} clusters"


def arms_of(rows: Iterable[dict]) -> dict[tuple[str, int, int], Arm]:
    """The arms of a data set's rows, in the order of the table: by variant, slots and clusters."""
    found: dict[tuple[str, int, int], dict[int, dict]] = {}
    order = ["full", "pool", "factored"]
    for row in sorted(rows, key=lambda r: (order.index(r["variant"]), r["slots"], r["clusters"])):
        found.setdefault((row["variant"], row["slots"], row["clusters"]), {})[row["seed"]] = row
    return {key: Arm(by_seed) for key, by_seed in found.items()}


def level(arm: Arm, full: Arm) -> Verdict:
    """Met if no metric is below the full model's by more than LEAST_NOISE."""
    short = {name: -difference(arm, full, metric) - LEAST_NOISE for metric, name in METRICS.items()}
    return Verdict(tuple(f"{name} by {amount(by)}" for name, by in short.items() if by > ROUNDING))


def datasets_in(rows: Iterable[dict]) -> list[str]:
    """The data sets with rows, in the order of the tables."""
    names = {row["dataset"] for row in rows}
    return [name for name in DATASETS if name in names] + sorted(names - DATASETS.keys())
