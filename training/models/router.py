"""The linear function that gives each position its slot."""

import numpy as np
import torch
from torch import Tensor, nn


class Router(nn.Linear):
    """Scores of the slots; the slot with the highest score is the route.

    A frozen router over S reads the same rows many times, since equal items with equal actions have equal rows. With
    `remembers`, it scores each row once, until it has met too many different rows. Without this, routing into 10,000
    slots would take most of the time of training and evaluation. Only one thread at a time may call a router that
    remembers.
    """

    REMEMBERED = 200_000  # rows; more rows hardly repeat, and a look-up then costs more than it saves

    def __init__(self, inputs: int, slots: int, device: torch.device | None = None):
        super().__init__(inputs, slots, device=device)
        self.remembers = False
        self.hashes = torch.zeros(0, dtype=torch.int64)  # of the remembered rows, ascending
        self.slots = torch.zeros(0, dtype=torch.int64)  # of the remembered rows
        self.chosen_by: tuple = ()  # the state of the parameters that chose these slots

    def route(self, x: Tensor) -> Tensor:
        """Returns the slots of rows: [..., inputs] -> [...]."""
        if self.weight.requires_grad:
            return self(x).argmax(-1)
        with torch.no_grad():
            return self.remembered(x.flatten(0, -2)).view(x.shape[:-1]) if self.remembers else self(x).argmax(-1)

    def remembered(self, rows: Tensor) -> Tensor:
        """Returns the slots [R] of rows [R, inputs].

        Scores only the rows that are not remembered yet, and remembers these.
        """
        state = tuple((p.data_ptr(), p._version) for p in (self.weight, self.bias))
        if state != self.chosen_by:
            self.forget(rows.device)
            self.chosen_by = state
        wanted = row_hashes(rows)
        place, known = self.find(wanted)
        if not known.all():
            new, row = first_of_each(wanted[~known])
            slots = self(rows[~known][row]).argmax(-1)
            self.remember(new, slots)
            place, _ = self.find(wanted)
        found = self.slots[place]
        if len(self.hashes) > self.REMEMBERED:
            self.remembers = False
            self.forget(rows.device)
        return found

    def remember(self, new: Tensor, slots: Tensor) -> None:
        """Merges new hashes and their slots into the remembered ones. New hashes are ascending, and none is known."""
        place = torch.searchsorted(self.hashes, new) + torch.arange(len(new), device=new.device)
        old = torch.ones(len(self.hashes) + len(new), dtype=torch.bool, device=new.device)
        old[place] = False
        merged = []
        for kept, added in ((self.hashes, new), (self.slots, slots)):
            both = torch.empty(len(old), dtype=torch.int64, device=new.device)
            both[old], both[place] = kept, added
            merged.append(both)
        self.hashes, self.slots = merged

    def forget(self, device: torch.device) -> None:
        self.hashes = self.slots = torch.zeros(0, dtype=torch.int64, device=device)

    def find(self, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the index of each hash among the remembered ones, and whether it is one of them."""
        if not len(self.hashes):
            return torch.zeros_like(wanted), torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self.hashes, wanted).clamp(max=len(self.hashes) - 1)
        return place, self.hashes[place] == wanted


def row_hashes(rows: Tensor) -> Tensor:
    """Returns a 64-bit hash of each row's bits: its words times random odd numbers, summed modulo 2^64."""
    words = rows.contiguous().view(torch.int32).long()
    random = np.random.default_rng(0).integers(-(2**62), 2**62, words.shape[1]) * 2 + 1
    return (words * torch.from_numpy(random).to(rows.device)).sum(1)


def first_of_each(values: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the distinct values, and for each the index of one occurrence."""
    distinct, inverse = values.unique(return_inverse=True)
    return distinct, torch.zeros_like(distinct).scatter_(0, inverse, torch.arange(len(values), device=values.device))
