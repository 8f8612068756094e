"""The importers: each makes an interaction log from the files of a public data set. See docs/interaction-log.md.

An importer is a function of its source (a folder or file) and of a function that prints progress. It returns the log's
table and its report. It raises LogError, which names the file and the remedy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from data.importers.bars import import_ebnerd_x1, import_kuaivideo, import_microvideo
from data.importers.ebnerd import import_ebnerd
from data.importers.kuairand import import_kuairand, import_kuairand_partial
from data.importers.mind import import_mind
from data.importers.movielens import import_movielens
from data.log_file import read_table
from data.log_rows import LogReport
from data.reading.progress import Say


@dataclass(frozen=True)
class Importer:
    summary: str  # one line: the data set and its files
    read: Callable[[Path, Say], tuple[pa.Table, LogReport]]


IMPORTERS: dict[str, Importer] = {
    "log": Importer("an interaction log, checked and rewritten: a .csv, .tsv, .jsonl or .parquet file", read_table),
    "microvideo": Importer(
        "MicroVideo1.7M_x2 of BARS: a folder with train.parquet, user_info.parquet, …", import_microvideo
    ),
    "kuaivideo": Importer("KuaiVideo_x2 of BARS: a folder with train.parquet, user_info.parquet, …", import_kuaivideo),
    "ebnerd-x1": Importer(
        "Ebnerd_small_x1 of BARS: a folder with train.parquet, user_info.parquet, …", import_ebnerd_x1
    ),
    "ebnerd": Importer("EBNeRD: one split's folder with behaviors.parquet and history.parquet", import_ebnerd),
    "movielens": Importer(
        "MovieLens: ratings.dat, u.data, ratings.csv or ratings_ordered.csv, or its folder", import_movielens
    ),
    "kuairand": Importer(
        "KuaiRand-Pure or KuaiRand-1K: the folder with log_standard_*.csv, log_random_*.csv", import_kuairand
    ),
    "kuairand-partial": Importer(
        "KuaiRand-Pure in part: user_sequences.tsv, val.tsv and test.tsv", import_kuairand_partial
    ),
    "mind": Importer("MIND: behaviors.tsv of the training or validation set, or its folder", import_mind),
}
