"""The results that the sections of docs/quality.md are written from, and their formats."""

from collections.abc import Iterable
from dataclasses import dataclass

from quality.report.verdicts import METRICS, Arm, dataset_title, difference, family_title

ABSENT = "Not measured yet."


@dataclass(frozen=True)
class Results:
    """The rows of training/results, and the names of the plots drawn from them."""

    quality: list[dict]
    knobs: list[dict]
    structure: list[dict]
    factored: list[dict]
    frontier: list[dict]
    unknown: list[dict]
    kept: list[dict]
    times: list[dict]
    datasets: dict[str, dict]  # split and training of each data set, if quality.json has them
    plots: frozenset[str] = frozenset()

    def picture(self, name: str, shows: str) -> str:
        """Returns a plot with its description; empty if the plot is not drawn."""
        return f"\n\n![{shows}](quality/{name}.svg)" if name in self.plots else ""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a Markdown table; ABSENT without rows."""
    lines = [list(head), *(list(row) for row in rows)]
    if len(lines) == 1:
        return ABSENT
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def share(value: float) -> str:
    return f"{100 * value:.2f} %"


def signed(value: float) -> str:
    """Returns a difference with its sign and four decimals. Zero has a plus."""
    return f"{round(value, 4) + 0.0:+.4f}"


def differences(one: Arm, other: Arm) -> str:
    return " / ".join(signed(difference(one, other, metric)) for metric in METRICS)


def means(of: Arm) -> str:
    return " / ".join(f"{of.mean(metric):.4f}" for metric in METRICS) if of else "-"


def titles(pair: tuple[str, str]) -> list[str]:
    return [dataset_title(pair[0]), family_title(pair[1])]
