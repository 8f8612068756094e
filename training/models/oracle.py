"""A model's scores in plain loops and float64, for one user and one candidate at a time. Tests compare models with it.

The oracle shares nothing with a model but its parameters. Each family and each form of the history cache has a part of
its own, beside its code.
"""

import numpy as np

from data.history import Candidates, History
from models.families.family import SeenPositions
from models.families.registry import family_of
from models.oracle_math import Parameters, Vector, expand
from models.ranker import Ranker


class Oracle:
    def __init__(self, model: Ranker):
        self.c = model.config
        state = model.state_dict().items()
        self.p = Parameters({name: value.detach().double().numpy() for name, value in state})
        self.attention = family_of(model).oracle(model, self.p)

    def logit(self, history: History, candidates: Candidates, user: int, place: int) -> float:
        """Returns the logit of one candidate of a batch, from its user's positions before it."""
        now = int(candidates.now[user, place])
        item = self.p["item.weight"][int(candidates.item[user, place])]
        attended = self.attention.attended(item, self.seen(history, user, now), now)
        own = candidates.features[user, place].double().numpy()
        return self.score(item, attended, own, candidates.context[user, place].double().numpy())

    def seen(self, history: History, user: int, now: int) -> SeenPositions:
        """Returns the positions of a user before the place `now`."""
        before = [i for i in range(now) if history.valid[user, i]]
        found = [
            self.position(
                int(history.item[user, i]), int(history.action[user, i]), history.features[user, i].double().numpy()
            )
            for i in before
        ]
        slots = [(int(history.item[user, i]), code) for (_, code), i in zip(found, before)]
        return SeenPositions([s for s, _ in found], slots, before)

    def position(self, item: int, action: int, values: Vector) -> tuple[Vector, int]:
        """Returns S of one position, [E], and its event's code or the first of its residual codes; 0 without codes."""
        event = self.p["action.weight"][action]
        x = expand(self.c.interaction_features, values)
        if x:
            event = event + self.p["interaction_features.weight"] @ np.array([*x, *(value**2 for value in x)])
        code = 0
        if "event_codes.rows" in self.p:
            code = int(np.argmax(self.p.linear("event_codes.router", event)))
            event = self.p["event_codes.rows"][code]
        e = self.c.embedding
        s = self.p["item.weight"][item] * (1 + event[:e]) + event[e:]
        if "position_codes.rows.0" in self.p:
            return self.residual(s)
        return s, code

    def residual(self, s: Vector) -> tuple[Vector, int]:
        """Returns the sum of the rows that S is coded as, and the first code."""
        rest, codes = s, []
        while (rows := self.p.get(f"position_codes.rows.{len(codes)}")) is not None:
            codes.append(int(np.argmax(self.p.linear(f"position_codes.routers.{len(codes)}", rest))))
            rest = rest - rows[codes[-1]]
        return s - rest, codes[0]

    def score(self, item: Vector, attended: Vector, own: Vector, context: Vector) -> float:
        """Returns the scorer's logit.

        Item and attended [E]; own and context are the candidate's and the request's features.
        """
        x = [*attended, *(attended * item), *item]
        x += expand(self.c.candidate_features, own) + expand(self.c.context_features, context)
        hidden = np.maximum(self.p.linear("scorer.mix", np.array(x)), 0)
        hidden = np.maximum(self.p.linear("scorer.deep", hidden), 0)
        return float(self.p.linear("scorer.score", hidden)[0])
