"""Tells the form of a log file."""

import re
from pathlib import Path

from data.reading.errors import LogError
from data.reading.packed_text import check_file

FORMS = {"csv": "csv", "tsv": "tsv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}
USE = "use .csv, .tsv, .jsonl (each also .gz or .xz) or .parquet"
OTHER_PACKINGS = {"zip": b"PK\x03\x04", "zstd": b"\x28\xb5\x2f\xfd", "bzip2": b"BZh"}
UTF16 = (b"\xff\xfe", b"\xfe\xff")


def file_form(path: Path) -> str:
    """Returns csv, tsv, jsonl or parquet, by the end of the name in any case.

    Raises LogError if the name or the first bytes tell of another form.
    """
    check_file(path)
    with path.open("rb") as file:
        head = file.read(16)
    bare = re.sub(r"(\.(gz|xz))+$", "", path.name, flags=re.IGNORECASE)
    ending = bare.rpartition(".")[2].lower() if "." in bare else ""
    form = FORMS.get(ending)
    if ending == "json":
        if head.lstrip().startswith(b"["):
            raise array_of_json(str(path))
        raise LogError(f"{path}: unknown kind of file; if it has one JSON object a line, name it .jsonl")
    if form is None:
        raise LogError(f"{path}: unknown kind of file; {USE}")
    for name, magic in OTHER_PACKINGS.items():
        if head.startswith(magic):
            raise LogError(f"{path}: is packed as {name}; unpack it, or pack it as .gz or .xz")
    if form == "parquet" and not head.startswith(b"PAR1"):
        raise LogError(f"{path}: is not a Parquet file; name it after its form: {USE}")
    if form != "parquet" and head.startswith(b"PAR1"):
        raise LogError(f"{path}: is a Parquet file; name it .parquet")
    if head.startswith(UTF16):
        raise LogError(f"{path}: is UTF-16; convert it to UTF-8: iconv -f UTF-16 -t UTF-8 FILE > NEW")
    return form


def array_of_json(where: str) -> LogError:
    """Returns the error for a file that is one array."""
    return LogError(f"{where}: is an array of JSON; write one JSON object a line: jq -c '.[]' FILE > NEW.jsonl")
