"""The first sections of docs/quality.md, from factored.json: the recommended record beside the full model and pools."""

from statistics import fmean

from models.families.family import Family
from models.families.target import SEARCHED_CLUSTERS
from quality.factored import FIRST, SAMPLES, SWEPT
from quality.report.record_rows import FORMER_SLOTS, SEARCH_LOSS, Pair, judged, pairs_of
from quality.report.text import ABSENT, Results, differences, means, share, signed, table
from quality.report.verdicts import (
    LEAST_NOISE,
    METRICS,
    TIME_SHARE,
    Arm,
    dataset_title,
    difference,
    family_title,
    in_time,
    paired,
    places,
)

MEGABYTE = 1e6
BYTES, STACKED_BYTES = 0.0025, 0.004  # largest shares of keys and values in fp32: factored pools, pools

RECOMMENDED = f"""The recommended record is a *factored pool*: a position is the item's index and a one-byte *event
code* for its action and features. The shared part has one row per item. K and V are linear in a position's embedding,
item * (1 + g) + h, and the code gives g and h. Attention reads one mean key and one mean value per *cluster* of the
user's positions, {Family.clusters} at most. SIM, ETA and TWIN search among {SEARCHED_CLUSTERS:,} clusters and keep
whole ones. So the cost of attention does not grow with the history. A family that cannot have a factored pool keeps a
pool of keys and values.

All figures are of records *as converted*, without further training, against the full model they were converted from.
Each is a mean over the seeds. *Spread*: the full model's largest minus smallest over its seeds. A record meets the
target if it loses at most the spread, or {LEAST_NOISE} if that is more. SIM, ETA and TWIN may lose {SEARCH_LOSS} if
they read cluster means. Bytes are those of Redis, keys and headers included; their share is of keys and values in fp32.

A *token* is a distinct combination of item, action and features. A pool with a slot for every token is a table of all
keys and values and compresses nothing. So a row is *met* only if a pool of {FORMER_SLOTS:,} slots could not hold every
token. A factored pool is no such table. It has one row per item, 64 wide, which the model has anyway for its
candidates. No row depends on the action, the features or the user: these come from the event code, at most 256 rows
for any number of tokens."""

CHOICE = f"""| your model | record | options of `train.py log` |
| --- | --- | --- |
| target attention, STCA, SDIM | factored pool, {Family.clusters} clusters | none: the default |
| SIM, ETA, TWIN | factored pool, {SEARCHED_CLUSTERS:,} clusters | none: the default |
| HSTU, whose rows depend on the rows before them | pool of keys and values | none: the default |
| target attention or SDIM, with too many items for the memory of ranking | residual codes | `--record residual` |

[Benchmarks](benchmarks.md) has the time and the bytes of the first of these beside full caches, and beside records that
keep the interactions themselves."""

DATA = """Test queries are never learned from. The sample is what a conversion sees: the first positions of 400 users.
KuaiRand and ML-100K *with hours* have the hour and the weekday of each position as features. ML-1M has none, because
its source has an order but no times. The *simulated* data set is made by the feed simulator, as `quality.py factored`
does by itself. Its users meet half of all items again and feel the same about them, and each position has its share of
watched time. So a model must know which items a user has met before."""

SAMPLES_TEXT = """Of MIND and EBNeRD only small samples were at hand. They show that the importers and the conversion
work on such data. They are too small to judge a record, so they have no verdict."""

WHOLE = """A record that keeps the interactions as they are, or that computes keys and values again from them for every
request, has the full model's scores: nothing is coded. It has no row here, because it would repeat the full model's.
A pair of data set and family without a row was not measured. A spread needs more than one seed."""


def choice(_: Results) -> str:
    return CHOICE


def summary(r: Results) -> str:
    pairs = judged(r.factored)
    if not pairs:
        return ABSENT
    lines = [*verdict_lines(pairs), *byte_lines(pairs), *former_lines(pairs), *time_lines(r)]
    return "\n".join(f"- {line}" for line in lines)


def verdict_lines(pairs: list[Pair]) -> list[str]:
    counted = [pair for pair in pairs if counts(pair)]
    missed = [pair for pair in counted if not pair.verdict().met]
    names = ", ".join(f"{pair.titles[1]} on {pair.titles[0]} ({', '.join(pair.verdict().misses)})" for pair in missed)
    line = (
        f"The recommended record meets the target in {len(counted) - len(missed)} of {len(counted)} pairs of data set "
    )
    line += f"and family. Missed: {names}." if missed else "and family."
    found = [line] if counted else []
    worst = {metric: min(pairs, key=lambda p: difference(p.recommended, p.full, metric)) for metric in METRICS}
    losses = "; ".join(
        f"{METRICS[metric]} {signed(difference(p.recommended, p.full, metric))} ({p.titles[1]}, {p.titles[0]})"
        for metric, p in worst.items()
    )
    return [*found, f"The largest losses against the full model, as converted: {losses}."]


