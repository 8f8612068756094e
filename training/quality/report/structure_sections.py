"""The sections on what users share and how the pool is used, from structure.json."""

from quality.report.structure_plots import PAIRS, PARTS, layers_of
from quality.report.text import ABSENT, Results, table
from quality.report.verdicts import dataset_title

RANKS = (8, 32)
LENGTHS = (50, 100, 200, 500, 1000)


def sharing(r: Results) -> str:
    lines = []
    for label, row, layer in layers_of(r.structure):
        for part, name in PARTS.items():
            of = layer[part]
            energy = [percents(of[kind][of["ranks"].index(rank)] for rank in RANKS) for kind in KINDS]
            energy += [percents(min(1, rank / of["rank"]) for rank in RANKS)]
            alike = [f"{of['similarity'][kind]['mean']:.2f}" for kind in PAIRS]
            lines.append([dataset_title(row["dataset"]), label, name, str(of["rank"]), *energy, *alike])
    if not lines:
        return ABSENT
    ranks = " / ".join(map(str, RANKS))
    head = ["data set", "family", "", "directions in use", *(f"{kind}, {ranks}" for kind in KINDS.values())]
    head += [f"random, {ranks}", "two users alike", "mixed users", "random"]
    return (
        f"Energy, in percent, of a user's keys or values in the first {ranks} directions (SVD). These are directions "
        "of the user, of the other users stacked, of one other user, and random used directions. Energy is the sum of "
        "squares about the mean of all users. *Alike*: the mean squared cosine of the principal angles between the "
        "first 8 directions of two users. Beside it are those of *mixed users*, as many positions drawn from all "
        "users, and of random directions. Means over users and over pairs.\n\n"
        + table(head, lines)
        + r.picture("spectra", "energy of a user's positions against the number of directions")
        + r.picture("similarity", "how alike the keys and values of two users are, by family")
        + "\n\nThe lower plot has the median of all pairs, and bars from the 5th to the 95th percentile."
    )


KINDS = {"own": "the user's own", "others": "other users'", "oneOther": "one other user's"}


def percents(shares) -> str:
    return " / ".join(f"{100 * share:.0f}" for share in shares)


def slots(r: Results) -> str:
    lines = []
    for label, row, layer in layers_of(r.structure):
        for router, use in layer["slots"].items():
            name = label if router == "tied" else f"{label}, {router}s"
            used = [f"{use['used']:,} of {use['slots']:,}", f"{100 * use['dead']:.0f} %"]
            used += [f"{use['entropyBits']:.1f}", f"{use['perplexity']:,.0f}"]
            counts = layer["distinct"].get(router, {})
            distinct = [f"{counts[str(n)]['mean']:.0f}" if str(n) in counts else "-" for n in LENGTHS]
            lines.append([dataset_title(row["dataset"]), name, *used, *distinct])
    if not lines:
        return ABSENT
    head = ["data set", "family", "slots used", "dead", "entropy (bits)", "perplexity"]
    return (
        "The slots of the positions of some hundred users. Few of these users are among those that the pool was made "
        "from. *Perplexity*: the number of evenly used slots with the same entropy. *Distinct*: distinct slots in the "
        "first positions of a history, as a mean over users with that many. Attention over shared keys collapses to "
        "these.\n\n"
        + table([*head, *(f"distinct of {n:,}" for n in LENGTHS)], lines)
        + r.picture("slots", "share of the positions that each slot has")
        + r.picture("distinct", "distinct slots against the length of the history")
    )
