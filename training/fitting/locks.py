"""Keeps two commands from writing the same files at once."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import UserError


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds the file `path` as a lock, which the system lets go of when the process ends, however it does.

    Raises UserError where another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(file).st_ino == path.stat().st_ino:  # else its last holder has removed it
                break
            os.close(file)
        except BlockingIOError:
            pid = os.pread(file, 32, 0).decode() or "unknown"
            os.close(file)
            raise UserError(f"{what}: already running as pid {pid}; wait for it, or end it") from None
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)
