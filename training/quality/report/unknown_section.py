"""The section on unknown items, from unknown.json."""

from quality.report.text import ABSENT, Results, differences, means, table
from quality.report.verdicts import METRICS, Arm, amount, dataset_title, datasets_in

RECORDS = {"full": "full model", "factored": "factored pool", "residual": "residual codes"}
STAND_INS = {
    "known": "nothing: the training knew all items",
    "unknown item": "the unknown item, learned",
    "mean item": "the mean of all items",
    "left out": "left out of the history",
}

ABOUT = """An item that came after the training is unknown to the bundle. Its positions take the row of the *unknown
item*, index 0 of the catalogue, with the code of what happened. The training learns this row: it makes one position in
a hundred unknown.

Here one item in ten is hidden. The training meets neither the positions nor the queries of these items. In the
histories of test queries they are unknown; the test queries are of known items. Three stand-ins for such a position are
compared, without further training after the conversion. Above them is a model that learned from all items, with its AUC
/ GAUC. The rows of the stand-ins have theirs minus that model's."""


def unknown_items(r: Results) -> str:
    if not r.unknown:
        return ABSENT
    head = ["data set", "positions hidden", "record", "a position of a hidden item becomes", "AUC / GAUC"]
    lines = []
    for name in datasets_in(r.unknown):
        own = [row for row in r.unknown if row["dataset"] == name]
        labels = [dataset_title(name), f"{100 * own[0]['hiddenShare']:.1f} %"]
        for variant, record in RECORDS.items():
            arms = {stand_in: arm_of(own, variant, stand_in) for stand_in in STAND_INS}
            known, labels = arms["known"], [*labels, record]
            for stand_in, arm in arms.items():
                if arm:
                    loss = known and stand_in != "known"
                    lines.append([*labels, STAND_INS[stand_in], differences(arm, known) if loss else means(arm)])
                    labels = ["", "", ""]
            labels = labels[:2]
    return f"{ABOUT}\n\n{table(head, lines)}\n\n{apart(r.unknown)}"


def apart(rows: list[dict]) -> str:
    """How far the three stand-ins are apart, at most, for the same data set, seed and record."""
    found = dict.fromkeys(METRICS, 0.0)
    for key in {(row["dataset"], row["seed"], row["variant"]) for row in rows}:
        own = [r for r in rows if (r["dataset"], r["seed"], r["variant"]) == key and r["unknown"] != "known"]
        for metric in METRICS:
            values = [row[metric] for row in own]
            found[metric] = max([found[metric], *(x - y for x in values for y in values)])
    figures = " and ".join(f"{amount(found[metric])} in {measure}" for metric, measure in METRICS.items())
    return f"The three stand-ins of a hidden item are at most {figures} apart, for the same record and data."


def arm_of(rows: list[dict], variant: str, stand_in: str) -> Arm:
    return Arm({row["seed"]: row for row in rows if (row["variant"], row["unknown"]) == (variant, stand_in)})
