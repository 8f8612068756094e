"""Messages of long reads."""

import time
from collections.abc import Callable
from pathlib import Path

Say = Callable[[str], None]

SAY_EVERY_S = 2.0


def quiet(text: str) -> None:
    """Discards progress messages."""


class Progress:
    """Prints the share of a long file that has been read, every two seconds."""

    def __init__(self, path: Path, say: Say):
        self.path, self.say = path, say
        self.said_at = time.monotonic()

    def at(self, part: float) -> None:
        if time.monotonic() - self.said_at >= SAY_EVERY_S:
            self.said_at = time.monotonic()
            self.say(f"{self.path.name}: {min(part, 1):.0%}")
