"""Training and evaluation of one model on one log."""

import itertools
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from data.batches import Batch, batches, cut_blocks, pack_blocks
from data.log import Log
from fitting.checkpoints import read_checkpoint, write_checkpoint
from fitting.metrics import auc, gauc, logloss

SAVE_SECONDS = 120.0  # between checkpoints


@dataclass
class FitConfig:
    epochs: float
    rate: float
    batch: int = 4096  # positions of one step, or queries if these are more
    block: int = 128  # queries of a block; they see the block's positions and as many before
    weight_decay: float = 0.0
    unknown: float = 0.01  # share of items and actions that become the unknown one
    no_history: float = 0.02  # share of queries without history
    distill: float = 0.5  # weight of the teacher's probabilities against the labels
    seed: int = 1
    device: str = "cpu"


def fit(
    model: nn.Module,
    log: Log,
    chosen: np.ndarray,
    c: FitConfig,
    name: str = "",
    checkpoint: Path | None = None,
    teacher: nn.Module | None = None,
) -> list[float]:
    """Trains on the chosen queries. Returns the mean loss of each hundredth of the steps.

    With a checkpoint file, an interrupted training goes on from it to the same result. The file is removed at the end.
    """
    torch.manual_seed(c.seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    blocks = cut_blocks(log, chosen, c.block, c.block)
    per_epoch = len(pack_blocks(blocks, c.batch, np.random.default_rng(0)))
    total = max(1, round(per_epoch * c.epochs))
    optimiser = torch.optim.AdamW(parameters, lr=c.rate, weight_decay=c.weight_decay)
    rising = max(0.1, 2 / (total + 1))  # at least one step
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, c.rate, total_steps=total + 1, pct_start=rising)
    model.train()
    state = Progress()
    if checkpoint and checkpoint.exists():
        state = restore(checkpoint, model, optimiser, schedule)
        print(f"  {name} goes on at step {state.step}/{total}", flush=True)
    started = saved = time.perf_counter()
    while state.step < total:
        random = np.random.default_rng([c.seed, state.step // per_epoch])
        shuffles = (batches(log, chosen, blocks, c.batch, random, c.device) for _ in itertools.count())
        # A shuffle may give fewer batches than an epoch has steps; the next shuffle then fills the epoch.
        for at, batch in enumerate(itertools.chain.from_iterable(shuffles)):
            if at < state.step % per_epoch:
                continue
            replace_some(batch, c)
            loss = model_loss(model, batch, teacher, c.distill)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimiser.step()
            schedule.step()
            state.add(loss.item(), total)
            if state.step % max(1, total // 10) == 0 or state.step == total:
                seconds = time.perf_counter() - started
                print(f"  {name} step {state.step}/{total}  loss {state.losses[-1]:.4f}  {seconds:.0f} s", flush=True)
            if checkpoint and time.perf_counter() - saved > SAVE_SECONDS:
                save(checkpoint, state, model, optimiser, schedule)
                saved = time.perf_counter()
            if state.step % per_epoch == 0 or state.step == total:
                break
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    model.eval()
    return state.losses


@dataclass
class Progress:
    """The steps done, and the mean losses so far."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0

    def add(self, loss: float, total: int) -> None:
        """Adds the loss of a step, of `total` steps."""
        self.step, self.loss_sum, self.loss_count = self.step + 1, self.loss_sum + loss, self.loss_count + 1
        if self.step % max(1, total // 100) == 0 or self.step == total:
            self.losses.append(self.loss_sum / self.loss_count)
            self.loss_sum, self.loss_count = 0.0, 0


def save(path: Path, state: Progress, *parts) -> None:
    """Writes a checkpoint of the progress, the random generator and the parts' states."""
    states = [part.state_dict() for part in parts]
    write_checkpoint({"state": asdict(state), "parts": states, "random": torch.get_rng_state()}, path)


def restore(path: Path, *parts) -> Progress:
    """Restores the parts and the random generator from a checkpoint. Returns the progress."""
    saved = read_checkpoint(path)
    for part, state in zip(parts, saved["parts"]):
        part.load_state_dict(state)
    torch.set_rng_state(saved["random"])
    return Progress(**saved["state"])


def replace_some(batch: Batch, c: FitConfig) -> None:
    """Makes some items and actions unknown and some histories empty, so that training learns these as well."""
    for column in (batch.history.item, batch.history.action, batch.candidates.item):
        column.masked_fill_(torch.rand(column.shape, device=column.device) < c.unknown, 0)
    now = batch.candidates.now
    now.masked_fill_(torch.rand(now.shape, device=now.device) < c.no_history, 0)


def model_loss(model: nn.Module, batch: Batch, teacher: nn.Module | None = None, distill: float = 0.0) -> torch.Tensor:
    """Returns the loss of a batch, with its modules' auxiliary losses.

    With a teacher, labels are mixed with its output.
    """
    logits = model(batch.history, batch.candidates)
    label = batch.label.nan_to_num()[batch.chosen]
    if teacher is not None:
        with torch.no_grad():
            taught = teacher(batch.history, batch.candidates)[batch.chosen].sigmoid()
        label = (1 - distill) * label + distill * taught
    loss = F.binary_cross_entropy_with_logits(logits[batch.chosen], label)
    for module in model.modules():
        if getattr(module, "auxiliary_logits", None) is not None:
            loss = loss + F.binary_cross_entropy_with_logits(module.auxiliary_logits[batch.chosen], label)
            module.auxiliary_logits = None
        if getattr(module, "auxiliary_loss", None) is not None:
            loss = loss + module.auxiliary_loss
            module.auxiliary_loss = None
    return loss


@dataclass
class Quality:
    """Figures on test queries; NaN if undefined."""

    auc: float
    gauc: float
    logloss: float


@torch.no_grad()
def predict(model: nn.Module, log: Log, chosen: np.ndarray, device: str = "cpu", history: bool = True) -> np.ndarray:
    """Returns the logits of the chosen queries. Each sees its whole history; with `history` False, none."""
    model.eval()
    logits = np.zeros(len(log.query_label), np.float32)
    context = model.config.max_positions if history else 0
    blocks = cut_blocks(log, chosen, 128, context)
    for batch in batches(log, chosen, blocks, 8192, None, device):
        if not history:
            batch.candidates.now.zero_()
        scored = model(batch.history, batch.candidates).cpu().numpy()
        mine = batch.chosen.cpu().numpy()
        logits[batch.query[mine]] = scored[mine]
    return logits[chosen]


def evaluate(model: nn.Module, log: Log, chosen: np.ndarray, device: str = "cpu", history: bool = True) -> Quality:
    """Returns the figures of the chosen queries. `history` as in predict."""
    logit = predict(model, log, chosen, device, history)
    label, user = log.query_label[chosen], log.query_user()[chosen]
    return Quality(auc(logit, label), gauc(logit, label, user), logloss(logit, label))
