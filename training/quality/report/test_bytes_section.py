"""Bytes against quality: the table and the plot."""

from pathlib import Path

from quality.report.bytes_section import recommended_rows
from testbed.result_pages import factored_rows, frontier_rows, page_of, pictures, section

HEADING = "Bytes against quality"


def test_every_record_has_its_bytes_its_difference_to_the_full_model_and_a_verdict(tmp_path: Path) -> None:
    page = section(page_of(tmp_path, frontier=frontier_rows()), HEADING)
    full = "| ML-1M | full model | 2,048 | 2,048.50 | - | 0.8450 / 0.7400 | - |"
    lines = [
        full,
        "|  | pool of 1,024 slots | 2 | 2.50 | 67.58 | -0.0040 / -0.0010 | **missed**: AUC by 0.0030 |",
        "|  | 1 residual code | 1 | 1.50 | 0.07 | -0.0032 / -0.0008 | **missed**: AUC by 0.0022 |",
        "|  | 4 residual codes | 4 | 4.50 | 0.26 | -0.0002 / +0.0000 | met |",
        "|  | factored pool, 3,707 items | 3 | 3.50 | 244.66 | -0.0001 / +0.0000 | met |",
    ]
    assert "\n".join(lines) in page
    assert page.index(full) < page.index("| KuaiRand with hours | full model |")
    assert "](quality/bytes.svg)" in page and pictures(tmp_path).keys() == {"bytes"}


def test_rows_without_their_full_model_show_their_own_figures_and_are_not_drawn(tmp_path: Path) -> None:
    rows = [row for row in frontier_rows() if row["variant"] == "residual"]
    page = section(page_of(tmp_path, frontier=rows), HEADING)
    assert "| ML-1M | 1 residual code | 1 | 1.50 | 0.07 | 0.8418 / 0.7392 | - |" in page
    assert not pictures(tmp_path)


def test_the_plot_has_the_recommended_record_and_pools_of_other_data_sets(tmp_path: Path) -> None:
    page_of(tmp_path, frontier=[], factored=factored_rows())
    alone = pictures(tmp_path)["bytes"].decode()
    assert "ML-1M" in alone and "MIND" not in alone
    frontier = [row for row in frontier_rows() if row["dataset"] == "kuairand-hours"]
    page_of(tmp_path, frontier=frontier, factored=factored_rows())
    assert pictures(tmp_path)["bytes"].decode().count("KuaiRand with hours") == 1
    chosen = recommended_rows(factored_rows(), {"kuairand-hours"})
    assert {(row["dataset"], row["variant"], row["size"]) for row in chosen} == {
        ("ml-1m", "full", 0),
        ("ml-1m", "pool", 1024),
        ("ml-1m", "pool", 10_000),
        ("ml-1m", "factored", 3707),
    }
