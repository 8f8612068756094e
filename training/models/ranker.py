"""The ranking model: embeddings, attention over a cached history, and a scorer.

The full model and CollectiveKV are the same model with another history cache, see caches/history_cache.py.

Letters in shapes: B users, N positions of a history, C candidates, E embedding, D = d_model, H heads, M slots, U user
width.

Training and serving use the same forward pass: candidate c of user b sees the positions before `now[b, c]`. In
training, the candidates are the user's own later interactions, so one pass over a sequence scores all of them.
"""

from abc import abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.history import Candidates, History
from models.caches.history_cache import HistoryCache
from models.config import ModelConfig
from models.embeddings import Embeddings


class Ranker(Embeddings):
    """A model of any family. It holds one history cache, or one for each layer."""

    scorer: "Scorer"

    def add_scorer(self) -> None:
        """Adds the scorer and draws the embedding tables. The last step of a constructor's random draws."""
        self.scorer = Scorer(self.config)
        for table in (self.item, self.action):
            nn.init.normal_(table.weight, std=0.1)

    @abstractmethod
    def forward(self, history: History, candidates: Candidates) -> Tensor:
        """Returns logits [B, C]."""

    @abstractmethod
    def cache_holders(self) -> list[nn.Module]:
        """Returns the modules that have a history cache as their attribute `cache`, lowest layer first."""

    @abstractmethod
    def layers(self, history: History) -> Iterator[tuple[HistoryCache, Tensor, Tensor]]:
        """Returns each cache with its inputs `s` [B, N, E] and `x` [B, N, ...], lowest layer first.

        A caller may replace a cache before it asks for the next layer. The next layer then sees the new cache.
        """


class Scorer(nn.Module):
    """An MLP over the attention's output, its product with the candidate, the candidate, and the features."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        inputs = sum(f.width for f in config.candidate_features) + sum(f.width for f in config.context_features)
        self.mix = nn.Linear(3 * config.embedding + inputs, config.hidden)
        self.deep = nn.Linear(config.hidden, config.hidden // 2)
        self.score = nn.Linear(config.hidden // 2, 1)

    def forward(self, item: Tensor, attended: Tensor, candidates: Candidates) -> Tensor:
        """Scores candidates: item embeddings and attention's output, each [B, C, E] -> logits [B, C]."""
        x = [attended, attended * item, item]
        x += [f.expand(candidates.features[..., i]) for i, f in enumerate(self.config.candidate_features)]
        x += [f.expand(candidates.context[..., i]) for i, f in enumerate(self.config.context_features)]
        p, training = self.config.dropout, self.training
        hidden = F.relu(self.mix(F.dropout(torch.cat(x, -1), p, training)))
        hidden = F.relu(self.deep(F.dropout(hidden, p, training)))
        return self.score(hidden).squeeze(-1)


def visible_positions(valid: Tensor, now: Tensor, max_positions: int) -> Tensor:
    """Returns [B, C, N] bool: the last `max_positions` positions before `now`. Valid [B, N]; now [B, C]."""
    place = torch.arange(valid.shape[1], device=valid.device)
    age = now[..., None] - place  # [B, C, N]
    return (age > 0) & (age <= max_positions) & valid[:, None]
