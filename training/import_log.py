"""Makes an interaction log from a public data set, or checks and rewrites a log of your own.

    .venv/bin/python training/import_log.py movielens ml-1m/ratings.dat --out log.parquet
    .venv/bin/python training/import_log.py kuairand KuaiRand-1K --out log.parquet
    .venv/bin/python training/import_log.py log my.csv --out log.parquet
    .venv/bin/python training/import_log.py log my.csv --columns user_id=uid --skip-bad-rows --out log.parquet
    .venv/bin/python training/import_log.py --help

docs/interaction-log.md tells how each format becomes a log.
"""

import argparse
import sys
import time
from pathlib import Path

from data.importers.registry import IMPORTERS
from data.log_file import kind_to_write, read_table, write_table
from data.reading.log_columns import LOG_COLUMNS
from errors import UserError, exit_code


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
    own = parser.add_argument_group("for the format log")
    own.add_argument("--columns", type=column_map, default={}, metavar="A=B,…", help="column A is called B in the file")
    own.add_argument("--skip-bad-rows", action="store_true", help="leave out the rows that cannot be read, up to half")
    args = parser.parse_args()
    start = time.monotonic()
    kind_to_write(args.out)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if args.format == "log":
        table, report = read_table(args.source, say, columns=args.columns, skip_bad_rows=args.skip_bad_rows)
    elif args.columns or args.skip_bad_rows:
        raise UserError(f"--columns and --skip-bad-rows: have no meaning for the format {args.format}; leave them out")
    else:
        table, report = IMPORTERS[args.format].read(args.source, say)
    write_table(table, args.out)
    print(*report.lines(), f"written to {args.out} in {time.monotonic() - start:.1f} s", sep="\n")


def column_map(text: str) -> dict[str, str]:
    """Reads `A=B,…`. Raises argparse's error for another form and for a name that is not a column of a log."""
    columns: dict[str, str] = {}
    for pair in text.split(","):
        ours, _, name = pair.partition("=")
        if not name or "=" in name or ours in columns:
            raise argparse.ArgumentTypeError(f"{pair!r} has not the form A=B, such as user_id=uid, with each A once")
        if ours not in LOG_COLUMNS:
            raise argparse.ArgumentTypeError(f"{ours} is not a column of a log; these are {', '.join(LOG_COLUMNS)}")
        columns[ours] = name
    return columns


if __name__ == "__main__":
    sys.exit(exit_code(main))
