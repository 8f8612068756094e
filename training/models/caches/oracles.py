"""The forms of the history cache in plain loops, one position at a time. See models/oracle.py."""

from abc import ABC, abstractmethod

import numpy as np

from models.compression import Compression
from models.oracle_math import Parameters, Vector, softmax_sum

Slots = tuple[int, int]  # of a position: the item's index, and the event's code or the first residual code
Kept = tuple[Vector | None, Vector | None, Vector | None]  # key [D], value [D], user dims [2U]; None: not kept


class CacheOracle(ABC):
    """A history cache. `name` is the cache's name in the model's state."""

    pool_less = False  # True: neither keys nor values are kept

    def __init__(self, p: Parameters, name: str):
        self.p, self.name = p, name

    @abstractmethod
    def kept(self, s: Vector, computed: tuple[Vector, Vector] | None = None) -> Kept:
        """Returns what attention sees of a position: its key, value and user dims. `s` [E] are its inputs.

        `computed` are the layer's own key and value, if K and V are not linear in S.
        """

    def clusters(self, s: list[Vector], slots: list[Slots]) -> tuple[list[Vector], list[Vector], list[int]] | None:
        """Returns mean keys [D], mean values [D] and counts of clusters. None: attention sees single positions."""
        return None

    def user_head(self, x: Vector, users: list[Vector]) -> Vector | float:
        """Returns the output of the user head for a query `x` [E] over user dims [2U]; 0 without a user head."""
        return 0.0


class FullOracle(CacheOracle):
    """Keys and values in full; with `float16`, rounded to it."""

    def __init__(self, p: Parameters, name: str, float16: bool = False):
        super().__init__(p, name)
        self.float16 = float16

    def kept(self, s: Vector, computed: tuple[Vector, Vector] | None = None) -> Kept:
        both = computed or (self.p.linear(f"{self.name}.key", s), self.p.linear(f"{self.name}.value", s))
        key, value = (x.astype(np.float16).astype(np.float64) if self.float16 else x for x in both)
        return key, value, None


class ClustersOracle(FullOracle):
    """Keys and values of coded positions, averaged over the positions of each cluster."""

    def clusters(self, s: list[Vector], slots: list[Slots]) -> tuple[list[Vector], list[Vector], list[int]]:
        members: dict[tuple, list[int]] = {}
        for i, (item, code) in enumerate(slots):
            members.setdefault(self.cluster(item, code), []).append(i)
        kept = [self.kept(x) for x in s]
        keys = [np.mean([kept[i][0] for i in some], axis=0) for some in members.values()]
        values = [np.mean([kept[i][1] for i in some], axis=0) for some in members.values()]
        return keys, values, [len(some) for some in members.values()]

    @abstractmethod
    def cluster(self, item: int, code: int) -> tuple:
        """Returns the name of a position's cluster."""


class FactoredOracle(ClustersOracle):
    """A factored pool: a cluster is a pair of an item's cluster and a code's cluster."""

    def cluster(self, item: int, code: int) -> tuple:
        return self.p[f"{self.name}.pairs.item"][item], self.p[f"{self.name}.pairs.code"][code]


class ResidualOracle(ClustersOracle):
    """Residual codes: the first code is the cluster."""

    def cluster(self, item: int, code: int) -> tuple:
        return (code,)


class UserDimsOracle(CacheOracle):
    """User dims, and no pool."""

    pool_less = True

    def __init__(self, p: Parameters, name: str, c: Compression, quantised: bool):
        super().__init__(p, name)
        self.c, self.quantised = c, quantised

    def kept(self, s: Vector, computed: tuple[Vector, Vector] | None = None) -> Kept:
        return None, None, self.user_dims(s)

    def user_dims(self, s: Vector) -> Vector:
        """Returns [K_u, V_u] as the record gives them back."""
        x = np.tanh(self.p.linear(f"{self.name}.user", s))
        if not self.quantised:
            return x
        if self.c.user_type == "float16":
            return x.astype(np.float16).astype(np.float64)
        if self.c.user_type == "int8":
            scale = self.p[f"{self.name}.scale"]
            return np.clip(np.round(x / scale), -127, 127) * scale
        codes = self.p[f"{self.name}.codes"]
        return codes[np.argmin([((x - code) ** 2).sum() for code in codes])]

    def user_head(self, x: Vector, users: list[Vector]) -> Vector | float:
        head, u = f"{self.name}.user_head", self.c.user_width
        if f"{head}.out.weight" not in self.p:
            return 0.0
        query = self.p.linear(f"{head}.query", x)
        keys = [*(user[:u] for user in users), self.p[f"{head}.null_key"]]
        values = [*(user[u:] for user in users), self.p[f"{head}.null_value"]]
        return self.p.linear(f"{head}.out", softmax_sum([query @ key for key in keys], values))


class SharedOracle(UserDimsOracle):
    """Pool rows, and user dims."""

    pool_less = False

    def kept(self, s: Vector, computed: tuple[Vector, Vector] | None = None) -> Kept:
        c, p, name = self.c, self.p, self.name
        x = s if computed is None else np.concatenate(computed)
        key_slot = int(np.argmax(p.linear(f"{name}.router", x)))
        value_slot = key_slot if c.tied else int(np.argmax(p.linear(f"{name}.value_router", x)))
        key, value = p[f"{name}.pool_key"][key_slot], p[f"{name}.pool_value"][value_slot]
        if c.share != "both":
            own = computed or (p.linear(f"{name}.full.key", s), p.linear(f"{name}.full.value", s))
            key, value = (key, own[1]) if c.share == "keys" else (own[0], value)
        if c.user_width == 0:
            return key, value, None
        user = self.user_dims(s)
        if c.user_form == "own_head":
            return key, value, user
        key = key if c.share == "values" else np.append(key, user[: c.user_width])
        return key, value if c.share == "keys" else np.append(value, user[c.user_width :]), None
