"""The sections on quality, bytes and training time, from quality.json."""

import math
from statistics import fmean

from quality.report.text import Results, differences, means, share, signed, table, titles
from quality.report.verdicts import (
    BYTES_SHARE,
    BYTES_SHARE_AIM,
    FAMILIES_AIM,
    LEAST_NOISE,
    METRICS,
    STRONG_FULL,
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
        f"CollectiveKV has the full model's AUC and GAUC within noise, at {share(BYTES_SHARE)} of its bytes": tally(
            r.quality, ["collectivekv", "full"], lambda one, full: parity(one, full).met
        ),
        "the same also against the full model before conversion, since more training can make a model worse": tally(
            r.quality, ["collectivekv", "full", "full_before"], parity_with_both
        ),
        f"conversion and fine-tune take at most {100 * TIME_SHARE:.0f} % of the full model's training time": tally(
            r.quality, ["collectivekv", "full_before"], quick
        ),
        "conversion alone takes at most that time, and is within noise without more training": tally(
            r.quality, ["converted", "full_before", "full"], quick_and_level
        ),
        "CollectiveKV is better than user dims alone by more than noise, at no more bytes": tally(
            r.quality, ["collectivekv", "user_dims_only", "full"], lambda *arms: beats(*arms).met
        ),
    }
    lines = [[text, str(count), count.verdict] for text, count in counted.items()]
    lines.insert(1, few_bytes(r.quality))
    lines += [strong_full(r.quality, dataset, least) for dataset, least in STRONG_FULL.items()]
    lines += [lift(r.quality, dataset) for dataset in dict.fromkeys(dataset for dataset, _ in pairs_in(r.quality))]
    return table(["target", "measured", "verdict"], lines) + (
        "\n\n*k of n*: of n pairs of data set and family, k meet the target, by their means over seeds. A target is "
        "met if all pairs meet it."
    )


def few_bytes(rows: list[dict]) -> list[str]:
    """Returns the line on the target for few bytes.

    It counts families at parity with the full model on every data set measured.
    """
    target = f"the same at {share(BYTES_SHARE_AIM)} of its bytes or less, for {FAMILIES_AIM} families or more"
    met: dict[str, bool] = {}
    for dataset, family in pairs_in(rows):
        one, full = (arm(rows, dataset, family, variant) for variant in ("collectivekv", "full"))
        if paired(one, full):
            met[family] = met.get(family, True) and parity(one, full).met and small(one)
    if not met:
        return [target, "not measured yet", "-"]
    names = ", ".join(family_title(family) for family, is_met in met.items() if is_met)
    count = sum(met.values())
    return [target, f"{count} of {len(met)}: {names or 'none'}", "met" if count >= FAMILIES_AIM else "**missed**"]


def strong_full(rows: list[dict], dataset: str, least: float) -> list[str]:
    target = f"the best full model on {dataset_title(dataset)} has an AUC of {least} or more"
    full_rows = {pair: arm(rows, *pair, "full") for pair in pairs_in(rows) if pair[0] == dataset}
    found = [(full.mean("auc"), family_title(family)) for (_, family), full in full_rows.items() if full]
    if not found:
        return [target, "not measured yet", "-"]
    best, family = max(found)
    return [target, f"{best:.4f}, {family}", "met" if best >= least else f"**missed** by {least - best:.4f}"]


def lift(rows: list[dict], dataset: str) -> list[str]:
    """Returns the line on the gain by histories. Without a gain, there would be nothing to compress."""
    target = f"the full model above the same model without history, on {dataset_title(dataset)}"
    arms = [(arm(rows, *p, "full"), arm(rows, *p, "no_history")) for p in pairs_in(rows) if p[0] == dataset]
    texts = []
    for metric, name in METRICS.items():
        gains = sorted({signed(difference(full, none, metric)) for full, none in arms if paired(full, none)}, key=float)
        if gains:
            texts.append(f"{name} {gains[0]}" + (f" to {gains[-1]}" if len(gains) > 1 else ""))
    return [target, ", ".join(texts) or "not measured yet", "-"]


PROTOCOL = f"""Each family is trained as a *full model*, which keeps full keys and values, and is then converted to
CollectiveKV. From there, the full model and CollectiveKV are each trained on for as many epochs, with the same settings
and seed; HSTU for half as many. The user dims alone, which have no pool, and the model without history learn from
scratch. Every arm has had the same number of epochs in all. CollectiveKV learns from the labels and from the full
model's probabilities. The arm *as converted* has no further training. No arm learns from test queries, and no pool is
made from their positions. GAUC is the AUC within each user who has both labels, weighted by the user's test queries.
*Noise* is the spread of the full model, largest minus smallest over its seeds, or {LEAST_NOISE} if that is more.

Bytes are the MEMORY USAGE of the users' records in Redis, keys and headers included, divided by their positions. Their
share is relative to keys and values in fp32: 2 x d x 4 bytes for each layer."""


def protocol(r: Results) -> str:
    seeds = len({row["seed"] for row in r.quality})
    counted = f" Seeds: {seeds}." if seeds else ""
    if not r.datasets:
        return f"{PROTOCOL}{counted}\n\nSplits, epochs and rates: `DATASETS` in `training/quality/protocol.py`."
    head = ["data set", "test", "epochs of the full model", "rate", "epochs of each arm after that", "rate"]
    lines = []
    for name, of in r.datasets.items():
        numbers = [f"{of[column]:g}" for column in ("epochs", "rate", "tune_epochs", "tune_rate")]
        lines.append([dataset_title(name), split_text(of["split"]), *numbers])
    return f"{PROTOCOL}{counted}\n\n{table(head, lines)}"


