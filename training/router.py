"""The linear function that gives each position its slot."""

import copy

import numpy as np
import torch
from torch import Tensor, nn


class Router(nn.Linear):
    """Scores of the slots; the best one is the route.

    A frozen router that reads S meets the same rows again and again, an item with an action each: with `remembers`, it
    scores a row once. Routing into 10,000 slots would otherwise take most of the time of training and evaluation.
    """

    REMEMBERED = 1_000_000  # rows, 16 bytes each

    def __init__(self, inputs: int, slots: int, device: torch.device | None = None):
        super().__init__(inputs, slots, device=device)
        self.remembers = False
        self.forget()

    def forget(self) -> None:
        self.hashes = torch.zeros(0, dtype=torch.int64)  # of rows, ascending
        self.slots = torch.zeros(0, dtype=torch.int64)
        self.state: tuple = ()  # of the parameters that chose these slots

    def __deepcopy__(self, memo: dict) -> "Router":
        copied = Router(self.in_features, self.out_features, self.weight.device)
        copied.weight, copied.bias = copy.deepcopy(self.weight, memo), copy.deepcopy(self.bias, memo)
        copied.remembers = self.remembers
        return copied.train(self.training)

    def route(self, x: Tensor) -> Tensor:
        """[..., inputs] -> slots [...]"""
        if self.weight.requires_grad:
            return self(x).argmax(-1)
        with torch.no_grad():
            return self.remembered(x.flatten(0, -2)).view(x.shape[:-1]) if self.remembers else self(x).argmax(-1)

    def remembered(self, rows: Tensor) -> Tensor:
        state = (self.weight._version, self.bias._version, self.weight.device, self.weight.data_ptr())
        if state != self.state or len(self.hashes) > self.REMEMBERED:
            self.forget()
            self.hashes, self.slots, self.state = self.hashes.to(rows.device), self.slots.to(rows.device), state
        wanted = row_hashes(rows)
        place, known = self.find(wanted)
        if not known.all():
            new, row = first_of_each(wanted[~known])
            slots = self(rows[~known][row]).argmax(-1)
            order = torch.cat([self.hashes, new]).argsort()
            self.hashes, self.slots = torch.cat([self.hashes, new])[order], torch.cat([self.slots, slots])[order]
            place, _ = self.find(wanted)
        return self.slots[place]

    def find(self, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Where each hash is among the remembered ones, and whether it is."""
        if not len(self.hashes):
            return torch.zeros_like(wanted), torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self.hashes, wanted).clamp(max=len(self.hashes) - 1)
        return place, self.hashes[place] == wanted


def row_hashes(rows: Tensor) -> Tensor:
    """A 64-bit hash of each row's bits: sums of its words times random odd numbers, modulo 2^64."""
    words = rows.contiguous().view(torch.int32).long()
    random = np.random.default_rng(0).integers(-(2**62), 2**62, words.shape[1]) * 2 + 1
    return (words * torch.from_numpy(random).to(rows.device)).sum(1)


def first_of_each(values: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct values, and an index of each."""
    distinct, inverse = values.unique(return_inverse=True)
    return distinct, torch.zeros_like(distinct).scatter_(0, inverse, torch.arange(len(values), device=values.device))
