"""Reads a log of CSV or TSV: strict RFC 4180, with one row a line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from data.reading.cells import Rows, quoted
from data.reading.errors import LogError
from data.reading.log_columns import find_columns, repeated_name
from data.reading.packed_text import text_blocks
from data.reading.problem_list import ProblemList
from data.reading.progress import Say
from data.reading.published_files import refuse_published_columns

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
BLANKS = b" \t"
BOM = b"\xef\xbb\xbf"


def read_delimited_log(
    path: Path, delimiter: str, wanted: Sequence[str], columns: Mapping[str, str], problems: ProblemList, say: Say
) -> Iterator[Rows]:
    """Yields the rows of a file, a block at a time. The first line that is not empty is the header.

    Raises LogError for a header without the required columns.
    """
    header: list[str] = []
    names: dict[str, str] = {}
    strict = strict_line(delimiter)
    line = 1
    for block in text_blocks(path, say):
        if line == 1:
            block = block.removeprefix(BOM)
        first, line = line, line + block.count(b"\n")
        while not header and block:
            head, _, block = block.partition(b"\n")
            head = head.removesuffix(b"\r")
            if fault := fault_of(head, strict):
                raise LogError(f"{path}, line {first}: {fault[1]}")
            if head.strip(BLANKS + delimiter.encode()):
                header, names = read_header(path, head.decode(), delimiter, wanted, columns, f"{path}, line {first}")
            first += 1
        block = sound_lines(block, first, delimiter, problems)
        if block.startswith(BOM):  # pyarrow would drop it from the first cell
            block, first = b"\n" + block, first - 1
        if block.strip(b"\r\n"):
            yield parse_rows(block, first, header, names, delimiter, problems)


def read_header(
    path: Path, head: str, delimiter: str, wanted: Sequence[str], columns: Mapping[str, str], where: str
) -> tuple[list[str], dict[str, str]]:
    """Returns the columns of a header, and the names of those that are wanted."""
    header = [name.strip(" \t") for name in split_line(head, delimiter)]
    if twice := repeated_name([name for name in header if name]):
        raise LogError(f"{where}: has the column {twice} twice; rename or remove one of them")
    refuse_published_columns(path, header)
    other = next((one for one in SEPARATORS if one != delimiter and len(header) == 1 and one in header[0]), None)
    if other:
        remedy = {"\t": "name the file .tsv", ",": "name the file .csv"}.get(
            other, f"write {SEPARATORS[delimiter]}, and numbers with a decimal point"
        )
        kind = ".csv" if delimiter == "," else ".tsv"
        raise LogError(
            f"{where}: has {SEPARATORS[other]} between cells, but a {kind} file has {SEPARATORS[delimiter]}; {remedy}"
        )
    return header, find_columns(wanted, header, columns, where)


def split_line(line: str, delimiter: str) -> list[str]:
    """Returns the cells of a line that `strict_line` matches."""
    cells = re.findall(rf'(?:^|{delimiter})("(?:[^"]|"")*"|[^"{delimiter}]*)', line)
    return [cell[1:-1].replace('""', '"') if cell.startswith('"') else cell for cell in cells]


def strict_line(delimiter: str) -> re.Pattern[bytes]:
    """Returns the pattern of a line in which every quote begins a cell, ends it, or is doubled inside it."""
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{delimiter}]*+)'
    return re.compile(f"{cell}(?:{delimiter}{cell})*+".encode())


def strict_lines(delimiter: str) -> re.Pattern[bytes]:
    """Returns the pattern of a block of lines that `strict_line` matches."""
    cell = rf'(?:"[^"\n]*+(?:""[^"\n]*+)*+"|[^"\n{delimiter}]*+)'
    return re.compile(rf"(?:{cell}(?:{delimiter}|\r?\n|\Z))*+".encode())


def fault_of(line: bytes, strict: re.Pattern[bytes]) -> tuple[str, str] | None:
    """Returns the kind and the text of a line's problem. None if the line is text that can be split."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return "encoding", "is not UTF-8; convert the file: iconv -f LATIN1 -t UTF-8 FILE > NEW"
    if b"\0" in line:
        return "nul", "has a NUL byte; if the file is UTF-16, convert it to UTF-8"
    if b"\r" in line:
        return "return", "has a carriage return inside; end lines with LF or CRLF"
    if line.startswith(b"#"):
        remedy = "a log has no comment lines: remove the line, or quote the cell if # is part of it"
        return "comment", f"begins with #; {remedy}"
    if b'"' in line and not strict.fullmatch(line):
        remedy = "write a cell in one line, in quotes if it has quotes, and double the quotes in it"
        return "quotes", f"has a quote inside a cell, or an open one; {remedy}"
    return None


def sound_lines(block: bytes, first: int, delimiter: str, problems: ProblemList) -> bytes:
    """Returns the block with its lines that have a problem emptied."""
    if is_sound(block, delimiter):
        return block
    strict = strict_line(delimiter)
    lines = block.split(b"\n")
    for i, line in enumerate(lines):
        if fault := fault_of(line.removesuffix(b"\r"), strict):
            problems.add(fault[0], [first + i], fault[1])
            lines[i] = b""
    return b"\n".join(lines)


def is_sound(block: bytes, delimiter: str) -> bool:
    """True if no line of the block has a problem of `fault_of`. Most blocks are so, and this is fast."""
    if b"\0" in block or block.startswith(b"#") or b"\n#" in block:
        return False
    if b'"' in block and not strict_lines(delimiter).fullmatch(block):
        return False
    if block.count(b"\r") != block.count(b"\r\n"):
        return False
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_rows(
    block: bytes, first: int, header: list[str], names: dict[str, str], delimiter: str, problems: ProblemList
) -> Rows:
    """Returns the rows of a block that `sound_lines` has checked."""
    unknown = [f"\0{i}" if name == "" else name for i, name in enumerate(header)]  # names must be distinct
    broken: list[int] = []  # lines of the block, from 1
    widths: list[int] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        broken.append(row.number)
        widths.append(row.actual_columns)
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(block),
        pyarrow.csv.ReadOptions(use_threads=False, column_names=unknown, block_size=len(block) + 1),
        pyarrow.csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if b'"' in block else False,
            ignore_empty_lines=False,
            invalid_row_handler=skip,
        ),
        pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(unknown, pa.string()), strings_can_be_null=False),
    )
    whole = np.ones(table.num_rows + len(broken), bool)
    whole[np.array(broken, np.int64) - 1] = False
    lines = np.flatnonzero(whole) + 1
    cells = {name: table[name].combine_chunks() for name in unknown}
    blank = np.ones(table.num_rows, bool)
    for column in cells.values():
        if not blank.any():
            break
        blank &= pc.match_substring_regex(column, r"^[ \t]*$").to_numpy(zero_copy_only=False)
    texts = block.split(b"\n") if broken else []
    wrong = [i for i, line in enumerate(broken) if texts[line - 1].strip(BLANKS + b'\r"' + delimiter.encode())]
    problems.add(
        "width",
        [broken[i] + first - 1 for i in wrong],
        lambda _: (
            f"has {widths[wrong[0]]} {'cell' if widths[wrong[0]] == 1 else 'cells'}, but the header has {len(header)}; "
            "write as many, and quote a cell that has the separator"
        ),
    )
    if blank.any():
        cells = {name: column.filter(pa.array(~blank)) for name, column in cells.items()}
    return Rows(
        places=lines[~blank] + first - 1,
        columns={name: column for name, column in cells.items() if not name.startswith("\0")},
        names=names,
        shown=lambda name, row: quoted(cells[name][row].as_py()),
    )
