"""The embedding S of a position: S = item * (1 + g) + h.

The event gives [g, h] = action + [x, x^2] W. Here x holds the position's features, scaled to [0, 1]. A like can
reverse the direction of an item; a sum of item and event could not.
"""

import torch
from torch import Tensor, nn

from data.history import History
from models.config import ModelConfig
from models.event_codes import EventCodes
from models.residual_codes import ResidualCodes


class Embeddings(nn.Module):
    """The tables of items and actions, and the linear map of the features.

    With `event_codes`, the nearest code's [g, h] takes the place of the event's own. With `position_codes`, a sum of
    rows takes the place of S. With `kept_encoder`, codes and routes come from the tables of an older model, so that its
    records keep their meaning; see conversion/kept_encoding.py.
    """

    event_codes: EventCodes | None
    position_codes: ResidualCodes | None
    kept_encoder: "Embeddings | None"

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        e = config.embedding
        self.item = nn.Embedding(config.items, e)
        self.action = nn.Embedding(config.actions, 2 * e)
        width = 2 * sum(f.width for f in config.interaction_features)
        self.interaction_features = nn.Linear(width, 2 * e, bias=False) if width else None
        self.event_codes = None
        self.position_codes = None
        self.kept_encoder = None

    @property
    def encoder(self) -> "Embeddings":
        """Returns the embeddings that codes and routes are functions of: these, or those of an older model."""
        return self if self.kept_encoder is None else self.kept_encoder

    def embed_history(self, history: History) -> Tensor:
        """Returns S of every position, [B, N, E], as a record tells it."""
        if self.position_codes is not None:
            return self.position_codes.sums(self.encoder.position_codes.route(self.encoder.exact(history)))
        return self.exact(history) if self.event_codes is not None else self.encoder.exact(history)

    def exact(self, history: History) -> Tensor:
        """Returns S of every position before `position_codes`, [B, N, E]."""
        event = self.events(history) if self.event_codes is None else self.event_codes(self.encoder.events(history))
        turn, shift = event.chunk(2, -1)
        return self.item(history.item) * (1 + turn) + shift

    def codes_of(self, history: History) -> Tensor:
        """Returns the event code of every position, [B, N]. `event_codes` must be set."""
        return self.event_codes.router.route(self.encoder.events(history))

    def events(self, history: History) -> Tensor:
        """Returns [g, h] of every position, not coded: [B, N, 2E]."""
        event = self.action(history.action)
        if self.interaction_features is not None:
            features = enumerate(self.config.interaction_features)
            x = torch.cat([f.expand(history.features[..., i]) for i, f in features], -1)
            event = event + self.interaction_features(torch.cat([x, x**2], -1))
        return event
