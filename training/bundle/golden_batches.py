"""Batches of users for the golden cases of rank_batch.onnx."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, tensor
from torch.nn.utils.rnn import pad_sequence

from bundle.golden_drawer import Drawer, score
from data.history import Candidates, History
from models.ranker import Ranker

# Users of a batch, and the positions of the users that are drawn for it. They repeat until the batch is full.
BATCHES = ((1, (37,)), (2, (0,)), (3, (0, 1, 37)), (64, (0, 1, 2, 2, 0)))
# A search may turn on a rounding error at any candidate, and padding is a candidate too. Users without positions search
# nothing, so only their candidates are fewer than those of others.
CANDIDATES, OF_EMPTY = 4, 1


@dataclass
class User:
    history: History
    candidates: Candidates


def draw_batch(draw: Drawer, count: int, positions: tuple[int, ...]) -> list[User]:
    """Returns `count` users."""
    drawn = []
    for length in positions:
        history = draw.history(length)
        drawn.append(User(history, draw.candidates(history, CANDIDATES if length else OF_EMPTY)))
    return [drawn[i % len(drawn)] for i in range(count)]


def batch_scores(model: Ranker, users: list[User]) -> Tensor:
    """Returns the scores of users one by one, [B, C]. Padding is scored as what it is: the unknown item."""
    most = max(user.candidates.item.shape[1] for user in users)
    return torch.stack([score(model, user.history, padded(user.candidates, most)) for user in users])


def padded(candidates: Candidates, count: int) -> Candidates:
    """Returns candidates [1, C] with zeros behind them, [1, count]."""
    missing = count - candidates.item.shape[1]
    own = F.pad(candidates.features, (0, 0, 0, missing))
    context, now = (x[:, :1].expand(1, count, *x.shape[2:]) for x in (candidates.context, candidates.now))
    return Candidates(F.pad(candidates.item, (0, missing)), own, context, now)


def join_feeds(inputs: list[dict], feeds: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Returns the inputs of a graph of users, from those of its users one by one, with zeros as padding."""

    def rows(axis: str) -> Tensor:
        along = next(x["name"] for x in inputs if x["shape"][1:2] == [axis])
        return tensor([len(feed[along]) for feed in feeds])

    return {
        x["name"]: rows(x["axis"])
        if x["role"] == "row_count"
        else pad_sequence([feed[x["name"]] for feed in feeds], batch_first=True)
        for x in inputs
    }
