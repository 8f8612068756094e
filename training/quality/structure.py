"""Measures what users' keys and values have in common, and how a pool is used.

`structure` gives a row of results/structure.json, on K and V of the full model and on the routes of CollectiveKV:

- spectra: the share of the keys' and values' energy in the first r directions. The directions are of all users
  stacked, of the user, of the other users, or of one other user
- similarity: mean squared cosine of the principal angles between two users' first directions
- slots: the number of used slots, and how evenly they are used
- distinct: distinct slots in a history, by its length; attention collapses to these

Energy is the sum of squares about the mean position of all users, because an offset of all positions says nothing about
users. The users are drawn again, so most of them took no part in making the pool.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from conversion.convert import calibrate, with_new_pool
from conversion.sample import sample_history
from conversion.share_layer import NEVER
from data.batches import Block, make_batch
from data.history import History
from data.log import Log
from fitting.arms import Arms
from models.caches.shared import SharedKV
from models.ranker import Ranker

USERS, LONGEST = 400, 200  # users and positions for spectra, similarity and use of slots
LEAST = 32  # least positions of a user who counts
RANKS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
SUBSPACE = 8  # directions of a user that are compared with those of another user
PAIRED = 160  # users who are compared in pairs
QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95]
UNUSED = 1e-3  # directions below this fraction of the largest singular value count as unused
LENGTHS = [50, 100, 200, 500, 1000]
PER_LENGTH = 64  # users for each length whose distinct slots are counted
TOGETHER = 16  # users of one pass through the model


def structure(job: object, arms: Arms) -> dict:
    """Returns the row of a job (dataset, family, seed). Raises FileNotFoundError if its arms are not trained yet."""
    missing = [step for step in ("full", "collectivekv") if not (arms.folder / f"{step}.pt").exists()]
    if missing:
        raise FileNotFoundError(
            f"{job} has no {' and no '.join(missing)} yet: python training/quality.py run comes first"
        )
    full_model = arms.full().model
    shared = compressed(arms)
    sample = sample_history(arms.log, arms.split.train, arms.main.seed + 1000, USERS, LONGEST)
    full = ends(by_user(full_model, sample, keys_and_values))
    routes = ends(by_user(shared, sample, slots_of))
    caches = ends([cache for cache, _, _ in shared.layers(head(sample, 1))])
    distinct = ends(distinct_slots(shared, arms))
    layers = []
    for depth in full:
        users = [user for user in full[depth] if len(user) >= LEAST]
        width = users[0].shape[1] // 2
        layers.append(
            {
                "layer": depth,
                "width": width,
                "key": spread_of([user[:, :width] for user in users], arms.main.seed),
                "value": spread_of([user[:, width:] for user in users], arms.main.seed),
                "slots": usage(caches[depth], torch.cat(routes[depth])),
                "distinct": distinct[depth],
            }
        )
    return {
        "dataset": job.dataset,
        "family": job.family,
        "seed": job.seed,
        "users": len(users),
        "positions": sum(map(len, users)),
        "layers": layers,
    }


def compressed(arms: Arms) -> Ranker:
    """Returns the trained CollectiveKV.

    Its weights replace those of a new pool, which is faster than another conversion.
    """
    model = arms.trained("collectivekv", with_new_pool(arms.fresh(), arms.compression, arms.main.seed), arms.tune).model
    calibrate(model, arms.sample(), arms.main.seed)
    return model


def ends(layers: list) -> dict[int, list]:
    """Returns the lowest and the highest layer, by depth."""
    return {depth: layers[depth] for depth in sorted({0, len(layers) - 1})}


Read = Callable[[nn.Module, Tensor, Tensor], Tensor]


@torch.no_grad()
def by_user(model: Ranker, sample: History, read: Read) -> list[list[Tensor]]:
    """Applies `read` to each layer's cache and inputs. Returns [positions, any] by layer and user."""
    layers: list[list[Tensor]] = []
    for first in range(0, len(sample.item), TOGETHER):
        part = head(sample, TOGETHER, first)
        for depth, (cache, s, x) in enumerate(model.layers(part)):
            if depth == len(layers):
                layers.append([])
            layers[depth] += [rows[valid] for rows, valid in zip(read(cache, s, x), part.valid)]
    return layers


def head(sample: History, count: int, first: int = 0) -> History:
    """Returns the histories of `count` users, from user `first` on."""
    columns = {f.name: getattr(sample, f.name)[first : first + count] for f in dataclasses.fields(sample)}
    return History(**columns)


def keys_and_values(cache: nn.Module, s: Tensor, x: Tensor) -> Tensor:
    """Returns keys and values of a full model, [B, N, 2D]."""
    kv = cache(s, x)
    return torch.cat([kv.key, kv.value], -1)


def slots_of(cache: SharedKV, s: Tensor, x: Tensor) -> Tensor:
    """Returns the slots of keys and the slots of values, [B, N, 2]."""
    return torch.stack(cache.routes(x), -1)


def spread_of(users: list[Tensor], seed: int) -> dict:
    """Returns the spectra and the similarity of keys or of values, [positions, D] for each user."""
    stacked = torch.cat(users)
    mean = stacked.mean(0)
    offset = len(stacked) * mean.square().sum() / stacked.square().sum()
    users = [user - mean for user in users]
    _, strength, directions = torch.linalg.svd(torch.cat(users), full_matrices=False)
    rank = int((strength > UNUSED * strength[0]).sum())
    own = [torch.linalg.svd(user, full_matrices=False) for user in users]
    halves = [torch.linalg.svd(torch.cat(users[half::2]), full_matrices=False).Vh for half in (0, 1)]
    neighbours = [user.Vh for user in own[1:] + own[:1]]
    return {
        "offset": round(float(offset), 4),  # share of the mean position in the plain sum of squares
        "rank": rank,
        "ranks": RANKS,
        "stacked": shares(strength.square(), strength.square().sum()),
        "own": mean_of([energy_in(user, found.Vh) for user, found in zip(users, own)]),
        "others": mean_of([energy_in(user, halves[(i + 1) % 2]) for i, user in enumerate(users)]),
        "oneOther": mean_of([energy_in(user, other) for user, other in zip(users, neighbours)]),
        "similarity": similarity(users, [user.Vh for user in own], directions[:rank], seed),
    }


