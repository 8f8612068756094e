"""MIND, the Microsoft news data set (https://msnews.github.io): behaviors.tsv of the training or validation set.

Columns are separated by tabs, without a header: impression id, user id, time (`11/15/2019 10:22:32 AM`), the news
clicked before, and the candidates. Both lists are separated by spaces; the clicked news is listed oldest first. A
candidate is `N129416-1` if it was clicked, else `N129416-0`. The file may be packed as .gz or .xz. Source:
msnews/msnews.github.io, assets/doc/introduction.md.

The log: every candidate becomes a row with the time of the impression as UTC, the action `click` or `impression` and
the label 1 or 0. The clicked news has no times. It becomes unlabelled rows with the action `click`, a second apart, up
to the first impression that lists it. Impressions repeat the lists of earlier ones. Only new entries count, and only if
they are not clicks of an earlier impression. The test set has no labels and is refused.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.importers.files import SECOND_MS, find_file, flatten
from data.log_rows import LogReport, LogRows
from data.reading.progress import Say, quiet
from data.table_file import Batch, read_delimited

COLUMNS = ["impression_id", "user_id", "time", "history", "candidates"]
TIME = "%m/%d/%Y %I:%M:%S %p"


def import_mind(source: Path, say: Say = quiet) -> tuple[pa.Table, LogReport]:
    path = find_file(source, "behaviors.tsv")
    rows = LogRows(path)
    impressions = Impressions()
    for batch in read_delimited(path, "\t", names=COLUMNS, quote=False, say=say):
        time = pc.strptime(batch.columns["time"], format=TIME, unit="ms", error_is_null=True)
        unread = time.is_null().to_numpy(zero_copy_only=False)
        rows.skip("time is not like 11/15/2019 10:22:32 AM", batch, batch.places[unread])
        sound = pa.array(~unread)
        columns = {name: column.filter(sound) for name, column in batch.columns.items()}
        columns["time"] = time.filter(sound).cast(pa.int64())
        batch = replace(batch, columns=columns, places=batch.places[~unread])
        impressions.add(batch, add_candidates(rows, batch))
    rows.notes.append(f"{len(impressions.seen):,} impressions")
    add_history(rows, Batch(path, "line", {}, np.zeros(0, np.int64)), impressions)
    return rows.finish()


def add_candidates(rows: LogRows, batch: Batch) -> dict[int, list[str]]:
    """Adds the candidates. Returns the clicked news of each impression, by its index in the batch."""
    candidate, impression = flatten(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(batch.columns["candidates"])))
    item, mark = pc.utf8_slice_codeunits(candidate, 0, -2), pc.utf8_slice_codeunits(candidate, -2)
    sound = pc.is_in(mark, pa.array(["-0", "-1"])).to_numpy(zero_copy_only=False)
    rows.skip("candidate does not end in -0 or -1, as in the test set", batch, batch.places[impression[~sound]])
    impression, item, mark = impression[sound], item.filter(pa.array(sound)), mark.filter(pa.array(sound))
    clicked = pc.equal(mark, "-1")
    ours = {
        "user_id": batch.columns["user_id"].take(pa.array(impression)),
        "item_id": item,
        "timestamp_ms": batch.columns["time"].take(pa.array(impression)),
        "action": pc.if_else(clicked, "click", "impression"),
        "label": clicked.cast(pa.float32()),
    }
    rows.add(ours, replace(batch, columns=ours, places=batch.places[impression]))
    clicks: dict[int, list[str]] = {}
    hit = clicked.to_numpy(zero_copy_only=False)
    for i, news in zip(impression[hit].tolist(), item.filter(clicked).to_pylist()):
        clicks.setdefault(i, []).append(news)
    return clicks


class Impressions:
    """All impressions, to find the new clicks in their histories."""

    def __init__(self):
        self.seen: list[tuple[str, int, int, str, list[str]]] = []  # user, ms, line, history, clicked news
        self.histories: dict[str, str] = {}  # each text once: a user's history seldom changes

    def add(self, batch: Batch, clicks: dict[int, list[str]]) -> None:
        columns = (batch.columns[name].to_pylist() for name in ("user_id", "time", "history"))
        for i, (user, time, history) in enumerate(zip(*columns)):
            same = self.histories.setdefault(history, history)
            self.seen.append((user, time, int(batch.places[i]), same, clicks.get(i, [])))


def add_history(rows: LogRows, batch: Batch, impressions: Impressions) -> None:
    """Adds the new clicks of the histories, before the impressions that list them."""
    users: list[str] = []
    items: list[str] = []
    times: list[int] = []
    lines: list[int] = []
    user, known, text, last_ms, clicked = "", [], None, 0, Counter()
    for who, ms, line, history, clicks in sorted(impressions.seen, key=lambda one: one[:3]):
        if who != user:
            user, known, text, last_ms, clicked = who, [], None, 0, Counter()
        if history != text:
            listed = history.split()
            new = without(new_clicks(known, listed), clicked)
            step = min(SECOND_MS, max(1, (ms - last_ms) // (len(new) + 1)))
            users += [who] * len(new)
            items += new
            times += [ms - step * (len(new) - i) for i in range(len(new))]
            lines += [line] * len(new)
            known, text = listed, history
        clicked.update(clicks)
        last_ms = ms
    ours = {
        "user_id": pa.array(users, pa.string()),
        "item_id": pa.array(items, pa.string()),
        "timestamp_ms": pa.array(times, pa.int64()),
        "action": pa.array(["click"] * len(users), pa.string()),
    }
    rows.add(ours, replace(batch, columns=ours, places=np.array(lines, np.int64)))
    rows.notes.append(f"{len(users):,} clicks of history")


def new_clicks(known: list[str], listed: list[str]) -> list[str]:
    """Returns the new entries of a list.

    If the list continues the known list, these are the entries behind it; else the entries that are not known.
    """
    shorter = min(len(known), len(listed))
    for length in range(shorter, shorter // 2, -1):
        if known[-length:] == listed[:length]:
            return listed[length:]
    return without(listed, Counter(known))


def without(listed: list[str], clicked: Counter[str]) -> list[str]:
    """Returns the list without the clicked news, each click once. Removes these from `clicked`."""
    rest = []
    for news in listed:
        if clicked[news] > 0:
            clicked[news] -= 1
        else:
            rest.append(news)
    return rest
