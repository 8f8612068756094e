"""The plots of docs/quality.md. The same results give the same bytes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from quality.report.verdicts import (
    BYTES_SHARE,
    LEAST_NOISE,
    arm,
    dataset_title,
    family_title,
    full_rows_of,
    job_of,
    pairs_in,
)

# The colours of Okabe and Ito, which colour-blind readers can distinguish. Markers and line styles differ as well.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#666666"
STYLE = {
    "svg.hashsalt": "quality",
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],  # part of matplotlib, so every machine draws the same
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "path.simplify_threshold": 0.5,
}


@contextmanager
def figure(path: Path, rows: int, columns: int, width: float, height: float, **kinds) -> Iterator[np.ndarray]:
    """Yields the axes [rows, columns] of a new figure. Writes the figure to `path` at the end. Sizes are in inches."""
    with matplotlib.rc_context(STYLE):
        drawn = Figure((width, height), layout="constrained")
        yield drawn.subplots(rows, columns, squeeze=False, **kinds)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    path.write_text(tidy(path.read_text()))


def tidy(svg: str) -> str:
    """Rounds numbers in tags to two decimals, a hundredth of a pixel. Removes blanks at the ends of lines."""
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), svg)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def legend_below(axes: np.ndarray, columns: int) -> None:
    """Adds one legend below all axes, with each label once."""
    found = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels()):
            found.setdefault(label, handle)
    axes.flat[0].figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns)


def datasets_in(pairs: list[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(dataset for dataset, _ in pairs))


def percent(x: float, _: object = None) -> str:
    return f"{x:g} %"


def plain(x: float, _: object = None) -> str:
    return f"{x:,.0f}"


# Quality against bytes

ARM_LOOKS = {  # colour, marker, filled
    "CollectiveKV": (BLUE, "o", True),
    "as converted": (SKY, "o", False),
    "user dims alone": (RED, "s", True),
    "other settings, tuned": (GREEN, "^", True),
    "other settings, as converted": (GREEN, "^", False),
    "published recipe": (PURPLE, "X", True),
}
ARM_NAMES = {"collectivekv": "CollectiveKV", "converted": "as converted", "user_dims_only": "user dims alone"}
STAGE_NAMES = {
    "tuned": "other settings, tuned",
    "converted": "other settings, as converted",
    "published": "published recipe",
}


def frontier_points(quality: list[dict], knobs: list[dict]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Returns, by data set and arm, the share of the bytes in percent, and the AUC minus the full model's."""
    full_rows = full_rows_of(quality, knobs)
    named = [(ARM_NAMES[row["variant"]], row) for row in quality if row["variant"] in ARM_NAMES]
    named += [(STAGE_NAMES[row["stage"]], row) for row in knobs if row["knob"] != "full"]
    points: dict[str, dict[str, list]] = {}
    for name, row in named:
        if job_of(row) in full_rows and row["ratio"] > 0:
            point = (100 * row["ratio"], row["auc"] - full_rows[job_of(row)]["auc"])
            points.setdefault(row["dataset"], {}).setdefault(name, []).append(point)
    return points


def plot_frontier(quality: list[dict], knobs: list[dict], path: Path) -> bool:
    points = frontier_points(quality, knobs)
    if not points:
        return False
    datasets = [d for d in datasets_in(pairs_in([*quality, *knobs])) if d in points]
    with figure(path, 1, len(datasets), 4.6 * len(datasets) + 0.4, 4.2, sharey=True, sharex=True) as axes:
        for axis, dataset in zip(axes[0], datasets):
            axis.axhspan(
                -LEAST_NOISE, LEAST_NOISE, color="#d9d9d9", lw=0, label=f"within {LEAST_NOISE} of the full model"
            )
            axis.axvline(100 * BYTES_SHARE, color=GREY, lw=0.9, ls="--", label=f"{100 * BYTES_SHARE:g} % of the bytes")
            for name, (colour, marker, filled) in ARM_LOOKS.items():
                x, y = zip(*points[dataset].get(name, [(np.nan, np.nan)]))
                axis.plot(x, y, marker, mfc=colour if filled else "none", mec=colour, ms=6, label=name, alpha=0.9)
            axis.set(xscale="log", title=dataset_title(dataset), xlabel="bytes, of full keys and values (log scale)")
            axis.set_yscale("symlog", linthresh=2 * LEAST_NOISE, linscale=1)
            axis.yaxis.set_major_locator(FixedLocator([-0.1, -0.03, -0.01, -0.003, -0.001, 0, 0.001, 0.003, 0.01]))
            axis.yaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:+g}" if y else "0: the full model"))
            axis.set_xlim(*around([x for named in points.values() for group in named.values() for x, _ in group]))
            axis.xaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.xaxis.set_major_formatter(FuncFormatter(percent))
        axes[0][0].set_ylabel("AUC minus the full model's (up is better)")
        legend_below(axes, 4)
    return True


