"""Writes docs/quality.md and its plots from training/results: every number on the page comes from there.

    python training/quality.py report

Text between <!-- notes:begin --> and <!-- notes:end --> is written by hand and kept, at the end of its section.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from quality.report.bytes_section import bytes_against_quality, plot_bytes
from quality.report.factored_section import factored
from quality.report.knob_section import knobs
from quality.report.plots import plot_frontier, plot_losses
from quality.report.quality_sections import all_arms, protocol, summary, targets, training_time, user_dims
from quality.report.structure_plots import plot_distinct, plot_similarity, plot_slots, plot_spectra
from quality.report.structure_sections import sharing, slots
from quality.report.text import Results
from quality.report.unknown_section import unknown_items
from quality.results import read_result_file

BEGIN, END = "<!-- notes:begin -->", "<!-- notes:end -->"
NOTES = re.compile(rf"{BEGIN}\n(.*?)\n?{END}", re.DOTALL)
ALWAYS = "Knobs"  # this section has markers for notes even if there are no notes yet
HEAD = """# Quality: the cost of compression

    python training/quality.py run --data DIR          # trains, and measures the rows that are missing
    python training/quality.py knobs --data DIR        # the same for settings other than the defaults
    python training/quality.py structure --data DIR    # measures what users share, and how the pool is used
    python training/quality.py factored --data DIR     # compares the factored pool with pools of keys and values
    python training/quality.py frontier --data DIR     # bytes against quality, residual codes among them
    python training/quality.py unknown --data DIR      # items that came after the training
    python training/quality.py report                  # this page and its plots

The last command writes this page from `training/results/*.json`. It keeps only notes between markers.

**Which settings to choose, and why: [knobs](#knobs).**"""

SECTIONS: dict[str, Callable[[Results], str]] = {
    "Targets": targets,
    "What was compared": protocol,
    "CollectiveKV against the full model": summary,
    "All arms": all_arms,
    "User dims alone": user_dims,
    "Training time": training_time,
    "Knobs": knobs,
    "What users share": sharing,
    "How the pool is used": slots,
    "The factored pool": factored,
    "Bytes against quality": bytes_against_quality,
    "Unknown items": unknown_items,
}

PLOTS: dict[str, Callable[[Results, Path], bool]] = {
    "frontier": lambda r, path: plot_frontier(r.quality, r.knobs, path),
    "losses": lambda r, path: plot_losses(r.quality, path),
    "spectra": lambda r, path: plot_spectra(r.structure, path),
    "similarity": lambda r, path: plot_similarity(r.structure, path),
    "slots": lambda r, path: plot_slots(r.structure, path),
    "distinct": lambda r, path: plot_distinct(r.structure, path),
    "bytes": lambda r, path: plot_bytes(r.frontier, path),
}


def write_report(root: Path) -> None:
    """Rewrites the page and the plots. Without results, a section says so and its plots are removed."""
    page = root / "docs" / "quality.md"
    results = draw(read_results(root / "training" / "results"), root / "docs" / "quality")
    sections = {heading: write(results) for heading, write in SECTIONS.items()}
    for heading, text in ({ALWAYS: ""} | read_notes(page.read_text() if page.exists() else "")).items():
        # Notes of a heading that no longer exists go to the last section.
        sections[heading if heading in sections else list(sections)[-1]] += f"\n\n{BEGIN}\n{text}\n{END}"
    body = "\n\n".join(f"## {heading}\n{text}" for heading, text in sections.items())
    page.write_text(f"{HEAD}\n\n{body}\n")


def read_results(folder: Path) -> Results:
    """Reads all results. The rows of a file may also be named, as values of one object."""
    names = ("quality", "knobs", "structure", "factored", "frontier", "unknown")
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
