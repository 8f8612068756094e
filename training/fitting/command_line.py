"""train.py's options: their defaults, their meaning, and how they are read from the command line."""

import argparse
from dataclasses import MISSING, fields

from fitting.train_config import DEMO, TrainConfig, flag
from models.families.registry import FAMILIES

REQUIRED = ("log", "out")  # with log
HELP = {
    "log": "the interaction log, .csv, .tsv, .jsonl or .parquet",
    "out": "the folder to write the bundle to",
    "name": "the bundle's name",
    "family": "what candidates attend to, see training/README.md",
    "split": "what is tested on: position:SHARE, the last SHARE of each user's labelled rows; time:SHARE, the last of "
    "all in time; users:SHARE, all of the last users. With /1 behind it, as in position:0.1/1, the share before that, "
    "to choose settings on, and the last is left out",
    "history_actions": "rows with these actions are history; all rows where none is named",
    "interaction_features": "features of what happened, such as watch_ratio, as above",
    "candidate_features": "features of an item to score, such as price:0:500:20",
    "context_features": "features of a request, such as hour:0:24:12:period",
    "seed": "of all that is random",
    "epochs": "passes over the log, of the full model before it is converted",
    "rate": "highest learning rate in these",
    "tune_epochs": "passes of the full model, CollectiveKV and the user dims alone after the conversion",
    "tune_rate": "highest learning rate in these",
    "batch": "positions of one step",
    "block": "queries of a user that are learned together, with as many positions before them",
    "slots": "rows of the pool, which k-means makes",
    "user_width": "user dims of key and of value; 0: none",
    "user_type": "what user dims are kept as",
    "user_form": "where user dims attend: in a head of their own, or in the last one",
    "separate_routes": "a route each for key and value",
    "recipe": "convert the full model, or learn router and pool from scratch, as published",
    "embedding": "width of an item's embedding",
    "d_model": "width of keys and values",
    "heads": "attention heads",
    "layers": "layers of HSTU",
    "max_positions": "longest history that is served",
    "comparisons": "train the other arms as well, and put their figures into the bundle",
    "users": "simulated users of demo",
    "threads": "0: as many as there are cores",
    "device": "where to train",
    "fresh": "forget the checkpoints of an interrupted run",
}
CHOICES = {
    "family": list(FAMILIES),
    "user_type": ["codebook", "int8", "float16"],
    "user_form": ["own_head", "last_head"],
    "recipe": ["convert", "published"],
    "device": ["cpu", "cuda"],
}


def parse_arguments(about: str) -> TrainConfig:
    """Reads the command line; `about` is what --help begins with. Exits with 2 for what is none."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=["demo", "log"], help="simulate a log, or read --log")
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
            text = f"{meaning} (default {f.default}{demo})"
            choices = CHOICES.get(f.name)
            parser.add_argument(flag(f.name), type=f.type, default=f.default, choices=choices, help=text)
    options = parser.parse_args()
    if options.source == "demo":
        parser.set_defaults(**DEMO)
        options = parser.parse_args()
    missing = [f"{flag(name)}, {HELP[name]}" for name in REQUIRED if getattr(options, name) is None]
    if missing:
        parser.error(f"{' and '.join(missing)}: give it, as there is no default with log")
    return TrainConfig(**vars(options))
