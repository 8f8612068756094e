"""Measures what the compression costs: every family on real data, twin against CollectiveKV, and what the knobs do.

    python training/quality.py run --data DIR                      # all that is missing in results/quality.json
    python training/quality.py run --data DIR --only ml-1m/sim/1   # one job: dataset/family/seed
    python training/quality.py knobs --data DIR                    # pool size, user dims, ties, recipes
    python training/quality.py structure --data DIR                # spectra, similarity of users, use of slots
    python training/quality.py report                              # docs/quality.md and its plots from the results

DIR holds the data sets as published, see DATASETS. Jobs run side by side, one thread each; a job that was interrupted
goes on at its last checkpoint in .ckv/training/quality, and rows that are in the results are not measured again: after
a change of settings, remove both.

Protocol: the twin is trained for `epochs`, then the twin and its conversion each for `tune_epochs` more with the same
settings and seed; the user dims alone and the model without history are trained from scratch for both.
Test queries are never learned from, nor is a pool made from their positions.
"""

import argparse
import multiprocessing
import sys
from pathlib import Path

from errors import exit_code
from quality.protocol import ROOT, VARIANTS
from quality.report.page import write_report
from quality.runs import knobs, run, structures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "knobs", "structure", "report"])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "data")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--variants", nargs="*", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    options = parser.parse_args()
    if options.command == "report":
        write_report(ROOT)
    elif options.command == "run":
        run(options.data, options.only, options.workers, options.variants)
    else:
        act = {"knobs": knobs, "structure": structures}[options.command]
        act(options.data, options.only, options.workers)


INTERRUPTED = "interrupted; the same command goes on at the last checkpoints"

if __name__ == "__main__":
    sys.exit(exit_code(main, INTERRUPTED))
