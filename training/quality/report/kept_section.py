"""The section on kept encodings, from kept.json."""

from quality.report.text import ABSENT, Results, differences, means, table
from quality.report.verdicts import Arm, dataset_title, datasets_in

RECORDS = {"factored": "factored pool", "residual": "residual codes"}
ENCODINGS = {
    "new": "a new one",
    "new, older catalogue": "a new one, with the older catalogue",
    "kept": "the older one, kept",
    "not retrained": "the older one: the older model, not trained again",
}

ABOUT = """`train.py --keep-encoding` trains new weights for the rows of an older bundle
([decision 17](adr/0017-encoding-id.md)). It costs two things: the codes of the rows were fitted to the older weights,
and items that came later stay unknown, in histories and as candidates.

Here the older model learns from the earlier half of the training, and knows the items that it meets by then. The new
models learn from the whole training. The first row of a record has AUC / GAUC, the others theirs minus that row's. The
second row knows the older items alone, but its codes are its own: the step from it to the third is the cost of the
codes. No model is trained after its conversion."""


def kept_encodings(r: Results) -> str:
    if not r.kept:
        return ABSENT
    head = ["data set", "positions of later items", "record", "encoding", "AUC / GAUC"]
    lines = []
    for name in datasets_in(r.kept):
        own = [row for row in r.kept if row["dataset"] == name]
        labels = [dataset_title(name), f"{100 * own[0]['laterShare']:.1f} %"]
        for variant, record in RECORDS.items():
            arms = {encoding: arm_of(own, variant, encoding) for encoding in ENCODINGS}
            new, labels = arms["new"], [*labels, record]
            for encoding, arm in arms.items():
                if arm:
                    figures = means(arm) if encoding == "new" or not new else differences(arm, new)
                    lines.append([*labels, ENCODINGS[encoding], figures])
                    labels = ["", "", ""]
            labels = labels[:2]
    return f"{ABOUT}\n\n{table(head, lines)}"


def arm_of(rows: list[dict], variant: str, encoding: str) -> Arm:
    return Arm({row["seed"]: row for row in rows if (row["variant"], row["encoding"]) == (variant, encoding)})
