"""The table of unknown items."""

from pathlib import Path

from testbed.result_pages import page_of, section, unknown_rows


def test_stand_ins_are_compared_with_the_model_that_knew_all_items(tmp_path: Path) -> None:
    page = section(page_of(tmp_path, unknown=unknown_rows()), "Unknown items")
    lines = [
        "| ML-1M | 9.9 % | full model | nothing: the training knew all items | 0.8200 / 0.7400 |",
        "|  |  |  | the unknown item, learned | -0.0020 / -0.0010 |",
        "|  |  |  | the mean of all items | -0.0030 / -0.0015 |",
        "|  |  |  | left out of the history | -0.0010 / -0.0005 |",
        "|  |  | factored pool | nothing: the training knew all items | 0.8200 / 0.7400 |",
    ]
    assert "\n".join(lines) in page
    assert "are at most 0.0020 in AUC and 0.0010 in GAUC apart" in page


def test_rows_without_the_model_that_knew_all_items_show_their_own_figures(tmp_path: Path) -> None:
    rows = [row for row in unknown_rows() if row["unknown"] == "left out" and row["variant"] == "residual"]
    page = section(page_of(tmp_path, unknown=rows), "Unknown items")
    assert "| ML-1M | 9.9 % | residual codes | left out of the history | 0.8190 / 0.7395 |" in page
