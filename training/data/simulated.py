"""Writes interaction logs of the feed simulator, which runs in node: packages/feed-simulator."""

import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from errors import UserError

WRITER = Path(__file__).resolve().parents[2] / "packages" / "feed-simulator" / "dist" / "write-log.js"


@dataclass(frozen=True)
class Simulation:
    """The options of write-log.js. The same options give the same log, byte for byte."""

    users: int
    positions: int  # exposures of each user; each has a label
    first_user: int = 0
    seed: int = 1
    items: int = 2000
    topics: int = 40
    repeats: float = 0.0  # share of exposures that show an item again; users are attached to items if it is above 0

    def write(self, path: Path) -> None:
        """Writes the log, a CSV file. The file is complete, or it does not exist.

        Raises UserError if the simulator is not built.
        """
        if not WRITER.exists():
            raise UserError(f"{WRITER}: does not exist; build the feed simulator with npm ci && npm run build")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        options = {f"--{name.replace('_', '-')}": value for name, value in asdict(self).items()} | {"--out": part}
        subprocess.run(["node", WRITER, *(str(word) for pair in options.items() for word in pair)], check=True)
        part.replace(path)
