"""Checks the options of train.py, before training: can this be trained, exported and served?"""

import math
import re

import numpy as np
import torch

from bundle.reserved_names import is_reserved
from data.features import Feature
from data.history import History
from data.log_file import NO_FEATURES
from data.log_rows import SCHEMA
from errors import UserError
from fitting.train_config import TrainConfig, flag
from models.compression import CODES
from models.families.registry import FAMILIES
from models.layer_sample import MOST_POSITIONS

# Lowest and highest value of each option. packages/domain/src/bundle/manifest-schema.ts has the limits of a bundle.
LIMITS: dict[str, tuple[int, int]] = {
    "seed": (0, 2**31 - 1),
    "threads": (0, 1024),
    "users": (1, 1_000_000),
    "batch": (1, 10_000_000),
    "block": (1, 100_000),
    "clusters": (0, 65_536),
    "stages": (1, 6),
    "slots": (2, 65_536),
    "user_width": (0, 16_384),
    "embedding": (2, 16_384),
    "d_model": (1, 16_384),
    "heads": (1, 256),
    "layers": (0, 32),
    "max_positions": (1, 1_000_000),
}
POSITIVE: dict[str, float] = {
    "epochs": 10_000,
    "tune_epochs": 10_000,
    "rate": 1,
    "tune_rate": 1,
}  # above 0, at most this
POOL_OPTIONS = ["slots", "user_width", "user_type", "user_form", "separate_routes"]
ROW_BYTES = 65_535  # most bytes of a record's row
FIELDS, GROUPS, FEATURES, ACTIONS = 64, 32, 64, 1024  # limits of a bundle


def check_options(c: TrainConfig) -> None:
    """Checks all options. Raises UserError with the option, its value, the limit and the remedy."""
    if not re.fullmatch("[a-z0-9-]{1,64}", c.name):
        raise UserError(f"--name {c.name!r}: a bundle's name is 1 to 64 of a-z, 0-9 and -; give another")
    for name, (low, high) in LIMITS.items():
        value = getattr(c, name)
        if not low <= value <= high:
            raise UserError(f"{flag(name)} {value}: must be {low:,} to {high:,}; give another")
    for name, high in POSITIVE.items():
        value = getattr(c, name)
        if not (math.isfinite(value) and 0 < value <= high):
            raise UserError(f"{flag(name)} {value}: must be more than 0 and at most {high:,}; give another")
    if c.d_model % c.heads:
        raise UserError(f"--heads {c.heads}: must divide --d-model {c.d_model}; change one of them")
    least = FAMILIES[c.family].least_heads
    if c.heads < least:
        raise UserError(f"--heads {c.heads}: --family {c.family} takes at least {least}; give more")
    if c.layers > 1 and FAMILIES[c.family].default_layers is None:
        raise UserError(f"--layers {c.layers}: --family {c.family} has one layer; leave the option out")
    check_width(c)
    if c.user_form == "last_head" and c.user_width >= c.d_model // c.heads:
        width = c.d_model // c.heads
        raise UserError(
            f"--user-width {c.user_width}: must be below --d-model / --heads, {width}, with --user-form last_head; "
            "give less, or --user-form own_head"
        )
    check_record(c)
    if c.keep_encoding:
        check_keeps(c)
    if c.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch finds no CUDA device; give --device cpu")


def check_keeps(c: TrainConfig) -> None:
    """Checks that a model with these options can keep an encoding."""
    kept = f"--keep-encoding {c.keep_encoding}"
    if FAMILIES[c.family].stacked:
        raise UserError(
            f"{kept}: --family {c.family} encodes behind a user's history, through layers that are trained with the "
            "others; new weights would give other rows. Leave the option out"
        )
    if c.recipe != "convert":
        raise UserError(f"{kept}: --recipe {c.recipe} learns the routes; give --recipe convert")
    if c.chosen_record == "pool" and c.user_width and c.user_form == "last_head":
        raise UserError(
            f"{kept}: with --user-form last_head, user dims are columns of the old model's keys, and mean nothing to "
            "other weights; leave the option out"
        )


def check_width(c: TrainConfig) -> None:
    """Checks the keys of a cache, in which those of several layers may lie side by side."""
    family = FAMILIES[c.family]
    layers = family.layers_in_a_cache(family.layers_of(c.layers))
    for name, what in (("d_model", "columns"), ("heads", "heads")):
        total, most = layers * getattr(c, name), LIMITS[name][1]
        if total > most:
            raise UserError(
                f"--layers {layers}: keys of all layers would have {total:,} {what}, at most {most:,} are allowed; "
                f"give fewer, or less {flag(name)}"
            )


def check_record(c: TrainConfig) -> None:
    """Checks the size of a record's row. For each layer it has one or two routes, and a code or the user dims."""
    if c.chosen_record != "pool":
        check_clustered(c)
        return
    refuse_given(c, ["clusters", "stages"], "--record factored or residual, for families that can have it")
    family = FAMILIES[c.family]
    layers = family.layers_of(c.layers) if family.stacked else 1
    routes = 2 if c.separate_routes else 1
    coded = c.user_type == "codebook" and c.user_width > 0
    user_fields = 0 if not c.user_width else 1 if coded else 2
    groups = layers * (2 if coded else 1)
    if layers * (routes + user_fields) > FIELDS or groups > GROUPS:
        raise UserError(f"--layers {layers}: a bundle takes {FIELDS} record fields and {GROUPS} groups; give fewer")
    user_bytes = 1 if coded else 2 * c.user_width * (2 if c.user_type == "float16" else 1)
    row = layers * (routes * (1 if c.slots <= 256 else 2) + user_bytes)
    if row > ROW_BYTES:
        raise UserError(
            f"--user-width {c.user_width}: a position would take {row:,} bytes, at most {ROW_BYTES:,} are allowed; "
            "give less, or --user-type codebook"
        )


