"""The section on knobs, from knobs.json: the effect of each setting, with the others at their defaults."""

from collections import defaultdict
from statistics import fmean

from models.compression import Compression
from quality.report.text import ABSENT, Results, share, signed, table
from quality.report.verdicts import METRICS, dataset_title, family_title, full_rows_of, job_of, pairs_in

KNOBS = {  # in the order of the tables
    "slots": "slots of the pool",
    "slots_alone": "slots, no user dims",
    "user_width": "user dims of key and of value",
    "tied": "one route for key and value",
    "share": "shared",
    "user_form": "user dims are",
    "user_type": "user dims are kept as",
    "recipe": "made by",
}
VALUES = {
    "True": "yes",
    "False": "no, one each",
    "own_head": "a head of their own",
    "last_head": "the last columns of K and V",
    "both": "keys and values",
    "keys": "keys",
    "values": "values",
    "codebook": "one code of 256",
    "published": "the published recipe",
    "conversion": "conversion",
}
DEFAULTS = {name: value for name, value in vars(Compression()).items() if name in KNOBS} | {"recipe": "conversion"}
LENGTHS = ("200", "1000")  # lengths of the histories in the table
TRAINED = ("tuned", "published")

Stages = dict[str, list[dict]]  # rows by stage


def knobs(r: Results) -> str:
    """Returns the section: a table for each pair of data set and family, and how to read it. ABSENT without rows."""
    measured = [row for row in r.knobs if row["knob"] != "full"]
    if not measured:
        return ABSENT
    return "\n\n".join(knob_table(r, pair, measured) for pair in pairs_in(measured)) + (
        "\n\nThe figures are AUC / GAUC minus those of the full model, before and after the fine-tune. Each row "
        "changes one knob; the others have their defaults. Defaults are bold, and recommended. *Distinct*: the mean "
        "number of distinct slots in the first positions of a history."
    )


def knob_table(r: Results, pair: tuple[str, str], measured: list[dict]) -> str:
    """Returns the table of one pair of data set and family, with a line for each value of each knob."""
    rows = [row for row in measured if (row["dataset"], row["family"]) == pair]
    full_rows = full_rows_of(r.quality, r.knobs)
    lines: list[list[str]] = []
    for knob, values in by_value(r, pair, rows).items():
        for value, stages in sorted(values.items(), key=lambda item: place(item[0])):
            trained = [row for stage in TRAINED for row in stages.get(stage, [])]
            found = trained or stages["converted"]
            line = ["" if lines and KNOBS.get(knob, knob) in [x[0] for x in lines] else KNOBS.get(knob, knob)]
            line += [f"**{title(value)}**" if value == DEFAULTS.get(knob) else title(value)]
            line += [share(fmean(row["ratio"] for row in found))]
            line += [above_full(stages.get("converted", []), full_rows), above_full(trained, full_rows)]
            lines.append(line + [distinct(found, length) for length in LENGTHS])
    head = ["knob", "value", "bytes", "as converted", "trained on", *(f"distinct of {int(n):,}" for n in LENGTHS)]
    seeds = len({row["seed"] for row in rows})
    name = f"**{family_title(pair[1])} on {dataset_title(pair[0])}**, {seeds} seed{'s' if seeds > 1 else ''}:"
    return f"{name}\n\n{table(head, lines)}"


def by_value(r: Results, pair: tuple[str, str], rows: list[dict]) -> dict[str, dict[object, Stages]]:
    """Returns rows by knob, value and stage.

    A default without a row of its own uses the row of another knob, or of the main experiment ("arm").
    """
    standard = default_rows(r, pair, rows)
    order = [*KNOBS, *sorted({row["knob"] for row in rows} - KNOBS.keys())]
    found: dict[str, dict[object, Stages]] = {}
    for knob in order:
        values: dict[object, Stages] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            if row["knob"] == knob:
                values[row["value"]][row["stage"]].append(row)
        if values and standard and knob in DEFAULTS:
            values.setdefault(DEFAULTS[knob], standard)
        if values:
            found[knob] = values
    return found


def default_rows(r: Results, pair: tuple[str, str], rows: list[dict]) -> Stages:
    """Returns the rows with all defaults, by stage. They are measured once: in the main experiment, or for one knob."""
    stages = {"converted": "converted", "collectivekv": "tuned"}
    arms = [row | {"stage": stages[row["variant"]]} for row in r.quality if row["variant"] in stages]
    arms = [row for row in arms if (row["dataset"], row["family"]) == pair and row["seed"] in {x["seed"] for x in rows}]
    own = [row for row in rows if row["value"] == DEFAULTS.get(row["knob"])]
    found: Stages = defaultdict(list)
    for (stage, _), row in {(row["stage"], row["seed"]): row for row in [*arms, *own]}.items():
        found[stage].append(row)
    return found


def title(value: object) -> str:
    if isinstance(value, bool | str):
        return VALUES.get(str(value), str(value))
    return f"{value:,}"


def place(value: object) -> tuple:
    """Returns a sort key: numbers by size, then names."""
    return (1, 0, str(value)) if isinstance(value, bool | str) else (0, value, "")


def above_full(rows: list[dict], full_rows: dict[tuple, dict]) -> str:
    """Returns the mean AUC and GAUC minus those of the full model. "-" if no row has a full model of the same job."""
    rows = [row for row in rows if job_of(row) in full_rows]
    if not rows:
        return "-"
    return " / ".join(signed(fmean(row[m] - full_rows[job_of(row)][m] for row in rows)) for m in METRICS)


def distinct(rows: list[dict], length: str) -> str:
    """Returns the mean number of distinct slots in the first `length` positions. "-" if it was not measured."""
    counts = [row["distinctSlots"][length] for row in rows if length in row.get("distinctSlots", {})]
    return f"{fmean(counts):.0f}" if counts else "-"
