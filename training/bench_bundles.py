"""Makes bundles of any size for the benchmark, in seconds, with random weights from one seed.

    python training/bench_bundles.py --out DIR                      # all of them, each in the folder of its name
    python training/bench_bundles.py --out DIR --d-model 64 --heads 4 --slots 1024 --only shared --only full_fp32

shared           CollectiveKV with target attention and tied routes. User dims have one-byte codes: everything collapses
shared_int8      the same with user dims in int8: the user head works on positions
shared_separate  keys and values have separate routes into a large pool, as published
full_fp16        the full model: records hold keys and values in float16, d-model wide each
full_fp32        the same in float32
recompute        the same full model: records hold interactions, and every request computes keys and values from them

The last three have the same weights. They score the same, except for the rounding of float16.
"""

import argparse
import time
from pathlib import Path

import torch

from bundle.export import Export, export_bundle
from data.features import Feature
from models.compression import Compression
from models.config import ModelConfig
from models.keep_full import keep_full
from models.ranker import Ranker
from testbed.random_models import ACTIONS, catalogue_log, random_full, sampled_model

GOLDEN_POSITIONS = 50


def bench_config(args: argparse.Namespace) -> ModelConfig:
    return ModelConfig(
        "target",
        args.items + 1,
        len(ACTIONS),
        [Feature("watch_ratio")],
        [Feature("freshness")],
        [Feature("hour", 0, 24, 12, period=True)],
        embedding=args.embedding,
        d_model=args.d_model,
        heads=args.heads,
        hidden=args.hidden,
        max_positions=args.positions,
    )


def shared(full: Ranker, args: argparse.Namespace) -> Ranker:
    return sampled_model(full, Compression(slots=args.slots), args.seed)


def shared_int8(full: Ranker, args: argparse.Namespace) -> Ranker:
    return sampled_model(full, Compression(slots=args.slots, user_type="int8"), args.seed)


def shared_separate(full: Ranker, args: argparse.Namespace) -> Ranker:
    return sampled_model(full, Compression(slots=args.separate_slots, tied=False), args.seed)


def full_fp16(full: Ranker, args: argparse.Namespace) -> Ranker:
    return keep_full(full, "float16")


def full_fp32(full: Ranker, args: argparse.Namespace) -> Ranker:
    return keep_full(full, "float32")


def recompute(full: Ranker, args: argparse.Namespace) -> Ranker:
    return keep_full(full, "interactions")


BUNDLES = {make.__name__: make for make in (shared, shared_int8, shared_separate, full_fp16, full_fp32, recompute)}


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder for the bundles")
    parser.add_argument(
        "--only", action="append", choices=BUNDLES, help="a bundle to make; may be given more than once"
    )
    parser.add_argument("--d-model", type=int, default=256, help="width of a key, and of a value")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--embedding", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=128, help="width of the scorer")
    parser.add_argument("--slots", type=int, default=256, help="pool rows")
    parser.add_argument("--separate-slots", type=int, default=10_000, help="pool rows of shared_separate")
    parser.add_argument("--positions", type=int, default=50_000, help="longest history of a record")
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    if args.d_model % args.heads:
        parser.error(f"--d-model {args.d_model} must be a multiple of --heads {args.heads}")
    for name in ("slots", "separate_slots"):
        if not 1 <= getattr(args, name) <= 65_536:
            parser.error(f"--{name.replace('_', '-')} must be 1 to 65536, since a route names no more")
    return args


def command_of(args: argparse.Namespace, name: str) -> str:
    options = [(key, value) for key, value in sorted(vars(args).items()) if key not in ("out", "only")]
    given = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in options)
    return f"python training/bench_bundles.py --only {name} {given} --out DIR"


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    torch.set_num_threads(1)  # so that the bytes do not depend on the number of cores
    config = bench_config(args)
    full, log = random_full(config, args.seed), catalogue_log(config)
    for name in args.only or BUNDLES:
        begun = time.monotonic()
        folder = args.out / name
        about = Export(f"bench-{name.replace('_', '-')}", command_of(args, name), {}, args.positions, GOLDEN_POSITIONS)
        id_ = export_bundle(BUNDLES[name](full, args), log, folder, about)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{name:16} {id_} {size / 1e6:6.1f} MB {time.monotonic() - begun:5.1f} s", flush=True)


if __name__ == "__main__":
    main()
