"""The sections on quality, bytes and training time, of quality.json."""

import math
from statistics import fmean

from quality.report.text import Results, differences, means, share, signed, table, titles
from quality.report.verdicts import (
    BYTES_SHARE,
    BYTES_SHARE_AIM,
    FAMILIES_AIM,
    LEAST_NOISE,
    METRICS,
    STRONG_TWIN,
    TIME_SHARE,
    Arm,
    arm,
    beats,
    below_noise,
    dataset_title,
    difference,
    family_title,
    in_time,
    noise,
    paired,
    pairs_in,
    parity,
    parity_with_both,
    quick,
    quick_and_level,
    small,
    tally,
    time_share,
)


def targets(r: Results) -> str:
    counted = {
        f"AUC and GAUC of CollectiveKV within the twin's noise, at {share(BYTES_SHARE)} of its bytes or less": tally(
            r.quality, ["collectivekv", "twin"], lambda one, twin: parity(one, twin).met
        ),
        "the first, against the twin before conversion too, which training on may have made worse": tally(
            r.quality, ["collectivekv", "twin", "twin_before"], parity_with_both
        ),
        f"conversion and fine-tune take {100 * TIME_SHARE:.0f} % of the twin's training time or less": tally(
            r.quality, ["collectivekv", "twin_before"], quick
        ),
        "conversion alone takes that little, and is within the noise without any further training": tally(
            r.quality, ["converted", "twin_before", "twin"], quick_and_level
        ),
        "AUC and GAUC above those of user dims alone by more than the noise, at no more bytes": tally(
            r.quality, ["collectivekv", "user_dims_only", "twin"], lambda *arms: beats(*arms).met
        ),
    }
    lines = [[text, str(count), count.verdict] for text, count in counted.items()]
    lines.insert(1, few_bytes(r.quality))
    lines += [strong_twin(r.quality, dataset, least) for dataset, least in STRONG_TWIN.items()]
    lines += [lift(r.quality, dataset) for dataset in dict.fromkeys(dataset for dataset, _ in pairs_in(r.quality))]
    return table(["target", "measured", "verdict"], lines) + (
        "\n\n*k of n*: so many data sets x families meet it, by their means over seeds; a target is met when all do."
    )


def few_bytes(rows: list[dict]) -> list[str]:
    """How many families keep what their twin reaches at the smaller share of its bytes, on every data set measured."""
    target = f"the same at {share(BYTES_SHARE_AIM)} of its bytes or less, for {FAMILIES_AIM} families or more"
    met: dict[str, bool] = {}
    for dataset, family in pairs_in(rows):
        one, twin = (arm(rows, dataset, family, variant) for variant in ("collectivekv", "twin"))
        if paired(one, twin):
            met[family] = met.get(family, True) and parity(one, twin).met and small(one)
    if not met:
        return [target, "not measured yet", "-"]
    names = ", ".join(family_title(family) for family, is_met in met.items() if is_met)
    count = sum(met.values())
    return [target, f"{count} of {len(met)}: {names or 'none'}", "met" if count >= FAMILIES_AIM else "**missed**"]


def strong_twin(rows: list[dict], dataset: str, least: float) -> list[str]:
    target = f"the best twin on {dataset_title(dataset)} has an AUC of {least} or more"
    twins = {pair: arm(rows, *pair, "twin") for pair in pairs_in(rows) if pair[0] == dataset}
    found = [(twin.mean("auc"), family_title(family)) for (_, family), twin in twins.items() if twin]
    if not found:
        return [target, "not measured yet", "-"]
    best, family = max(found)
    return [target, f"{best:.4f}, {family}", "met" if best >= least else f"**missed** by {least - best:.4f}"]


def lift(rows: list[dict], dataset: str) -> list[str]:
    """By how much a history helps the twin: it must, or there is nothing to compress."""
    target = f"the twin above the same model without history, on {dataset_title(dataset)}"
    arms = [(arm(rows, *p, "twin"), arm(rows, *p, "no_history")) for p in pairs_in(rows) if p[0] == dataset]
    texts = []
    for metric, name in METRICS.items():
        gains = sorted({signed(difference(twin, none, metric)) for twin, none in arms if paired(twin, none)}, key=float)
        if gains:
            texts.append(f"{name} {gains[0]}" + (f" to {gains[-1]}" if len(gains) > 1 else ""))
    return [target, ", ".join(texts) or "not measured yet", "-"]


PROTOCOL = f"""Each family is trained as a *twin*, which keeps full keys and values, and is then converted to
CollectiveKV. From there the twin and CollectiveKV are each trained on for as many epochs with the same settings and
seed, HSTU for half as long. The user dims alone, which have no pool, and the model without history learn from scratch.
All have had as many epochs in all. CollectiveKV learns from the labels and the twin's probabilities; *as converted*, it
has not been trained on. Test queries are not learned from, and the pool is not made from their positions. GAUC is the
AUC within each user who has both labels, weighted by the user's test queries. *Noise* is the twin's own spread, largest
minus smallest over its seeds, or {LEAST_NOISE} where that is less.

Bytes are what Redis's MEMORY USAGE counts for the users' records, key and header included, over their positions. Their
share is of fp32 keys and values: 2 x d x 4 bytes a layer."""


