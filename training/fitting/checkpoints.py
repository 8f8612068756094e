"""Checkpoint files. A file is complete, or it does not exist."""

import os
from pathlib import Path

import torch

from errors import UserError


def write_checkpoint(content: dict, path: Path) -> None:
    """Replaces the file at `path` once the whole content is on disk."""
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_checkpoint(path: Path) -> dict:
    """Returns the content of a checkpoint. Raises UserError if the file is damaged."""
    try:
        return torch.load(path, weights_only=True)
    except Exception as error:  # torch.load lets the errors of its zip and pickle readers through
        raise UserError(f"checkpoint {path}: is damaged; --fresh starts again, or delete the file") from error
