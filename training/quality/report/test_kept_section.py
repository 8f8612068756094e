"""The table of kept encodings."""

from pathlib import Path

from testbed.result_pages import kept_rows, page_of, section


def test_encodings_are_compared_with_a_new_one(tmp_path: Path) -> None:
    page = section(page_of(tmp_path, kept=kept_rows()), "Kept encodings")
    lines = [
        "| ML-1M | 9.9 % | factored pool | a new one | 0.8200 / 0.7400 |",
        "|  |  |  | a new one, with the older catalogue | -0.0020 / -0.0010 |",
        "|  |  |  | the older one, kept | -0.0030 / -0.0015 |",
        "|  |  |  | the older one: the older model, not trained again | -0.0100 / -0.0050 |",
        "|  |  | residual codes | a new one | 0.8200 / 0.7400 |",
    ]
    assert "\n".join(lines) in page


def test_rows_without_a_new_encoding_show_their_own_figures(tmp_path: Path) -> None:
    rows = [row for row in kept_rows() if row["encoding"] == "kept" and row["variant"] == "residual"]
    page = section(page_of(tmp_path, kept=rows), "Kept encodings")
    assert "| ML-1M | 9.9 % | residual codes | the older one, kept | 0.8170 / 0.7385 |" in page


def test_without_results_the_section_says_so(tmp_path: Path) -> None:
    assert section(page_of(tmp_path), "Kept encodings").strip() == "Not measured yet."
