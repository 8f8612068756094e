"""Writes docs/quality.md, docs/quality-pools.md and their plots from training/results: every number comes from there.

    python training/quality.py report

Text between <!-- notes:begin --> and <!-- notes:end --> is written by hand and kept, at the end of its section.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from quality.report.bytes_section import bytes_against_quality, plot_bytes
from quality.report.kept_section import kept_encodings
from quality.report.knob_section import knobs
from quality.report.plots import plot_frontier, plot_losses
from quality.report.quality_sections import all_arms, dims_alone, protocol, targets, training_time, user_dims
from quality.report.quality_sections import summary as pool_summary
from quality.report.records_section import choice, clusters, data, pools, recommended, summary, times
from quality.report.structure_plots import plot_distinct, plot_similarity, plot_slots, plot_spectra
from quality.report.structure_sections import sharing, slots
from quality.report.text import Results
from quality.report.unknown_section import unknown_items
from quality.results import read_result_file

BEGIN, END = "<!-- notes:begin -->", "<!-- notes:end -->"
NOTES = re.compile(rf"{BEGIN}\n(.*?)\n?{END}", re.DOTALL)
ALWAYS = "Knobs"  # this section has markers for notes even if there are no notes yet

Sections = dict[str, Callable[[Results], str]]


@dataclass(frozen=True)
class Page:
    """A page of docs/: what is above its sections, and its sections by heading."""

    head: str
    sections: Sections


RECORDS = Page(
    """# Quality: what a record costs

    python training/quality.py factored --data DIR     # records as converted: trains and measures the missing rows
    python training/quality.py frontier --data DIR     # bytes against quality, residual codes among them
    python training/quality.py unknown --data DIR      # items that came after the training
    python training/quality.py kept --data DIR         # the cost of a kept encoding
    python training/quality.py times --data DIR        # processor seconds of training and of conversion
    python training/quality.py report                  # this page and its plots

The last command writes this page from `training/results/*.json`. How pools of keys and values do, with and without a
fine-tune, is on [a page of its own](quality-pools.md).""",
    {
        "Summary": summary,
        "Which record to choose": choice,
        "The recommended record": recommended,
        "Against pools of keys and values": pools,
        "Bytes against quality": bytes_against_quality,
        "Clusters": clusters,
        "User dims alone": dims_alone,
        "The time of a conversion": times,
        "Unknown items": unknown_items,
        "Kept encodings": kept_encodings,
        "The data": data,
    },
)
POOLS = Page(
    """# Quality of pools of keys and values

    python training/quality.py run --data DIR          # trains, and measures the rows that are missing
    python training/quality.py knobs --data DIR        # the same for settings other than the defaults
    python training/quality.py structure --data DIR    # measures what users share, and how the pool is used
    python training/quality.py report                  # this page and its plots

This page is about the record of `train.py --record pool`. The recommended record is on [quality](quality.md). The last
command writes this page from `training/results/*.json`. It keeps only notes between markers.

On ML-1M and KuaiRand, a pool of 10,000 slots has a slot for every token of the sample that it is made from. So it is
nearly a table of all keys and values, and its quality there says little. Data with more tokens than slots is on
[quality](quality.md#against-pools-of-keys-and-values).""",
    {
        "Targets": targets,
        "What was compared": protocol,
        "CollectiveKV against the full model": pool_summary,
        "All arms": all_arms,
        "User dims alone": user_dims,
        "Training time": training_time,
        "Knobs": knobs,
        "What users share": sharing,
        "How the pool is used": slots,
    },
)
PAGES = {"quality": RECORDS, "quality-pools": POOLS}

PLOTS: dict[str, Callable[[Results, Path], bool]] = {
    "frontier": lambda r, path: plot_frontier(r.quality, r.knobs, path),
    "losses": lambda r, path: plot_losses(r.quality, path),
    "spectra": lambda r, path: plot_spectra(r.structure, path),
    "similarity": lambda r, path: plot_similarity(r.structure, path),
    "slots": lambda r, path: plot_slots(r.structure, path),
    "distinct": lambda r, path: plot_distinct(r.structure, path),
    "bytes": lambda r, path: plot_bytes(r.frontier, r.factored, path),
}


def write_report(root: Path) -> None:
    """Rewrites the pages and the plots. Without results, a section says so and its plots are removed."""
    results = draw(read_results(root / "training" / "results"), root / "docs" / "quality")
    paths = {root / "docs" / f"{name}.md": page for name, page in PAGES.items()}
    notes = {ALWAYS: ""}
    for path in paths:
        notes |= read_notes(path.read_text() if path.exists() else "")
    for path, page in paths.items():
        sections = {heading: write(results) for heading, write in page.sections.items()}
        for heading in [heading for heading in notes if heading in sections]:
            sections[heading] += f"\n\n{BEGIN}\n{notes.pop(heading)}\n{END}"
        if page is POOLS:  # notes of a heading that no longer exists
            sections[list(sections)[-1]] += "".join(f"\n\n{BEGIN}\n{text}\n{END}" for text in notes.values())
        body = "\n\n".join(f"## {heading}\n{text}" for heading, text in sections.items())
        path.write_text(f"{page.head}\n\n{body}\n")


def read_results(folder: Path) -> Results:
    """Reads all results. The rows of a file may also be named, as values of one object."""
    names = ("quality", "knobs", "structure", "factored", "frontier", "unknown", "kept", "times")
    found = {name: read_result_file(folder / f"{name}.json") for name in names}
    rows = {name: content.get("rows", list(content.values())) for name, content in found.items()}
    return Results(**rows, datasets=found["quality"].get("datasets", {}))


def read_notes(page: str) -> dict[str, str]:
    """Returns the notes between markers, by their heading."""
    notes: dict[str, str] = {}
    heading, end = "", 0
    for block in NOTES.finditer(page):
        heading = (re.findall(r"^## (.*)$", page[end : block.start()], re.MULTILINE) or [heading])[-1]
        end = block.end()
        text = block[1].strip("\n")
        if text:
            notes[heading] = f"{notes[heading]}\n\n{text}" if heading in notes else text
    return notes


def draw(results: Results, folder: Path) -> Results:
    """Draws the plots that have results, and removes the others."""
    drawn = frozenset(name for name, plot in PLOTS.items() if plot(results, folder / f"{name}.svg"))
    for name in PLOTS.keys() - drawn:
        (folder / f"{name}.svg").unlink(missing_ok=True)
    return replace(results, plots=drawn)
