"""What a caller passes to the client, and what it gets."""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from collectivekv.errors import CkvError
from collectivekv.v1 import interaction_pb2, ranking_pb2, tensor_pb2

History = Literal["preferred", "required", "ignored"]
"""If the history cannot be read: `preferred` ranks without it, `required` fails. `ignored` never reads it."""
Rung = Literal["full", "recent_only", "no_history"]
"""How complete an answer is."""

_POLICIES: dict[History, ranking_pb2.HistoryPolicy] = {
    "preferred": ranking_pb2.HISTORY_POLICY_PREFERRED,
    "required": ranking_pb2.HISTORY_POLICY_REQUIRED,
    "ignored": ranking_pb2.HISTORY_POLICY_IGNORED,
}
_RUNGS: dict[int, Rung] = {
    ranking_pb2.DEGRADATION_RUNG_FULL: "full",
    ranking_pb2.DEGRADATION_RUNG_RECENT_ONLY: "recent_only",
}


@dataclass(frozen=True)
class Interaction:
    """An event: a user met an item."""

    item_id: str
    user_id: str = ""
    """Required by `record_interactions`. `rank` takes the user of the request."""
    event_id: str = ""
    """Names the event, which takes effect once. Default: a random UUID."""
    timestamp_ms: int = 0
    """Unix ms. Default: now."""
    action: str = ""
    features: Mapping[str, float] = field(default_factory=dict)

    def message(self, user_id: str, event_id: str = "") -> interaction_pb2.Interaction:
        """Returns the message, with defaults in place of absent fields."""
        return interaction_pb2.Interaction(
            event_id=self.event_id or event_id or str(uuid.uuid4()),
            user_id=user_id,
            item_id=self.item_id,
            timestamp_ms=self.timestamp_ms or time.time_ns() // 1_000_000,
            action=self.action,
            features=dict(self.features),
        )


@dataclass(frozen=True)
class RankRequest:
    """A request to rank. ranking.proto has the limits."""

    user_id: str
    candidate_ids: Sequence[str]
    candidate_features: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By name, one value for each candidate."""
    context_features: Mapping[str, float] = field(default_factory=dict)
    recent_interactions: Sequence[Interaction] = ()
    """Up to 100 of the newest, which may not be in the record yet. They count for this answer only."""
    max_staleness_ms: int = 0
    """Greatest age of a copy of the record. 0: the record is read for this request."""
    top_k: int = 0
    """Number of entries of `Ranking.ranked`. 0: all."""
    bundle_id: str = ""
    """Default: the active bundle."""
    history: History = "preferred"

    def message(self, timeout_s: float = 0.0) -> ranking_pb2.RankRequest:
        """Returns the message. With a time, the service ends its work after it."""
        if self.history not in _POLICIES:
            problem = f"history: is not a known policy; use one of: {', '.join(_POLICIES)}"
            raise CkvError("invalid_request", problem, field="history")
        columns = {name: list(values) for name, values in self.candidate_features.items()}
        context = {name: [value] for name, value in self.context_features.items()}
        return ranking_pb2.RankRequest(
            user_id=self.user_id,
            candidate_ids=self.candidate_ids,
            candidate_features=[_column(name, values) for name, values in columns.items()],
            context_features=[_column(name, values) for name, values in context.items()],
            recent_interactions=[one.message(self.user_id) for one in self.recent_interactions],
            max_staleness_ms=self.max_staleness_ms,
            top_k=self.top_k,
            bundle_id=self.bundle_id,
            history_policy=_POLICIES[self.history],
            timeout_ms=int(timeout_s * 1_000),
        )


@dataclass(frozen=True)
class RankedItem:
    """A candidate and its score."""

    item_id: str
    score: float


@dataclass(frozen=True)
class Ranking:
    """The answer to a request to rank."""

    scores: list[float]
    """One for each candidate, in the order of the request."""
    ranked: list[RankedItem]
    """Best first."""
    rung: Rung
    info: ranking_pb2.RankInfo
    """How the answer was made: the bundle, positions, times."""


def ranking_of(candidate_ids: Sequence[str], answer: ranking_pb2.RankResponse) -> Ranking:
    """Returns the ranking of an answer to a request with these candidates."""
    scores = list(struct.unpack(f"<{len(answer.scores) // 4}f", answer.scores))
    order = struct.unpack(f"<{len(answer.order) // 4}I", answer.order)
    ranked = [RankedItem(candidate_ids[i], scores[i]) for i in order]
    return Ranking(scores, ranked, _RUNGS.get(answer.info.rung, "no_history"), answer.info)


def _column(name: str, values: Sequence[float]) -> tensor_pb2.FeatureColumn:
    return tensor_pb2.FeatureColumn(name=name, values=struct.pack(f"<{len(values)}f", *values))
