"""What a model computes, as plain loops in float64 over one user's history and one candidate: the tests hold the model
to it. Nothing here is shared with the model but its parameters.
"""

import math

import numpy as np

from data.history import Candidates, History
from models.history_cache import Compression, SharedKV, UserDimsOnly
from models.hstu import HstuRanker
from models.ranker import Ranker

Vector = np.ndarray
CUT_MARGIN = 1e-5


class Oracle:
    def __init__(self, model: Ranker):
        self.c = model.config
        self.p = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
        self.hstu = isinstance(model, HstuRanker)
        caches = [layer.cache for layer in model.stack] if self.hstu else [model.cache]
        self.without_pool = isinstance(caches[0], UserDimsOnly)
        shared = caches[0].shared if self.without_pool else caches[0]
        self.compression: Compression | None = shared.compression if isinstance(shared, SharedKV) else None
        self.quantised = getattr(shared, "quantised", False)

    def logit(self, history: History, candidates: Candidates, user: int, place: int) -> float:
        """Of one candidate of a batch, from its user's positions before it."""
        now = int(candidates.now[user, place])
        before = [i for i in range(now) if history.valid[user, i]]
        s = [
            self.position(
                int(history.item[user, i]), int(history.action[user, i]), history.features[user, i].double().numpy()
            )
            for i in before
        ]
        item = self.p["item.weight"][int(candidates.item[user, place])]
        distances = [now - i for i in before]
        seen = [k for k, distance in enumerate(distances) if distance <= self.c.max_positions]
        if self.hstu:
            attended = self.layers(s, item, before, distances, seen)
        else:
            attended = self.attend([s[k] for k in seen], item)
        own = candidates.features[user, place].double().numpy()
        return self.score(item, attended, own, candidates.context[user, place].double().numpy())

    def linear(self, name: str, x: Vector) -> Vector:
        y = self.p[f"{name}.weight"] @ x
        return y + self.p[f"{name}.bias"] if f"{name}.bias" in self.p else y

    def expand(self, features: list, values: Vector) -> list[float]:
        found = []
        for feature, value in zip(features, values):
            share = (value - feature.low) / (feature.high - feature.low)
            found += [math.sin(2 * math.pi * share), math.cos(2 * math.pi * share)] if feature.period else [share]
        return found

    def position(self, item: int, action: int, values: Vector) -> Vector:
        """S of one position."""
        event = self.p["action.weight"][action]
        x = self.expand(self.c.interaction_features, values)
        if x:
            event = event + self.p["interaction_features.weight"] @ np.array([*x, *(value**2 for value in x)])
        e = self.c.embedding
        return self.p["item.weight"][item] * (1 + event[:e]) + event[e:]

    def score(self, item: Vector, attended: Vector, own: Vector, context: Vector) -> float:
        x = [*attended, *(attended * item), *item]
        x += self.expand(self.c.candidate_features, own) + self.expand(self.c.context_features, context)
        hidden = np.maximum(self.linear("scorer.mix", np.array(x)), 0)
        hidden = np.maximum(self.linear("scorer.deep", hidden), 0)
        return float(self.linear("scorer.score", hidden)[0])

    # What is kept of a position.

    def user_dims(self, cache: str, s: Vector) -> Vector:
        """[K_u, V_u] as the record gives them back."""
        x = np.tanh(self.linear(f"{cache}.user", s))
        if not self.quantised:
            return x
        if self.compression.user_type == "float16":
            return x.astype(np.float16).astype(np.float64)
        if self.compression.user_type == "int8":
            scale = self.p[f"{cache}.scale"]
            return np.clip(np.round(x / scale), -127, 127) * scale
        codes = self.p[f"{cache}.codes"]
        return codes[np.argmin([((x - code) ** 2).sum() for code in codes])]

    def kept(self, cache: str, s: Vector, full: tuple[Vector, Vector] | None) -> tuple[Vector, Vector, Vector | None]:
        """Key, value and user dims of a position. `full` are HSTU's own keys and values, which its router reads."""
        c = self.compression
        if self.without_pool:
            return None, None, self.user_dims(f"{cache}.shared", s)
        if c is None:
            key, value = full or (self.linear(f"{cache}.key", s), self.linear(f"{cache}.value", s))
            return key, value, None
        x = s if full is None else np.concatenate(full)
        key_slot = int(np.argmax(self.linear(f"{cache}.router", x)))
        value_slot = key_slot if c.tied else int(np.argmax(self.linear(f"{cache}.value_router", x)))
        key, value = self.p[f"{cache}.pool_key"][key_slot], self.p[f"{cache}.pool_value"][value_slot]
        if c.share != "both":
            own = full or (self.linear(f"{cache}.full.key", s), self.linear(f"{cache}.full.value", s))
            key, value = (key, own[1]) if c.share == "keys" else (own[0], value)
        if c.user_width == 0:
            return key, value, None
        user = self.user_dims(cache, s)
        if c.user_form == "own_head":
            return key, value, user
        key = key if c.share == "values" else np.append(key, user[: c.user_width])
        return key, value if c.share == "keys" else np.append(value, user[c.user_width :]), None

    def user_head(self, cache: str, x: Vector, users: list[Vector]) -> Vector | float:
        """What the user head adds; 0 where there is none."""
        head = f"{cache}.shared.user_head" if self.without_pool else f"{cache}.user_head"
        if f"{head}.out.weight" not in self.p:
            return 0.0
        u = self.compression.user_width
        query = self.linear(f"{head}.query", x)
        keys = [*(user[:u] for user in users), self.p[f"{head}.null_key"]]
        values = [*(user[u:] for user in users), self.p[f"{head}.null_value"]]
        return self.linear(f"{head}.out", softmax_sum([query @ key for key in keys], values))

    # The families without layers.

    def attend(self, s: list[Vector], item: Vector) -> Vector:
        kept = [self.kept("cache", x, None) for x in s]
        keys, values, users = ([row[part] for row in kept] for part in range(3))
        if self.without_pool:
            attended = self.linear("attention.out", self.p["attention.null_value"])
            return attended + self.user_head("cache", item, users)
        attended = self.sdim(keys, values, item) if self.c.family == "sdim" else self.target(keys, values, item)
        attended = self.linear("attention.out", attended)
        if self.c.family in ("sim", "sdim", "eta"):
            attended = attended + self.linear("attention.recent.out", self.recent(keys, values, item))
        return attended + self.user_head("cache", item, users)

    def target(self, keys: list[Vector], values: list[Vector], item: Vector) -> Vector:
        """Softmax attention, head by head, over what the family's search keeps and the null position."""
        query = self.linear("attention.query", item)
        chosen = self.search(keys, query, item)
        width, attended = self.c.d_model // self.c.heads, []
        for begin in range(0, self.c.d_model, width):
            part = slice(begin, begin + width)
            rows = [(keys[i], values[i]) for i in chosen]
            rows.append((self.p["attention.null_key"], self.p["attention.null_value"]))
            logits = [query[part] @ key[part] / math.sqrt(width) for key, _ in rows]
            attended.append(softmax_sum(logits, [value[part] for _, value in rows]))
        return np.concatenate(attended)

    def search(self, keys: list[Vector], query: Vector, item: Vector) -> list[int]:
        if self.c.family == "sim":
            search_query = self.linear("attention.search_query", item)
            scores = [search_query @ key for key in keys]
        elif self.c.family == "twin":
            scores = [query @ key for key in keys]
        elif self.c.family == "eta":
            planes = self.p["attention.planes"]
            scores = [-2 * hamming(query @ planes > 0, key @ planes > 0) for key in keys]
        else:
            return list(range(len(keys)))
        if len(keys) <= self.c.top_k:
            return list(range(len(keys)))
        cut = sorted(scores, reverse=True)[self.c.top_k - 1]
        return [i for i, x in enumerate(scores) if x >= cut - CUT_MARGIN * max(1, abs(cut))]

    def sdim(self, keys: list[Vector], values: list[Vector], item: Vector) -> Vector:
        """The mean of the values, each as often as its key's bits are all the query's, over the hashes."""
        planes, bits = self.p["attention.planes"], self.c.bits_per_hash
        query = self.linear("attention.query", item) @ planes > 0
        summed, total = self.p["attention.null_value"].copy(), 1.0
        for key, value in zip(keys, values):
            mine = key @ planes > 0
            met = 0
            for h in range(self.c.hashes):
                part = slice(h * bits, (h + 1) * bits)
                met += bool((mine[part] == query[part]).all())
            summed += met / self.c.hashes * value
            total += met / self.c.hashes
        return summed / total

    def recent(self, keys: list[Vector], values: list[Vector], item: Vector) -> Vector:
        """Softmax attention over the newest positions, with the first heads' columns."""
        width, attended = self.c.d_model // self.c.heads, []
        query = self.linear("attention.recent.query", item)
        for head in range(self.c.recent_heads):
            part = slice(head * width, (head + 1) * width)
            rows = list(zip(keys, values))[-self.c.recent :]
            rows.append((self.p["attention.recent.null_key"], self.p["attention.recent.null_value"]))
            logits = [query[part] @ key[part] / math.sqrt(width) for key, _ in rows]
            attended.append(softmax_sum(logits, [value[part] for _, value in rows]))
        return np.concatenate(attended)

    # HSTU.

    def layers(self, x: list[Vector], item: Vector, places: list[int], distances: list[int], seen: list[int]) -> Vector:
        """The candidate through all layers, over positions which go through them as well."""
        y = item + self.p["candidate"]
        for depth in range(self.c.layers):
            layer = f"stack.{depth}"
            kept = [self.kept(f"{layer}.cache", self.norm(layer, row), self.key_value(layer, row)) for row in x]
            rows = [(kept[k], distances[k]) for k in seen]
            y_next = self.row(layer, y, rows, self.key_value(layer, y))
            x = [
                self.row(layer, row, [(kept[j], places[i] - places[j]) for j in range(i + 1)], None)
                for i, row in enumerate(x)
            ]
            y = y_next
        return y

    def row(self, layer: str, x: Vector, rows: list, own: tuple[Vector, Vector] | None) -> Vector:
        """One row through one layer, over kept positions and their distances, and its own key and value if given."""
        d, width = self.c.d_model, self.c.d_model // self.c.heads
        query_gate = silu(self.linear(f"{layer}.query_gate", self.norm(layer, x)))
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
        y = x + self.linear(f"{layer}.out", layer_norm(self.p, f"{layer}.attended_norm", attended / 16) * gate)
        return y + self.user_head(f"{layer}.cache", self.norm(layer, x), [user for (_, _, user), _ in rows])

    def norm(self, layer: str, x: Vector) -> Vector:
        return layer_norm(self.p, f"{layer}.norm", x)

    def key_value(self, layer: str, x: Vector) -> tuple[Vector, Vector]:
        both = silu(self.linear(f"{layer}.key_value", self.norm(layer, x)))
        return both[: self.c.d_model], both[self.c.d_model :]


def softmax_sum(logits: list[float], values: list[Vector]) -> Vector:
    weights = np.exp(np.array(logits) - max(logits))
    return sum(w * value for w, value in zip(weights / weights.sum(), values))


def hamming(a: Vector, b: Vector) -> int:
    return int((a != b).sum())


def silu(x):
    return x / (1 + np.exp(-x))


def layer_norm(p: dict[str, Vector], name: str, x: Vector) -> Vector:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]
