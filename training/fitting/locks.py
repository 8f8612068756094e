"""A lock that keeps two commands from writing the same files."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import UserError


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds the file `path` as a lock. The system releases it when the process ends, also if it is killed.

    Raises UserError if another process holds it. `what` names the locked work in the error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (
                path.exists() and os.fstat(file).st_ino == path.stat().st_ino
            ):  # else the last holder has removed the file
                break
            os.close(file)
        except BlockingIOError:
            pid = os.pread(file, 32, 0).decode() or "unknown"
            os.close(file)
            raise UserError(f"{what}: already running as pid {pid}; wait until it ends, or end it") from None
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)
