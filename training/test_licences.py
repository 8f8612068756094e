"""Every Python package that training needs has an allowed licence: scripts/packages.json lists them."""

import importlib.metadata
import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
POLICY = json.loads((ROOT / "scripts" / "packages.json").read_text())
# Licences in the words that packages use, where those are not SPDX ids.
SPDX = {
    "apache 2.0": "Apache-2.0",
    "apache license v2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD-3-Clause",
    "bsd": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "mit license": "MIT",
    "python software foundation license": "PSF-2.0",
    "license :: osi approved :: python software foundation license": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}


def needed() -> dict[str, importlib.metadata.Distribution]:
    """Returns the installed packages of training/requirements.txt, with those that they need, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    lines = (ROOT / "training" / "requirements.txt").read_text().splitlines()
    names = [Requirement(line).name for line in map(str.strip, lines) if line and not line.startswith("#")]
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        requirements = map(Requirement, found[name].requires or [])
        names += [one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def licence_of(distribution: importlib.metadata.Distribution) -> str:
    """Returns the licence as an SPDX expression, or as the package says it."""
    metadata = distribution.metadata
    if metadata.get("License-Expression"):
        return metadata["License-Expression"]
    named = [c.split(" :: ")[-1] for c in metadata.get_all("Classifier") or [] if c.startswith("License :: OSI")]
    said = named[0] if named else (metadata.get("License") or "not given").splitlines()[0]
    return SPDX.get(said.lower(), said)


def is_allowed(expression: str, allowed: list[str]) -> bool:
    """Returns whether an expression of SPDX can be met by allowed licences. False if it cannot be read.

    AND binds more closely than OR, as in Python. scripts/licence-expression.mjs judges npm packages alike.
    """
    words = re.findall(r"[()]|[^\s()]+(?:\s+WITH\s+[^\s()]+)?", expression)
    python = {"AND": "and", "OR": "or", "(": "(", ")": ")"}
    try:
        return eval(" ".join(python.get(word, str(word in allowed)) for word in words)) is True
    except (SyntaxError, TypeError):
        return False


@pytest.mark.parametrize(("name", "distribution"), sorted(needed().items()))
def test_a_package_has_an_allowed_licence(name: str, distribution: importlib.metadata.Distribution) -> None:
    if any(fnmatch(name, pattern) for pattern in POLICY["licenceExceptions"]):
        return
    licence = licence_of(distribution)
    assert is_allowed(licence, POLICY["allowedLicences"]), f"{name}: {licence}; allow it, or except the package"


CASES = json.loads((ROOT / "test" / "fixtures" / "licence-expressions.json").read_text())


@pytest.mark.parametrize("kind", ["allowed", "refused"])
def test_an_expression_is_read_as_a_choice_of_licences_that_apply_together(kind: str) -> None:
    judged = {expression: is_allowed(expression, CASES["allowedLicences"]) for expression in CASES[kind]}
    assert judged == dict.fromkeys(CASES[kind], kind == "allowed")
