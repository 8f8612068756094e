"""The problems of a log, each kind on one line of the error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.reading.errors import LogError

MOST_GROUPS = 20
MOST_PLACES = 5


@dataclass
class Problems:
    """Problems of one kind and column."""

    place: int
    column: str  # name in the file; empty if whole rows are meant
    order: int  # place of the column among the checked columns
    text: str  # the first problem and its remedy
    also: list[int] = field(default_factory=list)
    count: int = 0


class ProblemList:
    """The problems of a file. Memory is bounded by the kinds of problems."""

    def __init__(self, path: Path, unit: str):
        self.path, self.unit = path, unit
        self.groups: dict[tuple[str, str], Problems] = {}

    @property
    def count(self) -> int:
        return sum(group.count for group in self.groups.values())

    @property
    def unreadable_rows(self) -> int:
        """The number of rows whose cells could not be read at all."""
        return sum(group.count for group in self.groups.values() if not group.column)

    def add(
        self, kind: str, places: Sequence[int], text: Callable[[int], str] | str, column: str = "", order: int = -1
    ) -> None:
        """Adds problems of one kind. `text` gives the problem and its remedy, for an index of `places`."""
        if not len(places):
            return
        group = self.groups.get((column, kind))
        if group is None:
            first = text if isinstance(text, str) else text(0)
            group = self.groups[column, kind] = Problems(int(places[0]), column, order, first)
            places, group.count = places[1:], 1
        group.also += [int(place) for place in places[: MOST_PLACES - len(group.also)]]
        group.count += len(places)

    def sorted_groups(self) -> list[Problems]:
        """Returns the groups in the order of their first places."""
        return sorted(self.groups.values(), key=lambda group: (group.place, group.order))

    def error(self) -> LogError:
        """Returns the error that lists all problems."""
        groups = self.sorted_groups()
        if len(groups) == 1:
            return LogError(f"{self.path}, {self.in_words(groups[0])}")
        shown = groups[:MOST_GROUPS]
        rest = self.count - sum(group.count for group in shown)
        lines = [
            *(self.in_words(group) for group in shown),
            *([f"{rest:,} more"] if rest else []),
            "correct these rows, or leave them out: "
            f".venv/bin/python training/import_log.py log {self.path} --skip-bad-rows --out NEW",
        ]
        return LogError(f"{self.path} has {self.count:,} problems:\n" + "\n".join(f"  {line}" for line in lines))

    def in_words(self, group: Problems) -> str:
        """Returns a group in words: the first problem, and the places of the others."""
        where = f"{self.unit} {group.place}" + (f", column {group.column}" if group.column else "")
        if group.count == 1:
            return f"{where}: {group.text}"
        hidden = group.count - 1 - len(group.also)
        places = [str(place) for place in group.also] + ([f"{hidden:,} more"] if hidden else [])
        listed = " and ".join([", ".join(places[:-1]), places[-1]] if len(places) > 1 else places)
        return f"{where}: {group.text} (also {self.unit}{'s' if group.count > 2 else ''} {listed})"
