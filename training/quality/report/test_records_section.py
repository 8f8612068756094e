"""The recommended record: its verdicts, its bytes beside tokens and slots, and the tables beside it."""

from pathlib import Path

import pytest

from quality.report.record_rows import judged
from testbed.result_pages import factored_rows, page_of, section, times_rows

FIRST = "The recommended record"


def lines_of(page: str, *begin: str) -> list[str]:
    return [line for line in page.split("\n") if line.startswith("| " + " | ".join(begin) + " |")]


def changed(rows: list[dict], loss: float, **where) -> list[dict]:
    """Returns the rows, with the AUC and GAUC of some lowered by `loss`."""
    lowered = [row | {"auc": row["auc"] - loss, "gauc": row["gauc"] - loss} for row in rows]
    return [low if where.items() <= row.items() else row for row, low in zip(rows, lowered)]


def test_a_row_has_the_losses_bytes_slots_and_tokens_of_the_recommended_record(tmp_path: Path) -> None:
    page = section(page_of(tmp_path, factored=factored_rows()), FIRST)
    (line,) = lines_of(page, "ML-1M", "target attention")
    assert line == (
        "| ML-1M | target attention | factored, 256 clusters | 2 | 0.8303 / 0.7400 | 0.0002 / 0.0000 | "
        "-0.0004 / -0.0001 | 3.50 | 0.17 % | 4.50 | 3,707 | 10,001 (9,002) | no | met |"
    )
    (line,) = lines_of(page, "ML-1M", "HSTU")
    assert "| pool of 10,000 | 2 |" in line and line.endswith(
        "| 10,000 | 10,001 (9,002) | no | **missed**: AUC by 0.0002 |"
    )
    assert not lines_of(page, "MIND sample")


def test_no_row_is_met_if_a_pool_could_hold_every_token(tmp_path: Path) -> None:
    page = section(page_of(tmp_path, factored=factored_rows(tokens=10_000)), FIRST)
    assert "| met |" not in page and page.count("| yes | says nothing: a pool could hold every token |") == 4
    assert page.count("| yes | **missed**: AUC by 0.0002 |") == 2  # a miss stays a miss


@pytest.mark.parametrize(("family", "allowed"), [("target", 0.001), ("twin", 0.002), ("hstu", 0.001)])
def test_families_that_select_clusters_may_lose_more(family: str, allowed: float) -> None:
    def met(loss: float) -> bool:
        rows = [row for row in factored_rows() if row["family"] == family]
        level = [row | {"auc": 0.8, "gauc": 0.7} for row in rows]
        lost = [row | {"auc": 0.8 - loss} if row["variant"] != "full" else row for row in level]
        return all(pair.verdict().met for pair in judged(lost))

    assert met(allowed) and not met(allowed + 0.0001)


def test_a_loss_within_the_full_models_spread_is_met_and_gauc_counts_as_auc_does() -> None:
    rows = [row | {"auc": 0.8 + row["seed"] / 100} for row in factored_rows() if row["family"] == "target"]
    assert all(pair.verdict().met for pair in judged(changed(rows, 0.0008, variant="factored")))
    worse = [row | {"gauc": row["gauc"] - 0.002} if row["variant"] == "factored" else row for row in rows]
    assert {pair.verdict().misses for pair in judged(worse)} == {("GAUC by 0.0011",)}


def test_the_summary_counts_the_pairs_and_names_misses_losses_bytes_and_times(tmp_path: Path) -> None:
    page = section(page_of(tmp_path, factored=factored_rows(), times=times_rows()), "Summary")
    assert "in 4 of 6 pairs of data set and family. Missed: HSTU on ML-1M (AUC by 0.0002), HSTU on " in page
    assert "AUC -0.0012 (HSTU, ML-1M)" in page
    assert "- A factored pool takes 3.50 bytes a position at 1,000 positions, everything counted: 0.171 % of" in page
    assert "in fp32. The target is 0.25 %.\n" in page and "in fp32. The target is 0.4 %.\n" in page
    assert "loses most on ML-1M with target attention: AUC -0.0012. The recommended record has -0.0004 there." in page
    assert "- The conversion takes 3 % to 12 % of the full model's training time. The target is 40 %." in page
    assert len(page.strip().split("\n")) <= 10
    page = section(page_of(tmp_path, factored=factored_rows(bytesAt1000=5.13)), "Summary")
    assert "The target is 0.25 %, missed on ML-1M, KuaiRand with hours." in page and "The target is 0.4 %.\n" in page
    page = section(page_of(tmp_path, factored=factored_rows(tokens=10_000)), "Summary")
    assert "pairs of data set" not in page and "former default" not in page


def test_the_other_tables_have_pools_clusters_times_and_data(tmp_path: Path) -> None:
    page = page_of(tmp_path, factored=factored_rows())
    other = changed(factored_rows(), 0.01, variant="factored", seed=2)  # clusters are compared with one seed
    assert section(page_of(tmp_path, factored=other), "Clusters") == section(page, "Clusters")
    pools = section(page, "Against pools of keys and values")
    assert "| ML-1M | TWIN | -0.0004 / -0.0001 | -0.0012 / -0.0003 | 1.1 | 3.0 |" in pools and "HSTU" not in pools
    clusters = section(page, "Clusters")
    assert "| data set | family | 64 clusters | 256 clusters | 2,048 clusters |" in clusters
    assert "| ML-1M | TWIN | -0.0025 / -0.0006 | - | -0.0004 / -0.0001 |" in clusters
    facts = section(page, "The data")
    assert "| ML-1M | 60 | 5,000 | 4,000 | 1,000 | 3,706 | 10,001 | 9,002 | 94 % |" in facts
    assert "| MIND sample | 60 | 4,000 | 1,000 | 10,001 | 2 | 0.8303 / 0.7400 | 0.0002 / 0.0000 |" in facts


def test_a_slow_conversion_is_a_miss(tmp_path: Path) -> None:
    page = page_of(tmp_path, times=times_rows(60.0))
    lines = ["| ML-1M | target attention | 100 | 60 | 60 % | **missed**: by 20 points |"]
    lines += ["| ML-1M | HSTU | 100 | 3 | 3 % | met |"]
    assert "\n".join(lines) in section(page, "The time of a conversion")


def test_a_job_with_only_some_arms_makes_a_page(tmp_path: Path) -> None:
    for variant in ("full", "pool", "factored"):
        page_of(tmp_path, factored=[row for row in factored_rows() if row["variant"] == variant])
        page_of(tmp_path, factored=[row for row in factored_rows() if row["variant"] != variant])
