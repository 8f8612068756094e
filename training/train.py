"""Trains the twin, converts it to CollectiveKV, fine-tunes, evaluates and exports a bundle.

    python training/train.py demo                                 # simulate a log, train, write bundles/demo
    python training/train.py demo --steps 200 --fine-tune-steps 100 --out /tmp/quick    # a quick look
    python training/train.py log --log my.csv --name mine --out bundles/mine            # from a log of your own

`demo` runs the feed simulator through node, so it needs `npm ci && npm run build` first. Users are held out for
evaluation: the last tenth of the log's.
"""

import argparse
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convert import convert
from export import export_bundle
from log import ACTIONS, Log, read_log
from model import Candidates, CollectiveKV, History, ModelConfig, Twin

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class TrainConfig:
    source: str  # demo: simulate the log; log: read --log
    log: Path = ROOT / ".ckv" / "training" / "demo-log.csv"
    name: str = "demo"
    out: Path = ROOT / "bundles" / "demo"
    seed: int = 1
    steps: int = 2500  # the twin's, before the conversion
    fine_tune_steps: int = 1000  # of both the twin and CollectiveKV, after the conversion
    batch: int = 64  # histories
    candidates: int = 32  # per history: the exposures that follow it
    learning_rate: float = 4e-3
    fine_tune_rate: float = 5e-4
    key_weight: float = 1.0
    max_positions: int = 1000
    users: int = 1500  # simulated; far from the low indices that demos and tests stream
    threads: int = 2


FIRST_SIMULATED_USER = 1_000_000
EVALUATED_LENGTHS = (300, 600, 1000)


def simulate(config: TrainConfig) -> None:
    config.log.parent.mkdir(parents=True, exist_ok=True)
    simulator = ROOT / "packages" / "feed-simulator" / "dist" / "write-log.js"
    options = {
        "--users": config.users,
        "--first-user": FIRST_SIMULATED_USER,
        "--positions": config.max_positions + 50,
        "--seed": config.seed,
        "--out": config.log,
    }
    subprocess.run(["node", simulator, *(str(part) for pair in options.items() for part in pair)], check=True)


def slice_log(log: Log, begin: np.ndarray, length: int, count: int) -> tuple[History, Candidates, Tensor]:
    """Histories of `length` positions from rows `begin`, and the `count` exposures after each with their labels."""
    past = begin[:, None] + np.arange(length)  # [B, N]
    next_ = begin[:, None] + length + np.arange(count)  # [B, C]
    item, action, watch, freshness, hour, label = (
        torch.from_numpy(column)
        for column in (log.item, log.action, log.watch_ratio, log.freshness, log.hour, log.label)
    )
    history = History(item[past], action[past], watch[past])
    return history, Candidates(item[next_], freshness[next_], hour[next_]), label[next_]


def sample_batch(log: Log, users: np.ndarray, config: TrainConfig, random: np.random.Generator):
    """One length per batch, so nothing is padded: empty in a tenth of them, else between 4 and the longest."""
    longest = min(config.max_positions, int(log.lengths()[users].min()) - config.candidates)
    length = 0 if random.random() < 0.1 else int(np.exp(random.uniform(np.log(4), np.log(longest + 1))))
    user = random.choice(users, config.batch)
    latest = log.lengths()[user] - length - config.candidates
    begin = log.starts[user] + (random.random(config.batch) * (latest + 1)).astype(np.int64)
    history, candidates, label = slice_log(log, begin, length, config.candidates)
    # The unknown item and action are trained on the few positions that lose their own.
    history.item = history.item.masked_fill(torch.from_numpy(random.random(history.item.shape) < 0.01), 0)
    history.action = history.action.masked_fill(torch.from_numpy(random.random(history.item.shape) < 0.01), 0)
    candidates.item = candidates.item.masked_fill(torch.from_numpy(random.random(candidates.item.shape) < 0.01), 0)
    return history, candidates, label


def starting_items(log: Log, users: np.ndarray, width: int = 24, length: float = 2.5) -> Tensor:
    """Item embeddings [items, width] to start from: items that the same users click more than others do are near.

    A truncated SVD of the users' clicks per item above the item's rate. From random embeddings the attention takes
    thousands of steps to find any structure.
    """
    rows = slice(log.starts[users[0]], log.starts[users[-1] + 1])
    item, label, size = log.item[rows], log.label[rows], len(log.items)
    shown = np.bincount(item, minlength=size).clip(1)
    rate = np.bincount(item, label, size) / shown
    excess = np.zeros((len(users), size), np.float32)  # [users, items]
    np.add.at(excess, (np.repeat(np.arange(len(users)), log.lengths()[users]), item), label - rate[item])
    _, strength, direction = np.linalg.svd(excess / np.sqrt(shown).astype(np.float32), full_matrices=False)
    items = direction[:width].T * strength[:width]
    norm = np.linalg.norm(items, axis=1, keepdims=True).clip(1e-6)
    return torch.from_numpy((items / norm * length).astype(np.float32))