def around(shares: list[float]) -> tuple[float, float]:
    """Returns axis limits, in percent, around the shares and the target."""
    return min(0.1, 0.8 * min(shares)), max(2 * 100 * BYTES_SHARE, 1.3 * max(shares))


# Training

SMOOTHED = 9  # points of a moving mean; a point is a hundredth of the steps
STAGES = {  # arms after the conversion: label, colour, line style
    "full": ("full model, trained on", BLUE, "-"),
    "collectivekv": ("CollectiveKV, with the full model as teacher", ORANGE, "-"),
    "user_dims_only": ("user dims alone", GREEN, "--"),
}


def draw_curve(axis: Axes, losses: list[float], begin: int, **look) -> None:
    """Draws moving means of losses from x = `begin` to `begin` + 1. Every third point is enough."""
    x, window = np.asarray(losses, float), np.ones(min(SMOOTHED, len(losses)))
    means = np.convolve(x, window, "same") / np.convolve(np.ones_like(x), window, "same")
    axis.plot(np.linspace(begin, begin + 1, len(means))[::3], means[::3], **look)


def plot_losses(quality: list[dict], path: Path) -> bool:
    """Draws losses of each job's first seed: the full model left of the line, the arms after it on the right."""
    pairs = [pair for pair in pairs_in(quality) if arm(quality, *pair, "full_before")]
    if not pairs:
        return False
    datasets = datasets_in(pairs)
    columns = max(sum(d == dataset for d, _ in pairs) for dataset in datasets)
    with figure(path, len(datasets), columns, 2.1 * columns + 0.5, 2.1 * len(datasets) + 0.7, sharex=True) as axes:
        for axis in axes.flat:
            axis.set_axis_off()
        for line, dataset in zip(axes, datasets):
            for axis, (_, family) in zip(line, [pair for pair in pairs if pair[0] == dataset]):
                axis.set_axis_on()
                draw_losses(axis, quality, dataset, family)
                axis.set_title(f"{family_title(family)}, {dataset_title(dataset)}")
            line[0].set_ylabel("loss")
        for axis in axes[-1]:
            axis.set(xticks=[0.5, 1.5], xticklabels=["full", "after\nconversion"])
            axis.tick_params(axis="x", length=0)
        legend_below(axes, min(4, columns))
    return True


def draw_losses(axis: Axes, quality: list[dict], dataset: str, family: str) -> None:
    before = arm(quality, dataset, family, "full_before").rows
    seed = min(before)
    first = before[seed]["losses"]
    axis.grid(axis="x", visible=False)
    axis.axvline(1, color=GREY, lw=0.8)
    draw_curve(axis, first, 0, color=GREY, label="full")
    for variant, (label, colour, style) in STAGES.items():
        row = arm(quality, dataset, family, variant).rows.get(seed)
        losses = row["losses"][len(first) if variant == "full" else 0 :] if row else []
        if losses:
            draw_curve(axis, losses, 1, color=colour, ls=style, label=label)
    axis.yaxis.set_major_locator(MaxNLocator(4))
    # The losses of the first steps are far above the others.
    top = np.quantile(np.concatenate([line.get_ydata() for line in axis.lines[1:]]), 0.98)
    axis.set_ylim(top=top)
