"""The bytes of user records in Redis."""

from models.config import ModelConfig

HEADER_BYTES, RING_EVENTS, EVENT_BYTES = 30, 14, 6  # docs/wire-format.md
KEY = "ckv:{%s}:01234567"
# Redis 7 reports these bytes beyond the two strings: the object (16) and its dict entry (24, in a class of 24).
ENTRY_BYTES = 16 + 24


def full_bytes(c: ModelConfig) -> int:
    """Returns the bytes of a position's keys and values in fp32, over all layers."""
    return c.layers * 2 * c.d_model * 4


def bytes_per_position(row: int, positions: list[int], user_id_bytes: int = 7) -> float:
    """Returns the MEMORY USAGE of user records in Redis, Redis keys included, divided by their positions.

    `row` are the bytes of a position, `positions` the positions of each user. Counts what jemalloc allocates.
    """
    key = string_bytes(len(KEY) - 2 + user_id_bytes)
    total = 0
    for count in positions:
        value = HEADER_BYTES + min(count, RING_EVENTS) * EVENT_BYTES + count * row
        total += key + string_bytes(value) + ENTRY_BYTES
    return total / sum(positions)


def string_bytes(length: int) -> int:
    """Returns the bytes allocated for a Redis string: the text, its header and final zero, in jemalloc's size class."""
    header = 1 if length < 32 else 3 if length < 256 else 5 if length < 65_536 else 9
    return size_class(header + length + 1)


def size_class(size: int) -> int:
    """Returns the allocation of jemalloc: multiples of 16 up to 128 bytes, then four classes to each doubling."""
    if size <= 8:
        return 8
    if size <= 128:
        return -(-size // 16) * 16
    step = 2 ** ((size - 1).bit_length() - 3)
    return -(-size // step) * step
