"""The arms of a comparison: full model, CollectiveKV, user dims alone, and no history.

The full model is trained first and then converted. After that, the full model and CollectiveKV are each trained on for
as many epochs, with the same settings and seed. The user dims alone and the model without history learn from scratch,
for as many epochs in all. `folder` keeps the checkpoint of each step, so an interrupted run goes on.
"""

import copy
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from conversion.convert import calibrate, convert, with_new_pool, without_pool
from conversion.factored import convert_factored
from conversion.kept_encoding import KeptEncoding, keep_factored, keep_pool, keep_residual
from conversion.residual import convert_residual
from conversion.sample import sample_history
from data.history import History
from data.log import Log
from data.split import Split
from fitting.checkpoints import read_checkpoint, write_checkpoint
from fitting.fit import FitConfig, fit
from fitting.starting_items import starting_items
from models.compression import Compression
from models.config import ModelConfig
from models.families.registry import create_full
from models.ranker import Ranker


@dataclass
class Arm:
    """A trained model, the processor seconds of its training, and its losses."""

    model: Ranker
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)


@dataclass
class Arms:
    """The arms of one comparison. Each method trains its arm, or loads it if its checkpoint is complete."""

    log: Log
    split: Split
    config: ModelConfig
    main: FitConfig  # first training, of the full model
    tune: FitConfig  # second training, of every arm
    compression: Compression
    folder: Path  # of checkpoints
    name: str = ""
    start: float = 1.5  # length of the first item embeddings, see starting_items.py; 0: random ones
    clusters: int = 0  # of a user's positions; 0: a pool of keys and values, see `compression`
    stages: int = 0  # of residual codes; 0: a factored pool, if there are clusters
    kept: KeptEncoding | None = None  # of an older bundle, whose records the converted model reads

    def full(self) -> Arm:
        """Returns the full model before the conversion.

        With a kept encoding, the catalogue may have items that the log lacks. They become like the unknown item.
        """
        arm = self.trained("full", self.fresh(), self.main)
        if self.kept:
            size = len(self.log.items)
            learned = self.log.query_item[self.split.train]
            seen = np.bincount(self.log.item, minlength=size) + np.bincount(learned, minlength=size)
            with torch.no_grad():
                arm.model.item.weight[torch.from_numpy(seen == 0)] = arm.model.item.weight[0].clone()
        return arm

    def fresh(self) -> Ranker:
        """Returns an untrained full model."""
        torch.manual_seed(self.main.seed)
        model = create_full(self.config).to(self.main.device)
        if self.start == 0:
            return model
        start = starting_items(self.log, self.split.train, self.config.embedding // 2, self.start)
        known = (start.abs().sum(1) > 0).nonzero()[:, 0]
        with torch.no_grad():
            model.item.weight[known, : start.shape[1]] = start[known].to(self.main.device)
        return model

    def full_again(self, full: Arm) -> Arm:
        """Returns the full model after the second training."""
        return self.trained("full-again", copy.deepcopy(full.model), self.tune, full)

    def converted(self, full: Arm) -> Arm:
        """Returns CollectiveKV before the second training."""
        made = f"{self.clusters:,} clusters" if self.clusters else f"{self.compression.slots:,} slots"
        made += f", {self.stages} stages of codes" if self.stages else ""
        print(f"  {self.name} conversion: k-means for {made}", flush=True)
        started = time.process_time()
        if self.kept:
            model = self.with_kept_encoding(full.model, self.sample(), self.kept)
        elif self.stages:
            model = convert_residual(full.model, self.sample(), self.main.seed, self.stages, self.clusters)
        elif self.clusters:
            model = convert_factored(full.model, self.sample(), self.main.seed, self.clusters)
        else:
            model = convert(full.model, self.sample(), self.compression, self.main.seed)
        return Arm(model, time.process_time() - started)

    def with_kept_encoding(self, full: Ranker, sample: History, kept: KeptEncoding) -> Ranker:
        """Returns the conversion of a full model for the records of an older bundle."""
        if self.stages:
            return keep_residual(full, sample, kept)
        if self.clusters:
            return keep_factored(full, sample, kept, self.main.seed, self.clusters)
        return keep_pool(full, sample, self.compression, kept, self.main.seed)

    def collective_kv(self, converted: Arm, full: Arm, name: str = "collectivekv") -> Arm:
        """Returns CollectiveKV after the second training, with the full model as its teacher."""
        before = Arm(converted.model, converted.seconds)
        arm = self.trained(name, converted.model, self.tune, before, teacher=full.model)
        if not self.kept:  # its codes and scales stay as they are
            calibrate(arm.model, self.sample(), self.main.seed)
        return arm

    def user_dims_only(self) -> Arm:
        """Returns a model without a pool, from scratch, with both trainings.

        It has as many user dims in int8, so its records are no smaller than those of CollectiveKV.
        """
        c = replace(self.compression, user_type="int8")
        model = without_pool(self.fresh(), c, self.main.seed).to(self.main.device)
        first = self.trained("user-dims-only", model, self.main)
        arm = self.trained("user-dims-only-again", first.model, self.tune, first)
        calibrate(arm.model, self.sample(), self.main.seed)
        return arm

    def no_history(self) -> Arm:
        """Returns a model without histories, from scratch, with both trainings."""
        alone = replace(self, log=without_history(self.log))
        first = alone.trained("no-history", alone.fresh(), self.main)
        return alone.trained("no-history-again", first.model, self.tune, first)

    def published(self, name: str = "published") -> Arm:
        """Learns the published recipe: pool and router from scratch, with gate and losses, by both trainings."""
        first = self.trained(name, with_new_pool(self.fresh(), self.compression, self.main.seed), self.main)
        arm = self.trained(f"{name}-again", first.model, self.tune, first)
        calibrate(arm.model, self.sample(), self.main.seed)
        return arm

    def sample(self) -> History:
        """Returns histories of real users, for a conversion."""
        return sample_history(self.log, self.split.train, self.main.seed, device=self.main.device)

    def trained(
        self, step: str, model: Ranker, c: FitConfig, before: Arm | None = None, teacher: Ranker | None = None
    ) -> Arm:
        """Trains the model, or loads its checkpoint. Adds the seconds and losses of the arm `before` it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{step}.pt"
        if path.exists():
            saved = read_checkpoint(path)
            model.load_state_dict(saved["model"])
            model.eval()
        else:
            started = time.process_time()
            part = self.folder / f"{step}.part"
            losses = fit(model, self.log, self.split.train, c, f"{self.name} {step}", part, teacher)
            saved = {"model": model.state_dict(), "seconds": time.process_time() - started, "losses": losses}
            write_checkpoint(saved, path)
        before = before or Arm(model)
        return Arm(model, before.seconds + saved["seconds"], before.losses + saved["losses"])


def without_history(log: Log) -> Log:
    """Returns the log with its queries and without its positions."""
    none = np.zeros(0, np.int64)
    return replace(
        log,
        starts=np.zeros_like(log.starts),
        item=none,
        action=none,
        features=log.features[:0],
        query_now=np.zeros_like(log.query_now),
    )
