"""The linear function that gives each position its slot."""

import numpy as np
import torch
from torch import Tensor, nn


class Router(nn.Linear):
    """Scores of the slots; the best one is the route.

    A frozen router that reads S may meet the same rows again and again, an item with an action each: with `remembers`,
    it scores a row once, until it has met too many. Routing into 10,000 slots would otherwise take most of the time of
    training and evaluation.
    """

    REMEMBERED = 200_000  # rows; with more, they hardly repeat, and looking them up costs more than it spares

    def __init__(self, inputs: int, slots: int, device: torch.device | None = None):
        super().__init__(inputs, slots, device=device)
        self.remembers = False
        self.hashes = torch.zeros(0, dtype=torch.int64)  # of the rows remembered, ascending
        self.slots = torch.zeros(0, dtype=torch.int64)
        self.chosen_by: tuple = ()  # the state of the parameters that chose these slots

    def route(self, x: Tensor) -> Tensor:
        """[..., inputs] -> slots [...]"""
        if self.weight.requires_grad:
            return self(x).argmax(-1)
        with torch.no_grad():
            return self.remembered(x.flatten(0, -2)).view(x.shape[:-1]) if self.remembers else self(x).argmax(-1)

    def remembered(self, rows: Tensor) -> Tensor:
        state = (self.weight.data_ptr(), self.weight._version, self.bias._version)
        if state != self.chosen_by:
            self.hashes = self.slots = torch.zeros(0, dtype=torch.int64, device=rows.device)
            self.chosen_by = state
        wanted = row_hashes(rows)
        place, known = self.find(wanted)
        if not known.all():
            new, row = first_of_each(wanted[~known])
            slots = self(rows[~known][row]).argmax(-1)
            order = torch.cat([self.hashes, new]).argsort()
            self.hashes, self.slots = torch.cat([self.hashes, new])[order], torch.cat([self.slots, slots])[order]
            place, _ = self.find(wanted)
        self.remembers = len(self.hashes) <= self.REMEMBERED
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
