"""Reads a log of JSON lines. Numbers keep all their digits."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from data.reading.cells import Rows, quoted
from data.reading.errors import LogError
from data.reading.file_kind import array_of_json
from data.reading.log_columns import IDS, missing_columns, names_of, no_columns, two_names
from data.reading.packed_text import text_blocks
from data.reading.problem_list import ProblemList
from data.reading.progress import Say
from data.reading.published_files import refuse_published_columns


class Number(str):
    """A number of JSON as it is written."""


class NameTwice(ValueError):
    """An object has a name twice, with different values."""


def refuse(word: str) -> None:
    """Refuses NaN and Infinity, which are not JSON."""
    raise ValueError(word)


def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Returns an object. Raises NameTwice if a name has two values."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found and not (found[name] == value and type(found[name]) is type(value)):
            raise NameTwice(name)
        found[name] = value
    return found


READ = json.JSONDecoder(parse_constant=refuse).decode
READ_AS_WRITTEN = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=refuse, object_pairs_hook=members
).decode


def read_json_log(
    path: Path, wanted: Sequence[str], columns: Mapping[str, str], problems: ProblemList, say: Say
) -> Iterator[Rows]:
    """Yields the rows of a file, a block at a time.

    Raises LogError if no row has a required column, or if rows use two names for one column.
    """
    names: dict[str, str] = {}
    head: tuple[int, list[str]] | None = None  # the first row's line and columns
    line = 1
    for block in text_blocks(path, say):
        if line == 1:
            block = block.removeprefix(b"\xef\xbb\xbf")
        rows: list[dict[str, object]] = []
        texts: list[bytes] = []
        places: list[int] = []
        for text in block.removesuffix(b"\n").split(b"\n"):
            if text.strip(b" \t\r"):
                if head is None and text.lstrip().startswith(b"["):
                    raise array_of_json(f"{path}, line {line}")
                row = read_object(text.removesuffix(b"\r"), line, problems)
                if row is not None:
                    if head is None:
                        head = line, list(row)
                        refuse_published_columns(path, head[1])
                    rows.append(row)
                    texts.append(text)
                    places.append(line)
            line += 1
        met = list(dict.fromkeys(name for row in rows for name in row))
        for ours in wanted:
            there = [name for name in names_of(ours, columns) if name in met and name != names.get(ours)]
            if there and (ours in names or len(there) > 1):
                raise second_name(path, rows, places, names, wanted, columns)
            if there:
                names[ours] = there[0]
        yield typed_rows(rows, texts, places, met, {ours: name for ours, name in names.items() if name in met})
    missing = missing_columns(wanted, names, columns)
    if head and missing:
        raise no_columns(f"{path}, line {head[0]}", missing, head[1], columns)


def second_name(
    path: Path,
    rows: list[dict[str, object]],
    places: list[int],
    names: dict[str, str],
    wanted: Sequence[str],
    columns: Mapping[str, str],
) -> LogError:
    """Returns the error for the first row with another name of a column than the rows before it."""
    for row, place in zip(rows, places):
        for name in row:
            for ours in wanted:
                if name in names_of(ours, columns) and names.setdefault(ours, name) != name:
                    return two_names(f"{path}, line {place}", ours, names[ours], name)
    raise AssertionError("no row has a second name")


def read_object(text: bytes, line: int, problems: ProblemList) -> dict[str, object] | None:
    """Returns an object. Returns None, after a report, for other text."""
    kind, fault = "json", "is not a JSON object; write one JSON object a line, and null for NaN or Infinity"
    try:
        decoded = text.decode()
        if "\0" in decoded:
            kind, fault = "nul", "has a NUL byte; if the file is UTF-16, convert it to UTF-8"
        elif "\r" in decoded:
            kind, fault = "return", "has a carriage return inside; end lines with LF or CRLF"
        else:
            row = READ(decoded)
            if isinstance(row, dict):
                if decoded.count('":') != len(row):  # nested, or a name is there twice
                    READ_AS_WRITTEN(decoded)
                if "\\u" not in decoded or not has_half_character(decoded):
                    return row
                kind, fault = "half", "has half a character, such as \\ud800 alone; write whole characters"
    except UnicodeDecodeError:
        kind, fault = "encoding", "is not UTF-8; convert the file: iconv -f LATIN1 -t UTF-8 FILE > NEW"
    except NameTwice:
        kind, fault = "twice", "has a name twice, with different values; leave one out"
    except (ValueError, RecursionError):
        pass  # ValueError also for whole numbers of more digits than Python reads
    problems.add(kind, [line], fault)
    return None


PAIRS = re.compile(r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
HALF = re.compile(r"\\u[dD][89a-fA-F]")


def has_half_character(text: str) -> bool:
    """True if JSON has an escaped half of a character that takes two escapes. Such text cannot be UTF-8."""
    return bool(HALF.search(PAIRS.sub("", text)))


def typed_rows(
    rows: list[dict[str, object]], texts: list[bytes], places: list[int], met: list[str], names: dict[str, str]
) -> Rows:
    """Returns the rows with their cells as text, or as numbers in columns that are not ids."""
    ids = {name for ours, name in names.items() if ours in IDS}
    columns, booleans, not_text = {}, {}, {}
    for name in met:
        cells = [row.get(name) for row in rows]
        types = set(map(type, cells))
        columns[name] = column_of(cells, types, name in ids)
        if bool in types:
            booleans[name] = np.array([isinstance(cell, bool) for cell in cells])
        if types & {dict, list, bool, float}:
            not_text[name] = np.array([isinstance(cell, dict | list | bool | float) for cell in cells])
    return Rows(
        places=np.array(places, np.int64),
        columns=columns,
        names=names,
        shown=lambda name, row: shown(READ_AS_WRITTEN(texts[row].decode()).get(name)),
        booleans=booleans,
        not_text=not_text,
    )


def column_of(cells: list[object], types: set[type], is_id: bool) -> pa.Array:
    """Returns a column of numbers, if it has only such and is not one of ids; else of text."""
    try:
        if types <= {int, float, type(None)} and not is_id:
            return pa.array(cells, pa.float64())
        if types == {int}:
            return pa.array(cells, pa.int64()).cast(pa.string())
    except (pa.ArrowInvalid, OverflowError):  # a number of more than 64 bits
        pass
    if not types <= {str, type(None)}:
        cells = [cell if type(cell) is str else cell_text(cell) for cell in cells]
    return pa.array(cells, pa.string()).fill_null("")


def cell_text(cell: object) -> str | None:
    """Returns a cell as text: 1 and 0 for true and false."""
    if isinstance(cell, bool):
        return "1" if cell else "0"
    if isinstance(cell, float) and math.isinf(cell):
        return "1e999" if cell > 0 else "-1e999"
    return None if cell is None else str(cell)


def shown(cell: object) -> str:
    """Returns a cell in words, for errors."""
    if isinstance(cell, Number):
        return cell[:40]
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str):
        return quoted(cell)
    return "an array" if isinstance(cell, list) else "an object"
