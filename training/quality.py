"""Measures the quality that compression costs: CollectiveKV against the full model, for every family on real data.

    python training/quality.py run --data DIR                      # all that is missing in results/quality.json
    python training/quality.py run --data DIR --only ml-1m/sim/1   # one job: dataset/family/seed
    python training/quality.py knobs --data DIR                    # pool size, user dims, ties, recipes
    python training/quality.py structure --data DIR                # spectra, similarity of users, use of slots
    python training/quality.py factored --data DIR                 # records as converted, on all data sets and families
    python training/quality.py frontier --data DIR                 # bytes against quality, residual codes among them
    python training/quality.py unknown --data DIR                  # items that came after the training
    python training/quality.py kept --data DIR                     # the cost of a kept encoding
    python training/quality.py times --data DIR                    # processor seconds of training and of conversion
    python training/quality.py report                              # docs/quality*.md and their plots from the results

DIR holds the data sets as published, see GRID in quality/protocol.py. The simulated data set is made by the feed
simulator, which needs npm ci && npm run build. Each job has one process and one thread. An interrupted job goes on at
its last checkpoint in .ckv/training/quality. Rows in the results are not measured again: after a change of settings,
remove both. `--device cuda` lets factored and frontier train and measure on a GPU.

The full model is trained for `epochs` and converted. Then the full model and its conversion are each trained for
`tune_epochs` more, with the same settings and seed. The user dims alone and the model without history learn from
scratch for both. Test queries are never learned from, and no pool is made from their positions.

The code is in the package quality/, which is what `import quality` gives. Nothing imports this file.
"""

# ruff: noqa: E402, I001
from errors import exit_code, exit_on_ctrl_c

INTERRUPTED = "interrupted; the same command goes on at the last checkpoints"
if __name__ == "__main__":
    exit_on_ctrl_c(INTERRUPTED)  # before the imports: they take seconds

import argparse
import multiprocessing
import sys
from pathlib import Path

from quality.protocol import ROOT, VARIANTS
from quality.report.page import write_report
from quality.runs import factored, frontier, kept, knobs, run, structures, times, unknown_items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "command", choices=["run", "knobs", "structure", "factored", "frontier", "unknown", "kept", "times", "report"]
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "data")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--variants", nargs="*", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--device", default="cpu", help="of factored and frontier: cpu or cuda")
    options = parser.parse_args()
    if options.command == "report":
        write_report(ROOT)
    elif options.command == "run":
        run(options.data, options.only, options.workers, options.variants)
    elif options.command in ("factored", "frontier"):
        act = factored if options.command == "factored" else frontier
        act(options.data, options.only, options.workers, options.device)
    else:
        acts = {"knobs": knobs, "structure": structures, "unknown": unknown_items, "kept": kept, "times": times}
        acts[options.command](options.data, options.only, options.workers)


if __name__ == "__main__":
    sys.exit(exit_code(main, INTERRUPTED))
