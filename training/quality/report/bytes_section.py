"""The section on bytes against quality, from frontier.json, and its plot."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from quality.factored import FIRST, SAMPLES, recommended_clusters
from quality.report.plots import BLUE, GREEN, GREY, ORANGE, figure, legend_below
from quality.report.records_section import MEGABYTE
from quality.report.text import ABSENT, Results, differences, means, table
from quality.report.verdicts import LEAST_NOISE, METRICS, Arm, dataset_title, datasets_in, difference, level

ORDER = ["full", "pool", "residual", "factored"]
LOOKS = {  # of the plot: label, colour, marker, line style
    "pool": ("pool, by its slots", ORANGE, "s", ""),
    "residual": ("residual codes, 1 to 5", BLUE, "o", "-"),
    "factored": ("factored pool", GREEN, "D", ""),
}
Key = tuple[str, int]  # of an arm: variant and size

ABOUT = f"""How many bytes does a position need? All arms are conversions of the same full model, without any further
training. The family is the one that attends to every position (`target`).

- A *pool* has a route for each position, without user dims: one pool row of keys and values per slot. On data of few
  tokens, 10,000 slots are nearly a table of all of them, see [the data](#the-data).
- *Residual codes* are one byte per stage. Each stage has 256 rows and codes what the stages before it left over.
- The *factored pool* has the item's index and an event code. It is exact about the item.

Residual codes and the factored pool attend over 256 clusters. Shared tables hold the rows that all users share, in
fp32. AUC / GAUC of the full model, and of the other arms minus the full model's. A loss of more than {LEAST_NOISE} is a
miss. The plot has more data sets than the table. There, pools have user dims, which take a byte."""


def bytes_against_quality(r: Results) -> str:
    if not r.frontier:
        return ABSENT
    head = [
        "data set",
        "record",
        "bytes of a row",
        "a position, of 1,000",
        "shared tables, MB",
        "AUC / GAUC",
        "verdict",
    ]
    lines = []
    for name in datasets_in(r.frontier):
        arms = arms_of(row for row in r.frontier if row["dataset"] == name)
        full = arms.get(("full", 0))
        for place, ((variant, size), arm) in enumerate(arms.items()):
            loss = full is not None and variant != "full"
            line = ["" if place else dataset_title(name), title(variant, size), f"{arm.mean('rowBytes'):,.0f}"]
            line += [f"{arm.mean('bytesAt1000'):,.2f}"]
            line += [f"{arm.mean('tableBytes') / MEGABYTE:,.2f}" if variant != "full" else "-"]
            line += [differences(arm, full) if loss else means(arm), str(level(arm, full)) if loss else "-"]
            lines.append(line)
    shows = "AUC and GAUC minus the full model's, against the bytes of a position"
    return f"{ABOUT}{r.picture('bytes', shows)}\n\n{table(head, lines)}"


def title(variant: str, size: int) -> str:
    if variant == "residual":
        return "1 residual code" if size == 1 else f"{size} residual codes"
    return {"full": "full model", "pool": f"pool of {size:,} slots"}.get(variant, f"factored pool, {size:,} items")


def arms_of(rows: Iterable[dict]) -> dict[Key, Arm]:
    """The arms of a data set's rows, in the order of the table."""
    found: dict[Key, dict[int, dict]] = {}
    for row in sorted(rows, key=lambda r: (ORDER.index(r["variant"]), r["size"])):
        found.setdefault((row["variant"], row["size"]), {})[row["seed"]] = row
    return {key: Arm(by_seed) for key, by_seed in found.items()}


def plot_bytes(frontier: list[dict], factored: list[dict], path: Path) -> bool:
    """Draws AUC above GAUC, a column for each data set with a full model.

    Data sets without residual codes have the records of factored.json: pools, and the recommended one.
    """
    rows = [*frontier, *recommended_rows(factored, {row["dataset"] for row in frontier})]
    by_dataset = {name: arms_of(row for row in rows if row["dataset"] == name) for name in datasets_in(rows)}
    drawn = {name: arms for name, arms in by_dataset.items() if ("full", 0) in arms and len(arms) > 1}
    if not drawn:
        return False
    with figure(path, len(METRICS), len(drawn), 2.5 * len(drawn) + 1.2, 5.2, sharex=True, sharey="row") as axes:
        for line, (metric, measure) in zip(axes, METRICS.items()):
            for axis, (name, arms) in zip(line, drawn.items()):
                draw(axis, arms, metric)
                if metric == "auc":
                    axis.set_title(dataset_title(name))
            line[0].set_ylabel(f"{measure} minus the full model's")
        for axis in axes[-1]:
            axis.set_xlabel("bytes a position, of 1,000")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(axes, 2)
    return True


def recommended_rows(rows: list[dict], others: set[str]) -> list[dict]:
    """Returns rows of factored.json as those of frontier.json, for other data sets than these."""
    chosen = (row for row in rows if row["family"] == FIRST and row["dataset"] not in {*others, *SAMPLES})
    clusters = recommended_clusters(FIRST)
    return [row | {"size": row["slots"]} for row in chosen if row["clusters"] in (0, clusters)]


def draw(axis: Axes, arms: dict[Key, Arm], metric: str) -> None:
    full = arms["full", 0]
    axis.axhspan(-LEAST_NOISE, LEAST_NOISE, color="#d9d9d9", lw=0, label=f"within {LEAST_NOISE} of the full model")
    axis.axhline(0, color=GREY, lw=0.8)
    for variant, (label, colour, marker, style) in LOOKS.items():
        own = [(size, arm) for (kind, size), arm in arms.items() if kind == variant]
        x = [arm.mean("bytesAt1000") for _, arm in own] or [np.nan]
        y = [difference(arm, full, metric) for _, arm in own] or [np.nan]
        axis.plot(x, y, marker=marker, ls=style, color=colour, ms=6, label=label)
        if variant == "pool":
            for place, ((size, _), at) in enumerate(zip(own, zip(x, y))):
                below = -11 + 15 * place  # points: the label of a larger pool is higher
                axis.annotate(f"{size:,}", at, (5, below), textcoords="offset points", fontsize=7.5, color=GREY)
