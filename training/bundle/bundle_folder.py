"""Whether a bundle may be written in the place of a folder."""

import tempfile
from pathlib import Path

from errors import UserError


def check_folder(folder: Path) -> None:
    """
    Raises UserError where writing a bundle would take something else away, or could not succeed. Makes the parents.
    """
    if folder.name in ("", ".."):
        raise UserError(f"--out {folder}: is no name for a folder; give one that a bundle may replace, as bundles/mine")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        kind = "symbolic link" if folder.is_symlink() else "file"
        raise UserError(f"--out {folder}: is a {kind}; give a new folder, or one of a bundle that is to be replaced")
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "bundle.json").is_file():
            raise UserError(
                f"--out {folder}: holds files but no bundle.json, and they would be deleted; give a new or empty folder"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-"):
            pass
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written ({error.strerror}); give a folder that can") from error