def protocol(r: Results) -> str:
    seeds = len({row["seed"] for row in r.quality})
    counted = f" Seeds: {seeds}." if seeds else ""
    if not r.datasets:
        return f"{PROTOCOL}{counted}\n\nSplits, epochs and rates: `DATASETS` in `training/quality.py`."
    head = ["data set", "test", "epochs of the twin", "rate", "epochs of each arm after that", "rate"]
    lines = []
    for name, of in r.datasets.items():
        numbers = [f"{of[column]:g}" for column in ("epochs", "rate", "tune_epochs", "tune_rate")]
        lines.append([dataset_title(name), split_text(of["split"]), *numbers])
    return f"{PROTOCOL}{counted}\n\n{table(head, lines)}"


def split_text(split: str) -> str:
    """`position:0.1` in words, see split_log in log.py."""
    kind, _, size = split.partition(":")
    words = {"position": "of each user's queries", "time": "of the queries in time", "users": "of the users"}
    return f"the last {100 * float(size):g} % {words[kind]}"


def summary(r: Results) -> str:
    head = ["data set", "family", "seeds", "", "twin", "its spread", "CollectiveKV", "minus twin", "noise"]
    head += ["minus twin before", "bytes", f"<= {100 * BYTES_SHARE_AIM:g} %", f"verdict at {100 * BYTES_SHARE:g} %"]
    lines = []
    for pair in pairs_in(r.quality):
        variants = ("twin", "collectivekv", "twin_before")
        twin, shared, before = (arm(r.quality, *pair, variant) for variant in variants)
        if not paired(twin, shared):
            continue
        left = [*titles(pair), str(len(twin.rows.keys() & shared.rows.keys()))]
        right = [share(shared.mean("ratio")), "yes" if small(shared) else "**no**", str(parity(shared, twin))]
        for metric, name in METRICS.items():
            spread = f"{twin.spread(metric):.4f}" if len(twin.rows) > 1 else "-"
            line = [name, f"{twin.mean(metric):.4f}", spread, f"{shared.mean(metric):.4f}"]
            line += [signed(difference(shared, twin, metric)), f"{noise(twin, metric):.4f}"]
            line += [signed(difference(shared, before, metric)) if paired(shared, before) else "-"]
            lines.append([*left, *line, *right])
            left, right = [""] * len(left), [""] * len(right)  # once for both metrics
    return (
        table(head, lines)
        + "\n\nMeans over seeds. *Met*: AUC and GAUC at most the noise below the twin's, at no more bytes than that. "
        "*Before*: the twin as it was converted, which training on can make better or worse."
        + r.picture("frontier", "AUC above the twin against the share of the bytes, of every arm and setting")
    )


ARMS = {
    "twin_before": "twin before conversion",
    "twin": "twin",
    "converted": "as converted",
    "collectivekv": "CollectiveKV",
    "user_dims_only": "user dims alone",
    "no_history": "no history",
}


def all_arms(r: Results) -> str:
    pairs = pairs_in(r.quality)
    lines = [[*titles(pair), *(means(arm(r.quality, *pair, variant)) for variant in ARMS)] for pair in pairs]
    return "AUC / GAUC, means over seeds.\n\n" + table(["data set", "family", *ARMS.values()], lines)


def user_dims(r: Results) -> str:
    head = ["data set", "family", "bytes a position: CollectiveKV", "user dims alone"]
    head += ["CollectiveKV minus user dims, AUC / GAUC", "user dims minus twin", "verdict"]
    lines = []
    for pair in pairs_in(r.quality):
        shared, alone, twin = (arm(r.quality, *pair, v) for v in ("collectivekv", "user_dims_only", "twin"))
        if paired(shared, alone) and paired(alone, twin):
            size = [f"{a.mean('bytesPerPosition'):.1f} ({share(a.mean('ratio'))})" for a in (shared, alone)]
            quality = [differences(shared, alone), differences(alone, twin)]
            lines.append([*titles(pair), *size, *quality, str(beats(shared, alone, twin))])
    return (
        "What a row without a route can do, learned from scratch for as many epochs in all. *Met*: CollectiveKV is "
        "better by more than the noise, at no more bytes.\n\n" + table(head, lines)
    )


def training_time(r: Results) -> str:
    head = ["data set", "family", "twin (s)", "conversion (s)", "conversion and fine-tune (s)", "share"]
    head += [f"verdict at {100 * TIME_SHARE:.0f} %", "as converted minus twin, AUC / GAUC", "within the noise"]
    lines = []
    for pair in pairs_in(r.quality):
        variants = ("twin_before", "converted", "collectivekv", "twin")
        before, converted, shared, twin = (arm(r.quality, *pair, variant) for variant in variants)
        if paired(shared, before):
            seconds = [timed(a) for a in (before, converted, shared)]
            part = time_share(shared, before)
            untrained = ["-", "-"]
            if paired(converted, twin):
                short = below_noise(converted, twin)
                untrained = [differences(converted, twin), f"no: {', '.join(short)}" if short else "yes"]
            timing = ["-", "not timed"] if math.isnan(part) else [f"{100 * part:.0f} %", str(in_time(part))]
            lines.append([*titles(pair), *seconds, *timing, *untrained])
    curves = r.picture("losses", "training losses of the twin, and of what follows the conversion")
    if curves:
        curves += (
            "\n\nMoving means, first seed of each family. SIM's loss includes its search unit's where keys are kept, "
            "and CollectiveKV's is against labels mixed with the twin's probabilities: curves compare in shape, not in "
            "height."
        )
    return (
        "Processor seconds, one thread a job, of the seeds that were timed; the twin's are those before conversion.\n\n"
        + table(head, lines)
        + curves
    )


def timed(one: Arm) -> str:
    """Mean seconds of the seeds that were timed."""
    seconds = [row["trainSeconds"] for row in one.rows.values() if row["trainSeconds"]]
    return f"{fmean(seconds):.0f}" if seconds else "-"
