"""The client of a feed backend."""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import grpc

from collectivekv.errors import CkvError, error_from
from collectivekv.v1 import interaction_pb2, interaction_pb2_grpc, ranking_pb2_grpc
from collectivekv.values import Interaction, Ranking, RankRequest, ranking_of

T = TypeVar("T")

MAX_CALL_INTERACTIONS = 1_000
"""Most interactions of one call to the service. A longer list is sent as several calls, in order."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.025, 1.0
# Calls take turns on all addresses, and a server that is gone without a word is noticed.
OPTIONS: list[tuple[str, Any]] = [
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ("grpc.keepalive_time_ms", 3_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_retries", 0),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),
]


class Client:
    """Ranks, and records interactions. Make one and share it between threads: it keeps its connections open.

    Every failure is a CkvError. A call is tried again after a transient failure, until its time or its tries are used
    up.
    """

    def __init__(
        self,
        ranking_target: str = "127.0.0.1:50053",
        interaction_target: str = "127.0.0.1:50054",
        *,
        token: str = "",
        tls_ca_file: str = "",
        tls_client_cert_file: str = "",
        tls_client_key_file: str = "",
        max_attempts: int = 4,
    ) -> None:
        """Connects with the first call.

        A target is HOST:PORT, or dns:///HOST:PORT. The token is the one that the services require. With certificate
        authorities, a PEM file, TLS is on. The other two files are this client's certificate, if the services ask for
        one.
        """
        self._ranking_target = _checked("ranking_target", ranking_target)
        self._interaction_target = _checked("interaction_target", interaction_target)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._max_attempts = max_attempts
        credentials = _credentials(tls_ca_file, tls_client_cert_file, tls_client_key_file)
        self._channels = [_channel(target, credentials) for target in (ranking_target, interaction_target)]
        self._ranking = ranking_pb2_grpc.RankingServiceStub(self._channels[0])
        self._updater = interaction_pb2_grpc.InteractionServiceStub(self._channels[1])

    def rank(self, request: RankRequest, timeout_s: float = 1.0) -> Ranking:
        """Ranks candidates for a user, within a time with its retries."""
        candidate_ids = list(request.candidate_ids)

        def call(left_s: float) -> Ranking:
            answer = self._ranking.Rank(request.message(), timeout=left_s, metadata=self._metadata)
            return ranking_of(candidate_ids, answer)

        return self._retried(call, timeout_s, self._ranking_target)

    def rank_stream(self, requests: Iterable[RankRequest], timeout_s: float = 1.0) -> Iterator[Ranking]:
        """Ranks one request after another on a call that stays open, which costs less than a call for each.

        Each request has `timeout_s`. The first failure ends the call, and nothing is tried again.
        """
        sent: list[Sequence[str]] = []

        def messages() -> Iterator[Any]:
            for request in requests:
                sent.append(list(request.candidate_ids))
                yield request.message(timeout_s)

        try:
            for answer in self._ranking.RankStream(messages(), metadata=self._metadata):
                yield ranking_of(sent.pop(0), answer)
        except grpc.RpcError as failed:
            raise error_from(failed, self._ranking_target) from failed

    def record_interactions(
        self, interactions: Sequence[Interaction], idempotency_key: str = "", timeout_s: float = 10.0
    ) -> list[str]:
        """Enqueues interactions. Returns their event ids, given or made, when the queue holds them all.

        With a key, calling again with the same list within an hour has no further effect.
        """
        messages = [
            one.message(one.user_id, _keyed_id(idempotency_key, i, one) if idempotency_key else "")
            for i, one in enumerate(interactions)
        ]
        event_ids = [one.event_id for one in messages]
        key = idempotency_key
        if key == "" and len(messages) > MAX_CALL_INTERACTIONS:
            key = _digest(event_ids)
        ends_at = time.monotonic() + timeout_s
        for first in range(0, len(messages), MAX_CALL_INTERACTIONS):
            batch = messages[first : first + MAX_CALL_INTERACTIONS]
            record = interaction_pb2.RecordRequest(interactions=batch, idempotency_key=key)

            def call(left_s: float, record: interaction_pb2.RecordRequest = record) -> object:
                return self._updater.Record(record, timeout=left_s, metadata=self._metadata)

            self._retried(call, ends_at - time.monotonic(), self._interaction_target)
        return event_ids

    def close(self) -> None:
        """Ends the connections."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _retried(self, call: Callable[[float], T], timeout_s: float, target: str) -> T:
        """Calls until there is an answer. Each try but the last has half of the time that is left."""
        ends_at = time.monotonic() + timeout_s
        attempt = 1
        while True:
            left_s = ends_at - time.monotonic()
            early = attempt < self._max_attempts and left_s > 0.1
            try:
                return call(left_s / 2 if early else max(left_s, 0.0))
            except grpc.RpcError as failed:
                error = error_from(failed, target)
                late = early and error.reason == "deadline"
                pause_s = 0.0 if late else _pause_s(attempt, error.retry_after_s)
                is_over = attempt >= self._max_attempts or time.monotonic() + pause_s >= ends_at
                if is_over or not (late or error.is_transient):
                    raise error from failed
            time.sleep(pause_s)
            attempt += 1


def _pause_s(failures: int, retry_after_s: float) -> float:
    """Returns the pause before the next try. Callers that were refused together must not return together."""
    backoff_s = min(FIRST_PAUSE_S * 2.0 ** (failures - 1), LONGEST_PAUSE_S)
    return max(retry_after_s * random.uniform(1, 1.5), backoff_s * random.uniform(0.5, 1))


def _checked(name: str, target: str) -> str:
    if re.fullmatch(r"(dns:(//[^/]*/)?)?(\[[^\]]+\]|[^:/\s,]+):[1-9]\d{0,4}", target) or target.startswith("unix:"):
        return target
    problem = f'{name}: "{target}" is not HOST:PORT; write a host and a port, and no http://, such as ranking:50053'
    raise CkvError("invalid_request", problem, field=name)


def _channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(target, options=OPTIONS)
    return grpc.secure_channel(target, credentials, options=OPTIONS)


def _credentials(ca_file: str, cert_file: str, key_file: str) -> grpc.ChannelCredentials | None:
    if ca_file == "":
        if cert_file or key_file:
            problem = "tls_client_cert_file: is set without tls_ca_file; set both, or neither"
            raise CkvError("invalid_request", problem, field="tls_client_cert_file")
        return None
    return grpc.ssl_channel_credentials(
        _read("tls_ca_file", ca_file),
        _read("tls_client_key_file", key_file) if key_file else None,
        _read("tls_client_cert_file", cert_file) if cert_file else None,
    )


def _read(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        problem = f"{name}: {path} cannot be read ({error.strerror}); name a file that this process may read"
        raise CkvError("invalid_request", problem, field=name) from error


def _keyed_id(key: str, place: int, one: Interaction) -> str:
    """Returns an event id that a repeated call gives again, as the client for Node makes it."""
    return _digest([key, str(place), one.user_id, one.item_id, one.action])


def _digest(texts: Sequence[str]) -> str:
    """Returns 32 characters that tell lists of texts apart. Lengths are in UTF-16 units."""
    parts = (f"{len(text.encode('utf-16-le')) // 2}:{text}" for text in texts)
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:32]
