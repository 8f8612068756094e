"""HSTU in plain loops and float64, one row at a time."""

import math

import numpy as np

from models.caches.oracles import CacheOracle, Kept
from models.config import ModelConfig
from models.families.family import AttentionOracle, SeenPositions
from models.oracle_math import Parameters, Vector, silu


class HstuOracle(AttentionOracle):
    """All layers, over positions and a candidate."""

    def __init__(self, config: ModelConfig, parameters: Parameters, caches: list[CacheOracle]):
        self.c, self.p, self.caches = config, parameters, caches

    def attended(self, item: Vector, seen: SeenPositions, now: int) -> Vector:
        x, y, places = seen.s, item + self.p["candidate"], seen.places
        distances = [now - place for place in places]
        visible = [k for k, distance in enumerate(distances) if distance <= self.c.max_positions]
        for depth, cache in enumerate(self.caches):
            layer = f"stack.{depth}"
            kept = [cache.kept(self.norm(layer, row), self.key_value(layer, row)) for row in x]
            y_next = self.row(depth, y, [(kept[k], distances[k]) for k in visible], self.key_value(layer, y))
            x = [
                self.row(depth, row, [(kept[j], places[i] - places[j]) for j in range(i + 1)], None)
                for i, row in enumerate(x)
            ]
            y = y_next
        return y

    def row(self, depth: int, x: Vector, rows: list[tuple[Kept, int]], own: tuple[Vector, Vector] | None) -> Vector:
        """Passes a row [E] through a layer, over kept positions with distances, and over its own key and value."""
        layer, d, width = f"stack.{depth}", self.c.d_model, self.c.d_model // self.c.heads
        query_gate = silu(self.p.linear(f"{layer}.query_gate", self.norm(layer, x)))
        query, gate = query_gate[:d], query_gate[d:]
        attended = np.zeros(d)
        for head in range(self.c.heads):
            part = slice(head * width, (head + 1) * width)
            bias = self.p[f"{layer}.bias"][head]
            seen = [(key, value, distance) for (key, value, _), distance in rows]
            if own is not None:
                seen.append((*own, 0))
            for key, value, distance in seen:
                if key is None:
                    continue
                near = 0 if distance <= 0 else min(1 + math.floor(math.log2(distance)), len(bias) - 1)
                attended[part] += silu(query[part] @ key[part] / math.sqrt(width) + bias[near]) * value[part]
        y = x + self.p.linear(f"{layer}.out", self.p.layer_norm(f"{layer}.attended_norm", attended / 16) * gate)
        users = [user for (_, _, user), _ in rows]
        return y + self.caches[depth].user_head(self.norm(layer, x), users)

    def norm(self, layer: str, x: Vector) -> Vector:
        return self.p.layer_norm(f"{layer}.norm", x)

    def key_value(self, layer: str, x: Vector) -> tuple[Vector, Vector]:
        both = silu(self.p.linear(f"{layer}.key_value", self.norm(layer, x)))
        return both[: self.c.d_model], both[self.c.d_model :]
