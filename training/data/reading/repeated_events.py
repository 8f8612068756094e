"""Finds the events that a log has again. An event id names one event of its user."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.reading.cells import quoted
from data.reading.problem_list import ProblemList


def repeated_rows(
    events: pa.Table, contents: pa.Table, places: np.ndarray, name: str, problems: ProblemList
) -> np.ndarray:
    """Returns a mask of the rows that repeat an earlier event of the same user.

    A row with another content than the first one of its event is reported, too. `events` has the columns user_id and
    event_id, empty for rows without one; `contents` has the other columns.
    """
    repeated = np.zeros(len(events), bool)
    own = events.append_column("row", pa.array(np.arange(len(events)))).filter(pc.not_equal(events["event_id"], ""))
    counts = own.group_by(["user_id", "event_id"]).aggregate([("row", "count")])
    if len(counts) == len(own):
        return repeated
    twice = counts.filter(pc.greater(counts["row_count"], 1)).select(["user_id", "event_id"])
    found = own.join(twice, ["user_id", "event_id"], join_type="inner").sort_by("row")
    columns = contents.take(found["row"]).to_pylist()
    firsts: dict[tuple[str, str], tuple[int, dict]] = {}
    for user, event, row, content in zip(*(found[n].to_pylist() for n in ("user_id", "event_id", "row")), columns):
        first, known = firsts.setdefault((user, event), (row, content))
        if first == row:
            continue
        repeated[row] = True
        if known != content:
            problems.add(
                "repeated", [int(places[row])], other_content(event, f"{problems.unit} {places[first]}"), name, 0
            )
    return repeated


def other_content(event: str, where: str) -> str:
    return (
        f"is {quoted(event)}, as in {where} of the same user with other content; "
        "give each event of a user its own id, or remove the row"
    )