def refuse_given(c: TrainConfig, names: list[str], remedy: str) -> None:
    """Raises UserError for the first of these options that is not at its default: the record has no use for it."""
    for name in names:
        value = getattr(c, name)
        if value != getattr(TrainConfig, name):
            record = f"--record {c.chosen_record}"
            raise UserError(f"{flag(name)} {value}: has no meaning for {record}; leave it out, or give {remedy}")


def check_slots(c: TrainConfig, sample: History) -> None:
    """Checks that a pool made from these histories leaves something for the user dims to hold.

    With a slot for each distinct position, keys and values equal their pool rows. The codes of user dims then tie.
    """
    if not c.user_width:
        return
    columns = torch.cat([sample.item[..., None], sample.action[..., None], sample.features.double()], -1)
    rows = columns[sample.valid][:MOST_POSITIONS]
    found = len(rows) if FAMILIES[c.family].stacked else len(rows.unique(dim=0))
    if c.slots >= found:
        raise UserError(
            f"--slots {c.slots}: the pool is made from {found:,} distinct positions, so user dims would hold nothing; "
            "give fewer slots, or --user-width 0"
        )


def check_clustered(c: TrainConfig) -> None:
    """Checks that the family and the recipe can have a factored pool or residual codes."""
    refuse_given(c, POOL_OPTIONS, "--record pool")
    if c.chosen_record == "factored":
        refuse_given(c, ["stages"], "--record residual")
    if not FAMILIES[c.family].reads_clusters:
        able = " or ".join(name for name, family in FAMILIES.items() if family.reads_clusters)
        raise UserError(
            f"--record {c.record}: the attention of --family {c.family} cannot read cluster means; give --record pool "
            f"or --family {able}"
        )
    if c.recipe != "convert":
        raise UserError(
            f"--record {c.record}: --recipe {c.recipe} learns a pool of keys and values; give --record pool, or "
            "--recipe convert"
        )
    if c.record == "residual" and FAMILIES[c.family].clusters > CODES:
        raise UserError(
            f"--record residual: its first code is the cluster, and the search of --family {c.family} needs more than "
            f"{CODES} clusters; give --record factored"
        )
    if c.record == "residual" and c.clusters > CODES:
        raise UserError(
            f"--clusters {c.clusters}: must be at most {CODES} with --record residual, where the first code is the "
            "cluster; give fewer"
        )


def check_features(features: dict[str, list[Feature]]) -> None:
    """Checks features. Raises UserError for one that a bundle cannot have, or that is a column of the log itself."""
    own = {*SCHEMA.names, *NO_FEATURES}
    for kind, found in features.items():
        if len(found) > FEATURES:
            raise UserError(f"{flag(kind)}-features: {len(found)} are given, a bundle takes {FEATURES}; give fewer")
        for feature in found:
            what = f"{flag(kind)}-features {feature.name}"
            if feature.name in own:
                raise UserError(f"{what}: is a column of the log itself, not a feature; leave it out")
            if is_reserved(feature.name):
                raise UserError(f"{what}: the graphs of a bundle use this name; rename the column")
            check_range(what, feature)
    for kinds in (["interaction"], ["candidate", "context"]):  # each the inputs of one graph
        names = [feature.name for kind in kinds for feature in features[kind]]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise UserError(
                f"feature {twice[0]!r} is duplicated among the {' and '.join(kinds)} features; leave one out"
            )


def check_range(what: str, f: Feature) -> None:
    """Checks a feature's range. Values are float32, so the range must be finite and wider than rounding."""
    with np.errstate(over="ignore"):
        low, high = np.float32(f.low), np.float32(f.high)
        width = high - low
    if not np.isfinite([low, high, width]).all() or width < 1e-6 * max(abs(low), abs(high)) or width < 1e-30:
        raise UserError(
            f"{what}:{f.low:g}:{f.high:g}: LOW and HIGH must be finite in float32 and differ by more than a millionth; "
            "give others, or scale the column"
        )


def check_log(actions: list[str], label: np.ndarray, train: np.ndarray, test: np.ndarray) -> None:
    """Checks the labels of a log. Raises UserError if nothing can be learned; prints a line if there will be no AUC."""
    if len(actions) > ACTIONS:
        raise UserError(f"the log has {len(actions) - 1:,} actions, a bundle takes {ACTIONS - 1:,}; merge some of them")
    if len(np.unique(label[train])) < 2:
        raise UserError(
            f"all {train.sum():,} labels to learn from are {label[train][0]:g}, so nothing can be learned; "
            "give a log, or a --split, with labels of 0 and of 1"
        )
    if len(np.unique(label[test])) < 2:
        print(f"  all {test.sum():,} labels to test on are {label[test][0]:g}: there will be no AUC", flush=True)
