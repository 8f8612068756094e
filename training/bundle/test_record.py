"""Our count of a record's bytes equals the memory usage that Redis reports."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bundle.record import record_fields, row_bytes
from bundle.record_bytes import KEY, bytes_per_position, full_bytes
from models.compression import Compression
from models.ranker import Ranker
from testbed.small_models import compress, small_config, small_full, user_dims_alone

HEADER, RING_ENTRIES, EVENT = 30, 14, 6  # docs/wire-format.md


def record_length(positions: int, row: int) -> int:
    return HEADER + min(positions, RING_ENTRIES) * EVENT + positions * row


class Redis:
    """A private server, over a raw socket."""

    def __init__(self, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        self.socket = self.connect(port)
        self.answers = self.socket.makefile("rb")

    def connect(self, port: int) -> socket.socket:
        until = time.monotonic() + 20
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=20)
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def call(self, *words: bytes) -> bytes:
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        answer = self.answers.readline().strip()
        assert not answer.startswith(b"-"), answer
        return answer

    def usage(self, key: str, value: bytes) -> int:
        assert self.call(b"SET", key.encode(), value) == b"+OK"
        return int(self.call(b"MEMORY", b"USAGE", key.encode())[1:])

    def close(self) -> None:
        self.answers.close()
        self.socket.close()
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on the PATH")
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


def test_bytes_per_position_equal_the_memory_usage_of_redis(redis: Redis) -> None:
    random = np.random.default_rng(1)
    for positions in (1, 2, 14, 15, 100, 1000, 10_000):
        for row in (2, 3, 4, 5, 6, 7, 8):
            reported = redis.usage(KEY % "u123456", random.bytes(record_length(positions, row)))
            assert bytes_per_position(row, [positions]) * positions == pytest.approx(reported, rel=1e-9)


def test_user_ids_of_every_length_count_as_in_redis(redis: Redis) -> None:
    for length in range(1, 60):
        reported = redis.usage(KEY % ("u" * length), bytes(record_length(20, 4)))
        assert bytes_per_position(4, [20], user_id_bytes=length) * 20 == pytest.approx(reported, rel=1e-9)


def test_bytes_per_position_of_many_users_are_their_bytes_over_their_positions() -> None:
    apart = [bytes_per_position(4, [n]) * n for n in (3, 70, 1000)]
    assert bytes_per_position(4, [3, 70, 1000]) == pytest.approx(sum(apart) / 1073)


def test_full_bytes_are_the_keys_and_values_of_all_layers_in_fp32() -> None:
    assert full_bytes(small_config("target", d_model=256)) == 2048
    assert full_bytes(small_config("hstu", d_model=128, layers=2)) == 2048


@pytest.mark.parametrize(
    ("compression", "layer_bytes"),
    [
        (Compression(slots=256), 1 + 1),
        (Compression(slots=257), 2 + 1),
        (Compression(slots=12, tied=False), 2 + 1),
        (Compression(slots=300, tied=False, user_type="int8", user_width=3), 4 + 6),
        (Compression(slots=12, user_type="float16"), 1 + 8),
        (Compression(slots=12, user_width=0), 1),
        (Compression(slots=12, user_type="int8", user_width=0), 1),
    ],
)
@pytest.mark.parametrize("family", ["target", "hstu"])
def test_a_row_has_routes_and_user_dims_of_every_layer(family: str, compression: Compression, layer_bytes: int) -> None:
    model = compress(small_full(family), compression)
    layers = 2 if family == "hstu" else 1
    assert row_bytes(model) == layers * layer_bytes == bytes_of(model)


def bytes_of(model: Ranker) -> int:
    """Bytes of a row, by the fields in the manifest."""
    return sum(np.dtype(f["type"]).itemsize * f["width"] for f in record_fields(model))


def test_if_one_part_is_shared_a_row_has_the_other_in_fp16() -> None:
    for share in ("keys", "values"):
        model = compress(small_full("target"), Compression(slots=12, share=share, tied=False))
        assert row_bytes(model) == 1 + 1 + 2 * model.config.d_model


def test_without_a_pool_a_row_has_user_dims_only() -> None:
    for family, layers in (("target", 1), ("hstu", 2)):
        assert row_bytes(user_dims_alone(small_full(family), Compression(user_type="int8", user_width=4))) == 8 * layers
