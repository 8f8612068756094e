"""The names of a shared layer's record fields and KV groups."""

from dataclasses import dataclass

from models.caches.shared_pool import SharedPool


@dataclass(frozen=True)
class SharedLayer:
    """A shared pool, and the names of its fields and groups. A name is None if the layer has no such field."""

    pool: SharedPool
    key_route: str
    value_route: str  # equal to key_route if the routes are tied
    user_code: str | None
    user_key: str | None
    user_value: str | None
    group: str
    user_group: str | None  # the group of the codebook

    @property
    def routes(self) -> list[str]:
        """The names of the route fields, each once."""
        return list(dict.fromkeys([self.key_route, self.value_route]))

    @property
    def own_head(self) -> bool:
        """True if the user dims have an attention head of their own."""
        return self.pool.user_head is not None

    @property
    def user_width(self) -> int:
        return self.pool.compression.user_width


def shared_layer(pool: SharedPool, prefix: str) -> SharedLayer:
    """Returns the names of a layer's fields and groups; each begins with `prefix`."""
    c = pool.compression
    coded = c.user_width > 0 and c.user_type == "codebook"
    plain = c.user_width > 0 and not coded
    return SharedLayer(
        pool=pool,
        key_route=prefix + ("route" if c.tied else "key_route"),
        value_route=prefix + ("route" if c.tied else "value_route"),
        user_code=prefix + "user_code" if coded else None,
        user_key=prefix + "user_key" if plain else None,
        user_value=prefix + "user_value" if plain else None,
        group=prefix + "history",
        user_group=prefix + "user" if coded else None,
    )
