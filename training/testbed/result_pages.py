"""Pages made from results, and rows of results, for the tests of the report."""

import json
from pathlib import Path

from models.families.registry import FAMILIES
from quality.report.page import PAGES, write_report


def page_of(root: Path, **results: list[dict]) -> str:
    """Returns the pages that the results make, one after the other."""
    folder = root / "training" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "docs").mkdir(exist_ok=True)
    for name, rows in results.items():
        (folder / f"{name}.json").write_text(json.dumps({"rows": rows}))
    write_report(root)
    return "\n".join((root / "docs" / f"{name}.md").read_text() for name in PAGES)


def section(page: str, heading: str) -> str:
    return page.split(f"## {heading}\n")[1].split("\n## ")[0]


def pictures(root: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (root / "docs" / "quality").glob("*")}


def frontier_rows(seeds: int = 2) -> list[dict]:
    """Returns rows of frontier.json: a pool that loses AUC and GAUC, residual codes, and a factored pool."""
    arms = [("full", 0, 2048, 0.0), ("pool", 1024, 2, 0.004), ("residual", 1, 1, 0.0032), ("residual", 4, 4, 0.0002)]
    return [
        {"dataset": d, "seed": s, "variant": variant, "size": size, "rowBytes": row, "bytesAt1000": row + 0.5}
        | {"bytesPerPosition": row + 1, "tableBytes": 66_000 * size}
        | {"auc": 0.83 + s / 100 - loss, "gauc": 0.74 - loss / 4, "logloss": 0.5}
        for d in ("kuairand-hours", "ml-1m")
        for s in range(1, seeds + 1)
        for variant, size, row, loss in [*arms, ("factored", 3707, 3, 0.0001)]
    ]


def unknown_rows() -> list[dict]:
    """Returns rows of unknown.json."""
    losses = {"known": 0.0, "unknown item": 0.002, "mean item": 0.003, "left out": 0.001}
    return [
        {"dataset": "ml-1m", "seed": 1, "hiddenItems": 370, "hiddenShare": 0.0987, "testQueries": 900}
        | {"variant": variant, "unknown": stand_in, "auc": 0.82 - loss, "gauc": 0.74 - loss / 2, "logloss": 0.5}
        for variant in ("full", "factored", "residual")
        for stand_in, loss in losses.items()
    ]


def kept_rows() -> list[dict]:
    """Returns rows of kept.json."""
    losses = {"new": 0.0, "new, older catalogue": 0.002, "kept": 0.003, "not retrained": 0.01}
    facts = {"laterItems": 370, "laterShare": 0.0987, "earlyQueries": 450, "trainQueries": 900}
    return [
        {"dataset": "ml-1m", "seed": 1, **facts, "variant": variant, "encoding": encoding}
        | {"auc": 0.82 - loss, "gauc": 0.74 - loss / 2, "logloss": 0.5}
        for variant in ("factored", "residual")
        for encoding, loss in losses.items()
    ]


def factored_rows(seeds: int = 2, **changes) -> list[dict]:
    """Returns rows of factored.json: a factored pool that loses little, and pools that lose less and more.

    HSTU has a pool only. `changes` are those of all rows.
    """
    arms = [("full", 0, 0, 0.0), ("pool", 1024, 0, 0.004), ("pool", 10_000, 0, 0.0012)]
    coarse = ("factored", 3707, 64, 0.0025)
    facts = {"users": 60, "positions": 5_000, "trainQueries": 4_000, "testQueries": 1_000, "items": 3_706}
    facts |= {"tokens": 10_001, "sampleTokens": 9002, "coveredShare": 0.94, "logloss": 0.5}
    jobs = [(d, f) for d in ("ml-1m", "kuairand-hours") for f in ("target", "twin", "hstu")]
    return [
        {"dataset": d, "family": f, "seed": s, "variant": variant, "slots": slots, "clusters": clusters, **facts}
        | {"fullBytes": 2048.0, "bytesPerPosition": 4.5 if slots else 2048.0, "bytesAt1000": 3.5 if slots else 2048.0}
        | {"tableBytes": 300 * slots}
        | {"auc": 0.83 + s / 5_000 - loss, "gauc": 0.74 - loss / 4}
        | changes
        for d, f in [*jobs, ("mind", "target")]
        for s in range(1, seeds + 1)
        for variant, slots, clusters, loss in (
            arms if f == "hstu" else [*arms, coarse, ("factored", 3707, FAMILIES[f].clusters, 0.0004)]
        )
    ]


def times_rows(conversion: float = 12.0) -> list[dict]:
    """Returns rows of times.json: a quick conversion of HSTU, and one of target attention."""
    seconds = {"target": conversion, "hstu": 3.0}
    return [
        {"dataset": "ml-1m", "family": f, "seed": 1, "trainSeconds": 100.0, "conversionSeconds": by}
        for f, by in seconds.items()
    ]