def fit(model: nn.Module, log: Log, users: np.ndarray, config: TrainConfig, steps: int, rate: float, **options) -> None:
    random = np.random.default_rng(config.seed)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.05)
    started, mean_loss = time.perf_counter(), 0.0
    for step in range(1, steps + 1):
        history, candidates, label = sample_batch(log, users, config, random)
        loss = F.binary_cross_entropy_with_logits(model(history, candidates, **options), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        mean_loss += (loss.item() - mean_loss) / min(step, 100)
        if step % 100 == 0 or step == steps:
            seconds = time.perf_counter() - started
            print(f"  step {step}/{steps}  loss {mean_loss:.4f}  {seconds:.0f} s", flush=True)


def auc(score: np.ndarray, label: np.ndarray) -> float:
    order = np.argsort(score, kind="stable")
    _, first, size = np.unique(score[order], return_index=True, return_counts=True)
    rank = np.empty(len(score))
    rank[order] = np.repeat(first + (size + 1) / 2, size)  # tied scores share their mean rank
    positive = label.sum()
    return float((rank[label == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive)))


@torch.no_grad()
def evaluate(model: nn.Module, log: Log, users: np.ndarray, with_history: bool = True, **options) -> dict[str, float]:
    """AUC over all, GAUC over (user, length), for the 50 exposures after histories of each evaluated length."""
    scores, labels, longest = [], [], int(log.lengths()[users].min()) - 50
    for length in sorted({min(length, longest) for length in EVALUATED_LENGTHS}):
        for user in np.array_split(users, max(1, len(users) // 16)):
            history, candidates, label = slice_log(log, log.starts[user], length, 50)
            if not with_history:
                history = History(*(column[:, :0] for column in (history.item, history.action, history.watch_ratio)))
            scores.append(model(history, candidates, **options).numpy())
            labels.append(label.numpy())
    score, label = np.concatenate(scores), np.concatenate(labels)
    groups = [auc(s, y) for s, y in zip(score, label) if 0 < y.sum() < len(y)]
    return {"auc": round(auc(score.ravel(), label.ravel()), 4), "gauc": round(float(np.mean(groups)), 4)}


@torch.no_grad()
def calibrate(model: CollectiveKV, sample: History) -> None:
    """Sets the int8 scales so that the largest user dims seen map to 127."""
    _, key, value = model.encode(sample)
    model.key_scale.copy_(key.abs().amax((0, 1)).clamp(min=1e-6) / 127)
    model.value_scale.copy_(value.abs().amax((0, 1)).clamp(min=1e-6) / 127)


def fine_tune(
    model: CollectiveKV, log: Log, users: np.ndarray, config: TrainConfig, sample: History, **options
) -> None:
    fit(model, log, users, config, config.fine_tune_steps, config.fine_tune_rate, **options)
    calibrate(model, sample)
    model.eval()


def main(config: TrainConfig) -> dict[str, float]:
    started = time.perf_counter()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    if config.source == "demo":
        print(f"simulate {config.users} users", flush=True)
        simulate(config)
    log = read_log(config.log)
    held_out = max(1, log.users // 10)
    train_users, test_users = np.arange(log.users - held_out), np.arange(log.users - held_out, log.users)
    print(f"{len(log.item)} exposures, {log.users} users, {held_out} held out, {len(log.items) - 1} items", flush=True)

    twin = Twin(ModelConfig(items=len(log.items), actions=len(ACTIONS)))
    start = starting_items(log, train_users)
    with torch.no_grad():
        twin.item.weight[1:, : start.shape[1]] = start[1:]
    print("train the twin", flush=True)
    fit(twin, log, train_users, config, config.steps, config.learning_rate)
    metrics: dict[str, float] = {}
    report(metrics, "twinBeforeFineTune", evaluate(twin, log, test_users))

    print("convert", flush=True)
    chosen = np.random.default_rng(config.seed).choice(int(log.starts[len(train_users)]), 60_000)
    sample = History(*(torch.from_numpy(column[chosen])[None] for column in (log.item, log.action, log.watch_ratio)))
    model = convert(twin, sample, config.seed, config.key_weight)
    user_only = convert(twin, sample, config.seed, config.key_weight, iterations=1)
    report(metrics, "converted", evaluate(model, log, test_users))

    print("fine-tune CollectiveKV", flush=True)
    fine_tune(model, log, train_users, config, sample)
    report(metrics, "", evaluate(model, log, test_users))
    report(metrics, "noHistory", evaluate(model, log, test_users, with_history=False))
    print("fine-tune the user dims alone, without the pool", flush=True)
    fine_tune(user_only, log, train_users, config, sample, use_pool=False)
    report(metrics, "userDimsOnly", evaluate(user_only, log, test_users, use_pool=False))
    print("train the twin for as many steps", flush=True)
    fit(twin, log, train_users, config, config.fine_tune_steps, config.fine_tune_rate)
    report(metrics, "twin", evaluate(twin, log, test_users))

    metrics["heldOutUsers"] = held_out
    command = f"python training/train.py {config.source} --seed {config.seed}"
    bundle_id = export_bundle(model, log, config.out, config.name, config.max_positions, command, metrics)
    minutes = (time.perf_counter() - started) / 60
    print(f"bundle {bundle_id} in {config.out}, {minutes:.1f} minutes", flush=True)
    return metrics


def report(metrics: dict[str, float], arm: str, measured: dict[str, float]) -> None:
    print(f"  {arm or 'collectiveKv'}: AUC {measured['auc']:.4f}  GAUC {measured['gauc']:.4f}", flush=True)
    for name, value in measured.items():
        metrics[arm + name.capitalize() if arm else name] = value


def parse_arguments() -> TrainConfig:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=["demo", "log"])
    for field in TrainConfig.__dataclass_fields__.values():
        if field.name != "source":
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, default=field.default)
    return TrainConfig(**vars(parser.parse_args()))


if __name__ == "__main__":
    main(parse_arguments())
