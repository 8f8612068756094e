"""Checks the folder that a bundle is to be written to."""

import tempfile
from pathlib import Path

from errors import UserError


def check_folder(folder: Path) -> None:
    """Makes the parents of the folder.

    Raises UserError if a bundle would replace files that are no bundle, or could not be written.
    """
    if folder.name in ("", ".."):
        raise UserError(f"--out {folder}: has no name of its own; give the folder of a bundle, such as bundles/mine")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        kind = "symbolic link" if folder.is_symlink() else "file"
        raise UserError(f"--out {folder}: is a {kind}; give a new folder, or the folder of a bundle to replace")
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "bundle.json").is_file():
            raise UserError(
                f"--out {folder}: holds files but no bundle.json, and they would be deleted; give a new or empty folder"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-"):
            pass
    except OSError as error:
        raise UserError(
            f"--out {folder}: cannot be written ({error.strerror}); give a folder that you may write"
        ) from error
