"""Makes an interaction log from a public data set, or checks and rewrites a log of your own.

    python training/import_log.py movielens ml-1m/ratings.dat --out log.parquet
    python training/import_log.py kuairand KuaiRand-1K --out log.parquet
    python training/import_log.py log my.csv --out log.parquet
    python training/import_log.py --help

docs/interaction-log.md tells how each format becomes a log.
"""

import argparse
import sys
import time
from pathlib import Path

from data.importers.registry import IMPORTERS
from data.log_file import kind_to_write, write_table
from errors import exit_code


def main() -> None:
    width = max(map(len, IMPORTERS))
    parser = argparse.ArgumentParser(
        description="Makes an interaction log from a public data set, or from a log of your own.",
        epilog="formats:\n" + "\n".join(f"  {name:<{width}}  {one.summary}" for name, one in IMPORTERS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("format", choices=IMPORTERS, metavar="FORMAT", help="one of the formats below")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a file or folder, see the format")
    parser.add_argument("--out", type=Path, required=True, help=".parquet, .csv, .tsv or .jsonl, text also .gz or .xz")
    args = parser.parse_args()
    start = time.monotonic()
    kind_to_write(args.out)
    table, report = IMPORTERS[args.format].read(args.source, lambda text: print(text, file=sys.stderr, flush=True))
    write_table(table, args.out)
    print(*report.lines(), f"written to {args.out} in {time.monotonic() - start:.1f} s", sep="\n")


if __name__ == "__main__":
    sys.exit(exit_code(main))
