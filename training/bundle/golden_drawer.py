"""Draws histories and candidates for golden vectors.

The drawn positions and candidates are far from every decision that rounding could change: routes and codes with nearly
equal scores, int8 steps, search cuts, hash planes. Candidates are scored in float32 and float64, and only those with
equal scores are kept.
"""

import copy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from bundle.record import encode
from data.features import Feature
from data.history import Candidates, History
from errors import UserError
from models.families.registry import family_of
from models.ranker import Ranker

ROUTE_MARGIN = 1e-4  # the least distance of a golden position from a tie between slots
ROUNDING_MARGIN = 1e-3  # its least distance, in int8 steps, from the middle between two steps
STABLE = 1e-5  # the largest difference of a golden candidate's scores in float32 and float64
REDRAWS = 4  # draws of more positions if too few are clear; after these, the history stays shorter
GIVEN_DIGITS = 3  # decimals of features in golden requests


@dataclass
class Drawer:
    """Draws from one random generator, for one model."""

    model: Ranker
    random: np.random.Generator
    double: Ranker = field(init=False)

    def __post_init__(self) -> None:
        self.double = copy.deepcopy(self.model).double()

    def columns(self, wanted: list[Feature], shape: tuple[int, ...]) -> Tensor:
        """Returns random features within their bounds, rounded to GIVEN_DIGITS: [*shape, features]."""
        if not wanted:
            return torch.zeros(*shape, 0)
        low, high = (np.array([getattr(f, side) for f in wanted]) for side in ("low", "high"))
        drawn = low + (high - low) * self.random.random((*shape, len(wanted)))
        return torch.from_numpy(drawn.round(GIVEN_DIGITS).clip(low, high).astype(np.float32))

    def history(self, count: int, unknown: bool = False, defaults: bool = False) -> History:
        """Returns a history [1, count] of clear positions.

        It is shorter if max_positions is less, or if too few positions are clear. With `unknown`, an unknown item and
        an unknown action are among the first positions. With `defaults`, features have their default values. Raises
        UserError if no position is clear.
        """
        c = self.model.config
        count = min(count, c.max_positions)
        drawn = self.only_clear(self.draw(2 * count + 32, unknown, defaults), count)
        for _ in range(REDRAWS):
            if drawn.item.shape[1] >= count:
                break
            drawn = self.only_clear(joined(drawn, self.draw(2 * count + 32, defaults=defaults)), count)
        kept = drawn.item.shape[1]
        if count and not kept:
            raise UserError(
                f"none of {(REDRAWS + 1) * (2 * count + 32)} golden interactions are clear of ties between slots or "
                "codes; give other --slots or another --seed"
            )
        return at(drawn, torch.arange(min(count, kept)))  # later positions do not change earlier ones

    def draw(self, total: int, unknown: bool = False, defaults: bool = False) -> History:
        """Returns random positions [1, total], clear or not. `unknown` and `defaults` as in `history`."""
        c = self.model.config
        item = self.random.integers(1, c.items, total)
        action = self.random.integers(1, c.actions, total) if c.actions > 1 else np.zeros(total, np.int64)
        if unknown:
            item[: total // 8] = 0
            action[total // 8 : total // 4] = 0
        features = self.columns(c.interaction_features, (total,))
        if defaults:
            features[:] = torch.tensor([f.default for f in c.interaction_features])
        return history_of(torch.from_numpy(item), torch.from_numpy(action), features)

    def only_clear(self, drawn: History, count: int) -> History:
        """Drops positions until the first `count` are clear."""
        alone = not family_of(self.model).stacked  # in a stacked family, a dropped position changes the later ones
        while not (clear := self.clear(drawn))[:count].all():
            drop = (~clear).nonzero()[:, 0][: None if alone else 1]
            drawn = at(drawn, torch.isin(torch.arange(len(clear)), drop, invert=True))
        return drawn

    def clear(self, history: History) -> Tensor:
        """Returns which positions of a history [1, N] are clear: [N] bool."""
        encoded = encode(self.model, history)
        clear = (encoded.route_margin > ROUTE_MARGIN) & (encoded.rounding_margin > ROUNDING_MARGIN)
        return clear[0]

    def candidates(self, history: History, count: int, unknown: bool = False, defaults: bool = False) -> Candidates:
        """Returns candidates [1, count] for a history. With `unknown`, the first is the unknown item.

        Raises RuntimeError if too few candidates score the same in float64.
        """
        c = self.model.config
        total = min(2 * count + 16, c.items - 1)
        item = torch.from_numpy(self.random.permutation(np.arange(1, c.items))[:total])
        if unknown:
            item[0] = 0
        own, context = self.columns(c.candidate_features, (total,)), self.columns(c.context_features, (1,))
        if defaults:
            own[:] = torch.tensor([f.default for f in c.candidate_features])
            context[:] = torch.tensor([f.default for f in c.context_features])
        drawn = candidates_of(item, own, context, history)
        exact = score(self.double, as_double(history), as_double(drawn))
        keep = ((score(self.model, history, drawn) - exact).abs() < STABLE).nonzero()[:count, 0]
        if len(keep) < min(count, total // 2):
            raise RuntimeError(f"only {len(keep)} of {count} golden candidates score the same in float64")
        return candidates_of(item[keep], own[keep], context, history)


def history_of(item: Tensor, action: Tensor, features: Tensor) -> History:
    """Returns the history of one user, from columns [N]."""
    return History(item[None], action[None], features[None], torch.ones_like(item[None], dtype=torch.bool))


def at(history: History, which: Tensor) -> History:
    """Returns the positions of one user at these indices, or where the mask is True."""
    return history_of(history.item[0, which], history.action[0, which], history.features[0, which])


def joined(first: History, second: History) -> History:
    """Returns the positions of one user, one history behind the other."""
    return history_of(
        *(torch.cat([getattr(x, name)[0] for x in (first, second)]) for name in ("item", "action", "features"))
    )


def candidates_of(item: Tensor, own: Tensor, context: Tensor, history: History) -> Candidates:
    """Returns candidates that see the whole history: items [C], their features [C, any], and the request's [1, any]."""
    now = torch.full((1, len(item)), history.item.shape[1])
    return Candidates(item[None], own[None], context.expand(len(item), -1)[None], now)


def as_double(x: History | Candidates) -> History | Candidates:
    """Returns the candidates with their features in float64."""
    columns = (value.double() if value.is_floating_point() else value for value in vars(x).values())
    return type(x)(*columns)


@torch.no_grad()
def score(model: Ranker, history: History, candidates: Candidates) -> Tensor:
    """Returns the probabilities [C] of one user, with the user dims quantised."""
    return torch.sigmoid(model(history, candidates))[0]


def plural(count: int, noun: str) -> str:
    """Returns a count in words: `1 position`, `2 positions`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
