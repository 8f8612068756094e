"""The columns of a log, and their names in files."""

from collections.abc import Mapping, Sequence

from data.reading.errors import LogError

LOG_COLUMNS = ("event_id", "user_id", "item_id", "timestamp_ms", "action", "label")
REQUIRED = ("user_id", "item_id", "timestamp_ms")
IDS = {"event_id": 128, "user_id": 256, "item_id": 256, "action": 64}  # column -> most bytes

# Names of our columns in logs. packages/interaction-log/src/log-columns.ts has the same.
USUAL_NAMES = {
    "event_id": ("event_id", "eventId"),
    "user_id": ("user_id", "userId"),
    "item_id": ("item_id", "itemId", "video_id"),
    "timestamp_ms": ("timestamp_ms", "timestampMs", "time_ms"),
}
MOST_NAMES = 20


def names_of(ours: str, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the names that a column may have in a file. `columns` maps our name to the file's, if they differ."""
    return (columns[ours],) if ours in columns else USUAL_NAMES.get(ours, (ours,))


def repeated_name(names: Sequence[str]) -> str | None:
    """Returns the first name that comes earlier in the list, too. Returns None if there is none."""
    met: set[str] = set()
    for name in names:
        if name in met:
            return name
        met.add(name)
    return None


def find_columns(wanted: Sequence[str], names: Sequence[str], columns: Mapping[str, str], where: str) -> dict[str, str]:
    """Returns the name in the file of each column that the file has.

    Raises LogError naming all missing columns, or two columns that mean the same. `where` is the file, and the line of
    its header.
    """
    found: dict[str, str] = {}
    for ours in wanted:
        there = [name for name in names_of(ours, columns) if name in names]
        if len(there) > 1:
            raise two_names(where, ours, *there[:2])
        if there:
            found[ours] = there[0]
    missing = missing_columns(wanted, found, columns)
    if missing:
        raise no_columns(where, missing, names, columns)
    return found


def missing_columns(wanted: Sequence[str], found: Mapping[str, str], columns: Mapping[str, str]) -> list[str]:
    """Returns the columns that a file must have and has not."""
    return [ours for ours in wanted if ours not in found and (ours in REQUIRED or ours in columns)]


def two_names(where: str, ours: str, name: str, second: str) -> LogError:
    """Returns the error for a file that uses two names of one of our columns."""
    return LogError(
        f"{where}: has the columns {name} and {second}, which both mean {ours}; remove one, "
        f"or choose one with --columns {ours}=NAME"
    )


def no_columns(where: str, missing: Sequence[str], names: Sequence[str], columns: Mapping[str, str]) -> LogError:
    """Returns the error for missing columns."""
    rest = len(names) - MOST_NAMES
    shown = [*names[:MOST_NAMES], *([f"{rest} more"] if rest > 0 else [])]
    wanted = ", ".join(columns.get(ours, ours) for ours in missing)
    return LogError(
        f"{where}: has no column {wanted}; it has {', '.join(shown)}. "
        f"Rename columns, or map them with --columns {missing[0]}=NAME"
    )