def split_text(split: str) -> str:
    """Returns a split in words, see data/split.py."""
    kind, _, size = split.partition(":")
    words = {"position": "of each user's queries", "time": "of the queries in time", "users": "of the users"}
    return f"the last {100 * float(size):g} % {words[kind]}"


def summary(r: Results) -> str:
    head = ["data set", "family", "seeds", "", "full model", "its spread", "CollectiveKV", "minus full model", "noise"]
    head += [
        "minus full model before",
        "bytes",
        f"<= {100 * BYTES_SHARE_AIM:g} %",
        f"verdict at {100 * BYTES_SHARE:g} %",
    ]
    lines = []
    for pair in pairs_in(r.quality):
        variants = ("full", "collectivekv", "full_before")
        full, shared, before = (arm(r.quality, *pair, variant) for variant in variants)
        if not paired(full, shared):
            continue
        left = [*titles(pair), str(len(full.rows.keys() & shared.rows.keys()))]
        right = [share(shared.mean("ratio")), "yes" if small(shared) else "**no**", str(parity(shared, full))]
        for metric, name in METRICS.items():
            spread = f"{full.spread(metric):.4f}" if len(full.rows) > 1 else "-"
            line = [name, f"{full.mean(metric):.4f}", spread, f"{shared.mean(metric):.4f}"]
            line += [signed(difference(shared, full, metric)), f"{noise(full, metric):.4f}"]
            line += [signed(difference(shared, before, metric)) if paired(shared, before) else "-"]
            lines.append([*left, *line, *right])
            left, right = [""] * len(left), [""] * len(right)  # these cells stand for both metrics
    return (
        table(head, lines)
        + "\n\nMeans over seeds. *Met*: AUC and GAUC are below the full model's by at most the noise, at no more bytes "
        "than the share in the head. *Before*: the full model at its conversion. More training can make it better or "
        "worse."
        + r.picture("frontier", "AUC minus the full model's, against the share of the bytes, for every arm and setting")
    )


ARMS = {
    "full_before": "full model before conversion",
    "full": "full model",
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
    head += ["CollectiveKV minus user dims, AUC / GAUC", "user dims minus full model", "verdict"]
    lines = []
    for pair in pairs_in(r.quality):
        shared, alone, full = (arm(r.quality, *pair, v) for v in ("collectivekv", "user_dims_only", "full"))
        if paired(shared, alone) and paired(alone, full):
            size = [f"{a.mean('bytesPerPosition'):.1f} ({share(a.mean('ratio'))})" for a in (shared, alone)]
            quality = [differences(shared, alone), differences(alone, full)]
            lines.append([*titles(pair), *size, *quality, str(beats(shared, alone, full))])
    return (
        "Records without routes, learned from scratch for as many epochs in all. *Met*: CollectiveKV is better by more "
        "than the noise, at no more bytes.\n\n" + table(head, lines)
    )


def dims_alone(r: Results) -> str:
    """What users keep without any shared part: the smallest record that is published for this purpose."""
    head = ["data set", "family", "bytes a position", "user dims alone minus the full model, AUC / GAUC"]
    lines = []
    for pair in pairs_in(r.quality):
        alone, full = (arm(r.quality, *pair, variant) for variant in ("user_dims_only", "full"))
        if paired(alone, full):
            size = f"{alone.mean('bytesPerPosition'):.1f} ({share(alone.mean('ratio'))})"
            lines.append([*titles(pair), size, differences(alone, full)])
    about = (
        "Records without any shared part, learned from scratch for as long as the full model and its fine-tune: the "
        "arm without a pool of the published method. Beside a pool: "
        "[pools of keys and values](quality-pools.md#user-dims-alone)."
    )
    return f"{about}\n\n{table(head, lines)}"


def training_time(r: Results) -> str:
    head = ["data set", "family", "full model (s)", "conversion (s)", "conversion and fine-tune (s)", "share"]
    head += [f"verdict at {100 * TIME_SHARE:.0f} %", "as converted minus full model, AUC / GAUC", "within the noise"]
    lines = []
    for pair in pairs_in(r.quality):
        variants = ("full_before", "converted", "collectivekv", "full")
        before, converted, shared, full = (arm(r.quality, *pair, variant) for variant in variants)
        if paired(shared, before):
            seconds = [timed(a) for a in (before, converted, shared)]
            part = time_share(shared, before)
            untrained = ["-", "-"]
            if paired(converted, full):
                short = below_noise(converted, full)
                untrained = [differences(converted, full), f"no: {', '.join(short)}" if short else "yes"]
            timing = ["-", "not timed"] if math.isnan(part) else [f"{100 * part:.0f} %", str(in_time(part))]
            lines.append([*titles(pair), *seconds, *timing, *untrained])
    curves = r.picture("losses", "training losses of the full model, and of the arms after the conversion")
    if curves:
        curves += (
            "\n\nMoving means of the first seed of each family. SIM's loss includes that of its search unit, if keys "
            "are kept. CollectiveKV's loss is against labels mixed with the full model's probabilities. So compare "
            "the shape of the curves, not their height."
        )
    return (
        "Processor seconds of the timed seeds, one thread for each job. Those of the full model are before conversion."
        "\n\n" + table(head, lines) + curves
    )


def timed(one: Arm) -> str:
    """Returns the mean seconds of the timed seeds; - without one."""
    seconds = [row["trainSeconds"] for row in one.rows.values() if row["trainSeconds"]]
    return f"{fmean(seconds):.0f}" if seconds else "-"
