"""The one error of the client."""

from __future__ import annotations

import re

import grpc

# Without a reason of the service, the status says what failed. A broken connection gives INTERNAL or UNKNOWN, and
# another service at the address gives UNIMPLEMENTED.
_REASON_OF_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: "invalid_request",
    grpc.StatusCode.UNAVAILABLE: "dependency_unavailable",
    grpc.StatusCode.INTERNAL: "dependency_unavailable",
    grpc.StatusCode.UNKNOWN: "dependency_unavailable",
    grpc.StatusCode.UNIMPLEMENTED: "dependency_unavailable",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "overloaded",
    grpc.StatusCode.DEADLINE_EXCEEDED: "deadline",
    grpc.StatusCode.CANCELLED: "cancelled",
    grpc.StatusCode.UNAUTHENTICATED: "unauthenticated",
    grpc.StatusCode.PERMISSION_DENIED: "permission_denied",
}
TRANSIENT = frozenset({"overloaded", "dependency_unavailable", "draining"})


class CkvError(Exception):
    """A call failed. docs/errors.md of the repository lists the reasons."""

    def __init__(self, reason: str, message: str, *, field: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        """A word of docs/errors.md, such as `invalid_request`."""
        self.field = field
        """The path of the field at fault, or empty."""
        self.retry_after_s = retry_after_s
        """After this time a retry may succeed, seconds. 0 if the service named none."""

    @property
    def is_transient(self) -> bool:
        """True if the same call may succeed later."""
        return self.reason in TRANSIENT


def error_from(failed: grpc.RpcError, target: str) -> CkvError:
    """Returns the error of a failed call."""
    if not isinstance(failed, grpc.Call):
        return CkvError("bug", str(failed))
    status, text = failed.code(), failed.details() or ""
    sent = {key: str(value) for key, value in failed.trailing_metadata() or ()}
    reason = sent.get("ckv-reason") or _REASON_OF_STATUS.get(status, "bug")
    if "ckv-reason" not in sent:
        if status is grpc.StatusCode.UNIMPLEMENTED:
            text = f"{target} answers as another service, or as another version of it; correct the target"
        elif reason == "dependency_unavailable":
            text = f"{target} cannot be reached: {text}"
    delay_ms = sent.get("ckv-retry-after-ms", "0")
    retry_after_s = float(delay_ms) / 1_000 if re.fullmatch(r"\d+(\.\d+)?", delay_ms) else 0.0
    return CkvError(reason, text, field=sent.get("ckv-field", ""), retry_after_s=retry_after_s)
