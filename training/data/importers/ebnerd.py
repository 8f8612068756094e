"""EBNeRD, the news data set of Ekstra Bladet (https://recsys.eb.dk): one split of the demo, small or large bundle.

| file | columns; those in brackets may be missing |
|---|---|
| behaviors.parquet | user_id, impression_time, article_ids_inview, article_ids_clicked (next_read_time, …) |
| history.parquet | user_id, article_id_fixed, impression_time_fixed (read_time_fixed, scroll_percentage_fixed) |
| articles.parquet | article_id, published_time; the file may be missing, or one folder up |

behaviors.parquet has a row for each impression, with lists of articles. history.parquet has a row for each user, with
lists, oldest first. Source: ebanalyse/ebnerd-benchmark, competition/doc/introduction.md and test/data/ebnerd.

The log: the history becomes unlabelled rows with the action `click`. Every article in view becomes a row with the time
of the impression, the action `click` or `impression` and the label 1 or 0. Times count as UTC. The features read_time_s
and scroll_percent of clicked articles are known only after the click, so use them for histories only. With
articles.parquet there is the feature article_age_h, the hours since publication. A history ends before its split
begins. Import one split only, because the history of the next split repeats the clicks of this one.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.importers.files import find_file, flatten
from data.log_rows import LogReport, LogRows
from data.reading.errors import LogError
from data.reading.progress import Say, quiet
from data.table_file import Batch, open_parquet, read_parquet, read_parquet_table, require_columns

MS_PER_HOUR = 3_600_000

# Required columns; and optional columns with the feature that each becomes.
HISTORY = (
    ["user_id", "article_id_fixed", "impression_time_fixed"],
    {"read_time_fixed": "read_time_s", "scroll_percentage_fixed": "scroll_percent"},
)
BEHAVIORS = (
    ["user_id", "impression_time", "article_ids_inview", "article_ids_clicked"],
    {"next_read_time": "read_time_s", "next_scroll_percentage": "scroll_percent"},
)


def import_ebnerd(source: Path, say: Say = quiet) -> tuple[pa.Table, LogReport]:
    if source.is_file():
        raise LogError(f"{source}: is a file; give the folder with behaviors.parquet and history.parquet")
    remedy = f"give the folder of one split, such as {source / 'train'}"
    behaviors = find_file(source, "behaviors.parquet", remedy=remedy)
    history = find_file(source, "history.parquet", remedy=remedy)
    rows = LogRows(source)
    ages = ArticleAges(source, rows)
    events = 0
    for batch in optional_columns(rows, history, HISTORY, say):
        events += add_history(rows, batch, ages)
    impressions = missed = 0
    for batch in optional_columns(rows, behaviors, BEHAVIORS, say):
        impressions += len(batch.places)
        missed += add_impressions(rows, batch, ages)
    rows.notes.append(f"{impressions:,} impressions, {events:,} events of history")
    if missed:
        rows.notes.append(f"{missed:,} clicked articles were not in view: left out")
    return rows.finish()


def optional_columns(rows: LogRows, path: Path, wanted: tuple[list[str], dict[str, str]], say: Say) -> Iterator[Batch]:
    """Reads required and optional columns, and notes the missing ones."""
    required, optional = wanted
    names = open_parquet(path).schema_arrow.names
    require_columns(path, names, required)
    for name, feature in optional.items():
        if name not in names:
            rows.notes.append(f"{path.name} has no column {name}: {feature} is unknown there")
    return read_parquet(path, [*required, *(name for name in optional if name in names)], say)


def add_history(rows: LogRows, batch: Batch, ages: "ArticleAges") -> int:
    """Adds the clicks of users' histories. Returns the number of added rows."""
    article, user = flatten(batch.columns["article_id_fixed"])
    columns = {name: flatten(batch.columns[name])[0] for name in batch.columns if name.endswith("_fixed")}
    if any(len(column) != len(article) for column in columns.values()):
        raise LogError(f"{batch.path}: a user's lists differ in length; fetch it again")
    ours = {
        "user_id": batch.columns["user_id"].take(pa.array(user)),
        "item_id": article,
        "timestamp_ms": columns["impression_time_fixed"],
        "action": pa.array(["click"] * len(article)),
    }
    features = {feature: columns[name] for name, feature in HISTORY[1].items() if name in columns}
    flat = Batch(batch.path, "row", ours, batch.places[user])
    return int(rows.add(ours, flat, features | ages.of(article, ours["timestamp_ms"])).sum())


def add_impressions(rows: LogRows, batch: Batch, ages: "ArticleAges") -> int:
    """Adds the articles in view. Returns the number of clicked articles that were not in view."""
    article, impression = flatten(batch.columns["article_ids_inview"])
    clicked_article, clicked_in = flatten(batch.columns["article_ids_clicked"])
    shown, chosen = pair(impression, article), pair(clicked_in, clicked_article)
    hit = np.isin(shown, chosen)
    of_impression = pa.array(impression)
    ours = {
        "user_id": batch.columns["user_id"].take(of_impression),
        "item_id": article,
        "timestamp_ms": batch.columns["impression_time"].take(of_impression),
        "action": pc.if_else(pa.array(hit), "click", "impression"),
        "label": pa.array(hit.astype(np.float32)),
    }
    features = {
        feature: pc.if_else(pa.array(hit), batch.columns[name].take(of_impression), None)
        for name, feature in BEHAVIORS[1].items()
        if name in batch.columns
    }
    flat = Batch(batch.path, "row", ours, batch.places[impression])
    rows.add(ours, flat, features | ages.of(article, ours["timestamp_ms"]))
    return int((~np.isin(chosen, shown)).sum())


def pair(row: np.ndarray, article: pa.Array) -> np.ndarray:
    """Returns one number for each pair of a row and an article."""
    return row.astype(np.int64) << 40 | pc.fill_null(article, 0).to_numpy().astype(np.int64)


class ArticleAges:
    """The ages of articles, if there is an articles.parquet."""

    def __init__(self, source: Path, rows: LogRows):
        self.articles = None
        try:
            path = find_file(source, "articles.parquet", within=("", ".."))
        except LogError:
            rows.notes.append("no articles.parquet: article_age_h is unknown")
            return
        table = read_parquet_table(path, ["article_id", "published_time"])
        self.articles = table["article_id"].combine_chunks()
        self.published = milliseconds(table["published_time"].combine_chunks())

    def of(self, article: pa.Array, time: pa.Array) -> dict[str, pa.Array]:
        """Returns the feature article_age_h of articles at these times; no feature without articles.parquet."""
        if self.articles is None:
            return {}
        place = pc.index_in(article.cast(self.articles.type), self.articles)
        age = pc.subtract(milliseconds(time), self.published.take(place)).cast(pa.float64())
        return {"article_age_h": pc.divide(age, float(MS_PER_HOUR))}


def milliseconds(time: pa.Array) -> pa.Array:
    return time.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