def energy_in(rows: Tensor, directions: Tensor) -> list[float]:
    """Returns shares of the energy of rows [P, D] in the first r orthonormal directions [R, D], for each r of RANKS."""
    return shares((rows @ directions.T).square().sum(0), rows.square().sum())


def shares(energy: Tensor, whole: Tensor) -> list[float]:
    """Returns the share of the whole in the first r directions, for each r of RANKS; in all if there are fewer."""
    held = (energy.double().cumsum(0) / whole.double()).tolist()
    return [round(held[min(rank, len(held)) - 1], 4) for rank in RANKS]


def mean_of(users: list[list[float]]) -> list[float]:
    """Returns the mean over users, for each of RANKS."""
    return np.mean(users, 0).round(4).tolist()


def similarity(users: list[Tensor], own: list[Tensor], span: Tensor, seed: int) -> dict:
    """Returns similarities: of pairs of users, of groups of positions from all users, of random used directions."""
    torch.manual_seed(seed)
    counts = [len(user) for user in users[:PAIRED]]
    mixed = torch.cat(users)
    mixed = mixed[torch.randperm(len(mixed))[: sum(counts)]].split(counts)
    random = [torch.linalg.qr(torch.randn(len(span), SUBSPACE)).Q.T @ span for _ in counts]
    return {
        "users": similarities(own[:PAIRED]),
        "mixed": similarities([torch.linalg.svd(rows, full_matrices=False).Vh for rows in mixed]),
        "random": similarities(random),
    }


def similarities(directions: list[Tensor]) -> dict:
    """Returns the mean and quantiles over all pairs: the mean squared cosine between first directions [R, D]."""
    first = torch.cat([d[:SUBSPACE] for d in directions])  # [U * 8, D]
    cosine = (first @ first.T).square().unflatten(0, (-1, SUBSPACE)).unflatten(2, (-1, SUBSPACE))  # [U, 8, U, 8]
    pairs = (cosine.sum((1, 3)) / SUBSPACE).numpy()[np.triu_indices(len(directions), 1)]
    return {"mean": round(float(pairs.mean()), 4), "quantiles": np.quantile(pairs, QUANTILES).round(4).tolist()}


def usage(cache: SharedKV, routes: Tensor) -> dict[str, dict]:
    """Returns, for each router, the use of its slots by positions [P, 2]. A tied router is named `tied`."""
    found = {}
    for name, router, slots in routers(cache, routes):
        share = torch.bincount(slots, minlength=cache.compression.slots).double().sort(descending=True).values
        share = share / share.sum()
        entropy = -(share * share.clamp(min=1e-12).log()).sum()
        used = int((share > 0).sum())
        places = np.unique(np.geomspace(1, used, 40).round().astype(int))
        found[name] = {
            "slots": len(share),
            "reachable": int((router.bias > NEVER / 2).sum()),  # the rest had no position when the pool was made
            "used": used,
            "dead": round(1 - used / len(share), 4),
            "entropyBits": round(float(entropy / np.log(2)), 3),
            "perplexity": round(float(entropy.exp()), 1),
            "place": places.tolist(),
            "share": [
                float(f"{share[place - 1]:.3g}") for place in places
            ],  # of the slot at that place; the most used slot has place 1
            "upTo": [round(float(x), 4) for x in share.cumsum(0)[places - 1]],
        }
    return found


def routers(cache: SharedKV, routes: Tensor) -> list[tuple[str, nn.Linear, Tensor]]:
    """Returns the routers of a cache: their names, the routers, and their slots [P]."""
    if cache.value_router is None:
        return [("tied", cache.router, routes[:, 0])]
    return [("key", cache.router, routes[:, 0]), ("value", cache.value_router, routes[:, 1])]


def distinct_slots(model: Ranker, arms: Arms) -> list[dict[str, dict]]:
    """Returns, by layer, router and length, the mean number of distinct slots in the first positions of histories."""
    last = np.zeros(arms.log.users, np.int64)  # positions that the learned queries see
    np.maximum.at(last, arms.log.query_user()[arms.split.train], arms.log.query_now[arms.split.train])
    random = np.random.default_rng(arms.main.seed)
    found: list[dict[str, dict]] = []
    for length in LENGTHS:
        users = random.permutation(np.flatnonzero(last >= length))[:PER_LENGTH]
        if not len(users):
            break
        sample = first_positions(arms.log, arms.split.train, users, length)
        caches = [cache for cache, _, _ in model.layers(head(sample, 1))]
        for depth, lines in enumerate(by_user(model, sample, slots_of)):
            if depth == len(found):
                found.append({})
            for i, (name, _, _) in enumerate(routers(caches[depth], lines[0])):
                counts = [len(line[:, i].unique()) for line in lines]
                row = {"users": len(users), "mean": round(float(np.mean(counts)), 1)}
                found[depth].setdefault(name, {})[str(length)] = row
    return found


def first_positions(log: Log, learned: np.ndarray, users: np.ndarray, length: int) -> History:
    """Returns the first `length` positions of these users."""
    blocks = [Block(int(log.starts[user]), int(log.starts[user] + length), 0, 0) for user in users]
    return make_batch(log, learned, blocks, "cpu").history
