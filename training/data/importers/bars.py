"""MicroVideo1.7M_x2, KuaiVideo_x2 and Ebnerd_small_x1: the long-sequence data sets of BARS, as LongCTR reads them.

The source is a folder of https://huggingface.co/datasets/reczoo (MicroVideo1.7M_x2, KuaiVideo_x2, Ebnerd_small_x1):

| file | columns |
|---|---|
| train.parquet, valid.parquet, test.parquet | user_index, item_index, seq_len (int), is_click or click (float), more |
| user_info.parquet | full_item_seq (list of int): row i is the user with user_index i; item indexes, oldest first |
| item_info.parquet | item_index (int), item_id, more: row i is the item with item_index i; row 0 is padding |

The history of a sample is the first seq_len entries of its user's full_item_seq.

Sources:

- Files, columns and label: reczoo/LongCTR, `benchmark/DCNv2_kuaivideo_x2/*_01_50.yaml`,
  `benchmark/DCNv2_ebnerd_small_x1/*_01_50.yaml` and `benchmark/DIN_microvideo1.7m_x2/*_06_1000/dataset_config.yaml`.
- full_item_seq, its prefixes and the padding: LongCTRDataLoader of src/longctr_dataloader.py, which reczoo/LongCTR,
  run_expid.py and Lee-Jingyu/CollectiveKV, test.py import.
- full_item_seq holds clicks: pos_items in reczoo/Datasets, KuaiShou/KuaiVideo_x1/convert_kuaivideo_x1.py.

The log: item_id is item_index, because the item_id of the files joins rare items. The files have no times. So entry p
of full_item_seq happens p seconds after 2000-01-01, and a sample half a second before entry seq_len. The earlier rows
with the action `click` are then exactly the sample's history. Entries are unlabelled clicks. Samples have a label and
the action `click` or `impression`. A clicked sample that is also the entry at its place becomes one row. Clicked
samples that are not in full_item_seq are counted, and are part of later histories.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.importers.files import EPOCH_MS, SECOND_MS, find_file, flatten, strings
from data.log_rows import LogReport, LogRows
from data.reading.errors import LogError
from data.reading.progress import Say, quiet
from data.table_file import Batch, open_parquet, read_parquet, read_parquet_table, require_columns

SPLITS = ("train", "valid", "test")


def import_microvideo(source: Path, say: Say = quiet) -> tuple[pa.Table, LogReport]:
    return import_bars(source, "is_click", say)


def import_kuaivideo(source: Path, say: Say = quiet) -> tuple[pa.Table, LogReport]:
    return import_bars(source, "is_click", say)


def import_ebnerd_x1(source: Path, say: Say = quiet) -> tuple[pa.Table, LogReport]:
    return import_bars(source, "click", say)


def import_bars(source: Path, label: str, say: Say) -> tuple[pa.Table, LogReport]:
    if source.is_file():
        raise LogError(f"{source}: is a file; give the folder with train.parquet and user_info.parquet")
    files = {name: find_file(source, f"{name}.parquet") for name in (*SPLITS, "user_info", "item_info")}
    say("reading user_info.parquet")
    clicks = Clicks(files["user_info"])
    items = open_parquet(files["item_info"])
    require_columns(files["item_info"], items.schema_arrow.names, ["item_index"])
    rows = LogRows(source)
    clicked = [np.zeros((3, 0), np.int64)]
    for name in SPLITS:
        wanted = ["user_index", "item_index", "seq_len", label]
        require_columns(files[name], open_parquet(files[name]).schema_arrow.names, wanted)
        before = rows.kept
        for batch in read_parquet(files[name], wanted, say):
            clicked.append(add_samples(rows, batch, label, clicks, items.metadata.num_rows))
        rows.notes.append(f"{name}.parquet: {rows.kept - before:,} samples")
    user, seq_len, item = np.concatenate(clicked, 1)
    clicks.match(user, seq_len, item)
    matched = int(clicks.taken.sum())
    rows.notes.append(f"{matched:,} of {len(user):,} clicked samples are entries of full_item_seq: one row each")
    clicks.add_to(rows)
    return rows.finish()


class Clicks:
    """The full_item_seq of all users, one after another."""

    def __init__(self, path: Path):
        lists = read_parquet_table(path, ["full_item_seq"])["full_item_seq"].combine_chunks()
        if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
            raise LogError(f"{path}: column full_item_seq is {lists.type}, not lists of item indexes; fetch it again")
        self.path = path
        items, self.user = flatten(lists)
        self.item = pc.fill_null(items, 0).to_numpy().astype(np.int64)
        self.length = pc.list_value_length(lists).fill_null(0).to_numpy().astype(np.int64)
        self.start = np.cumsum(self.length) - self.length
        self.taken = np.zeros(len(self.item), bool)  # entries that are also a clicked sample

    def match(self, user: np.ndarray, seq_len: np.ndarray, item: np.ndarray) -> None:
        """Marks the entries that are clicked samples.

        A sample's entry is at its seq_len. If several clicks have the same seq_len, it is one of as many entries.
        """
        moment = user * (seq_len.max(initial=0) + 1) + seq_len
        _, moment, count = np.unique(moment, return_inverse=True, return_counts=True)
        count = count[moment]
        left = np.arange(len(user))
        for ahead in range(int(count.max(initial=0))):
            left = left[(count[left] > ahead) & (seq_len[left] + ahead < self.length[user[left]])]
            entry = self.start[user[left]] + seq_len[left] + ahead
            same = self.item[entry] == item[left]
            _, first = np.unique(entry[same], return_index=True)
            found = np.flatnonzero(same)[first]
            self.taken[entry[found]] = True
            left = np.delete(left, found)

    def add_to(self, rows: LogRows) -> None:
        """Adds the entries that are not clicked samples."""
        padding = int((self.item == 0).sum())
        if padding:
            rows.notes.append(f"{padding:,} entries of full_item_seq are padding: left out")
        kept = np.flatnonzero((self.item != 0) & ~self.taken)
        for part in np.array_split(kept, max(1, len(kept) // 1_000_000)):
            user = self.user[part]
            columns = {
                "user_id": strings(user),
                "item_id": strings(self.item[part]),
                "timestamp_ms": pa.array(EPOCH_MS + (part - self.start[user]) * SECOND_MS),
                "action": pa.array(["click"] * len(part)),
            }
            rows.add(columns, Batch(self.path, "row", columns, user + 1))


def add_samples(rows: LogRows, batch: Batch, label: str, clicks: Clicks, items: int) -> np.ndarray:
    """Adds samples. Returns user, seq_len and item of the clicked ones: [3, clicked]."""

    def whole(name: str) -> np.ndarray:
        return batch.columns[name].cast(pa.float64(), safe=False).fill_null(-1).to_numpy().astype(np.int64)

    user, item, seq_len = whole("user_index"), whole("item_index"), whole("seq_len")
    sound = np.ones(len(user), bool)
    for reason, wrong in (
        ("user_index is not a row of user_info", (user < 0) | (user >= len(clicks.length))),
        ("item_index is padding or not a row of item_info", (item <= 0) | (item >= items)),
        ("seq_len is negative or missing", seq_len < 0),
        (f"no {label}", batch.columns[label].is_null().to_numpy(zero_copy_only=False)),
    ):
        rows.skip(reason, batch, batch.places[wrong & sound])
        sound &= ~wrong
    user, item, seq_len = user[sound], item[sound], seq_len[sound]
    value = batch.columns[label].filter(pa.array(sound))
    clicked = pc.equal(value, 1)
    columns = {
        "user_id": strings(user),
        "item_id": strings(item),
        "timestamp_ms": pa.array(EPOCH_MS + seq_len * SECOND_MS - SECOND_MS // 2),
        "action": pc.if_else(clicked, "click", "impression"),
        "label": value,
    }
    rows.add(columns, replace(batch, columns=columns, places=batch.places[sound]))
    return np.stack([user, seq_len, item])[:, clicked.to_numpy(zero_copy_only=False)]
