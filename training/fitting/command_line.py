"""Reads the options of train.py from the command line."""

import argparse
from dataclasses import MISSING, fields

from fitting.train_config import DEMO, TrainConfig, flag
from models.families.family import Family
from models.families.registry import FAMILIES
from models.families.target import SEARCHED_CLUSTERS

DEFAULT_LAYERS = ", ".join(f"{f.default_layers} in {f.title}" for f in FAMILIES.values() if f.default_layers)
REQUIRED = ("log", "out")  # if the source is log
CLUSTERED = ", ".join(name for name, family in FAMILIES.items() if family.reads_clusters)
HELP = {
    "log": "the interaction log, .csv, .tsv, .jsonl or .parquet",
    "out": "the folder for the bundle",
    "name": "the bundle's name",
    "family": "what candidates attend to, see training/README.md",
    "split": "rows to test on: position:SHARE, the last SHARE of each user's labelled rows; time:SHARE, the last of "
    "all in time; users:SHARE, all of the last users. With /1 behind it, as in position:0.1/1, the share before that, "
    "to choose settings on, and the last is left out",
    "history_actions": "rows with these actions are history; without this option, all rows are",
    "interaction_features": "features of an interaction, such as watch_ratio; their form is described above",
    "candidate_features": "features of an item to score, such as price:0:500:20",
    "context_features": "features of a request, such as hour:0:24:12:period",
    "seed": "seed of all random numbers",
    "epochs": "passes of the full model over the log, before the conversion",
    "rate": "highest learning rate of these passes",
    "tune_epochs": "passes of every arm after the conversion",
    "tune_rate": "highest learning rate of these passes",
    "batch": "positions of one training step",
    "block": "queries of a user that are learned together; they see as many positions before them",
    "record": "a position in a user record. factored: the item's index and a code of its event; residual: --stages "
    "codes; pool: a route into a pool of keys and values, and user dims; auto: factored if the family can have it, "
    f"else pool. Families whose attention reads cluster means can have factored and residual: {CLUSTERED}",
    "clusters": "clusters of a user's positions, if the record is factored or residual; 0: as many as the family "
    f"needs, {Family.clusters}, or {SEARCHED_CLUSTERS} with a search",
    "stages": "codes of a position, one byte each, if the record is residual",
    "slots": "rows of a pool of keys and values",
    "user_width": "user dims of a key, and of a value; 0: none",
    "user_type": "type of the user dims in records",
    "user_form": "the attention head of the user dims: a head of their own, or the last columns of the last head",
    "separate_routes": "separate routes for key and value",
    "recipe": "convert a full model; or learn router and pool from scratch, as published",
    "keep_encoding": "a bundle, whose user records the new bundle can read: its catalogue, routes and codes stay, and "
    "items that it does not know count as unknown",
    "embedding": "width of an item's embedding",
    "d_model": "width of keys and values",
    "heads": "attention heads",
    "layers": f"layers of attention; 0: {DEFAULT_LAYERS}; other families have one",
    "max_positions": "length of the longest history that is served",
    "comparisons": "also train the other arms, and put their figures into the bundle",
    "users": "simulated users of demo",
    "threads": "processor threads; 0: one for each core",
    "device": "device to train on",
    "fresh": "remove the checkpoints of an interrupted run first",
}
CHOICES = {
    "record": ["auto", "factored", "residual", "pool"],
    "family": list(FAMILIES),
    "user_type": ["codebook", "int8", "float16"],
    "user_form": ["own_head", "last_head"],
    "recipe": ["convert", "published"],
    "device": ["cpu", "cuda"],
}


def parse_arguments(about: str) -> TrainConfig:
    """Reads the command line. `about` begins the text of --help. Exits with 2 if the options are wrong."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=["demo", "log"], help="demo: simulates a log; log: reads --log")
    for f in fields(TrainConfig):
        if f.name == "source":
            continue
        meaning = HELP[f.name]
        if f.name in REQUIRED:
            parser.add_argument(flag(f.name), type=f.type, help=f"{meaning}; required with log")
        elif f.type is bool:
            text = f"{meaning} (default {'yes' if f.default else 'no'})"
            parser.add_argument(flag(f.name), action=argparse.BooleanOptionalAction, default=f.default, help=text)
        elif f.default is MISSING:
            metavar = "NAME" if f.name == "history_actions" else "FEATURE"
            parser.add_argument(flag(f.name), nargs="*", default=f.default_factory(), metavar=metavar, help=meaning)
        else:
            demo = f"; of demo {DEMO[f.name]}" if f.name in DEMO else ""
            text = f"{meaning} (default {'none' if f.default == '' else f.default}{demo})"
            choices = CHOICES.get(f.name)
            parser.add_argument(flag(f.name), type=f.type, default=f.default, choices=choices, help=text)
    options = parser.parse_args()
    if options.source == "demo":
        parser.set_defaults(**DEMO)
        options = parser.parse_args()
    missing = [f"{flag(name)}, {HELP[name]}" for name in REQUIRED if getattr(options, name) is None]
    if missing:
        parser.error(f"{' and '.join(missing)}: give it; it has no default with log")
    return TrainConfig(**vars(options))
