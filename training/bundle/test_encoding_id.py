"""The encoding id agrees with that of the services, and changes with what decides the bytes of a row, and no more."""

import copy
import json
from pathlib import Path

import pytest

from bundle.encoding_id import encoding_id

CASES = json.loads(
    (Path(__file__).resolve().parents[2] / "test" / "fixtures" / "encoding-ids.json").read_text(encoding="utf-8")
)
BASE = CASES["base"]


def changed(changes: list[dict]) -> dict:
    """Returns the base with changes. A change sets a value, or appends to a list."""
    manifest = copy.deepcopy(BASE)
    for change in changes:
        *path, last = change["at"]
        parent = manifest
        for key in path:
            parent = parent[key]
        if isinstance(parent, list) and last == len(parent):
            parent.append(change["to"])
        else:
            parent[last] = change["to"]
    return manifest


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_the_id_agrees_with_that_of_the_services(case: dict) -> None:
    found = encoding_id(changed(case["changes"]))
    assert found == case["encodingId"]
    assert (found == encoding_id(BASE)) == case["sameAsBase"]
