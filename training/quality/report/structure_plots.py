"""The plots of what users share and how the pool is used, from the rows of structure.json."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from quality.report.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    datasets_in,
    figure,
    legend_below,
    percent,
    plain,
)
from quality.report.verdicts import dataset_title, family_title, pairs_in

FAMILY_LOOKS = {
    "sim": (BLUE, "-", "o"),
    "sdim": (ORANGE, "--", "s"),
    "eta": (GREEN, "-.", "^"),
    "twin": (RED, ":", "D"),
    "hstu": (PURPLE, (0, (5, 1, 1, 1, 1, 1)), "v"),
}
PARTS = {"key": "keys", "value": "values"}
SPECTRA = {  # field, label, colour, line style, marker
    "own": ("the user's own directions", BLUE, "-", "o"),
    "others": ("other users' directions", ORANGE, "--", "s"),
    "oneOther": ("one other user's directions", GREEN, "-.", "^"),
}


def layers_of(structure: list[dict]) -> list[tuple[str, dict, dict]]:
    """Returns the label, the row and the layer, for each layer of each family."""
    found = []
    for dataset, family in pairs_in(structure):
        row = first_seed(structure, dataset, family)
        for layer in row["layers"]:
            several = len(row["layers"]) > 1
            found.append((family_title(family) + (f", layer {layer['layer'] + 1}" if several else ""), row, layer))
    return found


def first_seed(structure: list[dict], dataset: str, family: str) -> dict:
    return min((r for r in structure if (r["dataset"], r["family"]) == (dataset, family)), key=lambda row: row["seed"])


def plot_spectra(structure: list[dict], path: Path) -> bool:
    """Draws the spectra of the first family of each data set. docs/quality.md has a table of all families."""
    chosen = {row["dataset"]: (label, layer) for label, row, layer in reversed(layers_of(structure))}
    if not chosen:
        return False
    datasets = datasets_in(pairs_in(structure))
    with figure(path, len(datasets), 2, 7.4, 2.5 * len(datasets) + 0.6, sharex=True, sharey=True) as axes:
        for line, dataset in zip(axes, datasets):
            label, layer = chosen[dataset]
            for axis, (part, name) in zip(line, PARTS.items()):
                draw_spectrum(axis, layer[part])
                axis.set_title(f"{name}, {label} on {dataset_title(dataset)}")
            line[0].set_ylabel("energy (share of the total)")
        for axis in axes[-1]:
            axis.set_xlabel("number of directions")
        legend_below(axes, 3)
    return True


def draw_spectrum(axis: Axes, part: dict) -> None:
    ranks = [rank for rank in part["ranks"] if rank <= part["rank"]]
    for field, (label, colour, style, marker) in SPECTRA.items():
        shares = [100 * share for share in part[field][: len(ranks)]]
        axis.plot(ranks, shares, color=colour, ls=style, marker=marker, ms=4, label=label)
    random = [100 * rank / part["rank"] for rank in ranks]
    axis.plot(ranks, random, color=GREY, ls=":", label="random directions")
    stacked = [100 * share for share in part["stacked"][: len(ranks)]]
    axis.plot(ranks, stacked, color="black", lw=0.9, label="all users stacked, their own directions")
    axis.set_xscale("log", base=2)
    axis.set_ylim(0, 102)
    axis.xaxis.set_major_formatter(FuncFormatter(plain))
    axis.yaxis.set_major_formatter(FuncFormatter(percent))


PAIRS = {  # field, label, colour, marker
    "users": ("two users", BLUE, "o"),
    "mixed": ("as many positions drawn from all users", ORANGE, "s"),
    "random": ("random directions", GREY, "D"),
}


def plot_similarity(structure: list[dict], path: Path) -> bool:
    layers = layers_of(structure)
    if not layers:
        return False
    labels = [f"{label}, {dataset_title(row['dataset'])}" for label, row, _ in layers]
    with figure(path, 1, 2, 8.2, 0.42 * len(layers) + 1.3, sharex=True, sharey=True) as axes:
        for axis, (part, name) in zip(axes[0], PARTS.items()):
            for place, (_, _, layer) in enumerate(layers):
                for i, (field, (label, colour, marker)) in enumerate(PAIRS.items()):
                    low, _, middle, _, high = layer[part]["similarity"][field]["quantiles"]
                    y = place + 0.24 * (i - 1)
                    axis.plot([low, high], [y, y], color=colour, lw=2, alpha=0.5, solid_capstyle="butt")
                    axis.plot(middle, y, marker, color=colour, ms=4.5, label=label)
            axis.set(title=name, xlim=(0, 1), xlabel="mean squared cosine (1: the same directions)")
            axis.grid(axis="y", visible=False)
            axis.set_ylim(len(layers) - 0.5, -0.5)
        axes[0][0].set_yticks(range(len(layers)), labels)
        legend_below(axes, 3)
    return True


Drawer = Callable[[Axes, dict, dict], None]


def plot_lines(structure: list[dict], path: Path, draw: Drawer, y: str, sharey: bool) -> bool:
    """Draws a panel for each data set, with a line for each family and layer. False without layers."""
    layers = layers_of(structure)
    if not layers:
        return False
    datasets = datasets_in(pairs_in(structure))
    with figure(path, 1, len(datasets), 4 * len(datasets) + 0.4, 3.9, sharey=sharey) as axes:
        for axis, dataset in zip(axes[0], datasets):
            for label, row, layer in layers:
                if row["dataset"] == dataset:
                    colour, style, marker = FAMILY_LOOKS.get(row["family"], (GREY, "-", "o"))
                    upper = layer["layer"] > 0
                    look = {"color": colour, "ls": style, "marker": marker, "ms": 4, "label": label}
                    draw(axis, layer, look | ({"mfc": "white", "alpha": 0.8} if upper else {}))
            axis.set_title(dataset_title(dataset))
        axes[0][0].set_ylabel(y)
        legend_below(axes, 4)
    return True


def baseline(axis: Axes, x: list[float], y: list[float], label: str) -> None:
    """Draws a dashed line, once for each axis."""
    if label not in axis.get_legend_handles_labels()[1]:
        axis.plot(x, y, color=GREY, lw=1, ls="--", label=label)


def plot_slots(structure: list[dict], path: Path) -> bool:
    return plot_lines(structure, path, draw_slots, "share of the positions (log scale)", sharey=True)


def draw_slots(axis: Axes, layer: dict, look: dict) -> None:
    for use in layer["slots"].values():
        places = np.asarray(use["place"])
        axis.plot(places, [100 * x for x in use["share"]], **look, markevery=5)
    even = 100 / use["slots"]
    baseline(axis, [1, use["slots"]], [even, even], "all used alike")
    axis.set(xscale="log", yscale="log", xlabel="slots, the most used first (log scale)")
    axis.xaxis.set_major_formatter(FuncFormatter(plain))
    axis.yaxis.set_major_formatter(FuncFormatter(percent))
    axis.yaxis.set_minor_formatter(NullFormatter())


def plot_distinct(structure: list[dict], path: Path) -> bool:
    return plot_lines(structure, path, draw_distinct, "distinct slots (mean)", sharey=False)


def draw_distinct(axis: Axes, layer: dict, look: dict) -> None:
    longest = 0
    for by_length in layer["distinct"].values():
        lengths = [int(length) for length in by_length]
        longest = max([longest, *lengths])
        axis.plot(lengths, [count["mean"] for count in by_length.values()], **look)
    baseline(axis, [0, longest], [0, longest], "a slot for each position")
    axis.set(xlabel="positions in the history", xlim=(0, None), ylim=(0, None))
    axis.xaxis.set_major_formatter(FuncFormatter(plain))
    axis.yaxis.set_major_formatter(FuncFormatter(plain))