def byte_lines(pairs: list[Pair]) -> list[str]:
    lines = []
    for chosen, record, most in ((True, "factored pool", BYTES), (False, "pool", STACKED_BYTES)):
        own = [pair for pair in pairs if pair.factored == chosen]
        if own:
            long = sorted({pair.recommended.mean("bytesAt1000") for pair in own})
            shares = sorted({byte_share(pair) for pair in own})
            over = dict.fromkeys(pair.titles[0] for pair in own if byte_share(pair) > most)
            lines.append(
                f"A {record} takes {ends([f'{x:.2f}' for x in long])} bytes a position at 1,000 positions, everything "
                f"counted: {ends([f'{100 * x:.3f} %' for x in shares])} of keys and values in fp32. "
                f"The target is {100 * most:g} %" + (f", missed on {', '.join(over)}." if over else ".")
            )
    return lines


def byte_share(pair: Pair) -> float:
    """The recommended record's bytes at 1,000 positions, as a share of keys and values in fp32."""
    return pair.recommended.mean("bytesAt1000") / pair.first("fullBytes")


def former_lines(pairs: list[Pair]) -> list[str]:
    lost = [(difference(pair.pool(FORMER_SLOTS), pair.full, "auc"), pair) for pair in pairs if former(pair)]
    lost = [(by, pair) for by, pair in lost if not pair.holds_all(FORMER_SLOTS)]
    if not lost:
        return []
    by, pair = min(lost, key=lambda found: found[0])
    ours = difference(pair.recommended, pair.full, "auc")
    return [
        f"A pool of {FORMER_SLOTS:,} slots, the former default, loses most on {pair.titles[0]} with {pair.titles[1]}: "
        f"AUC {signed(by)}. The recommended record has {signed(ours)} there."
    ]


def time_lines(r: Results) -> list[str]:
    shares = sorted(row["conversionSeconds"] / row["trainSeconds"] for row in r.times)
    if not shares:
        return []
    parts = ends([f"{100 * part:.0f} %" for part in (shares[0], shares[-1])])
    return [f"The conversion takes {parts} of the full model's training time. The target is {100 * TIME_SHARE:.0f} %."]


def ends(texts: list[str]) -> str:
    """Returns the first and the last of sorted texts; one if they are the same."""
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def recommended(r: Results) -> str:
    pairs = judged(r.factored)
    head = ["data set", "family", "record", "seeds", "full model, AUC / GAUC", "its spread", "as converted, minus it"]
    head += ["bytes at 1,000 positions", "of fp32", "bytes in the data", "slots", "tokens (in the sample)"]
    head += [f"could {FORMER_SLOTS:,} slots hold every token?", "verdict"]
    lines = []
    for pair in pairs:
        ours, full = pair.recommended, pair.full
        spreads = " / ".join(f"{full.spread(metric):.4f}" for metric in METRICS) if len(full.rows) > 1 else "-"
        line = [*pair.titles, pair.record(), str(len(ours.rows)), means(full), spreads, differences(ours, full)]
        line += [f"{ours.mean('bytesAt1000'):.2f}", share(byte_share(pair))]
        tokens = f"{pair.first('tokens'):,} ({full.mean('sampleTokens'):,.0f})"
        line += [f"{ours.mean('bytesPerPosition'):.2f}", f"{ours.mean('slots'):,.0f}", tokens]
        lines.append([*line, "yes" if pair.holds_all(FORMER_SLOTS) else "no", judgement(pair)])
    return f"{RECOMMENDED}\n\n{table(head, lines)}\n\n{WHOLE}"


def counts(pair: Pair) -> bool:
    """True if the row may be met: no pool of the former size could hold every token."""
    return not pair.holds_all(FORMER_SLOTS)


def judgement(pair: Pair) -> str:
    verdict = pair.verdict()
    if verdict.met and not counts(pair):
        return "says nothing: a pool could hold every token"
    return str(verdict)


def former(pair: Pair) -> bool:
    """True if the pair has a factored pool and a pool of the former size."""
    return pair.factored and paired(pair.pool(FORMER_SLOTS), pair.full)


