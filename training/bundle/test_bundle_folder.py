"""The folders that a bundle may replace."""

from pathlib import Path

import pytest

from bundle.bundle_folder import check_folder
from errors import UserError


@pytest.mark.parametrize("made", ["foreign", "file", "link", "under a file", "locked"])
def test_a_folder_with_other_files_is_refused_and_not_changed(made: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "photo").write_text("precious")
    if made == "foreign":
        out = kept
    elif made == "file":
        out.write_text("precious")
    elif made == "link":
        out.symlink_to(kept)
    elif made == "under a file":
        out = kept / "photo" / "out"
    else:
        out = Path("/proc/out")
    with pytest.raises(UserError, match="--out"):
        check_folder(out)
    assert (kept / "photo").read_text() == "precious"


def test_a_bundle_may_replace_a_bundle_or_an_empty_folder(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path / "a")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.json").write_text("{}")
    (tmp_path / "bundle" / "encode.onnx").write_text("")
    check_folder(tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "bundle"]