def pools(r: Results) -> str:
    """The factored pool beside a pool of keys and values, converted from the same full models."""
    head = [
        "data set",
        "family",
        "factored pool",
        f"pool of {FORMER_SLOTS:,} slots",
        "shared tables, MB: factored",
        "pool",
    ]
    lines = []
    for pair in judged(r.factored):
        if former(pair):
            both = (pair.recommended, pair.pool(FORMER_SLOTS))
            sizes = [f"{arm.mean('tableBytes') / MEGABYTE:,.1f}" for arm in both]
            lines.append([*pair.titles, *(differences(arm, pair.full) for arm in both), *sizes])
    about = (
        "AUC / GAUC minus the full model's, as converted, means over the same seeds. A pool has a row of keys and "
        "values per slot. Shared tables are in fp32. If the sample has fewer tokens than the pool has slots, each "
        "token of the sample has a slot of its own, see [the data](#the-data). Other sizes and settings of pools: "
        "[pools of keys and values](quality-pools.md)."
    )
    return f"{about}\n\n{table(head, lines)}"


def clusters(r: Results) -> str:
    """The factored pool by its number of clusters, on the jobs that were measured with several."""
    pairs = judged(row for row in r.factored if row["seed"] == SWEPT)
    counts_ = {pair: [size for kind, size in pair.arms if kind == "factored"] for pair in pairs}
    swept = [pair for pair in pairs if len(counts_[pair]) > 1]
    columns = sorted({count for pair in swept for count in counts_[pair]})
    lines = []
    for pair in swept:
        arms = [pair.arms.get(("factored", count), Arm({})) for count in columns]
        lines.append([*pair.titles, *(differences(arm, pair.full) if arm else "-" for arm in arms)])
    about = (
        f"AUC / GAUC minus the full model's, as converted, seed {SWEPT}. Clusters take no byte of a record. Fewer "
        f"clusters make attention cheaper. The default is {Family.clusters}. A family with a search keeps whole "
        f"clusters, so it needs finer ones: {SEARCHED_CLUSTERS:,} by default."
    )
    return f"{about}\n\n{table(['data set', 'family', *(f'{count:,} clusters' for count in columns)], lines)}"


def data(r: Results) -> str:
    head = ["data set", "users", "positions", "queries learned", "test queries", "items", "tokens", "in the sample"]
    head += ["positions with a token of the sample"]
    lines = [facts(pair) for pair in judged(r.factored) if pair.family == FIRST]
    return f"{DATA}\n\n{table(head, lines)}\n\n{samples(r)}"


def facts(pair: Pair) -> list[str]:
    numbers = [
        f"{pair.first(name):,}" for name in ("users", "positions", "trainQueries", "testQueries", "items", "tokens")
    ]
    rows = list(pair.full.rows.values())
    sampled, covered = (fmean(row[field] for row in rows) for field in ("sampleTokens", "coveredShare"))
    return [dataset_title(pair.dataset), *numbers, f"{sampled:,.0f}", f"{100 * covered:.0f} %"]


def samples(r: Results) -> str:
    head = ["sample", "users", "queries learned", "test queries", "tokens", "seeds", "full model, AUC / GAUC"]
    head += ["its spread", "factored pool, minus it", f"pool of {FORMER_SLOTS:,}, minus it"]
    lines = []
    for pair in pairs_of(r.factored):
        if pair.dataset in SAMPLES:
            numbers = [f"{pair.first(name):,}" for name in ("users", "trainQueries", "testQueries", "tokens")]
            spreads = " / ".join(f"{pair.full.spread(metric):.4f}" for metric in METRICS)
            line = [dataset_title(pair.dataset), *numbers, str(len(pair.full.rows)), means(pair.full), spreads]
            pool = pair.pool(FORMER_SLOTS)
            lines.append(
                [*line, differences(pair.recommended, pair.full), differences(pool, pair.full) if pool else "-"]
            )
    return f"{SAMPLES_TEXT}\n\n{table(head, lines)}"


def times(r: Results) -> str:
    head = ["data set", "family", "full model (s)", "conversion (s)", "share", f"verdict at {100 * TIME_SHARE:.0f} %"]
    rows = sorted(r.times, key=lambda row: (places(row["dataset"]), row["family"] != FIRST, places(row["family"])))
    lines = []
    for row in rows:
        part = row["conversionSeconds"] / row["trainSeconds"]
        seconds = [f"{row[name]:.0f}" for name in ("trainSeconds", "conversionSeconds")]
        names = [dataset_title(row["dataset"]), family_title(row["family"])]
        lines.append([*names, *seconds, f"{100 * part:.0f} %", str(in_time(part))])
    about = (
        "Processor seconds of one thread: the training of the full model, and its conversion to the recommended "
        "record. Seed 1. Rows were measured on different machines, so compare within a row."
    )
    return f"{about}\n\n{table(head, lines)}"
